"""Receivers or donors as a set of images, with what counterfactual images are composed of."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array
from keras_saliency.data.masks import dilate
from keras_saliency.shortcuts.image_quality import find_quality, find_scale

_RIM = 1 / 16  # of the shorter side, the frame's depth; twice as much lets the object in
_SLOW = 1 / 5  # of the shorter side, over which light changes slowly
_STANDS_OUT = 25.0  # of 255: by so much a rim differs from its continuation where it stands out
_VISIBLE = 0.05  # share of a pixel from which it shows the object


class Inputs(NamedTuple):
    """What a model gets of some examples.

    Attributes:
        pixels: Images `(n, height, width, channels)`, or videos `(n, frames, ...)`, from 0 to 255.
        extras: The model's other inputs by name or position, a row for each example.
    """

    pixels: Array
    extras: Mapping[str | int, Array]


Swap = Callable[["ImageSet", "ImageSet", Array, Array], Array | Inputs]


class ImageSet:
    """Images, either receivers or donors. What counterfactuals are composed of is computed once.

    Args:
        pixels: uint8 `(n, height, width, channels)`, as displayed.
        labels: int64 `(n,)`, classes.
        masks: float32 `(n, height, width)` in [0, 1], 1 on the object; or `None`.
        tight: Like `masks`, with as little background as possible, from which the object's position
            and size are measured; by default the masks.
        covering: Like `masks`, but certain to cover the object, whatever else they cover; by
            default the masks.
        extras: The model's other inputs by name or position, a row for each image.

    Attributes:
        seeds: int64 `(n,)`, the seeds of the phases of the images' textures.
        spots: int64 `(n, patches, 2)`, row and column of the centres of each image's salient
            patches, that with most first, which are located anew at each evaluation; or `None`.
    """

    def __init__(
        self,
        pixels: Array,
        labels: Array,
        masks: Array | None,
        tight: Array | None = None,
        covering: Array | None = None,
        extras: Mapping[str | int, Array] | None = None,
    ) -> None:
        self.pixels, self.labels, self.masks = pixels, labels, masks
        self.extras = {} if extras is None else dict(extras)
        self.tight = masks if tight is None else tight
        self._covering = covering
        self.seeds = np.arange(len(pixels))
        self.spots: Array | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def inputs(self, index: Array | slice = slice(None)) -> Inputs:
        """Return what a model gets of some of the images, by default of all."""
        return Inputs(self.pixels[index], {name: rows[index] for name, rows in self.extras.items()})

    def counterfactuals(self, swap: Swap, donors: Any, i: Array, j: Array) -> Inputs:
        """Swap something between receivers, which these are, and donors.

        Args:
            swap: The function of a `Nuisance`.
            donors: An `ImageSet`.
            i: Indices of receivers, int `(pairs,)`.
            j: Indices of their donors, int `(pairs,)`.

        Returns:
            Counterfactual images `(pairs, height, width, channels)` from 0 to 255, with the
            receivers' other inputs where the swap returns images alone.
        """
        made = swap(self, donors, i, j)
        return made if isinstance(made, Inputs) else Inputs(made, self.inputs(i).extras)

    def changed(self, inputs: Inputs, index: Array) -> "ImageSet":
        """Replace what a model gets of some images, so that something else can be swapped.

        Args:
            inputs: Their counterfactual images and other inputs.
            index: The index of each, int `(pairs,)`.

        Returns:
            An `ImageSet` of the images, with the labels, masks, seeds and spots of these.
        """

        def chosen(values: Array | None) -> Array | None:
            return None if values is None else values[index]

        pixels, masks = np.rint(inputs.pixels).astype(np.uint8), chosen(self.masks)
        copy = ImageSet(pixels, self.labels[index], masks, chosen(self.tight), extras=inputs.extras)
        copy.seeds, copy.spots = self.seeds[index], chosen(self.spots)
        return copy

    @cached_property
    def hidden(self) -> Array:
        """Where the object is, with a margin: bool `(n, height, width)`."""
        if self.masks is None:
            return np.zeros(self.pixels.shape[:3], bool)
        return dilate(self.masks) > _VISIBLE

    @cached_property
    def backgrounds(self) -> Array:
        """The pixels with the object in-painted away (Telea 2004)."""
        return np.stack(list(map(inpainted, self.pixels, self.hidden)))

    @cached_property
    def safe_backgrounds(self) -> Array:
        """Like `backgrounds`, without what masks made by a program may have missed of the object.

        It would be pasted along with the background of a donor, and carry the donor's class.
        """
        if self._covering is None:
            return self.backgrounds
        return np.stack(list(map(inpainted, self.pixels, self.covered)))

    @cached_property
    def covered(self) -> Array:
        """Like `hidden`, with what masks made by a program may have missed of the object."""
        return self.hidden if self._covering is None else dilate(self._covering) > _VISIBLE

    @cached_property
    def rim(self) -> Array:
        """The outermost pixels, bool `(height, width)`."""
        height, width = self.pixels.shape[1:3]
        depth = max(1, round(_RIM * min(height, width)))
        rim = np.ones((height, width), bool)
        rim[depth:-depth, depth:-depth] = False
        return rim

    @cached_property
    def continued(self) -> Array:
        """The pixels with the rim in-painted from inside (Telea 2004)."""
        return np.stack([inpainted(image, self.rim) for image in self.pixels])

    @cached_property
    def standing_out(self) -> Array:
        """float32 `(n, height, width)` in [0, 1]: what is no continuation in the rim."""
        apart = np.abs(self.pixels.astype(np.float32) - self.continued).max(axis=-1)
        return np.clip(apart / _STANDS_OUT - 0.5, 0, 1) * self.rim

    @cached_property
    def casts(self) -> Array:
        """float64 `(n, channels)`: the mean log of each channel less their mean, off the object."""
        weights = (~self.hidden[..., None]).astype(np.float32)
        logs = np.log(np.maximum(self.pixels, 1).astype(np.float32))
        means = (weights * logs).sum((1, 2), dtype=np.float64) / np.maximum(weights.sum((1, 2)), 1)
        return means - means.mean(axis=1, keepdims=True)

    @cached_property
    def lights(self) -> Array:
        """float32 `(n, height, width)`: the slow change of the mean log luminance, off the object.

        A blur over a fifth of the image of what the masks leave, without its mean.
        """
        beside = (~self.hidden).astype(np.float32)
        sigma = _SLOW * min(self.pixels.shape[1:3])
        fields = np.empty(self.pixels.shape[:3], np.float32)
        for index, (seen, logs) in enumerate(zip(beside, self._log_luminance, strict=True)):
            weight = cv2.GaussianBlur(seen, (0, 0), sigma)
            slow = cv2.GaussianBlur(seen * logs, (0, 0), sigma) / np.maximum(weight, 1e-3)
            fields[index] = slow - slow.mean()
        return fields

    @cached_property
    def exposures(self) -> Array:
        """float64 `(n,)`: the mean log luminance, off the object."""
        beside = (~self.hidden).astype(np.float32)
        total = (beside * self._log_luminance).sum((1, 2), dtype=np.float64)
        return total / np.maximum(beside.sum((1, 2)), 1)

    @property
    def _log_luminance(self) -> Array:
        return np.log(np.maximum(self.pixels.mean(axis=-1, dtype=np.float32), 1))

    @cached_property
    def smooth(self) -> Array:
        """uint8, like the pixels: without their fine texture (a median over 3 x 3)."""
        return _medians(self.pixels)

    @cached_property
    def residuals(self) -> Array:
        """float16, like the pixels: their fine texture with scrambled phases.

        Only its frequencies and colours are kept. It is taken off the object and extended to the
        whole image at the same strength.
        """
        source = self.backgrounds
        fine = source.astype(np.float32) - _medians(source)
        visible = 1 - self.hidden.mean((1, 2))
        scrambled = np.empty(fine.shape, np.float16)  # Up to 255, in steps of 1/8 at the most.
        for index, (residual, share) in enumerate(zip(fine, visible, strict=True)):
            size = residual.shape[:2]
            noise = np.random.default_rng(self.seeds[index]).standard_normal(size)
            phases = np.exp(1j * np.angle(np.fft.rfft2(noise)))[..., None]
            spectrum = np.fft.rfft2(residual, axes=(0, 1)) * phases
            strength = 1 / np.sqrt(max(share, 1e-3))
            scrambled[index] = np.fft.irfft2(spectrum, s=size, axes=(0, 1)) * strength
        return scrambled

    @cached_property
    def qualities(self) -> Array:
        """int64 `(n,)`: the quality of the images' JPEG compression, 100 where there is none."""
        return np.array([find_quality(image) for image in self.pixels], np.int64)

    @cached_property
    def scales(self) -> Array:
        """float64 `(n,)`: the scale to which the images' details go, 1 where they are sharp."""
        return np.array([find_scale(image) for image in self.pixels], np.float64)

    @cached_property
    def boxes(self) -> Array:
        """int64 `(n, 4)`: the object's first and last row, first and last column."""
        height, width = self.pixels.shape[1:3]
        boxes = np.tile([0, height - 1, 0, width - 1], (len(self), 1))
        for index, mask in enumerate(required(self.tight) > _VISIBLE):
            if mask.any():
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                boxes[index] = rows[0], rows[-1], columns[0], columns[-1]
        return boxes

    @cached_property
    def reaches(self) -> Array:
        """int64 `(n, 4)`, like `boxes`: of a video, where the object is in any of the frames."""
        return self.boxes

    @cached_property
    def areas(self) -> Array:
        """float64 `(n,)`: the number of pixels that the object covers."""
        return required(self.tight).sum((1, 2), dtype=np.float64)


def required(value: Array | None) -> Array:
    """Return what a nuisance needs, or raise a ValueError where the images lack it."""
    if value is None:
        raise ValueError("This nuisance needs masks or spots, and these images have none.")
    return value


def inpainted(image: Array, hole: Array) -> Array:
    """Fill the hole, bool `(height, width)`, in an image, uint8 `(height, width, channels)`."""
    return by_channels(cv2.inpaint, image, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def by_channels(function: Callable[..., Array], image: Array, *args: Any, **kwargs: Any) -> Array:
    """Apply a function of OpenCV, which takes one channel or three, to any number of channels."""
    channels = image.shape[-1]
    if channels == 3:
        return function(image, *args, **kwargs)
    planes = [np.ascontiguousarray(image[..., channel]) for channel in range(channels)]
    return np.stack([function(plane, *args, **kwargs) for plane in planes], axis=-1)


def _medians(images: Array) -> Array:
    return np.stack([by_channels(cv2.medianBlur, image, 3) for image in images])
