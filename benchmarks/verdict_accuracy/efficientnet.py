"""EfficientNet-Lite0 with the ImageNet weights of a torch file, its batch norms folded in."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import torch
from keras import layers

# Repeats, kernel, stride, expansion and channels of the blocks.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
BLOCKS = [(k, s if n == 0 else 1, e, c) for r, k, s, e, c in STAGES for n in range(r)]
LOWER = 11  # blocks whose features are kept
MEAN, STD = 255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225])
EPSILON = 1e-3


def halves(weights: Path, size: int) -> tuple[keras.Model, keras.Model]:
    """From images, 0 to 255, to the eleventh block's features, and on to the 1280 at the end."""
    state = torch.load(weights, weights_only=True, map_location="cpu")
    values = iter([value.numpy() for name, value in state.items() if "num_batches" not in name])
    images = keras.Input((size, size, 3))
    x = layers.Normalization(mean=MEAN, variance=STD**2)(images)
    x = _convolved(x, layers.Conv2D(32, 3, 2, padding="same"), values)
    for block in BLOCKS[:LOWER]:
        x = _block(x, *block, values)
    lower = keras.Model(images, x)
    features = x = keras.Input(lower.output_shape[1:])
    for block in BLOCKS[LOWER:]:
        x = _block(x, *block, values)
    x = _convolved(x, layers.Conv2D(1280, 1), values)
    return lower, keras.Model(features, layers.GlobalAveragePooling2D()(x))


def _block(
    x: keras.KerasTensor,
    kernel: int,
    stride: int,
    expansion: int,
    channels: int,
    values: Iterator[np.ndarray],
) -> keras.KerasTensor:
    start = x
    if expansion > 1:
        x = _convolved(x, layers.Conv2D(x.shape[-1] * expansion, 1), values)
    x = _convolved(x, layers.DepthwiseConv2D(kernel, stride, padding="same"), values)
    x = _convolved(x, layers.Conv2D(channels, 1), values, relu=False)
    return layers.Add()([start, x]) if stride == 1 and start.shape[-1] == channels else x


def _convolved(
    x: keras.KerasTensor, layer: layers.Layer, values: Iterator[np.ndarray], *, relu: bool = True
) -> keras.KerasTensor:
    """Convolve with the next kernel and the batch norm after it."""
    x = layer(x)
    kernel, gamma, beta, mean, variance = (next(values) for _ in range(5))
    scale = gamma / np.sqrt(variance + EPSILON)
    kernel = np.moveaxis(kernel * scale[:, None, None, None], (2, 3), (0, 1))  # (h, w, out, in)
    if isinstance(layer, layers.Conv2D):
        kernel = kernel.swapaxes(2, 3)
    layer.set_weights([kernel, beta - mean * scale])
    return layers.ReLU(6)(x) if relu else x
