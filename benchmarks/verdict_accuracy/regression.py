"""How right the verdict on a regression is: short training runs with a planted nuisance.

A small network learns the size or the tint of a drawn animal. The ground's brightness, a cast over
the whole picture, or a border's grey goes with this label at several correlations. The truth is the
carry coefficient by exact twins: unseen scenes drawn again with the nuisance of another scene.

    python benchmarks/verdict_accuracy/regression.py [--count N]

It goes on where it was interrupted, and ends with the table (alone, with --count 0).
"""

import argparse
import csv
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from figures import rank_correlation

from keras_saliency.common.opencv import cv2
from keras_saliency.data.synthetic import compose, draw_animal, draw_background, draw_light
from keras_saliency.data.synthetic.canvas import Layer

CSV = Path(__file__).parent / "results" / "regression.csv"
SIZE = (48, 48)
TRAINED, UNSEEN, TWINS = 400, 150, 2
EPOCHS = 2, 8  # after which the verdict is measured
Answers = Callable[[np.ndarray], np.ndarray]
# Nuisance: what the verdict may call it.
KINDS = {
    "brightness": ("background", "exposure"),
    "cast": ("cast", "background"),
    "border": ("frame", "background"),
}
CORRELATIONS = 0.0, 0.3, 0.5, 0.7, 0.85, 0.95
BATCH = 64
NUISANCES = "background", "cast", "frame", "exposure", "texture"


class Run(NamedTuple):
    label: str
    kind: str
    correlation: float
    network: str

    @property
    def name(self) -> str:
        return "-".join(map(str, self))


RUNS = [Run(*parts) for parts in itertools.product(
    ("size", "tint"), KINDS, CORRELATIONS, ("pooling", "flat")
)]  # fmt: skip


