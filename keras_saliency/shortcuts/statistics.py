"""The gap of a nuisance, its standard error, and the alarm over evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from keras_saliency.common.types import Array

_CLEARED = 0.5  # of the threshold: below it an alarm ends
_CHANCE = 1 - NormalDist().cdf(2)  # of passing 2 standard errors by luck


class Alarm:
    """An alarm that goes on after two evaluations running, and off well below its threshold."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.is_on = False
        self.since: str | None = None  # When the gap was first above, also before it is certain.

    def update(self, gaps: Sequence[tuple[float, float]], when: str) -> None:
        """Take the gaps of one evaluation into account.

        Args:
            gaps: `(gap, standard error)` of each nuisance.
            when: The evaluation in words.
        """
        # The largest of several gaps passes 2 standard errors by luck more often than one does.
        errors = NormalDist().inv_cdf(1 - _CHANCE / len(gaps))
        above = any(gap > self.threshold and gap > errors * error for gap, error in gaps)
        below = max(gap for gap, _ in gaps) < _CLEARED * self.threshold
        if self.is_on and not below:
            return
        self.is_on = above and self.since is not None and not self.is_on
        if not above:
            self.since = None
        elif self.since is None:
            self.since = when


def donor_gap(same: Array, other: Array, donors: Array) -> tuple[float, float]:
    """Measure how much better receivers do with donors of their own class than of another.

    The error counts that receivers share donors: clustered both ways (Cameron, Gelbach and Miller
    2011), which is what a bootstrap over receivers and donors tends to, without its noise.

    Args:
        same: Probabilities `(receivers, draws)` of the receivers' class with donors of that class.
        other: Likewise, with donors of other classes.
        donors: int `(receivers, 2, draws)`: which donor each of the two was drawn with.

    Returns:
        The gap, from -1 to 1, and its standard error.

    Example:
        >>> gap, error = donor_gap(np.ones((9, 2)), np.zeros((9, 2)), np.zeros((9, 2, 2), int))
        >>> gap, error
        (1.0, 0.0)
    """
    found = np.stack([same, other], axis=1)
    gap = float(same.mean() - other.mean())
    sign = np.array([[1.0], [-1.0]])
    # What each pair adds to the gap beyond its expectation.
    excess = sign * (found - found.mean((1, 2), keepdims=True)) - gap / 2
    excess /= same.size
    of_receivers = float((excess.sum((1, 2)) ** 2).sum())
    of_donors = float((np.bincount(donors.reshape(-1), excess.reshape(-1)) ** 2).sum())
    of_pairs = float((excess**2).sum())  # It is in both of the others.
    variance = max(of_receivers + of_donors - of_pairs, of_receivers, of_donors)
    return gap, float(np.sqrt(variance))
