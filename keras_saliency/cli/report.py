"""The commands `keras-saliency report`, `compare` and `rank`, which read log folders."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_saliency.cli.arguments import as_log_dir

if TYPE_CHECKING:
    from keras_saliency.recording.tensorboard.event_reader import Training

_FOLDER = "that of the callback, or one run in it; also in remote storage, as s3://bucket/logs"


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
    rank = commands.add_parser(
        "rank",
        help="list all training runs below a folder by what they rely on",
        description="List all training runs below a folder by their reliance at the last "
        "evaluation, the largest first, with its cause, since when, and the accuracy. Those whose "
        "verdict can't say come last.",
    )
    _add_options(rank, _rank, {"log_dir": "LOGDIR"})
    rank.add_argument("--format", choices=("text", "csv", "json"), default="text")


def _add_options(
    parser: argparse.ArgumentParser, run: Any, folders: Mapping[str, str], page: str | None = None
) -> None:
    """Add the log folders that a command reads, and the page that it writes."""
    for name, metavar in folders.items():
        parser.add_argument(name, metavar=metavar, type=as_log_dir, help=_FOLDER)
    if page is not None:
        words = "(%(default)s)"
        parser.add_argument("--out", metavar="FILE", type=as_page, default=Path(page), help=words)
    parser.set_defaults(run=run)


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


def _names_of(
    a: str | Path, first: Training, b: str | Path, second: Training
) -> dict[str, Training]:
    """Name two training runs by their folders, as short as distinguishes them."""
    for name in (lambda path: Path(path).resolve().name, str):
        if name(a) != name(b):
            return {name(a): first, name(b): second}
    return {f"{a}: {first.name}": first, f"{b}: {second.name} (second)": second}


def _write(out: Path, trainings: Mapping[str, Training], others: Sequence[Training] = ()) -> None:
    from keras_saliency.recording.report.page import page

    out.write_bytes(page(trainings, others=others))
    print(f"{out}: {' and '.join(trainings)}, {out.stat().st_size / 1e6:.1f} MB")


def _rank(args: argparse.Namespace) -> None:
    """List all training runs."""
    from keras_saliency.recording.report import rank
    from keras_saliency.recording.tensorboard.event_reader import trainings

    write = {"text": rank.as_text, "csv": rank.as_csv, "json": rank.as_json}[args.format]
    print(write(rank.rank(trainings(args.log_dir, maps=False))))
