"""Eigen-CAM."""

from typing import Any

from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._components import first_component


def eigen_cam(model: ScoredModel, images: Any) -> Any:
    """Compute Eigen-CAM: the first principal component of a layer's output.

        M = A v_1,    A = U S V^T with one row a position and one column a channel

    Muhammad and Yeasin 2020, "Eigen-CAM", arXiv:2008.00299. It shows what the layer responds to
    and does not depend on the score: the map is the same for every class. As in the paper, A is
    not centred. The sign of a component is arbitrary: it is chosen such that the product of the
    map with the mean of the channels is positive.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.

    Returns:
        Maps `(batch, h, w)` of the layer's grid; not negative where the layer's output is not.

    Raises:
        ValueError: If the model has no layer whose output is a feature map.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "eigen_cam").maps.shape
        (1, 6, 10)
    """
    activations = ops.convert_to_numpy(model.activations(images))
    return first_component(activations, activations.mean(axis=-1))
