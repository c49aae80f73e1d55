"""LayerCAM."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.resampling import resize_linear
from keras_saliency.engine.scored_model import ScoredModel, placement_of
from keras_saliency.engine.target_layer import LayerChoice
from keras_saliency.methods._cam import sum_channels

_GAMMA = 2.0  # how strongly weak values of a map are raised before maps are fused


def layer_cam(
    model: ScoredModel, images: Any, *, layers: Sequence[LayerChoice] | None = None
) -> Any:
    """Compute LayerCAM: a layer's output times the positive part of its gradient.

        M = relu(sum_k relu(dS / dA_k) * A_k)

    Maps of several layers are fused by the maximum of tanh(2 M / max M) at each position.

    Jiang et al. 2021, "LayerCAM: Exploring hierarchical class activation maps for localization",
    IEEE TIP 30. The method is made for early layers, whose grids are fine.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        layers: Names, paths or `Layer`s that take the place of the model's one layer. Maps of
            several are scaled as above to be comparable, and resized to the finest grid.

    Returns:
        Maps `(batch, h, w)` of the layer's grid, not negative; of several layers, 0 to 1.

    Raises:
        ValueError: If there are no layers, or the model lacks one of them.
        TypeError: If `layers` is neither a tuple nor a list.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "layer_cam").maps.shape
        (1, 6, 10)
    """
    if layers is None:
        return _single_layer(model, images)
    if not isinstance(layers, (tuple, list)):
        raise TypeError(f"layers must be a tuple or list of layers. Received: layers={layers!r}")
    if not layers:
        raise ValueError("layers must name at least one layer. Received: layers=()")
    maps = [_over_image(model.at(layer), images) for layer in layers]
    return maps[0] if len(maps) == 1 else _fused(maps)


def _single_layer(model: ScoredModel, images: Any) -> Any:
    activations, gradients = model.activations(images), model.layer_gradients(images)
    return sum_channels(ops.relu(gradients) * activations)


def _over_image(model: ScoredModel, images: Any) -> np.ndarray:
    maps = ops.convert_to_numpy(_single_layer(model, images))
    return placement_of(model).over_image(maps)


def _fused(maps: list[np.ndarray]) -> Any:
    """Fuse maps (batch, h, w) of several grids into one of the finest grid."""
    finest = max(maps, key=lambda batch: batch[0].size).shape[1:]
    scaled = [np.stack([resize_linear(_scaled(map_), finest) for map_ in batch]) for batch in maps]
    return ops.convert_to_tensor(np.max(scaled, axis=0), "float32")


def _scaled(map_: np.ndarray) -> np.ndarray:
    peak = map_.max()
    return np.tanh(_GAMMA * map_ / peak) if peak > 0 else map_
