"""Ablation-CAM."""

from typing import Any

import numpy as np
from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._cam import weighted_sum


def ablation_cam(model: ScoredModel, images: Any, *, relu: bool = True) -> Any:
    """Compute Ablation-CAM: channels weighted by the fall of the score without them.

        M = relu(sum_k w_k A_k),    w_k = S - S(channel k of the layer set to zero)

    Desai and Ramaswamy 2020, "Ablation-CAM: Visual explanations for deep convolutional network via
    gradient-free localization", WACV. The paper divides the weights by S, which would reverse the
    sign of the map where S is negative; here they are not. It takes one forward pass a channel.

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
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "ablation_cam").maps.shape
        (1, 6, 10)
    """
    shown = ops.convert_to_numpy(images)
    activations = ops.convert_to_numpy(model.activations(images)).astype("float64")
    whole = ops.convert_to_numpy(model.scores(images)).astype("float64")
    gates = 1.0 - np.eye(activations.shape[-1], dtype="float32")
    weights = np.zeros((len(shown), len(gates)))
    for row, channel, score in model.over_perturbed(
        len(gates),
        lambda row, channel: shown[row],
        lambda inner, images, channels: inner.gated_scores(images, gates[channels]),
    ):
        weights[row, channel] = whole[row] - score
    return weighted_sum(activations, weights, relu)
