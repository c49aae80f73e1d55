"""The commands that read log folders: `keras-saliency report`, `compare` and `check`."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_saliency.recording.tensorboard.event_reader import Training

_FOLDER = "that of the callback, or one run in it"


def add_to(commands: Any) -> None:
    """Add the commands to the others."""
    _add_report(commands)
    _add_compare(commands)
    _add_check(commands)


def _add_report(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="write a training as one page to hand over",
        description="Write the newest training in a log folder as one HTML file that needs nothing "
        "else: the verdict with its evidence, the maps at every step, curves and settings.",
    )
    option = parser.add_argument
    option("log_dir", metavar="LOGDIR", type=Path, help=_FOLDER)
    option("--out", metavar="FILE", type=as_page, default=Path("report.html"), help="(%(default)s)")
    parser.set_defaults(run=_report)


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="write two trainings side by side as one page",
        description="Write the newest trainings of two log folders side by side, such as before "
        "and after a cure, as one HTML file that needs nothing else.",
    )
    option = parser.add_argument
    option("first", metavar="LOGDIR_A", type=Path, help=_FOLDER)
    option("second", metavar="LOGDIR_B", type=Path, help="of the training to compare it with")
    option(
        "--out", metavar="FILE", type=as_page, default=Path("compare.html"), help="(%(default)s)"
    )
    parser.set_defaults(run=_compare)


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
    option("log_dir", metavar="LOGDIR", type=Path, help=_FOLDER)
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


def as_page(text: str) -> Path:
    """Read where a page is written."""
    path = Path(text)
    if path.suffix.lower() not in (".html", ".htm"):
        raise argparse.ArgumentTypeError(f"must end in .html. Received: {text}")
    if not path.parent.is_dir() or path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(
            f"can't be written there; create the folder. Received: {text}"
        )
    return path


def _report(args: argparse.Namespace) -> None:
    """Write the page of one training."""
    from keras_saliency.recording.tensorboard.event_reader import newest

    training, older = newest(args.log_dir)
    _write(args.out, {"/".join(training.folder.resolve().parts[-2:]): training})
    if older:
        print(
            f"The newest of {len(older) + 1} trainings; for another give its folder: "
            f"{', '.join(older)}"
        )


def _compare(args: argparse.Namespace) -> None:
    """Write the page of two trainings."""
    from keras_saliency.recording.tensorboard.event_reader import newest

    first, second = (newest(folder)[0] for folder in (args.first, args.second))
    if first.folder.samefile(second.folder):
        raise ValueError(f"{first.folder} is the newest training of both. Give two folders.")
    _write(args.out, _told_apart(args.first, first, args.second, second))


def _told_apart(a: Path, first: Training, b: Path, second: Training) -> dict[str, Training]:
    """Name two trainings by the folders that were given, as short as tells them apart."""
    for name in (lambda path: path.resolve().name, str):
        if name(a) != name(b):
            return {name(a): first, name(b): second}
    return {f"{a}: {first.name}": first, f"{b}: {second.name} (second)": second}


def _write(out: Path, trainings: Mapping[str, Training]) -> None:
    from keras_saliency.recording.report.page import page

    out.write_bytes(page(trainings))
    print(f"{out}: {' and '.join(trainings)}, {out.stat().st_size / 1e6:.1f} MB")


def _check(args: argparse.Namespace) -> int:
    """Print one line, and return the exit status."""
    from keras_saliency.recording.report.check import check
    from keras_saliency.recording.tensorboard.event_reader import newest

    training, _ = newest(args.log_dir, maps=False)
    answer = check(training, dict(args.max), dict(args.min))
    print(f"{'passed' if answer.passed else 'FAILED'}: {answer.reason} ({training.folder})")
    return 0 if answer.passed else 1
