"""Normalization: from what a model gets to pixels of 0 to 255, and back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_saliency.common.arrays import as_array
from keras_saliency.common.types import Array
from keras_saliency.data.display import KNOWN_RANGES, shown_range
from keras_saliency.data.probes import Probes

_ROUNDING = 2.5  # Of 255: half a step, and what interpolation overshoots.


@dataclass(frozen=True)
class Scaling:
    """How pixels from 0 to 255 become the model's input.

        input = preprocess(pixels * scale + offset)

    Attributes:
        scale: Of each channel, or one for all.
        offset: Likewise.
        flipped: Whether the model gets blue, green, red.
        true_zero: Whether a pixel of 0 is known to be black, so that ratios mean something.
        preprocess: Called on float32 `(batch, height, width, channels)`, or `None`.
        window: What is shown as black and as white, of pixels from 0 to 255.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    flipped: bool = False
    true_zero: bool = True
    preprocess: Callable[[Any], Any] | None = None
    window: tuple[float, float] = field(default=(0.0, 255.0), compare=False)

    def display(self, pixels: Array) -> Array:
        """Show uint8 pixels as a person sees them, uint8 `(..., height, width, 3)`."""
        low, high = self.window
        shown = rgb(pixels)
        if self.window == (0.0, 255.0):
            return shown
        levels = np.rint(255 * np.clip((np.arange(256) - low) / (high - low), 0, 1))
        return levels.astype(np.uint8)[shown]

    def to_input(self, pixels: Array) -> Array:
        """Make the model's input, float32, of pixels `(batch, height, width, channels)`."""
        ordered = pixels[..., ::-1] if self.flipped else pixels
        # In float32: whole training sets pass through here.
        scaled = ordered * np.array(self.scale, np.float32) + np.array(self.offset, np.float32)
        scaled = scaled.astype(np.float32, copy=False)
        if self.preprocess is None:
            return scaled
        return as_array(self.preprocess(scaled), "preprocess(images)").astype(np.float32)

    def to_pixels(self, inputs: Array) -> Array:
        """Invert `to_input`, without `preprocess`: uint8 `(batch, height, width, channels)`."""
        pixels = (inputs - np.array(self.offset, np.float32)) / np.array(self.scale, np.float32)
        ordered = pixels[..., ::-1] if self.flipped else pixels
        return np.rint(np.clip(ordered, 0, 255)).astype(np.uint8)


# What preprocessing does to ImageNet's pixels in the manner of Caffe and of torchvision.
_CAFFE = Scaling((1.0,), (-103.939, -116.779, -123.68), flipped=True)
_TORCH = Scaling(
    tuple(1 / (255 * deviation) for deviation in (0.229, 0.224, 0.225)),
    (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225),
)
# What training data may be scaled to, in words.
COMMON = {
    "from 0 to 255": Scaling((1.0,), (0.0,)),
    "from 0 to 1": Scaling((1 / 255,), (0.0,)),
    "from -1 to 1": Scaling((2 / 255,), (-1.0,)),
    "less ImageNet's mean, blue first (mode='caffe')": _CAFFE,
    "of ImageNet's mean and deviation (mode='torch')": _TORCH,
}


def read_pixels(probes: Probes) -> tuple[Array, Scaling]:
    """Return probes as uint8 pixels `(batch, height, width, channels)`, and their normalization.

    Args:
        probes: With images in a known range, or preprocessed in the manner of Caffe or of
            torchvision, or of any range (then a pixel of 0 need not be black).

    Returns:
        The pixels and their `Scaling`.

    Raises:
        ValueError: If the probes' `preprocess` doesn't lead from the display to the images.

    Example:
        >>> pixels, scaling = read_pixels(Probes(np.linspace(-1, 1, 24).reshape(1, 2, 4, 3)))
        >>> bool(np.allclose(scaling.to_input(pixels)[0, 0, 0], [-1, -0.913, -0.826], atol=0.01))
        True
    """
    low, high = probes.value_range
    if probes.preprocess is None:
        scaling = _scaling_of(probes.images, low, high)
        return scaling.to_pixels(probes.images), scaling
    scaling = _linear(low, high, preprocess=probes.preprocess)
    # Greyscale is displayed as RGB; which of the two `preprocess` takes shows in what it makes.
    shown = probes.display if probes.clips is None else probes.clips
    for pixels in (shown, shown[..., :1]):
        if _makes(scaling, pixels, probes.images):
            return pixels, scaling
    raise ValueError(
        "Counterfactual images are made of what a person sees, and `preprocess` must lead from "
        "there to the model's input. Pass raw images of the model's size, greyscale or RGB, with "
        "`preprocess=` and without `display=`. "
        f"Received: display.shape={probes.display.shape}, images.shape={probes.images.shape}"
    )


def _scaling_of(inputs: Array, low: float, high: float) -> Scaling:
    """Return the scaling that leads to these inputs, as far as their values tell."""
    if (low, high) not in KNOWN_RANGES and inputs.shape[-1] == 3:
        # Standardised images would pass for Caffe's as well, but not for wide ones.
        for known, span in ((_CAFFE, 100), (_TORCH, 2)):
            pixels = (inputs - np.array(known.offset)) / known.scale
            inside = pixels.min() > -_ROUNDING and pixels.max() < 255 + _ROUNDING
            if inside and high - low > span:
                return known
    if (low, high) in KNOWN_RANGES or low == high:
        return _linear(low, high, true_zero=(low, high) in KNOWN_RANGES)
    window = tuple(255 * (end - low) / (high - low) for end in shown_range(inputs))
    return _linear(low, high, true_zero=False, window=window)


def _linear(low: float, high: float, **options: Any) -> Scaling:
    return Scaling(((high - low) / 255 or 1.0,), (low,), **options)


def _makes(scaling: Scaling, pixels: Array, inputs: Array) -> bool:
    """Tell whether these pixels become these inputs, up to the rounding to 8 bits."""
    if pixels.shape[:-1] != inputs.shape[:-1]:
        return False
    try:
        made = scaling.to_input(pixels[:4])
    except (ValueError, TypeError):  # `preprocess` takes another number of channels.
        return False
    tolerance = _ROUNDING / 255 * max(float(np.ptp(inputs)), 1e-6)
    return made.shape == inputs[:4].shape and bool(np.abs(made - inputs[:4]).max() <= tolerance)


def rgb(pixels: Array) -> Array:
    """Show uint8 pixels of any number of channels: the first three, or the first as grey."""
    shown = pixels[..., : 3 if pixels.shape[-1] >= 3 else 1]
    return np.ascontiguousarray(np.broadcast_to(shown, (*shown.shape[:-1], 3)))
