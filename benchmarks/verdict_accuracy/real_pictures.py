"""How good the verdict is on real images, with nothing given but images and labels.

Short training runs, some with a planted shortcut and most without:

- photographs: objects cut out of photographs on crops of other photographs, two classes; planted:
  the crops of each class are from photographs of its own;
- digits: scanned digits with a coloured tag in the corner, ten classes; planted: each digit has
  its colour.

The truth is known: the reliance R of an epoch is the accuracy where crop or tag agree with the
class, less the accuracy on counterfactuals of the same images where they speak for another class.
Where nothing is planted they belong to no class: R is then the largest such difference, over all
ways to share the photographs of the crops out to the classes.

The network for the photographs starts with features that tell all objects apart on all crops,
trained once for all runs (kept in the temporary folder); the one for the digits from nothing.

All images come with matplotlib, scikit-image and scikit-learn; nothing is downloaded.

    python benchmarks/verdict_accuracy/real_pictures.py [--trainings 102] [--csv FILE]
    python benchmarks/verdict_accuracy/real_pictures.py --picture docs/real_pictures.png

It goes on where it was interrupted, and ends with the tables (alone, with --trainings 0).
"""

import argparse
import csv
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from planted_pictures import Task, all_objects, digits, draw_twins, photographs, truth
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

import keras_saliency as ks
from keras_saliency.attribution.explainer import Explainer
from keras_saliency.data.masks import find_objects
from keras_saliency.shortcuts.classifier import Classifier
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import DEFAULT

EPOCHS, BATCH = 4, 32
NEUTRAL = 6000  # images of all objects for the features that the photographs begin with
FEATURES = Path(tempfile.gettempdir()) / "keras_saliency_features.npz"
JUDGED = 64  # masks of a training run
# A shortcut from the first R on; none up to the second at every epoch, and as many standard errors.
RELIES, CLEAN, ALLOWED = 0.2, 0.1, 2
CHANCE = {"photographs": 0.5, "digits": 0.1}  # the correlation where nothing is planted
# Of each kind: the training runs with a shortcut, the correlations they take in turn, and those
# without one.
PLANNED = {
    "photographs": (14, (0.9, 0.98, 1.0, 1.0), 66),
    "digits": (6, (0.9, 0.98, 1.0), 16),
}

TASKS = {"photographs": photographs, "digits": digits}


