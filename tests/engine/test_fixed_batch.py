"""Models that take one number of images and no other, as `Input(batch_size=8)` declares it."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_saliency as ks
from keras_saliency import methods

from helpers.transformers import ATTENTION

SIZE = (9, 12, 3)
QUICK = {
    "rise": {"samples": 6},
    "occlusion": {"patch": 4},
    "smooth_grad": {"samples": 3},
    "square_grad": {"samples": 3},
    "var_grad": {"samples": 3},
    "integrated_gradients": {"steps": 4},
    "blur_integrated_gradients": {"steps": 4},
    "expected_gradients": {"samples": 4},
}


class Fixed(layers.Layer):
    """Reshapes to a batch of a size that is written in the code, as many do."""

    def __init__(self, batch, **options):
        super().__init__(**options)
        self.batch = batch

    def call(self, values):
        return (
            values if self.batch is None else ops.reshape(values, (self.batch, *values.shape[1:]))
        )


def network(batch=None, rank=2):
    """A network whose layer "fixed" takes `batch` images only, and the same without it."""
    images = keras.Input(SIZE, batch_size=batch)
    x = layers.Conv2D(5, 3, activation="softplus", name="low")(images)
    x = Fixed(batch, name="fixed")(x)
    x = layers.Conv2D(6, 3, activation="gelu", name="top")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(images, layers.Dense(4, activation="softmax", name="head")(x))
    random = np.random.default_rng(3)
    for weight in model.weights:
        fan_in = np.prod(weight.shape[:-1]) or 1
        weight.assign(random.normal(size=weight.shape) / np.sqrt(fan_in))
    return model


def method_of(name):
    return functools.partial(methods.get(name), **QUICK.get(name, {}))


NAMES = sorted({*methods.available()} - ATTENTION)


@pytest.mark.parametrize("count", [1, 4, 6, 11])
@pytest.mark.parametrize("name", ["saliency", "grad_cam"])
def test_any_number_of_images_is_explained_as_without_the_limit(name, count):
    images = np.random.default_rng(0).random((count, *SIZE), "float32")
    free, fixed = (ks.explain(network(batch), images, name) for batch in (None, 6))
    assert fixed.maps.shape == free.maps.shape
    np.testing.assert_allclose(fixed.maps, free.maps, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fixed.outputs, free.outputs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fixed.scores, free.scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_explains_it(name):
    images = np.random.default_rng(0).random((3, *SIZE), "float32")
    free, fixed = (ks.explain(network(batch), images, method_of(name)) for batch in (None, 4))
    np.testing.assert_allclose(fixed.maps, free.maps, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", sorted(ATTENTION))
def test_attention_is_that_of_the_images_alone(name):
    def vision(batch):
        images = keras.Input(SIZE, batch_size=batch)
        x = layers.Reshape((9, 36))(Fixed(batch)(images))  # its rows
        x = layers.MultiHeadAttention(2, 3)(x, x)
        return keras.Model(images, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))

    images = np.random.default_rng(0).random((3, *SIZE), "float32")
    free, fixed = vision(None), vision(4)
    fixed.set_weights(free.get_weights())
    maps = [ks.explain(one, images, name).maps for one in (free, fixed)]
    np.testing.assert_allclose(*maps, rtol=1e-4)


def test_the_state_of_a_recurrent_layer_is_for_its_number_of_images():
    """Where a stateful layer gets fewer, it spreads them over all rows, and raises nothing."""

    def frames(batch):
        videos = keras.Input((3, 6, 8, 1), batch_size=batch)
        x = layers.ConvLSTM2D(2, 3, stateful=batch is not None, name="top")(videos)
        return keras.Model(videos, layers.Dense(2)(layers.Flatten()(x)))

    videos = np.random.default_rng(0).random((3, 3, 6, 8, 1), "float32")
    free, fixed = frames(None), frames(4)
    fixed.set_weights(free.get_weights())
    before = fixed.get_weights()
    for name in ("saliency", "grad_cam"):
        maps = [ks.explain(one, videos, name).maps for one in (free, fixed)]
        np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-7)
    for one, other in zip(before, fixed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_declared_number_that_nothing_needs_costs_no_filling_up():
    model = keras.Sequential(
        [keras.Input(SIZE, batch_size=64), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)]
    )
    rows = []

    def counting(scored, images):
        rows.append(len(ops.convert_to_numpy(scored.activations(images))))
        return scored.scores(images)[:, None, None]

    ks.explain(model, np.ones((2, *SIZE), "float32"), counting)
    call = ks.attribution.explainer.Explainer(
        model, ks.Probes(np.ones((2, *SIZE))), ["saliency"], ks.Target(0), None, 32
    ).context.call
    assert call.batch is None
    assert rows[-1] == 2


@pytest.mark.filterwarnings("ignore:There will be no verdict")  # of so few images
def test_it_is_watched_in_fit_with_a_verdict(tmp_path):
    model = network(6)
    model.compile("sgd", "sparse_categorical_crossentropy")
    random = np.random.default_rng(1)
    images, labels = random.integers(0, 255, (96, *SIZE), "uint8"), np.arange(96) % 4
    watch = ks.SaliencyCallback(
        ks.Probes(images[:7], labels[:7]), tmp_path, shortcuts=(images, labels), strict=True
    )
    model.fit(images / 255.0, labels, batch_size=6, epochs=1, verbose=0, callbacks=[watch])
    assert watch.session.newest.maps["grad_cam"].shape[0] == 7
    assert watch.verdict is not None
    assert "could not" not in watch.verdict.text
