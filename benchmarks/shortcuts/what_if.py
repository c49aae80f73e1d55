"""What other rules would have made of the same gaps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from measured import Measured

from keras_saliency.shortcuts import DEFAULT
from keras_saliency.twins import NUISANCES
from keras_saliency.verdict import Alarm


@dataclass(frozen=True)
class Rule:
    """When there is an alarm.

    Attributes:
        threshold: The gap from which on.
        counts: `{nuisance: share of its gap that counts}`, of those that count other than today.
    """

    threshold: float = 0.2
    counts: dict[str, float] = field(default_factory=dict)

    def shares(self) -> dict[str, float]:
        """What counts, and how much."""
        return {name: NUISANCES[name].counts for name in DEFAULT} | self.counts


RULES = {
    "today": Rule(),
    "threshold .15": Rule(0.15),
    "threshold .25": Rule(0.25),
    "mark counts by 1/3": Rule(counts={"mark": 1 / 3}),
    "mark counts in full": Rule(counts={"mark": 1.0}),
    "scale counts": Rule(counts={"scale": 1.0}),
}


def replayed(measured: Measured, rule: Rule) -> Measured:
    """The evaluations as they would have been judged by a rule.

    Args:
        measured: The trainings.
        rule: The rule.

    Returns:
        The same with another `reliance`, `alarm` and `since`; what is said in words, and where it
        abstains, is as it was.
    """
    shares = rule.shares()
    gaps, errors = (
        np.stack([share * measured[f"{what}_{name}"] for name, share in shares.items()], axis=-1)
        for what in ("gap", "error")
    )
    known = np.isfinite(gaps).all(axis=-1)
    reliance = np.where(known, gaps.max(axis=-1), 0.0)
    alarm = np.zeros(reliance.shape)
    since = np.full(reliance.shape, "", measured["since"].dtype)
    for run, epoch in np.ndindex(reliance.shape):
        if epoch == 0:
            kept = Alarm(rule.threshold)
        if known[run, epoch]:
            pairs = list(zip(gaps[run, epoch], errors[run, epoch], strict=True))
            kept.update(pairs, f"epoch {epoch + 1}")
            alarm[run, epoch] = kept.is_on
            since[run, epoch] = kept.since if kept.is_on else ""
    columns = measured.columns | {"reliance": reliance, "alarm": alarm, "since": since}
    return replace(measured, columns=columns)
