#!/usr/bin/env bash
# Keras 3.15.1, JAX backend (jax 0.10.2): `fit(callbacks=callback)`, a callback that is not in a list,
# is accepted as `callbacks=[callback]` is, but its `on_train_batch_end` runs in threads of a pool,
# several batches of it at a time and in no order, beside the training of later batches; in a list it
# runs in the main thread. What is written for the one breaks in the other: a counter loses order,
# and a weight that is read there may be a buffer that JAX has deleted.
# Cause: `CallbackList` looks for overridden batch hooks in its argument `callbacks`, and only if
# that is a list or tuple; finding none it makes the hooks asynchronous.
# Seen: "in a list: MainThread only, bare: pool threads only". Exits 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax PYTHONPATH= "$folder/env/bin/python" - <<'PY'
import sys
import threading

import keras
import numpy as np


class Witness(keras.callbacks.Callback):
    """Remembers in which threads its batch hook has run."""

    def __init__(self):
        super().__init__()
        self.threads = set()

    def on_train_batch_end(self, batch, logs=None):
        self.threads.add(threading.current_thread() is threading.main_thread())


def in_main(wrap):
    witness = Witness()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    model.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=wrap(witness))
    return witness.threads


in_list, bare = in_main(lambda one: [one]), in_main(lambda one: one)
words = {frozenset({True}): "MainThread only", frozenset({False}): "pool threads only"}
print(f"keras {keras.__version__} on {keras.backend.backend()}")
print(f"in a list: {words.get(frozenset(in_list), in_list)}, bare: {words.get(frozenset(bare), bare)}")
sys.exit((in_list, bare) != ({True}, {False}))
PY
