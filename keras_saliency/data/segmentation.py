"""Masks of objects from a segmentation: a function, a Keras model, or rembg."""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_saliency.common.arrays import as_array
from keras_saliency.common.progress import with_progress
from keras_saliency.common.resampling import average_masks, resize_bilinear
from keras_saliency.common.types import Array
from keras_saliency.common.validation import is_integer
from keras_saliency.data.masks import as_masks

_BATCH = 32
_REMBG = "rembg"
_REMBG_MODEL = "u2net"
_SUM_ERROR = 1e-2  # of probabilities, in half precision too


class Segmenter(NamedTuple):
    """What segments images.

    Attributes:
        name: Its name, which the verdict shows.
        segment: Function from uint8 images `(batch, height, width, 3)` to masks `(batch, h, w)`.
    """

    name: str
    segment: Callable[[Array], Any]


def is_segmenter(masks: Any) -> bool:
    """Tell whether masks are given by what computes them: a function, a model or `"rembg"`."""
    return callable(masks) or (isinstance(masks, str) and masks.partition(":")[0] == _REMBG)


def segment(masks: Any, images: Array, cache: str | Path | None = None) -> tuple[Array, str]:
    """Compute masks of images, in batches, with progress where it takes more than 2 s.

    Args:
        masks: A function, called with at most 32 uint8 images `(batch, height, width, 3)`, RGB,
            that returns masks `(batch, h, w)` of any size: bool, in [0, 1] or 0 to 255; a Keras
            segmentation model, see `segmentation_masks`; or `"rembg"`, `"rembg:MODEL"` or
            `"rembg:FILE.onnx"`, see `rembg_masks`.
        images: uint8 `(batch, [frames,] height, width, 3)`.
        cache: A file `.npz` that keeps masks of this segmenter, by the images' pixels; read and
            extended.

    Returns:
        float32 masks in [0, 1] of the images' shape without the channels, and the name of the
        segmenter.

    Raises:
        TypeError: If masks are no numbers.
        ValueError: If masks are not of the images, or there is no such model.
        ModuleNotFoundError: If rembg is not installed.

    Example:
        >>> images = np.zeros((2, 4, 6, 3), np.uint8)
        >>> images[0, 1:3, 2:4] = 255
        >>> masks, name = segment(lambda images: images.mean(axis=-1) > 127, images)
        >>> masks.shape, float(masks[0].sum())
        ((2, 4, 6), 4.0)
    """
    segmenter = _as_segmenter(masks)
    flat = images.reshape(-1, *images.shape[-3:])
    computed = _compute(segmenter, flat) if cache is None else _cached(segmenter, flat, Path(cache))
    return computed.reshape(images.shape[:-1]), segmenter.name


def segmentation_masks(
    model: Any,
    classes: Sequence[int] | None = None,
    preprocess: Callable[[Any], Any] | None = None,
) -> Callable[[Array], Array]:
    """Make the function that computes masks with a semantic segmentation model.

    Args:
        model: A Keras model from images to logits or probabilities, `(batch, h, w, classes)`, or
            of one class `(batch, h, w, 1)`. A KerasHub task applies its own preprocessor.
        classes: The classes that are objects. By default all but class 0, which is the background
            in sets such as Pascal VOC.
        preprocess: Function from float32 images of 0 to 255 to the model's input.

    Returns:
        A function from uint8 images `(batch, height, width, 3)` to float32 masks `(batch, h, w)`,
        the probability that a pixel shows an object.

    Raises:
        ValueError: If `classes` is no list of numbers of classes.

    Example:
        >>> import keras
        >>> layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1, activation="softmax")]
        >>> masks = segmentation_masks(keras.Sequential(layers), classes=[2])
        >>> round(float(masks(np.zeros((1, 8, 8, 3), np.uint8)).max()), 1)
        0.2
    """
    if classes is not None and not (
        isinstance(classes, Sequence | np.ndarray) and all(map(is_integer, classes))
    ):
        raise ValueError(
            f"`classes` must be a list of numbers of classes. Received: classes={classes!r}"
        )

    def masks(images: Array) -> Array:
        inputs = _resized(images.astype(np.float32), _input_size(model))
        scores = model.predict(inputs if preprocess is None else preprocess(inputs), verbose=0)
        return _foreground(scores, len(images), classes)

    return masks


def rembg_masks(model: str = _REMBG_MODEL) -> Callable[[Array], Array]:
    """Make the function that computes masks with rembg, which finds salient objects.

    Args:
        model: A model of rembg, which it downloads once: `"u2net"` (176 MB) and
            `"isnet-general-use"` (179 MB) are free to use. Or the path of a file `.onnx` of a
            model with the input of U2-Net, `(1, 3, 320, 320)`.

    Returns:
        A function from uint8 images `(batch, height, width, 3)` to float32 masks of their size.
        rembg scales each mask to reach 0 and 1, also of an image without an object.

    Raises:
        ModuleNotFoundError: If rembg or ONNX Runtime is not installed.
        ValueError: If rembg knows no such model, or there is no such file.
    """
    session = _session(model)

    def masks(images: Array) -> Array:
        from PIL import Image

        made = [session.predict(Image.fromarray(image))[0] for image in images]
        return np.stack([np.asarray(mask, np.float32) / 255 for mask in made])

    return masks


