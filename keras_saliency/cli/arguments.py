"""Types and groups of options that commands share."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from keras_saliency.recording.remote import is_address


def as_target(text: str) -> str | int:
    """Read a target: "predicted", "contrast" or the index of a class."""
    if text in ("predicted", "contrast"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be predicted, contrast or a class index. Received: {text}"
        ) from None


def as_log_dir(text: str) -> str | Path:
    """Read where a callback writes: a folder, or an address in remote storage."""
    return text if is_address(text) else Path(text)


def as_number(text: str) -> float:
    """Read a number; anything else is NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def as_share(text: str) -> float:
    """Read a share, from 0 to 1."""
    share = as_number(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1. Received: {text}")
    return share


def whole_number(least: int) -> Callable[[str], int]:
    """Return what reads a whole number from `least`."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least}. Received: {text}"
            )
        return int(text)

    return read


def add_colours(parser: argparse.ArgumentParser) -> None:
    """Add the options of how a map is coloured and laid over an image."""
    option = parser.add_argument
    option("--cmap", metavar="NAME", help="a matplotlib colour map")
    words = "of the map; by default it follows the magnitude"
    option("--opacity", type=as_share, metavar="0..1", help=words)
