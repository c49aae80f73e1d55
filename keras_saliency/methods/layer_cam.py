"""LayerCAM."""

from typing import Any

from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._cam import sum_channels


def layer_cam(model: ScoredModel, images: Any) -> Any:
    """Compute LayerCAM: a layer's output times the positive part of its gradient.

        M = relu(sum_k relu(dS / dA_k) * A_k)

    Jiang et al. 2021, "LayerCAM: Exploring hierarchical class activation maps for localization",
    IEEE TIP 30. The method is made for early layers, whose grids are fine: `layer=` takes a list of
    layers, whose maps are fused.

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
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "layer_cam").maps.shape
        (1, 6, 10)
    """
    activations, gradients = model.activations(images), model.layer_gradients(images)
    return sum_channels(ops.relu(gradients) * activations)
