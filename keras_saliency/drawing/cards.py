"""Images for TensorBoard: the card of one map, the film strip of a training run, and sheets."""

import math
import textwrap
from collections.abc import Sequence
from itertools import chain

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_image, scaled_size
from keras_saliency.common.validation import check_rgb
from keras_saliency.drawing import heatmap, text
from keras_saliency.drawing.sheet import CARD_WIDTH, Sheet, paper
from keras_saliency.drawing.text import FAINT, INK, MARKS, PAPER

_TALLEST = 1.5  # times the width of a card; taller images are made narrower
_LOWEST = 60  # of the image's part of a card, so that a label fits on it
_HEADER, _FOOTER, _CHECK = 26, 50, 18  # of a card: its last line tells what hiding the map costs

_GAP = 2  # between the cells of a film strip
_TOP = 46  # of the cells below a title and the headings of columns
_NAME_WIDTH = 116
_COUNTERFACTUAL_WIDTH = 108  # three beside each other make a card
_COUNTERFACTUAL_TOP = 64  # of the cells below a title and headings of two lines
_MASKS = 32  # on a sheet
_CELL_WIDTH = 64  # at least, for the label above a narrow image


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
    check: str | None = None,
    is_chance: bool = False,
) -> np.ndarray:
    """Draw the card of one map for TensorBoard's image tab.

    Args:
        display: The image, uint8 `(height, width, 3)`, RGB.
        map_: Raw floats `(h, w)` of any size; `(time,)` of a signal, `(frames, h, w)` of a volume.
            A map that cannot be drawn is labelled as such.
        title: The name of the image, at the top left.
        subtitle: The moment, at the top right.
        caption: The prediction, below the image.
        correct: Whether the model is right, which colours and marks the caption; None for neither.
        signed: Whether the sign is drawn.
        peak: The magnitude at the end of the colour bar. By default the map's own largest.
        cmap: The name of a matplotlib colour map. By default "inferno", or "bwr" where signed.
        width: The card's width in pixels. The text grows with it.
        frames: How many frames the volume has, some of which the image shows.
        check: What hiding the map's strongest tenth costs, on a line of its own, empty where it is
            not known; None for no such line.
        is_chance: Whether that is no more than chance; the map is then drawn in grey.

    Returns:
        uint8 `(any, width, 3)`; the height depends on the image's shape, and on whether there is a
        line for the check.

    Raises:
        TypeError: If the image is not uint8.
        ValueError: If a shape, the peak or the colour map's name is wrong.

    Example:
        ```python
        photo = np.full((90, 120, 3), 200, np.uint8)
        tile(photo, np.eye(7), title="03 penguin", subtitle="epoch 4", caption="elephant 97 %")
        ```
    """
    check_rgb(display, "display")
    image = fit_image(display, width, _TALLEST * width)
    drawn = heatmap.overlay(image, map_, signed=signed, peak=peak, cmap=cmap, frames=frames)
    if is_chance:
        drawn = heatmap.grey(drawn)
    card = _Card(drawn, title, subtitle, width, has_check=check is not None)
    why = heatmap.fault(map_, signed)
    if why:
        card.label(why)
    else:
        own = heatmap.peak_of(map_, signed)
        card.scale_bar(peak or own, heatmap.Colours(signed, cmap))
        card.note(f"peak {own:.2g}")
    card.caption(caption, correct)
    card.check(check or "")
    return card.pixels


def error_tile(
    display: np.ndarray,
    message: str,
    *,
    title: str,
    subtitle: str,
    width: int = CARD_WIDTH,
    has_check: bool = False,
) -> np.ndarray:
    """Draw the card of a map that could not be computed.

    Args:
        display: The image, uint8 `(height, width, 3)`, RGB; it is shown in grey.
        message: Why there is no map.
        title: The name of the image, at the top left.
        subtitle: The moment, at the top right.
        width: The card's width in pixels.
        has_check: Whether `tile` is given a check.

    Returns:
        uint8 `(any, width, 3)`, of the size that `tile` would have.

    Example:
        ```python
        photo = np.full((90, 120, 3), 200, np.uint8)
        error_tile(photo, "layer 'conv' did not run", title="03 penguin", subtitle="epoch 4")
        ```
    """
    check_rgb(display, "display")
    image = heatmap.grey(fit_image(display, width, _TALLEST * width))
    card = _Card(image, title, subtitle, width, has_check=has_check)
    card.label(f"no map: {message}")
    return card.pixels


