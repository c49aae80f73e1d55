"""What looking costs, against targets: a table, a file of figures, and a plot.

    python benchmarks/speed/run.py [--rows limit step ...] [--models "small CNN" ...] [--rounds N]
        [--out DIR] [--plot FILE]

Every figure is a ratio of times, or of memory, inside one run, in turns A B A B, and the median of
the rounds. Each file of rows runs in a process of its own for each model. What is measured takes
the place of what stood in DIR/results.json, and the table shows all that stands there, so that the
whole can be run in parts.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from kept import Kept, here
from table import print_table
from targets import MODELS, ROWS, SMALL, Row

HERE = Path(__file__).parent


def measured(group: str, model: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Measure the rows of one file on one model, in a process of its own."""
    command = [sys.executable, __file__, "--measure", group, model, str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def jobs(rows: list[Row], models: list[str]) -> list[tuple[str, str]]:
    """List the processes that are needed for these rows."""
    asked = [(row.group, model) for row in rows for model in row.models if model in models]
    return list(dict.fromkeys(asked))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    keys = [row.key for row in ROWS]
    parser.add_argument("--rows", nargs="+", choices=keys, default=keys, metavar="ROW")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="MODEL")
    parser.add_argument("--rounds", type=int, help="25 on the small CNN, 9 elsewhere")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        group, model, rounds = args.measure
        found = importlib.import_module(group).measure(model, int(rounds))
        print(json.dumps({key: one | {"where": here()} for key, one in found.items()}))
        return
    kept = Kept(args.out / "results.json")
    wanted = [row for row in ROWS if row.key in args.rows]
    for group, model in jobs(wanted, args.models):
        rounds = args.rounds or (25 if model == SMALL else 9)
        print(f"{group}, {model} ...", file=sys.stderr, flush=True)
        found = measured(group, model, rounds)
        kept.put(model, {key: one for key, one in found.items() if key in args.rows})
    print_table(kept)
    if args.plot:
        from plot import plot

        plot(kept, args.plot)


if __name__ == "__main__":
    main()
