"""Weighted sums of feature maps, which the CAM methods share."""

from typing import Any

import numpy as np
from keras import ops


def grid_axes(features: Any) -> tuple[int, ...]:
    """Return the axes of a layer's grid: those between the batch and the channels."""
    return tuple(range(1, len(features.shape) - 1))


def sum_channels(features: Any, relu: bool = True) -> Any:
    """Sum `(batch, h, w, channels)` over the channels; with `relu` only what is positive stays."""
    maps = ops.sum(features, axis=-1)
    return ops.relu(maps) if relu else maps


def weighted_sum(features: np.ndarray, weights: np.ndarray, relu: bool = True) -> Any:
    """Do the same on the CPU, in float64, with weights `(batch, channels)`; return float32."""
    maps = np.einsum("n...k,nk->n...", features, weights)
    return ops.convert_to_tensor(np.maximum(maps, 0.0) if relu else maps, "float32")
