"""Insertion and deletion curves."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_saliency.common.baselines import Baseline, baselines
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_count
from keras_saliency.metrics.scorer import Scores, match_maps, pixel_ranks, score


@dataclass(frozen=True)
class Curve:
    """Scores of images while their pixels are changed in the order of their maps.

    Attributes:
        shares: float64 `(steps + 1,)`, the share of the pixels that is changed, from 0 to 1.
        scores: float64 `(batch, steps + 1)`, the score of each image at each share.

    Example:
        >>> Curve(np.array([0.0, 0.5, 1.0]), np.array([[0.0, 1.0, 1.0]])).areas.tolist()
        [0.75]
    """

    shares: Array
    scores: Array

    @property
    def areas(self) -> Array:
        """Area under each curve, float64 `(batch,)`, in units of the score."""
        heights = (self.scores[:, 1:] + self.scores[:, :-1]) / 2
        return heights @ np.diff(self.shares)


def insertion(
    scores: Scores, images: Any, maps: Any, *, steps: int = 32, baseline: Baseline = "blur"
) -> Curve:
    """Compute the insertion curve: a model's score while an image's pixels are put in.

    The pixels with the highest map values come first.

    Petsiuk, Das and Saenko 2018, "RISE: Randomized input sampling for explanation of black-box
    models", arXiv:1806.07421. A large area is good; compare it with that of a random map, since
    it depends on the model and the baseline as well. Pixels with equal values are in random order.

    Args:
        scores: Called with all images, perturbed, float32 `(batch, height, width, channels)`;
            returns one score each, `(batch,)`. See `scorer`.
        images: `(batch, height, width, channels)`, in the units that the model gets.
        maps: `(batch, h, w)`, resized linearly to the images. Signed maps count from the most
            positive value to the most negative.
        steps: The number of steps, all of one size; one pixel a step is exact.
        baseline: The image that the curve begins with: `"blur"` as in the paper,
            `"zeros"`, `"mean"` (the image's mean colour), a number, one for each channel, or an
            image.

    Returns:
        A `Curve`, from the baseline to the image.

    Raises:
        ValueError: If maps do not fit the images, or hold NaN or infinity, or an option is out of
            its range.

    Example:
        >>> images, maps = np.ones((1, 2, 2, 1)), np.array([[[4, 3], [2, 1]]])
        >>> curve = insertion(lambda perturbed: perturbed[:, 0, 0, 0], images, maps, steps=4,
        ...                   baseline="zeros")
        >>> curve.scores.tolist(), curve.areas.tolist()
        ([[0.0, 1.0, 1.0, 1.0, 1.0]], [0.875])
    """
    images, maps = match_maps(images, maps)
    return _curve(scores, baselines(images, baseline), images, maps, steps)


def deletion(
    scores: Scores, images: Any, maps: Any, *, steps: int = 32, baseline: Baseline = "mean"
) -> Curve:
    """Compute the deletion curve: a model's score while an image's pixels are taken away.

    The pixels with the highest map values go first.

    Petsiuk, Das and Saenko 2018, "RISE: Randomized input sampling for explanation of black-box
    models", arXiv:1806.07421. A small area is good; compare it with that of a random map. Holes
    are no natural images: a few scattered ones can upset a model more than the loss of the object,
    which favours noisy maps. `road` fills holes in.

    Args:
        scores: Called with all images, perturbed, float32 `(batch, height, width, channels)`;
            returns one score each, `(batch,)`. See `scorer`.
        images: `(batch, height, width, channels)`, in the units that the model gets.
        maps: `(batch, h, w)`, resized linearly to the images. Signed maps count from the most
            positive value to the most negative.
        steps: The number of steps, all of one size; one pixel a step is exact.
        baseline: What takes the place of a pixel: `"mean"` (the image's mean colour), `"zeros"`,
            `"blur"`, a number, one for each channel, or an image.

    Returns:
        A `Curve`, from the image to the baseline.

    Raises:
        ValueError: If maps do not fit the images, or hold NaN or infinity, or an option is out of
            its range.

    Example:
        >>> images, maps = np.ones((1, 2, 2, 1)), np.array([[[4, 3], [2, 1]]])
        >>> curve = deletion(lambda perturbed: perturbed[:, 0, 0, 0], images, maps, steps=4,
        ...                  baseline="zeros")
        >>> curve.scores.tolist(), curve.areas.tolist()
        ([[1.0, 0.0, 0.0, 0.0, 0.0]], [0.125])
    """
    images, maps = match_maps(images, maps)
    return _curve(scores, images, baselines(images, baseline), maps, steps)


def _curve(scores: Scores, before: Array, after: Array, maps: Array, steps: int) -> Curve:
    """Go from one image to another, pixel by pixel in the order of the map."""
    pixels, order = maps[0].size, pixel_ranks(maps)[..., None]
    counts = np.rint(np.linspace(0, pixels, check_count(steps, "steps") + 1))
    heights = [score(scores, np.where(order < count, after, before)) for count in counts]
    return Curve(counts / pixels, np.stack(heights, axis=1))
