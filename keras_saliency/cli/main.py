"""The command line, `keras-saliency`.

Each command imports Keras itself, so that `--help` and a mistyped option are instant.
"""

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from keras_saliency.cli import check, data, demo, explain, motion, report, tensorboard
from keras_saliency.version import __version__

_LACKING = ". Install it, or set KERAS_BACKEND to what is installed of tensorflow, jax and torch."
_EPILOG = "While a model trains, keras_saliency.SaliencyCallback shows the same in TensorBoard."


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
        remedy = _LACKING if isinstance(error, ImportError) else ""
        words = textwrap.shorten(str(error), 800, placeholder=" ...") or type(error).__name__
        sys.stderr.write(f"keras-saliency {args.command}: {words}{remedy}\n")
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="keras-saliency", description="See what a Keras image model looks at.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (data, demo, explain, motion, report, check, tensorboard):
        module.add_to(commands)
    return parser
