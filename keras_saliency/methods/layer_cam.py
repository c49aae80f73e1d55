"""LayerCAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

if TYPE_CHECKING:
    from keras_saliency.scored_model import ScoredModel


def layer_cam(model: ScoredModel, images: Any) -> Any:
    """Compute LayerCAM: a layer's output times the positive part of its gradient.

        M = relu(sum_k relu(dS / dA_k) * A_k)

    Jiang et al. 2021, "LayerCAM: Exploring hierarchical class activation maps for localization",
    IEEE TIP 30. Made for early layers, whose grids are fine.

    Args:
        model: The scored model.
        images: (batch, height, width, channels).

    Returns:
        Maps (batch, h, w) of the layer's grid, not negative.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "layer_cam").maps.shape
        (1, 6, 10)
    """
    activations, gradients = model.activations(images), model.layer_gradients(images)
    return ops.relu(ops.sum(ops.relu(gradients) * activations, axis=-1))
