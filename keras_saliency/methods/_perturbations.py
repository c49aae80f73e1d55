"""Scores and gradients of perturbed images, a bounded number of them at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.engine.scored_model import ScoredModel

Perturb = Callable[[int, int], np.ndarray]


def perturbed_scores(model: ScoredModel, images: Any, count: int, perturb: Perturb) -> np.ndarray:
    """Compute the scores `(batch, count)` of perturbed images of each image."""
    scores = np.zeros((images.shape[0], count))
    for row, sample, score in model.over_perturbed(count, perturb, of_scores):
        scores[row, sample] = score
    return scores


def of_scores(model: ScoredModel, perturbed: Any, samples: np.ndarray) -> Any:
    """Compute the scores of perturbed images, as `ScoredModel.over_perturbed` takes it."""
    return model.scores(perturbed)


def of_gradients(model: ScoredModel, perturbed: Any, samples: np.ndarray) -> Any:
    """Compute the gradients at perturbed images, as `ScoredModel.over_perturbed` takes it."""
    return model.input_gradients(perturbed)


def along_path(
    model: ScoredModel, images: Any, count: int, point: Perturb, step: Callable[[int, int], Any]
) -> Any:
    """Sum gradients at points of a path, times the steps taken there: `(batch, height, width)`."""
    sums = np.zeros(images.shape)
    for row, sample, gradient in model.over_perturbed(count, point, of_gradients):
        sums[row] += gradient * step(row, sample)
    return ops.convert_to_tensor(sums.sum(axis=-1), "float32")


def seeded(seed: int, sample: int) -> np.random.Generator:
    """Return the generator of one sample: the same for every image, at every epoch."""
    return np.random.default_rng((seed, sample))
