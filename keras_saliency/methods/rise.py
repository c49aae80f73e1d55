"""RISE."""

import functools
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.baselines import Baseline, baselines
from keras_saliency.common.resampling import along_axes, interpolation
from keras_saliency.common.validation import check_count, check_number, check_sizes
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._perturbations import of_scores, seeded


def rise(
    model: ScoredModel,
    images: Any,
    *,
    samples: int = 4000,
    cells: int | tuple[int, ...] = 7,
    share: float = 0.5,
    baseline: Baseline = "zeros",
    seed: int = 0,
) -> Any:
    """Compute RISE: the mean score of randomly masked images, assigned to what the masks show.

        M_ij = sum_k S(x * m_k) m_kij / sum_k m_kij

    Petsiuk, Das, Saenko 2018, "RISE: Randomized input sampling for explanation of black-box
    models", arXiv:1806.07421. The paper divides by the masks' expected sum; with their actual sum
    a score that never changes gives a flat map, even at the border.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        samples: The number of masks.
        cells: Number of cells of a mask's coarse grid along each axis, or one number for all. The
            grid is drawn, shifted at random by parts of a cell and interpolated.
        share: The probability that a cell is shown, from 0 to 1.
        baseline: What replaces the image where a mask hides it: `"zeros"`, `"mean"`, `"blur"`, a
            number, one for each channel, or an image.
        seed: Seed of the masks, which are the same for every image and at every epoch.

    Returns:
        Maps `(batch, height, width)` in units of the score. Only differences within a map are
        meaningful; it is zero where no mask shows the image.

    Raises:
        ValueError: If an option is out of its range.

    Example:
        >>> import functools, keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> quick = functools.partial(ks.methods.get("rise"), samples=32, cells=3)
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), quick).maps.shape
        (1, 4, 6)
    """
    check_count(samples, "samples")
    check_number(share, "share")
    check_count(seed, "seed", least=0)
    shown = ops.convert_to_numpy(images).astype("float64")
    grid = shown.shape[1:-1]
    coarse = check_sizes(cells, "cells", grid)
    hidden = baselines(shown, baseline)

    @functools.lru_cache(maxsize=model.batch_size + 1)
    def mask(sample: int) -> np.ndarray:
        return _mask(seeded(seed, sample), grid, coarse, share)[..., None]

    def masked(row: int, sample: int) -> np.ndarray:
        return hidden[row] + mask(sample) * (shown[row] - hidden[row])

    sums, weights = np.zeros(shown.shape[:-1]), np.zeros(shown.shape[:-1])
    for row, sample, score in model.over_perturbed(samples, masked, of_scores):
        sums[row] += score * mask(sample)[..., 0]
        weights[row] += mask(sample)[..., 0]
    return ops.convert_to_tensor(sums / np.where(weights > 0, weights, 1.0), "float32")


def _mask(
    random: np.random.Generator, grid: tuple[int, ...], cells: tuple[int, ...], share: float
) -> np.ndarray:
    """Draw a mask of 0 to 1: coarse cells, shown or hidden, shifted and interpolated."""
    # One cell more than fits, so that a shift by part of a cell leaves nothing uncovered.
    drawn = (random.random([count + 1 for count in cells]) < share).astype("float64")
    shifts = random.random(len(grid))
    matrices = [
        interpolation((np.arange(length) + 0.5) * count / length - 0.5 + shift, count + 1)
        for length, count, shift in zip(grid, cells, shifts, strict=True)
    ]
    return along_axes(matrices, drawn)
