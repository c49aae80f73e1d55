"""How far answers follow donors, with its standard error, and the alarm over evaluations."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from keras_saliency.common.types import Array

CLEARED = 0.5  # of the threshold, below which an alarm ends
_CHANCE = 1 - NormalDist().cdf(2)  # of exceeding 2 standard errors by chance
# A gap is confirmed where that with random donors is so many standard errors, and this share of it.
ERRORS, _CONFIRMED_SHARE = 2.9, 0.2
# From the gap to the ends of the interval: standard errors, and what masks and other images change.
_AROUND, _FURTHER = 2, 0.07
_BETWEEN = 0.975  # the quantile of a two-sided interval of 95 %

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
    return gap > ERRORS * error and gap > _CONFIRMED_SHARE * confident[0]


def interval_of(gap: Gap, images: int | None = None) -> Interval:
    """Bound the reliance in unseen images by a gap that was measured in training images.

    Args:
        gap: The gap with donors drawn at random, and its standard error.
        images: The number of receivers, where these are few and donors too: the standard error is
            uncertain itself, and the .975 quantile of Student's t replaces the 2; each side has
            about half of the images, and one less are the degrees of freedom.

    Returns:
        The lower and the upper end, from -1 to 1: two standard errors, and 0.07 by which gaps
        differ from the reliance beyond these, where images, masks and swaps are others. Together
        they hold it in about nine of ten training runs on photographs.

    Example:
        >>> low, high = interval_of((0.5, 0.125))
        >>> round(low, 2), round(high, 2)
        (0.18, 0.82)
    """
    value, error = gap
    reach = (_AROUND if images is None else student_quantile(images // 2 - 1)) * error + _FURTHER
    return max(value - reach, -1.0), min(value + reach, 1.0)


def student_quantile(freedom: int) -> float:
    """Compute the .975 quantile of Student's t (Abramowitz and Stegun 1964, 26.7.5).

    Args:
        freedom: The degrees of freedom; from 10 on it errs by less than 0.001.

    Returns:
        How many standard errors there are from the estimate to the ends of an interval of 95 %.

    Example:
        >>> round(student_quantile(19), 2), round(student_quantile(10**6), 2)
        (2.09, 1.96)
    """
    z = NormalDist().inv_cdf(_BETWEEN)
    first, second = z**3 + z, 5 * z**5 + 16 * z**3 + 3 * z
    third = 3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z
    return z + first / (4 * freedom) + second / (96 * freedom**2) + third / (384 * freedom**3)


def carry_coefficient(
    answers: Array, differences: Array, donors: Array, receivers: Array | None = None
) -> Gap:
    """Compute how far the model's answers follow the donors' labels.

    With `f` the answer for the counterfactual of receiver `i` and donor `j`, and `y` their labels,

        cov(f(x_ij) - f(x_i), y_j - y_i) / var(y_j - y_i)

    over the pairs of each receiver: the slope of a regression with fixed effects of receivers, from
    which whatever swapping does to all counterfactuals of a receiver cancels. It is 1 where the
    answer moves by as much as the label, and 0 where it does not move. Where donors of the same
    class differ by 0 and as many of another class by -1, it is the probability that is lost with
    another class.

    The error accounts for donors that receivers share: it is clustered both ways (Cameron, Gelbach
    and Miller 2011), the limit of a bootstrap over receivers and donors, without its noise. Where
    receivers are donors too, all pairs that share an image are correlated, in either part (dyadic
    clustering, Aronow, Samii and Assenova 2015, "Cluster-Robust Variance Estimation for Dyadic
    Data"); of `n` images it is `n / (n - 2)` times as large.

    Args:
        answers: What is watched of the model for each pair, `(receivers, 2, draws)`.
        differences: The donors' labels less the receivers', of the same shape.
        donors: The donor of each pair, int of the same shape.
        receivers: The receivers, int `(receivers,)`, where they are donors too: the same number
            is the same image.

    Returns:
        The coefficient, and its standard error; `(0.0, 0.0)` if no labels differ.

    Example:
        >>> donors = np.array([[[0, 1], [2, 3]], [[1, 0], [3, 2]]])
        >>> differences = np.array([0.0, 1.0, 3.0, 4.0])[donors]
        >>> carry_coefficient(0.5 * differences + 7, differences, donors)
        (0.5, 0.0)
    """
    centred = (
        values - values.mean(axis=(1, 2), keepdims=True) for values in (answers, differences)
    )
    moved, steps = centred
    if not (total := float((steps**2).sum())):
        return 0.0, 0.0
    slope = float((moved * steps).sum()) / total
    # What each pair adds to the coefficient beyond its expectation.
    excess = steps * (moved - slope * steps) / total
    of_receivers = float((excess.sum((1, 2)) ** 2).sum())
    of_donors = float((np.bincount(donors.reshape(-1), excess.reshape(-1)) ** 2).sum())
    of_pairs = float((excess**2).sum())  # It is in both of the others.
    variance = max(of_receivers + of_donors - of_pairs, of_receivers, of_donors)
    if receivers is not None:
        variance = max(_dyadic_variance(excess, donors, receivers), of_receivers, of_donors)
    return slope, float(np.sqrt(variance))


def _dyadic_variance(excess: Array, donors: Array, receivers: Array) -> float:
    """Sum the products of what any two pairs add that share an image, receiver or donor."""
    own = np.broadcast_to(receivers[:, None, None], donors.shape).reshape(-1)
    theirs, values = donors.reshape(-1), excess.reshape(-1)
    count, draws = int(max(own.max(), theirs.max())) + 1, donors[0].size
    of_receivers = np.bincount(own, values, count)
    # A receiver's mean, which is subtracted, holds a part of each of its donors.
    values = values * draws / (draws - 1)
    of_images = of_receivers + np.bincount(theirs, values, count)
    both = np.minimum(own, theirs) * count + np.maximum(own, theirs)
    # Two pairs of the same two images share both, and were counted twice.
    of_both = np.bincount(np.unique(both, return_inverse=True)[1], values)
    images = len(np.union1d(own, theirs))
    return float((of_images**2).sum() - (of_both**2).sum()) * images / (images - 2)
