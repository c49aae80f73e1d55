"""How the maps of a method changed while training, as an animated GIF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from keras_saliency.drawing import text
from keras_saliency.drawing.cards import CARD_WIDTH
from keras_saliency.drawing.gifs import Animation, gif, with_one_palette
from keras_saliency.drawing.text import FAINT, INK, PAPER

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
    """Draw one moment: all probes, the label, and how far the training has come."""
    height, width = cells.shape[1:3]
    across = max(1, (CARD_WIDTH - 2 * _MARGIN + _GAP) // (width + _GAP))
    rows = -(-len(cells) // across)
    left = (CARD_WIDTH - min(across, len(cells)) * (width + _GAP) + _GAP) // 2
    step = height + _NAME + _GAP
    image = Image.new("RGB", (CARD_WIDTH, _HEADER + rows * step + _MARGIN), PAPER)
    draw = ImageDraw.Draw(image)
    end = CARD_WIDTH - _MARGIN
    used = text.line(draw, label, (end, 13), 130, text.font(11), FAINT, "rm")
    room = end - _MARGIN - used - 8
    text.line(draw, title, (_MARGIN, 13), room, text.font(13, True))
    draw.rectangle((_MARGIN, 26, end - 1, 28), fill=(222, 222, 222))
    draw.rectangle((_MARGIN, 26, _MARGIN + round((end - 1 - _MARGIN) * done), 28), fill=INK)
    for k, (name, cell) in enumerate(zip(names, cells, strict=True)):
        row, column = divmod(k, across)
        x, y = left + column * (width + _GAP), _HEADER + row * step
        image.paste(Image.fromarray(cell), (x, y))
        middle = (x + width / 2, y + height + _NAME / 2)
        text.line(draw, name, middle, width, text.font(9), FAINT, "mm")
    return image
