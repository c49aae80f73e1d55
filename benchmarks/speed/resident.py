"""Whether 300 epochs leave memory as it was.

python benchmarks/speed/resident.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from timing import summed

EPOCHS, SETTLED, SIDE = 300, 20, 24


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    found = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, check=True)
        found.append(float(done.stdout.split()[-1]))
    return {"resident": summed(found)}


def main() -> None:
    import keras
    import numpy as np

    import keras_saliency as ks
    from keras_saliency.cli.demo import small_cnn

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (32, SIDE, SIDE, 3), np.uint8), np.arange(32) % 2
    model = small_cnn((SIDE, SIDE), 2)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    sizes: dict[int, int] = {}

    class Measure(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            watch.session.recorder.flush(60)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            sizes[epoch + 1] = pages

    with tempfile.TemporaryDirectory() as logs:
        watch = ks.SaliencyCallback((images[:8], labels[:8]), logs)
        model.fit(images, labels, epochs=EPOCHS, verbose=0, callbacks=[watch, Measure()])
    print(sizes[EPOCHS] / sizes[SETTLED])


if __name__ == "__main__":
    main()
