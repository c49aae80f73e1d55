"""Label leakage: whether a trivial property of images or files tells their label."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.data.directory import list_images, spread
from keras_saliency.data.image_files import read_files
from keras_saliency.data.labels import as_class_names, as_labels
from keras_saliency.data.normalization import read_pixels
from keras_saliency.data.probes import Probes
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.ridge import balanced_accuracy, cross_validated, explained_variance
from keras_saliency.shortcuts.tasks.segmentation import Segmentation
from keras_saliency.shortcuts.trivial_properties import (
    MIDDLE,
    Properties,
    compression_properties,
    file_properties,
    image_properties,
)

_IMAGES = 1000  # of all classes together
_VALUES = 50_000_000  # of arrays, 0.2 GB as float32
_FEWEST = 20  # with a label and without, four in each of five folds
_MOST_CLASSES = _IMAGES // _FEWEST
_OF_DATASET = 200  # of each class
_SIDE = 128  # pixels, of thumbnails
_SHOWN = 3  # properties, in words
_CHANCE = 0.05  # of any property's passing by chance
# What a property must tell with certainty. In ten sets of 320 drawn animals, on a ground by lot,
# the best property reached 0.56 to 0.62 without the allowance for chance.
_LEAST_ACCURACY, _LEAST_EXPLAINED = 0.6, 0.1
_SEED = 0


@dataclass(frozen=True)
class PropertyScore:
    """How much of the labels one property tells by itself.

    Attributes:
        name: The property in words, such as `"the colour of the lower right corner"`.
        score: The balanced accuracy in [0, 1], 0.5 by chance; for regression targets R^2, at most
            1 and about 0 by chance. Of several labels or targets, that of the one told best.
        error: Its standard error.
        label: The class, label or target told best, where there are more than two classes or
            several labels; else `None`.
        is_leak: Whether the property tells more than chance and honest content do.
    """

    name: str
    score: float
    error: float
    label: str | None
    is_leak: bool


@dataclass(frozen=True)
class LabelLeakage:
    """What `label_leakage` finds.

    Attributes:
        scores: The properties, that which tells most first.
        middle: The colour of the image's middle, for comparison; objects are mostly there, so it
            is never a leak. `None` where all middles are alike.
        count: The number of images that were measured.
        is_regression: Whether the scores are R^2, and no balanced accuracies.

    Example:
        >>> border = PropertyScore("the colour of the outermost border", 0.91, 0.02, None, True)
        >>> leakage = LabelLeakage((border,), None, 400, is_regression=False)
        >>> leakage.leaks[0].name
        'the colour of the outermost border'
    """

    scores: tuple[PropertyScore, ...]
    middle: PropertyScore | None
    count: int
    is_regression: bool

    @property
    def leaks(self) -> tuple[PropertyScore, ...]:
        """The properties that tell more than chance and honest content do."""
        return tuple(score for score in self.scores if score.is_leak)

    @property
    def text(self) -> str:
        """The three best properties in words, or that none tells the label."""
        shown = self.leaks[:_SHOWN] or self.scores[:1]
        listed = ", ".join(map(self._told, shown))
        scale = "R² in five folds" if self.is_regression else "balanced accuracy in five folds"
        chance = "chance 0" if self.is_regression else "chance 50 %"
        if not self.leaks:
            best = f"; the best is {listed} ({scale}, {chance})" if shown else ""
            return f"none of {len(self.scores)} trivial properties tells the label{best}"
        middle = f"; {self._told(self.middle)}" if self.middle else ""
        return (
            "a trivial property tells the label, which is no proof that a model uses it: "
            f"{listed} ({scale}, {chance}{middle})"
        )

    def _told(self, score: PropertyScore) -> str:
        share = f"{score.score:.2f}" if self.is_regression else f"{100 * score.score:.0f} %"
        return f"{score.name} {share}" + ("" if score.label is None else f" of {score.label}")


def label_leakage(source: Any, *, class_names: Sequence[str] | None = None) -> LabelLeakage:
    """Measure which trivial properties of training images tell their label, before any training.

    The properties are colours (mean and deviation of each channel) of the four corners, of eight
    parts of the edges, of the outermost border and of all that lies around the middle; sharpness
    and frequencies there; the compression; and of files their size, aspect ratio, height and width,
    and format. Each is given to a ridge alone, which predicts in five folds. A property is a leak
    where, even with an allowance for chance in any of the properties that were asked, its balanced
    accuracy is above 0.6, or its R^2 above 0.1. Objects that fill their images show at the edges as
    well, and then leak nothing but themselves.

    Args:
        source: A folder with a sub-folder a class, as `keras.utils.image_dataset_from_directory`
            takes; arrays `(images, labels)`, a dataset, or `Probes`. At most 1,000 images are
            measured, fewer where arrays are large, evenly of all classes (at most 50). Of videos
            the middle frame counts. Labels are classes, rows of 0 and 1 where an image may have
            several, or floats of a regression. Of several classes or labels the one told best
            counts, each against the others.
        class_names: The classes of arrays, in the order of the labels.

    Returns:
        The scores of all properties, with `text` and `leaks`.

    Raises:
        TypeError: If the source is of no known kind.
        ValueError: If there are no images, or no labels, or fewer than two classes of 20 images, or
            a file can't be read.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 200, (100, 32, 32, 3), np.uint8)
        >>> labels = np.arange(100) % 2
        >>> ks.label_leakage((images, labels)).leaks
        ()
        >>> images[labels == 1, -4:, -4:] = 255
        >>> ks.label_leakage((images, labels)).leaks[0].name
        'the colour of the lower right corner'
    """
    if isinstance(source, str | Path):
        return _of_folder(source)
    probes = _read(source, class_names)
    labels = probes.labels
    if labels is None or probes.kind == "signal":
        raise ValueError(
            "Trivial properties are measured of images with labels: pass `(images, labels)`, or a "
            f"folder with a sub-folder a class. Received: {probes!r}"
        )
    pixels = _stills(read_pixels(probes)[0])
    return _measured(_of_pixels(pixels), _tasks(labels, probes.class_names))


def leakage_of(shortcuts: Shortcuts) -> LabelLeakage | None:
    """Measure which trivial properties tell the label of donors and receivers.

    Args:
        shortcuts: The donors and receivers.

    Returns:
        The scores, or `None` where there are too few images, or labels are maps.
    """
    if isinstance(shortcuts.task, Segmentation):
        return None
    sets = [shortcuts.donors, shortcuts.receivers][: 1 if shortcuts.origins else 2]
    values = np.concatenate([each.labels for each in sets])
    if values.dtype.kind == "f":
        tasks = [_Task(None, values, np.arange(len(values)))]
    else:
        tasks = [_one_label(shortcuts, label, values) for label in shortcuts.classes.tolist()]
        if len(np.unique(values)) == 2:  # One is told from the other.
            tasks = [tasks[-1]._replace(label=None)]
    if not (enough := [task for task in tasks if task.is_enough]):
        return None
    pixels = np.concatenate([_stills(each.pixels) for each in sets])
    return _measured(_of_pixels(pixels), enough)


def _one_label(shortcuts: Shortcuts, label: int, groups: Array) -> "_Task":
    """Tell the examples of a label from others, or from those that lack it."""
    own, *lacking = shortcuts.task.sides(label)
    known = np.flatnonzero(np.isin(groups, [own, *lacking])) if lacking else np.arange(len(groups))
    return _Task(_name(label, shortcuts.class_names), groups[known] == own, known)


class _Task(NamedTuple):
    """What is to be told: a class, a label, or a value.

    Attributes:
        label: Its name, or `None` where it is the only one.
        target: bool or float64 `(rows,)`.
        rows: int64, the images of which it is known.
    """

    label: str | None
    target: Array
    rows: Array

    @property
    def is_enough(self) -> bool:
        """Whether there are enough examples, and different ones."""
        if self.target.dtype == bool:
            return min(self.target.sum(), (~self.target).sum()) >= _FEWEST
        return len(self.target) >= 2 * _FEWEST and bool(np.ptp(self.target) > 0)


def _of_folder(folder: str | Path) -> LabelLeakage:
    """Measure the files in a folder of class folders."""
    class_names, listed = list_images(folder)
    if class_names is None or len(class_names) < 2:
        raise ValueError(
            "Expected a folder with a sub-folder for each of two classes or more, as "
            "keras.utils.image_dataset_from_directory takes. Received: "
            f"{str(folder)!r} with {'one class' if class_names else 'images alone'}"
        )
    classes = spread(list(zip(class_names, listed, strict=True)), _MOST_CLASSES)
    taken = [spread(paths, _per_class(_IMAGES, len(classes))) for _, paths in classes]
    labels = np.repeat(np.arange(len(taken)), list(map(len, taken)))
    tasks = _tasks(labels, tuple(name for name, _ in classes))
    files = read_files([path for own in taken for path in own], _SIDE)
    thumbnails = np.stack([file.thumbnail for file in files])
    return _measured(file_properties(files) | image_properties(thumbnails), tasks)


def _read(source: Any, class_names: Sequence[str] | None) -> Probes:
    """Read images with labels, or a part of them where they are arrays."""
    if isinstance(source, Probes):
        return source
    if not isinstance(source, tuple):
        return Probes.from_dataset(source, _OF_DATASET, _SEED, class_names=class_names)
    if len(source) != 2:
        raise TypeError(f"Arrays must be `(images, labels)`. Received: {len(source)} entries")
    images, names = source[0], as_class_names(class_names)
    labels = as_labels(source[1], len(images), names)
    if labels is None:
        return Probes(images)
    most = min(_IMAGES, _VALUES // max(np.size(images[0]), 1)) if len(images) else 0
    chosen = _chosen(labels, most)
    part = images[chosen] if isinstance(images, np.ndarray) else [images[i] for i in chosen]
    return Probes(part, labels[chosen], class_names=names)


def _chosen(labels: Array, most: int) -> Array:
    """Draw the images that are measured, evenly of each class."""
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(len(labels))
    if labels.dtype.kind != "i":
        return np.sort(order[: max(most, 2 * _FEWEST)])
    classes = spread(np.unique(labels).tolist(), _MOST_CLASSES)
    each = _per_class(most, len(classes))
    return np.sort(np.concatenate([order[labels[order] == label][:each] for label in classes]))


def _per_class(most: int, classes: int) -> int:
    return max(most // classes, _FEWEST)


def _stills(pixels: Array) -> Array:
    """Take the middle frame of videos; images as they are."""
    return pixels[:, pixels.shape[1] // 2] if pixels.ndim == 5 else pixels


def _of_pixels(pixels: Array) -> Properties:
    return image_properties(pixels) | compression_properties(pixels)


def _tasks(labels: Array, names: tuple[str, ...] | None) -> list[_Task]:
    """List what is to be told, or raise a ValueError where there are too few examples."""
    if labels.dtype.kind == "i":
        tasks = _class_tasks(labels, names)
    else:
        rows, columns = np.arange(len(labels)), labels.reshape(len(labels), -1).T
        columns = columns == 1 if np.isin(columns, (0, 1)).all() else columns.astype(np.float64)
        tasks = [
            _Task(
                _name(index, names) if len(columns) > 1 else None,
                column,
                rows,
            )
            for index, column in enumerate(columns)
        ]
    if not (enough := [task for task in tasks if task.is_enough]):
        counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
        listed = ", ".join(f"{_name(k, names)}: {n}" for k, n in list(counts.items())[:5])
        raise ValueError(
            f"It takes two classes with {_FEWEST} images each, or {2 * _FEWEST} different values "
            "of a regression. Add images, or leave out the classes that have few. Received: "
            f"{len(labels)} images, of {listed}"
        )
    return enough


def _class_tasks(labels: Array, names: tuple[str, ...] | None) -> list[_Task]:
    """Tell each class from the others; of two classes, one from the other."""
    classes, rows = np.unique(labels).tolist(), np.arange(len(labels))
    if len(classes) == 2:
        return [_Task(None, labels == classes[1], rows)]
    return [_Task(_name(label, names), labels == label, rows) for label in classes]


def _name(label: Any, names: tuple[str, ...] | None) -> str:
    return repr(names[int(label)]) if names is not None else f"{label:g}"


def _measured(properties: Properties, tasks: Sequence[_Task]) -> LabelLeakage:
    """Score each property that is not the same in all images."""
    varied = {name: values for name, values in properties.items() if np.ptp(values, axis=0).any()}
    asked = len(tasks) * max(len(varied), 1)
    errors = NormalDist().inv_cdf(1 - _CHANCE / asked)
    scores = {name: _best(name, values, tasks, errors) for name, values in varied.items()}
    middle = scores.pop(MIDDLE, None)
    return LabelLeakage(
        scores=tuple(sorted(scores.values(), key=lambda score: -score.score)),
        middle=middle,
        count=len(properties[MIDDLE]),
        is_regression=any(task.target.dtype != bool for task in tasks),
    )


def _best(name: str, values: Array, tasks: Sequence[_Task], errors: float) -> PropertyScore:
    """Score one property for what it tells best, by what is certain of it."""
    found = []
    for task in tasks:
        is_class = task.target.dtype == bool
        measure = balanced_accuracy if is_class else explained_variance
        score, error = measure(task.target, cross_validated(values[task.rows], task.target))
        least = _LEAST_ACCURACY if is_class else _LEAST_EXPLAINED
        certain = score - errors * error
        is_leak = name != MIDDLE and certain > least
        found.append((certain, PropertyScore(name, score, error, task.label, is_leak)))
    return max(found, key=lambda one: one[0])[1]
