"""What an evaluation of the verdict takes, against another version of this package, in turns.

    git worktree add ../before 7f34587
    python benchmarks/speed/verdict_turns.py ../before [--rounds 7] [--models "small CNN, 64 px"]

Each version has a process of its own, which waits while the other evaluates. Seven nuisances, those
that both know; two classes, 256 donors, 64 receivers. Once the model relies on nothing (weights of
chance), and once on the grass (the difference of green and blue, averaged over the image), so that
the alarm stands. The ratios are of wall-clock and of processor time, medians of the rounds. The
test of components, which is due at every fifth evaluation and was not there before, is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NUISANCES = ("background", "cast", "texture", "frame", "position", "scale", "mark")
MODELS = {
    "small CNN, 64 px": (None, 64),
    "small CNN, 224 px": (None, 224),
    "MobileNetV2, 224 px": ("MobileNetV2", 224),
}
WARM_UP = 2  # rounds that are not counted: they trace, and the second raises the alarm
HERE = Path(__file__).parents[2]


def model_of(name: str, relies: bool) -> Any:
    """Build a model of two classes that relies on the grass, or on nothing."""
    import keras
    import numpy as np
    from keras import layers

    network, side = MODELS[name]
    keras.utils.set_random_seed(0)
    images = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 255)(images)
    if network is None:
        for filters in (16, 32, 64):
            x = layers.Conv2D(filters, 3, activation="relu")(x)
            x = layers.MaxPooling2D()(x) if filters < 64 else layers.GlobalAveragePooling2D()(x)
        outputs = layers.Dense(2, activation="softmax")(x)
    else:
        made = getattr(keras.applications, network)
        outputs = made(weights=None, classes=2, input_shape=(side, side, 3))(x)
    if relies:
        grass = layers.Dense(2, use_bias=False)
        logits = grass(layers.GlobalAveragePooling2D()(images))
        grass.set_weights([np.array([[0, 0], [1, -1], [-1, 1]], "float32") / 4])
        outputs = layers.Softmax()(layers.Add()([logits, layers.Rescaling(1e-3)(outputs)]))
    model = keras.Model(images, outputs)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def serve(name: str, relies: bool) -> None:
    """Evaluate whenever a line comes in, and write what it took."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print is no answer.
    import keras_saliency as ks

    try:
        from keras_saliency.data.synthetic import scenes
    except ImportError:  # As it was called before.
        from keras_saliency.demo import scenes  # type: ignore[import-not-found, no-redef]
    train = scenes(400, size=(MODELS[name][1],) * 2)
    with tempfile.TemporaryDirectory() as logs:
        data, options = (train.images, train.labels), {"nuisances": NUISANCES}
        try:
            shortcuts = ks.Shortcuts(data, components=None, **options)
        except TypeError:  # There were none.
            shortcuts = ks.Shortcuts(data, **options)
        probes = train.images[:4], train.labels[:4]
        callback: Any = ks.SaliencyCallback(probes, logs, shortcuts=shortcuts)
        callback.set_model(model_of(name, relies))
        callback.set_params({"verbose": 0})
        callback.on_train_begin()
        callback.on_epoch_begin(0)
        session = getattr(callback, "session", None)
        evaluator = callback._assessor if session is None else session._evaluator
        for step, _ in enumerate(sys.stdin):
            start, used = time.perf_counter(), time.process_time()
            verdict = evaluator.evaluate(step)
            taken = time.perf_counter() - start, time.process_time() - used
            print(json.dumps([*taken, verdict.alarm]), file=answers, flush=True)


class Version:
    """A process with one version of the package."""

    def __init__(self, root: Path, *arguments: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(root.resolve())}
        command = [sys.executable, __file__, "--serve", *arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment
        )

    def evaluate(self) -> list[float]:
        """Evaluate once: wall-clock and processor seconds, and whether the alarm stands."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        found: list[float] = json.loads(self._process.stdout.readline())
        return found

    def end(self) -> None:
        self._process.communicate()


def measure(before: Path, name: str, case: str, rounds: int) -> dict[str, Any]:
    """Compare both versions on one model."""
    versions = [Version(root, name, case) for root in (HERE, before)]
    turns = [[version.evaluate() for version in versions] for _ in range(rounds + WARM_UP)]
    for version in versions:
        version.end()
    counted = turns[WARM_UP:]
    wall, used = ([now[k] / then[k] for now, then in counted] for k in (0, 1))
    return {
        "model": name,
        "relies on": "the grass" if case == "alarm" else "nothing",
        "ratio": statistics.median(wall),
        "quartiles": statistics.quantiles(wall, n=4, method="inclusive")[::2],
        "ratio of processor time": statistics.median(used),
        "seconds": statistics.median(now[0] for now, _ in counted),
        "alarms": [int(all(turn[k][2] for turn in counted)) for k in (0, 1)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, nargs="?", help="a checkout of the other version")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--cases", nargs="+", choices=("clean", "alarm"), default=["clean", "alarm"]
    )
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve[0], args.serve[1] == "alarm")
        return
    for name in args.models:
        for case in args.cases:
            print(json.dumps(measure(args.before, name, case, args.rounds)), flush=True)


if __name__ == "__main__":
    main()
