"""Faults of numbers and of memory, made in earnest while a model trains."""

import logging

import cv2
import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_saliency as ks
from keras_saliency.data.synthetic import scenes
from keras_saliency.drawing import cards
from keras_saliency.engine import backend, batching

from helpers import observed
from helpers.disks import Run
from helpers.few_perturbations import method
from helpers.transformers import ATTENTION
from helpers.watching import ALL, PICTURE, PROBES, built, fitted, watched

HUGE = 2**58  # bytes, more than any computer can address


def diverging():
    """A training run whose weights are no numbers after a few steps."""
    return built(layers.BatchNormalization, optimizer=keras.optimizers.SGD(1e30))


def greedy():
    return built(GreedyLayer)


OTHERS = set(ks.methods.available()) - ATTENTION
FEW = ["saliency", "grad_cam", "eigen_cam", "score_cam"]


@pytest.mark.parametrize("names", [FEW, pytest.param(sorted(OTHERS), marks=pytest.mark.slow)])
def test_a_training_that_diverges(names, tmp_path):
    methods = [method(name) for name in names]
    watch = ks.SaliencyCallback(PROBES, tmp_path, methods)
    assert watched(watch, build=diverging) == []
    run = Run(tmp_path / "saliency")
    assert np.isnan(run.values("epoch_loss")[4])
    for one in methods:
        tag = f"{one.__name__.replace('_', '-')}"
        assert run.steps(f"{tag}/00_0") == ALL
        assert run.values(f"{tag}/dead")[4] == 1
    wanted = cards.tile(
        ks.Probes.of(PROBES).display[0],
        np.full((2, 2), np.nan),
        title="00 0",
        subtitle="epoch 5 (step 4)",
        caption="predicted 0",
        correct=False,
    )
    found = cv2.imdecode(np.frombuffer(run.pictures(PICTURE)[4], np.uint8), 1)[..., ::-1]
    middle = slice(60, len(wanted) - 60)
    assert np.abs(found[middle].astype(int) - wanted[middle]).mean() < 3


def test_a_verdict_on_a_training_that_diverges(tmp_path):
    drawn = scenes(160)
    images, labels, masks = drawn.images, drawn.labels, drawn.masks
    model = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    # Of too large a step, whether units die or overflow depends on the backend.
    model.compile(keras.optimizers.SGD(float("nan")), "sparse_categorical_crossentropy")
    watch = ks.SaliencyCallback(
        (images[:2], labels[:2]), tmp_path, ["saliency"], shortcuts=(images, labels, masks)
    )
    history = model.fit(images, labels, epochs=2, verbose=0, callbacks=[watch]).history
    assert watch.verdict.text == "can't say: the model's outputs are not finite"
    assert not watch.verdict.alarm
    assert np.isnan(history["shortcut_reliance"]).all()


class Greedy:
    """A method that wants more memory than there is, of more images at once than it is let."""

    __name__ = "greedy"
    most = 100

    def __init__(self):
        self.asked = []

    def __call__(self, model, images):
        self.asked.append(images.shape[0])
        if images.shape[0] > Greedy.most:
            np.empty(HUGE, "uint8")
        return modest(model, images)


class Lets(keras.callbacks.Callback):
    """Lets it have only so many from the third epoch on."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            Greedy.most = self.most


@pytest.fixture(autouse=True)
def generous():
    yield
    Greedy.most = GreedyLayer.most = 100


FOUR = observed.pictures(4, seed=2)


def modest(model, images):
    return ops.sum(model.input_gradients(images), axis=-1)


def test_a_method_out_of_memory_gets_half_as_many_images_at_once(tmp_path, caplog):
    greedy_one = Greedy()
    watch = ks.SaliencyCallback(FOUR, tmp_path, [greedy_one, modest])
    with caplog.at_level(logging.INFO, "keras_saliency"):
        assert watched(watch, Lets(1)) == []
    assert caplog.text.count("out of memory") == 1
    assert (
        "out of memory with batch_size=32; from now on it evaluates 1 images at a time"
        in caplog.text
    )
    assert greedy_one.asked == [1, *[4] * 3, *[4, 2], *[1] * 12]  # rehearsed with one
    run = Run(tmp_path / "saliency")
    assert run.values("greedy/peak") == pytest.approx(run.values("modest/peak"), rel=1e-5)
    assert run.steps("greedy/00_0") == ALL


def test_a_method_that_one_image_is_too_many_for_is_given_up_and_named(tmp_path):
    watch = ks.SaliencyCallback(FOUR, tmp_path, [Greedy(), "grad_cam"], batch_size=4)
    (message,) = watched(watch, Lets(0))
    assert "'greedy' could not be computed (Unable to allocate" in message
    run = Run(tmp_path / "saliency")
    assert run.steps("greedy/peak") == [-1, 0, 1]
    assert run.steps("greedy/00_0") == run.steps("grad-cam/peak") == ALL


class GreedyLayer(layers.Layer):
    """A layer that wants more memory than there is, of more images at once than it is let."""

    most = 100

    def call(self, inputs, training=None):
        if not training and (inputs.shape[0] or 0) > GreedyLayer.most:
            return inputs + 0 * ops.sum(ops.ones((2**23, 2**23)))
        return inputs


@pytest.mark.slow  # TensorFlow waits 10 s for memory
@pytest.mark.needs(backend="tensorflow or torch", why="code of a layer runs at every call there")
def test_a_layer_out_of_memory_gets_half_as_many_images_at_once(tmp_path):
    class Lets(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            GreedyLayer.most = {1: 2, 3: 0}.get(epoch, GreedyLayer.most)

    watch = ks.SaliencyCallback(FOUR, tmp_path, ["saliency", method("rise")])
    (message,) = watched(watch, Lets(), build=greedy)
    assert "the set of epoch 5 is missing" in message
    run = Run(tmp_path / "saliency")
    assert run.steps("saliency/00_0") == run.steps("rise/peak") == [-1, 0, 1, 2, 3]


def test_too_little_memory_for_the_first_look_is_told_before_training(tmp_path):
    Greedy.most = 0
    model = built()
    before = observed.values(model.variables)
    with pytest.raises(MemoryError):
        fitted(model, [ks.SaliencyCallback(FOUR, tmp_path, [Greedy()])])
    assert observed.values(model.variables) == before


@pytest.mark.slow
def test_the_error_of_each_backend_is_known():
    with pytest.raises(Exception) as caught:  # noqa: PT011 (each has its own)
        ops.convert_to_numpy(ops.ones((2**23, 2**23)))
    assert backend.is_out_of_memory(caught.value)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        ops.convert_to_numpy(ops.matmul(ops.ones((2, 3)), ops.ones((2, 3))))
    assert not backend.is_out_of_memory(caught.value)


@pytest.mark.parametrize("most", [32, 5, 1])
def test_fewer_are_tried_until_they_fit(most):
    tried = []

    def attempt(count, images):
        tried.append(count)
        return len(np.empty(0 if count <= most else HUGE, "uint8"))

    runner = batching.BatchRunner(attempt, 32, keras.Sequential())
    assert (runner(FOUR[0]), runner.batch_size) == (0, tried[-1])
    assert tried == {32: [32], 5: [32, 16, 8, 4], 1: [32, 16, 8, 4, 2, 1]}[most]


def test_other_errors_are_not_tried_again():
    def attempt(count, images):
        tried.append(count)
        raise ValueError("no")

    tried = []
    with pytest.raises(ValueError, match="no"):
        batching.BatchRunner(attempt, 32, keras.Sequential())(FOUR[0])
    assert tried == [32]
