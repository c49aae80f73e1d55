"""Maps of several layers, fused into one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.resampling import resize_linear
from keras_saliency.common.types import Array
from keras_saliency.engine.scored_model import ScoredModel, over_image
from keras_saliency.engine.target_layer import LayerChoice

_GAMMA = 2.0  # how strongly weak values of a map are raised before maps are fused


def over_layers(
    method: Callable[[Any, Any], Any],
    layers: Sequence[LayerChoice],
    model: ScoredModel,
    images: Any,
) -> Any:
    """Compute a method's maps at several layers, and fuse them on the finest of their grids.

        M = s_l at the l where |s_l| is largest,    s_l = tanh(2 M_l / max |M_l|)

    Of maps that are not negative, it is the maximum of the scaled maps: Jiang et al. 2021,
    "LayerCAM: Exploring hierarchical class activation maps for localization", IEEE TIP 30.

    Args:
        method: A method that reads the target layer.
        layers: The layers, each as `layer=` of `explain` takes it.
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.

    Returns:
        Maps `(batch, h, w)` from -1 to 1.
    """
    maps = [_at(model.at(layer), method, images) for layer in layers]
    finest = max(maps, key=lambda batch: batch[0].size).shape[1:]
    scaled = np.stack([[resize_linear(_scaled(m), finest) for m in batch] for batch in maps])
    largest = np.abs(scaled).argmax(axis=0)[None]
    fused = np.take_along_axis(scaled, largest, axis=0)[0]
    return ops.convert_to_tensor(fused, "float32")


def _at(model: ScoredModel, method: Callable[[Any, Any], Any], images: Any) -> Array:
    return over_image(model, ops.convert_to_numpy(method(model, images)))


def _scaled(map_: Array) -> Array:
    peak = np.abs(map_).max()
    return np.tanh(_GAMMA * map_ / peak) if peak > 0 else map_