def _as_segmenter(masks: Any) -> Segmenter:
    """Name what computes masks, and turn models into functions."""
    import keras

    if isinstance(masks, str):
        model = masks.partition(":")[2] or _REMBG_MODEL
        return Segmenter(f"rembg, {Path(model).name}", rembg_masks(model))
    if isinstance(masks, keras.Model):
        return Segmenter(f"model {masks.name}", segmentation_masks(masks))
    return Segmenter(f"function {getattr(masks, '__name__', type(masks).__name__)}", masks)


def _compute(segmenter: Segmenter, images: Array) -> Array:
    """Compute float32 masks in [0, 1] of the images' size."""
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    masks = []
    for batch in with_progress(batches, len(batches), f"Masks ({segmenter.name}), batches"):
        made = as_array(segmenter.segment(batch.copy()), "masks(images)")
        if made.ndim == 4 and made.shape[-1] == 1:
            made = made[..., 0]
        if made.ndim != 3 or len(made) != len(batch):
            raise ValueError(
                "The function in `masks` must return one mask per image, (batch, height, width). "
                f"Received: masks of shape {made.shape} for images of shape {batch.shape}"
            )
        masks.append(_fitted(made, batch.shape[1:3]))
    return as_masks(np.concatenate(masks), images.shape[:3])


def _fitted(masks: Array, size: tuple[int, int]) -> Array:
    """Resize masks, averaging where they shrink."""
    if masks.dtype.kind not in "biuf" or masks.shape[1:] == size:
        return masks
    if masks.shape[1] > size[0]:
        return average_masks(masks, size)
    return np.stack([resize_bilinear(mask.astype(np.float32), size) for mask in masks])


def _cached(segmenter: Segmenter, images: Array, path: Path) -> Array:
    """Compute the masks that a file does not hold, and add them to it."""
    keys = [
        hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest() for image in images
    ]
    known = _read_cache(path, segmenter.name)
    new = [index for index, key in enumerate(keys) if key not in known]
    if new:
        made = np.rint(255 * _compute(segmenter, images[new])).astype(np.uint8)
        known |= {keys[index]: mask for index, mask in zip(new, made, strict=True)}
        _write_cache(path, segmenter.name, known)
    return np.stack([known[key] for key in keys]).astype(np.float32) / 255


def _read_cache(path: Path, name: str) -> dict[str, Array]:
    """Read the masks of a segmenter; none of another segmenter or of a damaged file."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if file["name"] != name:
                return {}
            return {key: file[key] for key in file.files if key != "name"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _write_cache(path: Path, name: str, masks: dict[str, Array]) -> None:
    """Replace the file at once, so that another process never reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(suffix=".npz", dir=path.parent)
    arrays: dict[str, Any] = {"name": np.array(name), **masks}
    with os.fdopen(handle, "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(temporary, path)


def _input_size(model: Any) -> tuple[int, int] | None:
    """Return the height and width that a model needs, or `None` where it takes any.

    A KerasHub preprocessor crops what is not of its own aspect ratio, and the mask with it: so
    images are brought to its size first.
    """
    size = getattr(getattr(model, "preprocessor", None), "image_size", None)
    if size is None:
        shape = getattr(model, "input_shape", None)
        size = shape[1:3] if isinstance(shape, tuple) and len(shape) == 4 else None
    return None if size is None or None in size else (int(size[0]), int(size[1]))


def _resized(images: Array, size: tuple[int, int] | None) -> Array:
    return np.stack([resize_bilinear(image, size) for image in images])


def _foreground(scores: Any, count: int, classes: Sequence[int] | None) -> Array:
    """Compute the probability of an object from logits or probabilities per class."""
    if np.ndim(scores) != 4 or len(scores) != count:
        shape = (
            {k: np.shape(v) for k, v in scores.items()}
            if isinstance(scores, dict)
            else np.shape(scores)
        )
        raise ValueError(
            "A segmentation model must return (batch, height, width, classes), logits or "
            f"probabilities; wrap another in a function of images. Received: {shape}"
        )
    scores = np.asarray(scores, np.float32)
    channels = scores.shape[-1]
    if channels == 1:
        within = scores.min() >= 0 and scores.max() <= 1
        return scores[..., 0] if within else 1 / (1 + np.exp(-scores[..., 0]))
    if classes is not None and not all(0 <= label < channels for label in classes):
        raise ValueError(
            f"`classes` must be among the model's {channels}. Received: classes={list(classes)}"
        )
    if scores.min() < 0 or np.abs(scores.sum(axis=-1) - 1).max() > _SUM_ERROR:
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
    kept = range(1, channels) if classes is None else classes
    return scores[..., list(kept)].sum(axis=-1).clip(0, 1)


def _session(model: str) -> Any:
    """Open a model of rembg."""
    try:
        import onnxruntime  # rembg ends the process where it is missing.
        import rembg
        from rembg.sessions.u2net_custom import U2netCustomSession
    except ImportError as error:
        raise ModuleNotFoundError(
            'masks="rembg" needs rembg and ONNX Runtime: pip install "keras-saliency[rembg]"',
            name=error.name,
        ) from error

    class OwnFile(U2netCustomSession):
        """A model file anywhere, where rembg takes only those in its own folder."""

        @classmethod
        def download_models(cls, *args: Any, **kwargs: Any) -> str:
            return str(kwargs["model_path"])

    if not model.endswith(".onnx"):
        return rembg.new_session(model)
    if not Path(model).is_file():
        raise ValueError(f'masks="rembg:FILE.onnx" must name a file. Received: {model!r}')
    return OwnFile("u2net_custom", onnxruntime.SessionOptions(), model_path=model)
