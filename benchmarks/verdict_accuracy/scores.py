"""What is asked of the verdict: how well its figure and its alarm go with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from figures import (
    Figure,
    auroc,
    balanced_accuracy,
    best_thresholds,
    mean,
    rank_correlation,
    resampled,
    upper_bound,
)
from grid import KINDS
from measured import Measured

SHORTCUT = 0.2  # A model whose reliance is larger has learnt a shortcut.
CLEAN = 0.1  # A training run in which it never gets larger is clean.
HARD = (0.1, 0.4)
OFF_OBJECT = ("background", "watermark", "border", "tint", "texture")
THRESHOLD = 0.2  # of the alarm

# What an alarm may name. Grounds differ in colour. A swapped background carries along a watermark,
# which is a small spot in a corner, and a blur, which is a matter of texture.
RIGHT_WORDS = {
    "background": ("background", "cast", "exposure"),
    "watermark": ("background", "mark", "frame"),
    "border": ("frame",),
    "tint": ("cast",),
    "texture": ("texture",),
    "mark": ("mark",),
    "blur": ("background", "texture", "resolution"),
    "position": ("position",),
    "size": ("scale",),
}


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    found: int
    asked: int

    @property
    def bound(self) -> float:
        """What the share is at most."""
        return upper_bound(self.found, self.asked) if self.asked else float("nan")

    def __str__(self) -> str:
        return f"{self.found} of {self.asked}"


class Scores:
    """The scores of some training runs against one of the truths."""

    def __init__(self, measured: Measured, truth: str, threshold: float = THRESHOLD) -> None:
        """Take the evaluations that are counted.

        Args:
            measured: The training runs.
            truth: The column that the truth is in.
            threshold: The gap that says of an evaluation that there is a shortcut.
        """
        self.measured, self.truth, self.threshold = measured, truth, threshold
        self.size = measured.truth(truth)  # (n, EPOCHS), of the reliance
        rows, _ = np.nonzero(measured.counted)
        self._weights = resampled(len(measured))[:, rows]

    def _flat(self, name: str) -> np.ndarray:
        return self.measured[name][self.measured.counted]

    @cached_property
    def _sizes(self) -> np.ndarray:
        return self.size[self.measured.counted]

    def auroc(self, column: str = "reliance", sign: int = 1) -> Figure:
        """How well a column tells evaluations with a shortcut from others."""
        return Figure.of(auroc(sign * self._flat(column), self._sizes > SHORTCUT, self._weights))

    def hard_auroc(self) -> Figure:
        """The same where it is hard."""
        hard = (self._sizes >= HARD[0]) & (self._sizes <= HARD[1])
        positive = self._sizes[hard] > SHORTCUT
        return Figure.of(auroc(self._flat("reliance")[hard], positive, self._weights[:, hard]))

    def rank_correlation(self) -> Figure:
        return Figure.of(rank_correlation(self._flat("reliance"), self._sizes, self._weights))

    def error(self) -> Figure:
        """The mean absolute difference of what is measured and the size of the truth."""
        return Figure.of(mean(np.abs(self._flat("reliance") - self._sizes), self._weights))

    def found(self, least: float) -> Figure:
        """The share of evaluations with at least so much reliance, that are over the threshold."""
        there = self._sizes >= least
        above = self._flat("reliance")[there] > self.threshold
        return Figure.of(mean(above, self._weights[:, there]))

    def abstained(self, least: float) -> Share:
        """Evaluations with at least so much reliance, in which the verdict abstains."""
        asked = self.measured.counted & (self.size >= least)
        return Share(int((asked & self.measured.abstains).sum()), int(asked.sum()))

    @cached_property
    def alarmed(self) -> np.ndarray:
        """Which training runs had an alarm, bool `(n,)`."""
        return ((self.measured["alarm"] > 0) & self.measured.counted).any(axis=1)

    @cached_property
    def largest(self) -> np.ndarray:
        """The most reliance that a training run came to, `(n,)`; -1 if no evaluation is counted."""
        return np.where(self.measured.counted, self.size, -1.0).max(axis=1)

    def first_of_two(self, least: float) -> np.ndarray:
        """The first of two evaluations running with so much reliance, from 0; -1 for none."""
        above = (self.size >= least) & self.measured.counted
        both = above[:, :-1] & above[:, 1:]
        return np.where(both.any(axis=1), both.argmax(axis=1), -1)

    def trainings_found(self, least: float) -> Share:
        """Training runs with so much reliance in two evaluations running, that had an alarm."""
        asked = self.first_of_two(least) >= 0
        return Share(int(self.alarmed[asked].sum()), int(asked.sum()))

    @property
    def clean(self) -> np.ndarray:
        """Which training runs are clean, bool `(n,)`."""
        return (self.largest >= 0) & (self.largest <= CLEAN)

    @property
    def slight(self) -> np.ndarray:
        """Which are neither clean nor have a shortcut."""
        return (self.largest > CLEAN) & (self.largest <= SHORTCUT)

    def alarms(self, chosen: np.ndarray) -> Share:
        """Of the training runs chosen, those that had an alarm."""
        return Share(int(self.alarmed[chosen].sum()), int(chosen.sum()))

    def in_time(self) -> Share:
        """Alarms that are said to begin no later than the truth does."""
        first = self.first_of_two(SHORTCUT)
        begun = np.char.partition(self.measured["since"], " ")[..., 2]
        epochs = np.where(begun == "", "99", begun).astype(int).min(axis=1)
        asked = (first >= 0) & self.alarmed
        return Share(int((epochs[asked] <= first[asked] + 1).sum()), int(asked.sum()))

    def named(self) -> Figure:
        """Of the evaluations with an alarm and a planted shortcut, those with a right word."""
        shown = (self._flat("alarm") > 0) & (self._sizes > SHORTCUT) & (self._flat("control") == "")
        pairs = zip(self._flat("cause")[shown], self._flat("kind")[shown], strict=True)
        right = np.array([cause in RIGHT_WORDS[kind] for cause, kind in pairs], bool)
        return Figure.of(mean(right, self._weights[:, shown]))

    def of_kinds(self) -> dict[str, Scores]:
        """The scores of each kind, without controls."""
        plain = self.measured.plain
        kinds = [kind for kind in KINDS if (plain.run("kind") == kind).any()]
        return {
            kind: Scores(plain.where(plain.run("kind") == kind), self.truth, self.threshold)
            for kind in kinds
        }

    def off_object(self) -> Scores:
        """The scores of the kinds that are not on the object nor about its place or size."""
        plain = self.measured.plain
        chosen = plain.where(np.isin(plain.run("kind"), OFF_OBJECT))
        return Scores(chosen, self.truth, self.threshold)

    def with_others_threshold(self) -> dict[str, np.ndarray]:
        """Draws of each kind's balanced accuracy at the threshold that is best for the others."""
        plain = self.measured.plain
        kinds = plain["kind"][plain.counted]
        rows, _ = np.nonzero(plain.counted)
        weights = resampled(len(plain))[:, rows]
        score = plain["reliance"][plain.counted]
        positive = plain.truth(self.truth)[plain.counted] > SHORTCUT
        reached = {}
        for kind in KINDS:
            own = kinds == kind
            if positive[own].any() and positive[~own].any():
                best = best_thresholds(score[~own], positive[~own], weights[:, ~own])
                reached[kind] = balanced_accuracy(score[own], positive[own], weights[:, own], best)
        return reached


def worst(figures: dict[str, Figure]) -> str:
    """The lowest of the figures of several kinds, and whose it is."""
    known = {kind: figure for kind, figure in figures.items() if np.isfinite(figure.value)}
    if not known:
        return "-"
    kind = min(known, key=lambda name: known[name].value)
    return f"{known[kind]} {kind}"
