"""The gap of a nuisance with its standard error, and the alarm over evaluations."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from keras_saliency.common.types import Array

CLEARED = 0.5  # of the threshold, below which an alarm ends
_CHANCE = 1 - NormalDist().cdf(2)  # of exceeding 2 standard errors by chance
# A gap is confirmed where that with random donors is so many standard errors, and this share of it.
_CONFIRMED_ERRORS, _CONFIRMED_SHARE = 2.9, 0.2
_BELOW, _ABOVE = 3, 2  # standard errors, from the gaps to the ends of the interval

Gap = tuple[float, float]  # and its standard error
Interval = tuple[float, float]


class Alarm:
    """An alarm, raised after two evaluations in succession above its threshold.

    Args:
        threshold: The gap above which it is raised.
        since: Where a training run is resumed, as it was.
        is_on: Likewise.

    Attributes:
        end: The gap below which it ends.
        is_on: Whether it is raised.
        since: The evaluation at which a gap was first above the threshold, also before the alarm
            is raised; or `None`.
    """

    def __init__(self, threshold: float, since: str | None = None, *, is_on: bool = False) -> None:
        self.threshold, self.end = threshold, CLEARED * threshold
        self.is_on, self.since = is_on, since

    def update(self, gaps: Sequence[Gap], when: str) -> None:
        """Take the gaps of one evaluation into account.

        Args:
            gaps: `(gap, standard error)` of each nuisance.
            when: The evaluation in words.
        """
        # The largest of several gaps exceeds 2 standard errors by chance more often than one does.
        errors = NormalDist().inv_cdf(1 - _CHANCE / len(gaps))
        above = any(gap > self.threshold and gap > errors * error for gap, error in gaps)
        below = max(gap for gap, _ in gaps) < self.end
        if self.is_on and not below:
            return
        self.is_on = above and self.since is not None and not self.is_on
        if not above:
            self.since = None
        elif self.since is None:
            self.since = when


def is_confirmed(confident: Gap, random: Gap) -> bool:
    """Tell whether the gap with random donors bears out that with confident ones.

    The donors that a young network is surest of differ between classes for that reason alone.

    Args:
        confident: The gap with the donors that the model is surest of, and its standard error.
        random: The same with donors drawn from all.

    Returns:
        Whether there is a gap without the model's own choice of donors.

    Example:
        >>> is_confirmed((0.4, 0.02), (0.2, 0.03)), is_confirmed((0.4, 0.02), (0.03, 0.03))
        (True, False)
    """
    gap, error = random
    return gap > _CONFIRMED_ERRORS * error and gap > _CONFIRMED_SHARE * confident[0]


def interval_of(*gaps: Gap) -> Interval:
    """Bound the reliance by several gaps of the same nuisance, and their standard errors.

    Gaps err upwards more often than downwards: three errors below, and two above, hold the true
    reliance in nine of ten evaluations on photographs.

    Args:
        *gaps: Gaps with their standard errors.

    Returns:
        The lower and the upper end, from -1 to 1.

    Example:
        >>> interval_of((0.5, 0.125), (0.25, 0.0625))
        (0.0625, 0.75)
    """
    low = min(gap - _BELOW * error for gap, error in gaps)
    high = max(gap + _ABOVE * error for gap, error in gaps)
    return max(low, -1.0), min(high, 1.0)


def donor_gap(same: Array, other: Array, donors: Array) -> Gap:
    """Compute the probability that receivers lose with donors of another class.

    The error accounts for donors that receivers share: it is clustered both ways (Cameron, Gelbach
    and Miller 2011), the limit of a bootstrap over receivers and donors, without its noise.

    Args:
        same: Probabilities of the receivers' class with donors of that class,
            `(receivers, draws)`.
        other: The same with donors of other classes.
        donors: The donor of each of these, int `(receivers, 2, draws)`.

    Returns:
        The gap, from -1 to 1, and its standard error.

    Example:
        >>> gap, error = donor_gap(np.ones((9, 2)), np.zeros((9, 2)), np.zeros((9, 2, 2), int))
        >>> gap, error
        (1.0, 0.0)
    """
    pairs = np.stack([same, other], axis=1)
    gap = float(same.mean() - other.mean())
    sign = np.array([[1.0], [-1.0]])
    # What each pair adds to the gap beyond its expectation.
    excess = (sign * (pairs - pairs.mean((1, 2), keepdims=True)) - gap / 2) / same.size
    of_receivers = float((excess.sum((1, 2)) ** 2).sum())
    of_donors = float((np.bincount(donors.reshape(-1), excess.reshape(-1)) ** 2).sum())
    of_pairs = float((excess**2).sum())  # It is in both of the others.
    variance = max(of_receivers + of_donors - of_pairs, of_receivers, of_donors)
    return gap, float(np.sqrt(variance))
