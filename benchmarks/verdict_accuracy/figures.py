"""Figures with intervals: a bootstrap over training runs, and exact bounds of shares.

All figures take `weights` `(draws, m)`, how often each of `m` values is there in each draw, and
give `(draws,)`; the first draw is what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, log1p

import numpy as np

_DRAWS = 500
_BOUND = 0.05  # The chance that an exact bound is passed, on its side.


@dataclass(frozen=True)
class Figure:
    """A figure and the interval that holds 95 % of its draws."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: np.ndarray) -> Figure:
        """Take the first of `(draws,)` for the figure, and the others for its interval."""
        others = draws[1:][np.isfinite(draws[1:])]
        if not np.isfinite(draws[0]) or not len(others):
            return cls(float("nan"), float("nan"), float("nan"))
        low, high = np.percentile(others, [2.5, 97.5])
        return cls(float(draws[0]), float(low), float(high))

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "-"
        return f"{_brief(self.value)} [{_brief(self.low)}, {_brief(self.high)}]"


def _brief(number: float) -> str:
    """Three digits behind the point near 1, two elsewhere, no leading zero."""
    digits = 3 if 0.95 < abs(number) < 0.9995 else 2
    return f"{number:.{digits}f}".replace("0.", ".", 1)


def resampled(trainings: int, size: int | None = None, draws: int = _DRAWS) -> np.ndarray:
    """How often each training run is there in each draw.

    Args:
        trainings: How many there are.
        size: How many are drawn, with repetitions; by default as many.
        draws: How often.

    Returns:
        float64 `(1 + draws, trainings)`, of which the first are ones.
    """
    lots = np.random.default_rng(0).random((draws, trainings if size is None else size))
    drawn = [np.bincount(row, minlength=trainings) for row in (lots * trainings).astype(int)]
    return np.concatenate([np.ones((1, trainings)), drawn])


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of values `(m,)`."""
    return _ratio(weights @ values.astype(np.float64), weights.sum(axis=1))


def auroc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How often a positive has the higher score than a negative; ties count by half.

    Args:
        scores: `(m,)`.
        positive: bool `(m,)`.
        weights: `(draws, m)`.
    """
    lower = _midranks(scores, weights * ~positive)[:, positive]
    wins = (weights[:, positive] * lower).sum(axis=1)
    return _ratio(wins, weights[:, positive].sum(axis=1) * weights[:, ~positive].sum(axis=1))


def rank_correlation(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's, of `(m,)` and `(m,)`; ties share their mean rank."""
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1)
    centred = []
    for values in (first, second):
        ranks = _midranks(values, weights)
        centred.append(ranks - (weights * ranks).sum(axis=1, keepdims=True) / total)
    x, y = centred
    spread = (weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)
    return _ratio((weights * x * y).sum(axis=1), np.sqrt(spread))


def balanced_accuracy(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """The mean of the shares of positives above, and of negatives not above, `(draws,)` each."""
    above = scores > thresholds[:, None]
    found = [
        _ratio((weights * side * right).sum(axis=1), (weights * side).sum(axis=1))
        for side, right in ((positive, above), (~positive, ~above))
    ]
    return sum(found) / 2


def best_thresholds(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The thresholds of the best balanced accuracy, half-way between two scores."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    shares = []
    for side in (positive, ~positive):
        parts = (weights * side)[:, order]
        shares.append(np.cumsum(parts, axis=1) / np.maximum(parts.sum(axis=1, keepdims=True), 1))
    gain = shares[1] - shares[0]  # if all up to this one are not above
    gain[:, :-1][:, np.diff(ordered) == 0] = -np.inf  # Equals can't be told apart.
    best = gain[:, :-1].argmax(axis=1)
    return (ordered[best] + ordered[best + 1]) / 2


def upper_bound(found: int, asked: int) -> float:
    """The exact one-sided 95 % upper bound of a share (Clopper and Pearson 1934)."""
    if found >= asked:
        return 1.0
    low, high = found / asked, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if at_most(found, asked, middle) > _BOUND:
            low = middle
        else:
            high = middle
    return high


def at_most(found: int, asked: int, share: float) -> float:
    """The probability of so many or fewer among those asked, where each is with this share."""
    if share <= 0 or share >= 1:
        return float(share <= 0 or found >= asked)
    return sum(
        exp(
            lgamma(asked + 1)
            - lgamma(k + 1)
            - lgamma(asked - k + 1)
            + k * log(share)
            + (asked - k) * log1p(-share)
        )
        for k in range(found + 1)
    )


def _midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weight below each value and half of that at it, `(draws, m)`."""
    order = np.argsort(values, kind="stable")
    _, first, place = np.unique(values[order], return_index=True, return_inverse=True)
    sums = np.add.reduceat(weights[:, order], first, axis=1)
    middles = np.cumsum(sums, axis=1) - sums / 2
    ranks = np.empty(weights.shape)
    ranks[:, order] = middles[:, place]
    return ranks


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where there is no whole."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares of negatives and of positives above every threshold, from the highest on."""
    thresholds = np.unique(scores)[::-1]
    shares = [
        (len(side) - np.searchsorted(side, thresholds, side="left")) / len(side)
        for side in (np.sort(scores[~positive]), np.sort(scores[positive]))
    ]
    return np.r_[0.0, shares[0]], np.r_[0.0, shares[1]]
