"""Words on pictures: fonts that are there on every machine, one line at a time, colours."""

from __future__ import annotations

import functools

from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]

PAPER: Colour = (250, 250, 250)
INK: Colour = (33, 33, 33)
FAINT: Colour = (105, 105, 105)
RIGHT: Colour = (0, 112, 60)
WRONG: Colour = (190, 30, 45)

# Whether the model is right, as a mark and a colour.
MARKS: dict[bool | None, tuple[str, Colour]] = {
    True: ("✓ ", RIGHT),
    False: ("✗ ", WRONG),
    None: ("", INK),
}


@functools.lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return a font of a size in pixels."""
    import matplotlib  # for its DejaVu Sans, which is there on every machine and knows Unicode

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}", size)


def ellipsised(text: str, chosen: ImageFont.FreeTypeFont, width: float) -> str:
    """Cut a text to one line of at most `width` pixels, marking the cut."""
    text = " ".join(text.split())
    if chosen.getlength(text[:1000]) <= width:
        return text
    text = text[: int(max(width, 0))]  # few characters are narrower than a pixel
    while text and chosen.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def line(
    draw: ImageDraw.ImageDraw,
    text: str,
    place: tuple[float, float],
    room: float,
    chosen: ImageFont.FreeTypeFont,
    colour: Colour = INK,
    anchor: str = "lm",
) -> float:
    """Write one line that takes at most `room` pixels; return how many it took."""
    text = ellipsised(text, chosen, room)
    draw.text(place, text, colour, chosen, anchor)
    return chosen.getlength(text)
