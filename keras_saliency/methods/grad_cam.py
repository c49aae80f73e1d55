"""Grad-CAM."""

from typing import Any

from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._cam import grid_axes, sum_channels


def grad_cam(model: ScoredModel, images: Any, *, relu: bool = True) -> Any:
    """Compute Grad-CAM: channels of a layer weighted by their average gradient.

        M = relu(sum_k w_k A_k),    w_k = mean_ij dS / dA_kij

    Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391. Since gradients are averaged over the
    layer, the map can highlight places that the model did not use; `hires_cam` does not.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        relu: Whether to keep evidence for the score alone. If False, the map is signed.

    Returns:
        Maps `(batch, h, w)` of the layer's grid, not negative unless `relu=False`.

    Raises:
        ValueError: If the model has no layer whose output is a feature map.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "grad_cam").maps.shape
        (1, 6, 10)
    """
    activations, gradients = model.activations(images), model.layer_gradients(images)
    weights = ops.mean(gradients, axis=grid_axes(gradients), keepdims=True)
    return sum_channels(weights * activations, relu)
