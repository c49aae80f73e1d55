"""Eigen-Grad-CAM."""

from typing import Any

from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._components import first_component


def eigen_grad_cam(model: ScoredModel, images: Any) -> Any:
    """Compute Eigen-Grad-CAM: the first principal component of output times gradient.

        M = B v_1,    B = A * dS / dA = U S V^T with one row a position and one column a channel

    `eigen_cam` made to depend on the class, as in the pytorch-grad-cam library of Gildenblat et
    al. 2021. The sign of a component is arbitrary: it is chosen such that the product of the
    map with that of `hires_cam` is positive.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.

    Returns:
        Maps `(batch, h, w)` of the layer's grid, signed.

    Raises:
        ValueError: If the model has no layer whose output is a feature map.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "eigen_grad_cam").maps.shape
        (1, 6, 10)
    """
    shares = ops.convert_to_numpy(model.activations(images) * model.layer_gradients(images))
    return first_component(shares, shares.sum(axis=-1))
