#!/usr/bin/env bash
# Keras 3.15.1, JAX backend (jax 0.10.2): with `SwapEMAWeights(swap_on_epoch=True)` a model ends its
# training run with the averaged weights, unless `EarlyStopping` ends the run: then it keeps the raw
# weights, without a word. The averages are copied to stay only at the end of epoch `epochs - 1`,
# which a run that is stopped never reaches.
# Seen: "not stopped: averaged weights", "stopped early: raw weights". Exits 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax PYTHONPATH= "$folder/env/bin/python" - <<'PY'
import sys

import keras
import numpy as np


class Raw(keras.callbacks.Callback):
    """Keeps the weights as they train, and averages them by hand."""

    averages = None

    def on_train_batch_end(self, batch, logs=None):
        self.weights = self.model.get_weights()
        before = self.averages or self.weights
        self.averages = [0.9 * b + 0.1 * w for b, w in zip(before, self.weights)]


def trained(*callbacks, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), "mse")
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    raw = Raw()
    model.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=[raw, *callbacks], **options)
    return model, raw


def name(model, raw):
    near = lambda other: np.allclose(model.get_weights()[0], other[0], atol=1e-6)
    return "averaged" if near(raw.averages) else "raw" if near(raw.weights) else "other"


swap = lambda: keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
whole = name(*trained(swap(), epochs=3))
stop = keras.callbacks.EarlyStopping("loss", patience=0, mode="max")
stopped = name(*trained(swap(), stop, epochs=9))

print(f"keras {keras.__version__} on {keras.backend.backend()}")
print(f"not stopped: {whole} weights\nstopped early: {stopped} weights")
sys.exit((whole, stopped) != ("averaged", "raw"))
PY
