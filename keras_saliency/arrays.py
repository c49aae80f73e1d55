"""Arrays of any backend, settled once at the door."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def as_array(value: Any, what: str) -> Array:
    """A fresh numpy array of whatever a user or a backend calls an array."""
    if not isinstance(value, np.ndarray | list | tuple):
        from keras import ops

        value = ops.convert_to_numpy(value)
    try:
        return np.array(value)
    except ValueError as error:
        raise ValueError(
            f"`{what}` must form one array, with one shape for every probe: {error}. "
            "Resize the images (and masks) to one size first."
        ) from error


def check_finite(images: Array, what: str) -> None:
    """Name the probes that hold NaN or infinity."""
    bad = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
    if bad.size:
        raise ValueError(
            f"`{what}` holds NaN or infinity in probe {', '.join(map(str, bad))} (counted from 0). "
            "Leave these out or repair them."
        )


def frozen(array: Array) -> Array:
    """The array, read-only from now on."""
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array
