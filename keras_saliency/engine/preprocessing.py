"""What a model's own `fit` and `predict` do to images before they call it, as in KerasHub.

The `preprocessor` of a task resizes, crops, pads and rescales. It is applied on the host, since it
may be written for `tf.data` alone.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from keras_saliency.common.arrays import frozen
from keras_saliency.common.resampling import along_axes, interpolation, resize_image, resize_maps
from keras_saliency.common.validation import check_finite
from keras_saliency.data.display import strips
from keras_saliency.data.inputs import ALONE, ModelInputs, split_inputs
from keras_saliency.data.probes import Probes

_AT_A_TIME = 32  # images, as `predict` has it
_MOVED = 2.0  # of 255: a larger difference is no rounding


class Preprocessing:
    """Applies a model's own preprocessing to images, and to what is drawn with them.

    Args:
        model: Any model; most have none, and their images are returned as they are.
        inputs: In which form the model's inputs are given.

    Example:
        >>> Preprocessing(keras.Sequential()).images(np.ones((1, 4, 6, 3))).shape
        (1, 4, 6, 3)
    """

    def __init__(self, model: keras.Model, inputs: ModelInputs = ALONE) -> None:
        self._model = model
        self._inputs = inputs

    @property
    def exists(self) -> bool:
        """Whether `fit` and `predict` do anything to images before they call the model."""
        # It is read at each call, since it may be replaced.
        preprocessor = getattr(self._model, "preprocessor", self._model)
        return hasattr(self._model, "preprocess_samples") and preprocessor is not None

    def images(self, images: np.ndarray, extras: Sequence[np.ndarray] = ()) -> np.ndarray:
        """Return images `(n, height, width, channels)` as the model gets them, float32."""
        if not self.exists:
            return images
        return np.asarray(self._applied(images, extras)[0], "float32")

    def probes(self, probes: Probes) -> Probes:
        """Return probes as the model gets them, with pictures and masks that are cropped alike."""
        if not self.exists:
            return probes
        given = list(probes.extras.values())
        images, extras, inputs = self._applied(probes.images, given)
        check_finite(images, "the images that the model's preprocessor returns")
        fed = copy.copy(probes)
        fed.images = frozen(np.asarray(images, "float32"))
        fed.model_inputs = replace(inputs, dtype=self._inputs.dtype)
        fed.extras = MappingProxyType(extras)
        if probes.kind != "signal":
            view = _View(lambda some: self.images(some, given), probes.images)
            if probes.clips is not None:
                fed.clips = view.of_pictures(probes.clips)
                fed.display = frozen(strips(fed.clips))
            else:
                fed.display = frozen(view.of_pictures(probes.display))
            if probes.masks is not None:
                fed.masks = frozen((view.of(255 * probes.masks) / 255).clip(0, 1))
        return fed

    def placed(self, maps: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Put maps of what the model gets where that lies in the images as they are given.

        Args:
            maps: `(n, h, w)` of any grid over what the model gets.
            images: `(n, height, width, channels)` as given.

        Returns:
            Maps `(n, height, width)`, zero where the model gets nothing.
        """
        if not self.exists:
            return maps
        view = _View(self.images, images)
        maps = resize_maps(maps, view.size)
        matrices = [view.matrix(axis) for axis in (0, 1)]
        return np.stack([along_axes(matrices, map_) for map_ in maps]).astype("float32")

    def _applied(
        self, images: np.ndarray, extras: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, dict[str | int, np.ndarray], ModelInputs]:
        """Preprocess batch by batch, as `predict` does; return images and other inputs."""
        names, parts = self._inputs.names, []
        # Of integers, what is resized is rounded; other images may come in another range.
        if np.issubdtype(self._inputs.dtype, np.integer) and images.max() > 2:
            bounds = np.iinfo(self._inputs.dtype)
            images = np.rint(images).clip(bounds.min, bounds.max).astype(self._inputs.dtype)
        at = names.index(self._inputs.image) if names else 0
        for start in range(0, len(images), _AT_A_TIME):
            rows = slice(start, min(start + _AT_A_TIME, len(images)))
            batch = [array[rows] for array in (*extras[:at], images, *extras[at:])]
            given: Any = tuple(batch) if names else batch[0]
            if names and isinstance(names[0], str):
                given = dict(zip(names, batch, strict=True))
            made = self._model.preprocess_samples(given)
            # Labels and weights would come behind them.
            parts.append(keras.tree.map_structure(_as_array, _without_labels(made)))
        made = keras.tree.map_structure(lambda *values: np.concatenate(values), *parts)
        is_named = isinstance(made, dict | tuple) and (not names or self._inputs.image in made)
        return split_inputs(made, self._inputs.image if names and is_named else None)


