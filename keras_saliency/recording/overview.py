"""The overview: the maps of all methods and of a few probes at one moment, in one image."""

from collections.abc import Sequence

import numpy as np

from keras_saliency.drawing import cards
from keras_saliency.drawing.heatmap import Colours
from keras_saliency.drawing.sheet import CARD_WIDTH, Sheet, paper
from keras_saliency.drawing.text import FAINT, MARKS
from keras_saliency.recording.snapshot import Snapshot, at_step, choose_evenly, title_of, words

_PROBES = 16
_HIGHEST = 1020  # of a sheet as wide as a card; TensorBoard gives what is higher a scroll bar
_ENOUGH = 0.75  # of the wanted probes: more of them would make the maps too small
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
        names: The name of each probe.
        display: The probes as a person sees them, uint8 `(n, height, width, 3)`.
        labels: For each probe its label in words, or None.
        of: The explained quantity.
        frames: How many frames the volumes have, some of which `display` shows.

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
        self._titles = [title_of(*pair) for pair in zip(names, labels, strict=True)]
        self._display = display
        self._of = of.replace("_", " ")
        self._frames = frames

    def draw(self, snapshot: Snapshot, among: Sequence[int] | None = None) -> np.ndarray:
        """Draw the sheet of one snapshot.

        Args:
            snapshot: The maps and the predictions.
            among: The indices of the probes to choose from; None takes all.

        Returns:
            uint8 `(height, 350, 3)`, or a multiple of that width, of the same size for any choice.
        """
        methods = snapshot.methods
        has_sign = set(filter(snapshot.is_signed, snapshot.maps))
        height, width = self._display.shape[1:3]
        grid = _Grid(len(methods), min(_PROBES, len(self._labels)), height / width)
        indices = range(len(self._labels)) if among is None else among
        shown = choose_evenly([self._labels[i] for i in indices], grid.probes)
        chosen = [indices[k] for k in shown]
        sheet = Sheet(paper(grid.width, grid.height), grid.scale, _MARGIN)
        self._draw_header(sheet, snapshot, grid, chosen)
        for k, i in enumerate(chosen):
            left, top = grid.corner(k)
            self._draw_caption(sheet, grid, snapshot, i, (left, top))
            image = cards.fit_image(self._display[i], *grid.cell)
            maps = {method: of_all[i] for method, of_all in snapshot.maps.items()}
            cells = (
                cards.cell(image, maps.get(name), signed=name in has_sign, frames=self._frames)
                for name in methods
            )
            corner = (left, top + grid.caption)
            sheet.grid(cells, corner, (grid.step, 0), len(methods), grid.cell[0])
        self._draw_footer(sheet, bool(has_sign), len(has_sign) < len(methods))
        return sheet.pixels

    def _draw_header(
        self, sheet: Sheet, snapshot: Snapshot, grid: "_Grid", chosen: Sequence[int]
    ) -> None:
        known = [snapshot.correct[i] for i in chosen if snapshot.correct[i] is not None]
        right = f"{sum(map(bool, known))} of {len(known)} right" if known else ""
        when = at_step(snapshot.when, snapshot.step)
        sheet.header(when, right, room=90, note=snapshot.note)
        for k in range(grid.across):
            left, _ = grid.corner(k)
            for j, method in enumerate(snapshot.methods):
                place = (left + j * grid.step + grid.cell[0] / 2, sheet.px(33))
                sheet.write(words(method), place, grid.cell[0], 10, FAINT, "mm")

    def _draw_caption(
        self, sheet: Sheet, grid: "_Grid", snapshot: Snapshot, i: int, corner: tuple[int, int]
    ) -> None:
        """Write what a probe is, and the prediction where that is something else."""
        left, top = corner
        correct = snapshot.correct[i]
        glyph, colour = MARKS[correct]
        answer = snapshot.answer(i)
        if correct:  # the title says it already
            answer = answer.removeprefix(snapshot.predicted[i]).strip()
        room, y = float(grid.probe), top + grid.line / 2
        if grid.caption > grid.line:  # two lines
            sheet.write(glyph + answer, (left, y + grid.line), room, 10, colour)
        else:
            place = (left + grid.probe, y)
            room -= sheet.write(glyph + answer, place, 0.64 * room, 10, colour, "rm")
            room -= sheet.px(5)
        sheet.write(self._titles[i], (left, y), room, 10)

    def _draw_footer(self, sheet: Sheet, with_sign: bool, without: bool) -> None:
        """Draw the colours from zero to each map's own peak."""
        y, x = sheet.height - sheet.px(_FOOTER) // 2, sheet.left
        ends = [("-peak", True)] * with_sign + [("0", False)] * without
        length = 76 if len(ends) == 1 else 44
        for low, signed in ends:
            x = sheet.legend((x, y), (low, "peak"), length, Colours(signed), size=10, gap=4)
        note = f"own peak each · {self._of}"
        sheet.write(note, (sheet.right, y), sheet.right - x, 10, FAINT, "rm")


class _Grid:
    """The layout: probes beside and below each other, each with all its maps."""

    def __init__(self, methods: int, probes: int, shape: float) -> None:
        needed = methods * (_NARROWEST + _GAP) + 2 * _MARGIN
        self.scale = -(-needed // CARD_WIDTH)
        self.width = CARD_WIDTH * self.scale
        self.margin, self.line = _MARGIN * self.scale, _LINE * self.scale
        self._between = _BETWEEN * self.scale
        self._inside = self.width - 2 * self.margin
        self._methods, self._shape = methods, shape
        # Curves and rows of frames are low, and need the whole width.
        least, most = map(self._beside, (_PLEASANT, _NARROWEST)) if shape > 0.5 else (1, 1)
        for across in range(min(least, probes), most + 1):
            self._arrange(across, probes)
            if self.probes >= _ENOUGH * probes:
                break

    def _beside(self, map_width: int) -> int:
        """Return how many probes fit beside each other if maps are at least so wide."""
        least = max(self._methods * (map_width + _GAP), _LEAST * self.scale)
        return max(1, (self._inside + self._between) // (least + self._between))

    def _arrange(self, across: int, probes: int) -> None:
        """Lay out as many probes as fit below each other."""
        self.across = across
        self.probe = (self._inside + self._between) // across - self._between
        side = (self.probe + _GAP) // self._methods - _GAP
        self.cell = (side, round(min(side * self._shape, side * _TALLEST)))
        self.caption = self.line * (1 if self.probe >= _ROOMY * self.scale else 2)
        self.step = side + _GAP
        self._row_step = self.cell[1] + self.caption + 3 * self.scale
        around = (_HEADER + _FOOTER) * self.scale
        rows = min(-(-probes // across), (_HIGHEST * self.scale - around) // self._row_step)
        self.probes = min(probes, rows * across)
        self.height = around + rows * self._row_step

    def corner(self, k: int) -> tuple[int, int]:
        """Return where the `k`-th probe begins."""
        row, column = divmod(k, self.across)
        left = self.margin + column * (self.probe + self._between)
        return left, _HEADER * self.scale + row * self._row_step
