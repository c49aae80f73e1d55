"""Whether a few training runs did worse than those whose results are kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from figures import at_most, auroc, resampled
from measured import TRUTHS, Measured
from scores import SHORTCUT, Scores

COUNT = 24
_LUCK = 0.025  # What is as rare as this, or rarer, is no luck.


def worse(fresh: Measured, kept: Measured) -> Iterator[str]:
    """Say what fell behind by more than as few training runs differ by luck.

    Args:
        fresh: A few training runs.
        kept: Many.

    Yields:
        A line for each figure that did.
    """
    for truth, words in TRUTHS.items():
        now, before = Scores(fresh, truth), Scores(kept, truth)
        reached, least = now.auroc().value, _least_auroc(kept, truth, len(fresh))
        print(f"{words}: AUROC {reached:.3f}, of as many kept at least {least:.3f}")
        if reached < least:
            yield f"AUROC {words}"
        false, known = now.alarms(now.clean), before.alarms(before.clean)
        chance = 1 - at_most(false.found - 1, false.asked, known.bound)
        print(f"{words}: alarms in {false} clean trainings, kept {known}, by luck {chance:.3f}")
        if chance < _LUCK:
            yield f"false alarms {words}"


def _least_auroc(kept: Measured, truth: str, count: int) -> float:
    """What all but the worst samples of so many training runs reach."""
    weights = np.repeat(resampled(len(kept), size=count)[1:], kept["epoch"].shape[1], axis=1)
    positive = kept.truth(truth).ravel() > SHORTCUT
    draws = auroc(kept["reliance"].ravel(), positive, weights)
    return float(np.nanquantile(draws, _LUCK))
