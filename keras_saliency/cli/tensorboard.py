"""The command `keras-saliency tensorboard`: TensorBoard with every step of every image."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

_IMAGES = 1000  # steps of each, as many as TensorBoard keeps of numbers


def add_to(commands: Any) -> None:
    """Add the command to those of `keras-saliency`."""
    # No option is its own: even --help goes to TensorBoard.
    parser = commands.add_parser(
        "tensorboard",
        help="start TensorBoard with every step of every image, not ten of them",
        prefix_chars="\0",
        add_help=False,
    )
    parser.add_argument("flags", nargs=argparse.REMAINDER)
    parser.set_defaults(run=_tensorboard)


def _tensorboard(args: argparse.Namespace) -> None:
    """Become TensorBoard, as its own command does."""
    from tensorboard.main import run_main

    sys.argv = ["tensorboard", *with_all_images(args.flags)]
    run_main()


def with_all_images(flags: Sequence[str]) -> list[str]:
    """Have TensorBoard keep all images, unless its flags say how many."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--samples_per_plugin", default="")
    given, others = own.parse_known_args(flags)
    samples = given.samples_per_plugin
    if "images=" not in samples:
        samples = ",".join(filter(None, [samples, f"images={_IMAGES}"]))
    return [f"--samples_per_plugin={samples}", *others]
