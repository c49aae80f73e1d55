"""Sheets: paper with a header, cells, colour bars and text."""

from collections.abc import Iterable

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.drawing import text
from keras_saliency.drawing.heatmap import Colours, colour_bar
from keras_saliency.drawing.text import FAINT, INK, PAPER, Colour

CARD_WIDTH = 350  # of TensorBoard's image cards, which scale by nearest neighbour


def paper(width: int, height: int) -> Array:
    """Return an image of nothing but paper, uint8 `(height, width, 3)`."""
    return np.full((height, width, 3), PAPER, np.uint8)


class Sheet:
    """An image to draw on.

    Places and rooms are in pixels of the image. Sizes of fonts, margins and bars are in pixels of a
    sheet of scale 1, and grow with the scale.

    Args:
        pixels: uint8 `(height, width, 3)`, RGB, which is drawn on.
        scale: Pixels of the sheet per pixel of a card of the standard width.
        margin: Left and right of header and footer, in pixels of scale 1.
    """

    def __init__(self, pixels: Array, scale: float = 1, margin: int = 6) -> None:
        self.pixels = pixels
        self.scale = scale
        self.height, self.width = pixels.shape[:2]
        self.left = self.px(margin)
        self.right = self.width - self.left

    def px(self, length: float) -> int:
        """Convert a length of scale 1 into whole pixels of this sheet, at least 1."""
        return max(1, round(length * self.scale))

    def paste(self, cell: Array, left: int, top: int) -> None:
        """Put an image, uint8 `(height, width, 3)`, on the sheet; it must lie inside."""
        self.pixels[top : top + cell.shape[0], left : left + cell.shape[1]] = cell

    def fill(self, box: tuple[float, float, float, float], colour: Colour) -> None:
        """Fill the box of left, top, right and bottom; the last column and row belong to it."""
        left, top, right, bottom = (max(0, int(edge)) for edge in box)
        self.pixels[top : bottom + 1, left : right + 1] = colour

    def write(
        self,
        words: str,
        place: tuple[float, float],
        room: float,
        size: int = 11,
        colour: Colour = INK,
        anchor: str = "lm",
        bold: bool = False,
    ) -> float:
        """Write one line of at most `room` pixels, cut where it is longer; return its length."""
        size = self.px(size)
        line, length = text.fitted(words, room, size, bold)
        x, y = (int(axis) for axis in place)
        opacity, left, top = text.stencil(line, size, bold, anchor, (place[0] - x, place[1] - y))
        left, top = x + left, y + top
        opacity = opacity[max(-top, 0) :, max(-left, 0) :]
        below = self.pixels[max(top, 0) :, max(left, 0) :][: len(opacity), : opacity.shape[1]]
        opacity = opacity[: below.shape[0], : below.shape[1]]
        # Pillow's arithmetic: the quotient by 255, rounded, without a division.
        sums = below * (255 - opacity) + np.array(colour, np.uint16) * opacity + 128
        below[:] = (sums + (sums >> 8)) >> 8
        return length

    def header(
        self, title: str, subtitle: str | None = None, *, room: int = 180, note: str = ""
    ) -> None:
        """Write a title, a fainter note after it, and a subtitle at the right.

        Args:
            title: The title, in bold, cut where the subtitle needs the place.
            subtitle: The subtitle; None leaves the whole width to the title.
            room: The subtitle's longest, in pixels of scale 1.
            note: Written behind the title where there is room.
        """
        y, left = self.px(13), self.width - 12 * self.scale
        if subtitle is not None:
            left -= 6 * self.scale
            place = (self.right, y)
            left -= self.write(subtitle, place, room * self.scale, 11, FAINT, "rm")
        used = self.write(title, (self.left, y), left, 13, bold=True) + 6 * self.scale
        if note:
            self.write(note, (self.left + used, y), left - used, 10, FAINT)

    def grid(
        self,
        cells: Iterable[Array],
        corner: tuple[int, int],
        step: tuple[int, int],
        columns: int,
        room: int,
    ) -> list[tuple[float, int]]:
        """Put images of one size beside and below each other, row by row.

        Args:
            cells: uint8 `(height, width, 3)` each.
            corner: The left and the upper edge of the first one's room.
            step: How far apart the rooms of columns and of rows begin.
            columns: How many cells are beside each other.
            room: The width in whose middle each cell stands.

        Returns:
            For each cell the middle of its room and its upper edge.
        """
        places = []
        for k, cell in enumerate(cells):
            row, column = divmod(k, columns)
            middle, top = corner[0] + column * step[0] + room / 2, corner[1] + row * step[1]
            self.paste(cell, int(middle - cell.shape[1] / 2), top)
            places.append((middle, top))
        return places

    def bar(self, left: int, right: int, y: int, colours: Colours) -> None:
        """Draw the colours from zero, or from minus the peak where signed, to the peak."""
        high = self.px(5)
        self.fill((left - 1, y - high - 1, right, y + high), FAINT)
        self.paste(colour_bar((2 * high, right - left), *colours), left, y - high)

    def legend(
        self,
        place: tuple[int, int],
        ends: tuple[str, str],
        length: int,
        colours: Colours,
        *,
        size: int = 11,
        gap: int = 5,
    ) -> int:
        """Draw a colour bar between what its ends stand for.

        Args:
            place: Where the legend begins, and its middle row.
            ends: The words before and behind the bar.
            length: The bar's, in pixels of scale 1.
            colours: The bar's.
            size: The font's size.
            gap: Between the first word and the bar.

        Returns:
            Where the next legend may begin.
        """
        (x, y), room = place, 60 * self.scale
        x += round(self.write(ends[0], (x, y), room, size)) + self.px(gap)
        right = x + self.px(length)
        self.bar(x, right, y, colours)
        x = right + self.px(5)
        return x + round(self.write(ends[1], (x, y), room, size)) + self.px(12)
