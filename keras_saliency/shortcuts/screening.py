"""Screening: a small trial of each nuisance, which tells where a full one would find nothing.

Most evaluations find nothing, and a few receivers are enough to see that. What a small trial can't
rule out is measured in full, with receivers and donors drawn anew, so that having been noticed by
chance does not enlarge a gap.
"""

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.shortcuts.statistics import Alarm, Gap
from keras_saliency.shortcuts.tasks.task import Task

RECEIVERS = 16
DRAWS = 1  # donors on each side of a receiver
_DONORS, _OF_GROUP = 60, 8  # donors together, and at least of each class
_WITH_PATCHES = 16  # of the donors, where their salient patches must be located
_ERRORS = 2


def is_clear(gap: Gap, alarm: Alarm) -> bool:
    """Tell whether a small trial rules out a gap that a full one would have to find.

    Args:
        gap: The gap of the small trial, and its standard error.
        alarm: The alarm.

    Returns:
        Whether the gap is below the end of an alarm, and two standard errors more are below its
        threshold.

    Example:
        >>> alarm = Alarm(0.2)
        >>> is_clear((0.05, 0.05), alarm), is_clear((0.05, 0.1), alarm), is_clear((0.12, 0), alarm)
        (True, False, False)
    """
    value, error = gap
    return value < alarm.end and value + _ERRORS * error < alarm.threshold


def some_receivers(task: Task, labels: Array, shown: Array, rng: np.random.Generator) -> Array:
    """Draw receivers, as many of each label as can be: those that are shown, and others.

    Args:
        task: What is compared.
        labels: The receivers' labels, `(n,)`.
        shown: Those whose counterfactuals are shown, int `(k,)`.
        rng: The source of randomness.

    Returns:
        int `(RECEIVERS,)`, or all of fewer.
    """
    lots = rng.random(len(labels))
    lots[shown] -= 1
    return np.sort(_first(task, labels, lots, RECEIVERS))


def some_donors(task: Task, labels: Array, rng: np.random.Generator) -> Array:
    """Draw donors, as many of each class as can be.

    Args:
        task: What is compared.
        labels: The donors' labels, `(m,)`.
        rng: The source of randomness.

    Returns:
        int `(k,)`, all of few.
    """
    count = max(_DONORS, _OF_GROUP * len(task.subsets(labels)))
    return np.sort(_first(task, labels, rng.random(len(labels)), count))


def few_donors(task: Task, labels: Array, rng: np.random.Generator) -> Array:
    """Draw a few of the donors whose salient patches are located.

    Args:
        task: What is compared.
        labels: Their labels, `(m,)`.
        rng: The source of randomness.

    Returns:
        int `(k,)`, as many of each class as can be.
    """
    return np.sort(_first(task, labels, rng.random(len(labels)), _WITH_PATCHES))


def _first(task: Task, labels: Array, lots: Array, count: int) -> Array:
    """The examples with the lowest lots, as many of each label as can be."""
    ranks = np.empty(len(labels), int)
    for members in list(task.subsets(labels).values()) or [np.ones(len(labels), bool)]:
        ranks[members] = lots[members].argsort().argsort()
    return np.lexsort((lots, ranks))[:count]
