"""The command `keras-saliency check`, which judges training runs for continuous integration."""

import argparse
import math
from pathlib import Path
from typing import Any

from keras_saliency.cli.arguments import as_log_dir, as_number


def add_to(commands: Any) -> None:
    """Add the command to those of `keras-saliency`."""
    parser = commands.add_parser(
        "check",
        help="say in one line whether a training run relies on a shortcut, for CI",
        description="Judge the last epoch of every training run in a log folder, each in one line. "
        "Without limits a training run passes if its verdict gives no alarm and waits for none to "
        "be confirmed. A verdict that can't say passes no limit.",
        epilog="Exit status: 0 all passed, 1 one failed, 2 one could not be judged, or wrong use.",
    )
    option = parser.add_argument
    words = "that of the callback, or one run in it; also in remote storage, as s3://bucket/logs"
    option("log_dir", metavar="LOGDIR", type=as_log_dir, help=words)
    of = (
        "of reliance (the largest gap), a nuisance (background, cast ...), focus, or the tag of a "
        "number in TensorBoard; may be repeated"
    )
    limits = {"type": as_limit, "action": "append", "default": [], "metavar": "NAME=VALUE"}
    option("--max", **limits, help=f"at most; {of}")
    option("--min", **limits, help=f"at least; {of}")
    option("--json", action="store_true", help="print JSON, with the verdicts, in place of lines")
    option("--junit", metavar="FILE", type=Path, help="also write a report in JUnit's XML")
    parser.set_defaults(run=_check)


def as_limit(text: str) -> tuple[str, float]:
    """Read a limit, such as reliance=0.2."""
    name, _, value = text.rpartition("=")
    number = as_number(value)
    if not name or math.isnan(number):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, as reliance=0.2. Received: {text}")
    return name, number


def _check(args: argparse.Namespace) -> int:
    """Judge each training run, and return the exit status of all."""
    from keras_saliency.recording.report import outcomes
    from keras_saliency.recording.tensorboard.event_reader import trainings

    found = trainings(args.log_dir, maps=False)
    judged = outcomes.check_all(found, dict(args.max), dict(args.min))
    if args.junit is not None:
        args.junit.write_bytes(outcomes.as_junit(judged, str(args.log_dir)))
    if args.json:
        print(outcomes.as_json(judged))
    elif len(judged) == 1 and judged[0].status == outcomes.NOT_JUDGED:
        raise ValueError(judged[0].reason)
    else:
        print("\n".join(map(str, judged)))
    return outcomes.exit_status(judged)
