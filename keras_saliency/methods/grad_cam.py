"""Grad-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

if TYPE_CHECKING:
    from keras_saliency.engine.scored_model import ScoredModel


def grad_cam(model: ScoredModel, images: Any, *, relu: bool = True) -> Any:
    """Compute Grad-CAM: channels of a layer weighted by their average gradient.

        M = relu(sum_k w_k A_k),    w_k = mean_ij dS / dA_kij

    Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391. Since gradients are averaged over the
    layer, places can light up that the model did not use; `hires_cam` does not do so.

    Args:
        model: The scored model.
        images: (batch, height, width, channels).
        relu: Whether only evidence for the score is kept. Without it the map is signed.

    Returns:
        Maps (batch, h, w) of the layer's grid, not negative unless `relu=False`.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "grad_cam").maps.shape
        (1, 6, 10)
    """
    activations, gradients = model.activations(images), model.layer_gradients(images)
    axes = tuple(range(1, len(gradients.shape) - 1))
    weights = ops.mean(gradients, axis=axes, keepdims=True)
    maps = ops.sum(weights * activations, axis=-1)
    return ops.relu(maps) if relu else maps
