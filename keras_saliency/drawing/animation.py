"""How the maps of a method changed while training, as an animated GIF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from keras_saliency.drawing.gifs import Animation, gif, with_one_palette
from keras_saliency.drawing.sheet import CARD_WIDTH, Sheet, paper
from keras_saliency.drawing.text import FAINT, INK

_FRAMES = 40
_BYTES = 2**20
_PAUSE_MS, _END_MS = 500, 2500
_MARGIN, _GAP = 5, 3
_HEADER, _NAME = 36, 13


def animation(
    names: Sequence[str],
    columns: Sequence[tuple[str, np.ndarray]],
    *,
    title: str,
    pauses: tuple[int, int] = (_PAUSE_MS, _END_MS),
) -> Animation:
    """Animate the columns of a film strip.

    Args:
        names: What each probe is.
        columns: For each moment its label and its pictures, uint8 `(n, height, width, 3)`.
        title: What is drawn, above everything.
        pauses: How long each frame is shown, and the last one, in milliseconds.

    Returns:
        A GIF that repeats for ever, 350 pixels wide, of at most 40 frames and, unless two frames
        alone are more, 1 MiB. Of more frames every other one is left out, as often as it takes; the
        last one stays.

    Example:
        ```python
        photos = np.zeros((4, 48, 64, 3), np.uint8)
        moved = animation(list("abcd"), [("epoch 1", photos), ("epoch 2", photos)], title="cam")
        ```
    """
    shown = list(columns)
    while len(shown) > _FRAMES:
        shown = _thinned(shown)
    frames = [
        _frame(names, label, cells, title, (i + 1) / len(shown))
        for i, (label, cells) in enumerate(shown)
    ]
    size = (frames[0].width, frames[0].height)
    small = with_one_palette(frames)
    while (
        len(found := gif(small, [*[pauses[0]] * (len(small) - 1), pauses[1]])) > _BYTES
        and len(small) > 2
    ):
        small = _thinned(small)
    return Animation(found, size)


def _thinned(items: list) -> list:
    """Leave out every other item, but not the last one."""
    return items[::-2][::-1]


def _frame(
    names: Sequence[str], label: str, cells: np.ndarray, title: str, done: float
) -> Image.Image:
    """Draw one moment: all probes, the label, and how much of the training run is done."""
    height, width = cells.shape[1:3]
    step = (width + _GAP, height + _NAME + _GAP)
    across = max(1, (CARD_WIDTH - 2 * _MARGIN + _GAP) // step[0])
    left = (CARD_WIDTH - min(across, len(cells)) * step[0] + _GAP) // 2
    full = _HEADER + -(-len(cells) // across) * step[1] + _MARGIN
    sheet = Sheet(paper(CARD_WIDTH, full), margin=_MARGIN)
    sheet.header(title, label, room=130)
    sheet.fill((sheet.left, 26, sheet.right - 1, 28), (222, 222, 222))
    length = round((sheet.right - 1 - sheet.left) * done)
    sheet.fill((sheet.left, 26, sheet.left + length, 28), INK)
    places = sheet.grid(cells, (left, _HEADER), step, across, width)
    for name, (middle, top) in zip(names, places, strict=True):
        sheet.write(name, (middle, top + height + _NAME / 2), width, 9, FAINT, "mm")
    return Image.fromarray(sheet.pixels)
