"""Timing in turns, so that what else the machine does touches all that is compared alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Action = Callable[[], object]
WARM_UP = 2  # rounds that are not counted, since the first ones trace


def interleaved(
    actions: Mapping[str, Action], rounds: int, between: Action = lambda: None
) -> dict[str, list[float]]:
    """Time actions in turns, A B A B, and wait after each for what it left running.

    Args:
        actions: What is timed, by name.
        rounds: How often each is timed, after `WARM_UP`.
        between: Called after each, untimed.

    Returns:
        Seconds of each round, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + WARM_UP):
        for name, action in actions.items():
            taken = seconds(action)
            if turn >= WARM_UP:
                times[name].append(taken)
            between()
    return times


def seconds(action: Action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """Sum up the ratio of two series that were timed in turns: its median and quartiles."""
    return summed([a / b for a, b in zip(above, below, strict=True)])


def summed(values: Sequence[float]) -> dict[str, Any]:
    """Sum up what each round gave."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"value": middle, "low": low, "high": high, "rounds": len(values)}
