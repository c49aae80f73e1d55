"""Classification: one class for each image."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.engine.output_head import Head
from keras_saliency.shortcuts.tasks.categorical import Categorical, hardly_tells, probability_of
from keras_saliency.shortcuts.video_swaps import ExampleSet


@dataclass(frozen=True)
class Classification(Categorical):
    """Donors of a receiver's class count as the same; its class's probability is watched.

    Args:
        count: The number of classes, of which some may be tested: what chance is told by.

    Example:
        >>> same, other = Classification(2).compared(np.array([0]), np.array([0, 1]))
        >>> same.tolist(), other.tolist()
        ([[True, False]], [[False, True]])
    """

    name: ClassVar[str] = "classification"
    each: ClassVar[str] = " a class"
    labels_word: ClassVar[str] = "classes"
    fewest: ClassVar[int] = 2
    fewest_words: ClassVar[str] = "two classes"
    count: int = field(compare=False)  # Receivers may lack some.

    def __str__(self) -> str:
        return "classes"

    @classmethod
    def of(cls, labels: Array) -> Self | None:
        """Take integers, of at least two classes."""
        if labels.ndim != 1 or labels.dtype.kind != "i":
            return None
        if len(classes := np.unique(labels)) < 2:
            raise ValueError(
                "The verdict compares classes, and there is one only; if this is the beginning of "
                "a dataset that is sorted by class, shuffle it before it is batched, or pass "
                f"arrays. Received: labels, all of them {classes.tolist()}"
            )
        return cls(len(classes))

    def groups(self, labels: Array) -> dict[int, Array]:
        """Group examples by class."""
        return {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}

    def sides(self, label: int) -> tuple[int, ...]:
        """Return the class itself: receivers and donors are in one group."""
        return (label,)

    def label_of(self, groups: Array) -> Array:
        """Return the classes, which the groups are."""
        return groups

    def is_received(self, groups: Array) -> Array:
        """Let every class hold receivers."""
        return np.ones(groups.shape, bool)

    def compared(self, receivers: Array, donors: Array) -> tuple[Array, Array]:
        """Compare classes."""
        same = receivers[:, None] == donors
        return same, ~same

    def check_head(self, head: Head, labels: Array) -> None:
        """Refuse a model of values, or one that lacks a class."""
        if head.kind == "values":
            raise ValueError(
                "shortcuts= has classes as labels, and needs a model that gives probabilities of "
                f"classes. Received: values of shape {head.shape} (regression). If the labels are "
                "numbers that the model predicts, state it: ks.Shortcuts(..., task='regression'); "
                "if the outputs are classes: target=ks.Target(head='softmax'), or 'sigmoid'."
            )
        if max(labels) >= head.classes:
            raise ValueError(
                f"shortcuts= must have labels from 0 to {head.classes - 1}, for a model of "
                f"{head.classes} classes. Received: label {max(labels)}"
            )

    def watched(self, outputs: Array, examples: ExampleSet, index: Array) -> Array:
        """Return the probability of each example's class."""
        return probability_of(examples.labels[index], _by_class(outputs))

    def too_early(self, watched: Array, donors: Array, labels: Array) -> str | None:
        """Compare the mean probability of the right class with chance."""
        return hardly_tells(float(watched.mean()), 1 / self.count)

    def chosen(self, outputs: Array) -> Array:
        """Choose the most probable class."""
        by_class = _by_class(outputs)
        return by_class == by_class.max(axis=1, keepdims=True)


def _by_class(outputs: Array) -> Array:
    """The probabilities of all classes, float64 `(n, classes)`; one sigmoid is two of them."""
    outputs = outputs.reshape(len(outputs), -1)
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs
