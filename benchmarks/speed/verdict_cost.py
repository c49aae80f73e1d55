"""What the verdict costs: the time it blocks the training thread, as a share of an epoch.

All default nuisances, the salient patches and the making of counterfactuals included; two
classes, 256 donors, 64 receivers. In one run, interleaved, medians of the evaluation and of one
training step on 32 images; an epoch of n images is n / 32 steps. What is made once, before
training and at the first evaluation, stands apart.

    python benchmarks/speed/verdict_cost.py [--rounds 5] [--out FILE]
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

import keras_saliency as ks
from keras_saliency.cli.demo import small_cnn
from keras_saliency.data.synthetic import scenes

BATCH = 32
EPOCHS = (1_000, 10_000, 50_000)


def build(name: str, size: tuple[int, int]) -> keras.Model:
    keras.utils.set_random_seed(0)
    if name == "small CNN":
        return small_cnn(size, 2)
    model = getattr(keras.applications, name)(weights=None, classes=2, input_shape=(*size, 3))
    return keras.Sequential([keras.Input((*size, 3)), keras.layers.Rescaling(1 / 255), model])


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(name: str, size: tuple[int, int], rounds: int) -> dict[str, float | str]:
    model = build(name, size)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    drawn = scenes(400, size=size)
    batch = drawn.images[:BATCH].astype("float32"), drawn.labels[:BATCH]
    evaluations, steps = [], []
    with tempfile.TemporaryDirectory() as logs:
        start = time.perf_counter()
        shortcuts = ks.Shortcuts((drawn.images, drawn.labels))
        watch = ks.SaliencyCallback((drawn.images[:4], drawn.labels[:4]), logs, shortcuts=shortcuts)
        making = time.perf_counter() - start
        watch.set_model(model)
        watch.set_params({"verbose": 0})
        watch.on_train_begin()
        watch.on_epoch_begin(0)
        first = seconds(lambda: watch.session.assess(0, {}))
        model.train_on_batch(*batch)
        for _ in range(rounds):
            evaluations.append(seconds(lambda: watch.session.assess(1, {})))
            steps += [seconds(lambda: model.train_on_batch(*batch)) for _ in range(5)]
        watch.on_train_end()
    evaluation, step = statistics.median(evaluations), statistics.median(steps)
    shares = {f"% of {n:,} images": 100 * evaluation / (n / BATCH * step) for n in EPOCHS}
    return {
        "model": f"{name}, {size[0]} px",
        "made once (s)": making + max(first - evaluation, 0),
        "evaluation (s)": evaluation,
        "step (s)": step,
        **shares,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for name, side in (("small CNN", 64), ("small CNN", 224), ("MobileNetV2", 224)):
        rows.append(measure(name, (side, side), args.rounds))
        print("  ".join(f"{k} {v:.3g}" if k != "model" else v for k, v in rows[-1].items()))
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
