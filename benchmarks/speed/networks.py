"""The networks that are explained, their probes, and a training run that stands still."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import keras
import numpy as np
from targets import SMALL

import keras_saliency as ks
from keras_saliency.cli.demo import small_cnn

PROBES, CLASSES = 16, 10
LAYERS = {"MobileNetV2": "out_relu", "ResNet50": "conv5_block3_out"}
TWO = ("saliency", "grad_cam")
SEVEN = (
    *TWO,
    "gradient_x_input",
    "hires_cam",
    "layer_cam",
    "grad_cam_plus_plus",
    "xgrad_cam",
)


@dataclass(frozen=True)
class Subject:
    """A network and its probes.

    Attributes:
        model: The network, compiled; it ends in a softmax.
        layer: The name of its last feature map, which is what CAM methods look at by default.
        images: float32 (n, height, width, 3), in the range that the network takes.
        labels: (n,) classes.
    """

    model: keras.Model
    layer: str
    images: np.ndarray
    labels: np.ndarray

    def train(self) -> None:
        """Do one training step on the probes."""
        self.model.train_on_batch(self.images, self.labels)


def subject(name: str, probes: int = PROBES) -> Subject:
    """Build a network with weights of chance; how long it takes does not depend on them."""
    keras.utils.set_random_seed(0)
    if name == SMALL:
        layers, side = small_cnn((64, 64), CLASSES), 64
        model = keras.Model(layers.inputs[0], layers.outputs[0])
        layer = [one.name for one in model.layers if isinstance(one, keras.layers.Conv2D)][-1]
    else:
        options = {"weights": None, "classes": CLASSES, "input_shape": (224, 224, 3)}
        model, side, layer = getattr(keras.applications, name)(**options), 224, LAYERS[name]
    # As is quickest on a CPU with TensorFlow, where XLA is not.
    compiled = keras.backend.backend() == "jax"
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=compiled)
    images = np.random.default_rng(0).uniform(0, 255, (probes, side, side, 3)).astype("float32")
    return Subject(model, layer, images, np.arange(probes) % CLASSES)


class Watch:
    """The callback, within a training run that stands still."""

    def __init__(self, callback: ks.SaliencyCallback) -> None:
        self._callback, self._epoch = callback, 0
        self.explainer = callback.session.explainer

    def evaluate(self) -> None:
        """Do what the training thread does at an epoch's end."""
        self._callback.on_epoch_end(self._epoch, {})
        self._epoch += 1

    def ask(self) -> None:
        """Look, and record nothing."""
        self.explainer.evaluate()

    def finish_drawing(self) -> None:
        """Wait for the worker thread."""
        self._callback.session.recorder.flush(120)


@contextmanager
def watching(
    given: Subject,
    methods: Sequence[str] = TWO,
    batch_size: int = 32,
    check_maps: bool | str = False,
) -> Iterator[Watch]:
    """Begin a training run with the callback, everything logged."""
    with TemporaryDirectory() as logs:
        probes, options = (given.images, given.labels), {"batch_size": batch_size}
        callback = ks.SaliencyCallback(probes, logs, methods, check_maps=check_maps, **options)
        callback.set_model(given.model)
        callback.set_params({"verbose": 0})
        callback.on_train_begin()
        callback.on_epoch_begin(0)
        yield Watch(callback)
        callback.on_train_end()
