"""XGrad-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

SMALLEST = 1e-12  # of a channel's sum, below which it has nothing to share out

if TYPE_CHECKING:
    from keras_saliency.engine.scored_model import ScoredModel


def xgrad_cam(model: ScoredModel, images: Any, *, relu: bool = True) -> Any:
    """Compute XGrad-CAM: Grad-CAM with gradients averaged by how active each place is.

        M = relu(sum_k w_k A_k),    w_k = sum_ij (A_kij / sum_mn A_kmn) dS / dA_kij

    Fu et al. 2020, "Axiom-based Grad-CAM", arXiv:2008.02312. The weights make the map's sum that
    of `hires_cam`.

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
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "xgrad_cam").maps.shape
        (1, 6, 10)
    """
    activations, gradients = model.activations(images), model.layer_gradients(images)
    axes = tuple(range(1, len(gradients.shape) - 1))
    total = ops.sum(activations, axis=axes, keepdims=True)
    used = ops.sum(activations * gradients, axis=axes, keepdims=True)
    silent = ops.abs(total) < SMALLEST
    weights = ops.where(silent, 0.0, used / ops.where(silent, 1.0, total))
    maps = ops.sum(weights * activations, axis=-1)
    return ops.relu(maps) if relu else maps
