"""Change of confidence when only what a map shows is left."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_saliency.common.baselines import Baseline, baselines
from keras_saliency.common.types import Array
from keras_saliency.metrics.scorer import Scores, match_maps, score


@dataclass(frozen=True)
class ConfidenceChange:
    """How a model's confidence changes when it sees what the map shows, and nothing else.

    Attributes:
        drops: float64 `(batch,)`, the share of the confidence that is lost, 0 to 1.
        increases: bool `(batch,)`, whether it grows.
    """

    drops: Array
    increases: Array


def confidence_change(
    scores: Scores, images: Any, maps: Any, *, baseline: Baseline = "zeros"
) -> ConfidenceChange:
    """Compare the confidence in an image with that in the part of it that its map shows.

        drop = max(0, S(x) - S(e)) / S(x),   increase = S(e) > S(x),   e = b + m (x - b)

    where m is the positive part of the map over its peak. Chattopadhyay et al. 2018, "Grad-CAM++",
    arXiv:1710.11063, whose "average drop" and "increase in confidence" are the means over images.
    Both are easily gamed: a map that is the same everywhere keeps the whole image, and so never
    drops (Poppi et al. 2021, arXiv:2104.10252). Never read them alone.

    Args:
        scores: Called with all images, perturbed, float32 `(batch, height, width, channels)`;
            returns one probability each, `(batch,)`. See `scorer`.
        images: `(batch, height, width, channels)`, in the units that the model gets.
        maps: `(batch, h, w)`, resized linearly to the images. A map without positive values shows
            nothing.
        baseline: b, what is seen where the map shows nothing: `"zeros"` as in the paper, `"mean"`
            (the image's mean colour), `"blur"`, a number, one for each channel, or an image.

    Returns:
        A `ConfidenceChange`.

    Raises:
        ValueError: If maps do not fit the images, or hold NaN or infinity, or the baseline is
            unknown, or scores are not positive.

    Example:
        >>> images, maps = np.ones((1, 2, 2, 1)), np.array([[[1, 1], [0, 0]]])
        >>> change = confidence_change(lambda batch: batch.mean(axis=(1, 2, 3)), images, maps)
        >>> change.drops.tolist(), change.increases.tolist()
        ([0.5], [False])
    """
    images, maps = match_maps(images, maps)
    shown = np.maximum(maps, 0)
    peaks = shown.max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    shown = np.divide(shown, peaks, out=np.zeros_like(shown), where=peaks > 0)[..., None]
    before = score(scores, images)
    if not (before > 0).all():
        raise ValueError(
            "A drop in confidence needs positive scores, such as probabilities. "
            f"Received: a score of {before.min():.3g}. Use scorer(..., of='probability')."
        )
    nothing = baselines(images, baseline)
    after = score(scores, nothing + shown * (images - nothing))
    return ConfidenceChange(np.maximum(0, before - after) / before, after > before)
