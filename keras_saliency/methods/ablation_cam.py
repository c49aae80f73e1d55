"""Ablation-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from keras_saliency.methods._perturbations import each_copy

if TYPE_CHECKING:
    from keras_saliency.engine.scored_model import ScoredModel


def ablation_cam(
    model: ScoredModel,
    images: Any,
    *,
    relu: bool = True,
) -> Any:
    """Compute Ablation-CAM: channels weighted by how far the score falls without them.

        M = relu(sum_k w_k A_k),    w_k = S - S(channel k of the layer set to zero)

    Desai and Ramaswamy 2020, "Ablation-CAM: Visual explanations for deep convolutional network via
    gradient-free localization", WACV. The paper divides the weights by S, which would turn the map
    around where S is negative, and is left out. One forward pass a channel.

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
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "ablation_cam").maps.shape
        (1, 6, 10)
    """
    shown = ops.convert_to_numpy(images)
    activations = ops.convert_to_numpy(model.activations(images)).astype("float64")
    whole = ops.convert_to_numpy(model.scores(images)).astype("float64")
    gates = 1.0 - np.eye(activations.shape[-1], dtype="float32")
    weights = np.zeros((len(shown), len(gates)))
    for row, channel, score in each_copy(
        model,
        images,
        len(gates),
        lambda row, channel: shown[row],
        lambda there, copies, channels: there.gated_scores(copies, gates[channels]),
    ):
        weights[row, channel] = whole[row] - score
    maps = np.einsum("n...k,nk->n...", activations, weights)
    return ops.convert_to_tensor(np.maximum(maps, 0.0) if relu else maps, "float32")
