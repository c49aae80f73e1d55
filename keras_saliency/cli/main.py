"""The command line, `keras-saliency`.

Keras is imported by the commands themselves, so that `--help` and a mistyped option are instant.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from keras_saliency.cli import explain, motion, report
from keras_saliency.cli.arguments import as_count, as_seed, as_share
from keras_saliency.version import __version__

_LACKING = ". Install it, or set KERAS_BACKEND to what is installed of tensorflow, jax and torch."
_EPILOG = "While a model trains, keras_saliency.SaliencyCallback shows the same in TensorBoard."
_PICTURES = 1000  # steps of each, as many as TensorBoard keeps of numbers


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments, without the program's name; those of the process if None.

    Returns:
        The exit status: 0, 1 where `check` fails, or 2 after one line on the standard error that
        says what is wrong.

    Raises:
        SystemExit: With the same status, where the arguments can't be parsed or ask for help.

    Example:
        >>> main(["explain", "missing.keras", "photo.jpg"])
        2
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    args = _parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except (ImportError, OSError, TypeError, ValueError) as error:
        mend = _LACKING if isinstance(error, ImportError) else ""
        sys.stderr.write(f"keras-saliency {args.command}: {_one_line(error)}{mend}\n")
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="keras-saliency", description="See what a Keras image model looks at.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_demo(commands)
    explain.add_to(commands)
    motion.add_to(commands)
    report.add_to(commands)
    _add_tensorboard(commands)
    return parser


def _add_demo(commands: Any) -> None:
    text = "train small networks on drawn elephants and penguins, and compare their verdicts"
    parser = commands.add_parser("demo", help=text, description=text.capitalize() + ".")
    option = parser.add_argument
    option("--log-dir", default="logs", metavar="DIR", help="where TensorBoard looks (%(default)s)")
    option(
        "--correlation",
        type=as_share,
        nargs="+",
        default=(0.95, 0.5),
        metavar="SHARE",
        help="of pictures whose ground, grass or snow, goes with the animal: a training each "
        "(0.95 0.5)",
    )
    option("--images", type=as_count, default=2000, metavar="N", help="to train on (%(default)s)")
    option("--epochs", type=as_count, default=5, metavar="N", help="(%(default)s)")
    option("--seed", type=as_seed, default=0, metavar="N", help="decides everything (%(default)s)")
    parser.set_defaults(run=_demo)


def _add_tensorboard(commands: Any) -> None:
    # No option is its own: even --help goes to TensorBoard.
    parser = commands.add_parser(
        "tensorboard",
        help="start TensorBoard with every step of every picture, not ten of them",
        prefix_chars="\0",
        add_help=False,
    )
    parser.add_argument("flags", nargs=argparse.REMAINDER)
    parser.set_defaults(run=_tensorboard)


def _demo(args: argparse.Namespace) -> None:
    """Train the demo's networks and put their verdicts beside each other."""
    from keras_saliency.cli.demo import comparison, train_on_drawn

    trainings = []
    for correlation in args.correlation:
        print(f"Drawing {args.images} elephants and penguins, correlation {correlation:g} ...")
        sys.stdout.flush()
        options = {"images": args.images, "epochs": args.epochs, "seed": args.seed}
        trainings.append(train_on_drawn(correlation, args.log_dir, **options))
    print(comparison(trainings, args.log_dir))


def _tensorboard(args: argparse.Namespace) -> None:
    """Become TensorBoard, as its own command does."""
    from tensorboard.main import run_main

    sys.argv = ["tensorboard", *_showing_all(args.flags)]
    run_main()


def _showing_all(flags: Sequence[str]) -> list[str]:
    """Ask for all pictures, unless TensorBoard's flags say themselves how many."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--samples_per_plugin", default="")
    given, others = own.parse_known_args(flags)
    samples = given.samples_per_plugin
    if "images=" not in samples:
        samples = ",".join(filter(None, [samples, f"images={_PICTURES}"]))
    return [f"--samples_per_plugin={samples}", *others]


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 800 else text[:800].rsplit(" ", 1)[0] + " ..."
