"""Drawing of maps: the only place where a map is scaled and coloured.

Rules that hold for every image made here. The sign is meaning and zero is a fixed colour. Every
map is drawn on its own scale, or on the common one that is passed in, and the image states it. The
opacity follows the magnitude, so that where there is no evidence the photo stays clean. A map that
is all zero, NaN or Inf is never coloured: the photo is shown in grey, with the reason.
"""

import functools
import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_saliency.common.arrays import frozen
from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_maps
from keras_saliency.common.validation import check_rgb, did_you_mean
from keras_saliency.data.frames import chosen_frames, mosaic_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAGNITUDE, _DIVERGING = "inferno", "bwr"
_STRONGEST = 0.85  # the opacity at the peak: the photo still shows through


class Colours(NamedTuple):
    """How values are coloured.

    Attributes:
        signed: Whether zero is in the middle of the colour map.
        cmap: The name of a matplotlib colour map. By default "inferno", or "bwr" where signed.
        opacity: A constant opacity from 0 to 1. By default it follows the magnitude.
    """

    signed: bool = False
    cmap: str | None = None
    opacity: float | None = None


def spread(map_: np.ndarray, size: tuple[int, int], frames: int = 1) -> np.ndarray:
    """Lay a map out on its image: a signal's along the width, a volume's frame by frame.

    Args:
        map_: Floats `(h, w)`, `(time,)` or `(frames, h, w)`, finite, of any length and size.
        size: The image's `(height, width)` in pixels.
        frames: How many frames the volume has, some of which the image shows.

    Returns:
        float32 `(height, width)`.

    Example:
        ```python
        spread(np.arange(5.0), (120, 360))
        ```
    """
    if map_.ndim == 2:
        return resize_maps(map_, size)
    if map_.ndim == 1:
        return np.repeat(resize_maps(map_[None], (1, size[1])), size[0], axis=0)
    rows, columns = mosaic_of(frames)
    tops = np.rint(np.linspace(0, size[0], rows + 1)).astype(int)
    lefts = np.rint(np.linspace(0, size[1], columns + 1)).astype(int)
    values = np.zeros(size, np.float32)
    for i, frame in enumerate(_frames_of(map_, chosen_frames(frames), frames)):
        (top, bottom), (left, right) = tops[i // columns :][:2], lefts[i % columns :][:2]
        values[top:bottom, left:right] = resize_maps(frame, (bottom - top, right - left))
    return values


def _frames_of(map_: np.ndarray, shown: np.ndarray, frames: int) -> np.ndarray:
    """Take from a map `(f, h, w)`, interpolating, what belongs to some of so many frames."""
    positions = np.clip((shown + 0.5) * len(map_) / frames - 0.5, 0, len(map_) - 1)
    before = np.floor(positions).astype(int)
    share = (positions - before)[:, None, None].astype(map_.dtype)
    after = np.minimum(before + 1, len(map_) - 1)
    return (1 - share) * map_[before] + share * map_[after]


def fault(map_: np.ndarray, signed: bool = False) -> str | None:
    """Say why a map cannot be drawn.

    Args:
        map_: Raw floats of any shape.
        signed: Whether values below zero are drawn.

    Returns:
        One short sentence, or None for a map that can be drawn.

    Example:
        ```python
        fault(np.zeros((7, 7)))  # "dead map: every value is 0"
        ```
    """
    if not np.isfinite(map_).all():
        return "map is NaN or Inf"
    if not map_.any():
        return "dead map: every value is 0"
    return "no value above 0" if not signed and map_.max() <= 0 else None


def overlay(
    display: np.ndarray,
    map_: np.ndarray,
    *,
    signed: bool = False,
    peak: float | None = None,
    cmap: str | None = None,
    opacity: float | None = None,
    frames: int = 1,
) -> np.ndarray:
    """Blend one map into its image, or under a signal's curves.

    Args:
        display: The image, uint8 `(height, width, 3)`, RGB; of a signal dark on white.
        map_: Raw floats `(h, w)` of any size; `(time,)` of a signal, `(frames, h, w)` of a volume.
        signed: Whether the sign is drawn, with zero in the middle of the colour map. Otherwise
            values below zero count as zero.
        peak: The magnitude that gets the last colour; larger ones are clipped. By default the
            map's own largest.
        cmap: The name of a matplotlib colour map. By default "inferno", or "bwr" where signed.
        opacity: A constant opacity from 0 to 1. By default it follows the magnitude.
        frames: How many frames the volume has, some of which the image shows.

    Returns:
        uint8 `(height, width, 3)`. A map that is all zero, NaN or Inf leaves the image in grey.

    Raises:
        TypeError: If the image is not uint8.
        ValueError: If a shape, the peak, the colour map's name or the opacity is wrong.

    Example:
        ```python
        overlay(np.full((90, 120, 3), 200, np.uint8), np.eye(7), cmap="viridis")
        ```
    """
    check_rgb(display, "display")
    _check(map_, peak, opacity, frames)
    colours = Colours(signed, cmap, opacity)
    _palette(_name(colours))
    if fault(map_, signed):
        return grey(display)
    return _blended(display, map_, peak or peak_of(map_, signed), colours, frames)


def overlay_frames(
    clip: np.ndarray,
    map_: np.ndarray,
    *,
    signed: bool = False,
    cmap: str | None = None,
    opacity: float | None = None,
) -> np.ndarray:
    """Blend a map into all frames of its video, on one scale.

    Args:
        clip: The frames, uint8 `(frames, height, width, 3)`, RGB.
        map_: Raw floats `(f, h, w)` of any size and number of frames, interpolated between them; a
            single frame is blended into all.
        signed: As in `overlay`.
        cmap: As in `overlay`.
        opacity: As in `overlay`.

    Returns:
        uint8 `(frames, height, width, 3)`. A map that is all zero, NaN or Inf leaves them in grey.

    Example:
        ```python
        overlay_frames(np.full((16, 90, 120, 3), 200, np.uint8), np.random.rand(4, 7, 7))
        ```
    """
    if fault(map_, signed):
        return np.stack([grey(frame) for frame in clip])
    peak, colours = peak_of(map_, signed), Colours(signed, cmap, opacity)
    maps = _frames_of(map_, np.arange(len(clip)), len(clip))
    pairs = zip(clip, maps, strict=True)
    return np.stack([_blended(frame, part, peak, colours) for frame, part in pairs])


def lay(image: np.ndarray, values: np.ndarray, colours: Colours) -> np.ndarray:
    """Colour the places of an image whose values are known, and leave the others as they are.

    Args:
        image: uint8 `(height, width, 3)`, RGB.
        values: Floats `(height, width)` in [0, 1], or [-1, 1] where signed; NaN where not known.
        colours: Their colours, of a constant opacity, so that a known zero is seen too.

    Returns:
        uint8 `(height, width, 3)`.

    Example:
        ```python
        values = np.array([[0, 0.5], [1, np.nan]])
        lay(np.full((2, 2, 3), 200, np.uint8), values, Colours(opacity=1.0))
        ```
    """
    known = np.isfinite(values)
    clipped = np.where(known, values, 0).clip(-1 if colours.signed else 0, 1)
    return np.where(known[..., None], _paint(image, clipped, colours), image)


@functools.lru_cache(maxsize=64)
def colour_bar(
    size: tuple[int, int],
    signed: bool = False,
    cmap: str | None = None,
    opacity: float | None = None,
) -> np.ndarray:
    """Draw the colours of `overlay` on white, from zero, or minus the peak, to the peak.

    Args:
        size: The bar's `(height, width)` in pixels.
        signed: Whether the bar begins at minus the peak.
        cmap: The name of a matplotlib colour map. By default "inferno", or "bwr" where signed.
        opacity: The overlay's constant opacity, or None where it follows the magnitude.

    Returns:
        uint8 `(height, width, 3)`, read-only, with the opacity of the overlay, so that the colours
        agree.

    Example:
        ```python
        colour_bar((10, 200), signed=True)
        ```
    """
    values = np.linspace(-1 if signed else 0, 1, size[1], dtype=np.float32)
    white = np.full((*size, 3), 255, np.uint8)
    return frozen(_paint(white, np.tile(values, (size[0], 1)), Colours(signed, cmap, opacity)))


def peak_of(map_: np.ndarray, signed: bool = False) -> float:
    """Return the largest value of a map, or the largest magnitude where signed."""
    return float(np.max(np.abs(map_) if signed else map_))


def _blended(
    display: np.ndarray, map_: np.ndarray, peak: float, colours: Colours, frames: int = 1
) -> np.ndarray:
    """Scale a map that can be drawn, zero staying zero, and blend its colours into its image."""
    # In float64, for the smallest and largest float32 numbers.
    scaled = np.clip(map_.astype(np.float64) / peak, -1 if colours.signed else 0, 1)
    values = spread(scaled, display.shape[:2], frames).clip(-1, 1)
    if map_.ndim > 1:
        return _paint(display, values, colours)
    # Multiplied, so that the curves stay dark whatever is behind them.
    return cv2.multiply(_paint(np.full_like(display, 255), values, colours), display, scale=1 / 255)


def _paint(display: np.ndarray, values: np.ndarray, colours: Colours) -> np.ndarray:
    """Blend the colours of scaled values `(height, width)` into an image of that size."""
    positions = (values + 1) * 127.5 if colours.signed else values * 255
    painted = cv2.applyColorMap(np.rint(positions).astype(np.uint8), _palette(_name(colours)))
    if colours.opacity is not None:
        alpha = np.full(values.shape, colours.opacity, np.float32)
    else:  # `_STRONGEST * (1 - (1 - |values|) ** 3)`, in place as images are large
        alpha = np.abs(values)
        np.subtract(1, alpha, out=alpha)
        alpha **= 3
        np.subtract(1, alpha, out=alpha)
        alpha *= _STRONGEST
    return cv2.blendLinear(display, painted, 1 - alpha, alpha)


def _name(colours: Colours) -> str:
    """Return the name of a colour map."""
    if colours.cmap is not None and not isinstance(colours.cmap, str):
        raise TypeError(
            "cmap must be the name of a matplotlib colour map, such as 'viridis'. "
            f"Received: cmap={colours.cmap!r}"
        )
    return colours.cmap or (_DIVERGING if colours.signed else _MAGNITUDE)


@functools.lru_cache(maxsize=32)
def _palette(name: str) -> np.ndarray:
    """Return the 256 colours of a matplotlib colour map, uint8 `(256, 1, 3)`."""
    import matplotlib

    if name not in matplotlib.colormaps:
        hint = did_you_mean(name, matplotlib.colormaps) or " Try 'viridis'."
        raise ValueError(
            f"cmap must be the name of a matplotlib colour map.{hint} Received: cmap={name!r}"
        )
    colours = matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3]
    return np.rint(255 * colours).astype(np.uint8)[:, None]


