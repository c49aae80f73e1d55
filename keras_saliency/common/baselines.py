"""Baselines: images that stand for the absence of what an image shows."""

import contextlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from keras_saliency.common.resampling import along_axes
from keras_saliency.common.types import Array

Baseline: TypeAlias = Literal["zeros", "mean", "blur"] | float | np.ndarray

BLUR = 0.1  # the standard deviation of the "blur" baseline, as a share of each axis


def blurred(image: Array, sigmas: Sequence[float]) -> Array:
    """Blur `(height, width, channels)` by a Gaussian along each axis; weights end at the border."""
    matrices = []
    for length, sigma in zip(image.shape, sigmas, strict=False):
        distance = np.arange(length)[:, None] - np.arange(length)
        weights = np.exp(-0.5 * np.square(distance / max(sigma, 1e-6)))
        matrices.append(weights / weights.sum(axis=1, keepdims=True))
    return along_axes(matrices, image)


def baselines(images: Array, baseline: Any) -> Array:
    """Compute the baseline of each image.

    Args:
        images: `(batch, height, width, channels)`.
        baseline: `"zeros"`, `"mean"` (each image's mean colour), `"blur"` (each image, blurred
            until no more than coarse colours are left), or values for one image.

    Returns:
        float64, of the shape of `images`.

    Raises:
        ValueError: If `baseline` is neither a name nor values for one image.
    """
    name = baseline if isinstance(baseline, str) else None
    images = images.astype("float64")
    if name == "mean":
        axes = tuple(range(1, images.ndim - 1))
        return np.broadcast_to(images.mean(axis=axes, keepdims=True), images.shape)
    if name == "blur":
        sigmas = [BLUR * length for length in images.shape[1:-1]]
        return np.stack([blurred(image, sigmas) for image in images])
    values = np.asarray(0.0 if name == "zeros" else baseline)
    if values.dtype.kind in "iuf" and values.ndim < images.ndim:
        with contextlib.suppress(ValueError):  # where they do not fit
            return np.broadcast_to(values.astype("float64"), images.shape)
    raise ValueError(
        "baseline must be one of 'zeros', 'mean', 'blur', a number, one value for each channel, or "
        f"an image of shape {images.shape[1:]}. "
        f"Received: baseline={f'shape {values.shape}' if name is None else repr(name)}"
    )
