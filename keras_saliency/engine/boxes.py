"""Boxes of an object detector, whose class scores are explained."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from keras import ops

from keras_saliency.common.validation import check_number
from keras_saliency.engine.output_head import Head, Of


@dataclass(frozen=True)
class Boxes:
    """Boxes of an object detector whose class scores are explained; to be given as a target.

    The output that is explained has a row of class scores for each candidate box, `(batch,
    candidates, classes)`, as detectors have it before duplicates are suppressed. The score of an
    image is that of one box, or the sum over several:

        S = sum_b q_b,c(b),    q: a logit, or what `of` says, of candidate b and its class c(b)

    Which boxes these are is decided by the image itself, and stays so for its perturbed images.
    Where `layer` is None, maps are those of the level of the feature pyramid that the box comes
    from; of several levels, the fused maps.

    Args:
        category: The class, an index; None takes the most probable class of each box. Where one of
            the classes is the background, name a category. Of a single sigmoid unit it is 1.
        box: `"best"` is the most confident box, which the suppression of duplicates always keeps;
            an index, or one for each image, is that candidate; `"all"` sums over the boxes.
        threshold: The probability of its class, from 0 to 1, above which a candidate counts as a
            box, for `"best"` and `"all"`. An image without any has a map of zeros in training; for
            `explain` that is an error.

    Raises:
        ValueError: An unknown word for `box`, a negative index, or a threshold out of its range.
        TypeError: A category or box of another kind.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> pixels = keras.Input((8, 12, 3))
        >>> features = keras.layers.Conv2D(4, 3, strides=2, padding="same")(pixels)
        >>> scores = keras.layers.Conv2D(2, 3, padding="same")(features)  # a box at each cell
        >>> net = keras.Model(pixels, keras.layers.Reshape((24, 2))(scores))
        >>> target = ks.Target(ks.Boxes(1, box=5), head="sigmoid")
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "grad_cam", target=target).maps.shape
        (1, 4, 6)
    """

    category: int | None = None
    box: Literal["best", "all"] | int | np.ndarray = "best"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_number(self.threshold, "threshold")
        if self.category is not None and not _is_index(np.asarray(self.category), ndim=0):
            raise TypeError(
                "category must be the index of a class, or None for the most probable class of "
                f"each box. Received: category={self.category!r}"
            )
        if isinstance(self.box, str):
            if self.box not in ("best", "all"):
                raise ValueError(
                    "box must be 'best', 'all', the index of a candidate, or one index per image. "
                    f"Received: box={self.box!r}"
                )
        elif not _is_index(np.asarray(self.box), ndim=1):
            raise TypeError(
                "box must be 'best', 'all', the index of a candidate, or one index per image. "
                f"Received: box={self.box!r}"
            )

    @property
    def candidate(self) -> int | None:
        """The one candidate that is explained in all images, or None."""
        is_one = not isinstance(self.box, str) and np.ndim(self.box) == 0
        return int(np.asarray(self.box)) if is_one else None

    def marks(self, head: Head, count: int) -> np.ndarray:
        """Mark candidates for `resolved`: 0 is not explained, -1 is decided by the outputs.

        Args:
            head: How the model's outputs are read.
            count: How many images there are.

        Returns:
            `(count, candidates)` int32.

        Raises:
            ValueError: The output is no table of candidates and classes, or lacks the category or
                the box.
        """
        if len(head.positions) != 1 or head.kind == "values":
            raise ValueError(
                "Boxes need an output with the classes of each candidate box, (batch, candidates, "
                f"classes). Received: an output of shape {head.shape}, read as {head.kind!r}. Name "
                "the output and state what it is: ks.Target(ks.Boxes(1), output='cls_logits', "
                "head='sigmoid')."
            )
        (candidates,) = head.positions
        first = int(head.is_binary)  # class 0 of one sigmoid unit is that there is no object
        if self.category is not None and not first <= self.category < head.classes:
            raise ValueError(
                f"category must be a class from {first} to {head.classes - 1}, of a detector whose "
                f"output has shape {head.shape}. Received: category={self.category}"
            )
        if isinstance(self.box, str):
            return np.full((count, candidates), -1, "int32")
        chosen = np.asarray(self.box)
        if chosen.ndim and len(chosen) != count:
            raise ValueError(
                f"box must be one index, or one per image, {count} in all. Received: "
                f"{len(chosen)} indices."
            )
        if chosen.min() < 0 or chosen.max() >= candidates:
            raise ValueError(
                f"box must be the index of one of the {candidates} candidates, from 0. Received: "
                f"box={self.box!r}. Take 'best', or the index of a row of the output's scores."
            )
        marks = np.zeros((count, candidates), "int32")
        marks[np.arange(count), chosen] = -1
        return marks

    def resolved(self, head: Head, outputs: Any, logits: Any, of: Of, marks: Any) -> Any:
        """Replace negative marks by the class of each box plus 1, or 0 where it does not count.

        Args:
            head: How the model's outputs are read.
            outputs: A tensor `(batch, candidates, classes)`.
            logits: The hooked logits, likewise.
            of: What is explained.
            marks: int `(batch, candidates)`, as from `marks`.

        Returns:
            int32 `(batch, candidates)`.
        """
        marks = ops.cast(marks, "int32")
        # By logits, where there are some: several probabilities may all be rounded to 1.
        order = head.by_class(outputs, logits, head.effective("logits"))
        category = 1 if head.is_binary else self.category
        if category is None:
            own = ops.cast(ops.argmax(order, axis=-1), "int32")
        else:
            own = ops.full(marks.shape, category, "int32")
        counts = own >= 0
        if isinstance(self.box, str):
            chosen = ops.one_hot(own, head.classes)
            chance = head.by_class(outputs, logits, "probability")
            counts = ops.sum(chance * chosen, axis=-1) > self.threshold
            if self.box == "best":
                best = ops.argmax(ops.sum(order * chosen, axis=-1), axis=-1)
                counts = ops.logical_and(counts, ops.one_hot(best, marks.shape[1]) > 0)
        return ops.where(marks < 0, ops.where(counts, own + 1, 0), marks)

    def score(self, head: Head, outputs: Any, logits: Any, of: Of, marks: Any) -> tuple[Any, Any]:
        """Sum over the marked candidates; also return the class explained, or -1.

        Args:
            head: How the model's outputs are read.
            outputs: A tensor `(batch, candidates, classes)`.
            logits: The hooked logits, likewise.
            of: What is explained.
            marks: int `(batch, candidates)`, as from `resolved`.

        Returns:
            Scores float32 `(batch,)` and classes int32 `(batch,)`.
        """
        counts = ops.cast(marks > 0, "float32")[..., None]
        chosen = counts * ops.one_hot(ops.maximum(marks - 1, 0), head.classes)
        scores = ops.sum(head.by_class(outputs, logits, of) * chosen, axis=(1, 2))
        if isinstance(self.box, str) and self.box == "all" and self.category is None:
            return scores, -ops.ones_like(marks[:, 0])
        return scores, ops.max(marks, axis=1) - 1

    def check(self, scores: np.ndarray, classes: np.ndarray) -> None:
        """Raise an error if there are images without a box: no class, and a score of 0.

        Args:
            scores: `(n,)`.
            classes: The classes explained, int `(n,)`.

        Raises:
            ValueError: If there are any.
        """
        without = np.flatnonzero((scores == 0) & (classes < 0))
        if len(without):
            category = "" if self.category is None else f" of class {self.category}"
            raise ValueError(
                f"No box{category} has a probability above {self.threshold:g}. Received: "
                f"{len(without)} of {len(scores)} images without one, the first at index "
                f"{without[0]}. Lower threshold, as in ks.Boxes(threshold=0.05), or leave these "
                "images out."
            )


def _is_index(array: np.ndarray, ndim: int) -> bool:
    return array.dtype.kind in "iu" and array.ndim <= ndim and array.size > 0
