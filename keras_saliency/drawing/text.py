"""Text on images: fonts that exist on every machine, one line at a time, and colours."""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_saliency.common.types import Array

Colour = tuple[int, int, int]

PAPER: Colour = (250, 250, 250)
INK: Colour = (33, 33, 33)
FAINT: Colour = (105, 105, 105)

# Whether the model is right, as a glyph and a colour.
MARKS: dict[bool | None, tuple[str, Colour]] = {
    True: ("✓ ", (0, 112, 60)),
    False: ("✗ ", (190, 30, 45)),
    None: ("", INK),
}

_BORDER = 4  # pixels that a glyph may reach beyond the box of its line


@functools.lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return a font of a size in pixels."""
    import matplotlib  # its DejaVu Sans exists on every machine and covers Unicode

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}", size)


@functools.lru_cache(maxsize=1024)  # names and captions are measured again at every evaluation
def fitted(words: str, width: float, size: int, bold: bool = False) -> tuple[str, float]:
    """Cut words to one line of at most `width` pixels, with an ellipsis; return its length too."""
    words, length = " ".join(words.split()), font(size, bold).getlength
    if length(words[:1000]) > width:
        words = words[: int(max(width, 0))]  # few characters are narrower than a pixel
        while words and length(words + "…") > width:
            words = words[:-1]
        words = words.rstrip() + "…"
    return words, length(words)


@functools.lru_cache(maxsize=512)
def stencil(
    words: str, size: int, bold: bool, anchor: str, shift: tuple[float, float]
) -> tuple[Array, int, int]:
    """Render one line.

    Args:
        words: The line.
        size: The font's size in pixels.
        bold: Whether the font is bold.
        anchor: Which point of the line the anchor is, in Pillow's notation, such as "lm".
        shift: The anchor's distance `(x, y)` from the pixel it lies in, in [0, 1).

    Returns:
        The opacity of each pixel, uint16 `(height, width, 1)` from 0 to 255, and the column and the
        row where it begins, relative to the pixel of the anchor.
    """
    typeface = font(size, bold)
    left, top, right, bottom = (int(edge) for edge in typeface.getbbox(words, anchor=anchor))
    image = Image.new("L", (right - left + 2 * _BORDER, bottom - top + 2 * _BORDER))
    place = (_BORDER - left + shift[0], _BORDER - top + shift[1])
    ImageDraw.Draw(image).text(place, words, 255, typeface, anchor)
    return np.asarray(image, np.uint16)[..., None], left - _BORDER, top - _BORDER
