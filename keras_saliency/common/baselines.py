"""Baselines: images that stand for the absence of what an image shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from keras_saliency.common.resampling import along_axes
from keras_saliency.common.types import Array

Baseline: TypeAlias = Literal["zeros", "mean", "blur"] | float | np.ndarray

BASELINES = ("zeros", "mean", "blur")
BLUR = 0.1  # the standard deviation of the "blur" baseline, as a share of each axis


def blurred(image: Array, sigmas: Sequence[float]) -> Array:
    """Blur `(height, width, channels)` by a Gaussian along each axis; weights end at the border."""
    matrices = []
    for length, sigma in zip(image.shape, sigmas, strict=False):
        distance = np.arange(length)[:, None] - np.arange(length)
        weights = np.exp(-0.5 * np.square(distance / max(sigma, 1e-6)))
        matrices.append(weights / weights.sum(axis=1, keepdims=True))
    return along_axes(matrices, image)


def check_baseline(baseline: Any, shape: tuple[int, ...]) -> None:
    """Raise a ValueError unless `baseline` is a name or values for one image of `shape`."""
    if isinstance(baseline, str):
        fits = baseline in BASELINES
    else:
        values = np.asarray(baseline)
        pairs = zip(values.shape[::-1], shape[::-1], strict=False)
        fits = (
            values.dtype.kind in "iuf"
            and values.ndim <= len(shape)
            and all(have in (1, want) for have, want in pairs)
        )
    if not fits:
        got = repr(baseline) if isinstance(baseline, str) else f"shape {np.shape(baseline)}"
        raise ValueError(
            f"baseline must be one of {', '.join(map(repr, BASELINES))}, a number, one value for "
            f"each channel, or an image of shape {shape}. Received: baseline={got}"
        )


def baselines(images: Array, baseline: Any) -> Array:
    """Compute the baseline of each image.

    Args:
        images: `(batch, height, width, channels)`.
        baseline: `"zeros"`, `"mean"` (each image's mean colour), `"blur"` (each image, blurred
            until no more than coarse colours are left), or values for one image.

    Returns:
        float64, of the shape of `images`.
    """
    check_baseline(baseline, images.shape[1:])
    images = images.astype("float64")
    if isinstance(baseline, str) and baseline == "mean":
        axes = tuple(range(1, images.ndim - 1))
        return np.broadcast_to(images.mean(axis=axes, keepdims=True), images.shape)
    if isinstance(baseline, str) and baseline == "blur":
        sigmas = [BLUR * length for length in images.shape[1:-1]]
        return np.stack([blurred(image, sigmas) for image in images])
    value = 0.0 if isinstance(baseline, str) else np.asarray(baseline, "float64")
    return np.broadcast_to(value, images.shape)
