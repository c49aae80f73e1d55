"""Score-CAM."""

from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.validation import check_count
from keras_saliency.engine.scored_model import ScoredModel, placement_of
from keras_saliency.methods._cam import grid_axes, weighted_sum
from keras_saliency.methods._perturbations import perturbed_scores


def score_cam(model: ScoredModel, images: Any, *, top_k: int | None = None) -> Any:
    """Compute Score-CAM: channels weighted by the score of the image masked with them.

        M = relu(sum_k w_k A_k),    w = softmax_k S(x * H_k),    H_k: A_k resized, scaled to 0..1

    Wang et al. 2020, "Score-CAM", arXiv:1910.01279. It takes no gradients, but one forward
    pass a channel. The paper's S(0), subtracted from every score, cancels in the softmax.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        top_k: The largest number of channels, from 1: those that vary most over the grid, as in
            Faster Score-CAM. None takes all.

    Returns:
        Maps `(batch, h, w)` of the layer's grid, not negative. Channels that do not vary mask
        nothing and are left out.

    Raises:
        ValueError: If `top_k` is below 1, or the model has no feature map.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "score_cam").maps.shape
        (1, 6, 10)
    """
    if top_k is not None:
        check_count(top_k, "top_k")
    shown = ops.convert_to_numpy(images)
    activations = ops.convert_to_numpy(model.activations(images)).astype("float64")
    placement = placement_of(model)
    spread = activations.std(axis=grid_axes(activations))
    chosen = np.argsort(-spread, axis=-1, kind="stable")[:, :top_k]

    def masked(row: int, sample: int) -> np.ndarray:
        mask = placement.enlarged(activations[row, ..., chosen[row, sample]])
        span = mask.max() - mask.min()
        return shown[row] * ((mask - mask.min()) / (span if span > 0 else 1.0))[..., None]

    scores = perturbed_scores(model, images, chosen.shape[1], masked)
    weights = np.zeros_like(spread)
    alive = np.take_along_axis(spread, chosen, axis=1) > 0
    np.put_along_axis(weights, chosen, _softmax(scores, alive), axis=1)
    return weighted_sum(activations, weights)


def _softmax(scores: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Return the softmax (batch, channels) over channels that are alive; zero for the others."""
    highest = np.where(alive, scores, -np.inf).max(axis=1, keepdims=True, initial=-1e300)
    powers = np.where(alive, np.exp(np.minimum(scores - highest, 0.0)), 0.0)
    return powers / np.where(alive.any(axis=1, keepdims=True), powers.sum(1, keepdims=True), 1.0)
