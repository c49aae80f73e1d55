"""Trainings to watch: a small CNN on pictures whose background goes with the class."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_saliency.attribution.explainer import explain
from keras_saliency.callback.callback import SaliencyCallback
from keras_saliency.data.probes import Probes
from keras_saliency.data.synthetic.animals import CLASS_NAMES
from keras_saliency.data.synthetic.scenes import scenes
from keras_saliency.metrics.localization import enrichment
from keras_saliency.shortcuts.verdict import Verdict

CORRELATIONS = (0.95, 0.5)
PROBES = 16
_COLUMN = 32  # letters of a training's column in the table, beside those of the headings
_HEADING = 26


@dataclass(frozen=True)
class Pictures:
    """Pictures to train on, and some that are set aside and watched.

    Attributes:
        images: uint8 (n, height, width, 3).
        labels: (n,) classes.
        probes: The watched pictures, which are none of `images`.
    """

    images: np.ndarray
    labels: np.ndarray
    probes: Probes


def drawn_pictures(
    correlation: float, count: int = 2000, seed: int = 0, size: tuple[int, int] = (64, 64)
) -> Pictures:
    """Draw elephants and penguins on grass and snow.

    Args:
        correlation: Share of pictures whose background goes with the class; 0.5 is independence.
        count: Number of pictures to train on.
        seed: Decides every picture.
        size: (height, width) of the pictures.

    Returns:
        The pictures; the probes are `PROBES` more of them, with true masks.

    Example:
        >>> len(drawn_pictures(0.95, count=4).probes)
        16
    """
    drawn = scenes(count + PROBES, correlation=correlation, size=size, seed=seed)
    watched = slice(count, None)
    probes = Probes(
        drawn.images[watched],
        drawn.labels[watched],
        masks=drawn.masks[watched],
        class_names=CLASS_NAMES,
    )
    return Pictures(drawn.images[:count], drawn.labels[:count], probes)


def own_pictures(folder: str | Path, size: tuple[int, int] = (64, 64), seed: int = 0) -> Pictures:
    """Read a folder of class folders, with `NAME.mask.png` beside the pictures or without masks.

    Args:
        folder: The folder; its sub-folders are the classes.
        size: (height, width) that all pictures are resized to.
        seed: Decides which pictures are watched: `PROBES`, but at most a quarter of a class.

    Returns:
        The pictures.

    Raises:
        ValueError: If the folder holds no classes, fewer than two, or too few pictures.

    Example:
        >>> pictures = own_pictures("animals", size=(96, 128))
    """
    everything = Probes.from_directory(folder, image_size=size)
    labels, names = everything.labels, everything.class_names
    if labels is None or names is None or len(names) < 2:
        raise ValueError(
            "The folder must hold a sub-folder of pictures for each of two or more classes. "
            f"Received: {str(folder)!r} with {0 if names is None else len(names)} classes"
        )
    watched = _watched(labels, seed)
    probes = Probes(
        everything.display[watched],
        labels[watched],
        masks=None if everything.masks is None else everything.masks[watched],
        class_names=names,
    )
    rest = np.setdiff1d(np.arange(len(labels)), watched)
    return Pictures(everything.display[rest], labels[rest], probes)


def small_cnn(size: tuple[int, int], classes: int) -> keras.Model:
    """Build a small convolutional network for RGB pictures with values from 0 to 255."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((*size, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def train(
    pictures: Pictures,
    log_dir: str | Path,
    *,
    epochs: int = 5,
    seed: int = 0,
    verbose: int | str = "auto",
) -> tuple[keras.Model, Verdict | None]:
    """Train a small CNN, watch what it looks at, and ask what it relies on.

    Args:
        pictures: What it is trained on, and the probes.
        log_dir: Where TensorBoard looks for runs.
        epochs: Number of epochs.
        seed: Decides the initial weights and the order of the pictures.
        verbose: As in `model.fit`.

    Returns:
        The trained model, and the verdict of the last epoch.
    """
    keras.utils.set_random_seed(seed)
    size = pictures.images.shape[1:3]
    model = small_cnn(size, len(pictures.probes.class_names or ()))
    optimizer = keras.optimizers.Adam(2e-3)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    training = (pictures.images, pictures.labels)
    watch = SaliencyCallback(pictures.probes, log_dir, shortcuts=training)
    model.fit(
        pictures.images,
        pictures.labels,
        batch_size=32,
        epochs=epochs,
        verbose=verbose,
        callbacks=[watch],
    )
    return model, watch.verdict


@dataclass(frozen=True)
class Trained:
    """A network that was trained on drawn animals.

    Attributes:
        correlation: Share of the pictures whose background goes with the class.
        run: The run's name in TensorBoard.
        accuracy: On the pictures of the training, in the last epoch.
        heat: Grad-CAM's heat on the background over the background's share of the area.
        verdict: Of the last epoch.
    """

    correlation: float
    run: str
    accuracy: float
    heat: float
    verdict: Verdict


