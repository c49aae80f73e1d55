"""What the verdict's rules of today, and others, make of the gaps that were measured.

Gaps and their errors are kept as they were measured. Alarms and causes follow from them by rules,
and rules may have changed since; so all tables judge what is kept anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from measured import Measured, read

from keras_saliency.shortcuts.experiment import DEFAULT
from keras_saliency.shortcuts.nuisances import NUISANCES
from keras_saliency.shortcuts.statistics import CLEARED, Alarm


@dataclass(frozen=True)
class Rule:
    """When there is an alarm, and what it names, by one gap of each nuisance.

    The verdict asks more where one of these is in doubt (both confident and random donors, and what
    is left of the largest with another kept), which is not in the results.

    Attributes:
        threshold: The gap from which on.
        most: The share of the largest gap that the cause has at least.
        counts: `{nuisance: share of its gap that counts}`, of those that count other than today,
            from the first threshold on.
    """

    threshold: float = 0.2
    most: float = 0.6
    counts: dict[str, float] = field(default_factory=dict)

    def shares(self) -> dict[str, float]:
        """What counts, and how much, from the narrowest nuisance to the broadest."""
        shares = {name: float(NUISANCES[name].alarms) for name in DEFAULT} | self.counts
        return {name: shares[name] for name in NUISANCES if shares.get(name)}


TODAY = Rule()
RULES = {
    "today": TODAY,
    "before": Rule(most=0.85, counts={"mark": 1 / 2, "scale": 0}),
    "threshold .15": Rule(threshold=0.15),
    "threshold .25": Rule(threshold=0.25),
    "mark counts in full": Rule(counts={"mark": 1}),
    "mark counts by 1/2": Rule(counts={"mark": 1 / 2}),
    "size does not count": Rule(counts={"scale": 0}),
    "cause from .85 on": Rule(most=0.85),
}


def judged(path: Path) -> tuple[Measured, Measured]:
    """Read results, and judge them by the rules of today.

    Args:
        path: Of the CSV.

    Returns:
        The training runs, and those with curated donors, measured besides in some of them.
    """
    measured, with_curated = read(path)
    return replayed(measured, TODAY), replayed(with_curated, TODAY)


def replayed(measured: Measured, rule: Rule) -> Measured:
    """The evaluations as they would have been judged by a rule.

    Args:
        measured: The training runs.
        rule: The rule.

    Returns:
        The same with another `reliance`, `alarm`, `since`, `cause` and `abstains`. A verdict that
        found enough to say something is not made to abstain.
    """
    names, whole, gaps, errors = _counted(measured, rule)
    known = np.isfinite(gaps).all(axis=-1)
    reliance = np.where(known, gaps.max(axis=-1), 0.0)
    alarm = np.zeros(reliance.shape)
    since, cause = np.full((2, *reliance.shape), "", "U20")
    for run, epoch in np.ndindex(reliance.shape):
        if epoch == 0:
            kept = Alarm(rule.threshold)
        if known[run, epoch]:
            pairs = list(zip(gaps[run, epoch], errors[run, epoch], strict=True))
            kept.update(pairs, f"epoch {epoch + 1}")
            if kept.is_on:
                alarm[run, epoch], since[run, epoch] = 1, kept.since
                cause[run, epoch] = names[_narrowest(whole[run, epoch], rule)]
    columns = {"reliance": reliance, "alarm": alarm, "since": since, "cause": cause}
    columns["abstains"] = measured.abstains & (reliance < CLEARED * rule.threshold)
    return replace(measured, columns=measured.columns | columns)


def _counted(
    measured: Measured, rule: Rule
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Gaps by their shares, these as they count, and their errors, `(n, EPOCHS, nuisances)`."""
    shares = {k: v for k, v in rule.shares().items() if f"gap_{k}" in measured.columns}
    whole, errors = (
        np.stack([share * measured[f"{what}_{name}"] for name, share in shares.items()], axis=-1)
        for what in ("gap", "error")
    )
    # As `Nuisance.counted` has it.
    least = np.array([1.0 if k in rule.counts else NUISANCES[k].thresholds for k in shares])
    by = np.where(whole > least * rule.threshold, 1.0, least)
    return list(shares), whole, whole / by, errors / by


def _narrowest(gaps: np.ndarray, rule: Rule) -> int:
    """The index of the narrowest nuisance that explains most of the largest gap."""
    return int((gaps >= rule.most * gaps.max()).argmax())
