"""XGrad-CAM."""

from typing import Any

from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._cam import grid_axes, sum_channels

_SMALLEST = 1e-12  # sum of a channel, below which it counts as silent


def xgrad_cam(model: ScoredModel, images: Any, *, relu: bool = True) -> Any:
    """Compute XGrad-CAM: Grad-CAM with gradients averaged by the activation at each position.

        M = relu(sum_k w_k A_k),    w_k = sum_ij (A_kij / sum_mn A_kmn) dS / dA_kij

    Fu et al. 2020, "Axiom-based Grad-CAM", arXiv:2008.02312. With these weights the map has the
    same sum as that of `hires_cam`.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        relu: As in `grad_cam`.

    Returns:
        Maps `(batch, h, w)` of the layer's grid, not negative unless `relu=False`.

    Raises:
        ValueError: If the model has no layer whose output is a feature map.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "xgrad_cam").maps.shape
        (1, 6, 10)
    """
    activations, gradients = model.activations(images), model.layer_gradients(images)
    axes = grid_axes(gradients)
    total = ops.sum(activations, axis=axes, keepdims=True)
    used = ops.sum(activations * gradients, axis=axes, keepdims=True)
    silent = ops.abs(total) < _SMALLEST
    weights = ops.where(silent, 0.0, used / ops.where(silent, 1.0, total))
    return sum_channels(weights * activations, relu)
