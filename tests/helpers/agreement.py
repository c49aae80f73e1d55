"""Small models of many kinds, saved by one backend, and their maps as computed by another.

python tests/helpers/agreement.py save FOLDER NAME...
python tests/helpers/agreement.py explain FOLDER NAME...
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers as kl

from keras_saliency import Probes, Target, methods
from keras_saliency.attribution.explainer import Explainer

from helpers.few_perturbations import method
from helpers.transformers import ATTENTION

BACKEND = keras.backend.backend()


def chained(size, *layers):
    """Build a functional model of layers in a row."""
    x = inputs = keras.Input(size)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def batch_norm():
    layers = [kl.Conv2D(5, 3, activation="relu"), kl.BatchNormalization(), kl.MaxPooling2D()]
    layers += [kl.Conv2D(6, 3, use_bias=False), kl.BatchNormalization(), kl.ReLU()]
    top = kl.GlobalAveragePooling2D(), kl.Dropout(0.2), kl.Dense(3, activation="softmax")
    return chained((17, 22, 3), *layers, *top)


def depthwise():
    options = {"padding": "same", "activation": "relu6"}
    layers = [kl.ZeroPadding2D(1), kl.DepthwiseConv2D(3, depth_multiplier=2, **options)]
    layers += [kl.SeparableConv2D(6, 3, strides=2, **options)]  # padded unevenly
    return chained((15, 20, 3), *layers, kl.GlobalAveragePooling2D(), kl.Dense(4))


def nested():
    inside = [kl.Conv2D(4, 3, strides=2, padding="same", activation="swish"), kl.MaxPooling2D(3, 1)]
    backbone = chained((19, 13, 3), *inside, kl.GroupNormalization(2), kl.Conv2D(5, 2))
    top = kl.GlobalAveragePooling2D(), kl.Dense(1, activation="sigmoid")
    return keras.Sequential([keras.Input((19, 13, 3)), backbone, *top])


class Attends(kl.Layer):
    """A block of a transformer."""

    def build(self, shape):
        self.norm, self.mix = kl.LayerNormalization(), kl.Dense(shape[-1], activation="gelu")
        self.attention = kl.MultiHeadAttention(2, 3)
        self.attention.build(shape, shape)
        self.norm.build(shape)
        self.mix.build(shape)

    def call(self, tokens):
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed)
        return tokens + self.mix(tokens)


def transformer():
    layers = [kl.Conv2D(6, 4, strides=4), kl.Reshape((15, 6)), Attends(), Attends()]
    return chained((12, 20, 3), *layers, kl.GlobalAveragePooling1D(), kl.Dense(3))


def grey():
    layers = [kl.Rescaling(1 / 255), kl.Conv2D(5, (3, 5), dilation_rate=2, activation="gelu")]
    layers += [kl.AveragePooling2D(2, padding="same"), kl.Conv2D(4, 2, activation="relu")]
    return chained((16, 21, 1), *layers, kl.Flatten(), kl.Dense(3, activation="softmax"))


def upwards():
    layers = [kl.Conv2D(4, 3, strides=3, activation="tanh"), kl.UpSampling2D(2, None, "bilinear")]
    layers += [kl.Conv2DTranspose(5, 3, strides=2, padding="same"), kl.LeakyReLU()]
    top = kl.Resizing(9, 14), kl.GlobalAveragePooling2D(), kl.Dense(2, activation="softmax")
    return chained((14, 23, 3), *layers, *top)


def channels_first():
    options = {"data_format": "channels_first"}
    layers = [kl.Conv2D(4, 3, activation="relu", **options), kl.BatchNormalization(axis=1)]
    layers += [kl.Conv2D(5, 3, activation="relu", **options)]
    return chained((3, 13, 18), *layers, kl.GlobalAveragePooling2D(**options), kl.Dense(3))


# Of seeds of weights those that let no map be dead.
SEEDS = {
    batch_norm: 1,
    depthwise: 4,
    nested: 6,
    transformer: 0,
    grey: 6,
    upwards: 7,
    channels_first: 2,
}
MODELS = {one.__name__: one for one in SEEDS}


def drawn(name):
    """Build a model, its weights and statistics the same on each backend and no trivial ones."""
    model, random = MODELS[name](), np.random.default_rng(SEEDS[MODELS[name]])
    for weight in model.weights:
        values = 2 * random.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1]))
        positive = weight.name in ("gamma", "moving_variance")
        weight.assign(0.5 + np.abs(values) if positive else values)
    return model


def serving(model):
    """Name the methods that a model has what they ask for."""
    kinds = {type(layer).__name__ for layer in model._flatten_layers()}
    without = set() if "MultiHeadAttention" in kinds else set(ATTENTION)
    without |= {"cam"} if kinds & {"Flatten", "Resizing", "MultiHeadAttention"} else set()
    return [name for name in methods.available() if name not in without]


def explained(model):
    """Compute the maps of all methods, by their names, and the model's own outputs."""
    bright = 255 if any(isinstance(layer, kl.Rescaling) for layer in model.layers) else 1
    front = model.input_shape[1] == 3  # channels first, which probes put last
    size = np.roll(model.input_shape[1:], -front)
    images = bright * np.random.default_rng(2).random((3, *size), "float32")
    chosen = [method(name) for name in serving(model)]
    found = Explainer(model, Probes(images), chosen, Target([1, 0, 1]), None, 8).evaluate()
    for name, error in found.errors.items():
        raise RuntimeError(name) from error
    return {**found.maps, "scores": found.scores, "outputs": found.outputs}


if __name__ == "__main__":
    act, folder, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    for name in names:
        if act == "save":
            drawn(name).save(folder / f"{name}.keras")
        else:
            custom = {"Attends": Attends}
            model = keras.models.load_model(folder / f"{name}.keras", custom_objects=custom)
            np.savez(folder / f"{name}-{BACKEND}.npz", **explained(model))
