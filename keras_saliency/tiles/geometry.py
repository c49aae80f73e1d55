"""Where the tiles of a slide lie, and on which pixels of a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_saliency.common.types import Array

_ASKED = 256  # tiles, whose nearest neighbours tell how far tiles lie apart
_LARGEST = 64  # pixels of a tile on a map


@dataclass(frozen=True)
class Frame:
    """A part of a slide and the map that shows it.

    Attributes:
        left, top: The corner of the part, in the units of the slide.
        width, height: Its size, in these units.
        scale: Pixels of the map for each unit.
    """

    left: float
    top: float
    width: float
    height: float
    scale: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """The `(height, width)` of the map in pixels."""
        return max(1, round(self.scale * self.height)), max(1, round(self.scale * self.width))

    def within(self, room: tuple[float, float], tile: tuple[float, float]) -> Frame:
        """Scale the map to a room `(height, width)` in pixels, tiles to whole pixels if it goes.

        Args:
            room: What the map fits into.
            tile: The `(height, width)` of a tile, in the units of the slide.
        """
        scale = min(room[0] / self.height, room[1] / self.width)
        pixels = scale * tile[1]
        if pixels >= 1:
            scale = min(np.floor(pixels), _LARGEST) / tile[1]
        return Frame(self.left, self.top, self.width, self.height, float(scale))

    def boxes(self, x: Array, y: Array, tile: tuple[float, float]) -> Array:
        """Find the pixels of each tile: int `(n, 4)` of left, top, right and bottom, inside.

        Edges are rounded, so that tiles that meet on the slide meet on the map; none is thinner
        than a pixel.
        """
        height, width = self.size
        edges = [x - self.left, y - self.top, x - self.left + tile[1], y - self.top + tile[0]]
        left, top, right, bottom = (np.rint(self.scale * edge).astype(int) for edge in edges)
        right, bottom = np.maximum(right, left + 1), np.maximum(bottom, top + 1)
        return np.stack(
            [
                left.clip(0, width - 1),
                top.clip(0, height - 1),
                right.clip(1, width),
                bottom.clip(1, height),
            ],
            axis=1,
        )


def frame_of(x: Array, y: Array, tile: tuple[float, float]) -> Frame:
    """Return the smallest part of a slide that holds its tiles."""
    left, top = float(x.min()), float(y.min())
    return Frame(left, top, float(x.max()) - left + tile[1], float(y.max()) - top + tile[0])


def averaged(values: Array, boxes: Array, size: tuple[int, int]) -> Array:
    """Lay values on the pixels of their tiles; where tiles overlap, their mean.

    Args:
        values: `(n,)`; NaN is no value.
        boxes: int `(n, 4)`, from `Frame.boxes`.
        size: The `(height, width)` of the map.

    Returns:
        float64 `(height, width)`, NaN where no value lies.
    """
    known = np.isfinite(values)
    sums = _summed(values[known], boxes[known], size)
    counts = np.rint(_summed(np.ones(known.sum()), boxes[known], size))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _summed(values: Array, boxes: Array, size: tuple[int, int]) -> Array:
    """Add the values of all boxes: noted at their four corners, and summed up both ways."""
    height, width = size
    left, top, right, bottom = boxes.T
    corners = np.concatenate([part * (width + 1) for part in (top, top, bottom, bottom)])
    corners += np.concatenate([left, right, left, right])
    signs = np.concatenate([values, -values, -values, values])
    steps = np.bincount(corners, signs, (height + 1) * (width + 1)).reshape(height + 1, width + 1)
    return steps.cumsum(axis=0).cumsum(axis=1)[:height, :width]


def spacing(x: Array, y: Array) -> float:
    """Find how far tiles lie apart: the median way to the nearest, along the axis that is longer.

    It is the stride of a regular grid. A single tile is one unit from the next.
    """
    asked = np.unique(np.linspace(0, len(x) - 1, min(_ASKED, len(x))).astype(int))
    nearest = []
    for i in asked:
        ways = np.maximum(np.abs(x - x[i]), np.abs(y - y[i]))
        ways = ways[ways > 0]
        if ways.size:
            nearest.append(ways.min())
    return float(np.median(nearest)) if nearest else 1.0


def window(x: Array, y: Array, labels: Array, count: int) -> Array:
    """Choose neighbours, where labels are mixed most: what a model is asked about in detail.

    Args:
        x: `(n,)`, where the tiles of a slide lie.
        y: Likewise.
        labels: int `(n,)`, a number for each different label.
        count: How many are wanted.

    Returns:
        Indices of the tiles, in order, `count` or as many as there are.
    """
    if len(x) <= count:
        return np.arange(len(x))
    middles = np.unique(np.linspace(0, len(x) - 1, min(_ASKED, len(x))).astype(int))
    found = [_nearest(x, y, middle, count) for middle in middles]
    mixed = [_entropy(labels[members]) for members in found]
    return np.sort(found[int(np.argmax(mixed))])


def _nearest(x: Array, y: Array, middle: int, count: int) -> Array:
    ways = np.maximum(np.abs(x - x[middle]), np.abs(y - y[middle]))
    return np.argpartition(ways, count - 1)[:count]


def _entropy(labels: Array) -> float:
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
