"""Animated GIFs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

_SAMPLED = 6  # frames, and the last one, of which the colours of all are taken


class Animation(NamedTuple):
    """The bytes of a GIF, and its `(width, height)` in pixels."""

    gif: bytes
    size: tuple[int, int]


def with_one_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Bring frames of one size to the same 256 colours: what does not change does not flicker."""
    few = [*frames[:: max(1, len(frames) // _SAMPLED)], frames[-1]]
    together = np.concatenate([np.asarray(frame) for frame in few])
    palette = Image.fromarray(together).quantize(256, Image.Quantize.MEDIANCUT)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def gif(frames: Sequence[Image.Image], pauses: Sequence[int]) -> bytes:
    """Encode frames as a GIF that repeats for ever.

    Args:
        frames: Pictures of one size and palette.
        pauses: How long each is shown, in milliseconds.

    Returns:
        The bytes of the file.
    """
    found = io.BytesIO()
    first, *others = frames
    first.save(found, "GIF", save_all=True, append_images=others, duration=list(pauses), loop=0)
    return found.getvalue()
