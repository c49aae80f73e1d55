"""Where the alarm was wrong: the list, and what the wrong ones have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from measured import TRUTHS, Measured
from rules import TODAY
from scores import Scores

LARGE = 0.5
_TRAITS = ("kind", "control", "network", "classes", "warm", "masks")


def errors(measured: Measured) -> Iterator[str]:
    """Lines about false alarms and about evaluations with a large reliance and no alarm."""
    for truth, words in TRUTHS.items():
        scores = Scores(measured, truth)
        on = measured["alarm"] > 0
        yield from _listed(f"False alarms, {words}", measured, on & scores.clean[:, None])
        large = scores.size >= LARGE
        # An alarm takes two evaluations, so the first with a large reliance can't have one.
        lasting = large & np.pad(large, ((0, 0), (1, 0)))[:, :-1]
        yield from _listed(f"Missed, {words}", measured, lasting & ~on)


def _listed(title: str, measured: Measured, wrong: np.ndarray) -> Iterator[str]:
    runs = wrong.any(axis=1)
    yield f"\n{title}: {int(wrong.sum())} evaluations of {int(runs.sum())} trainings"
    part = measured.where(runs)
    for trait in _TRAITS:
        counts = Counter(part.run(trait).tolist())
        yield f"  {trait}: " + ", ".join(f"{name or '-'} {n}" for name, n in counts.most_common())
    yield f"  {'run':<46} epoch   R  prob.  known  gaps"
    for run, epoch in zip(*np.nonzero(wrong), strict=True):
        one = {name: column[run, epoch] for name, column in measured.columns.items()}
        gaps = {k: one[f"gap_{k}"] for k in TODAY.shares() if f"gap_{k}" in one}
        shown = " ".join(
            f"{name} {gaps[name]:.2f}" for name in sorted(gaps, key=lambda n: -gaps[n])
        )
        yield (
            f"  {one['run']:<46} {one['epoch']:.0f} {one['reliance_true']:6.2f} "
            f"{one['confidence_true']:6.2f} {one['accuracy']:6.2f}  {shown}"
            f"{'  ABSTAINS' if measured.abstains[run, epoch] else ''}"
        )
