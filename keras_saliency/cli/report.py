"""The commands `keras-saliency report`, `compare` and `check`, which read log folders."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_saliency.cli.arguments import as_number

if TYPE_CHECKING:
    from keras_saliency.recording.tensorboard.event_reader import Training

_FOLDER = "that of the callback, or one run in it"


def add_to(commands: Any) -> None:
    """Add the commands to those of `keras-saliency`."""
    report = commands.add_parser(
        "report",
        help="write a training run as one page to hand over",
        description="Write the newest training run in a log folder as one HTML file that needs "
        "nothing else: the verdict with its evidence, the maps at every step, curves and settings, "
        "and the verdicts of the other training runs in the folder.",
    )
    _add_options(report, _report, {"log_dir": "LOGDIR"}, "report.html")
    compare = commands.add_parser(
        "compare",
        help="write two training runs side by side as one page",
        description="Write the newest training runs of two log folders side by side, such as "
        "before and after mitigation, as one HTML file that needs nothing else.",
    )
    _add_options(compare, _compare, {"first": "LOGDIR_A", "second": "LOGDIR_B"}, "compare.html")
    check = commands.add_parser(
        "check",
        help="say in one line whether a training run relies on a shortcut, for CI",
        description="Judge the last epoch of every training run in a log folder, each in one line. "
        "Without limits a training run passes if its verdict gives no alarm and waits for none to "
        "be confirmed. A verdict that can't say passes no limit.",
        epilog="Exit status: 0 all passed, 1 one failed, 2 one could not be judged, or wrong use.",
    )
    _add_options(check, _check, {"log_dir": "LOGDIR"})
    options = {"type": as_limit, "action": "append", "default": [], "metavar": "NAME=VALUE"}
    of = (
        "of reliance (the largest gap), a nuisance (background, cast ...), focus, or the tag of a "
        "number in TensorBoard; may be repeated"
    )
    check.add_argument("--max", **options, help=f"at most; {of}")
    check.add_argument("--min", **options, help=f"at least; {of}")


def _add_options(
    parser: argparse.ArgumentParser, run: Any, folders: Mapping[str, str], page: str | None = None
) -> None:
    """Add the log folders that a command reads, and the page that it writes."""
    for name, metavar in folders.items():
        parser.add_argument(name, metavar=metavar, type=Path, help=_FOLDER)
    if page is not None:
        words = "(%(default)s)"
        parser.add_argument("--out", metavar="FILE", type=as_page, default=Path(page), help=words)
    parser.set_defaults(run=run)


def as_limit(text: str) -> tuple[str, float]:
    """Read a limit, such as reliance=0.2."""
    name, _, value = text.rpartition("=")
    number = as_number(value)
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
    """Write the page of one training run, which lists the others of its folder."""
    from keras_saliency.recording.tensorboard.event_reader import trainings

    *others, newest = trainings(args.log_dir)
    _write(args.out, {"/".join(newest.folder.resolve().parts[-2:]): newest}, others)
    if others:
        print(
            f"The newest of {len(others) + 1} training runs, with the verdicts of all; for the "
            f"maps of another give its folder: {', '.join(other.name for other in others)}"
        )


def _compare(args: argparse.Namespace) -> None:
    """Write the page of two training runs."""
    from keras_saliency.recording.tensorboard.event_reader import newest

    (first, older), (second, also_older) = (newest(folder) for folder in (args.first, args.second))
    if first.folder.samefile(second.folder):
        raise ValueError(f"{first.folder} is the newest training run of both. Give two folders.")
    _write(args.out, _names_of(args.first, first, args.second, second))
    for training, others in ((first, older), (second, also_older)):
        if others:
            print(f"{training.folder} is the newest; beside it there are {', '.join(others)}")


def _names_of(a: Path, first: Training, b: Path, second: Training) -> dict[str, Training]:
    """Name two training runs by their folders, as short as distinguishes them."""
    for name in (lambda path: path.resolve().name, str):
        if name(a) != name(b):
            return {name(a): first, name(b): second}
    return {f"{a}: {first.name}": first, f"{b}: {second.name} (second)": second}


def _write(out: Path, trainings: Mapping[str, Training], others: Sequence[Training] = ()) -> None:
    from keras_saliency.recording.report.page import page

    out.write_bytes(page(trainings, others=others))
    print(f"{out}: {' and '.join(trainings)}, {out.stat().st_size / 1e6:.1f} MB")


def _check(args: argparse.Namespace) -> int:
    """Judge each training run in one line, and return the exit status of all."""
    from keras_saliency.recording.report.check import check
    from keras_saliency.recording.tensorboard.event_reader import trainings

    found, statuses = trainings(args.log_dir, maps=False), set()
    for training in found:
        try:
            passed, reason = check(training, dict(args.max), dict(args.min))
        except ValueError as error:
            if len(found) == 1:
                raise
            print(f"not judged: {error}")
            statuses.add(2)
        else:
            print(f"{'passed' if passed else 'FAILED'}: {reason} ({training.folder})")
            statuses.add(0 if passed else 1)
    return 1 if 1 in statuses else max(statuses)
