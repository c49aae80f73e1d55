"""Whether sixteen times as many probes take sixteen times as long, drawing apart.

Sixteen looks follow each other: a short one after a pause gets more of a busy machine.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from networks import PROBES, subject, watching
from timing import interleaved, ratio

TIMES = 16


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    few, many = subject(model), subject(model, TIMES * PROBES)
    with (
        watching(few, batch_size=PROBES) as short,
        watching(many, batch_size=PROBES) as long,
    ):
        times = interleaved(
            {"few": lambda: [short.ask() for _ in range(TIMES)], "many": long.ask}, rounds
        )
    return {"linear": ratio(times["many"], times["few"])}
