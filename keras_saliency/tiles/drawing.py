"""Pictures of slides: numbers at the places of their tiles, and the tiles themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_image, resize_maps
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_rgb
from keras_saliency.drawing import cards, heatmap
from keras_saliency.drawing.sheet import CARD_WIDTH, Sheet, paper
from keras_saliency.drawing.text import FAINT, INK
from keras_saliency.tiles.geometry import Frame, averaged, frame_of, spacing

_EMPTY = 208  # the grey of a place without a tile: no colour map of ours has it
_CMAP = "viridis"  # its zero is a colour; heat maps, whose zero is none, are "inferno"
_OVER = 0.8  # the opacity over a thumbnail
_WIDEST = 4  # cards
_FINE = 5  # pixels of a tile, where that needs no wider sheet
_TALLEST = 1.25  # times the width of a sheet

# In pixels of a card of the standard width; a wider one has them larger.
_MARGIN, _HEADER, _TITLE, _FOOTER = 6, 26, 18, 46


@dataclass(frozen=True)
class Thumbnail:
    """A picture of a whole slide, to draw maps over.

    Args:
        picture: uint8 `(height, width, 3)`, RGB, of any size.
        size: The `(height, width)` of what it shows, in the units of the tiles' places; its upper
            left corner is the place (0, 0).

    Raises:
        TypeError: If the picture is not uint8.
        ValueError: If its shape or the size is wrong.

    Example:
        ```python
        Thumbnail(np.asarray(slide.get_thumbnail((1000, 1000))), slide.dimensions[::-1])
        ```
    """

    picture: Any
    size: tuple[float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "picture", np.asarray(self.picture))
        check_rgb(self.picture, "picture")
        if len(self.size) != 2 or not all(0 < length < np.inf for length in self.size):
            raise ValueError(
                "size must be the (height, width) of the slide in the units of x and y. "
                f"Received: size={self.size!r}"
            )

    @property
    def frame(self) -> Frame:
        """All of the slide."""
        return Frame(0.0, 0.0, float(self.size[1]), float(self.size[0]))

    def cut(self, frame: Frame) -> Array:
        """Show a part of the slide at the size of its map; beyond the slide's edges it is empty."""
        height, width = frame.size
        shown = np.full((height, width, 3), _EMPTY, np.uint8)
        rows = _cells(frame.top, frame.height, height, self.size[0], self.picture.shape[0])
        columns = _cells(frame.left, frame.width, width, self.size[1], self.picture.shape[1])
        if min(len(rows[0]), len(columns[0])):
            # Only what is shown is resized: a window of a slide may be a hundredth of it.
            part = self.picture[rows[1] : rows[2], columns[1] : columns[2]]
            smooth = resize_image(part, (len(rows[0]), len(columns[0])))
            shown[np.ix_(rows[0], columns[0])] = smooth
        return shown


def _cells(
    start: float, length: float, pixels: int, whole: float, cells: int
) -> tuple[Array, int, int]:
    """Find which pixels of a map lie on a thumbnail, and the thumbnail's first cell and its end."""
    places = start + (np.arange(pixels) + 0.5) * length / pixels
    inside = np.flatnonzero((places >= 0) & (places < whole))
    if not inside.size:
        return inside, 0, 0
    edges = [start + end * length / pixels for end in (inside[0], inside[-1] + 1)]
    first, last = (float(np.clip(edge, 0, whole)) * cells / whole for edge in edges)
    begin = min(int(first), cells - 1)
    return inside, begin, max(begin + 1, round(last))


