"""The verdict on a model, and how it is worded."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from keras_saliency.common.arrays import json_number
from keras_saliency.common.types import Array
from keras_saliency.drawing.notebook import table_html
from keras_saliency.shortcuts.components import COMPONENT, OFF, ComponentGap
from keras_saliency.shortcuts.example_pool import MADE_MASKS
from keras_saliency.shortcuts.nuisances import Nuisance
from keras_saliency.shortcuts.statistics import Alarm, Gap, Interval

# What a verdict consists of beside images, examples and components, by form.
_PLAIN = ("text", "reliance", "alarm", "cause", "since", "masks_from", "threshold", "receivers")
_PAIRS, _BY_LABEL = ("gaps", "intervals"), ("per_class", "grounds")
_NEARLY_ALL = 0.85  # of the largest gap: a cause that explains so much is named alone
_SHORT = 72  # letters of the text in a verdict's `repr`


@dataclass(frozen=True)
class CounterfactualSheet:
    """A few receivers and their counterfactual images, to be shown.

    Attributes:
        images: uint8 `(receivers, 3, height, width, 3)`: the receiver, its counterfactual with a
            donor of its own class, and its counterfactual with a donor of another class; of a
            regression with a donor of a low label, and of a high one.
        watched: float64 `(receivers, 3)`: the probability of the receiver's class, in [0, 1]; of a
            regression the predictions.
        labels: `(receivers,)`, the receivers' classes, or the numbers to predict.
        captions: `watched` in words, three texts for each receiver.
        columns: What the first image is, and what the donors of the others are, in words.
        note: How the captions are read.
    """

    images: Array
    watched: Array
    labels: Array
    captions: list[list[str]]
    columns: tuple[str, str, str]
    note: str


@dataclass(frozen=True)
class Example:
    """A training image, and how sure the model is of its label.

    Attributes:
        name: Its name, or `image_` and its index in the data.
        label: Its label.
        probability: Of the label, from 0 to 1.
        image: uint8 `(height, width, 3)`.
    """

    name: str
    label: int
    probability: float
    image: Array = field(repr=False, compare=False)


@dataclass(frozen=True)
class Verdict:
    """What the model relies on, among the nuisances that were tested at one evaluation.

    The gap of a nuisance is the probability of the correct class that is lost where the nuisance
    comes from a donor of another class rather than of the same class, averaged over receivers. A
    gap of 0 means no reliance, 1 that the model follows the nuisance alone. Of a regression it is
    the carry coefficient, the share of the difference of two labels by which the prediction moves
    with the nuisance. A verdict says *relies on*, not *wrongly relies on*.

    Attributes:
        text: The verdict in words; it begins with "can't say" where there is none.
        reliance: The largest gap among the nuisances that may raise an alarm, a difference of
            probabilities from -1 to 1; `nan` where there is no verdict.
        gaps: `{nuisance: (gap, standard error)}`, both as differences of probabilities: the gap
            from -1 to 1, the error from 0. The order is that of
            `Shortcuts.nuisances`; empty where there is no verdict. Donors are those that the model
            is surest of, which show a nuisance early; where their gap passes half of `threshold`,
            it is measured again with donors drawn at random, and that gap is given.
        alarm: Whether the model relies on a nuisance. The alarm is raised when the gap with the
            donors that the model is surest of is above `threshold`, and above twice its standard
            error (more where several nuisances are tested), at two evaluations in succession; and
            the gap with random donors bears it out: it is above 2.9 standard errors and a fifth
            of the first. The alarm ends when all gaps are below half of `threshold`.
        cause: The narrowest nuisance that has at least half of the largest gap, `reliance`, and
            explains half of it: so much is gone where it is kept in the counterfactual images of
            the nuisance with the largest gap. `"component"` where the alarm is that of components
            alone; `None` without an alarm.
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
        intervals: `{nuisance: (low, high)}`, where the reliance in unseen images lies, from -1 to
            1, on each nuisance that was measured with random donors: two standard errors around
            the gap, and 0.07, by which other images and masks change it.
        grounds: `{label: share}` of the scenes without an object, `Shortcuts(grounds=)`, that the
            model takes for a class.
        components: What feeds the logits off objects and on them, as it was tested last: a
            `ComponentGap` each; empty where that was not tested. What passes off objects raises an
            alarm at once, with the cause `"component"` where no nuisance has one; with masks made
            by a program it is only said.
        examples: With an alarm, `{"teaching": [Example, ...], "contradicting": [...]}`: the donors
            that the model is surest of, which teach the shortcut, and those whose label gets the
            least probability, less than 0.5, which contradict it; of each class the first four.
            Empty without an alarm, and of a regression.
        receivers: `{nuisance: number}`: from how many receivers each gap is. A gap is measured with
            16 of them at first. Where it is below half of `threshold`, and two standard errors more
            are below `threshold`, it is given; else it is measured anew, with all receivers.

    Example:
        >>> verdict = Verdict("no evidence of cast", 0.02, {"cast": (0.02, 0.01)}, threshold=0.2)
        >>> gap, error = verdict.gaps["cast"]
        >>> verdict.alarm, gap > verdict.threshold
        (False, False)
        >>> verdict
        Verdict('no evidence of cast', alarm=False, reliance=0.02)
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
    components: tuple[ComponentGap, ...] = ()
    examples: dict[str, list[Example]] = field(default_factory=dict)
    receivers: dict[str, int] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Convert all but images, examples and components to what JSON holds.

        Returns:
            The arguments of a `Verdict`, as `from_plain` takes them.

        Example:
            >>> verdict = Verdict("no evidence of cast", 0.02, {"cast": (0.02, 0.01)})
            >>> Verdict.from_plain(verdict.plain()).gaps
            {'cast': (0.02, 0.01)}
        """
        return {name: getattr(self, name) for name in (*_PLAIN, *_PAIRS, *_BY_LABEL)}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> "Verdict":
        """Make a verdict of what `plain` returned, whether JSON has been between or not.

        Args:
            data: The arguments.

        Returns:
            The verdict, without images, examples and components.

        Example:
            >>> Verdict.from_plain({"text": "x", "per_class": {"1": 0.2}}).per_class
            {1: 0.2}
        """
        pairs = {
            name: {key: tuple(pair) for key, pair in data[name].items()}
            for name in _PAIRS
            if name in data
        }
        by_label = {
            name: {int(label): number for label, number in data[name].items()}
            for name in _BY_LABEL
            if name in data
        }
        return cls(**{**data, **pairs, **by_label})

    def to_dict(self, class_names: Sequence[str] | None = None) -> dict[str, Any]:
        """Convert all but the images to what JSON holds: text, numbers, lists and dictionaries.

        Args:
            class_names: The classes in the order of the labels, which they replace.

        Returns:
            The attributes by name, without `sheets`. Numbers have six digits, `None` is what is not
            known, and classes are text: their names, or else their labels.

        Example:
            >>> verdict = Verdict("relies on the cast", 0.9, {"cast": (0.9, 0.01)}, alarm=True)
            >>> verdict.to_dict()["gaps"], verdict.to_dict()["threshold"]
            ({'cast': [0.9, 0.01]}, None)
        """

        def by_class(values: Mapping[int, float]) -> dict[str, float | None]:
            names = {label: class_names[label] if class_names else label for label in values}
            return {str(names[label]): json_number(value) for label, value in values.items()}

        return {
            "text": self.text,
            "reliance": json_number(self.reliance),
            "gaps": {name: [*map(json_number, gap)] for name, gap in self.gaps.items()},
            "alarm": bool(self.alarm),
            "cause": self.cause,
            "since": self.since,
            "per_class": by_class(self.per_class),
            "masks_from": self.masks_from,
            "threshold": json_number(self.threshold),
            "intervals": {name: [*map(json_number, ends)] for name, ends in self.intervals.items()},
            "grounds": by_class(self.grounds),
            "components": {found.place: found.to_dict(class_names) for found in self.components},
            "examples": {
                kind: [[e.name, json_number(e.probability)] for e in examples]
                for kind, examples in self.examples.items()
            },
            "receivers": dict(self.receivers),
        }

    def __repr__(self) -> str:
        text = textwrap.shorten(self.text, _SHORT, placeholder=" ...")
        return f"Verdict({text!r}, alarm={self.alarm}, reliance={self.reliance:.2f})"

    def _repr_html_(self) -> str:
        """Show a notebook the words, and a table of the gaps."""
        rows = [(name, _amount(gap, self.intervals.get(name))) for name, gap in self.gaps.items()]
        heading = "Alarm: the model" if self.alarm else "The model:"
        return table_html(f"{heading} {self.text}.", ("nuisance", "gap"), rows)


def describe(
    alarm: Alarm,
    cause: str,
    reliance: float,
    too_early: str | None,
    tested: Iterable[str],
) -> str:
    """Put into words what the model relies on.

    Args:
        alarm: The alarm after this evaluation.
        cause: What `describe_cause` returns.
        reliance: The largest gap.
        too_early: The reason why the model has learnt too little for a verdict, or `None`.
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
    if too_early is not None:
        return f"can't say yet: {too_early}"
    return f"no evidence of {', '.join(tested)}"


