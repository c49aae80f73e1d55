"""Finer-CAM."""

from typing import Any

from keras import ops

from keras_saliency.common.validation import check_count, check_number
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._cam import grid_axes, sum_channels


def finer_cam(
    model: ScoredModel, images: Any, *, similar: int = 3, strength: float = 0.6, relu: bool = True
) -> Any:
    """Compute Finer-CAM: Grad-CAM of what tells a class from the classes most like it.

        M = relu(sum_k w_k A_k),    w_k = mean_ij d(S_c - g mean_d S_d) / dA_kij

    Zhang et al. 2025, "Finer-CAM: Spotting the difference reveals finer details for visual
    explanation", arXiv:2501.11309. What the classes share fades; what is c's own stays. The logit
    of one sigmoid unit is a difference of two classes already: there it is `grad_cam`.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        similar: The number of classes d to compare with: those whose scores are nearest to c's.
        strength: g, from 0, where it is `grad_cam`, to 1, where only the difference counts.
        relu: As in `grad_cam`.

    Returns:
        Maps `(batch, h, w)` of the layer's grid, not negative unless `relu=False`.

    Raises:
        ValueError: If the target is no class, the model has no other classes or no feature map,
            or an option is out of its range.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "finer_cam").maps.shape
        (1, 6, 10)
    """
    check_count(similar, "similar")
    check_number(strength, "strength")
    activations = model.activations(images)
    gradients = model.against_similar(similar, strength).layer_gradients(images)
    weights = ops.mean(gradients, axis=grid_axes(gradients), keepdims=True)
    return sum_channels(weights * activations, relu)