def tile_map(
    x: Any,
    y: Any,
    values: Any,
    *,
    tile: Any = None,
    thumbnail: Thumbnail | None = None,
    peak: float | None = None,
    title: str = "",
    caption: str = "",
    cmap: str | None = None,
) -> Array:
    """Draw numbers at the places of a slide's tiles.

    Args:
        x: `(n,)`, the left edge of each tile, in any unit; tiles need form no grid.
        y: `(n,)`, the upper edge of each tile, in the same unit, downwards.
        values: `(n,)` numbers; NaN leaves a tile empty. Where one is below zero the colours have
            zero in their middle. Where tiles overlap their mean is drawn.
        tile: The `(height, width)` of a tile in the units of x and y, or one number for both; by
            default the median way from a tile to the nearest other one.
        thumbnail: A picture of the slide, over which is drawn.
        peak: The magnitude that gets the last colour; by default the largest one.
        title: What it is, above the map.
        caption: What is to be said of it, below.
        cmap: The name of a matplotlib colour map; by default "viridis", or "bwr" where signed.

    Returns:
        uint8 `(any, 350, 3)`, or a multiple of that width where tiles are many.

    Raises:
        ValueError: If arrays have no numbers or do not fit together.

    Example:
        >>> x, y = np.meshgrid(np.arange(0, 512, 64), np.arange(0, 320, 64))
        >>> tile_map(x, y, np.hypot(x, y), title="how far from the corner").shape
        (288, 350, 3)
    """
    x, y = places(x, y)
    drawn = numbers(values, "values", len(x))
    known = drawn[np.isfinite(drawn)]
    signed = bool((known < 0).any())
    if peak is None:
        peak = float(np.abs(known).max(initial=0)) or 1.0
    ends = (f"{-peak:.3g}" if signed else "0", f"{peak:.3g}")
    panel = _Panel("", drawn / peak, signed, cmap or (None if signed else _CMAP), ends)
    return _draw_sheet(x, y, sides(tile, x, y), thumbnail, [panel], (title, "", caption))


def tile_sheet(
    x: Any,
    y: Any,
    labels: Any,
    probabilities: Any,
    *,
    tile: Any = None,
    thumbnail: Thumbnail | None = None,
    title: str = "",
    subtitle: str = "",
    caption: str = "",
    name: str = "label",
) -> Array:
    """Draw labels, probabilities and their difference at the places of a slide's tiles.

    Args:
        x: As in `tile_map`.
        y: As in `tile_map`.
        labels: `(n,)` in [0, 1]; NaN where a tile has none.
        probabilities: `(n,)` in [0, 1]; NaN where a tile has none.
        tile: As in `tile_map`.
        thumbnail: A picture of the slide, which is drawn first, and pale below the maps.
        title: What the slide is, top left.
        subtitle: When it was, top right.
        caption: What is to be said of it, below.
        name: What a label of 1 means.

    Returns:
        uint8 `(any, 350, 3)`, or a multiple of that width where tiles are many.

    Raises:
        ValueError: If arrays have no numbers or do not fit together.

    Example:
        >>> x, y = np.meshgrid(np.arange(8), np.arange(5))
        >>> tile_sheet(x, y, x > 3, x / 7, title="slide 1", name="tumour").shape
        (320, 350, 3)
    """
    x, y = places(x, y)
    truth = _shares(labels, "labels", len(x))
    found = _shares(probabilities, "probabilities", len(x))
    panels = [
        _Panel(name, truth, False, _CMAP, ("0", "1")),
        _Panel("probability", found, False, _CMAP),
        _Panel("probability − label", found - truth, True, None, ("−1", "+1")),
    ]
    words = (title, subtitle, caption)
    return _draw_sheet(x, y, sides(tile, x, y), thumbnail, panels, words)


def tile_mosaic(
    x: Any,
    y: Any,
    pictures: Any,
    maps: Any,
    *,
    tile: Any = None,
    thumbnail: Thumbnail | None = None,
    title: str = "",
    subtitle: str = "",
    caption: str = "",
    signed: bool = False,
) -> Array:
    """Draw tiles with their attribution maps at their places, all on one scale.

    Args:
        x: As in `tile_map`.
        y: As in `tile_map`.
        pictures: uint8 `(n, height, width, 3)`.
        maps: Raw floats `(n, h, w)`. A tile whose map is NaN, infinite or zero everywhere is shown
            in grey and struck out.
        tile: As in `tile_map`.
        thumbnail: A picture of the slide, which is seen pale between the tiles.
        title: What it is, top left.
        subtitle: When it was, top right.
        caption: What is to be said of it, below.
        signed: Whether the sign is drawn.

    Returns:
        uint8 `(any, 350, 3)`, or a multiple of that width where tiles are many.

    Raises:
        ValueError: If arrays have no numbers or do not fit together.

    Example:
        >>> x, y = np.meshgrid(np.arange(4), np.arange(3))
        >>> tiles = np.full((12, 16, 16, 3), 200, np.uint8)
        >>> tile_mosaic(x, y, tiles, np.random.default_rng(0).random((12, 4, 4))).shape
        (338, 350, 3)
    """
    x, y = places(x, y)
    pictures, maps = np.asarray(pictures), np.asarray(maps, np.float32)
    if len(pictures) != len(x) or len(maps) != len(x) or maps.ndim != 3:
        raise ValueError(
            f"pictures and maps must be of the {len(x)} tiles, one each. "
            f"Received: pictures.shape={pictures.shape}, maps.shape={maps.shape}"
        )
    wide = sides(tile, x, y)
    frame = frame_of(x, y, wide)
    cards_wide = _cards_wide(frame, wide, pictures.shape[2])
    side = cards_wide * CARD_WIDTH
    scale = min(side / frame.width, _TALLEST * side / frame.height)
    frame = Frame(frame.left, frame.top, frame.width, frame.height, scale)
    photo = _background(frame, thumbnail)
    heat = np.zeros(frame.size, np.float32)
    for picture, map_, dead, (left, top, right, bottom) in zip(
        pictures, maps, without_map(maps, signed), frame.boxes(x, y, wide), strict=True
    ):
        size = (bottom - top, right - left)
        small = resize_image(picture, size)
        photo[top:bottom, left:right] = _struck_out(small) if dead else small
        # A tile that is drawn later covers what it overlaps, as its picture does.
        heat[top:bottom, left:right] = 0 if dead else resize_maps(map_, size)
    return cards.tile(
        photo,
        heat,
        title=title,
        subtitle=subtitle,
        caption=caption,
        signed=signed,
        width=side,
    )


