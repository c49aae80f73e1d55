"""Training runs with a planted shortcut and without, each epoch judged against its own truth.

    python benchmarks/verdict_accuracy/run.py [--count N | --short] [--workers 2] [--out DIR]
        [--factors | --clean]

Each training run adds its rows to DIR/results.csv when it is finished; those that are there are not
done again, so it can be stopped at any time. Every prefix of the order is a balanced sample, and
--count takes the first N training runs. Layers and backbones that all of them share are made once
and kept in the system's folder for temporary files.

--factors does other training runs, whose truth is asked of all factors, into DIR/factors.csv: the
planted nuisance, what rightly tells the classes apart, grounds, places, sizes and light. Some of
their nuisances are none of the verdict's (`unlisted.py`). Set aside before any of them was trained,
and for no rule, threshold or wording, are ball, vignette, contrast and stripes.

--clean does 300 training runs of two classes with nothing planted, on two other networks, into
DIR/clean.csv, for the false alarms alone.

--short does a few training runs anew, and fails if they are worse than those with kept results.
"""

from __future__ import annotations

import os

# Read when the libraries are loaded: each worker has one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import argparse
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

from grid import Run, clean_runs, factor_runs, runs
from measured import read
from pool import Pool, load_pool
from results import Results
from rules import judged
from short import COUNT, worse

RESULTS = Path(__file__).parent / "results"
_PLANS = {
    "factors": (factor_runs, "ask about all factors"),
    "clean": (clean_runs, "plant nothing, and count the alarms"),
}


@cache
def _pool() -> Pool:
    return load_pool()


def work(run: Run) -> list[dict[str, Any]]:
    """Do one training run in this process, whose networks are kept for the next."""
    import cv2
    from training import train

    cv2.setNumThreads(1)
    with warnings.catch_warnings():  # They are about masks, and the verdict's text repeats them.
        warnings.simplefilter("ignore", UserWarning)
        return train(run, _pool())


def finished(wanted: list[Run], workers: int) -> Iterator[tuple[Run, list[dict[str, Any]]]]:
    """Do the runs, and give the rows of each as soon as it is finished."""
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    try:
        futures = {executor.submit(work, run): run for run in wanted}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    finally:  # What is not begun is left to the next call.
        executor.shutdown(cancel_futures=True)


def do(wanted: list[Run], results: Results, workers: int) -> None:
    """Do the training runs that are wanted and not there yet."""
    left = [run for run in wanted if run.name not in results.done]
    print(f"{len(results.done)} trainings are there, {len(left)} are to do", flush=True)
    if left:
        _pool()  # Drawn once, before several processes ask for it.
    began = time.perf_counter()
    for number, (run, rows) in enumerate(finished(left, workers), 1):
        results.add(rows)
        more = (time.perf_counter() - began) / number * (len(left) - number)
        print(
            f"{number}/{len(left)} {run.name}: R {rows[-1]['reliance_true']:.2f}, measured "
            f"{rows[-1]['reliance']:.2f} ({rows[-1]['seconds']} s; {more / 60:.0f} min to go)",
            flush=True,
        )


def fell_behind(path: Path) -> bool:
    """Compare results with those that are kept, which are judged by the gaps alone."""
    (fresh, _), (kept, _) = read(path), judged(RESULTS / path.name)
    found = list(worse(fresh, kept))
    print(f"worse than what is kept: {', '.join(found)}" if found else "as good as what is kept")
    return bool(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--count", type=int, help="how many of all trainings")
    plan = parser.add_mutually_exclusive_group()
    for name, (_, words) in _PLANS.items():
        plan.add_argument(f"--{name}", dest="plan", action="store_const", const=name, help=words)
    extent.add_argument("--short", action="store_true", help=f"{COUNT} anew, compared with others")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one core each")
    parser.add_argument("--out", type=Path, help="the folder of results.csv")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        folder = args.out or (Path(passing) if args.short else RESULTS)
        path = folder / f"{args.plan or 'results'}.csv"
        wanted = _PLANS[args.plan][0]() if args.plan else runs()
        do(wanted[: COUNT if args.short else args.count], Results(path), args.workers)
        return int(args.short and fell_behind(path))


if __name__ == "__main__":
    sys.exit(main())