class _View:
    """How preprocessing resizes and crops, whatever it does to the values.

    It is measured: the values that black and white images get are black and white in the result.
    Where these are equal, as each image is scaled by its own values, images are taken for resized.

    Args:
        feed: `(images) -> images` as the model gets them.
        images: Images as they are given, of which the shape counts.
    """

    def __init__(self, feed: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> None:
        self._feed = feed
        self._given, self._channels = images.shape[1:-1], images.shape[-1]
        black = np.zeros((1, *images.shape[1:]), "float32")
        self._black, white = feed(black)[..., 0], feed(black + 255)[..., 0]
        self._span = white - self._black

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` of what the model gets."""
        return self._span.shape[-2], self._span.shape[-1]

    def of(self, greys: np.ndarray) -> np.ndarray:
        """Return what is seen of greyscale images `(n, height, width)` from 0 to 255."""
        if not self._span.any():
            return resize_maps(greys, self.size)
        filled = np.repeat(greys[..., None].astype("float32"), self._channels, axis=-1)
        values = self._feed(filled)[..., 0] - self._black
        return 255 * values / np.where(self._span == 0, np.inf, self._span)

    def of_pictures(self, pictures: np.ndarray) -> np.ndarray:
        """Return what is seen of pictures, uint8 `(n, [frames,] height, width, 3)`."""
        if self._is_in_place():
            return pictures
        pictures = _resized(pictures, self._given[-2:])
        colours = [self.of(pictures[..., channel]) for channel in range(3)]
        return np.rint(np.stack(colours, axis=-1)).clip(0, 255).astype("uint8")

    def matrix(self, axis: int) -> np.ndarray:
        """Return the matrix that puts a map where it lies in the images along an axis."""
        seen = (self._span[0] != 0) | ~self._span.any()
        cells = np.flatnonzero(seen.any(axis=1 - axis))
        pixels = np.arange(self._given[axis])
        places = np.where(seen, self.of(self._ramp(axis))[0] / 255 * pixels[-1], np.nan)
        places = np.nanmean(places.take(cells, axis), axis=1 - axis)
        margin = 0.5 + np.ptp(places) / max(1, len(cells) - 1) / 2
        inside = (pixels > places.min() - margin) & (pixels < places.max() + margin)
        order = places.argsort()
        at = np.interp(pixels, places[order], cells[order])
        return interpolation(at, self.size[axis]) * inside[:, None]

    def _ramp(self, axis: int) -> np.ndarray:
        """Return an image that grows from 0 to 255 along an axis of its plane."""
        values = np.linspace(0, 255, self._given[-2:][axis])
        plane = values[:, None] if axis == 0 else values
        return np.broadcast_to(plane, (1, *self._given)).astype("float32")

    def _is_in_place(self) -> bool:
        """Tell whether images are neither resized nor cropped."""
        if self._span.shape[1:] != self._given:
            return False
        ramps = [self._ramp(axis) for axis in (0, 1)]
        return all(np.abs(self.of(ramp) - ramp).max() < _MOVED for ramp in ramps)


def _without_labels(made: Any) -> Any:
    return keras.utils.unpack_x_y_sample_weight(made)[0]


def _resized(pictures: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize pictures, uint8 `(n, [frames,] height, width, 3)`."""
    if pictures.shape[-3:-1] == size:
        return pictures
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    resized = np.stack([resize_image(picture, (size[0], size[1])) for picture in flat])
    return resized.reshape(*pictures.shape[:-3], *resized.shape[1:])


def _as_array(value: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value)
