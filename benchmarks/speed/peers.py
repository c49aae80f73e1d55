"""Other libraries and the common recipe beside ours: the same probes, model and layer.

Where there was a choice it was made in favour of the others: what they can build once is built
once, outside the clock. They run with Keras 3 as they are, warnings apart, where the model is
functional; since it ends in a fused softmax, they explain its probability.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from networks import CLASSES, Subject, subject, watching
from timing import interleaved, ratio

Look = Callable[[], object]
CLASS = 1  # tf-explain explains one class of all images


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    given = subject(model)
    with tempfile.TemporaryDirectory() as logs, watching(given) as ours:
        actions: dict[str, Look] = {key: PEERS[key](given, logs) for key in keys}
        times = interleaved({"ours": ours.evaluate, **actions}, rounds, ours.finish_drawing)
    return {key: ratio(times[key], times["ours"]) for key in keys}


def tf_explain(given: Subject, logs: str) -> Look:
    """Saliency and Grad-CAM of tf-explain's callbacks, which draw a sheet of all images each."""
    from tf_explain.callbacks.grad_cam import GradCAMCallback
    from tf_explain.callbacks.vanilla_gradients import VanillaGradientsCallback

    pictures = (given.images, given.labels)
    callbacks = [
        GradCAMCallback(pictures, class_index=CLASS, layer_name=given.layer, output_dir=logs),
        VanillaGradientsCallback(pictures, class_index=CLASS, output_dir=logs),
    ]
    for callback in callbacks:
        callback.set_model(given.model)
        callback.on_train_begin()
    return lambda: [callback.on_epoch_end(0, {}) for callback in callbacks]


def keras_io(given: Subject, logs: str) -> Look:
    """Grad-CAM alone as it is commonly written: image by image, with a model made for each."""
    writer = tf.summary.create_file_writer(logs)
    pictures = given.images.astype("uint8")

    def heat(image: np.ndarray, label: int) -> np.ndarray:
        layer = given.model.get_layer(given.layer)
        both = keras.Model(given.model.inputs, [layer.output, given.model.output])
        with tf.GradientTape() as tape:
            features, outputs = both(image[None])
            score = outputs[:, label]
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(0, 1, 2))
        positive = tf.nn.relu(tf.linalg.matvec(features[0], weights))
        return (positive / (tf.reduce_max(positive) + 1e-8)).numpy()

    def evaluate() -> None:
        with writer.as_default():
            for i, (image, label) in enumerate(zip(given.images, given.labels, strict=True)):
                height, width = image.shape[:2]
                shades = np.uint8(255 * cv2.resize(heat(image, int(label)), (width, height)))
                colours = cv2.cvtColor(cv2.applyColorMap(shades, cv2.COLORMAP_JET), 4)
                overlay = cv2.addWeighted(pictures[i], 0.6, colours, 0.4, 0)
                tf.summary.image(f"probe_{i}", overlay[None], step=0)
        writer.flush()

    return evaluate


def tf_keras_vis(given: Subject, logs: str) -> Look:
    """Maps of tf-keras-vis, none of them drawn."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.scores import CategoricalScore

    score = CategoricalScore(given.labels.tolist())
    saliency, cam = (kind(given.model, clone=False) for kind in (Saliency, Gradcam))
    return lambda: (
        saliency(score, given.images),
        cam(score, given.images, penultimate_layer=given.layer, seek_penultimate_conv_layer=False),
    )


def xplique(given: Subject, logs: str) -> Look:
    """Maps of xplique, none of them drawn."""
    from xplique.attributions import GradCAM, Saliency

    targets = np.eye(CLASSES, dtype="float32")[given.labels]
    methods = [
        Saliency(given.model, batch_size=len(targets)),
        GradCAM(given.model, conv_layer=given.layer, batch_size=len(targets)),
    ]
    return lambda: [method.explain(given.images, targets).numpy() for method in methods]


PEERS: dict[str, Callable[[Subject, str], Look]] = {
    "tf-explain": tf_explain,
    "keras.io": keras_io,
    "tf-keras-vis": tf_keras_vis,
    "xplique": xplique,
}