class Sample(NamedTuple):
    """Scenes with their labels and the nuisance, both of mean 0 and deviation 1."""

    seed: int
    labels: np.ndarray
    nuisance: np.ndarray

    @classmethod
    def draw(cls, run: Run, count: int, seed: int) -> "Sample":
        rng = np.random.default_rng([seed, 1])
        labels, noise = rng.uniform(-(3**0.5), 3**0.5, (2, count))
        rest = (1 - run.correlation**2) ** 0.5
        return cls(seed, labels, run.correlation * labels + rest * noise)

    def images(self, run: Run, nuisance: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw the scenes, with another nuisance if it is given; return images and masks."""
        values = self.nuisance if nuisance is None else nuisance
        drawn = [_scene(run, self.seed, *one) for one in zip(
            itertools.count(), self.labels, values
        )]  # fmt: skip
        images, masks = zip(*drawn, strict=True)
        return np.stack(images), np.stack(masks)


def _scene(
    run: Run, seed: int, index: int, label: float, nuisance: float
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, 2, index])
    animal = draw_animal("elephant", rng, SIZE)
    colour, cover = animal
    if run.label == "size":
        scale = 0.75 + 0.14 * label
        move = cv2.getRotationMatrix2D((SIZE[1] / 2, SIZE[0] / 2), 0, scale)
        colour, cover = (cv2.warpAffine(part, move, SIZE[::-1]) for part in animal)
    else:
        colour = colour * np.exp(0.25 * label * np.array([1, 0, -1])).astype(np.float32)
    background = draw_background("grass", rng, SIZE, feet=40)
    ground, light = background.ground, draw_light(rng, SIZE)
    if run.kind == "brightness":
        ground = ground * np.float32(np.exp(0.2 * nuisance))
    bare = background._replace(ground=ground, front=Layer(*(0 * part for part in background.front)))
    image, mask = compose(Layer(colour.astype(np.float32), cover), bare, light)
    if run.kind == "cast":
        gain = np.exp(0.12 * nuisance * np.array([1, 0, -1]))
        image = np.rint(np.clip(image * gain, 0, 255)).astype(np.uint8)
    if run.kind == "border":
        rim = np.ones(SIZE, bool)
        rim[2:-2, 2:-2] = False
        image[rim] = round(128 + 45 * nuisance)
    return image, mask


def build(network: str):
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((*SIZE, 3)),
            layers.Rescaling(1 / 127.5, -1),
            *(layers.Conv2D(width, 3, 2, "same", activation="relu") for width in (12, 24, 32)),
            layers.GlobalAveragePooling2D() if network == "pooling" else layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    return model


class Twins:
    """Unseen scenes, and the same drawn again with the nuisance of other scenes."""

    def __init__(self, run: Run, unseen: Sample, rng: np.random.Generator) -> None:
        self.labels, self.images = unseen.labels, unseen.images(run)[0]
        donors = [rng.permutation(len(unseen.labels)) for _ in range(TWINS)]
        self._twins = [unseen.images(run, unseen.nuisance[drawn])[0] for drawn in donors]
        self._steps = [unseen.labels[drawn] - unseen.labels for drawn in donors]

    def carry(self, answers: Answers) -> float:
        """The carry coefficient: how far answers follow the label of whose nuisance it is."""
        before = answers(self.images)
        moved = [answers(twins) - before for twins in self._twins]
        covariance = np.cov(np.concatenate(moved), np.concatenate(self._steps))
        return float(covariance[0, 1] / covariance[1, 1])

    def explained(self, answers: Answers) -> float:
        """The share of the labels' variance that the model explains."""
        return float(1 - np.mean((answers(self.images) - self.labels) ** 2) / self.labels.var())


def measure(run: Run) -> list[dict]:
    """Train once; return a row for each evaluation."""
    from keras_saliency.shortcuts.evaluator import Evaluator
    from keras_saliency.shortcuts.experiment import Shortcuts

    seed = RUNS.index(run)
    sample = Sample.draw(run, TRAINED, 2 * seed)
    twins = Twins(run, Sample.draw(run, UNSEEN, 2 * seed + 1), np.random.default_rng(seed))
    images, masks = sample.images(run)
    targets = sample.labels.astype("float32")
    model = build(run.network)

    def answers(inputs: np.ndarray) -> np.ndarray:
        padded = np.resize(inputs, (-(-len(inputs) // BATCH) * BATCH, *inputs.shape[1:]))
        parts = padded.reshape(-1, BATCH, *inputs.shape[1:]).astype("float32")
        outputs = [model.predict_on_batch(part)[:, 0] for part in parts]
        return np.concatenate(outputs)[: len(inputs)]

    evaluator = Evaluator(Shortcuts((images, targets, masks), nuisances=NUISANCES), answers)
    rows, done = [], 0
    for epoch in EPOCHS:
        model.fit(images.astype("float32"), targets, 32, epoch - done, verbose=0)
        done, verdict = epoch, evaluator.evaluate(epoch)
        gaps = verdict.gaps
        largest = max(gaps, key=lambda name: gaps[name][0])
        rows.append(
            run._asdict()
            | {"epoch": epoch, "explained": twins.explained(answers)}
            | {"truth": twins.carry(answers), "reliance": verdict.reliance}
            | {"error": gaps[largest][1], "largest": largest}
            | {name: gap for name, (gap, _) in gaps.items()}
        )
    return rows


def train(count: int) -> None:
    """Do the training runs that are not in the CSV yet, and add their rows."""
    order = np.random.default_rng(0).permutation(len(RUNS))
    known = {Run(r["label"], r["kind"], float(r["correlation"]), r["network"]) for r in read()}
    for run in [RUNS[k] for k in order if RUNS[k] not in known][: max(0, count - len(known))]:
        rows = measure(run)
        is_new = not CSV.exists()
        with CSV.open("a", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            if is_new:
                writer.writeheader()
            writer.writerows(_rounded(row) for row in rows)
        print(run.name, *(f"{row['truth']:.2f} {row['reliance']:.2f}" for row in rows), flush=True)


def _rounded(row: dict) -> dict:
    return {k: round(float(v), 4) if isinstance(v, float) else v for k, v in row.items()}


def read() -> list[dict[str, str]]:
    if not CSV.exists():
        return []
    with CSV.open(newline="") as file:
        return list(csv.DictReader(file))


def table(rows: list[dict[str, str]]) -> str:
    """Figures of all evaluations, and by nuisance, label and network."""
    parts = {"all": rows}
    for column in ("kind", "label", "network", "epoch"):
        for value in dict.fromkeys(row[column] for row in rows):
            parts[f"{column} {value}"] = [row for row in rows if row[column] == value]
    lines = [
        "| | evaluations | rank correlation | mean error | mean truth | mean reliance | named |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, part in parts.items():
        truth, found = (np.array([float(r[k]) for r in part]) for k in ("truth", "reliance"))
        rank = float(rank_correlation(found, truth, np.ones((1, len(part))))[0])
        relies = [r for r in part if float(r["truth"]) > 0.2]
        named = sum(r["largest"] in KINDS[r["kind"]] for r in relies)
        lines.append(
            f"| {name} | {len(part)} | {rank:.3f} | {np.abs(found - truth).mean():.3f} "
            f"| {truth.mean():.2f} | {found.mean():.2f} | {named} of {len(relies)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=len(RUNS), help="of training runs in all")
    args = parser.parse_args()
    train(args.count)
    if rows := read():
        print(table(rows))


if __name__ == "__main__":
    main()
