"""What measuring with a few receivers first makes of the gaps that were measured with all.

    python benchmarks/verdict_accuracy/screened.py [--times 20]

In the kept results all gaps are of 64 receivers. Here each first has a small trial, drawn around it
with the standard error of 16 receivers and one donor a side, and its gap is what the small trial
gives where the rule finds it clear. Judged by the rules of today, with the kept gaps and with
these.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
from figures import auroc
from measured import BY_PROBABILITY, Measured, read
from rules import TODAY, replayed
from run import RESULTS
from scores import SHORTCUT

from keras_saliency.shortcuts.screening import is_clear
from keras_saliency.shortcuts.statistics import Alarm

FEWER = np.sqrt(256 / 32)  # pairs of a full trial, and of a small one
NEVER = 99


@dataclass(frozen=True)
class Outcome:
    """What comes out, by probability: of evaluations and of training runs."""

    auroc: float
    false: int  # alarms in clean training runs
    found: int  # training runs of R >= .5 with an alarm
    above: float  # the share of evaluations of R >= .5 that are over the threshold
    first: np.ndarray  # (n,), the epoch of the first alarm, or NEVER


def outcome(judged: Measured) -> Outcome:
    """Judge all training runs."""
    truth, reliance = judged.truth(BY_PROBABILITY), judged["reliance"]
    alarm = judged["alarm"] > 0
    large, clean = (truth >= 0.5).any(axis=1), (truth <= 0.1).all(axis=1)
    every = np.ones((1, truth.size))
    return Outcome(
        auroc=float(auroc(reliance.ravel(), truth.ravel() > SHORTCUT, every)[0]),
        false=int(alarm[clean].any(axis=1).sum()),
        found=int(alarm[large].any(axis=1).sum()),
        above=float((reliance > TODAY.threshold)[truth >= 0.5].mean()),
        first=np.where(alarm.any(axis=1), alarm.argmax(axis=1), NEVER),
    )


def screened(measured: Measured, rng: np.random.Generator) -> tuple[Measured, float]:
    """Put gaps of small trials where these are clear, and tell the share of such gaps."""
    alarm, columns, clear = Alarm(TODAY.threshold), dict(measured.columns), []
    for name in [key[4:] for key in columns if key.startswith("gap_")]:
        gaps, errors = columns[f"gap_{name}"].copy(), columns[f"error_{name}"].copy()
        fewer = errors * FEWER
        small = gaps + rng.normal(size=gaps.shape) * fewer
        for run, epoch in np.ndindex(gaps.shape):
            was_in_doubt = epoch > 0 and measured[f"gap_{name}"][run, epoch - 1] >= alarm.end
            pair = float(small[run, epoch]), float(fewer[run, epoch])
            clear.append(not was_in_doubt and is_clear(pair, alarm))
            if clear[-1]:
                gaps[run, epoch], errors[run, epoch] = pair
        columns |= {f"gap_{name}": gaps, f"error_{name}": errors}
    return replace(measured, columns=columns), float(np.mean(clear))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    measured, _ = read(RESULTS / "results.csv")
    rng = np.random.default_rng(0)
    before = outcome(replayed(measured, TODAY))
    print(f"all receivers: {before.auroc:.4f}, {before.false}, {before.found}, {before.above:.4f}")
    for _ in range(times):
        fewer, share = screened(measured, rng)
        after = outcome(replayed(fewer, TODAY))
        large = (measured.truth(BY_PROBABILITY) >= 0.5).any(axis=1)
        later = int((after.first > before.first)[large].sum())
        print(
            f"a few first: {after.auroc:.4f}, {after.false}, {after.found}, {after.above:.4f}; "
            f"{share:.0%} of the gaps; {later} alarms later"
        )


if __name__ == "__main__":
    main()
