"""Checks that several doors share, so that what is wrong is said before anything runs."""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Return a whole number from `least`, or raise a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer from {least}. Received: {name}={value!r}")
    return int(value)


def check_number(value: Any, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """Return a finite number from `low` to `high`, or raise a ValueError."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        upper = f"from {low:g} to {high:g}" if math.isfinite(high) else f"from {low:g}"
        raise ValueError(f"{name} must be a number {upper}. Received: {name}={value!r}")
    return float(value)


def check_sizes(value: Any, name: str, grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return one length for each axis of `grid`, none longer than the axis, or raise."""
    sizes = value if isinstance(value, tuple | list) else (value,) * len(grid)
    fits = len(sizes) == len(grid) and all(
        isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= length
        for size, length in zip(sizes, grid, strict=False)
    )
    if not fits:
        raise ValueError(
            f"{name} must be an integer, or one for each of the image's axes, from 1 to the "
            f"image's size {grid}. Received: {name}={value!r}"
        )
    return tuple(sizes)


def check_switch(value: Any, name: str) -> None:
    """Refuse what is neither True nor False: "no" would count as yes."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False. Received: {name}={value!r}")


def check_share(value: Any, name: str) -> None:
    """Refuse what is neither None nor a number above 0 and below 1: 5 would not be 5 percent."""
    if value is None:
        return
    if not isinstance(value, float | np.floating) or not 0 < value < 1:
        raise ValueError(
            f"{name} must be a share above 0 and below 1, as 0.05 for 5 percent, or None. "
            f"Received: {name}={value!r}"
        )


def check_call(function: Callable[..., Any], arguments: tuple[str, ...], what: str) -> None:
    """Refuse a function that can't be called with such arguments, as far as its signature tells."""
    wanted = f"{what} is called as function({', '.join(arguments)})"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        if isinstance(function, functools.partial):  # of an option that the function does not have
            raise TypeError(f"{wanted}. Received: {error}") from error
        return  # built-in, and nothing is known
    try:
        signature.bind(*arguments)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(f"{wanted}. Received: {name}{signature}, {error}") from error


def local_folder(log_dir: Any) -> Path:
    """The folder of this machine that was meant; addresses of remote storage are refused."""
    if not isinstance(log_dir, str | os.PathLike):
        kind = type(log_dir).__name__
        what = f"the class {log_dir.__name__}" if kind == "type" else f"log_dir of type {kind}"
        raise TypeError(
            "log_dir must be a folder, or a writer with the methods images, scalars and close; "
            "labels go with their images, as in SaliencyCallback((images, labels), log_dir). "
            f"Received: {what}"
        )
    text = os.fspath(log_dir)
    # A Path has made one slash of two. A single letter before the colon is a drive of Windows.
    if not text or "\0" in text or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise ValueError(
            "log_dir must be a folder of this machine, such as 'logs'. Write to a local folder and "
            f"copy it, or mount the storage. Received: log_dir={text!r}"
        )
    return Path(text)
