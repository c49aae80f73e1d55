"""Regression: one number for each image."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.engine.output_head import Head
from keras_saliency.shortcuts.tasks.task import DRAWS, Task
from keras_saliency.shortcuts.video_swaps import ExampleSet

_EXPLAINED = 0.1  # share of the labels' variance, below which no reliance can show yet


@dataclass(frozen=True)
class Regression(Task):
    """Donors are drawn from all, and the prediction is watched.

    What is measured is how far it follows the donor's label: see `carry_coefficient`. No donors
    are preferred, since a prediction has no confidence, and those with the smallest errors have
    smaller errors in the nuisance, too.

    Example:
        >>> Regression().differences(np.array([1.0]), np.array([[[0.5, 1.0], [2.0, 3.0]]])).tolist()
        [[[-0.5, 0.0], [1.0, 2.0]]]
    """

    name: ClassVar[str] = "regression"
    each: ClassVar[str] = ""
    labels_word: ClassVar[str] = "values"
    fewest: ClassVar[int] = 1
    fewest_words: ClassVar[str] = "one image"
    measure: ClassVar[str] = "carry"
    columns: ClassVar[tuple[str, str, str]] = ("original", "a low label", "a high label")
    note: ClassVar[str] = "the prediction, and the label of the image or of the donor"

    def __str__(self) -> str:
        return "numbers"

    @classmethod
    def of(cls, labels: Array) -> Self | None:
        """Take one number an image, as long as they differ."""
        if labels.ndim != 1:
            return None
        if (labels == labels[0]).all():
            raise ValueError(
                "The verdict compares pictures with different labels, and here all are the same. "
                f"Received: labels, all of them {labels[0]:g}"
            )
        return cls()

    def groups(self, labels: Array) -> dict[int, Array]:
        """Draw all examples alike."""
        return {0: np.arange(len(labels))}

    def values(self, labels: Array, groups: Array) -> Array:
        """Compare by the numbers themselves."""
        return labels.astype(np.float64)

    def sides(self, label: int) -> tuple[int, ...]:
        """Return the one group."""
        return (0,)

    def label_of(self, groups: Array) -> Array:
        """Return the only output, 0."""
        return np.zeros(groups.shape, np.int64)

    def is_received(self, groups: Array) -> Array:
        """Let every example be a receiver."""
        return np.ones(groups.shape, bool)

    def check_head(self, head: Head, labels: Array) -> None:
        """Refuse anything but one value an image."""
        if head.kind != "values" or head.units != 1:
            raise ValueError(
                "shortcuts= has numbers as labels (regression), and needs a model of one value. "
                f"Received: a {head.kind} of shape {head.shape}. Pass classes as labels; if the "
                "output is a value, state it: target=ks.Target(head='values'); of several values, "
                "pass a model that returns the one that is tested."
            )

    def watched(self, outputs: Array, examples: ExampleSet, index: Array) -> Array:
        """Return the predictions."""
        if outputs.size != len(index):
            raise ValueError(
                "The verdict needs one prediction for each image. "
                f"Received: outputs of shape {outputs.shape}"
            )
        return outputs.reshape(-1)

    def too_early(self, watched: Array, donors: Array, labels: Array) -> str | None:
        """Compare the squared errors with the variance of the labels."""
        explained = 1 - float(((watched - donors) ** 2).mean() / donors.var())
        if explained >= _EXPLAINED:
            return None
        return f"the model explains little of the labels' variance (R² {explained:.2f})"

    def chosen(self, outputs: Array) -> Array:
        """Choose nothing: there are no classes."""
        return np.zeros((len(outputs), 0), bool)

    def confident(self, watched: Array, donors: Array) -> Array:
        """Choose all."""
        return np.arange(len(donors))

    def draw(
        self,
        receivers: Array,
        donors: Array,
        rng: np.random.Generator,
        barred: Array | None = None,
        draws: int = DRAWS,
    ) -> Array:
        """Draw from all donors; the lowest and the highest label of each receiver's come first."""
        lots = rng.random((len(receivers), len(donors)))
        if barred is not None:
            lots[barred] = 2
        drawn = lots.argsort(axis=1)[:, : 2 * draws]
        order = np.take_along_axis(drawn, donors[drawn].argsort(axis=1), axis=1)
        return np.stack([order[:, :draws], order[:, : draws - 1 : -1]], axis=1)

    def differences(self, receivers: Array, donors: Array) -> Array:
        """Subtract the numbers."""
        return donors - receivers[:, None, None]

    def subsets(self, receivers: Array) -> dict[int, Array]:
        """Return none: there are no classes."""
        return {}

    def captions(self, watched: Array, labels: Array) -> list[list[str]]:
        """Give the prediction, and the label of what it should or should not follow."""
        whose = "label", "donor's", "donor's"
        return [
            [f"{v:.3g} ({who} {y:.3g})" for v, who, y in zip(row, whose, of, strict=True)]
            for row, of in zip(watched, labels, strict=True)
        ]
