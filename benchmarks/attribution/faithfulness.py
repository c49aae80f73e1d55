"""How faithful the methods' maps are, on one small network: a table for docs/methods.md.

The network of the demo learns elephants and penguins whose background says nothing about them. The
maps are made for the label, of new images. Four controls stand below the methods: maps of chance,
edges of the image, which ask the model nothing, guided backpropagation and deconvnet.

    python benchmarks/attribution/faithfulness.py [--images 32] [--checked 8] [--seed 0]

Each number is a mean over images, with its 95 % bootstrap interval over images. Insertion and
deletion are told as the gain in area over maps of chance on the same image, so that in both a
larger number is better. The checks of the right two columns take the first few images alone.
"""

import argparse
import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import keras_saliency as ks
from keras_saliency import metrics
from keras_saliency.cli.demo import small_cnn
from keras_saliency.data.synthetic import scenes

TRANSFORMERS_ONLY = {"attention_grad", "attention_rollout"}
OPTIONS = {"rise": {"samples": 300}}  # of 4000, for the sake of time
COLUMNS = ("insertion", "deletion", "drop", "increase", "ROAD", "randomised", "other class")
CONTROLS = ("chance", "edges", "guided backpropagation", "deconvnet")

Explain = Callable[..., Any]


def trained(seed: int) -> keras.Model:
    drawn = scenes(2000, correlation=0.5, seed=seed)
    keras.utils.set_random_seed(seed)
    model = small_cnn(drawn.images.shape[1:3], 2)
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    model.fit(drawn.images, drawn.labels, batch_size=32, epochs=10, verbose=0)
    return model


def explainers() -> dict[str, Explain]:
    names = [name for name in ks.methods.available() if name not in TRANSFORMERS_ONLY]
    found: dict[str, Explain] = {}
    for name in names:
        method = functools.partial(ks.methods.get(name), **OPTIONS.get(name, {}))
        found[name] = functools.partial(ks.explain, method=method)
    controls = (chance, edges, functools.partial(through, rule=guided), through)
    return found | dict(zip(CONTROLS, controls, strict=True))


def chance(model: keras.Model, images: np.ndarray, target: Any) -> np.ndarray:
    # From the operating system: maps of chance differ from call to call.
    return np.random.default_rng().random(images.shape[:3])


def edges(model: keras.Model, images: np.ndarray, target: Any) -> np.ndarray:
    return np.hypot(*np.gradient(images.mean(axis=-1, dtype="float64"), axis=(1, 2)))


@tf.custom_gradient
def guided(x: tf.Tensor) -> Any:
    return tf.nn.relu(x), lambda up: tf.where((x > 0) & (up > 0), up, tf.zeros_like(up))


@tf.custom_gradient
def deconvnet(x: tf.Tensor) -> Any:
    return tf.nn.relu(x), tf.nn.relu


def through(
    model: keras.Model, images: np.ndarray, target: Any, rule: Callable = deconvnet
) -> np.ndarray:
    with activations(model, rule), tf.GradientTape() as tape:
        inputs = tf.constant(images, "float32")
        tape.watch(inputs)
        logits = model(inputs, training=False)
        scores = tf.gather(logits, np.broadcast_to(target, len(images)), batch_dims=1)
    return tf.reduce_max(tf.abs(tape.gradient(scores, inputs)), axis=-1).numpy()


@contextmanager
def activations(model: keras.Model, rule: Callable) -> Iterator[None]:
    """Put a rule in the place of every ReLU, and nothing in that of the softmax."""
    layers = [layer for layer in model.layers if hasattr(layer, "activation")]
    before = [layer.activation for layer in layers]
    try:
        for layer, own in zip(layers, before, strict=True):
            layer.activation = rule if own is keras.activations.relu else keras.activations.linear
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.activation = own


def areas_by_chance(scores: Callable, images: np.ndarray) -> dict[str, np.ndarray]:
    """Areas under the curves of each image, the mean of a few maps of chance."""
    random = np.random.default_rng(0)
    maps = random.random((4, *images.shape[:3]))
    return {
        name: np.mean([getattr(metrics, name)(scores, images, m).areas for m in maps], axis=0)
        for name in ("insertion", "deletion")
    }


def measure(
    explain: Explain,
    model: keras.Model,
    scores: Callable,
    by_chance: dict[str, np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    checked: int,
) -> dict[str, np.ndarray]:
    maps = explain(model, images, target=labels)
    maps = maps.maps if isinstance(maps, ks.Explanation) else maps
    few, their = images[:checked], labels[:checked]
    change = metrics.confidence_change(scores, images, maps)
    randomised = metrics.model_randomisation(explain, model, few, their)
    return {
        "insertion": metrics.insertion(scores, images, maps).areas - by_chance["insertion"],
        "deletion": by_chance["deletion"] - metrics.deletion(scores, images, maps).areas,
        "drop": change.drops,
        "increase": change.increases.astype(float),
        "ROAD": metrics.road(scores, images, maps).gaps,
        "randomised": means(randomised.correlations),
        "other class": metrics.class_sensitivity(explain, model, few, their, range(2)),
    }


def means(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    return np.where(
        counts > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(counts, 1), np.nan
    )


def cell(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return "–"
    rows = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), (0.025, 0.975))
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--checked", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = trained(args.seed)
    keras.config.disable_interactive_logging()
    drawn = scenes(args.images, correlation=0.5, seed=args.seed + 1)
    images, labels = drawn.images.astype("float32"), drawn.labels
    right = (model.predict(images, verbose=0).argmax(axis=-1) == labels).mean()
    print(f"{args.images} new pictures, {right:.0%} of them classified rightly\n")
    scores = metrics.scorer(model, images, target=labels)
    by_chance = areas_by_chance(scores, images)
    print(f"| method | {' | '.join(COLUMNS)} | seconds |\n|---|{'---|' * (len(COLUMNS) + 1)}")
    for name, explain in explainers().items():
        began = time.perf_counter()
        found = measure(explain, model, scores, by_chance, images, labels, args.checked)
        cells = " | ".join(cell(found[column]) for column in COLUMNS)
        print(f"| {name} | {cells} | {time.perf_counter() - began:.0f} |", flush=True)


if __name__ == "__main__":
    main()
