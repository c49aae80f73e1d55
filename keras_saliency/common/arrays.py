"""NumPy arrays of whatever holds numbers: NumPy, the backends, pandas and Pillow."""

import math
import sys
from typing import Any

import numpy as np

from keras_saliency.common.types import Array


def as_array(value: Any, name: str) -> Array:
    """Return a fresh array of an array, tensor, column or Pillow image, or of a list of these."""
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1:
        value = list(value)  # as numpy holds arrays of several shapes
    if isinstance(value, list | tuple):
        value = _entries(value)
    elif not isinstance(value, np.ndarray):
        value = _from_foreign(value, name)
    try:
        return np.array(value)
    except ValueError as error:
        shapes = dict.fromkeys(str(part.shape) for part in value if hasattr(part, "shape"))
        received = f"shapes {' and '.join(list(shapes)[:3])}" if shapes else "different lengths"
        raise _ragged(name, f"{name} of {received}") from error


def is_pillow_image(value: Any) -> bool:
    """Tell whether a value is a Pillow image, without importing Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def is_tf_dataset(value: Any) -> bool:
    """Tell whether a value is a `tf.data.Dataset`, without importing TensorFlow."""
    return any(base.__module__.startswith("tensorflow.python.data") for base in type(value).__mro__)


def frozen(array: Array) -> Array:
    """Return the array, read-only from now on."""
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def json_number(value: Any) -> float | None:
    """Return a number as JSON can hold it, of six digits: float32 has hardly more."""
    number = float(f"{float(value):.6g}")
    return number if math.isfinite(number) else None


def _entries(values: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Return the entries of a list, with arrays in the place of what NumPy misreads."""
    entries: list[Any] = [_detached(v) if hasattr(v, "detach") else v for v in values]
    if not (images := [entry for entry in entries if is_pillow_image(entry)]):
        return entries
    from keras_saliency.common.pillow import pixels_of

    pixels = iter(pixels_of(images))  # all together: greyscale if all of them are
    return [next(pixels) if is_pillow_image(entry) else entry for entry in entries]


def _from_foreign(value: Any, name: str) -> Any:
    """Return what NumPy can read of anything but its own arrays, lists and tuples."""
    if is_pillow_image(value) or hasattr(value, "detach"):
        return _entries([value])[0]
    if type(value).__name__.startswith("RaggedTensor"):
        raise _ragged(name, "a ragged tensor")
    if hasattr(value, "to_numpy"):  # a column of pandas
        return value.to_numpy()
    from keras import ops

    return ops.convert_to_numpy(value)


def _detached(tensor: Any) -> Array:
    """Return the numbers of a torch tensor; NumPy knows no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _ragged(name: str, received: str) -> ValueError:
    return ValueError(
        f"`{name}` must form one array, with one shape for every probe. Resize the images (and "
        "masks) to one size first; labels go beside the images, as in `(images, labels)`. "
        f"Received: {received}"
    )