class _Card(Sheet):
    """An image between a header and a footer."""

    def __init__(
        self, image: np.ndarray, title: str, subtitle: str, width: int, *, has_check: bool
    ) -> None:
        scale = width / CARD_WIDTH
        parts = _HEADER, _LOWEST, _FOOTER + _CHECK * has_check
        top, lowest, footer = (max(1, round(part * scale)) for part in parts)
        height = max(image.shape[0], lowest)
        super().__init__(paper(width, top + height + footer), scale)
        self._photo = (top, top + height)
        left, above = (width - image.shape[1]) // 2, (height - image.shape[0]) // 2
        self.paste(image, left, top + above)
        self.header(title, subtitle)

    def caption(self, words: str, correct: bool | None) -> None:
        glyph, colour = MARKS[correct]
        place = (self.left, self._photo[1] + self.px(14))
        self.write(glyph + words, place, 250 * self.scale, 12, colour, bold=correct is not None)

    def check(self, words: str) -> None:
        place = (self.left, self._photo[1] + self.px(54))
        self.write(words, place, 338 * self.scale, 11, FAINT)

    def note(self, words: str) -> None:
        place = (self.right, self._photo[1] + self.px(14))
        self.write(words, place, 88 * self.scale, 11, FAINT, "rm")

    def label(self, words: str) -> None:
        """Write on a dark band across the middle of the image, on as many lines as fit."""
        middle, step = sum(self._photo) / 2, self.px(18)
        room = int(self._photo[1] - self._photo[0]) // step - 1
        lines = textwrap.wrap(words, 44, max_lines=room, placeholder=" …")
        first = middle - step * (len(lines) - 1) / 2
        self.fill((0, first - step, self.width, first + step * len(lines)), INK)
        for i, line in enumerate(lines):
            place = (self.width / 2, first + i * step)
            self.write(line, place, 338 * self.scale, 12, PAPER, "mm")

    def scale_bar(self, peak: float, colours: heatmap.Colours) -> None:
        """Draw the colours from zero, or from minus the peak, to the peak, across the card."""
        y, room = self._photo[1] + self.px(35), 80 * self.scale
        low = self.write(f"{-peak:.2g}" if colours.signed else "0", (self.left, y), room)
        high = self.write(f"{peak:.2g}", (self.right, y), room, anchor="rm")
        gap = 12 * self.scale
        self.bar(round(gap + low), round(self.width - gap - high), y, colours)


def cell(
    image: np.ndarray, map_: np.ndarray | None, *, signed: bool = False, frames: int = 1
) -> np.ndarray:
    """Draw one cell of a film strip.

    Args:
        image: The small image, uint8 `(height, width, 3)`, RGB.
        map_: Raw floats, as in `tile`, drawn on its own scale; None where there is no map.
        signed: Whether the sign is drawn.
        frames: How many frames the volume has, some of which the image shows.

    Returns:
        uint8 `(height, width, 3)`; without a map that can be drawn, in grey and labelled "dead",
        "NaN" or "error".

    Example:
        ```python
        cell(np.full((72, 96, 3), 200, np.uint8), np.zeros((7, 7)))
        ```
    """
    if map_ is not None and not heatmap.fault(map_, signed):
        return heatmap.overlay(image, map_, signed=signed, frames=frames)
    sheet = Sheet(heatmap.grey(image))
    words = "error" if map_ is None else "dead" if np.isfinite(map_).all() else "NaN"
    x, y = sheet.width / 2, sheet.height / 2
    left, top, right, bottom = text.font(11).getbbox(words, anchor="mm")
    sheet.fill((x + left - 4, y + top - 3, x + right + 4, y + bottom + 3), INK)
    sheet.write(words, (x, y), math.inf, 11, PAPER, "mm")
    return sheet.pixels