def describe_cause(
    cause: str,
    largest: str,
    gaps: Mapping[str, Gap],
    left: Gap,
    intervals: Mapping[str, Interval],
    nuisances: Mapping[str, Nuisance],
    measure: str,
) -> str:
    """Name the cause and its gap, and what is left of the broader nuisance where it is kept."""
    words, (gap, _) = nuisances[cause].words, gaps[cause]
    if cause == largest:
        return f"{words} ({measure} {_amount(gaps[cause], intervals.get(cause))})"
    broader, (most, _) = nuisances[largest].words, gaps[largest]
    if gap >= _NEARLY_ALL * most:
        amount = f"{measure} {_amount(gaps[cause], intervals.get(cause))}"
        return f"{words} ({amount}; {broader} without it {left[0]:.2f})"
    amount = f"{measure} {_amount(gaps[largest], intervals.get(largest))}"
    return f"{broader} ({amount}), above all {words} ({gap:.2f}; {left[0]:.2f} without it)"


def _amount(gap: Gap, interval: Interval | None = None) -> str:
    """A gap with its error, and the interval where this says more."""
    amount = f"{gap[0]:.2f} ± {gap[1]:.2f}"
    low, high = (f"{end:.2f}" for end in interval or (gap[0], gap[0]))
    return amount if low == high else f"{amount}, between {low} and {high}"


