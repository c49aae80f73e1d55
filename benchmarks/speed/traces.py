"""How often TensorFlow traces a function once the first epoch is over, by its own count."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Collection
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from networks import SEVEN
from timing import summed

import keras_saliency as ks
from keras_saliency.cli.demo import small_cnn
from keras_saliency.data.synthetic import scenes

EPOCHS = 4


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """Train with methods of one pass and of many, a verdict, and probes that fill no last chunk."""
    drawn = scenes(400)
    probes = (drawn.images[:13], drawn.labels[:13])
    counts: list[int] = []

    class Count(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            counts.append(traced())

    with tempfile.TemporaryDirectory() as logs:
        watch = ks.SaliencyCallback(
            probes,
            logs,
            [*SEVEN, "score_cam"],
            shortcuts=(drawn.images, drawn.labels),
            batch_size=5,
        )
        network = small_cnn((64, 64), 2)
        network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
        network.fit(
            drawn.images, drawn.labels, epochs=EPOCHS, verbose=0, callbacks=[watch, Count()]
        )
    later = summed(np.diff(counts).astype(float).tolist())
    return {"traces": later | {"in the first epoch": counts[0]}}


def traced() -> int:
    """Count the traces of all functions that live."""
    kind = tf.types.experimental.PolymorphicFunction
    alive = [one for one in gc.get_objects() if isinstance(one, kind)]
    return sum(one.experimental_get_tracing_count() for one in alive)
