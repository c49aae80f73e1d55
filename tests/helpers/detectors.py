"""A small detector with two levels, whose heads are shared."""

import functools

import keras
import numpy as np
from keras import layers as kl

SIZE = (12, 18, 3)
CLASSES = 3
LEVELS = {"p1": (0, 54), "p2": (54, 69)}  # 6 x 9 and 3 x 5 cells, a candidate at each


def head(name, width):
    features = keras.Input((None, None, 4))
    x = kl.Conv2D(4, 3, padding="same", activation="softplus")(features)
    x = kl.Conv2D(width, 3, padding="same")(x)
    return keras.Model(features, kl.Reshape((-1, width))(x), name=name)


def built(seed=0):
    """Build a detector whose outputs are the logits of classes, and places."""
    pixels = keras.Input(SIZE)
    options = {"padding": "same", "activation": "softplus"}
    one = kl.Conv2D(4, 3, strides=2, **options)(pixels)
    two = kl.Conv2D(4, 3, strides=2, **options)(one)
    p2 = kl.Conv2D(4, 3, name="p2", **options)(two)
    up = kl.Cropping2D(((0, 0), (0, 1)))(kl.UpSampling2D(2)(p2))
    p1 = kl.Conv2D(4, 3, name="p1", **options)(kl.Add()([one, up]))
    outputs = {}
    for name, width in (("scores", CLASSES), ("places", 4)):
        shared = head(f"{name}_head", width)
        outputs[name] = kl.Concatenate(axis=1, name=name)([shared(p1), shared(p2)])
    model = keras.Model(pixels, outputs)
    random = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1])))
    return model


@functools.cache
def detector(seed=0):
    """Return the same detector each time, for tests that don't train it."""
    return built(seed)


def logits_of(model, images):
    """Return the logits of all candidates, `(n, candidates, classes)` float64."""
    outputs = model(images, training=False)
    return keras.ops.convert_to_numpy(outputs["scores"]).astype("float64")
