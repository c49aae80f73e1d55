"""Whether sixteen times as many probes need no more memory, each number in a process of its own.

python benchmarks/speed/peak.py MODEL PROBES
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Collection
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from timing import ratio

LOOKS = 3


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    found: dict[int, list[float]] = {16: [], 256: []}
    for _ in range(rounds):
        for probes, peaks in found.items():
            command = [sys.executable, __file__, model, str(probes)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            peaks.append(float(done.stdout.split()[-1]))
    return {"peak": ratio(found[256], found[16])}


def main(model: str, probes: str) -> None:
    from networks import PROBES, subject, watching

    with watching(subject(model, int(probes)), batch_size=PROBES) as watch:
        for _ in range(LOOKS):
            watch.evaluate()
            watch.finish_drawing()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main(*sys.argv[1:])
