"""Checks of options that several methods share."""

from __future__ import annotations

import math
from typing import Any


def check_count(name: str, value: Any) -> int:
    """Return an integer from 1, or raise a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer from 1. Received: {name}={value!r}")
    return value


def check_share(name: str, value: Any, *, low: float = 0.0, high: float = 1.0) -> float:
    """Return a finite number from `low` to `high`, or raise a ValueError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        upper = f"from {low:g} to {high:g}" if math.isfinite(high) else f"from {low:g}"
        raise ValueError(f"{name} must be a number {upper}. Received: {name}={value!r}")
    return float(value)


def check_seed(seed: Any) -> int:
    """Return a seed, or raise a ValueError."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be an integer from 0. Received: seed={seed!r}")
    return seed


def check_sizes(name: str, value: Any, grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return one length for each axis of `grid`, none longer than the axis, or raise."""
    sizes = value if isinstance(value, (tuple, list)) else (value,) * len(grid)
    right = len(sizes) == len(grid) and all(
        isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= length
        for size, length in zip(sizes, grid, strict=False)
    )
    if not right:
        raise ValueError(
            f"{name} must be an integer, or one for each of the image's axes, from 1 to the "
            f"image's size {grid}. Received: {name}={value!r}"
        )
    return tuple(sizes)
