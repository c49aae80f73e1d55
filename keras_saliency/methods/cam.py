"""Class activation mapping."""

from typing import Any

from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._cam import grid_axes, sum_channels


def cam(model: ScoredModel, images: Any) -> Any:
    """Compute CAM: channels before global average pooling, weighted by the class's weights.

        M = sum_k w_k A_k,    w: the class's weights in the dense layer after the pooling

    Zhou et al. 2016, "Learning deep features for discriminative localization", arXiv:1512.04150.
    The map's mean plus the class's bias is the logit.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.

    Returns:
        Maps `(batch, h, w)` of the layer's grid, signed, in units of the logit.

    Raises:
        ValueError: If the model has another head, the layer is not the one that is pooled, or
            the target is not the logit of a class.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "cam").maps.shape
        (1, 6, 10)
    """
    activations = model.activations(images)
    weights = ops.expand_dims(model.class_weights(images), grid_axes(activations))
    return sum_channels(activations * weights, relu=False)
