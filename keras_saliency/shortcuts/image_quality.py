"""Compression and resolution: what an image has been through, by what that left in it."""

from typing import Any

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array

NOT_COMPRESSED = 100  # as a quality
# The qualities that are told apart; strong compression is what a model can see.
_QUALITIES = (3, 5, 8, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 75, 90)
_DIP = 0.6  # of what the neighbours change: compressing again at the same quality changes as little
_ROUNDING = 0.3  # of 255, the mean change by rounding
_ENOUGH = 64  # pixels a side, which show the compression
FULL = 1.0  # as a scale
_SCALES = (0.25, 0.35, 0.5, 0.7)
_EMPTY = 0.4  # of what half the scale takes away: an image of that scale loses no more by it


def as_jpeg(image: Array, quality: int) -> Array:
    """Return the bytes of an image `(height, width, channels)` as a JPEG, uint8 `(n,)`."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    return cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)[1]


def compress(image: Array, quality: int) -> Array:
    """Compress an image as JPEG does.

    Args:
        image: uint8 `(height, width, channels)`, grey or RGB.
        quality: From 1 to 100.

    Returns:
        The image as it is then shown, likewise.
    """
    data = as_jpeg(image, quality)
    shown: Any = cv2.imdecode(data, cv2.IMREAD_COLOR if image.shape[-1] == 3 else 0)
    return shown.reshape(image.shape)[..., ::-1]


def find_quality(image: Array) -> int:
    """Estimate the quality at which an image was compressed last.

    Compressing it again at that quality hardly changes it, while others near it do. What was
    scaled or cropped since then counts as not compressed.

    Args:
        image: uint8 `(height, width, channels)`, RGB.

    Returns:
        The quality, one of a few, or 100 where the image shows no compression, or is no picture in
        grey or RGB.

    Example:
        >>> noise = np.random.default_rng(0).normal(128, 30, (64, 64, 3)).clip(0, 255)
        >>> image = noise.astype(np.uint8)
        >>> find_quality(image), find_quality(compress(image, 12))
        (100, 12)
    """
    if image.shape[-1] not in (1, 3):
        return NOT_COMPRESSED
    middle = _middle(image)
    grey = cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY)[..., None] if middle.shape[-1] == 3 else middle
    changes = np.array([cv2.absdiff(grey, compress(grey, q)).mean() for q in _QUALITIES])
    around = (changes[:-2] + changes[2:]) / 2 + _ROUNDING
    share = changes[1:-1] / around
    best = int(share.argmin())
    return _QUALITIES[1 + best] if share[best] < _DIP else NOT_COMPRESSED


def rescale(image: Array, scale: float) -> Array:
    """Make an image smaller and enlarge it again.

    Args:
        image: uint8 `(height, width, channels)`.
        scale: The share of its height and width, in (0, 1].

    Returns:
        The image without its finer details, likewise.
    """
    height, width = image.shape[:2]
    size = max(1, round(scale * width)), max(1, round(scale * height))
    planes = [
        cv2.resize(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), (width, height))
        for plane in np.ascontiguousarray(image.transpose(2, 0, 1))
    ]
    return np.stack(planes, axis=-1)


def find_scale(image: Array) -> float:
    """Estimate to which scale the details of an image go.

    An image that was enlarged has no details to lose below its own scale.

    Args:
        image: uint8 `(height, width, channels)`.

    Returns:
        One of a few scales, or 1.

    Example:
        >>> from keras_saliency.data.synthetic import scenes
        >>> image = scenes(4).images[0]
        >>> find_scale(image), find_scale(rescale(image, 0.5))
        (1.0, 0.5)
    """
    grey = image.mean(-1, dtype=np.float32, keepdims=True)
    for scale in _SCALES:
        if _loss(grey, scale) < _EMPTY * (_loss(grey, scale / 2) + _ROUNDING):
            return scale
    return FULL


def _loss(image: Array, scale: float) -> float:
    """The mean change by a smaller scale."""
    return float(np.abs(image - rescale(image, scale)).mean())


def _middle(image: Array) -> Array:
    """The middle of an image, which is enough of it, from the corner of a block of 8 x 8 on."""
    top, left = (max(0, length - _ENOUGH) // 2 // 8 * 8 for length in image.shape[:2])
    return image[top : top + _ENOUGH, left : left + _ENOUGH]
