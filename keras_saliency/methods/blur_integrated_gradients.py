"""Blur integrated gradients."""

import functools
import math
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.baselines import blurred
from keras_saliency.common.validation import check_count, check_number
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._perturbations import along_path


def blur_integrated_gradients(
    model: ScoredModel, images: Any, *, steps: int = 100, sigma: float = 50.0
) -> Any:
    """Compute blur integrated gradients: the gradient while the image comes into focus.

        M_ij = - sum_c integral_0^sigma dS / dx_ijc (x_s) * d x_ijcs / ds ds

    Xu, Venugopalan, Sundararajan 2020, "Attribution in scale and space", arXiv:2004.03383; x_s is
    the image blurred by a Gaussian of standard deviation s. This path needs no baseline and adds
    no features of its own. The map sums to S(x) - S(x_sigma).

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        steps: The number of steps of the path, which are smaller where the image is sharper.
        sigma: The largest standard deviation, in pixels, from 0 (the paper: 50).

    Returns:
        Maps `(batch, height, width)`, signed, in units of the score.

    Raises:
        ValueError: If `steps` is below 1 or `sigma` is negative.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), "blur_integrated_gradients").maps.shape
        (1, 4, 6)
    """
    check_count(steps, "steps")
    check_number(sigma, "sigma", high=math.inf)
    sharp = ops.convert_to_numpy(images).astype("float64")
    axes = sharp.ndim - 2

    @functools.lru_cache(maxsize=2 * (model.batch_size + len(sharp)))
    def at(row: int, step: int) -> np.ndarray:
        # Most of an image changes while the blur is small, so there the steps are short.
        return blurred(sharp[row], [sigma * (step / steps) ** 2] * axes)

    def halfway(row: int, k: int) -> np.ndarray:
        return (at(row, k) + at(row, k + 1)) / 2

    return along_path(model, images, steps, halfway, lambda row, k: at(row, k) - at(row, k + 1))
