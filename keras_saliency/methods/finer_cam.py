"""Finer-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

from keras_saliency.common.validation import check_count, check_number

if TYPE_CHECKING:
    from keras_saliency.engine.scored_model import ScoredModel


def finer_cam(
    model: ScoredModel,
    images: Any,
    *,
    similar: int = 3,
    strength: float = 0.6,
    relu: bool = True,
) -> Any:
    """Compute Finer-CAM: Grad-CAM of what tells a class from the classes most like it.

        M = relu(sum_k w_k A_k),    w_k = mean_ij d(S_c - g mean_d S_d) / dA_kij

    Zhang et al. 2025, "Finer-CAM: Spotting the difference reveals finer details for visual
    explanation", arXiv:2501.11309. What the classes share fades; what is c's own stays. The logit
    of one sigmoid unit is a difference of two classes already: there it is `grad_cam`.

    Args:
        model: The scored model.
        images: (batch, height, width, channels).
        similar: How many classes d are compared with: those whose scores are nearest to c's.
        strength: g; at 0 it is `grad_cam`, at 1 only the difference counts.
        relu: Whether only evidence for the class is kept. Without it the map is signed.

    Returns:
        Maps (batch, h, w) of the layer's grid, not negative unless `relu=False`.

    Raises:
        ValueError: A target that is no class, a model without other classes, or an option out of
            its range.

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
    axes = tuple(range(1, len(gradients.shape) - 1))
    weights = ops.mean(gradients, axis=axes, keepdims=True)
    maps = ops.sum(weights * activations, axis=-1)
    return ops.relu(maps) if relu else maps
