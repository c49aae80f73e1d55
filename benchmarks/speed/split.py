"""Where the time goes for which the training thread is held, in shares of one compiled pass.

python benchmarks/speed/split.py [MODEL] [ROUNDS]
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from limit import limit
from networks import subject, watching
from targets import SMALL
from timing import interleaved, ratio


def main(model: str = SMALL, rounds: str = "101") -> None:
    given = subject(model)
    with watching(given) as watch:
        explainer = watch.explainer
        rows = slice(0, len(given.images))

        def one_pass() -> None:
            explainer._start(rows, len(given.images)).fetch()

        actions = {
            "the least: one compiled pass written by hand": limit(given),
            "our pass, with both maps made and copied": one_pass,
            "and leaving no trace in the model": explainer.evaluate,
            "and words, bookkeeping, handing over": watch.evaluate,
        }
        times = interleaved(actions, int(rounds), watch.finish_drawing)
    least = next(iter(times.values()))
    for words, taken in times.items():
        found = ratio(taken, least)
        print(f"| {words} | {found['value']:.2f} | {1000 * np.median(taken):.1f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