def train_on_drawn(
    correlation: float, log_dir: str | Path, *, images: int = 2000, epochs: int = 5, seed: int = 0
) -> Trained:
    """Draw elephants and penguins, train on them, and ask what the network relies on.

    Args:
        correlation: Share of the pictures whose background goes with the class.
        log_dir: Where TensorBoard looks; the training gets a folder of its own in it.
        images: Number of pictures to train on.
        epochs: Number of epochs.
        seed: Decides every picture, the initial weights and the order of the pictures.

    Returns:
        What is to be said of the training.
    """
    pictures = drawn_pictures(correlation, images, seed)
    folder = f"correlation-{correlation:g}"
    model, verdict = train(pictures, Path(log_dir) / folder, epochs=epochs, seed=seed)
    ratios = _heat_on_background(model, pictures.probes)
    return Trained(
        correlation,
        f"{folder}/saliency",
        model.history.history["accuracy"][-1],
        float(ratios.mean()) if len(ratios) else float("nan"),
        verdict or Verdict("can't say: no epoch was trained"),
    )


def comparison(trainings: Sequence[Trained], log_dir: str | Path) -> str:
    """Put the verdicts of trainings beside each other, and say how to see more.

    Args:
        trainings: What was trained.
        log_dir: Where TensorBoard looks for runs.

    Returns:
        A small table and a few lines for a terminal.
    """
    rows = [
        ("ground goes with animal", [f"in {100 * t.correlation:g} of 100" for t in trainings]),
        ("right in training", [f"{100 * t.accuracy:.0f} of 100" for t in trainings]),
        ("heat on the ground *", [f"{t.heat:.2f}" for t in trainings]),
        ("shortcut", ["ALARM" if t.verdict.alarm else "no alarm" for t in trainings]),
        ("verdict", [t.verdict.text for t in trainings]),
        ("in TensorBoard", [t.run for t in trainings]),
    ]
    lured = [t for t in trainings if t.verdict.alarm and t.verdict.cause == "background"]
    meant = [
        f"The network of correlation {t.correlation:g} tells elephants from penguins by the "
        "background: by grass and snow.\n"
        for t in lured
    ]
    return (
        f"\n{''.join(_row(heading, cells) for heading, cells in rows)}\n"
        "* Grad-CAM's heat on grass or snow over its share of the area; 1.00 knows nothing.\n"
        f"{''.join(meant)}\n{_how_to_look(log_dir)}"
    )


def _row(heading: str, cells: Sequence[str]) -> str:
    """Lay out a row of the table, its cells wrapped."""
    lines = [textwrap.wrap(cell, _COLUMN) for cell in cells]
    height = max(map(len, lines))
    columns = [[heading], *lines]
    widths = [_HEADING, *[_COLUMN + 2] * len(cells)]
    padded = [column + [""] * (height - len(column)) for column in columns]
    return "".join(
        "".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in zip(*padded, strict=True)
    )


def summary(
    model: keras.Model, probes: Probes, log_dir: str | Path, verdict: Verdict | None = None
) -> str:
    """Say where a trained model looks, and how to see it.

    Args:
        model: The trained model.
        probes: The watched pictures; where they look is told if they have masks.
        log_dir: Where TensorBoard looks for runs.
        verdict: What it relies on, if that was asked.

    Returns:
        A few lines for a terminal.
    """
    judged = f"Verdict: {verdict.text}.\n\n" if verdict else ""
    return f"{_where_it_looks(model, probes)}\n{judged}{_how_to_look(log_dir)}"


def _how_to_look(log_dir: str | Path) -> str:
    return (
        "See for yourself:\n\n"
        f"    {_tensorboard()} --logdir {log_dir}\n\n"
        "then open http://localhost:6006, Saliency: every probe at every epoch. In Safari, Images."
    )


def _tensorboard() -> str:
    """Return what to type, also where the environment is not activated."""
    if shutil.which("tensorboard"):
        return "tensorboard"
    beside = Path(sys.executable).with_name("tensorboard")
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def _heat_on_background(model: keras.Model, probes: Probes) -> np.ndarray:
    """Return how much denser Grad-CAM's heat is on the background, of each map that is alive."""
    if probes.masks is None:
        return np.zeros(0)
    maps = explain(model, probes, "grad_cam", target="label").maps
    ratios = enrichment(maps, 1 - probes.masks)
    return np.asarray(ratios[np.isfinite(ratios)])  # a dead map looks nowhere


def _where_it_looks(model: keras.Model, probes: Probes) -> str:
    if probes.masks is None:
        return ""
    ratios = _heat_on_background(model, probes)
    if not len(ratios):
        return "\nGrad-CAM is zero in all probes: no evidence for their class.\n"
    return (
        f"\nGrad-CAM of {len(ratios)} probes puts {ratios.mean():.2f} times as much of its heat on "
        "the background\nas the background has of the area (1.00 would be a map that knows "
        "nothing).\n"
    )


def _watched(labels: np.ndarray, seed: int) -> np.ndarray:
    """Choose which pictures are set aside, as many of each class."""
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    chosen = []
    for one in classes:
        members = np.flatnonzero(labels == one)
        count = min(-(-PROBES // len(classes)), len(members) // 4)
        if count == 0:
            raise ValueError(
                "Each class needs four pictures or more, one of which is watched. "
                f"Received: {len(members)} of class {one}"
            )
        chosen.append(rng.choice(members, count, replace=False))
    return np.sort(np.concatenate(chosen))
