"""Grad-CAM++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

SMALLEST = 1e-30  # a denominator below this is a channel without a gradient

if TYPE_CHECKING:
    from keras_saliency.engine.scored_model import ScoredModel


def grad_cam_plus_plus(model: ScoredModel, images: Any) -> Any:
    """Compute Grad-CAM++: Grad-CAM that counts several places of a class alike.

        M = relu(sum_k w_k A_k),    w_k = sum_ij a_kij relu(g_kij),
        a_kij = g_kij^2 / (2 g_kij^2 + g_kij^3 sum_mn A_kmn),    g = dS / dA

    Chattopadhyay et al. 2018, "Grad-CAM++", arXiv:1710.11063, for the score exp(S), whose higher
    derivatives are powers of g; its positive factor exp(S) is left out.

    Args:
        model: The scored model.
        images: (batch, height, width, channels).

    Returns:
        Maps (batch, h, w) of the layer's grid, not negative.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "grad_cam_plus_plus").maps.shape
        (1, 6, 10)
    """
    activations, gradients = model.activations(images), model.layer_gradients(images)
    axes = tuple(range(1, len(gradients.shape) - 1))
    total = ops.sum(activations, axis=axes, keepdims=True)
    # g^2 cancels: a = 1 / (2 + g sum A) wherever there is a gradient at all.
    below = 2.0 + gradients * total
    alike = ops.where(
        ops.abs(below) < SMALLEST, 0.0, 1.0 / ops.where(ops.abs(below) < SMALLEST, 1.0, below)
    )
    weights = ops.sum(alike * ops.relu(gradients), axis=axes, keepdims=True)
    return ops.relu(ops.sum(weights * activations, axis=-1))
