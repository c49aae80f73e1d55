"""Arrays of any backend, settled once at the door."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.common.types import Array

_NAMED = 10  # probes, in a message


def as_array(value: Any, what: str) -> Array:
    """A fresh numpy array of whatever a user, a backend or Pillow calls an array or a picture."""
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1:
        value = list(value)  # as numpy holds arrays of several shapes
    if isinstance(value, list | tuple):
        value = _readable(value)
    elif not isinstance(value, np.ndarray):
        value = _plain(value, what)
    try:
        return np.array(value)
    except ValueError as error:
        shapes = dict.fromkeys(str(part.shape) for part in value if hasattr(part, "shape"))
        found = f"shapes {' and '.join(list(shapes)[:3])}" if shapes else "different lengths"
        raise ValueError(
            f"`{what}` must form one array, with one shape for every probe. Resize the images (and "
            "masks) to one size first; labels go beside the images, as in `(images, labels)`. "
            f"Received: {what} of {found}"
        ) from error


def is_picture(value: Any) -> bool:
    """Whether it is one of Pillow's pictures, found out without importing Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def is_tf_dataset(value: Any) -> bool:
    """Whether it is a `tf.data.Dataset`, found out without importing tensorflow."""
    return any(base.__module__.startswith("tensorflow.python.data") for base in type(value).__mro__)


def check_images(images: Any) -> None:
    """Refuse what is taken for arrays of images by mistake."""
    first = images[0] if isinstance(images, list) and images else images
    if isinstance(first, str | bytes | Path):
        raise TypeError(
            "`images` must be arrays or Pillow's pictures. Read a folder with "
            "`Probes.from_directory(folder)`, and files with `[PIL.Image.open(p) for p in paths]`. "
            f"Received: {first!r}"
        )
    if is_picture(images):
        raise TypeError(
            "`images` must be several pictures: give a single one as `[picture]`. "
            f"Received: {type(images).__name__}"
        )
    if is_tf_dataset(images) or isinstance(images, Iterator) or images is None:
        raise TypeError(
            "`images` must be an array; a dataset or a generator is read by "
            f"`Probes.from_dataset(dataset)`. Received: {type(images).__name__}"
        )


def _readable(values: list[Any] | tuple[Any, ...]) -> list[Any]:
    """The same list with arrays in the place of what numpy misreads."""
    found: list[Any] = [_detached(value) if hasattr(value, "detach") else value for value in values]
    places = [place for place, value in enumerate(found) if is_picture(value)]
    if places:
        from keras_saliency.common.pillow import pixels_of

        pixels = pixels_of([found[place] for place in places])
        for place, array in zip(places, pixels, strict=True):
            found[place] = array
    return found


def _plain(value: Any, what: str) -> Any:
    """What numpy can read of anything but its own arrays, lists and tuples."""
    if is_picture(value):
        return _readable([value])[0]
    if hasattr(value, "detach"):
        return _detached(value)
    if type(value).__name__.startswith("RaggedTensor"):
        raise ValueError(
            f"`{what}` must form one array, with one shape for every probe. Resize the images (and "
            "masks) to one size first. Received: a ragged tensor"
        )
    if hasattr(value, "to_numpy"):  # a column of pandas
        return value.to_numpy()
    from keras import ops

    return ops.convert_to_numpy(value)


def _detached(tensor: Any) -> Array:
    """The numbers of a torch tensor, whatever the backend; numpy knows no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def check_finite(images: Array, what: str) -> None:
    """Name the probes that hold NaN or infinity."""
    if images.dtype.kind in "iub":
        return
    bad = np.flatnonzero([not np.isfinite(image).all() for image in images])
    if bad.size:
        listed = ", ".join(map(str, bad[:_NAMED])) + " ..." * (len(bad) > _NAMED)
        raise ValueError(
            f"`{what}` holds NaN or infinity in probe {listed} (counted from 0; {len(bad)} of "
            f"{len(images)}). Leave these out or repair them."
        )


def frozen(array: Array) -> Array:
    """The array, read-only from now on."""
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array
