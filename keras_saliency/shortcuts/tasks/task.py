"""What is compared for a task, and what is watched of the model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Self

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.engine.output_head import Head
from keras_saliency.shortcuts.video_swaps import ExampleSet

DRAWS = 2  # donors on each side of a receiver; more cost more and add little


class Task(ABC):
    """What a verdict compares: the labels of receivers and donors, and the model's answers.

    Examples are drawn by groups. Each label that is tested has one group or several, of which the
    first holds the receivers. Donors are drawn on two sides of a receiver: those that count as the
    same, and others.

    Attributes:
        name: The task's name, as `Shortcuts(task=)` has it.
        each: What examples are counted by, as in "64 donors a class".
        labels_word: The labels that are tested, as messages name them.
        fewest: How many labels there must be.
        fewest_words: The same as messages name it.
        measure: The name of what is measured of a nuisance.
        columns: What a receiver is called, and the donors on its two sides.
        note: How the captions are read.
        not_swapped: The reason why nuisances are not tested, `{name: reason}`.
        evaluated: How many counterfactuals are answered at once.
    """

    name: ClassVar[str]
    each: ClassVar[str]
    labels_word: ClassVar[str]
    fewest: ClassVar[int]
    fewest_words: ClassVar[str]
    measure: ClassVar[str] = "gap"
    columns: ClassVar[tuple[str, str, str]] = (
        "original",
        "the same class",
        "another class",
    )
    note: ClassVar[str] = "p = probability of the right class"
    not_swapped: ClassVar[Mapping[str, str]] = MappingProxyType({})
    evaluated: ClassVar[int] = 128

    @classmethod
    @abstractmethod
    def of(cls, labels: Array) -> Self | None:
        """Return the task if labels belong to it, else `None`.

        Args:
            labels: Labels of all examples, as `as_labels` returns them.

        Returns:
            The task, or `None`.

        Raises:
            ValueError: If they belong to it, and there is nothing to compare.
        """

    @abstractmethod
    def groups(self, labels: Array) -> dict[int, Array]:
        """Group examples by what they are drawn as.

        Args:
            labels: Labels of examples, as `of` takes them.

        Returns:
            `{group: indices}`, of each label that is tested; an example may be in several groups.
        """

    def values(self, labels: Array, groups: Array) -> Array:
        """Return what examples are compared by, `(n,)`.

        Args:
            labels: Labels of examples, as `of` takes them.
            groups: The group that each is drawn as, int `(n,)`.

        Returns:
            Numbers `(n,)`; by default the groups.
        """
        return groups

    def masks(self, labels: Array, groups: Array) -> Array | None:
        """Return masks that the labels are.

        Args:
            labels: Labels of examples, as `of` takes them.
            groups: The group that each is drawn as, int `(n,)`.

        Returns:
            float32 `(n, height, width)`, or `None` where labels are of whole images.
        """
        return None

    @abstractmethod
    def sides(self, label: int) -> Sequence[int]:
        """Return the groups of a label, that of its receivers first."""

    @abstractmethod
    def label_of(self, groups: Array) -> Array:
        """Return the label that each group belongs to, int `(n,)`."""

    @abstractmethod
    def is_received(self, groups: Array) -> Array:
        """Return which groups hold receivers, bool `(n,)`."""

    def check_positions(self, head: Head) -> None:
        """Refuse a model that does not answer where the labels are.

        Args:
            head: How the model's outputs are read.

        Raises:
            ValueError: If it answers pixel by pixel, and labels are of whole images.
        """
        if np.prod(head.positions, dtype=int) > 1:
            raise ValueError(
                "shortcuts= has labels of whole images, and needs a model of one answer an image. "
                f"Received: an output of shape {head.shape}, with a class at every position "
                "(segmentation). Pass label maps, (images, label_maps)."
            )

    @abstractmethod
    def check_head(self, head: Head, labels: Array) -> None:
        """Refuse a model whose outputs are not those of the task.

        Args:
            head: How the model's outputs are read.
            labels: The labels that are tested.

        Raises:
            ValueError: If the model has no answer for a label.
        """

    @abstractmethod
    def watched(self, outputs: Array, examples: ExampleSet, index: Array) -> Array:
        """Return what is watched of the model's answers.

        Args:
            outputs: The model's outputs for images made of examples, `(n, ...)`.
            examples: Receivers or donors.
            index: Which of them, int `(n,)`.

        Returns:
            float64 `(n,)`.

        Raises:
            ValueError: If the outputs are not those of the task.
        """

    @abstractmethod
    def too_early(self, watched: Array, donors: Array, labels: Array) -> str | None:
        """Say that the model has learnt too little for a verdict.

        Args:
            watched: What is watched of the model for donors, `(n,)`.
            donors: What the donors are compared by, `(n,)`.
            labels: The labels that are tested.

        Returns:
            The reason in words, or `None` if it has learnt enough.
        """

    @abstractmethod
    def chosen(self, outputs: Array) -> Array:
        """Return which labels the model gives each image, bool `(n, labels)`."""

    @abstractmethod
    def confident(self, watched: Array, donors: Array) -> Array:
        """Choose the donors whose nuisance the model may rely on most.

        Args:
            watched: What is watched of the model for donors, `(n,)`.
            donors: What the donors are compared by, `(n,)`.

        Returns:
            Indices of donors; all of them where the choice would not tell.
        """

    @abstractmethod
    def draw(
        self,
        receivers: Array,
        donors: Array,
        rng: np.random.Generator,
        barred: Array | None = None,
        draws: int = DRAWS,
    ) -> Array:
        """Draw donors for each receiver, all different, half of them on each side.

        Args:
            receivers: What receivers are compared by, `(n,)`.
            donors: The same of donors, `(m,)`.
            rng: The source of randomness.
            barred: Which donors are the receiver itself, bool `(n, m)`; by default none.
            draws: The number of donors on each side.

        Returns:
            Indices of donors, int `(n, 2, draws)`.
        """

    @abstractmethod
    def differences(self, receivers: Array, donors: Array) -> Array:
        """Subtract the labels of receivers from those of their donors.

        Args:
            receivers: What receivers are compared by, `(n,)`.
            donors: The same of the donors drawn for each, `(n, 2, draws)`.

        Returns:
            float64 `(n, 2, draws)`; the scale of `watched`.
        """

    @abstractmethod
    def subsets(self, receivers: Array) -> dict[int, Array]:
        """Return the receivers of each label, whose gaps are given apart: `{label: bool (n,)}`."""

    @abstractmethod
    def captions(self, watched: Array, labels: Array) -> list[list[str]]:
        """Put into words what the model says of a receiver and of its counterfactuals.

        Args:
            watched: What is watched of each, `(receivers, 3)`.
            labels: What the receiver and its two donors are compared by, `(receivers, 3)`.

        Returns:
            A row of three texts for each receiver.
        """
