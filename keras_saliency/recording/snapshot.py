"""One evaluation of the probes while a model trains, and the words that images say of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # It imports Keras, which readers of a run need not.
    from keras_saliency.attribution.contrast import Contrast
    from keras_saliency.metrics.map_check import MapCheck

_NAME = 24  # letters of a predicted class on a card, so that its probability is never cut off


@dataclass(frozen=True)
class Snapshot:
    """The maps and predictions of all probes at one moment of a training run.

    `n` is the number of probes.

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
        note: What a reader of the maps should know of the model at this moment, or nothing.
        signed_methods: Methods of which the sign is drawn; by default those that have a negative
            value in `maps`.
        checks: Method name to what hiding the strongest tenth of its maps costs; empty where the
            maps were not checked.
        contrast: Contrast maps of the probes that are classified wrongly, where they were computed.
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
    note: str = ""
    signed_methods: frozenset[str] | None = None
    checks: dict[str, "MapCheck"] = field(default_factory=dict)
    contrast: "Contrast | None" = None

    @property
    def methods(self) -> list[str]:
        """The methods that were evaluated, those that failed last."""
        return [*self.maps, *self.errors]

    @property
    def when_with_step(self) -> str:
        """The moment in words, followed by the step and the note in brackets."""
        return at_step(self.when, f"{self.step}; {self.note}" if self.note else self.step)

    @property
    def when_with_note(self) -> str:
        """The moment in words, followed by the note in brackets."""
        return f"{self.when} ({self.note})" if self.note else self.when

    def is_signed(self, method: str) -> bool:
        """Whether a method's maps are drawn with their sign."""
        if self.signed_methods is not None:
            return method in self.signed_methods
        return method in self.maps and bool((self.maps[method] < 0).any())

    def signed_after(self, previous: "Snapshot | None") -> "Snapshot":
        """Return this snapshot, with methods that were signed in a previous one still signed.

        Colours must not change between epochs.
        """
        before = (previous and previous.signed_methods) or frozenset()
        return replace(self, signed_methods=before | set(filter(self.is_signed, self.maps)))

    def contrasted(self) -> "Snapshot":
        """Return this snapshot with the contrast maps in place of all others."""
        if self.contrast is None:
            return replace(self, maps={}, errors={})
        some = self.contrast.maps
        maps = np.zeros((len(self.scores), *some.shape[1:]), some.dtype)
        maps[self.contrast.index] = some
        name = f"{self.contrast.method} contrast"
        signed = frozenset({name} if self.is_signed(self.contrast.method) else ())
        return replace(self, maps={name: maps}, errors={}, signed_methods=signed)

    def is_chance(self, method: str, i: int) -> bool:
        """Whether a map was found to mark nothing that the model needs more than chance."""
        return method in self.checks and bool(self.checks[method].is_chance[i])

    def check(self, method: str, i: int) -> str:
        """Describe what hiding the strongest tenth of a map costs; nothing where unknown."""
        return self.checks[method].words(i) if method in self.checks else ""

    def answer(self, i: int) -> str:
        """Describe the prediction for a probe, with its probability: "elephant 98 %"."""
        predicted = self.predicted[i]
        if len(predicted) > _NAME:
            predicted = predicted[: _NAME - 1] + "…"
        share = self.confidence[i]
        return predicted if np.isnan(share) else f"{predicted} {100 * share:.0f} %"


def at_step(when: str, step: int | str) -> str:
    """Describe a moment with its step on TensorBoard's sliders: "epoch 5 (step 4)"."""
    return f"{when} (step {step})"


def title_of(name: str, label: str | None) -> str:
    """Describe a probe: its name, and its label where the name does not contain it."""
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
