"""Multi-label classification: an image may have several labels."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.engine.output_head import Head
from keras_saliency.shortcuts.tasks.categorical import Categorical, hardly_tells, probability_of
from keras_saliency.shortcuts.video_swaps import ExampleSet


@dataclass(frozen=True)
class MultiLabel(Categorical):
    """A receiver stands for one label that it has, and a donor for one that it has or lacks.

    Donors that have the receiver's label count as the same, and those that lack it as others. The
    label's probability is watched. The group of the images that lack a label is `count + label`.

    Args:
        count: The number of labels.

    Example:
        >>> same, other = MultiLabel(2).compared(np.array([0]), np.array([0, 1, 2, 3]))
        >>> same.tolist(), other.tolist()
        ([[True, False, False, False]], [[False, False, True, False]])
    """

    name: ClassVar[str] = "multi-label"
    each: ClassVar[str] = " a label"
    labels_word: ClassVar[str] = "labels"
    fewest: ClassVar[int] = 1
    fewest_words: ClassVar[str] = "one label"
    count: int

    def __str__(self) -> str:
        return f"rows of {self.count}"

    @classmethod
    def of(cls, labels: Array) -> Self | None:
        """Take rows of 0 and 1, of which some label is had by some images only."""
        if labels.ndim != 2 or not np.isin(labels, (0, 1)).all():
            return None
        if (labels == labels[0]).all():
            raise ValueError(
                "The verdict compares pictures with a label and without, and here all have the "
                f"same labels. Received: labels.shape={labels.shape}, each row {labels[0].tolist()}"
            )
        return cls(labels.shape[1])

    def groups(self, labels: Array) -> dict[int, Array]:
        """Group examples by having and by lacking each label that only some of them have."""
        mixed = np.flatnonzero((labels.min(0) == 0) & (labels.max(0) == 1)).tolist()
        has = {label: np.flatnonzero(labels[:, label]) for label in mixed}
        return has | {self.count + label: np.flatnonzero(labels[:, label] == 0) for label in mixed}

    def sides(self, label: int) -> tuple[int, ...]:
        """Return the groups with the label and without."""
        return label, self.count + label

    def label_of(self, groups: Array) -> Array:
        """Return the label that is had or lacking."""
        return groups % self.count

    def is_received(self, groups: Array) -> Array:
        """Let those that have a label be receivers."""
        return groups < self.count

    def compared(self, receivers: Array, donors: Array) -> tuple[Array, Array]:
        """Compare the label that receivers have with what donors have or lack."""
        label = receivers[:, None]
        return label == donors, label + self.count == donors

    def check_head(self, head: Head, labels: Array) -> None:
        """Refuse anything but as many sigmoids as there are labels."""
        if head.kind != "sigmoid" or head.units != self.count:
            raise ValueError(
                f"shortcuts= has {self.count} labels, of which a picture may have "
                "several, and needs a model of as many sigmoids. "
                f"Received: a {head.kind} of shape {head.shape}. If these are logits of sigmoids, "
                "state it: target=ks.Target(head='sigmoid')."
            )

    def watched(self, outputs: Array, examples: ExampleSet, index: Array) -> Array:
        """Return the probability of each example's label, or that it lacks it."""
        return probability_of(
            examples.labels[index], np.concatenate([outputs, 1 - outputs], axis=1)
        )

    def too_early(self, watched: Array, donors: Array, labels: Array) -> str | None:
        """Compare the mean probability of what is right with chance."""
        return hardly_tells(float(watched.mean()), 0.5)

    def chosen(self, outputs: Array) -> Array:
        """Choose the labels that are more probable than not."""
        return outputs > 0.5
