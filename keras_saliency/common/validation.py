"""Checks of arguments, which run first and raise what was expected and what was given."""

import difflib
import functools
import inspect
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.common.arrays import is_pillow_image, is_tf_dataset
from keras_saliency.common.types import Array

_LISTED = 10  # probes, in a message


def is_integer(value: Any) -> bool:
    """Tell whether a value is a whole number, and no bool, which Python takes for one."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Return a whole number from `least`, or raise a ValueError."""
    if not is_integer(value) or value < least:
        raise ValueError(f"{name} must be an integer from {least}. Received: {name}={value!r}")
    return int(value)


def check_number(value: Any, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """Return a finite number from `low` to `high`, or raise a ValueError."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        upper = f"from {low:g} to {high:g}" if math.isfinite(high) else f"from {low:g}"
        raise ValueError(f"{name} must be a number {upper}. Received: {name}={value!r}")
    return float(value)


def check_choice(value: Any, name: str, known: Iterable[Any]) -> None:
    """Refuse what is none of the values known."""
    known = list(known)
    if value not in known:
        listed = ", ".join(map(repr, known))
        raise ValueError(f"{name} must be one of {listed}. Received: {name}={value!r}")


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return " Did you mean ...?" of the known names most like this one, in any case, or ""."""
    lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=cutoff)
    return f" Did you mean {' or '.join(repr(lower[each]) for each in near)}?" if near else ""


def check_size(value: Any, name: str, least: int = 1, or_else: str = "") -> tuple[int, int]:
    """Return `(height, width)` in whole pixels, each at least `least`, or raise a ValueError.

    With `or_else`, the words for what else is taken, a number stands for both.
    """
    size = (value, value) if or_else and is_integer(value) else value
    pair = isinstance(size, tuple | list | np.ndarray) and len(size) == 2
    if not pair or not all(is_integer(side) and side >= least for side in size):
        raise ValueError(
            f"{name} must be (height, width) in whole pixels, each at least {least}"
            f"{or_else and f', or {or_else}'}. Received: {name}={value!r}"
        )
    return int(size[0]), int(size[1])


def check_sizes(value: Any, name: str, grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return one length for each axis of `grid`, none longer than the axis, or raise."""
    sizes = value if isinstance(value, tuple | list) else (value,) * len(grid)
    fits = len(sizes) == len(grid) and all(
        is_integer(size) and 1 <= size <= length for size, length in zip(sizes, grid, strict=False)
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
    if value is not None and not (isinstance(value, float | np.floating) and 0 < value < 1):
        raise ValueError(
            f"{name} must be a share above 0 and below 1, as 0.05 for 5 percent, or None. "
            f"Received: {name}={value!r}"
        )


def check_numeric(array: Array, name: str) -> None:
    """Refuse texts, dates, objects and complex numbers."""
    if array.dtype.kind in "OSUTMmc":
        raise TypeError(f"`{name}` must hold numbers. Received: {name}.dtype={array.dtype}")


def check_finite(images: Array, name: str) -> None:
    """Refuse NaN and infinity, and name the probes that hold them."""
    if images.dtype.kind in "iub":
        return
    bad = np.flatnonzero([not np.isfinite(image).all() for image in images])
    if bad.size:
        listed = ", ".join(map(str, bad[:_LISTED])) + " ..." * (len(bad) > _LISTED)
        raise ValueError(
            f"`{name}` holds NaN or infinity in probe {listed} (counted from 0; {len(bad)} of "
            f"{len(images)}). Leave these out or repair them."
        )


def check_images(images: Any) -> None:
    """Refuse what is taken for arrays of images by mistake."""
    first = images[0] if isinstance(images, list) and images else images
    if isinstance(first, str | bytes | Path):
        raise TypeError(
            "`images` must be arrays or Pillow images. Read a folder with "
            "`Probes.from_directory(folder)`, and files with `[PIL.Image.open(p) for p in paths]`. "
            f"Received: {first!r}"
        )
    if is_pillow_image(images):
        raise TypeError(
            "`images` must be several images: give a single one as `[image]`. "
            f"Received: {type(images).__name__}"
        )
    if is_tf_dataset(images) or isinstance(images, Iterator) or images is None:
        raise TypeError(
            "`images` must be an array; a dataset or a generator is read by "
            f"`Probes.from_dataset(dataset)`. Received: {type(images).__name__}"
        )


def check_rgb(images: Any, name: str, axes: tuple[str, ...] = ("height", "width")) -> None:
    """Refuse what is not uint8 RGB `(*axes, 3)`."""
    if getattr(images, "dtype", None) != np.uint8:
        is_array = hasattr(images, "dtype")
        received = f"{name}.dtype={images.dtype}" if is_array else type(images).__name__
        raise TypeError(f"{name} must be an array of uint8, 0 to 255. Received: {received}")
    if images.ndim != len(axes) + 1 or images.shape[-1] != 3 or not images.size:
        raise ValueError(
            f"{name} must have the shape ({', '.join(axes)}, 3), RGB; repeat a grey channel three "
            f"times. Received: {name}.shape={images.shape}"
        )


def check_batch(array: Any, name: str) -> None:
    """Refuse maps or masks without a batch axis."""
    if np.ndim(array) != 3:
        raise ValueError(
            f"`{name}` must be (batch, height, width); give a single one a batch axis, "
            f"`{name}[None]`. Received: {name}.shape={np.shape(array)}"
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
            "log_dir must be a folder of this machine, such as 'logs'; only SaliencyCallback and "
            "PictureFolder take the address of remote storage, as text and not as a Path. "
            f"Received: log_dir={text!r}"
        )
    return Path(text)