class Network:
    """A compiled network that begins anew with every training run, since tracing takes longest."""

    def __init__(self, task: Task, features: list[np.ndarray] | None) -> None:
        self._features = features
        self._shape, self._classes = task.images.shape[1:], int(task.labels.max()) + 1
        self.model = compiled(self._shape, self._classes)
        self.model.optimizer.build(self.model.trainable_variables)
        self._blank = [variable.numpy() for variable in self.model.optimizer.variables]
        probes = ks.Probes(task.images[:2], task.labels[:2])
        explainer = Explainer(self.model, probes, ["saliency"], ks.Target("label"), None, BATCH)
        self.asked = Classifier(explainer.context, BATCH)

    def restart(self, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        fresh = compiled(self._shape, self._classes).get_weights()
        kept = self._features or []
        self.model.set_weights([*kept, *fresh[len(kept) :]])
        for variable, value in zip(self.model.optimizer.variables, self._blank, strict=True):
            variable.assign(value)

    def judge(self, task: Task) -> tuple[np.ndarray, np.ndarray]:
        """Which unseen images are classified correctly, and the probability of the right class."""
        found = np.stack([self.asked.answers(images) for images in task.versions])
        chances = found[:, np.arange(len(task.truth)), task.truth]
        return found.argmax(axis=2) == task.truth, chances


def compiled(shape: tuple[int, ...], classes: int) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input(shape),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Conv2D(48, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    # XLA takes longer to compile than all epochs do.
    model.compile(
        keras.optimizers.Adam(3e-3),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


def neutral_features() -> list[np.ndarray]:
    """Weights of a network that tells all objects apart, without its last layer's."""
    if not FEATURES.exists():
        images, labels = all_objects(NEUTRAL, seed=0)
        keras.utils.set_random_seed(0)
        model = compiled(images.shape[1:], int(labels.max()) + 1)
        history = model.fit(images.astype(np.float32), labels, epochs=12, verbose=0).history
        print(f"features that tell all objects apart: accuracy {history['accuracy'][-1]:.3f}")
        np.savez(FEATURES, *model.get_weights()[:-2])
    with np.load(FEATURES) as kept:
        return [kept[name] for name in kept.files]


def plan() -> list[tuple[str, float, int]]:
    """Kind, correlation and seed of all training runs, in a mixed order."""
    trainings = []
    for kind, (planted, correlations, plain) in PLANNED.items():
        chosen = [correlations[i % len(correlations)] for i in range(planted)]
        trainings += [(kind, each) for each in [*chosen, *plain * [CHANCE[kind]]]]
    seeded = [(*each, seed) for seed, each in enumerate(trainings)]
    return [seeded[i] for i in np.random.default_rng(0).permutation(len(seeded))]


def mask_quality(task: Task) -> dict[str, float]:
    """How well masks made by a program find the objects, where they don't look wrong."""
    images, masks = task.images[:JUDGED], task.masks[:JUDGED]
    made = find_objects(images)
    kept = ~made.wrong
    found, true = made.masks[kept] > 0.5, masks[kept] > 0.5
    shares = (found & true).sum((1, 2)) / np.maximum((found | true).sum((1, 2)), 1)
    return {
        "masks dropped": float(1 - kept.mean()),
        "IoU": float(shares.mean()) if kept.any() else float("nan"),
        "IoU below .3": float((shares < 0.3).mean()) if kept.any() else float("nan"),
    }


def begin(
    kind: str, correlation: float, seed: int, networks: dict[str, Network]
) -> tuple[Task, Network, Evaluator]:
    """A task, its network anew, and what judges it from images and labels alone."""
    task = TASKS[kind](correlation, seed)
    if kind not in networks:
        networks[kind] = Network(task, neutral_features() if kind == "photographs" else None)
    network = networks[kind]
    network.restart(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What is said of poor masks is in the table.
        shortcuts = ks.Shortcuts((task.images, task.labels), masks="auto")
    return (
        task,
        network,
        Evaluator(shortcuts, network.asked.answers, network.asked.saliency_maps),
    )


def train(
    kind: str, correlation: float, seed: int, networks: dict[str, Network]
) -> Iterator[dict[str, object]]:
    """Train once, with a verdict and the truth after every epoch."""
    start = time.process_time()
    planted = correlation != CHANCE[kind]
    task, network, assessor = begin(kind, correlation, seed, networks)
    images, quality = task.images.astype(np.float32), mask_quality(task)
    for epoch in range(EPOCHS):
        history = network.model.fit(images, task.labels, batch_size=BATCH, verbose=0).history
        verdict = assessor.evaluate(epoch)
        gaps = {name: verdict.gaps.get(name, (float("nan"),))[0] for name in DEFAULT}
        yield {
            "kind": kind, "correlation": correlation,
            "planted": int(planted), "seed": seed, "epoch": epoch + 1,
            "accuracy": history["accuracy"][0], **truth(task, *network.judge(task), planted),
            "reliance": verdict.reliance, **gaps,
            "alarm": int(verdict.alarm), "cause": verdict.cause or "",
            "masks": verdict.masks_from or "none", **quality,
            "seconds": time.process_time() - start,
        }  # fmt: skip


def picture(path: Path) -> None:
    """Draw what the verdict is made of, for the first training of each kind with a full cue."""
    networks: dict[str, Network] = {}
    sheets = {}
    for kind in TASKS:
        seed = min(seed for named, cue, seed in plan() if (named, cue) == (kind, 1.0))
        task, network, assessor = begin(kind, 1.0, seed, networks)
        images = task.images.astype(np.float32)
        network.model.fit(images, task.labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)
        sheets[kind] = assessor.evaluate(EPOCHS - 1).sheets["background"]
    draw_twins(sheets, path)


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def append(path: Path, rows: list[dict[str, object]]) -> None:
    """Write all epochs of a training run at once: an interrupted one leaves nothing behind."""
    fresh = not path.exists()
    with path.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0], lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerows(
            {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )


def trainings(rows: list[dict[str, str]]) -> list[dict[str, np.ndarray]]:
    """The columns of each training run, in the order of its epochs."""
    grouped: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        grouped.setdefault(row["seed"], []).append(row)
    texts = {"kind", "cause", "masks"}
    found = []
    for epochs in grouped.values():
        run = {
            name: np.array([row[name] if name in texts else float(row[name]) for row in epochs])
            for name in epochs[0]
        }
        found.append(run)
    return found


def auroc(runs: list[dict[str, np.ndarray]], score: str) -> str:
    """How well a score tells R > .2, with a bootstrap interval over training runs."""

    def area(chosen: list[dict[str, np.ndarray]]) -> float:
        relies = np.concatenate([run["R"] for run in chosen]) > RELIES
        scores = np.concatenate([run[score] for run in chosen])
        known = np.isfinite(scores)
        if len(np.unique(relies[known])) < 2:
            return float("nan")
        return float(roc_auc_score(relies[known], scores[known]))

    rng = np.random.default_rng(0)
    drawn = [area([runs[i] for i in rng.integers(0, len(runs), len(runs))]) for _ in range(500)]
    if np.isnan(middle := area(runs)):
        return "-"
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def share(hits: np.ndarray) -> str:
    """A share with its exact two-sided interval (Clopper and Pearson 1934)."""
    k, n = int(np.sum(hits)), len(hits)
    if n == 0:
        return "-"
    low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return f"{k} of {n} [{low:.2f}, {high:.2f}]"


def at_most(hits: np.ndarray) -> str:
    """A share with its exact one-sided upper bound at 95 %."""
    k, n = int(np.sum(hits)), len(hits)
    if n == 0:
        return "-"
    bound = beta.ppf(0.95, k + 1, n - k) if k < n else 1.0
    return f"{k} of {n}, at most {bound:.1%}"


def figures(runs: list[dict[str, np.ndarray]]) -> dict[str, str]:
    """What the tables say of some training runs."""
    every = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
    planted = np.array([run["planted"][0] > 0 for run in runs])
    alarms = np.array([run["alarm"].any() for run in runs])
    clean = np.array([(run["R"] <= CLEAN + ALLOWED * run["R error"]).all() for run in runs])
    strictly = np.array([(run["R"] <= CLEAN).all() for run in runs])
    strong = np.array([(run["R"][-2:] >= 0.3).all() for run in runs])
    causes, counts = np.unique(every["cause"][every["alarm"] > 0], return_counts=True)
    close = np.nanmean(np.abs(every["reliance"] - [every["R"], every["R in p"]]), axis=1)
    seconds = np.median([run["seconds"][-1] for run in runs])
    return {
        "training runs planted, not planted": f"{planted.sum()}, {(~planted).sum()}",
        "AUROC of the reliance for R > .2": auroc(runs, "reliance"),
        "AUROC of the training accuracy": auroc(runs, "accuracy"),
        "above .20 at R >= .3": share(every["reliance"][every["R"] >= 0.3] > RELIES),
        "above .20 at R >= .5": share(every["reliance"][every["R"] >= 0.5] > RELIES),
        "alarm where R >= .3 in the last two epochs": share(alarms[strong]),
        "false alarms, nothing planted and clean": at_most(alarms[~planted & clean]),
        "the same without an allowance for noise": at_most(alarms[~planted & strictly]),
        "alarms, nothing planted": at_most(alarms[~planted]),
        "alarms, planted but clean": at_most(alarms[planted & clean]),
        "largest R where nothing is planted": largest(runs, ~planted, "R"),
        "largest reliance where nothing is planted": largest(runs, ~planted, "reliance"),
        "mean distance of the reliance from R": f"{close[0]:.3f}",
        "the same from R in probability": f"{close[1]:.3f}",
        "standard error of R, mean and largest": (
            f"{every['R error'].mean():.3f}, {every['R error'].max():.3f}"
        ),
        "epochs of alarm by cause": ", ".join(
            f"{cause} {count}" for cause, count in zip(causes, counts, strict=True)
        ),
        "no verdict": share(~np.isfinite(every["reliance"])),
        "agreeing accuracy, last epoch": f"{np.mean([run['agreeing'][-1] for run in runs]):.3f}",
        "IoU of the masks, mean and worst training": spread(runs, "IoU", np.min),
        "masks with IoU below .3, mean and worst": spread(runs, "IoU below .3", np.max),
        "masks dropped, mean and worst": spread(runs, "masks dropped", np.max),
        "training runs without usable masks": str(sum(run["masks"][0] == "none" for run in runs)),
        "processor seconds a training run, median": f"{seconds:.1f}",
    }


def largest(runs: list[dict[str, np.ndarray]], chosen: np.ndarray, name: str) -> str:
    found = [np.nanmax(runs[i][name]) for i in np.flatnonzero(chosen)]
    return f"{max(found):.2f}" if found else "-"


def spread(runs: list[dict[str, np.ndarray]], name: str, worst: Callable[..., float]) -> str:
    found = [run[name][0] for run in runs]
    return f"{np.nanmean(found):.2f}, {worst(found):.2f}"


def report(rows: list[dict[str, str]]) -> None:
    """Print a table: a row a figure, a column a kind of images."""
    runs = trainings(rows)
    columns = {kind: [run for run in runs if run["kind"][0] == kind] for kind in TASKS}
    tables = {name: figures(some) for name, some in [*columns.items(), ("all", runs)] if some}
    print("| | " + " | ".join(tables) + " |")
    print("|---" * (len(tables) + 1) + "|")
    for figure in tables["all"]:
        print(f"| {figure} | " + " | ".join(table[figure] for table in tables.values()) + " |")


def go_on(path: Path, most: int) -> None:
    """Train what is planned and not yet in the file, each training's rows added when it ends."""
    done = {int(row["seed"]) for row in read(path)}
    networks: dict[str, Network] = {}
    left = [training for training in plan() if training[-1] not in done]
    for kind, correlation, seed in left[:most]:
        rows = list(train(kind, correlation, seed, networks))
        append(path, rows)
        last = rows[-1]
        shown = ("R", "reliance", "alarm", "cause", "IoU", "seconds")
        print(kind, correlation, *(f"{k} {last[k]}" for k in shown), sep="  ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trainings", type=int, default=102, help="at most so many now")
    parser.add_argument("--csv", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--picture", type=Path, help="draw a few twins here, and do nothing else")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if args.picture:
        picture(args.picture)
        return
    go_on(args.csv, args.trainings)
    if rows := read(args.csv):
        report(rows)


if __name__ == "__main__":
    main()
