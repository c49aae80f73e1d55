"""Resampling: the functions that bring arrays to another grid.

- `resize_linear`: arrays of any rank, float64, for maps that are computed with.
- `resize_maps`: maps that are shown; linear where an axis grows, averaged where it shrinks.
- `resize_bilinear`: what a model gets, as `keras.utils.image_dataset_from_directory` resizes it.
- `resize_image`: images that are shown; averaged by area, or enlarged smoothly.
- `resize_by_rows`: what a map is laid over; averaged where the rows shrink, else linear.
- `average_masks`: the exact share of each cell that a mask covers, for measures.

They differ in their results, which tests pin, so none stands for another. Elsewhere are only: the
blur of `BackgroundSwap`, on a backend's tensors and inside `tf.data`; the cubic interpolation of
optical flow and of drawn noise; and enlarging by whole factors without interpolation.
"""

from collections.abc import Sequence

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_batch


def along_axes(matrices: Sequence[Array], array: Array) -> Array:
    """Multiply the first axes of an array by one matrix `(out, in)` each."""
    for axis, matrix in enumerate(matrices):
        array = np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
    return array


def interpolation(positions: Array, length: int) -> Array:
    """Return the matrix `(positions, length)` that interpolates between nodes 0 to `length - 1`.

    Outside of them, the nearest node counts.
    """
    positions = np.clip(positions, 0, length - 1)
    return np.maximum(0.0, 1.0 - np.abs(positions[:, None] - np.arange(length)))


def overlaps(starts: Array, ends: Array, edges: Array) -> Array:
    """Return how much of each cell, from one edge to the next, lies from each start to its end."""
    shared = np.minimum(ends[:, None], edges[1:]) - np.maximum(starts[:, None], edges[:-1])
    return shared.clip(0)


def resize_linear(array: Array, size: Sequence[int]) -> Array:
    """Resize the first axes of an array linearly, with half-pixel centres."""
    matrices = [
        interpolation((np.arange(new) + 0.5) * old / new - 0.5, old)
        for new, old in zip(size, array.shape, strict=False)
    ]
    return along_axes(matrices, array)


def resize_bilinear(image: Array, size: tuple[int, int] | None) -> Array:
    """Resize `(height, width, ...)` to `size` without antialiasing, float32, as Keras loads."""
    if size is None or image.shape[:2] == size:
        return image
    values = cv2.resize(image.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    return values.reshape(*size, *image.shape[2:])


def resize_image(image: Array, size: tuple[int, int], enlarging: int = cv2.INTER_LINEAR) -> Array:
    """Resize `(height, width, channels)`, averaging where it shrinks, by `enlarging` elsewhere."""
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else enlarging)


def resize_by_rows(image: Array, size: tuple[int, int]) -> Array:
    """Resize `(height, width, ...)`, averaging where the rows shrink, linearly elsewhere.

    By OpenCV, as a matrix product would wake all the threads of BLAS.
    """
    method = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=method)


def scaled_size(shape: tuple[int, ...], factor: float) -> tuple[int, int]:
    """Return the height and width of `shape` times a factor, at least 1."""
    return max(1, round(factor * shape[0])), max(1, round(factor * shape[1]))


def resize_maps(maps: Array, size: tuple[int, int]) -> Array:
    """Resize maps bilinearly with half-pixel centres.

    The middle of a cell stays the middle of what the cell becomes, edges are repeated, and nothing
    overshoots. Maps that shrink are averaged, so that no fine line is skipped.

    Args:
        maps: Floats `(..., h, w)`, finite.
        size: The new `(height, width)` in pixels.

    Returns:
        float32 `(..., height, width)`.

    Example:
        >>> resize_maps(np.array([[0.0, 1.0]]), (1, 4)).tolist()
        [[0.0, 0.25, 0.75, 1.0]]
    """
    resized = [
        resize_by_rows(resize_by_rows(map_, (size[0], map_.shape[1])).T, size[::-1]).T
        for map_ in maps.reshape(-1, *maps.shape[-2:]).astype(np.float32)
    ]
    return np.stack(resized).reshape(*maps.shape[:-2], *size)


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
    check_batch(masks, "masks")
    shares = np.asarray(masks, np.float64)
    if shares.shape[1:] != tuple(size):
        rows, columns = (cell_shares(n, m) for n, m in zip(shares.shape[1:], size, strict=True))
        # Not a matrix product, which would wake all the threads of BLAS beside the training.
        shares = np.einsum("yh,nhw->nyw", rows, shares)
        shares = np.einsum("xw,nyw->nyx", columns, shares)
    return shares


def cell_shares(cells_in: int, cells_out: int) -> Array:
    """Return `(cells_out, cells_in)`, the share of each new cell that each old cell covers."""
    new = np.arange(cells_out + 1) / cells_out
    return overlaps(new[:-1], new[1:], np.arange(cells_in + 1) / cells_in) * cells_out
