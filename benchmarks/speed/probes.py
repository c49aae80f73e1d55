"""Whether sixteen times as many probes take sixteen times as long."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from networks import PROBES, subject, watching
from timing import interleaved, ratio

MANY = 16 * PROBES


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    few, many = subject(model), subject(model, MANY)
    with (
        watching(few, batch_size=PROBES) as short,
        watching(many, batch_size=PROBES) as long,
    ):

        def finish_drawing() -> None:
            short.finish_drawing()
            long.finish_drawing()

        actions = {"few": short.look, "many": long.look}
        times = interleaved(actions, rounds, finish_drawing)
    return {"linear": ratio([one / 16 for one in times["many"]], times["few"])}
