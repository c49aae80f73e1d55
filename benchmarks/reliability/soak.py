"""A long training run: whether memory, threads, files and the run itself stay as they should.

python benchmarks/reliability/soak.py [--epochs 2000] [--probes 16]

It trains a tiny model, fails where a promise of docs/guarantees.md does not hold, and prints the
figures that stand there.
"""

import argparse
import collections
import gc
import os
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SETTLED = 200  # epochs, after which nothing may grow
FLAT = 0.03
METHODS = ("saliency", "grad_cam")
ONCE = ("probes", "custom_scalars__config__", "about")


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--epochs", type=int, default=2000)
    arguments.add_argument("--probes", type=int, default=16)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as logs:
        measured, seconds = train(logs, given.epochs, given.probes)
        (path,) = Path(logs, "saliency").glob("*tfevents*")
        promises = [
            *kept_flat(measured, min(SETTLED, given.epochs // 4)),
            *written_by_rule(path, given.epochs),
            *read_back(path, given.epochs, given.probes),
        ]
        size = path.stat().st_size
    print(f"{given.epochs} epochs with {given.probes} probes took {seconds:.0f} s")
    print(f"the run: {size / 1e6:.1f} MB, {size / given.epochs / 1e3:.0f} kB an epoch")
    for words, holds in promises:
        print(f"{'holds ' if holds else 'BROKEN'}  {words}")
    return 0 if all(holds for _, holds in promises) else 1


def train(logs, epochs, probes):
    """Train; return what was in use after each epoch, when all of it was written."""
    import keras
    import numpy as np

    import keras_saliency as ks

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images, labels = rng.random((32, 24, 32, 3), "float32"), np.arange(32) % 2
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    watch = ks.SaliencyCallback((images[:probes], labels[:probes]), logs, METHODS)
    measured = []

    class Measure(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert watch.session.recorder.flush(600)
            if epoch % 10 == 0:
                gc.collect()
                measured.append((epoch, in_use()))
            if epoch % 100 == 0:
                print(epoch, in_use(), file=sys.stderr, flush=True)

    begun = time.perf_counter()
    model.fit(images, labels, batch_size=16, epochs=epochs, verbose=0, callbacks=[watch, Measure()])
    seconds = time.perf_counter() - begun
    measured.append((epochs, in_use()))
    return measured, seconds


def in_use():
    """Resident bytes, threads of Python and of the process, and open files."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": threading.active_count(),
        "tasks": len(os.listdir("/proc/self/task")),
        "files": len(os.listdir("/proc/self/fd")),
    }


def kept_flat(measured, begins):
    """Compare the end with what was in use once training was steady, after `begins` epochs."""
    settled = [use for epoch, use in measured if begins <= epoch <= begins + 100]
    late = [use for _, use in measured[-11:-1]]
    after = measured[-1][1]
    first, last = (
        sorted(use["memory"] for use in some)[len(some) // 2] for some in (settled, late)
    )
    growth = last / first - 1
    yield (
        f"memory from {first / 1e6:.1f} MB after epoch {begins} to {last / 1e6:.1f} MB at the "
        f"end: {100 * growth:+.1f} %",
        growth < FLAT,
    )
    for what in ("threads", "tasks", "files"):
        most = max(use[what] for use in settled)
        yield (
            f"{what}: {most} after epoch {begins}, {late[-1][what]} at the end, {after[what]} "
            "after it",
            late[-1][what] <= most and after[what] < most + (what == "tasks"),
        )


def records(path):
    """Cut a file of TensorFlow's records, by its format alone."""
    with open(path, "rb") as file:
        while head := file.read(12):
            (length,) = struct.unpack("<Q", head[:8])
            data = file.read(length + 4)
            assert len(data) == length + 4, "the file ends within a record"
            yield data[:-4]


def kind(value):
    """What a value is, by its tag; the numbers of a set are all one event, of curves."""
    first = value.tag.split("/")[0]
    if first in ("saliency", "grad-cam") and value.metadata.plugin_data.plugin_name != "images":
        return "curves"
    known = ("saliency", "grad-cam", "overview", "maps", "film-strip", "animation")
    return first if first in known or value.tag in ONCE else "curves"


def written_by_rule(path, epochs):
    """Compare how many events of each kind there are with what the rules of writing give."""
    from tensorboard.compat.proto import event_pb2

    counts, sizes = collections.Counter(), collections.Counter()
    for data in records(path):
        event = event_pb2.Event.FromString(data)
        what = kind(event.summary.value[0]) if event.summary.value else "version"
        counts[what] += 1
        sizes[what] += 16 + len(data)
    sets = epochs + 1  # one before training
    wanted = {
        "version": 1,
        "curves": sets,
        "saliency": sets,
        "grad-cam": sets,
        "overview": sets,
        "maps": len(METHODS) * sets,
        "film-strip": len(METHODS) * strips(sets),
        "probes": 1,
        "custom_scalars__config__": 1,
        "about": 1,
        "animation": len(METHODS),
    }
    for what in sorted(wanted.keys() | counts.keys()):
        yield (
            f"{what}: {counts[what]} events, {wanted.get(what, 0)} by rule, "
            f"{sizes[what] / 1e6:.2f} MB",
            counts[what] == wanted.get(what, 0),
        )
    yield (
        f"the file has the size of its {sum(counts.values())} records",
        sum(sizes.values()) == path.stat().st_size,
    )


def strips(sets):
    """How often a film strip is written: when it has grown by a quarter, and at the end."""
    written, times = 0, 0
    for seen in range(1, sets + 1):
        if seen >= written + max(1, written // 4):
            written, times = seen, times + 1
    return times + (written < sets)


def read_back(path, epochs, probes):
    """Read every epoch of every image and number with TensorBoard's own loader."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    steps = collections.defaultdict(list)
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            steps[value.tag].append(event.step)
    everything = list(range(-1, epochs))
    for method in ("saliency", "grad-cam"):
        pictures = [tag for tag in steps if tag.startswith((f"{method}/0", f"{method}/1"))]
        yield (
            f"{len(pictures)} probes of {method} have a picture of every epoch",
            len(pictures) == probes and all(steps[tag] == everything for tag in pictures),
        )
    for tag in ("probes/score", "grad-cam/peak", "overview", "maps/grad-cam"):
        yield f"{tag} has every epoch", steps[tag] == everything


if __name__ == "__main__":
    sys.exit(main())
