"""The verdict on a model, and how it is worded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keras_saliency.common.types import Array
from keras_saliency.shortcuts.nuisances import Nuisance
from keras_saliency.shortcuts.statistics import Alarm, Gap, Interval

_NEARLY_ALL = 0.85  # of the largest gap: a cause that explains so much is named alone
_LEARNT = 0.1  # of the way from chance to certainty, below which no reliance can show yet


@dataclass(frozen=True)
class CounterfactualSheet:
    """A few receivers and their counterfactual images, to be shown.

    Attributes:
        images: uint8 `(receivers, 3, height, width, 3)`: the receiver, its counterfactual with a
            donor of its own class, and its counterfactual with a donor of another class.
        probabilities: float64 `(receivers, 3)` in [0, 1], of the receiver's class.
        labels: int64 `(receivers,)`, the receivers' classes.
    """

    images: Array
    probabilities: Array
    labels: Array


@dataclass(frozen=True)
class Verdict:
    """What the model relies on, among the nuisances that were tested at one evaluation.

    The gap of a nuisance is the probability of the correct class that is lost where the nuisance
    comes from a donor of another class rather than of the same class, averaged over receivers. A
    gap of 0 means no reliance, 1 that the model follows the nuisance alone. A verdict says *relies
    on*, not *wrongly relies on*.

    Attributes:
        text: The verdict in words; it begins with "can't say" where there is none.
        reliance: The largest gap among the nuisances that may raise an alarm, a difference of
            probabilities from -1 to 1; `nan` where there is no verdict.
        gaps: `{nuisance: (gap, standard error)}`, both as differences of probabilities: the gap
            from -1 to 1, the error from 0. The order is that of
            `Shortcuts.nuisances`; empty where there is no verdict. Donors are those that the model
            is surest of. Where a gap passes half of `threshold` it is measured again with donors
            drawn at random; that gap counts instead, where it is less than a fifth of the first or
            than 2.9 standard errors.
        alarm: Whether the model relies on a nuisance. The alarm is raised when the gap is above
            `threshold`, and above twice its standard error (more where several nuisances are
            tested), at two evaluations in succession. It ends when all gaps are below half of
            `threshold`.
        cause: The narrowest nuisance that has at least half of the largest gap, `reliance`, and
            explains half of it: so much is gone where it is kept in the counterfactual images of
            the nuisance with the largest gap. `None` without an alarm.
        since: The evaluation at which the gap was first above the threshold, such as `"epoch 2"`;
            `None` without an alarm.
        per_class: `{label: gap}` of the cause, or of the nuisance that would be the cause: its
            gap over the receivers of each class, from -1 to 1.
        masks_from: The source of the donors' masks: `"given"`, `"boxes"`, `"border colours"` or
            `"motion"` (both made by a program), or `None` without masks.
        sheets: `{nuisance: CounterfactualSheet}`: a few receivers with their counterfactual
            images, the same receivers at every evaluation.
        threshold: The gap above which an alarm may be raised, a difference of probabilities
            between 0 and 1; `nan` where there is no verdict.
        intervals: `{nuisance: (low, high)}`, where the reliance on a nuisance lies, of those whose
            gap passes half of `threshold`, from -1 to 1: the gaps with donors drawn at random and
            with those that the model is surest of, and two to three standard errors.
        grounds: `{label: share}` of the scenes without an object, `Shortcuts(grounds=)`, that the
            model takes for a class.

    Example:
        >>> verdict = Verdict("no evidence of cast", 0.02, {"cast": (0.02, 0.01)}, threshold=0.2)
        >>> gap, error = verdict.gaps["cast"]
        >>> verdict.alarm, gap > verdict.threshold
        (False, False)
    """

    text: str
    reliance: float = float("nan")
    gaps: dict[str, Gap] = field(default_factory=dict)
    alarm: bool = False
    cause: str | None = None
    since: str | None = None
    per_class: dict[int, float] = field(default_factory=dict)
    masks_from: str | None = None
    sheets: dict[str, CounterfactualSheet] = field(default_factory=dict)
    threshold: float = float("nan")
    intervals: dict[str, Interval] = field(default_factory=dict)
    grounds: dict[int, float] = field(default_factory=dict)


def describe(
    alarm: Alarm,
    cause: str,
    reliance: float,
    probability: float,
    chance: float,
    tested: Iterable[str],
) -> str:
    """Put into words what the model relies on.

    Args:
        alarm: The alarm after this evaluation.
        cause: What `describe_cause` returns.
        reliance: The largest gap.
        probability: Mean probability of the correct class.
        chance: The same of a model that has learnt nothing.
        tested: The nuisances that may raise an alarm.

    Returns:
        The first part of the verdict's text.
    """
    if alarm.is_on:
        return f"relies on {cause} since {alarm.since}"
    if alarm.since is not None:
        return f"may rely on {cause}; the next evaluation will tell"
    if reliance >= alarm.end:
        return f"weak signs of reliance on {cause}, too weak for an alarm"
    if probability < chance + _LEARNT * (1 - chance):
        return (
            "can't say yet: the model hardly tells the classes apart (probability of the "
            f"right one {probability:.2f}, by chance {chance:.2f})"
        )
    return f"no evidence of {', '.join(tested)}"


def describe_cause(
    cause: str,
    largest: str,
    gaps: Mapping[str, Gap],
    left: Gap,
    intervals: Mapping[str, Interval],
    nuisances: Mapping[str, Nuisance],
) -> str:
    """Name the cause and its gap, and what is left of the broader nuisance where it is kept."""
    words, (gap, _) = nuisances[cause].words, gaps[cause]
    if cause == largest:
        return f"{words} ({_amount(gaps[cause], intervals.get(cause))})"
    broader, (most, _) = nuisances[largest].words, gaps[largest]
    if gap >= _NEARLY_ALL * most:
        amount = _amount(gaps[cause], intervals.get(cause))
        return f"{words} ({amount}; {broader} without it {left[0]:.2f})"
    amount = _amount(gaps[largest], intervals.get(largest))
    return f"{broader} ({amount}), above all {words} ({gap:.2f}; {left[0]:.2f} without it)"


def _amount(gap: Gap, interval: Interval | None) -> str:
    """A gap with its error, and the interval where this says more."""
    amount = f"gap {gap[0]:.2f} ± {gap[1]:.2f}"
    low, high = (f"{end:.2f}" for end in interval or (gap[0], gap[0]))
    return amount if low == high else f"{amount}, between {low} and {high}"


def describe_grounds(grounds: Mapping[int, float], names: Sequence[str] | None) -> str | None:
    """Name the classes that scenes without an object are mostly taken for."""
    largest = sorted(grounds, key=lambda label: -grounds[label])[:2]
    listed = [f"{names[k] if names else k} ({grounds[k]:.2f})" for k in largest]
    return f"scenes without an object are taken for {', '.join(listed)}" if listed else None


def describe_meant(
    meant: Iterable[str], gaps: Mapping[str, Gap], nuisances: Mapping[str, Nuisance]
) -> str | None:
    """List the gaps of what the task rightly uses."""
    listed = [f"{nuisances[k].words} ({gaps[k][0]:.2f})" for k in meant if k in gaps]
    return f"meant: {', '.join(listed)}" if listed else None


def describe_untested(reasons: Mapping[str, str]) -> str:
    """List the nuisances that were not tested by the reason, `{nuisance: reason}`."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    listed = [f"{', '.join(names)} ({reason})" for reason, names in groups.items()]
    return f"not tested: {', '.join(listed)}"


def describe_classes(per_class: Mapping[int, float], names: Sequence[str] | None) -> str | None:
    """Name the two classes with the largest gaps, where there are more than two classes."""
    if len(per_class) <= 2:
        return None
    largest = sorted(per_class, key=lambda label: -per_class[label])[:2]
    listed = (f"{names[k] if names else k} ({per_class[k]:.2f})" for k in largest)
    return f"most in {', then '.join(listed)}"
