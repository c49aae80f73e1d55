"""Models that compute activations again in the backward pass have the maps of those that don't."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers as kl

from keras_saliency import SaliencyCallback, explain
from keras_saliency.engine.keras_private import REMAT_MODE, flatten_layers

from helpers.transformers import ATTENTION

SIZE = (8, 12, 3)
MODES = {
    "full": {"mode": "full"},
    "activations": {"mode": "activations"},
    "larger_than": {"mode": "larger_than", "output_size_threshold": 1},
    "list_of_layers": {
        "mode": "list_of_layers",
        "layer_names": ["conv", "top", "logits", "mix", "backbone", "block"],
    },
}


class Block(kl.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.inner = kl.Conv2D(5, 3, activation="gelu", name="inner")

    def call(self, inputs):
        return self.inner(inputs) * 2.0


def convolutional():
    inputs = keras.Input(SIZE)
    x = kl.Conv2D(4, 3, activation="softplus", name="conv")(inputs)
    x = kl.Conv2D(5, 3, strides=2, activation="gelu", name="top")(x)
    x = kl.GlobalAveragePooling2D(name="pool")(x)
    return inputs, kl.Dense(3, activation="softmax", name="logits")(x)


def nested():
    backbone = keras.Sequential(
        [keras.Input(SIZE), kl.Conv2D(4, 3, activation="gelu", name="conv"), Block(name="block")],
        name="backbone",
    )
    top = [kl.GlobalMaxPooling2D(), kl.Dense(1, activation="sigmoid", name="logits")]
    return keras.Sequential([keras.Input(SIZE), backbone, *top])


def with_operations():
    inputs = keras.Input(SIZE)
    x = keras.ops.gelu(kl.Conv2D(4, 3, name="conv")(inputs))
    x = kl.Dense(3, name="logits")(kl.Flatten()(x * x))
    return inputs, keras.ops.softmax(x)


def transformer():
    inputs = keras.Input(SIZE)
    x = kl.Reshape((6, 6))(kl.Conv2D(6, 4, strides=4, name="conv")(inputs))
    x = kl.Add()([x, kl.MultiHeadAttention(2, 3, name="mix")(x, x)])
    x = kl.LayerNormalization(name="norm")(x)
    return inputs, kl.Dense(3, "softmax", name="logits")(kl.Flatten()(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = kl.Conv2D(4, 3, activation="gelu", name="conv")
        self.block = Block(name="block")
        self.dense = kl.Dense(3, activation="softmax", name="logits")

    def call(self, images):
        return self.dense(keras.ops.mean(self.block(self.conv(images)), axis=(1, 2)))


MODELS = [convolutional, nested, with_operations, transformer, Subclassed]


def drawn(build, **scope):
    """Build a model within a scope, its weights always the same."""
    keras.backend.clear_session()  # or operations of other scopes would get other names
    with keras.RematScope(**scope):
        model = build()
        if isinstance(model, tuple):
            # A functional model that is itself made in the scope of this mode can't be called.
            outer = {"mode": None} if scope["mode"] == "larger_than" else scope
            with keras.RematScope(**outer):
                model = keras.Model(*model)
    model(np.zeros((1, *SIZE), "float32"))
    random = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape) * 0.5)
    return model


def methods_for(build, mode):
    named = ["saliency", "grad_cam"]
    named += ["layer_cam", "integrated_gradients", "ablation_cam"] if mode == "full" else []
    return [*named, *sorted(ATTENTION)] if build is transformer else named


# Keras 3.15 itself fails to call an operation between layers, or attention, in this mode.
NOT_IN_KERAS = {(with_operations, "larger_than"), (transformer, "larger_than")}
CASES = [
    pytest.param(build, mode, marks=[] if mode == "full" else pytest.mark.integration)
    for build in MODELS
    for mode in MODES
    if (build, mode) not in NOT_IN_KERAS
]


@pytest.mark.parametrize(("build", "mode"), CASES)
def test_maps_are_those_without_rematerialization(photos, build, mode):
    images = photos(3, SIZE)
    plain, model = drawn(build, mode=None), drawn(build, **MODES[mode])
    modes = [getattr(layer, REMAT_MODE) for layer in flatten_layers(model)]
    assert any(modes)
    for method in methods_for(build, mode):
        wanted = explain(plain, images, method, target=[0, 1, 1])
        found = explain(model, images, method, target=[0, 1, 1])
        assert (found.of, found.layer) == (wanted.of, wanted.layer)
        assert found.of == "logits"
        scale = np.abs(wanted.maps).max()
        assert scale > 0
        np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-5 * scale, err_msg=method)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
    assert [getattr(layer, REMAT_MODE) for layer in flatten_layers(model)] == modes


WITH_KEYWORDS = pytest.mark.needs(
    backend="jax or torch", why="in a graph, tf.recompute_grad takes no keyword such as training="
)


@pytest.mark.parametrize("mode", [pytest.param("full", marks=WITH_KEYWORDS), "activations"])
def test_the_training_run_is_the_same(photos, tmp_path, mode):
    images, labels = photos(8, SIZE), np.arange(8) % 3
    trained = []
    for callbacks in ([], [SaliencyCallback((images[:2], labels[:2]), tmp_path)]):
        keras.utils.set_random_seed(0)
        model = drawn(convolutional, **MODES[mode])
        model.compile("adam", "sparse_categorical_crossentropy")
        with warnings.catch_warnings():
            # torch warns of checkpoints of what needs no gradient
            warnings.filterwarnings("ignore", message="None of the inputs have requires_grad")
            model.fit(images, labels, epochs=2, batch_size=4, verbose=0, callbacks=callbacks)
        trained.append([keras.ops.convert_to_numpy(weight) for weight in model.weights])
    for without, with_callback in zip(*trained, strict=True):
        np.testing.assert_array_equal(with_callback, without)