@dataclass(frozen=True)
class _Panel:
    """One map of a sheet: its title, values in [0, 1], or [-1, 1] where signed, and its colours.

    `ends` is what the ends of its colour bar stand for; None where an earlier bar serves.
    """

    title: str
    values: Array
    signed: bool
    cmap: str | None
    ends: tuple[str, str] | None = None


class _Layout(NamedTuple):
    """How panels are arranged: cards in the sheet's width, panels in a row, and the map of each."""

    px: int
    columns: int
    frame: Frame


def _arranged(whole: Frame, tile: tuple[float, float], count: int) -> _Layout:
    """Arrange panels so that they are as large as they can be."""
    for px in range(1, _WIDEST + 1):
        width = px * CARD_WIDTH
        height = _TALLEST * width - (_HEADER + _FOOTER) * px
        layouts = [
            _Layout(
                px,
                columns,
                whole.within(
                    (
                        height / -(-count // columns) - (_title_height(count) + _MARGIN) * px,
                        (width - _MARGIN * px) / columns - _MARGIN * px,
                    ),
                    tile,
                ),
            )
            for columns in range(1, count + 1)
        ]
        layout = max(layouts, key=lambda each: (each.frame.scale, each.columns))
        if layout.frame.scale * tile[1] >= _FINE:
            break
    return layout


def _title_height(panels: int) -> int:
    return _TITLE if panels > 1 else 0


def _draw_sheet(
    x: Array,
    y: Array,
    tile: tuple[float, float],
    thumbnail: Thumbnail | None,
    panels: Sequence[_Panel],
    words: tuple[str, str, str],
) -> Array:
    """Draw panels of a slide; `words` are the title, the subtitle and the caption."""
    whole = frame_of(x, y, tile) if thumbnail is None else thumbnail.frame
    count = len(panels) + (thumbnail is not None)
    px, columns, frame = _arranged(whole, tile, count)
    (height, width), titled, margin = frame.size, _title_height(count) * px, _MARGIN * px
    row_step = height + titled + margin
    full = -(-count // columns) * row_step + (_HEADER + _FOOTER) * px
    sheet = Sheet(paper(px * CARD_WIDTH, full), px, _MARGIN)
    sheet.header(*words[:2])
    step = (sheet.width - margin) / columns
    for i, (name, image) in enumerate(_images(panels, frame, frame.boxes(x, y, tile), thumbnail)):
        row, column = divmod(i, columns)
        left = round(margin + column * step + (step - margin - width) / 2)
        top = _HEADER * px + row * row_step
        if titled:
            place = (left + width / 2, top + titled / 2)
            sheet.write(name, place, step - 4 * px, 11, FAINT, "mm")
        sheet.paste(image, left, top + titled)
    _draw_footer(sheet, panels, thumbnail, words[2])
    return sheet.pixels


def _images(
    panels: Sequence[_Panel], frame: Frame, boxes: Array, thumbnail: Thumbnail | None
) -> Iterator[tuple[str, Array]]:
    """Draw the slide, where there is a thumbnail, and each panel: a title and an image each."""
    if thumbnail is not None:
        yield "slide", thumbnail.cut(frame)
    pale = _background(frame, thumbnail)
    for panel in panels:
        values = averaged(panel.values, boxes, frame.size)
        options: dict[str, Any] = {"cmap": panel.cmap, "opacity": _opacity(thumbnail)}
        yield panel.title, heatmap.lay(pale, values, signed=panel.signed, **options)


def _draw_footer(
    sheet: Sheet, panels: Sequence[_Panel], thumbnail: Thumbnail | None, caption: str
) -> None:
    """Write the caption, and below it the colours and the grey of what is empty."""
    x, room = sheet.left, sheet.right - sheet.left
    sheet.write(caption, (x, sheet.height - sheet.px(32)), room, 12)
    y, high = sheet.height - sheet.px(12), sheet.px(5)
    for panel in panels:
        if panel.ends:
            colours = (panel.signed, panel.cmap, _opacity(thumbnail))
            x = sheet.legend((x, y), panel.ends, 74, *colours)
    if thumbnail is None:
        used = sheet.write("no tile", (sheet.right, y), sheet.right - x, anchor="rm")
        right = round(sheet.right - used - high)
        sheet.fill((right - 2 * high, y - high, right, y + high), FAINT)
        sheet.fill((right - 2 * high + 1, y - high + 1, right - 1, y + high - 1), (_EMPTY,) * 3)


def _opacity(thumbnail: Thumbnail | None) -> float:
    return 1.0 if thumbnail is None else _OVER


def without_map(maps: Array, signed: bool) -> Array:
    """Tell which maps `(n, h, w)` can't be drawn, by the rules of `render.fault`: bool `(n,)`."""
    flat = maps.reshape(len(maps), -1)
    drawable = flat.any(axis=1) if signed else flat.max(axis=1) > 0
    return np.asarray(~(np.isfinite(flat).all(axis=1) & drawable))


def _struck_out(picture: Array) -> Array:
    grey = heatmap.grey(picture)
    corners = (0, grey.shape[0] - 1), (grey.shape[1] - 1, 0)
    return np.asarray(cv2.line(grey, *corners, INK, max(1, len(grey) // 40), cv2.LINE_AA))


def _background(frame: Frame, thumbnail: Thumbnail | None) -> Array:
    """What is seen where there is no tile: grey, or the thumbnail, grey and never white."""
    if thumbnail is None:
        return np.full((*frame.size, 3), _EMPTY, np.uint8)
    grey = heatmap.grey(thumbnail.cut(frame)).astype(np.float32)
    return np.rint(80 + grey * (_EMPTY - 80) / 255).astype(np.uint8)


def _cards_wide(frame: Frame, tile: tuple[float, float], wanted: int) -> int:
    """How many cards wide a mosaic is, for tiles of so many pixels."""
    wide = wanted * frame.width / tile[1] / CARD_WIDTH
    return int(np.clip(np.ceil(wide), 1, _WIDEST))


def places(x: Any, y: Any) -> tuple[Array, Array]:
    """Settle where tiles lie: two float64 `(n,)`."""
    x = np.asarray(x, np.float64).reshape(-1)
    y = np.asarray(y, np.float64).reshape(-1)
    if len(x) != len(y) or not len(x) or not np.isfinite([x, y]).all():
        raise ValueError(
            "x and y must be finite numbers, one of each for every tile. "
            f"Received: {len(x)} and {len(y)} of them"
            + (", some NaN or infinite" if len(x) == len(y) and len(x) else "")
        )
    return x, y


def sides(tile: Any, x: Array, y: Array) -> tuple[float, float]:
    """Settle the `(height, width)` of a tile; found from the tiles' places where it is None."""
    if tile is None:
        tile = spacing(x, y)
    found = tuple(float(side) for side in np.broadcast_to(np.asarray(tile, float), (2,)))
    if not all(0 < side < np.inf for side in found):
        raise ValueError(f"tile must be (height, width) in the units of x. Received: tile={tile!r}")
    return found[0], found[1]


def numbers(values: Any, name: str, count: int) -> Array:
    """Settle one number for each tile: float64 `(n,)`."""
    found = np.asarray(values, np.float64).reshape(-1)
    if len(found) != count:
        raise ValueError(
            f"{name} must be one for each of the {count} tiles. Received: {len(found)} of them"
        )
    return found


def _shares(values: Any, name: str, count: int) -> Array:
    found = numbers(values, name, count)
    known = found[np.isfinite(found)]
    if known.size and (known.min() < -1e-6 or known.max() > 1 + 1e-6):
        raise ValueError(
            f"{name} must be in [0, 1]. Received: {name} from {known.min():g} to {known.max():g}"
        )
    return found
