"""The commands that read a log folder: `keras-saliency check`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the commands to the others."""
    _add_check(commands)


def _add_check(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="say in one line whether a training relies on a shortcut, for CI",
        description="Judge the last epoch of the newest training in a log folder, in one line. "
        "Without limits it passes if the verdict gives no alarm. A verdict that can't say passes "
        "no limit.",
        epilog="Exit status: 0 passed, 1 failed, 2 nothing to judge or wrong use.",
    )
    option = parser.add_argument
    option("log_dir", metavar="LOGDIR", type=Path, help="that of the callback, or one run in it")
    for name, words in (("--max", "at most"), ("--min", "at least")):
        option(
            name,
            type=as_limit,
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"{words}; of reliance (the largest gap), a nuisance (background, cast ...), "
            "focus, or the tag of a number in TensorBoard; may be repeated",
        )
    parser.set_defaults(run=_check)


def as_limit(text: str) -> tuple[str, float]:
    """Read a limit, such as reliance=0.2."""
    name, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or math.isnan(number):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, as reliance=0.2. Received: {text}")
    return name, number


def _check(args: argparse.Namespace) -> int:
    """Print one line, and return the exit status."""
    from keras_saliency.report.check import check
    from keras_saliency.report.reading import newest

    training, _ = newest(args.log_dir, maps=False)
    answer = check(training, dict(args.max), dict(args.min))
    print(f"{'passed' if answer.passed else 'FAILED'}: {answer.reason} ({training.folder})")
    return 0 if answer.passed else 1
