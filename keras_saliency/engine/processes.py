"""What processes that train together agree on."""

import json
from typing import Any

import keras
import numpy as np

from keras_saliency.engine import backend


def of_chief(model: keras.Model, value: Any) -> Any:
    """Return the chief's value in every process, so that all of them decide alike.

    All processes must call it at the same point, or those that do wait for the others.

    Args:
        model: The model that trains.
        value: This process's own value, of what JSON holds; numbers may be NumPy's.

    Returns:
        The value of the process that writes the logs, as JSON gives it back; with one process, the
        value itself.
    """
    if backend.is_alone(model):
        return value
    data = np.frombuffer(json.dumps(value, default=lambda number: number.item()).encode(), np.uint8)
    (size,) = backend.from_chief(model, np.array([len(data)], np.int32))
    padded = np.zeros(size, np.int32)
    if backend.is_chief(model):
        padded[:] = data
    return json.loads(backend.from_chief(model, padded).astype(np.uint8).tobytes())
