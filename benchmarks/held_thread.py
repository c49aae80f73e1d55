"""How long the callback holds the training thread, against what the hardware must do at least.

For 16 probes at 224 px, in one run, interleaved, medians:

- held: `on_epoch_end` of `SaliencyCallback` with saliency and Grad-CAM, everything logged;
- limit: one compiled forward and backward pass to input and layer, written by hand;
- step: one training step on the same batch.

    python benchmarks/held_thread.py [--models small MobileNetV2 ResNet50] [--rounds 9] [--out FILE]
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import keras_saliency as ks
from keras_saliency.demo.training import small_cnn

PROBES = 16
LAYERS = {"MobileNetV2": "out_relu", "ResNet50": "conv5_block3_out"}


def build(name: str) -> tuple[keras.Model, str, tuple[int, int]]:
    keras.utils.set_random_seed(0)
    if name == "small":
        model = small_cnn((64, 64), 10)
        layer = [one.name for one in model.layers if isinstance(one, keras.layers.Conv2D)][-1]
        return model, layer, (64, 64)
    model = getattr(keras.applications, name)(weights=None, classes=10, input_shape=(224, 224, 3))
    return model, LAYERS[name], (224, 224)


def limit(model: keras.Model, layer: str, images: np.ndarray, labels: np.ndarray) -> Callable:
    head = model.layers[-1]
    both = keras.Model(model.inputs, [model.get_layer(layer).output, head.input])
    batch, classes = tf.constant(images), tf.constant(labels)

    @tf.function
    def run() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(batch)
            features, pooled = both(batch, training=False)
            logits = tf.gather(pooled @ head.kernel + head.bias, classes, batch_dims=1)
        return tape.gradient(logits, [batch, features])

    return lambda: [found.numpy() for found in run()]


def measure(name: str, rounds: int) -> dict[str, float | str]:
    model, layer, size = build(name)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (PROBES, *size, 3)).astype("float32")
    labels = np.arange(PROBES) % 10
    at_least = limit(model, layer, images, labels)
    times: dict[str, list[float]] = {"held": [], "limit": [], "step": []}
    with tempfile.TemporaryDirectory() as logs:
        watch = ks.SaliencyCallback((images, labels), logs)
        watch.set_model(model)
        watch.set_params({"verbose": 0})
        watch.on_train_begin()
        watch.on_epoch_begin(0)
        kinds = {
            "held": lambda: watch.on_epoch_end(epoch, {}),
            "limit": at_least,
            "step": lambda: model.train_on_batch(images, labels),
        }
        for epoch in range(rounds + 2):
            for kind, action in kinds.items():
                start = time.perf_counter()
                action()
                if epoch >= 2:  # the first ones trace
                    times[kind].append(time.perf_counter() - start)
                watch._recorder.flush(60)
        watch.on_train_end()
    middle = {kind: statistics.median(found) for kind, found in times.items()}
    return {
        "model": name,
        **{f"{kind} (s)": round(value, 4) for kind, value in middle.items()},
        "held / limit": statistics.median(
            h / m for h, m in zip(times["held"], times["limit"], strict=True)
        ),
        "held / step": statistics.median(
            h / s for h, s in zip(times["held"], times["step"], strict=True)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["small", "MobileNetV2", "ResNet50"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for name in args.models:
        rows.append(measure(name, args.rounds))
        print("  ".join(f"{k} {v:.3g}" if k != "model" else v for k, v in rows[-1].items()))
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
