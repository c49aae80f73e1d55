"""What helps a network that has learnt a shortcut: the accuracy of its worst group, by remedy.

A network is trained on images in which a cue goes with the class. From there on it is trained
further as before, trained further with `BackgroundSwap`, or its head is retrained by
`ks.retrain_head`, each from the same weights. Masks are made by the program. A group is a class
whose cue is its own (aligned) or another's (contradicting), in unseen images, in exact twins.

    python benchmarks/verdict_accuracy/mitigation.py [--photos DIR --weights FILE] [--out DIR]

Without --photos and --weights, which are those of photographs.py, drawn images alone are used. It
goes on where it was interrupted, and ends with the table, which --docs writes between its marks
into DIR/what_to_do.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import photo_sets
from networks import network
from photo_table import read
from photographs import append, show
from pictures import Studio, matching, others
from pool import load_pool

import keras_saliency as ks
from keras_saliency.data.masks import make_masks

EPOCHS, FURTHER, BATCH, FACTOR = 5, 5, 32, 0.8
TRAINED, TESTED = 1000, 320  # drawn images
PHOTOS, UNSEEN = 640, 240
ARMS = {
    "before": "as trained",
    "further": "trained further",
    "swap": "`BackgroundSwap`",
    "head": "`ks.retrain_head`",
}
CUES = {"background": "background", "border": "border", "watermark": "sign", "tag": "tag"}

Images = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Run:
    """A network that learns a cue."""

    source: str
    cue: str
    correlation: float
    network: str
    seed: int

    @property
    def key(self) -> str:
        return "-".join(str(value).replace(" ", "_") for value in asdict(self).values())


@dataclass(frozen=True)
class Material:
    """Images to train on with their labels, and unseen twins with their labels."""

    train: Images
    aligned: np.ndarray
    contradicting: np.ndarray
    labels: np.ndarray


class Learner(Protocol):
    """A network that is trained."""

    model: keras.Model

    def fit(self, images: np.ndarray, labels: np.ndarray, epochs: int) -> None:
        """Train on images in the range of the training data."""


class Drawn:
    """A small network of its own, on drawn images."""

    def __init__(self, kind: str, classes: int, seed: int) -> None:
        self._network = network(kind, classes)
        self.model = self._network.model
        self._network.start(seed, None)

    def fit(self, images: np.ndarray, labels: np.ndarray, epochs: int) -> None:
        self.model.fit(images, labels, BATCH, epochs, verbose=0)


class Photographed:
    """A pretrained network whose last blocks are trained, on features of the others."""

    def __init__(self, kind: str, classes: int, weights: Path) -> None:
        from photo_trainings import _halves, _head  # which import torch

        self._lower, self._head = _halves(weights)[0], _head(kind, classes, weights)
        self.model = keras.Sequential([self._lower, self._head])

    def fit(self, images: np.ndarray, labels: np.ndarray, epochs: int) -> None:
        features = self._lower.predict(images.astype("float32"), 128, verbose=0)
        self._head.fit(features, labels, BATCH, epochs, verbose=0)


def runs() -> list[Run]:
    """All of them, those on drawn images first."""
    drawn = itertools.product(("background", "border", "watermark"), (0.95, 1.0), (0, 1))
    planned = [Run("drawn", cue, rho, "residual", seed) for cue, rho, seed in drawn]
    photos = itertools.product(("two animals", "two dogs"), ("ground", "border", "tag"), (0, 1))
    return planned + [Run(name, cue, 0.95, "tuned", seed) for name, cue, seed in photos]


def drawn_material(run: Run) -> Material:
    rng = np.random.default_rng([run.seed, *run.cue.encode()])
    studio = Studio(load_pool(), run.cue, 2)
    plan = studio.plan(rng, TRAINED)
    train = studio.draw(plan, matching(rng, plan.labels, 2, run.correlation))
    plan = studio.plan(rng, TESTED, held_out=True)
    aligned, other = (
        studio.draw(plan, values).images for values in (plan.labels, others(rng, plan.labels, 2))
    )
    return Material((train.images, train.labels), aligned, other, plan.labels)


def photo_material(run: Run, photos: Path) -> Material:
    rng = np.random.default_rng(run.seed)

    def planted(count: int, *, unseen: bool) -> Callable[[np.ndarray], photo_sets.Sample]:
        sample = photo_sets.draw(photos, run.source, count // 2, run.seed, unseen=unseen)
        return lambda values: photo_sets.plant(sample, run.cue, values, photos, run.seed)

    labels = np.repeat([0, 1], PHOTOS // 2)
    train = planted(PHOTOS, unseen=False)(photo_sets.agreeing(labels, run.correlation, rng))
    test, known = planted(UNSEEN, unseen=True), np.repeat([0, 1], UNSEEN // 2)
    return Material((train.images, labels), test(known).images, test(1 - known).images, known)


def measure(run: Run, photos: Path, weights: Path) -> dict[str, object]:
    """Train a network and try each remedy on it."""
    began = time.process_time()
    keras.utils.set_random_seed(run.seed)
    if run.source == "drawn":
        given, learner = drawn_material(run), Drawn(run.network, 2, run.seed)
    else:
        given, learner = photo_material(run, photos), Photographed(run.network, 2, weights)
    learner.fit(*given.train, EPOCHS)
    before = learner.model.get_weights()
    row: dict[str, object] = {"run": run.key, **asdict(run)}
    notes = []
    for arm in ARMS:
        learner.model.set_weights(before)
        notes.append(remedy(arm, learner, given))
        row |= {f"{name}_{arm}": f"{value:.3f}" for name, value in accuracies(learner, given)}
    return row | {"swapped": "".join(notes), "seconds": round(time.process_time() - began, 1)}


def remedy(arm: str, learner: Learner, given: Material) -> str:
    """Apply a remedy, and tell what `retrain_head` swaps, or why it does not run."""
    images, labels = given.train
    if arm == "further":
        learner.fit(images, labels, FURTHER)
    elif arm == "swap":
        masks, swap = make_masks(images), ks.BackgroundSwap(FACTOR, seed=0)
        for number in range(FURTHER):  # in batches of 100, other ones each time
            order = np.random.default_rng(number).permutation(len(images))
            parts = np.split(order, range(100, len(order), 100))
            swapped = [swap((images[part].astype("float32"), masks[part]))[0] for part in parts]
            learner.fit(np.concatenate(list(map(np.asarray, swapped))), labels[order], 1)
    elif arm == "head":
        try:
            result = ks.retrain_head(learner.model, ks.Shortcuts((images, labels)))
        except ValueError as error:
            return f"not retrained: {error}"
        return ", ".join(result.nuisances)
    return ""


def accuracies(learner: Learner, given: Material) -> list[tuple[str, float]]:
    """Of the worst group, and the mean of all groups."""
    groups = []
    for images in (given.aligned, given.contradicting):
        outputs = learner.model.predict(images.astype("float32"), 128, verbose=0)
        right = outputs.argmax(axis=1) == given.labels
        groups += [float(right[given.labels == label].mean()) for label in (0, 1)]
    return [("worst", min(groups)), ("mean", float(np.mean(groups)))]


def report(rows: list[dict[str, str]]) -> str:
    """A table in Markdown: the worst group's accuracy by cue, correlation and remedy."""
    heads = ["images", "cue", "correlation", "networks", *ARMS.values()]
    lines = [heads, ["---"] * len(heads)]
    kinds = dict.fromkeys((r["source"], r["cue"], r["correlation"]) for r in rows)
    for kind in kinds:
        of_kind = [r for r in rows if (r["source"], r["cue"], r["correlation"]) == kind]
        figures = [
            f"{np.mean([float(r[f'worst_{arm}']) for r in of_kind]):.2f} "
            f"({np.mean([float(r[f'mean_{arm}']) for r in of_kind]):.2f})"
            for arm in ARMS
        ]
        source = kind[0] if kind[0] == "drawn" else f"photographs, {kind[0]}"
        lines.append([source, CUES.get(kind[1], kind[1]), kind[2], str(len(of_kind)), *figures])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("photos"), metavar="DIR")
    parser.add_argument("--weights", type=Path, default=Path("weights.pth"), metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--count", type=int, help="of runs, those in the CSV included")
    parser.add_argument("--docs", type=Path, metavar="DIR")
    args = parser.parse_args()
    path = args.out / "mitigation.csv"
    has_photos = (args.photos / "elephant").is_dir() and args.weights.is_file()
    if not has_photos:
        print(f"skipped: no photographs in {args.photos}, or no weights at {args.weights}")
    done = {row["run"] for row in read(path)}
    keras.config.disable_interactive_logging()
    for run in runs()[: args.count]:
        if run.key in done or not (run.source == "drawn" or has_photos):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = measure(run, args.photos, args.weights)
        append(path, row)
        print({k: v for k, v in row.items() if "worst" in k or k == "run"}, flush=True)
    if rows := read(path):
        print(report(rows))
        if args.docs:
            show(report(rows), args.docs / "what_to_do.md")


if __name__ == "__main__":
    main()
