"""How often the probes are evaluated."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_CHECKED = 5  # evaluations, of which the maps of one are checked


@dataclass(frozen=True)
class Schedule:
    """After how many epochs or batches something is due.

    Args:
        every: How many, from 1.
        counts_batches: Whether these are batches.
    """

    every: int
    counts_batches: bool = False

    @classmethod
    def of(cls, every: int | str) -> "Schedule":
        """Read an argument such as 5 or "200 batches", or raise a ValueError."""
        pattern = r"\s*(\d+)\s+batch(?:es)?\s*"
        match = re.fullmatch(pattern, every) if isinstance(every, str) else None
        count = int(match[1]) if match else every
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(
                "every must be a number of epochs from 1, or of batches as in '200 batches'. "
                f"Received: every={every!r}"
            )
        return cls(int(count), match is not None)

    def __str__(self) -> str:
        """Write it as words: "epoch", "200 batches"."""
        unit, units = ("batch", "batches") if self.counts_batches else ("epoch", "epochs")
        return unit if self.every == 1 else f"{self.every} {units}"

    def planned(self, params: Mapping[str, Any]) -> int:
        """Return how many epochs or batches a callback's `params` plan, 0 where nobody knows."""
        epochs: int = params.get("epochs") or 0
        steps: int = params.get("steps") or 0  # unknown for a dataset without a length
        return epochs * steps if self.counts_batches else epochs

    def evaluations(self, params: Mapping[str, Any]) -> int:
        """Return how many evaluations a callback's `params` plan, 0 where nobody knows."""
        return self.planned(params) // self.every


def check_interval(check_maps: bool | str) -> int | None:
    """Read `check_maps=`: maps are checked at one of so many evaluations; None for never.

    Args:
        check_maps: True, "every" or False.

    Returns:
        The number of evaluations.

    Raises:
        ValueError: If it is anything else.
    """
    if check_maps == "every":
        return 1
    if not isinstance(check_maps, bool):
        raise ValueError(
            "check_maps must be True, for the last evaluation and every fifth, 'every', or False. "
            f"Received: check_maps={check_maps!r}"
        )
    return _CHECKED if check_maps else None
