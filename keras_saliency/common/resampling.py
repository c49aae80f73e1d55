"""Linear operations along the axes of grids of any rank: resizing, blurring, baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from keras_saliency.common.types import Array

Baseline: TypeAlias = Literal["zeros", "mean", "blur"] | float | np.ndarray

BASELINES = ("zeros", "mean", "blur")
BLUR = 0.1  # the standard deviation of the "blur" baseline, as a share of each axis


def along_axes(matrices: Sequence[np.ndarray], array: np.ndarray) -> np.ndarray:
    """Multiply the first axes of an array by one matrix (out, in) each."""
    for axis, matrix in enumerate(matrices):
        array = np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
    return array


def interpolation(places: np.ndarray, length: int) -> np.ndarray:
    """Return the matrix (places, length) that interpolates linearly between nodes 0 to length-1.

    Outside, the nearest node counts.
    """
    places = np.clip(places, 0, length - 1)
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(length)))


def resized(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize the first axes of an array linearly, with half-pixel centres."""
    return along_axes(
        [
            interpolation((np.arange(new) + 0.5) * old / new - 0.5, old)
            for new, old in zip(size, array.shape, strict=False)
        ],
        array,
    )


def blurred(image: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Blur (height, width, channels) by a Gaussian along each axis; weights end at the border."""
    matrices = []
    for length, sigma in zip(image.shape, sigmas, strict=False):
        distance = np.arange(length)[:, None] - np.arange(length)
        weights = np.exp(-0.5 * np.square(distance / max(sigma, 1e-6)))
        matrices.append(weights / weights.sum(axis=1, keepdims=True))
    return along_axes(matrices, image)


def check_baseline(baseline: Any, shape: tuple[int, ...]) -> None:
    """Raise a ValueError unless `baseline` is a name or values for one image of this shape."""
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


def baselines(images: np.ndarray, baseline: Any) -> np.ndarray:
    """Return what stands for nothing in each image, of the shape of `images`, float64.

    Args:
        images: (batch, height, width, channels).
        baseline: `"zeros"`, `"mean"` (each image's mean colour), `"blur"` (each image, blurred
            until no more than coarse colours are left), or values for one image.
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


def average_masks(masks: Array, size: tuple[int, int]) -> Array:
    """Average masks over the cells of a grid, by the exact area that falls into each cell.

    Args:
        masks: Numbers in [0, 1] or bool, `(batch, height, width)`, 1 on the object.
        size: The grid `(h, w)`.

    Returns:
        float64 `(batch, h, w)` in [0, 1], the share of each cell that shows the object.

    Raises:
        ValueError: If there is no batch axis.

    Example:
        >>> average_masks(np.array([[[1, 1, 0], [1, 1, 0]]]), (1, 2)).round(2).tolist()
        [[[1.0, 0.33]]]
    """
    if np.ndim(masks) != 3:
        raise ValueError(
            "`masks` must be (batch, height, width); give a single mask a batch axis, "
            f"`masks[None]`. Received: masks.shape={np.shape(masks)}"
        )
    shares = np.asarray(masks, np.float64)
    if shares.shape[1:] != tuple(size):
        rows, columns = (_overlaps(n, m) for n, m in zip(shares.shape[1:], size, strict=True))
        # Not a matrix product, which would wake all the threads of BLAS beside the training.
        shares = np.einsum("yh,nhw->nyw", rows, shares)
        shares = np.einsum("xw,nyw->nyx", columns, shares)
    return shares


def _overlaps(cells_in: int, cells_out: int) -> Array:
    """`(cells_out, cells_in)`: the share of each new cell that each old cell covers."""
    old = np.arange(cells_in + 1) / cells_in
    new = np.arange(cells_out + 1)[:, None] / cells_out
    overlap = np.minimum(new[1:], old[1:]) - np.maximum(new[:-1], old[:-1])
    return overlap.clip(0) * cells_out
