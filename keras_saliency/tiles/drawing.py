"""Drawing of slides: numbers at the places of their tiles, and the tiles themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_by_rows, resize_maps
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_rgb
from keras_saliency.drawing import cards, heatmap
from keras_saliency.drawing.heatmap import Colours
from keras_saliency.drawing.sheet import CARD_WIDTH, Sheet, paper
from keras_saliency.drawing.text import FAINT, INK
from keras_saliency.tiles.geometry import Frame, averaged, frame_of, spacing

_EMPTY = 208  # the grey of a place without a tile: no colour map of ours has it
_CMAP = "viridis"  # its zero is a colour; attribution maps, whose zero is none, are "inferno"
_OVER = 0.8  # the opacity over a thumbnail
_WIDEST = 4  # cards
_FINE = 5  # pixels of a tile, where that needs no wider sheet
_TALLEST = 1.25  # times the width of a sheet

# In pixels of a card of the standard width; a wider one has them larger.
_MARGIN, _HEADER, _TITLE, _FOOTER = 6, 26, 18, 46


@dataclass(frozen=True)
class Thumbnail:
    """An image of a whole slide, over which maps are drawn.

    Args:
        picture: uint8 `(height, width, 3)`, RGB, of any size.
        size: The `(height, width)` of what it shows, in the units of the tiles' places. Its upper
            left corner is the place (0, 0).

    Raises:
        TypeError: If the image is not uint8.
        ValueError: If its shape or the size is wrong.

    Example:
        >>> image = np.full((75, 100, 3), 230, np.uint8)
        >>> thumbnail = Thumbnail(image, size=(30_000, 40_000))
        >>> tile_map([8_000], [4_000], [0.9], tile=2_000, thumbnail=thumbnail).shape[1]
        350
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
        """The whole slide as a `Frame`, in the units of the tiles' places."""
        return Frame(0.0, 0.0, float(self.size[1]), float(self.size[0]))

    def cut(self, frame: Frame) -> Array:
        """Show a part of the slide at the size of its map.

        Args:
            frame: The part, and the scale of the map.

        Returns:
            uint8 `(height, width, 3)` of the map's size; grey beyond the slide's edges.
        """
        height, width = frame.size
        image = np.full((height, width, 3), _EMPTY, np.uint8)
        tall, wide = self.picture.shape[:2]
        rows, top, bottom = _cells(frame.top, frame.height, height, self.size[0], tall)
        columns, left, right = _cells(frame.left, frame.width, width, self.size[1], wide)
        if min(len(rows), len(columns)):
            # Only what is visible is resized: a window of a slide may be a hundredth of it.
            part = self.picture[top:bottom, left:right]
            image[np.ix_(rows, columns)] = resize_by_rows(part, (len(rows), len(columns)))
        return image


