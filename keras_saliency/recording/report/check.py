"""Does a training keep within limits: an answer for a continuous integration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from keras_saliency.recording.tensorboard.event_reader import Judgement, Training

_RELIANCE = "reliance"


@dataclass(frozen=True)
class Answer:
    """Whether all limits are kept, and one line of reason."""

    passed: bool
    reason: str


def check(
    training: Training,
    most: Mapping[str, float] | None = None,
    least: Mapping[str, float] | None = None,
) -> Answer:
    """Judge the last look at a training.

    Without limits the newest verdict must give no alarm. A verdict that abstains passes no limit
    of the verdict, as nothing is known then.

    Args:
        training: The training.
        most: What may be reached at most, by name: `"reliance"` (the largest gap), a nuisance such
            as `"background"`, the tag of a number such as `"focus/grad-cam"`, or the group of such
            tags, `"focus"`, all of which must keep to it.
        least: Likewise, what must be reached.

    Returns:
        The answer.

    Raises:
        ValueError: If nothing of that name was written, or no verdict where one is asked for.

    Example:
        ```python
        training, _ = newest("logs")
        check(training, {"reliance": 0.2}).passed
        ```
    """
    if not most and not least:
        return _without_limits(_verdict_of(training))
    answers = [
        _keeps(found, limit, is_most)
        for limits, is_most in ((most, True), (least, False))
        for name, limit in (limits or {}).items()
        for found in _values(training, name)
    ]
    broken = [answer.reason for answer in answers if not answer.passed]
    return Answer(not broken, "; ".join(broken or [answer.reason for answer in answers]))


@dataclass(frozen=True)
class _Value:
    name: str
    value: float
    when: str
    why: str = ""  # it is not known


def _keeps(found: _Value, limit: float, is_most: bool) -> Answer:
    if math.isnan(found.value):
        return Answer(False, f"{found.name} is not known at {found.when}{found.why}")
    passed = found.value <= limit if is_most else found.value >= limit
    sign = ("<=" if passed else ">") if is_most else (">=" if passed else "<")
    return Answer(passed, f"{found.name} {found.value:.3g} {sign} {limit:g} at {found.when}")


def _without_limits(last: Judgement) -> Answer:
    return Answer(not last.alarm and not last.abstains, f"at {last.when} {last.text}")


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
    return [_last_scalar(training, tag) for tag in sorted(tags)]


def _last_scalar(training: Training, tag: str) -> _Value:
    steps = training.scalars[tag]
    last = max(steps)
    return _Value(tag, steps[last], _moment(training, last))


def _moment(training: Training, step: int) -> str:
    """Say when a step was; the maps, which say it as well, need not be read for that."""
    return {one.step: one.when for one in training.verdicts}.get(step, f"step {step}")


def _groups(training: Training) -> list[str]:
    """What may be asked for: numbers, and groups of them that are about all probes."""
    tags = sorted(tag for tag in training.scalars if not tag.startswith("shortcut/"))
    of_all = [tag for tag in tags if tag.split("/")[0] in ("focus", "similarity", "probes")]
    return of_all or tags
