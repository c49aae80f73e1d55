"""Moments of gradients under noise, which SmoothGrad and its variants share."""

import functools
import math
from typing import Any

import numpy as np
from keras import ops

from keras_saliency import methods
from keras_saliency.common.validation import check_count, check_number
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._perturbations import of_gradients, seeded


def moments(
    model: ScoredModel,
    images: Any,
    base: str | methods.Method | None,
    samples: int,
    noise: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and the mean square of a method's maps over noisy versions of each image.

    Without a `base` they are moments of the gradient at the image, signed,
    `(batch, height, width, channels)`; else of the maps of the base, `(batch, h, w)`.
    """
    check_count(samples, "samples")
    check_number(noise, "noise", high=math.inf)
    check_count(seed, "seed", least=0)
    clean = ops.convert_to_numpy(images)
    axes = tuple(range(1, clean.ndim))
    deviations = noise * (clean.max(axis=axes) - clean.min(axis=axes))

    @functools.lru_cache(maxsize=2)
    def drawn(sample: int) -> np.ndarray:
        return seeded(seed, sample).normal(size=clean.shape[1:])

    def noisy(row: int, sample: int) -> np.ndarray:
        return clean[row] + deviations[row] * drawn(sample)

    compute = of_gradients if base is None else functools.partial(_of_base, methods.get(base))
    means = [np.zeros(())] * len(clean)
    squares = list(means)
    for row, _, values in model.over_perturbed(samples, noisy, compute):
        means[row] = means[row] + values / samples
        squares[row] = squares[row] + np.square(values) / samples
    return np.stack(means), np.stack(squares)


def as_maps(values: np.ndarray, base: Any) -> Any:
    """Return maps `(batch, h, w)`: of gradients, the maximum magnitude over the channels."""
    maps = np.abs(values).max(axis=-1) if base is None else values
    return ops.convert_to_tensor(maps, "float32")


def _of_base(method: methods.Method, model: ScoredModel, noisy: Any, samples: np.ndarray) -> Any:
    return method(model, noisy)
