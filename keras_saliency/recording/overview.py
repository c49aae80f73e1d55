"""The overview: what all methods say of a few probes at one moment, in one picture."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image, ImageDraw

from keras_saliency.drawing import cards, heatmap, text
from keras_saliency.drawing.text import FAINT, INK, MARKS, PAPER
from keras_saliency.recording.snapshot import Snapshot, choose_evenly, title_of, words

_PROBES = 16
_HIGHEST = 1020  # of a sheet as wide as a card; TensorBoard gives what is higher a scroll bar
_ENOUGH = 0.75  # of the probes that were asked for: more of them would make the maps too small
_NARROWEST = 52  # a map, so that it can be read
_PLEASANT = 80  # a map, where there is room
_LEAST = 104  # a probe with its caption
_ROOMY = 150  # a probe with its caption on one line
_TALLEST = 1.25  # times the width of a map
_GAP = 2

# In pixels of a card of the standard width; a wider one has them larger.
_MARGIN, _BETWEEN = 5, 8
_HEADER, _LINE, _FOOTER = 42, 15, 24


class Overview:
    """Draws a sheet of all methods and of as many probes as fit, 16 at most, evenly by label.

    A sheet is as wide as TensorBoard's cards, 350 pixels, or a multiple where many methods need it,
    and so high that the card needs no scroll bar.

    Args:
        names: What each probe is.
        display: The probes as a person sees them, uint8 `(n, height, width, 3)`.
        labels: For each probe its label in words, or None.
        of: What is explained.
        frames: How many frames the volumes have of which `display` shows some.

    Example:
        ```python
        sheet = Overview(["00_cat"], photos, ["cat"], "logits").draw(snapshot)
        ```
    """

    def __init__(
        self,
        names: Sequence[str],
        display: np.ndarray,
        labels: Sequence[str | None],
        of: str,
        frames: int = 1,
    ) -> None:
        self._labels = list(labels)
        self._titles = [title_of(*both) for both in zip(names, labels, strict=True)]
        self._display = display
        self._of = of.replace("_", " ")
        self._frames = frames

    def draw(self, snapshot: Snapshot, signed: Collection[str] = ()) -> np.ndarray:
        """Draw the sheet of one set.

        Args:
            snapshot: What was seen.
            signed: Methods of which earlier maps had a sign; it is drawn where a map has one now.

        Returns:
            uint8 `(any, 350, 3)`, or a multiple of that width.
        """
        methods = snapshot.methods
        has_sign = {m for m, maps in snapshot.maps.items() if m in signed or (maps < 0).any()}
        height, width = self._display.shape[1:3]
        grid = _Grid(len(methods), min(_PROBES, len(self._labels)), height / width)
        chosen = choose_evenly(self._labels, grid.probes)
        image = Image.new("RGB", (grid.width, grid.height), PAPER)
        self._draw_header(image, snapshot, grid, chosen)
        for k, i in enumerate(chosen):
            left, top = grid.corner(k)
            self._draw_caption(image, grid, snapshot, i, (left, top))
            picture = cards.fit_picture(self._display[i], *grid.cell)
            for j, method in enumerate(methods):
                maps = snapshot.maps.get(method)
                map_ = None if maps is None else maps[i]
                cell = cards.cell(picture, map_, signed=method in has_sign, frames=self._frames)
                indent = (grid.cell[0] - cell.shape[1]) // 2
                corner = (left + grid.column(j) + indent, top + grid.caption)
                image.paste(Image.fromarray(cell), corner)
        self._draw_footer(image, grid.scale, bool(has_sign), len(has_sign) < len(methods))
        return np.asarray(image)

    def _draw_header(
        self, image: Image.Image, snapshot: Snapshot, grid: _Grid, chosen: Sequence[int]
    ) -> None:
        draw, scale = ImageDraw.Draw(image), grid.scale
        known = [snapshot.correct[i] for i in chosen if snapshot.correct[i] is not None]
        right = f"{sum(map(bool, known))} of {len(known)} right" if known else ""
        y, start, end = 13 * scale, grid.margin, grid.width - grid.margin
        font = text.font(11 * scale)
        used = text.line(draw, right, (end, y), 90 * scale, font, FAINT, "rm")
        room = end - start - used - 8 * scale
        small, bold = text.font(10 * scale), text.font(13 * scale, True)
        when, _, note = snapshot.when.removesuffix(")").partition(" (")
        used = text.line(draw, when, (start, y), room, bold) + 6 * scale
        text.line(draw, note, (start + used, y), room - used, small, FAINT)
        for k in range(grid.across):
            left, _ = grid.corner(k)
            for j, method in enumerate(snapshot.methods):
                place = (left + grid.column(j) + grid.cell[0] / 2, 33 * scale)
                text.line(draw, words(method), place, grid.cell[0], small, FAINT, "mm")

    def _draw_caption(
        self, image: Image.Image, grid: _Grid, snapshot: Snapshot, i: int, corner: tuple[int, int]
    ) -> None:
        """Write what a probe is, and what the model says where that is something else."""
        draw, small = ImageDraw.Draw(image), text.font(10 * grid.scale)
        left, top = corner
        correct = snapshot.correct[i]
        mark, colour = MARKS[correct]
        answer = snapshot.answer(i)
        if correct:  # the title says it already
            answer = answer.removeprefix(snapshot.predicted[i]).strip()
        y = top + grid.line / 2
        if grid.caption > grid.line:  # two lines
            text.line(draw, self._titles[i], (left, y), grid.probe, small, INK)
            text.line(draw, mark + answer, (left, y + grid.line), grid.probe, small, colour)
            return
        place = (left + grid.probe, y)
        used = text.line(draw, mark + answer, place, 0.64 * grid.probe, small, colour, "rm")
        room = grid.probe - used - 5 * grid.scale
        text.line(draw, self._titles[i], (left, y), room, small, INK)

    def _draw_footer(self, image: Image.Image, scale: int, with_sign: bool, without: bool) -> None:
        """Draw the colours from zero to each map's own peak."""
        draw, small = ImageDraw.Draw(image), text.font(10 * scale)
        y, x, high = image.height - _FOOTER * scale // 2, _MARGIN * scale, 5 * scale
        ends = [("-peak", True)] * with_sign + [("0", False)] * without
        length = (76 if len(ends) == 1 else 44) * scale
        for low, signed in ends:
            x += round(text.line(draw, low, (x, y), 40 * scale, small)) + 4 * scale
            bar = heatmap.colour_bar((2 * high, length), signed)
            image.paste(Image.fromarray(bar), (x, y - high))
            draw.rectangle((x - 1, y - high - 1, x + length, y + high), outline=FAINT)
            x += length + 5 * scale
            x += round(text.line(draw, "peak", (x, y), 40 * scale, small)) + 12 * scale
        end = image.width - _MARGIN * scale
        note = f"own peak each · {self._of}"
        text.line(draw, note, (end, y), end - x, small, FAINT, "rm")


