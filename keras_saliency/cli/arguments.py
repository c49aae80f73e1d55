"""What the options of the command line may be."""

from __future__ import annotations

import argparse


def as_target(text: str) -> str | int:
    """Read what is explained: two words, or the index of a class."""
    if text in ("predicted", "contrast"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be predicted, contrast or a class index. Received: {text}"
        ) from None


def as_share(text: str) -> float:
    """Read a share, from 0 to 1."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1. Received: {text}")
    return share


def as_count(text: str) -> int:
    """Read how many, from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1. Received: {text}")
    return int(text)


def as_seed(text: str) -> int:
    """Read a seed from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0. Received: {text}")
    return int(text)
