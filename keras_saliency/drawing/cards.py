"""Pictures for TensorBoard: the card of one map, and the film strip of a training."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_image, scaled_size
from keras_saliency.common.validation import check_rgb
from keras_saliency.drawing import heatmap, text
from keras_saliency.drawing.text import FAINT, INK, MARKS, PAPER, Colour

CARD_WIDTH = 350  # of TensorBoard's image cards, which scale by nearest neighbour
_TALLEST = 1.5  # times the width of a card; taller pictures are made narrower
_LOWEST = 60  # of the picture's part of a card, so that a label fits on it

_GAP = 2  # between the pictures of a film strip
_NAME_WIDTH = 116
_TWIN_WIDTH = 120  # three beside each other make a card
_MASKS = 32  # on a sheet
_CELL_WIDTH = 64  # at least, for the label above a narrow picture


def tile(
    display: np.ndarray,
    map_: np.ndarray,
    *,
    title: str,
    subtitle: str,
    caption: str,
    correct: bool | None = None,
    signed: bool = False,
    peak: float | None = None,
    cmap: str | None = None,
    width: int = CARD_WIDTH,
    frames: int = 1,
) -> np.ndarray:
    """Draw the card of one map for TensorBoard's image tab.

    Args:
        display: The picture, uint8 `(height, width, 3)`, RGB.
        map_: Raw floats `(h, w)` of any size; `(time,)` of a signal, `(frames, h, w)` of a volume.
            One that cannot be drawn is labelled as such.
        title: What the picture is, top left.
        subtitle: When it was, top right.
        caption: What the model says, below the picture.
        correct: Whether the model is right, which colours and marks the caption; None for neither.
        signed: Whether the sign is drawn.
        peak: The magnitude at the end of the colour bar. By default the map's own largest.
        cmap: The name of a matplotlib colour map. By default "inferno", or "bwr" where signed.
        width: The card's width in pixels. The text grows with it.
        frames: How many frames the volume has that the picture shows some of.

    Returns:
        uint8 `(any, width, 3)`; the height follows from the picture's shape alone.

    Raises:
        TypeError: If the picture is not uint8.
        ValueError: If a shape, the peak or the colour map's name is wrong.

    Example:
        ```python
        photo = np.full((90, 120, 3), 200, np.uint8)
        tile(photo, np.eye(7), title="03 penguin", subtitle="epoch 4", caption="says elephant")
        ```
    """
    check_rgb(display, "display")
    picture = fit_picture(display, width, _TALLEST * width)
    drawn = heatmap.overlay(picture, map_, signed=signed, peak=peak, cmap=cmap, frames=frames)
    card = _Card(drawn, title, subtitle, width)
    why = heatmap.fault(map_, signed)
    if why:
        card.label(why)
    else:
        own = heatmap.peak_of(map_, signed)
        card.bar(peak or own, signed, cmap)
        card.note(f"peak {own:.2g}")
    card.caption(caption, correct)
    return np.asarray(card.image)


def error_tile(
    display: np.ndarray, message: str, *, title: str, subtitle: str, width: int = CARD_WIDTH
) -> np.ndarray:
    """Draw the card of a map that could not be computed.

    Args:
        display: The picture, uint8 `(height, width, 3)`, RGB; it is shown in grey.
        message: Why there is no map.
        title: What the picture is, top left.
        subtitle: When it was, top right.
        width: The card's width in pixels.

    Returns:
        uint8 `(any, width, 3)`, of the size that `tile` would have.

    Example:
        ```python
        photo = np.full((90, 120, 3), 200, np.uint8)
        error_tile(photo, "layer 'conv' did not run", title="03 penguin", subtitle="epoch 4")
        ```
    """
    check_rgb(display, "display")
    picture = heatmap.grey(fit_picture(display, width, _TALLEST * width))
    card = _Card(picture, title, subtitle, width)
    card.label(f"no map: {message}")
    return np.asarray(card.image)


class _Card:
    """A picture between a header and a footer, drawn on with lengths for a card of 350 px."""

    def __init__(self, picture: np.ndarray, title: str, subtitle: str, width: int) -> None:
        self._scale = width / CARD_WIDTH
        top, height = self.px(26), max(picture.shape[0], self.px(_LOWEST))
        self._photo = (top, top + height)
        self.image = Image.new("RGB", (width, top + height + self.px(50)), PAPER)
        left, above = (width - picture.shape[1]) // 2, (height - picture.shape[0]) // 2
        self.image.paste(Image.fromarray(picture), (left, top + above))
        self._draw = ImageDraw.Draw(self.image)
        used = self._text(subtitle, self.px(344), self.px(13), 180, 11, FAINT, "rm")
        self._text(title, self.px(6), self.px(13), 332 - used, 13, INK, "lm", bold=True)

    def px(self, length: float) -> int:
        """Convert a length for a card of the standard width into pixels of this one."""
        return max(1, round(length * self._scale))

    def caption(self, text: str, correct: bool | None) -> None:
        glyph, colour = MARKS[correct]
        y = self._photo[1] + self.px(14)
        self._text(glyph + text, self.px(6), y, 250, 12, colour, "lm", bold=correct is not None)

    def note(self, text: str) -> None:
        self._text(text, self.px(344), self._photo[1] + self.px(14), 88, 11, FAINT, "rm")

    def label(self, text: str) -> None:
        """Write on a dark band across the middle of the picture, on as many lines as fit."""
        middle, line = sum(self._photo) / 2, self.px(18)
        room = int(self._photo[1] - self._photo[0]) // line - 1
        lines = textwrap.wrap(text, 44, max_lines=room, placeholder=" …")
        first = middle - line * (len(lines) - 1) / 2
        self._draw.rectangle(
            (0, first - line, self.image.width, first + line * len(lines)), fill=INK
        )
        for i, part in enumerate(lines):
            self._text(part, self.image.width / 2, first + i * line, 338, 12, PAPER, "mm")

    def bar(self, peak: float, signed: bool, cmap: str | None) -> None:
        """Draw the colours from zero, or from minus the peak, to the peak."""
        y = self._photo[1] + self.px(35)
        low = f"{-peak:.2g}" if signed else "0"
        high = f"{peak:.2g}"
        left = self.px(12 + self._text(low, self.px(6), y, 80, 11, INK, "lm"))
        right = self.px(338 - self._text(high, self.px(344), y, 80, 11, INK, "rm"))
        top, bottom = y - self.px(5), y + self.px(5)
        bar = heatmap.colour_bar((bottom - top, right - left), signed, cmap)
        self.image.paste(Image.fromarray(bar), (left, top))
        self._draw.rectangle((left - 1, top - 1, right, bottom), outline=FAINT)

    def _text(
        self,
        words: str,
        x: float,
        y: float,
        room: float,
        size: int,
        colour: Colour,
        anchor: str,
        bold: bool = False,
    ) -> float:
        """Write one line; return the room it took, in lengths for a card of 350 px."""
        font = text.font(self.px(size), bold)
        used = text.line(self._draw, words, (x, y), room * self._scale, font, colour, anchor)
        return used / self._scale


def cell(
    picture: np.ndarray, map_: np.ndarray | None, *, signed: bool = False, frames: int = 1
) -> np.ndarray:
    """Draw one picture of a film strip.

    Args:
        picture: The small picture, uint8 `(height, width, 3)`, RGB.
        map_: Raw floats, as in `tile`, drawn on its own scale; None where there is no map.
        signed: Whether the sign is drawn.
        frames: How many frames the volume has that the picture shows some of.

    Returns:
        uint8 `(height, width, 3)`; in grey and marked "dead", "NaN" or "error" without heat.

    Example:
        ```python
        cell(np.full((72, 96, 3), 200, np.uint8), np.zeros((7, 7)))
        ```
    """
    if map_ is not None and not heatmap.fault(map_, signed):
        return heatmap.overlay(picture, map_, signed=signed, frames=frames)
    image = Image.fromarray(heatmap.grey(picture))
    mark = "error" if map_ is None else "dead" if np.isfinite(map_).all() else "NaN"
    font, middle = text.font(11), (image.width / 2, image.height / 2)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox(middle, mark, font, "mm")
    draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill=INK)
    draw.text(middle, mark, PAPER, font, "mm")
    return np.asarray(image)


def thumbnails(display: np.ndarray, side: int = 96) -> np.ndarray:
    """Make the small pictures of a film strip.

    Args:
        display: The pictures, uint8 `(batch, height, width, 3)`.
        side: The longer side of a small picture in pixels.

    Returns:
        uint8 `(batch, h, w, 3)` of the same shape of picture.

    Example:
        ```python
        thumbnails(np.zeros((4, 224, 160, 3), np.uint8)).shape  # (4, 96, 69, 3)
        ```
    """
    return np.stack([fit_picture(picture, side, side) for picture in display])


def film_strip(
    pictures: np.ndarray,
    names: Sequence[str],
    columns: Sequence[tuple[str, np.ndarray]],
    *,
    title: str,
) -> np.ndarray:
    """Draw how the maps changed while training: a row a probe, a column an epoch.

    Args:
        pictures: The clean small pictures, uint8 `(batch, height, width, 3)`.
        names: What each picture is.
        columns: For each epoch its label and its cells, uint8 `(batch, height, width, 3)`.
        title: What is drawn, above everything.

    Returns:
        uint8 `(any, any, 3)`.

    Example:
        ```python
        photos = np.zeros((4, 72, 96, 3), np.uint8)
        film_strip(photos, list("abcd"), [("epoch 1", photos)], title="grad-cam")
        ```
    """
    height, width = pictures.shape[1:3]
    step_x, step_y = max(width, _CELL_WIDTH) + _GAP, max(height, 14) + _GAP
    left, top = _NAME_WIDTH + 8, 46
    size = (left + step_x * (len(columns) + 1) + 6, top + step_y * len(pictures) + 6)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    font = text.font(11)
    heading = text.ellipsised(title, text.font(13, bold=True), size[0] - 12)
    draw.text((6, 13), heading, INK, text.font(13, bold=True), "lm")
    for i, (label, cells) in enumerate([("probe", pictures), *columns]):
        x = left + step_x * i
        middle = x + (step_x - _GAP) / 2
        draw.text((middle, 35), text.ellipsised(label, font, step_x - 4), FAINT, font, "mm")
        for j, picture in enumerate(cells):
            corner = (int(middle - width / 2), top + step_y * j)
            image.paste(Image.fromarray(picture), corner)
    for j, name in enumerate(names):
        y = top + step_y * j + height / 2
        draw.text((left - 6, y), text.ellipsised(name, font, _NAME_WIDTH), INK, font, "rm")
    return np.asarray(image)


def twin_sheet(pictures: np.ndarray, probabilities: np.ndarray, *, title: str) -> np.ndarray:
    """Draw receivers beside their twins, with the probability of their class under each.

    Args:
        pictures: uint8 `(receivers, 3, height, width, 3)`: the receiver, its twin with a donor of
            its own class, and its twin with a donor of another class.
        probabilities: `(receivers, 3)` in [0, 1].
        title: What was swapped, and when.

    Returns:
        uint8 `(any, any, 3)`.

    Example:
        ```python
        twin_sheet(np.zeros((4, 3, 72, 96, 3), np.uint8), np.ones((4, 3)), title="background")
        ```
    """
    cells = [thumbnails(row, _TWIN_WIDTH) for row in pictures]
    height, width = cells[0].shape[1:3]
    step_x, step_y, top = _TWIN_WIDTH + 6, height + 24, 46
    image = Image.new("RGB", (3 * step_x + 6, top + step_y * len(cells)), PAPER)
    draw = ImageDraw.Draw(image)
    bold, font = text.font(13, bold=True), text.font(11)
    draw.text((6, 13), text.ellipsised(title, bold, image.width - 12), INK, bold, "lm")
    for i, heading in enumerate(("as it is", "from its own class", "from another class")):
        middle = 6 + i * step_x + _TWIN_WIDTH / 2
        draw.text((middle, 35), text.ellipsised(heading, font, _TWIN_WIDTH), FAINT, font, "mm")
        for j, row in enumerate(cells):
            y = top + j * step_y
            image.paste(Image.fromarray(row[i]), (int(middle - width / 2), y))
            chance = f"p = {probabilities[j, i]:.2f}"
            draw.text((middle, y + height + 10), chance, INK, font, "mm")
    return np.asarray(image)


def mask_sheet(pictures: np.ndarray, masks: np.ndarray, *, title: str) -> np.ndarray:
    """Draw masks on their pictures: the object in colour, what is outside in pale grey.

    Args:
        pictures: uint8 `(batch, height, width, 3)`; 32 of them are drawn, evenly spread.
        masks: `(batch, height, width)` in [0, 1].
        title: Whose masks they are, and who made them.

    Returns:
        uint8 `(any, any, 3)`.

    Example:
        ```python
        mask_sheet(np.zeros((9, 72, 96, 3), np.uint8), np.ones((9, 72, 96)), title="donors")
        ```
    """
    chosen = np.linspace(0, len(pictures) - 1, min(_MASKS, len(pictures))).astype(int)
    pictures, masks = pictures[chosen], masks[chosen, ..., None]
    pale = np.stack([heatmap.grey(picture) for picture in pictures]) * 0.35 + 160
    cells = thumbnails((masks * pictures + (1 - masks) * pale).round().astype(np.uint8), 80)
    height, width = cells.shape[1:3]
    columns = min(len(cells), 8)
    rows = -(-len(cells) // columns)
    size = (max(columns * (width + _GAP) + 12, 340), 30 + rows * (height + _GAP) + 6)
    image = Image.new("RGB", size, PAPER)
    bold = text.font(13, bold=True)
    heading = text.ellipsised(title, bold, size[0] - 12)
    ImageDraw.Draw(image).text((6, 13), heading, INK, bold, "lm")
    for i, picture in enumerate(cells):
        row, column = divmod(i, columns)
        corner = (6 + column * (width + _GAP), 30 + row * (height + _GAP))
        image.paste(Image.fromarray(picture), corner)
    return np.asarray(image)


def fit_picture(picture: np.ndarray, width: float, height: float) -> np.ndarray:
    """Resize a picture to the largest size of its shape inside a box, smoothly both ways."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    return resize_image(picture, scaled_size(picture.shape, scale), cv2.INTER_CUBIC)
