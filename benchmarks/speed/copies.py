"""What of an evaluation goes from the device to the host: how many copies, and how many bytes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import numpy as np
from networks import subject, watching
from timing import summed


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    with watching(subject(model)) as watch:
        sizes = [moved(watch.evaluate) for _ in range(rounds)]
    counts = summed([float(len(found)) for found in sizes])
    moved_bytes = int(np.median([sum(found) for found in sizes]))
    return {key: counts | {"bytes": moved_bytes} for key in keys}


def moved(action: Any) -> list[int]:
    """Return the bytes of every tensor that is turned into an array meanwhile."""
    sizes = []
    convert = keras.ops.convert_to_numpy

    def noting(tensor: Any) -> Any:
        array = convert(tensor)
        if keras.ops.is_tensor(tensor):
            sizes.append(array.nbytes)
        return array

    keras.ops.convert_to_numpy = noting
    try:
        action()
    finally:
        keras.ops.convert_to_numpy = convert
    return sizes
