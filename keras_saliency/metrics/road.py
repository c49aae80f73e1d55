"""ROAD: what remains when pixels are removed and their holes filled in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_count, check_number
from keras_saliency.metrics.scorer import Scores, match_maps, pixel_ranks, score

_PRECISE = 1e-3  # of the first residual: finer differences drown in the noise


@dataclass(frozen=True)
class Road:
    """Scores of images from which pixels were removed, by their rank in the map.

    Attributes:
        shares: float64 `(shares,)`, the shares of the pixels that were removed.
        most_first: float64 `(batch, shares)`, scores without the pixels of the highest values.
        least_first: float64 `(batch, shares)`, scores without those of the lowest values.
    """

    shares: Array
    most_first: Array
    least_first: Array

    @property
    def gaps(self) -> Array:
        """How much more the highest pixels matter than the lowest, `(batch,)`; 0 is chance."""
        return (self.least_first - self.most_first).mean(axis=1)


def road(
    scores: Scores,
    images: Any,
    maps: Any,
    *,
    shares: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
    noise: float = 0.01,
    seed: int = 0,
) -> Road:
    """Compute ROAD, remove and debias: scores without the most, or the least, important pixels.

    Each hole is filled in by the weighted mean of its neighbours (1/6 for the four beside it, 1/12
    for those across the corner), all holes at once, and a little noise. Rong et al. 2022, "A
    consistent and efficient evaluation strategy for attribution methods", arXiv:2202.00449. Filled
    in with one colour, as in `deletion`, the shape of a hole tells a model what was there.

    Args:
        scores: Called with all images, perturbed, float32 `(batch, height, width, channels)`;
            returns one score each, `(batch,)`. See `scorer`.
        images: `(batch, height, width, channels)`, in the units that the model gets.
        maps: `(batch, h, w)`, resized linearly to the images. Signed maps count from the most
            positive value to the most negative.
        shares: The shares of the pixels that are removed, above 0 and below 1.
        noise: Standard deviation of the noise, as a share of each image's range.
        seed: Decides the noise, and the order of pixels with equal values.

    Returns:
        A `Road`, whose `gaps` are large for good maps.

    Raises:
        ValueError: If maps do not fit the images, or hold NaN or infinity, or an option is out of
            its range.

    Example:
        >>> ramp = np.linspace(0, 1, 24).reshape(1, 4, 6, 1)
        >>> result = road(lambda perturbed: perturbed[:, 2, 3, 0], ramp, ramp[..., 0])
        >>> result.most_first.shape, result.gaps.shape
        ((1, 4), (1,))
    """
    images, maps = match_maps(images, maps)
    removed = [check_number(share, "shares") for share in shares]
    if not removed or not all(0 < share < 1 for share in removed):
        raise ValueError(f"shares must lie between 0 and 1. Received: shares={shares!r}")
    order = pixel_ranks(maps, check_count(seed, "seed", least=0))
    axes = tuple(range(1, images.ndim))
    spread = check_number(noise, "noise", high=np.inf) * np.ptp(images, axis=axes, keepdims=True)
    noisy = spread * np.random.default_rng(seed).standard_normal(images.shape)

    def scored(order: Array, share: float) -> Array:
        hole = (order < round(share * order[0].size))[..., None]
        return score(scores, np.where(hole, filled_in(images, hole) + noisy, images))

    last = order[0].size - 1
    most, least = (
        np.stack([scored(ranks, share) for share in removed], axis=1)
        for ranks in (order, last - order)
    )
    return Road(np.array(removed), most, least)


def filled_in(images: Array, holes: Array) -> Array:
    """Fill in holes `(batch, height, width, 1)`, each pixel the weighted mean of its neighbours.

    That is a linear system, positive definite while a pixel is left; conjugate gradients solve it.
    """
    axes = tuple(range(1, images.ndim - 1))
    weights = _neighbours(np.ones_like(holes, "float64"))

    def excess(values: Array) -> Array:
        return np.where(holes, weights * values - _neighbours(values), 0)

    def product(a: Array, b: Array) -> Array:
        return (a * b).sum(axis=axes, keepdims=True)

    kept = np.where(holes, 0, images)
    left = np.maximum((~holes).sum(axis=axes, keepdims=True), 1)
    filled = np.where(holes, kept.sum(axis=axes, keepdims=True) / left, images)
    rest = -excess(filled)
    direction, size = rest, product(rest, rest)
    enough = _PRECISE**2 * size
    for _ in range(holes[0].size):
        if (size <= enough).all():
            break
        bent = excess(direction)
        curvature = product(direction, bent)
        step = np.divide(size, curvature, out=np.zeros_like(size), where=curvature > 0)
        filled, rest = filled + step * direction, rest - step * bent
        before, size = size, product(rest, rest)
        ratio = np.divide(size, before, out=np.zeros_like(size), where=before > 0)
        direction = rest + ratio * direction
    return filled


def _neighbours(values: Array) -> Array:
    """Sum over the neighbours of each pixel, those beside it counting twice those at a corner."""
    total, axes = values, range(1, values.ndim - 1)
    for axis in axes:
        line = np.moveaxis(total, axis, 0)
        total = 2 * line
        total[1:] += line[:-1]
        total[:-1] += line[1:]
        total = np.moveaxis(total, 0, axis)
    return total - 2 ** len(axes) * values
