"""LayerCAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from keras_saliency.common.resampling import resize_linear
from keras_saliency.engine.target_layer import LayerChoice

GAMMA = 2.0  # how strongly weak places of a map are lifted before maps are fused

if TYPE_CHECKING:
    from keras_saliency.engine.scored_model import ScoredModel


def layer_cam(
    model: ScoredModel, images: Any, *, layers: Sequence[LayerChoice] | None = None
) -> Any:
    """Compute LayerCAM: a layer's output times the positive part of its gradient.

        M = relu(sum_k relu(dS / dA_k) * A_k)

    Several layers are fused, place by place, by the largest of tanh(2 M / max M).

    Jiang et al. 2021, "LayerCAM: Exploring hierarchical class activation maps for localization",
    IEEE TIP 30. Made for early layers, whose grids are fine.

    Args:
        model: The scored model.
        images: (batch, height, width, channels).
        layers: Names, paths or `Layer`s to look at instead of the model's one layer. Maps of
            several are scaled as above, so that they compare, and resized to the finest grid.

    Returns:
        Maps (batch, h, w) of the layer's grid, not negative; of several layers, 0 to 1.

    Raises:
        ValueError: No layers, or one that the model does not have.
        TypeError: `layers` is no sequence of layers.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "layer_cam").maps.shape
        (1, 6, 10)
    """
    if layers is None:
        return _of_one(model, images)
    if not isinstance(layers, (tuple, list)):
        raise TypeError(f"layers must be a tuple or list of layers. Received: layers={layers!r}")
    if not layers:
        raise ValueError("layers must name at least one layer. Received: layers=()")
    maps = [_of_one(model.at(layer), images) for layer in layers]
    return maps[0] if len(maps) == 1 else _fused([ops.convert_to_numpy(one) for one in maps])


def _of_one(model: ScoredModel, images: Any) -> Any:
    activations, gradients = model.activations(images), model.layer_gradients(images)
    return ops.relu(ops.sum(ops.relu(gradients) * activations, axis=-1))


def _fused(maps: list[np.ndarray]) -> Any:
    """Fuse maps (batch, h, w) of several grids into one of the finest grid."""
    finest = max(maps, key=lambda one: one[0].size).shape[1:]
    scaled = [np.stack([resize_linear(_scaled(map_), finest) for map_ in one]) for one in maps]
    return ops.convert_to_tensor(np.max(scaled, axis=0), "float32")


def _scaled(map_: np.ndarray) -> np.ndarray:
    peak = map_.max()
    return np.tanh(GAMMA * map_ / peak) if peak > 0 else map_
