"""HiResCAM."""

from typing import Any

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._cam import sum_channels


def hires_cam(model: ScoredModel, images: Any, *, relu: bool = True) -> Any:
    """Compute HiResCAM: a layer's output times its gradient, position by position.

        M = relu(sum_k A_k * dS / dA_k)

    Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM", arXiv:2011.08891. It shows only
    places that the model used; with a head of global average pooling and one dense layer it is
    the same as `grad_cam`.

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
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "hires_cam").maps.shape
        (1, 6, 10)
    """
    return sum_channels(model.activations(images) * model.layer_gradients(images), relu)