def _check(map_: np.ndarray, peak: float | None, opacity: float | None, frames: int) -> None:
    volume = map_.ndim == 3 and (frames > 1 or len(map_) == 1)
    if not (map_.ndim in (1, 2) or volume) or not map_.size:
        raise ValueError(
            "map_ must have the shape (h, w), (time,) of a signal, or (f, h, w) with frames=. "
            f"Received: map_.shape={map_.shape}"
        )
    if peak is not None and not 0 < peak < math.inf:
        raise ValueError(f"peak must be a finite number above 0. Received: peak={peak}")
    if opacity is not None and not (isinstance(opacity, Real) and 0 <= opacity <= 1):
        raise ValueError(
            "opacity must be a number from 0 to 1, or None to follow the magnitude. "
            f"Received: opacity={opacity!r}"
        )


def grey(image: np.ndarray) -> np.ndarray:
    """Take the colours out of an image, uint8 `(height, width, 3)`."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def figure(
    displays: np.ndarray,
    maps: np.ndarray,
    titles: Sequence[str],
    *,
    signed: bool = False,
    cmap: str | None = None,
    opacity: float | None = None,
    frames: int = 1,
) -> "Figure":
    """Draw images, their maps and their overlays side by side, a row each.

    Args:
        displays: The images, uint8 `(batch, height, width, 3)`, RGB.
        maps: Raw floats `(batch, h, w)`, `(batch, time)` or `(batch, frames, h, w)`, each drawn on
            its own scale.
        titles: One for each image.
        signed: Whether the sign is drawn.
        cmap: The name of a matplotlib colour map. By default "inferno", or "bwr" where signed.
        opacity: The overlay's constant opacity from 0 to 1. By default it follows the magnitude.
        frames: How many frames the volumes have, some of which the images show.

    Returns:
        A matplotlib figure, unknown to pyplot; `figure.savefig(path)` writes it.

    Raises:
        TypeError: If the images are not uint8.
        ValueError: If the shapes do not agree, or the colour map's name or the opacity is wrong.

    Example:
        ```python
        photos = np.full((2, 90, 120, 3), 200, np.uint8)
        figure(photos, np.random.rand(2, 7, 7), ["a", "b"]).savefig("maps.png")
        ```
    """
    from matplotlib.figure import Figure  # slow to load; not pyplot, whose state is the user's

    if not len(displays) == len(maps) == len(titles):
        raise ValueError(
            "displays, maps and titles must be equally many. Received: "
            f"{len(displays)} displays, {len(maps)} maps, {len(titles)} titles"
        )
    colours = Colours(signed, cmap, opacity)
    _palette(_name(colours))
    height, width = displays.shape[1:3]
    row = min(max(3.0 * height / width, 0.7), 6.0) + 0.4
    drawing = Figure(figsize=(10, row * len(maps)), layout="constrained")
    axes = drawing.subplots(len(maps), 3, squeeze=False)
    for row_axes, display, map_, title in zip(axes, displays, maps, titles, strict=True):
        row_axes[0].imshow(display)
        row_axes[0].set_title(title, fontsize="medium")
        _draw_map(row_axes[1], map_, (width, height), colours, frames)
        row_axes[2].imshow(overlay(display, map_, **colours._asdict(), frames=frames))
    axes[0, 1].set_title("map", fontsize="medium")
    axes[0, 2].set_title("overlay", fontsize="medium")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return drawing


def _draw_map(
    axis: "Axes", map_: np.ndarray, size: tuple[int, int], colours: Colours, frames: int
) -> None:
    """Show the cells of one raw map with a colour bar, or say why it cannot be drawn."""
    why, extent = fault(map_, colours.signed), (0, *size, 0)
    if why:
        axis.imshow(np.full((1, 1, 3), 238, np.uint8), extent=extent)
        axis.text(0.5, 0.5, why, ha="center", va="center", wrap=True, transform=axis.transAxes)
        return
    peak = peak_of(map_, colours.signed)
    cells = _cells(map_, frames)
    image = axis.imshow(cells, _name(colours), extent=extent, interpolation="nearest")
    image.set_clim(-peak if colours.signed else 0, peak)
    bar = axis.inset_axes((1.03, 0, 0.05, 1))  # exactly as high as the map
    axis.figure.colorbar(image, cax=bar, format="%.3g")


def _cells(map_: np.ndarray, frames: int) -> np.ndarray:
    """Lay the cells of a map out as its image is: `(h, w)`."""
    if map_.ndim < 3:
        return np.atleast_2d(map_)
    rows, columns = mosaic_of(frames)
    return spread(map_, (rows * map_.shape[1], columns * map_.shape[2]), frames)
