"""Measures of a map, at the map's own resolution: how much of it lies where, and how spread out.

Where a model looks is no proof of what it uses. Masks are averaged over the map's cells, never the
map stretched over the mask: a perfect map of one cell must score 1. A dead map (all zero, NaN or
infinite) gives `nan`, and so does a mask that is empty or covers everything.
"""

import numpy as np

from keras_saliency.common.resampling import average_masks
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_batch


def mass_in_mask(maps: Array, masks: Array) -> Array:
    """Compute the share of a map's magnitude that lies on the object.

        sum |M| A / sum |M|,   A the mask averaged over the map's cells

    Args:
        maps: Raw maps `(batch, h, w)`; of signed ones the magnitude counts.
        masks: `(batch, height, width)` in [0, 1], of any size, 1 on the object.

    Returns:
        float64 `(batch,)` in [0, 1]. A map that knows nothing scores the object's share of the
        image, so read it beside `enrichment`.

    Raises:
        ValueError: If the shapes are wrong or don't fit together.

    Example:
        >>> mass_in_mask(np.array([[[3.0, -1.0]]]), np.array([[[1, 0], [1, 0]]])).tolist()
        [0.75]
    """
    weights, shares = _weights_and_shares(maps, masks)
    return (weights * shares).sum((1, 2))


def enrichment(maps: Array, masks: Array) -> Array:
    """Compute how many times more of a map lies on the object than by chance.

        mass_in_mask / (the object's share of the image)

    Args:
        maps: Raw maps `(batch, h, w)`; of signed ones the magnitude counts.
        masks: `(batch, height, width)` in [0, 1], of any size, 1 on the object.

    Returns:
        float64 `(batch,)`, from 0; 1 is chance.

    Raises:
        ValueError: If the shapes are wrong or don't fit together.

    Example:
        >>> enrichment(np.array([[[3.0, -1.0]]]), np.array([[[1, 0], [1, 0]]])).tolist()
        [1.5]
    """
    weights, shares = _weights_and_shares(maps, masks)
    return (weights * shares).sum((1, 2)) / shares.mean((1, 2))


def pointing_hit(maps: Array, masks: Array) -> Array:
    """Tell whether a map's peak lies on the object: the pointing game.

    Zhang et al. 2016, "Top-down neural attention by excitation backprop", arXiv:1608.00507.

    Args:
        maps: Raw maps `(batch, h, w)`; of signed ones the magnitude counts.
        masks: `(batch, height, width)` in [0, 1], of any size, 1 on the object.

    Returns:
        float64 `(batch,)`: 1 for a hit and 0 for a miss; between them where the peak's cell shows
        the object in part (its share), or where several peaks are equal (their average).

    Raises:
        ValueError: If the shapes are wrong or don't fit together.

    Example:
        >>> pointing_hit(np.array([[[3.0, -4.0]]]), np.array([[[1, 0], [1, 0]]])).tolist()
        [0.0]
    """
    weights, shares = _weights_and_shares(maps, masks)
    peaks = weights == weights.max((1, 2), keepdims=True)
    return (peaks * shares).sum((1, 2)) / peaks.sum((1, 2))


def entropy(maps: Array) -> Array:
    """Compute how spread out a map's magnitude is: its normalised entropy.

        -sum w log w / log(h w),   w = |M| / sum |M|

    Args:
        maps: Raw maps `(batch, h, w)`; of signed ones the magnitude counts.

    Returns:
        float64 `(batch,)` in [0, 1]: 0 where all lies in one cell, 1 where all cells are alike;
        `nan` for maps of a single cell, too.

    Raises:
        ValueError: If the shape is wrong.

    Example:
        >>> entropy(np.array([[[0.0, 5.0]], [[2.0, -2.0]]])).tolist()
        [0.0, 1.0]
    """
    weights, alive = _weights(maps)
    cells = weights[0].size
    logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
    spread = np.abs((weights * logs).sum((1, 2)))
    return np.where(alive & (cells > 1), spread / np.log(max(cells, 2)), np.nan)


def similarity(maps: Array, others: Array) -> Array:
    """Compute how alike two maps of one probe are, such as those of two epochs.

    Pearson's correlation over the cells, which does not see a change of scale: logits grow while
    a model trains, and their maps with them.

    Args:
        maps: Raw maps `(batch, h, w)`; the sign counts.
        others: The maps to compare with, of the same shape.

    Returns:
        float64 `(batch,)` in [-1, 1]; `nan` where one of the two is dead or the same everywhere.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> similarity(np.array([[[0.0, 1.0, 2.0]]]), np.array([[[5.0, 7.0, 9.0]]])).tolist()
        [1.0]
    """
    check_alike(maps, others)
    first, known = _standardised(maps)
    second, also_known = _standardised(others)
    return np.where(known & also_known, (first * second).sum((1, 2)).clip(-1, 1), np.nan)


def check_alike(maps: Array, others: Array) -> None:
    """Refuse maps of different shapes."""
    if np.shape(maps) != np.shape(others):
        raise ValueError(
            "Maps can only be compared with maps of the same shape. "
            f"Received: maps.shape={np.shape(maps)}, others.shape={np.shape(others)}"
        )


def _scaled(maps: Array) -> tuple[Array, Array]:
    """Scale maps to a peak of 1 (so that no sum overflows), 0 where dead; tell which are alive."""
    check_batch(maps, "maps")
    values = np.asarray(maps, np.float64)
    values = np.where(np.isfinite(values).all((1, 2), keepdims=True), values, 0)
    peak = np.abs(values).max((1, 2), keepdims=True)
    return np.divide(values, peak, out=np.zeros_like(values), where=peak > 0), peak[:, 0, 0] > 0


def _weights(maps: Array) -> tuple[Array, Array]:
    """Return magnitudes that sum to one, and which maps are alive."""
    values, alive = _scaled(maps)
    weights = np.abs(values)
    total = weights.sum((1, 2), keepdims=True)
    return weights / np.where(total > 0, total, 1), alive


def _weights_and_shares(maps: Array, masks: Array) -> tuple[Array, Array]:
    """Return weights of the cells, and the object's share of each; `nan` where neither compares."""
    weights, alive = _weights(maps)
    shares = average_masks(masks, weights.shape[1:])
    if len(shares) != len(weights):
        raise ValueError(
            "Every map needs one mask. "
            f"Received: maps.shape={np.shape(maps)}, masks.shape={np.shape(masks)}"
        )
    area = shares.mean((1, 2))
    known = alive & (area > 0) & (area < 1 - 1e-9)
    return weights, np.where(known[:, None, None], shares, np.nan)


def _standardised(maps: Array) -> tuple[Array, Array]:
    """Return maps of mean 0 and length 1, and which of them are not constant."""
    values, _ = _scaled(maps)
    centred = values - values.mean((1, 2), keepdims=True)
    length = np.sqrt((centred**2).sum((1, 2), keepdims=True))
    varied = length > 1e-9  # Of a peak of 1: less is rounding.
    return centred / np.where(varied, length, 1), varied[:, 0, 0]