def _cells(
    start: float, length: float, pixels: int, whole: float, cells: int
) -> tuple[Array, int, int]:
    """Find which pixels of a map lie on a thumbnail, and the thumbnail's first cell and its end."""
    positions = start + (np.arange(pixels) + 0.5) * length / pixels
    inside = np.flatnonzero((positions >= 0) & (positions < whole))
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
        values: `(n,)` numbers; NaN leaves a tile empty. If one is below zero, zero is in the middle
            of the colours. Where tiles overlap, their mean is drawn.
        tile: The `(height, width)` of a tile in the units of x and y, or one number for both; by
            default the median distance from a tile to the nearest other one.
        thumbnail: An image of the slide, over which the numbers are drawn.
        peak: The magnitude that gets the last colour; by default the largest one.
        title: The title above the map.
        caption: A note below it.
        cmap: The name of a matplotlib colour map; by default "viridis", or "bwr" where signed.

    Returns:
        uint8 `(height, 350, 3)`, RGB, or a multiple of that width where tiles are many.

    Raises:
        ValueError: If the arrays differ in length, places are not finite, or the size of a tile or
            the colour map's name is wrong.

    Example:
        >>> x, y = np.meshgrid(np.arange(0, 512, 64), np.arange(0, 320, 64))
        >>> tile_map(x, y, np.hypot(x, y), title="how far from the corner").shape
        (288, 350, 3)
    """
    slide = _Slide.of(x, y, tile, thumbnail)
    resolved = per_tile(values, "values", len(slide.x))
    known = resolved[np.isfinite(resolved)]
    signed = bool((known < 0).any())
    if peak is None:
        peak = float(np.abs(known).max(initial=0)) or 1.0
    colours = Colours(signed, cmap or (None if signed else _CMAP), slide.opacity)
    ends = (f"{-peak:.3g}" if signed else "0", f"{peak:.3g}")
    return _draw(slide, [_Panel("", resolved / peak, colours, ends)], (title, "", caption))


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
        thumbnail: An image of the slide, which is drawn first, and pale below the maps.
        title: The slide's name, at the top left.
        subtitle: The moment, at the top right.
        caption: A note below the maps.
        name: What a label of 1 means.

    Returns:
        uint8 `(height, 350, 3)`, RGB, or a multiple of that width where tiles are many.

    Raises:
        ValueError: If the arrays differ in length, places are not finite, a label or a probability
            is outside [0, 1], or the size of a tile is wrong.

    Example:
        >>> x, y = np.meshgrid(np.arange(8), np.arange(5))
        >>> tile_sheet(x, y, x > 3, x / 7, title="slide 1", name="tumour").shape
        (320, 350, 3)
    """
    slide = _Slide.of(x, y, tile, thumbnail)
    truth = _shares(labels, "labels", len(slide.x))
    predicted = _shares(probabilities, "probabilities", len(slide.x))
    shares, signed = Colours(False, _CMAP, slide.opacity), Colours(True, None, slide.opacity)
    panels = [
        _Panel(name, truth, shares, ("0", "1")),
        _Panel("probability", predicted, shares),
        _Panel("probability − label", predicted - truth, signed, ("−1", "+1")),
    ]
    return _draw(slide, panels, (title, subtitle, caption))


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
        pictures: The tiles' images, uint8 `(n, height, width, 3)`, RGB.
        maps: Raw floats `(n, h, w)`. A tile whose map holds NaN or infinity, or is zero everywhere,
            is shown in grey and struck out.
        tile: As in `tile_map`.
        thumbnail: An image of the slide, which is drawn pale between the tiles.
        title: The title, at the top left.
        subtitle: The moment, at the top right.
        caption: A note below the tiles.
        signed: Whether the sign is drawn, with zero in the middle of the colours.

    Returns:
        uint8 `(height, 350, 3)`, RGB, or a multiple of that width where tiles are many.

    Raises:
        TypeError: If the tiles' images are not uint8.
        ValueError: If the arrays differ in length, places are not finite, or the size of a tile is
            wrong.

    Example:
        >>> x, y = np.meshgrid(np.arange(4), np.arange(3))
        >>> tiles = np.full((12, 16, 16, 3), 200, np.uint8)
        >>> tile_mosaic(x, y, tiles, np.random.default_rng(0).random((12, 4, 4))).shape
        (338, 350, 3)
    """
    slide = _Slide.of(x, y, tile, thumbnail)
    count, pictures, maps = len(slide.x), np.asarray(pictures), np.asarray(maps, np.float32)
    if len(pictures) != count or len(maps) != count or maps.ndim != 3:
        raise ValueError(
            f"pictures and maps must be of the {count} tiles, one each. "
            f"Received: pictures.shape={pictures.shape}, maps.shape={maps.shape}"
        )
    frame = frame_of(slide.x, slide.y, slide.tile)
    # As many cards wide as give each tile the pixels of its image.
    wide = pictures.shape[2] * frame.width / slide.tile[1] / CARD_WIDTH
    width = int(np.clip(np.ceil(wide), 1, _WIDEST)) * CARD_WIDTH
    frame = replace(frame, scale=min(width / frame.width, _TALLEST * width / frame.height))
    image = _background(frame, thumbnail)
    values = np.zeros(frame.size, np.float32)
    for picture, map_, dead, (left, top, right, bottom) in zip(
        pictures, maps, without_map(maps, signed), frame.boxes(*slide[:3]), strict=True
    ):
        size = (bottom - top, right - left)
        small = resize_by_rows(picture, size)
        image[top:bottom, left:right] = _struck_out(small) if dead else small
        # A tile that is drawn later covers what it overlaps, as its image does.
        values[top:bottom, left:right] = 0 if dead else resize_maps(map_, size)
    options: dict[str, Any] = {"signed": signed, "width": width}
    return cards.tile(image, values, title=title, subtitle=subtitle, caption=caption, **options)


class _Slide(NamedTuple):
    """Where the tiles of a slide lie: float64 `(n,)` each, and the `(height, width)` of a tile."""

    x: Array
    y: Array
    tile: tuple[float, float]
    thumbnail: Thumbnail | None

    @classmethod
    def of(cls, x: Any, y: Any, tile: Any, thumbnail: Thumbnail | None) -> "_Slide":
        x, y = resolve_places(x, y)
        return cls(x, y, resolve_tile(tile, x, y), thumbnail)

    @property
    def opacity(self) -> float:
        """The opacity of values that are drawn on the slide."""
        return 1.0 if self.thumbnail is None else _OVER


class _Panel(NamedTuple):
    """One map of a sheet.

    Attributes:
        title: Written above it where there are several.
        values: `(n,)` in [0, 1], or [-1, 1] where signed.
        colours: How they are coloured.
        ends: What the ends of its colour bar stand for; None for no bar.
    """

    title: str
    values: Array
    colours: Colours
    ends: tuple[str, str] | None = None


def _draw(slide: _Slide, panels: Sequence[_Panel], words: tuple[str, str, str]) -> Array:
    """Draw panels of a slide; `words` are the title, the subtitle and the caption."""
    count = len(panels) + (slide.thumbnail is not None)
    titled = _TITLE if count > 1 else 0
    px, columns, frame = _arranged(slide, count, titled)
    (height, width), margin, titled = frame.size, _MARGIN * px, titled * px
    row_step = height + titled + margin
    full = -(-count // columns) * row_step + (_HEADER + _FOOTER) * px
    sheet = Sheet(paper(px * CARD_WIDTH, full), px, _MARGIN)
    sheet.header(*words[:2])
    step = (sheet.width - margin) / columns
    for i, (title, image) in enumerate(_images(slide, panels, frame)):
        row, column = divmod(i, columns)
        left = round(margin + column * step + (step - margin - width) / 2)
        top = _HEADER * px + row * row_step
        if titled:
            place = (left + width / 2, top + titled / 2)
            sheet.write(title, place, step - 4 * px, 11, FAINT, "mm")
        sheet.paste(image, left, top + titled)
    _draw_footer(sheet, panels, words[2], slide.thumbnail is None)
    return sheet.pixels


def _arranged(slide: _Slide, count: int, titled: int) -> tuple[int, int, Frame]:
    """Make panels as large as they can be: the sheet's width in cards, columns, and the map."""
    tile = slide.tile
    whole = slide.thumbnail.frame if slide.thumbnail else frame_of(slide.x, slide.y, tile)
    for px in range(1, _WIDEST + 1):
        width, layouts = px * CARD_WIDTH, []
        height = _TALLEST * width - (_HEADER + _FOOTER) * px
        for columns in range(1, count + 1):
            room = (
                height / -(-count // columns) - (titled + _MARGIN) * px,
                (width - _MARGIN * px) / columns - _MARGIN * px,
            )
            layouts.append((columns, whole.within(room, tile)))
        columns, frame = max(layouts, key=lambda layout: (layout[1].scale, layout[0]))
        if frame.scale * tile[1] >= _FINE:
            break
    return px, columns, frame


def _images(slide: _Slide, panels: Sequence[_Panel], frame: Frame) -> Iterator[tuple[str, Array]]:
    """Draw the slide, where there is a thumbnail, and each panel: a title and an image each."""
    if slide.thumbnail is not None:
        yield "slide", slide.thumbnail.cut(frame)
    pale, boxes = _background(frame, slide.thumbnail), frame.boxes(*slide[:3])
    for panel in panels:
        values = averaged(panel.values, boxes, frame.size)
        yield panel.title, heatmap.lay(pale, values, panel.colours)


def _draw_footer(sheet: Sheet, panels: Sequence[_Panel], caption: str, has_empty: bool) -> None:
    """Write the caption, and below it the colours and the grey of what is empty."""
    x, y, high = sheet.left, sheet.height - sheet.px(12), sheet.px(5)
    sheet.write(caption, (x, sheet.height - sheet.px(32)), sheet.right - x, 12)
    for panel in panels:
        if panel.ends:
            x = sheet.legend((x, y), panel.ends, 74, panel.colours)
    if has_empty:
        used = sheet.write("no tile", (sheet.right, y), sheet.right - x, anchor="rm")
        right = round(sheet.right - used - high)
        sheet.fill((right - 2 * high, y - high, right, y + high), FAINT)
        sheet.fill((right - 2 * high + 1, y - high + 1, right - 1, y + high - 1), (_EMPTY,) * 3)


def without_map(maps: Array, signed: bool) -> Array:
    """Return which maps `(n, h, w)` `heatmap.fault` finds fault with: bool `(n,)`."""
    flat = maps.reshape(len(maps), -1)
    drawable = flat.any(axis=1) if signed else flat.max(axis=1) > 0
    return np.asarray(~(np.isfinite(flat).all(axis=1) & drawable))


def _struck_out(image: Array) -> Array:
    grey = heatmap.grey(image)
    corners = (0, grey.shape[0] - 1), (grey.shape[1] - 1, 0)
    return np.asarray(cv2.line(grey, *corners, INK, max(1, len(grey) // 40), cv2.LINE_AA))


def _background(frame: Frame, thumbnail: Thumbnail | None) -> Array:
    """Return what is drawn where there is no tile: grey, or the thumbnail, grey and never white."""
    if thumbnail is None:
        return np.full((*frame.size, 3), _EMPTY, np.uint8)
    grey = heatmap.grey(thumbnail.cut(frame)).astype(np.float32)
    return np.rint(80 + grey * (_EMPTY - 80) / 255).astype(np.uint8)


def resolve_places(x: Any, y: Any) -> tuple[Array, Array]:
    """Validate where tiles lie: two float64 `(n,)`."""
    x = np.asarray(x, np.float64).reshape(-1)
    y = np.asarray(y, np.float64).reshape(-1)
    if len(x) != len(y) or not len(x) or not np.isfinite([x, y]).all():
        raise ValueError(
            "x and y must be finite numbers, one of each for every tile. "
            f"Received: {len(x)} and {len(y)} of them"
            + (", some NaN or infinite" if len(x) == len(y) and len(x) else "")
        )
    return x, y


def resolve_tile(tile: Any, x: Array, y: Array) -> tuple[float, float]:
    """Validate the `(height, width)` of a tile; None takes the distance of neighbouring tiles."""
    if tile is None:
        tile = spacing(x, y)
    height, width = (float(side) for side in np.broadcast_to(np.asarray(tile, float), (2,)))
    if not all(0 < side < np.inf for side in (height, width)):
        raise ValueError(f"tile must be (height, width) in the units of x. Received: tile={tile!r}")
    return height, width


def per_tile(values: Any, name: str, count: int) -> Array:
    """Validate one number for each tile: float64 `(n,)`."""
    array = np.asarray(values, np.float64).reshape(-1)
    check_each(len(array), name, count)
    return array


def check_each(given: int, name: str, count: int, or_else: str = "") -> None:
    """Raise a ValueError unless as many are given as there are tiles."""
    if given != count:
        raise ValueError(
            f"{name} must be one for each of the {count} tiles{or_else}. Received: {given} of them"
        )


def _shares(values: Any, name: str, count: int) -> Array:
    array = per_tile(values, name, count)
    known = array[np.isfinite(array)]
    if known.size and (known.min() < -1e-6 or known.max() > 1 + 1e-6):
        raise ValueError(
            f"{name} must be in [0, 1]. Received: {name} from {known.min():g} to {known.max():g}"
        )
    return array
