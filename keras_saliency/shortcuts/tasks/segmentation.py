"""Segmentation: a class for each pixel."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np

from keras_saliency.common.arrays import as_array
from keras_saliency.common.resampling import average_masks
from keras_saliency.common.types import Array
from keras_saliency.engine.output_head import Head
from keras_saliency.shortcuts.tasks.categorical import Categorical, hardly_tells, probability_of
from keras_saliency.shortcuts.video_swaps import ExampleSet

_BACKGROUND, _UNLABELLED = 0, 255  # values of label maps that are no classes to test
_LEAST, _MOST = 0.01, 0.8  # of a picture, what a region may cover
_STAYS = "a region stays where it is labelled"


@dataclass(frozen=True)
class Segmentation(Categorical):
    """A receiver stands for its region of one class, and a donor has that class or lacks it.

    What is watched is the mean probability of the class in the receiver's region. Donors with the
    class count as the same, and those without as others; the group of these is `-1 - class`. The
    labels are the masks: of a donor its own region is in-painted away, and of one that lacks the
    class a hole of the shape of another's region, so that both have one.

    Example:
        >>> same, other = Segmentation().compared(np.array([2]), np.array([1, 2, -2, -3]))
        >>> same.tolist(), other.tolist()
        ([[False, True, False, False]], [[False, False, False, True]])
    """

    name: ClassVar[str] = "segmentation"
    each: ClassVar[str] = " a class"
    labels_word: ClassVar[str] = "classes"
    fewest: ClassVar[int] = 1
    fewest_words: ClassVar[str] = "one class"
    columns: ClassVar[tuple[str, str, str]] = (
        "original",
        "one with the class",
        "one without",
    )
    evaluated: ClassVar[int] = 16  # Each has as many answers as pixels.
    note: ClassVar[str] = "p = mean probability of the class in its region"
    not_swapped: ClassVar[Mapping[str, str]] = MappingProxyType(
        dict.fromkeys(("position", "scale", "object", "mark"), _STAYS)
    )

    def __str__(self) -> str:
        return "label maps"

    @classmethod
    def of(cls, labels: Array) -> Self | None:
        """Take maps of classes, of which one at least is in some images only."""
        if labels.ndim != 3:
            return None
        if not cls().groups(labels):
            shares = _shares(labels)[:, _BACKGROUND + 1 : _UNLABELLED]
            classes = np.flatnonzero(shares.any(axis=0)) + _BACKGROUND + 1
            raise ValueError(
                "The verdict on a segmentation compares pictures with a class, in a region of "
                f"{_LEAST:.0%} to {_MOST:.0%} of the picture, and without any of it; no class has "
                f"both. Received: labels.shape={labels.shape}, classes {classes.tolist()[:10]} "
                f"beside the background, {_BACKGROUND}"
            )
        return cls()

    def groups(self, labels: Array) -> dict[int, Array]:
        """Group examples by having a region of each class, and by having nothing of it."""
        shares = _shares(labels)
        has, lacks = (shares >= _LEAST) & (shares <= _MOST), shares == 0
        tested = [
            label
            for label in range(_BACKGROUND + 1, _UNLABELLED)
            if has[:, label].any() and lacks[:, label].any()
        ]
        groups = {label: np.flatnonzero(has[:, label]) for label in tested}
        return groups | {-1 - label: np.flatnonzero(lacks[:, label]) for label in tested}

    def masks(self, labels: Array, groups: Array) -> Array:
        """Return the regions; examples that lack the class get those of others that have it."""
        masks = (labels == self.label_of(groups)[:, None, None]).astype(np.float32)
        for group in np.unique(groups[groups < 0]):
            lacking, having = np.flatnonzero(groups == group), np.flatnonzero(groups == -1 - group)
            if len(having):
                masks[lacking] = masks[np.resize(having, len(lacking))]
        return masks

    def sides(self, label: int) -> tuple[int, ...]:
        """Return the groups with the class and without."""
        return label, -1 - label

    def label_of(self, groups: Array) -> Array:
        """Return the class that is had or lacking."""
        return np.where(groups < 0, -1 - groups, groups)

    def is_received(self, groups: Array) -> Array:
        """Let those that have a region of a class be receivers."""
        return groups >= 0

    def compared(self, receivers: Array, donors: Array) -> tuple[Array, Array]:
        """Compare the class that receivers have with what donors have or lack."""
        label = receivers[:, None]
        return label == donors, -1 - label == donors

    def check_positions(self, head: Head) -> None:
        """Refuse anything but an answer at each place of a grid."""
        if len(head.positions) != 2 or np.prod(head.positions) < 2:
            raise ValueError(
                "shortcuts= has label maps, and needs a model that answers at every place, "
                "(batch, height, width, classes) or (batch, height, width, 1). "
                f"Received: an output of shape {head.shape}"
            )

    def check_head(self, head: Head, labels: Array) -> None:
        """Refuse a model of values, or one that lacks a class."""
        if head.kind == "values":
            raise ValueError(
                "shortcuts= has label maps, and needs a model that gives the probability of "
                f"classes at every place. Received: values of shape {head.shape}. If these are "
                "classes, state it: target=ks.Target(1, region='predicted', head='softmax'), or "
                "'sigmoid'."
            )
        if max(labels) >= head.classes:
            raise ValueError(
                f"Label maps of shortcuts= must hold classes from 0 to {head.classes - 1}, for a "
                f"model whose output has shape {head.shape}, and {_UNLABELLED} where nothing is "
                f"labelled. Received: class {max(labels)}"
            )

    def watched(self, outputs: Array, examples: ExampleSet, index: Array) -> Array:
        """Return the probability of the class in its region, or that it is nowhere in an image."""
        if outputs.ndim not in (3, 4):
            raise ValueError(
                "The verdict on a segmentation needs a probability at each place, (batch, height, "
                f"width, classes). Received: outputs of shape {outputs.shape}"
            )
        maps = outputs if outputs.ndim == 4 else outputs[..., None]
        maps = np.concatenate([1 - maps, maps], axis=-1) if maps.shape[-1] == 1 else maps
        groups = examples.labels[index]
        has = self.is_received(groups)
        regions = np.ones((len(index), *examples.pixels.shape[1:3]))
        if examples.masks is not None:
            regions[has] = examples.masks[index[has]]
        weights = average_masks(regions, maps.shape[1:3])
        means = np.einsum("nyx,nyxk->nk", weights, maps) / weights.sum((1, 2))[:, None]
        probabilities = probability_of(self.label_of(groups), means)
        return np.where(has, probabilities, 1 - probabilities)

    def too_early(self, watched: Array, donors: Array, labels: Array) -> str | None:
        """Compare the mean probability of what is right with chance."""
        return hardly_tells(float(watched.mean()), 0.5)

    def chosen(self, outputs: Array) -> Array:
        """Choose nothing: no image is of one class."""
        return np.zeros((len(outputs), 0), bool)


def as_label_maps(labels: Any, images: Array) -> Array:
    """Check maps of classes.

    Args:
        labels: `(n, height, width)` or `(n, height, width, 1)` of the images' size: whole numbers,
            0 for the background and 255 where nothing is labelled; or 0 and 255 alone, where 255 is
            class 1.
        images: `(n, height, width, channels)`, or without channels.

    Returns:
        uint8 `(n, height, width)`.

    Raises:
        TypeError: If these are no numbers.
        ValueError: If the shape is not that of the images, or a value is no class.

    Example:
        >>> as_label_maps([[[0, 255], [0, 0]]], np.zeros((1, 2, 2, 3))).tolist()
        [[[0, 1], [0, 0]]]
    """
    maps = labels if isinstance(labels, np.ndarray) else as_array(labels, "labels")
    maps = maps[..., 0] if maps.ndim == 4 and maps.shape[-1] == 1 else maps
    if maps.ndim != 3 or maps.shape != images.shape[:3] or images.ndim > 4:
        raise ValueError(
            "Labels that are maps (segmentation) must be (batch, height, width) of the images' "
            "size, the number of a class at each pixel; of one-hot maps pass `labels.argmax(-1)`. "
            f"Received: labels.shape={np.shape(labels)}, images.shape={images.shape}"
        )
    if maps.dtype.kind not in "biuf":
        raise TypeError(f"Label maps must hold whole numbers. Received: dtype {maps.dtype}")
    low, high = maps.min(), maps.max()
    within = low >= 0 and high <= _UNLABELLED
    if not within or (maps.dtype.kind == "f" and (maps != np.rint(maps)).any()):
        raise ValueError(
            f"Label maps must hold whole numbers from 0 to {_UNLABELLED - 1}, one for each class, "
            f"and {_UNLABELLED} where nothing is labelled. Received: values from {low:g} to "
            f"{high:g}, {maps.dtype}"
        )
    classes = maps.astype(np.uint8)
    if high == _UNLABELLED and not ((classes > 0) & (classes < _UNLABELLED)).any():
        classes = classes // _UNLABELLED
    return classes


def _shares(labels: Array) -> Array:
    """The share of each image that each value covers, `(n, 256)`."""
    counts = [np.bincount(one.reshape(-1), minlength=_UNLABELLED + 1) for one in labels]
    return np.array(counts) / labels[0].size
