"""What looking costs, against targets: a table, a file of figures, and a plot.

    python benchmarks/speed/run.py [--rows limit step ...] [--models "small CNN" ...] [--rounds N]
        [--out DIR] [--docs DIR]

Every figure is a ratio of times, or of memory, inside one run, in turns A B A B, and the median of
the rounds. Each file of rows runs in a process of its own for each model. What is measured takes
the place of what stood in DIR/results.json, and the table shows all that stands there, so that the
whole can be run in parts. --docs writes it between its marks into DIR/speed.md, and the plot beside
it; --rows without any measures nothing.
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

from kept import Kept, gpus, here
from table import filled, table
from targets import MODELS, ROWS, SMALL, Row

HERE = Path(__file__).parent
PEERS = str(HERE.parents[1] / ".venv-peers" / "bin" / "python")


def measured(rows: list[Row], model: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Measure rows of one file on one model, in a process of its own."""
    python = PEERS if rows[0].with_peers else sys.executable
    keys = [row.key for row in rows]
    network, _, backend = model.partition(", ")
    environment = os.environ | ({"KERAS_BACKEND": backend} if backend else {})
    command = [python, __file__, "--measure", rows[0].group, network, str(rounds), *keys]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def jobs(rows: list[Row], models: list[str]) -> list[tuple[list[Row], str]]:
    """List the processes that are needed: rows of one file, and a model."""
    files = dict.fromkeys((row.group, row.on_gpu) for row in rows)
    of_file = [[row for row in rows if (row.group, row.on_gpu) == file] for file in files]
    return [
        (few, model)
        for few in of_file
        for model in few[0].models
        if model.partition(", ")[0] in models
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    keys = [row.key for row in ROWS]
    parser.add_argument("--rows", nargs="*", choices=keys, default=keys, metavar="ROW")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="MODEL")
    parser.add_argument("--rounds", type=int, help="25 on the small CNN, 9 elsewhere")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--docs", type=Path, help="write there, such as into docs/")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        group, model, rounds, *keys = args.measure
        found = importlib.import_module(group).measure(model, int(rounds), keys)
        print(json.dumps({key: one | {"where": here()} for key, one in found.items()}))
        return
    kept = Kept(args.out / "results.json")
    wanted = [row for row in ROWS if row.key in args.rows]
    if any(row.on_gpu for row in wanted) and not gpus():
        print("Skipped, since there is no GPU: what is measured on one.", file=sys.stderr)
        wanted = [row for row in wanted if not row.on_gpu]
    for rows, model in jobs(wanted, args.models):
        print(f"{', '.join(row.key for row in rows)}: {model}", file=sys.stderr, flush=True)
        rounds = args.rounds or (25 if model.startswith(SMALL) else 9)
        kept.put(model, measured(rows, model, rounds))
    print(table(kept))
    if args.docs:
        from plot import plot

        page = args.docs / "speed.md"
        page.write_text(filled(page.read_text(), table(kept)))
        plot(kept, args.docs / "speed.png")


if __name__ == "__main__":
    main()