def describe_others(
    others: Iterable[str], gaps: Mapping[str, Gap], nuisances: Mapping[str, Nuisance], measure: str
) -> str | None:
    """List what is narrower than the cause, does not explain it, and has a large gap as well."""
    listed = [f"{nuisances[name].words} ({measure} {_amount(gaps[name])})" for name in others]
    return f"also on {', '.join(listed)}" if listed else None


def describe_grounds(grounds: Mapping[int, float], names: Sequence[str] | None) -> str | None:
    """Name the classes that scenes without an object are mostly taken for."""
    largest = sorted(grounds, key=lambda label: -grounds[label])[:2]
    listed = [f"{names[k] if names else k} ({grounds[k]:.2f})" for k in largest]
    return f"scenes without an object are taken for {', '.join(listed)}" if listed else None


def with_components(
    verdict: Verdict, components: tuple[ComponentGap, ...], names: Sequence[str] | None
) -> Verdict:
    """Add what was found of components to a verdict.

    Args:
        verdict: The verdict on the nuisances.
        components: The gaps off objects and on them.
        names: The classes in the order of the outputs.

    Returns:
        The verdict with the components, and with an alarm where the model relies on something off
        the object. Masks that a program made may leave a part of the object there: with these it
        is said and shown, without an alarm.
    """
    verdict = replace(verdict, components=components)
    passing = next((c for c in components if c.passes and c.place == OFF), None)
    if passing is None or verdict.cause == "background":  # which says as much
        return verdict
    first = passing.components[0]
    name = names[first.label] if names else first.label
    is_made = verdict.masks_from in MADE_MASKS
    words = (
        f"{'signs of reliance' if is_made else 'relies'} on something off the object (gap "
        f"{_amount(passing.gap)} at {passing.when}; {first.share:.0%} of what speaks for {name}), "
        "shown in its sheet"
    )
    if verdict.alarm or is_made:
        return replace(verdict, text=f"{verdict.text}; {words}")
    return replace(
        verdict,
        text=f"{words}; of what was swapped: {verdict.text}",
        reliance=max(verdict.reliance, passing.gap[0]),
        alarm=True,
        cause=COMPONENT,
        since=passing.when,
        per_class={component.label: component.gap for component in passing.components},
    )


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
