"""How much longer a training run takes with the callback, all drawing and writing included."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection
from typing import Any

import cv2
import keras
import numpy as np
from networks import CLASSES, PROBES
from sklearn.datasets import load_digits
from timing import ratio, seconds

import keras_saliency as ks
from keras_saliency.cli.demo import small_cnn

EPOCHS, BATCH, SIDE = 20, 32, 64
LEAST = 2.0  # seconds of an epoch: so many copies of the digits are trained on


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    images, labels = digits()
    epoch = seconds(lambda: train(images, labels, 3, [])) / 3
    copies = max(1, math.ceil(LEAST / epoch))
    more = (np.concatenate([one] * copies) for one in (images, labels))
    given = tuple(more)
    times: dict[str, list[float]] = {"with": [], "without": []}
    for turn in range(rounds):
        for kind in sorted(times, reverse=bool(turn % 2)):
            times[kind].append(seconds(lambda kind=kind: run(*given, kind == "with")))
    epoch = float(np.median(times["without"])) / EPOCHS
    return {"wall": ratio(times["with"], times["without"]) | {"epoch (s)": round(epoch, 2)}}


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scans of digits, enlarged, uint8 (n, SIDE, SIDE, 3), and their classes."""
    found = load_digits()
    grey = [cv2.resize(np.uint8(15 * one), (SIDE, SIDE)) for one in found.images]
    return np.repeat(np.stack(grey)[..., None], 3, axis=-1), found.target


def run(images: np.ndarray, labels: np.ndarray, is_watched: bool) -> None:
    with tempfile.TemporaryDirectory() as logs:
        probes = (images[:PROBES], labels[:PROBES])
        watch = [ks.SaliencyCallback(probes, logs)] if is_watched else []
        train(images, labels, EPOCHS, watch)


def train(images: np.ndarray, labels: np.ndarray, epochs: int, callbacks: list[Any]) -> None:
    keras.utils.set_random_seed(0)
    model = small_cnn((SIDE, SIDE), CLASSES)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, labels, BATCH, epochs, verbose=0, callbacks=callbacks)
