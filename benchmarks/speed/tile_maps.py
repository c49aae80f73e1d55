"""What maps of tiles cost: drawing slides, and asking the model about all tiles.

Drawing is timed by itself: medians, in seconds of the processor, of which it uses one. Asking is
put as a share of an epoch that trains on as many tiles, measured in the same run, interleaved.

    python benchmarks/speed/tile_maps.py [--rounds 5]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_saliency as ks
from keras_saliency.cli.demo import small_cnn
from keras_saliency.tiles import Thumbnail, Tiles, tile_mosaic, tile_sheet
from keras_saliency.tiles.explainer import explainer_of

COUNT, SIDE, BATCH = 20_000, 64, 32
ASKED = 1024  # tiles, in the comparison with training


def seconds(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    action()
    return clock() - start


def drawing(rounds: int) -> None:
    rng = np.random.default_rng(0)
    across = int(np.ceil(np.sqrt(COUNT)))
    x, y = (axis.reshape(-1)[:COUNT] * 512.0 for axis in np.indices((across, across)))
    labels, chances = rng.integers(0, 2, COUNT), rng.random(COUNT)
    thumbnail = Thumbnail(
        rng.integers(0, 256, (2000, 2000, 3), np.uint8), (across * 512.0, across * 512.0)
    )
    pictures = rng.integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)
    maps = rng.random((COUNT, 7, 7), np.float32)
    uneven = rng.uniform(-100, 100, COUNT)
    tasks = {
        "labels, probabilities, difference": lambda: tile_sheet(x, y, labels, chances),
        "the same over a thumbnail": lambda: tile_sheet(x, y, labels, chances, thumbnail=thumbnail),
        "the same, unevenly spaced": lambda: tile_sheet(
            x + uneven, y - uneven, labels, chances, tile=512
        ),
        "mosaic of 64 maps": lambda: tile_mosaic(
            x[:64] % 4096, y[:64] + x[:64] // 4096, pictures[:64], maps[:64], tile=512
        ),
        "mosaic of all maps": lambda: tile_mosaic(x, y, pictures, maps, tile=512),
    }
    print(f"Drawing a slide of {COUNT:,} tiles, seconds:")
    for name, task in tasks.items():
        taken = statistics.median(seconds(task, time.process_time) for _ in range(rounds))
        print(f"    {name:<36}{taken:.2f}")


def asking(rounds: int) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (ASKED, SIDE, SIDE, 3), np.uint8)
    labels, x = rng.integers(0, 2, ASKED), np.arange(ASKED)
    for name, model in (("small CNN", small_cnn((SIDE, SIDE), 2)), ("MobileNetV2", backbone())):
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
        settings = ks.Target("label"), None, BATCH
        few = Tiles(pictures, labels, "s", x % 32, x // 32, maps=64)
        one = Tiles(pictures, labels, "s", x % 32, x // 32, maps=1)
        asked = {
            key: explainer_of(model, tiles, ["saliency", "grad_cam"], *settings)
            for key, tiles in (("probabilities", one), ("and 64 maps", few))
        }

        def train(model: keras.Model = model) -> None:
            model.fit(pictures, labels, batch_size=BATCH, verbose=0)

        train()
        times: dict[str, list[float]] = {key: [] for key in ("epoch", *asked)}
        for explainer in asked.values():
            explainer.evaluate()
        for _ in range(rounds):
            times["epoch"].append(seconds(train))
            for key, explainer in asked.items():
                times[key].append(seconds(explainer.evaluate))
        middle = {key: statistics.median(found) for key, found in times.items()}
        shares = ", ".join(f"{key} {100 * middle[key] / middle['epoch']:.0f} %" for key in asked)
        print(f"{name}, of an epoch on as many tiles ({ASKED:,} of {SIDE} px): {shares}")


def backbone() -> keras.Model:
    return keras.applications.MobileNetV2(
        weights=None, classes=2, input_shape=(SIDE, SIDE, 3), alpha=0.35
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    drawing(rounds)
    asking(rounds)


if __name__ == "__main__":
    main()
