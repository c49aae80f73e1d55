"""What was seen at one moment of a training, and the words that pictures say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_saliency.attribution.explainer import Evaluation
    from keras_saliency.engine.predictions import Predictions

_NAME = 24  # letters of a predicted class on a tile, so that its probability is never cut off


@dataclass(frozen=True)
class Snapshot:
    """What was seen at one moment of a training; `n` is the number of probes.

    Args:
        step: The step on TensorBoard's slider, -1 before training.
        when: The same in words: "before training", "epoch 4", "batch 400".
        maps: Method name to raw float32 `(n, h, w)`, `(n, time)` of signals, `(n, frames, h, w)` of
            volumes; a method that failed is absent.
        errors: Name of a method that failed to one line that says why.
        scores: float32 `(n,)`, the explained quantity.
        predicted: For each probe a text such as "penguin" or "2.31".
        confidence: `(n,)`, the probability of the predicted class from 0 to 1, or NaN.
        probability: `(n,)`, the probability of the label's class from 0 to 1, or NaN.
        correct: For each probe whether the model is right, or None.
        logs: The epoch's Keras logs; empty where Keras's own TensorBoard callback writes them.
        tiles: Where the probes are tiles, `(all tiles, classes)`, their probabilities.
    """

    step: int
    when: str
    maps: dict[str, np.ndarray]
    errors: dict[str, str]
    scores: np.ndarray
    predicted: list[str]
    confidence: np.ndarray
    probability: np.ndarray
    correct: list[bool | None]
    logs: dict[str, float]
    tiles: np.ndarray | None = None

    @classmethod
    def of(
        cls, step: int, when: str, look: Evaluation, said: Predictions, logs: dict[str, float]
    ) -> Snapshot:
        """Put together what was seen and what the model says."""
        return cls(
            step=step,
            when=when,
            maps=look.maps,
            errors={name: str(error) for name, error in look.errors.items()},
            scores=look.scores,
            predicted=said.texts,
            confidence=said.confidence,
            probability=said.probability,
            correct=said.correct,
            logs=logs,
            tiles=look.tiles,
        )

    @property
    def methods(self) -> list[str]:
        """The methods that were asked, those that failed last."""
        return [*self.maps, *self.errors]

    @property
    def moment(self) -> str:
        """When it was, without what is noted besides: "epoch 4" of "epoch 4 (not settled)"."""
        return self.when.partition(" (")[0]

    def answer(self, i: int) -> str:
        """Say what the model says of a probe, and how surely: "elephant 98 %"."""
        predicted = self.predicted[i]
        if len(predicted) > _NAME:
            predicted = predicted[: _NAME - 1] + "…"
        share = self.confidence[i]
        return predicted if np.isnan(share) else f"{predicted} {100 * share:.0f} %"


def title_of(name: str, label: str | None) -> str:
    """Say what a probe is: its name, and its label where the name does not say it."""
    title = words(name)
    return title if label is None or label in title else f"{title} · {label}"


def words(name: str) -> str:
    """Write a name as words."""
    return name.replace("_", " ").strip()


def choose_evenly(labels: Sequence[str | None], count: int) -> list[int]:
    """Choose at most `count` probes label by label in turn; return their indices in order."""
    turns: dict[str | None, int] = {}
    ranked = []
    for i, label in enumerate(labels):
        turns[label] = turns.get(label, 0) + 1
        ranked.append((turns[label], i))
    return sorted(i for _, i in sorted(ranked)[:count])
