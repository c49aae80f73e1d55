"""How long the training thread is held at an epoch's end, everything logged."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from limit import limit
from networks import SEVEN, subject, watching
from timing import interleaved, ratio


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    given = subject(model)
    with (
        watching(given) as two,
        watching(given, SEVEN) as seven,
        watching(given, check_maps="every") as checked,
    ):

        def finish_drawing() -> None:
            two.finish_drawing()
            seven.finish_drawing()
            checked.finish_drawing()

        actions = {
            "two": two.evaluate,
            "limit": limit(given),
            "seven": seven.evaluate,
            "checked": checked.evaluate,
            "step": given.train,
        }
        times = interleaved(actions, rounds, finish_drawing)
    found = {
        "limit": ratio(times["two"], times["limit"]),
        "step": ratio(times["two"], times["step"]),
        "seven": ratio(times["seven"], times["limit"]),
        "check": ratio(times["checked"], times["limit"]),
    }
    return {key: found[key.removeprefix("gpu-")] for key in keys}
