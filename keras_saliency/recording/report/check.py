"""Check of a training run against limits, for continuous integration."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from keras_saliency.recording.tensorboard.event_reader import Judgement, Training
from keras_saliency.recording.tensorboard.plugin_schema import VERDICT_GROUP

_RELIANCE = "reliance"


class Answer(NamedTuple):
    """Whether all limits are kept, and the reason in one line."""

    passed: bool
    reason: str


def check(
    training: Training,
    most: Mapping[str, float] | None = None,
    least: Mapping[str, float] | None = None,
) -> Answer:
    """Check the last evaluation of a training run.

    Without limits the newest verdict must give no alarm, nor wait for a second evaluation to
    confirm one. A verdict that abstains passes no limit of the verdict, as nothing is known then.

    Args:
        training: The training run.
        most: Upper limits by name: `"reliance"` (the largest gap), a nuisance such as
            `"background"`, the tag of a scalar such as `"focus/grad-cam"`, or a group of tags,
            such as `"focus"`, each of which must keep the limit.
        least: Lower limits, likewise.

    Returns:
        Whether all limits are kept, and why.

    Raises:
        ValueError: If nothing of that name was written, or there is no verdict to check.

    Example:
        ```python
        training, _ = newest("logs")
        check(training, {"reliance": 0.2}).passed
        ```
    """
    if not most and not least:
        last = _verdict_of(training)
        passed = not (last.alarm or last.awaits or last.abstains)
        return Answer(passed, f"at {last.when} {last.text}")
    answers = [
        _keeps(value, limit, is_most)
        for limits, is_most in ((most, True), (least, False))
        for name, limit in (limits or {}).items()
        for value in _values(training, name)
    ]
    broken = [answer.reason for answer in answers if not answer.passed]
    return Answer(not broken, "; ".join(broken or [answer.reason for answer in answers]))


class _Value(NamedTuple):
    name: str
    value: float
    when: str
    why: str = ""  # it is not known


def _keeps(last: _Value, limit: float, is_most: bool) -> Answer:
    if math.isnan(last.value):
        return Answer(False, f"{last.name} is not known at {last.when}{last.why}")
    passed = last.value <= limit if is_most else last.value >= limit
    sign = ("<=" if passed else ">") if is_most else (">=" if passed else "<")
    return Answer(passed, f"{last.name} {last.value:.3g} {sign} {limit:g} at {last.when}")


def _verdict_of(training: Training) -> Judgement:
    if not training.verdicts:
        raise ValueError(
            f"{training.name} holds no verdict. Pass shortcuts= to SaliencyCallback, or ask for "
            "other numbers, such as --min focus=1.2."
        )
    return training.verdicts[-1]


def _values(training: Training, name: str) -> list[_Value]:
    """The last values of a name."""
    nuisances = {nuisance for verdict in training.verdicts for nuisance in verdict.gaps}
    if name == _RELIANCE or name in nuisances:
        last = _verdict_of(training)
        gap = last.reliance if name == _RELIANCE else last.gaps.get(name, (None,))[0]
        known = math.nan if gap is None or last.abstains else gap
        return [_Value(name, known, last.when, f" ({last.text})")]
    tags = [tag for tag in training.scalars if tag == name or tag.startswith(f"{name}/")]
    if not tags:
        raise ValueError(
            f"{training.name} holds nothing called {name!r}. There are: "
            f"{', '.join([_RELIANCE, *sorted(nuisances), *_groups(training)])}."
        )
    # The maps name their moments as well, but need not be read for that.
    moments = {verdict.step: verdict.when for verdict in training.verdicts}
    lasts = {tag: max(training.scalars[tag].items()) for tag in sorted(tags)}
    return [_Value(tag, v, moments.get(at, f"step {at}")) for tag, (at, v) in lasts.items()]


def _groups(training: Training) -> list[str]:
    """The tags that have limits: of all probes together, or else all."""
    of_verdict = VERDICT_GROUP, "shortcut/"  # as earlier versions called it
    tags = sorted(tag for tag in training.scalars if not tag.startswith(of_verdict))
    of_all = [tag for tag in tags if tag.split("/")[0] in ("focus", "similarity", "probes")]
    return of_all or tags