def thumbnails(display: np.ndarray, side: int = 96) -> np.ndarray:
    """Make the small images of a film strip.

    Args:
        display: The images, uint8 `(batch, height, width, 3)`.
        side: The longer side of a small image in pixels.

    Returns:
        uint8 `(batch, h, w, 3)` of the same aspect ratio.

    Example:
        ```python
        thumbnails(np.zeros((4, 224, 160, 3), np.uint8)).shape  # (4, 96, 69, 3)
        ```
    """
    return np.stack([fit_image(image, side, side) for image in display])


def film_strip(
    images: np.ndarray,
    names: Sequence[str],
    columns: Sequence[tuple[str, np.ndarray]],
    *,
    title: str,
) -> np.ndarray:
    """Draw how the maps changed while training: a row a probe, a column an epoch.

    Args:
        images: The small images without maps, uint8 `(batch, height, width, 3)`.
        names: The name of each image.
        columns: For each epoch its label and its cells, uint8 `(batch, height, width, 3)`.
        title: The title of the strip.

    Returns:
        uint8 `(height, width, 3)` of any size.

    Example:
        ```python
        photos = np.zeros((4, 72, 96, 3), np.uint8)
        film_strip(photos, list("abcd"), [("epoch 1", photos)], title="grad-cam")
        ```
    """
    height, width = images.shape[1:3]
    room = max(width, _CELL_WIDTH)
    step, left = (room + _GAP, max(height, 14) + _GAP), _NAME_WIDTH + 8
    across = len(columns) + 1
    size = (left + step[0] * across + 6, _TOP + step[1] * len(images) + 6)
    sheet = Sheet(paper(*size))
    sheet.header(title)
    for i, label in enumerate(["probe", *(label for label, _ in columns)]):
        place = (left + step[0] * i + room / 2, 35)
        sheet.write(label, place, room - 2, 11, FAINT, "mm")
    rows = zip(images, *(cells for _, cells in columns), strict=True)
    places = sheet.grid(chain.from_iterable(rows), (left, _TOP), step, across, room)
    for name, (_, top) in zip(names, places[::across], strict=True):
        sheet.write(name, (left - 6, top + height / 2), _NAME_WIDTH, 11, INK, "rm")
    return sheet.pixels


def counterfactual_sheet(
    images: np.ndarray,
    captions: Sequence[Sequence[str]],
    columns: Sequence[str],
    *,
    note: str,
    nuisance: str,
    when: str,
) -> np.ndarray:
    """Draw receivers beside their counterfactual images, with what the model says of them.

    Args:
        images: uint8 `(receivers, 3, height, width, 3)`: the receiver, and its counterfactuals with
            two donors.
        captions: What the model says, three texts for each receiver.
        columns: What the first image is, and what the donors of the others are.
        note: How the captions are read.
        nuisance: What was swapped, such as "background".
        when: The moment.

    Returns:
        uint8 `(height, 350, 3)`, as wide as a card of TensorBoard.

    Example:
        ```python
        images = np.zeros((4, 3, 72, 96, 3), np.uint8)
        counterfactual_sheet(
            images,
            [["p = 1.00"] * 3] * 4,
            ("original", "the same class", "another class"),
            note="p = probability of the right class",
            nuisance="background",
            when="epoch 5",
        )
        ```
    """
    cells = thumbnails(images.reshape(-1, *images.shape[2:]), _COUNTERFACTUAL_WIDTH)
    height, step = cells.shape[1], (_COUNTERFACTUAL_WIDTH + 7, cells.shape[1] + 24)
    foot = 22
    sheet = Sheet(paper(CARD_WIDTH, _COUNTERFACTUAL_TOP + step[1] * len(images) + foot))
    sheet.header(f"{nuisance} swapped", when)
    taken = f"{nuisance} from"
    for i, lines in enumerate(zip(("", taken, taken), columns, strict=True)):
        for y, line in zip((36, 52), lines, strict=True):
            place = (6 + i * step[0] + _COUNTERFACTUAL_WIDTH / 2, y)
            sheet.write(line, place, _COUNTERFACTUAL_WIDTH, 11, INK, "mm")
    places = sheet.grid(cells, (6, _COUNTERFACTUAL_TOP), step, 3, _COUNTERFACTUAL_WIDTH)
    for caption, (middle, top) in zip(chain.from_iterable(captions), places, strict=True):
        place = (middle, top + height + 10)
        sheet.write(caption, place, _COUNTERFACTUAL_WIDTH, 11, INK, "mm")
    sheet.write(note, (6, sheet.height - foot / 2 - 1), sheet.width - 12, 11, FAINT)
    return sheet.pixels


