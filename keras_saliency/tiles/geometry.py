"""The places of a slide's tiles, and their pixels on a map."""

from dataclasses import dataclass, replace

import numpy as np

from keras_saliency.common.types import Array

_SAMPLED = 256  # tiles, from which distances and windows are found
_LARGEST = 64  # pixels of a tile on a map


@dataclass(frozen=True)
class Frame:
    """A part of a slide and the map that shows it.

    Attributes:
        left: The left edge of the part, in the units of the slide.
        top: Its upper edge.
        width: Its width.
        height: Its height.
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

    def within(self, room: tuple[float, float], tile: tuple[float, float]) -> "Frame":
        """Scale the map to a room, and tiles to whole pixels where they have one or more.

        Args:
            room: The `(height, width)` that the map fits into, in pixels.
            tile: The `(height, width)` of a tile, in the units of the slide.

        Returns:
            The frame with that scale.
        """
        scale = min(room[0] / self.height, room[1] / self.width)
        pixels = scale * tile[1]
        if pixels >= 1:
            scale = min(np.floor(pixels), _LARGEST) / tile[1]
        return replace(self, scale=float(scale))

    def boxes(self, x: Array, y: Array, tile: tuple[float, float]) -> Array:
        """Find the pixels of each tile: int `(n, 4)` of left, top, right and bottom, inside.

        Edges are rounded, so that tiles that meet on the slide meet on the map; none is thinner
        than a pixel.

        Args:
            x: `(n,)`, the left edges of the tiles.
            y: `(n,)`, their upper edges.
            tile: The `(height, width)` of a tile, in the units of the slide.

        Returns:
            int `(n, 4)`.
        """
        corner = np.stack([x - self.left, y - self.top], axis=1)
        edges = np.stack([corner, corner + tile[::-1]])
        first, last = np.rint(self.scale * edges).astype(int)
        last, size = np.maximum(last, first + 1), self.size[::-1]
        return np.hstack([first.clip(0, np.subtract(size, 1)), last.clip(1, size)])


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
    """Add the values of all boxes: set at their four corners, and summed along both axes."""
    height, width = size
    left, top, right, bottom = boxes.T
    corners = np.concatenate([part * (width + 1) for part in (top, top, bottom, bottom)])
    corners += np.concatenate([left, right, left, right])
    signs = np.concatenate([values, -values, -values, values])
    steps = np.bincount(corners, signs, (height + 1) * (width + 1)).reshape(height + 1, width + 1)
    return steps.cumsum(axis=0).cumsum(axis=1)[:height, :width]


def spacing(x: Array, y: Array) -> float:
    """Return the median distance from a tile to its nearest neighbour, along the longer axis.

    It is the stride of a regular grid. A single tile is one unit from the next.
    """
    apart = (_distances(x, y, i) for i in _sampled(len(x)))
    nearest = [distances[distances > 0].min() for distances in apart if distances.any()]
    return float(np.median(nearest)) if nearest else 1.0


def window(x: Array, y: Array, labels: Array, count: int) -> Array:
    """Choose neighbours, where labels are mixed most.

    Args:
        x: `(n,)`, the left edges of a slide's tiles.
        y: `(n,)`, their upper edges.
        labels: int `(n,)`, a number for each different label.
        count: How many are wanted.

    Returns:
        Indices of the tiles, in order, `count` or as many as there are.
    """
    if len(x) <= count:
        return np.arange(len(x))
    middles = _sampled(len(x))
    windows = [np.argpartition(_distances(x, y, i), count - 1)[:count] for i in middles]
    entropies = [_entropy(labels[members]) for members in windows]
    return np.sort(windows[int(np.argmax(entropies))])


def _sampled(count: int) -> Array:
    """Choose up to 256 tiles evenly."""
    return np.unique(np.linspace(0, count - 1, min(_SAMPLED, count)).astype(int))


def _distances(x: Array, y: Array, i: int) -> Array:
    """Return how far each tile is from one of them, along the axis that is longer."""
    return np.maximum(np.abs(x - x[i]), np.abs(y - y[i]))


def _entropy(labels: Array) -> float:
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
