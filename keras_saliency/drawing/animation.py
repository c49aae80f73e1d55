"""Animated GIFs, and how the maps of a method changed while training as one."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from keras_saliency.drawing.sheet import CARD_WIDTH, Sheet, paper
from keras_saliency.drawing.text import FAINT, INK

_FRAMES = 40
_BYTES = 2**20
_PAUSE_MS, _END_MS = 500, 2500
_MARGIN, _GAP = 5, 3
_HEADER, _NAME = 36, 13
_SAMPLED = 6  # frames, and the last one, of which the colours of all are taken


def animation(
    names: Sequence[str],
    columns: Sequence[tuple[str, np.ndarray]],
    *,
    title: str,
    pauses: tuple[int, int] = (_PAUSE_MS, _END_MS),
) -> bytes:
    """Animate the columns of a film strip.

    Args:
        names: The name of each probe.
        columns: For each moment its label and its images, uint8 `(n, height, width, 3)`.
        title: The title above all frames.
        pauses: How long each frame is shown, and the last one, in milliseconds.

    Returns:
        The bytes of a GIF that repeats for ever, 350 pixels wide, of at most 40 frames and 1 MiB.
        Of more, every other frame but the last is left out, as often as needed, until two are left.

    Example:
        ```python
        photos = np.zeros((4, 48, 64, 3), np.uint8)
        made = animation(list("abcd"), [("epoch 1", photos), ("epoch 2", photos)], title="cam")
        ```
    """
    shown = list(columns)
    while len(shown) > _FRAMES:
        shown = _thinned(shown)
    frames = [
        _frame(names, label, cells, title, (i + 1) / len(shown))
        for i, (label, cells) in enumerate(shown)
    ]
    images = with_one_palette(frames)
    shown_for = [*[pauses[0]] * (len(images) - 1), pauses[1]]
    while len(gif := encode_gif(images, shown_for)) > _BYTES and len(images) > 2:
        images, shown_for = _thinned(images), _thinned(shown_for)
    return gif


def _thinned(items: list) -> list:
    """Leave out every other item, but not the last one."""
    return items[::-2][::-1]


def _frame(
    names: Sequence[str], label: str, cells: np.ndarray, title: str, done: float
) -> np.ndarray:
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
    return sheet.pixels


def with_one_palette(frames: Sequence[np.ndarray]) -> list[Image.Image]:
    """Give images of one size the same 256 colours, so that what does not change won't flicker."""
    few = [*frames[:: max(1, len(frames) // _SAMPLED)], frames[-1]]
    palette = Image.fromarray(np.concatenate(few)).quantize(256, Image.Quantize.MEDIANCUT)
    images = (Image.fromarray(frame) for frame in frames)
    return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]


def encode_gif(images: Sequence[Image.Image], pauses: Sequence[int]) -> bytes:
    """Encode images as a GIF that repeats for ever.

    Args:
        images: Images of one size and palette.
        pauses: How long each one is shown, in milliseconds.

    Returns:
        The bytes of the file.
    """
    file = io.BytesIO()
    first, *others = images
    first.save(file, "GIF", save_all=True, append_images=others, duration=list(pauses), loop=0)
    return file.getvalue()