def example_sheet(images: np.ndarray, lines: Sequence[str], *, title: str) -> np.ndarray:
    """Draw images beside each other, each with one or more lines below.

    Args:
        images: uint8 `(images, height, width, 3)`, at least one.
        lines: What is said of each image; line breaks count.
        title: What they have in common.

    Returns:
        uint8 `(height, width, 3)` of any size.

    Example:
        ```python
        example_sheet(np.zeros((2, 72, 96, 3), np.uint8), ["cat_03", "cat_07"], title="teaching")
        ```
    """
    width = _COUNTERFACTUAL_WIDTH
    cells = thumbnails(images, width)
    height, columns = cells.shape[1], min(len(cells), 4)
    texts = [line.split("\n") for line in lines]
    step = (width + 6, height + 10 + 14 * max(map(len, texts)))
    size = (max(columns * step[0] + 6, 340), 30 + -(-len(cells) // columns) * step[1])
    sheet = Sheet(paper(*size))
    sheet.header(title)
    places = sheet.grid(cells, (6, 30), step, columns, width)
    for below, (middle, top) in zip(texts, places, strict=True):
        for n, line in enumerate(below):
            sheet.write(line, (middle, top + height + 10 + 14 * n), width, 11, INK, "mm")
    return sheet.pixels


def mask_sheet(images: np.ndarray, masks: np.ndarray, *, title: str) -> np.ndarray:
    """Draw masks on their images: the object in colour, the background in pale grey.

    Args:
        images: uint8 `(batch, height, width, 3)`; up to 32 of them are drawn, evenly spread.
        masks: `(batch, height, width)` in [0, 1].
        title: What the masks are of, and their source.

    Returns:
        uint8 `(height, width, 3)` of any size.

    Example:
        ```python
        mask_sheet(np.zeros((9, 72, 96, 3), np.uint8), np.ones((9, 72, 96)), title="donors")
        ```
    """
    chosen = np.linspace(0, len(images) - 1, min(_MASKS, len(images))).astype(int)
    images, masks = images[chosen], masks[chosen, ..., None]
    pale = np.stack([heatmap.grey(image) for image in images]) * 0.35 + 160
    cells = thumbnails((masks * images + (1 - masks) * pale).round().astype(np.uint8), 80)
    height, width = cells.shape[1:3]
    columns = min(len(cells), 8)
    step = (width + _GAP, height + _GAP)
    size = (max(columns * step[0] + 12, 340), 30 + -(-len(cells) // columns) * step[1] + 6)
    sheet = Sheet(paper(*size))
    sheet.header(title)
    sheet.grid(cells, (6, 30), step, columns, width)
    return sheet.pixels


def fit_image(image: np.ndarray, width: float, height: float) -> np.ndarray:
    """Resize an image to the largest size of its aspect ratio inside a box, smoothly both ways."""
    scale = min(width / image.shape[1], height / image.shape[0])
    return resize_image(image, scaled_size(image.shape, scale), cv2.INTER_CUBIC)
