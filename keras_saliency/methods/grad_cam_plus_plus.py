"""Grad-CAM++."""

from typing import Any

from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._cam import grid_axes, sum_channels

_SMALLEST = 1e-30  # a denominator below this is a channel without a gradient


def grad_cam_plus_plus(model: ScoredModel, images: Any) -> Any:
    """Compute Grad-CAM++: Grad-CAM that gives several objects of a class equal weight.

        M = relu(sum_k w_k A_k),    w_k = sum_ij a_kij relu(g_kij),
        a_kij = g_kij^2 / (2 g_kij^2 + g_kij^3 sum_mn A_kmn),    g = dS / dA

    Chattopadhyay et al. 2018, "Grad-CAM++", arXiv:1710.11063, for the score exp(S), whose higher
    derivatives are powers of g; its positive factor exp(S) is left out.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.

    Returns:
        Maps `(batch, h, w)` of the layer's grid, not negative.

    Raises:
        ValueError: If the model has no layer whose output is a feature map.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "grad_cam_plus_plus").maps.shape
        (1, 6, 10)
    """
    activations, gradients = model.activations(images), model.layer_gradients(images)
    axes = grid_axes(gradients)
    total = ops.sum(activations, axis=axes, keepdims=True)
    # g^2 cancels: a = 1 / (2 + g sum A) wherever there is a gradient at all.
    denominator = 2.0 + gradients * total
    vanishes = ops.abs(denominator) < _SMALLEST
    alpha = ops.where(vanishes, 0.0, 1.0 / ops.where(vanishes, 1.0, denominator))
    weights = ops.sum(alpha * ops.relu(gradients), axis=axes, keepdims=True)
    return sum_channels(weights * activations)
