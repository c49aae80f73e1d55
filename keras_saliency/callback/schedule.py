"""When the callback looks, and how much that will be."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_KEPT = 10  # steps of a tag of pictures, by TensorBoard
_BESIDES = 2  # the set before training, and that of the weights that are kept


def read_every(every: int | str) -> tuple[int, bool]:
    """Return how often to look, and whether that counts batches."""
    match = re.fullmatch(r"\s*(\d+)\s+batch(?:es)?\s*", every) if isinstance(every, str) else None
    count = int(match[1]) if match else every
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(
            "every must be a number of epochs from 1, or of batches as in '200 batches'. "
            f"Received: every={every!r}"
        )
    return int(count), match is not None


def in_words(every: int, counts_batches: bool) -> str:
    """Say how often that is: "epoch", "200 batches"."""
    one, many = ("batch", "batches") if counts_batches else ("epoch", "epochs")
    return one if every == 1 else f"{every} {many}"


def hint(params: Mapping[str, Any], every: int, counts_batches: bool, folder: Path) -> str | None:
    """Say how to see all sets in TensorBoard, where it would keep a few of them.

    Args:
        params: The callback's, with "epochs" and "steps".
        every: How often it looks.
        counts_batches: Whether that counts batches.
        folder: Where TensorBoard looks for runs.

    Returns:
        One line, or None where ten looks or fewer are planned.
    """
    epochs: int = params.get("epochs") or 0
    steps: int = params.get("steps") or 0  # of a dataset without a length nobody knows
    looks = (epochs * steps if counts_batches else epochs) // every
    if looks <= _KEPT:
        return None
    place = shlex.quote(str(folder))
    return (
        f"TensorBoard keeps {_KEPT} steps of each picture; keras-saliency tensorboard --logdir "
        f"{place} shows all, as does tensorboard --logdir {place} "
        f"--samples_per_plugin images={looks + _BESIDES}"
    )