class _Grid:
    """Where everything stands: probes beside and below each other, each with all its maps."""

    def __init__(self, methods: int, probes: int, shape: float) -> None:
        needed = methods * (_NARROWEST + _GAP) + 2 * _MARGIN
        self.scale = -(-needed // cards.CARD_WIDTH)
        self.width = cards.CARD_WIDTH * self.scale
        self.margin, self.line = _MARGIN * self.scale, _LINE * self.scale
        self._between = _BETWEEN * self.scale
        self._methods, self._shape = methods, shape
        # Curves and rows of frames are low, and need the whole width.
        least, most = (
            (1, 1) if shape <= 0.5 else (self._beside(_PLEASANT), self._beside(_NARROWEST))
        )
        for across in range(min(least, probes), most + 1):
            self._lay(across, probes)
            if self.probes >= _ENOUGH * probes:
                break

    def _beside(self, map_width: int) -> int:
        """How many probes fit beside each other where a map is at least so wide."""
        least = max(self._methods * (map_width + _GAP), _LEAST * self.scale)
        inside = self.width - 2 * self.margin
        return max(1, (inside + self._between) // (least + self._between))

    def _lay(self, across: int, probes: int) -> None:
        """Lay out as many probes as there is room for below each other."""
        self.across = across
        inside = self.width - 2 * self.margin
        self.probe = (inside + self._between) // across - self._between
        side = (self.probe + _GAP) // self._methods - _GAP
        self.cell = (side, round(min(side * self._shape, side * _TALLEST)))
        self.caption = self.line * (1 if self.probe >= _ROOMY * self.scale else 2)
        self._step = self.cell[1] + self.caption + 3 * self.scale
        around = (_HEADER + _FOOTER) * self.scale
        rows = min(-(-probes // across), (_HIGHEST * self.scale - around) // self._step)
        self.probes = min(probes, rows * across)
        self.height = around + rows * self._step

    def corner(self, k: int) -> tuple[int, int]:
        """Where the `k`-th probe begins."""
        row, column = divmod(k, self.across)
        left = self.margin + column * (self.probe + self._between)
        return left, _HEADER * self.scale + row * self._step

    def column(self, j: int) -> int:
        """How far right of there its `j`-th map begins."""
        return j * (self.cell[0] + _GAP)
