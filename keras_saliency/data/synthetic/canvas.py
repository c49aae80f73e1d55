"""Layers, shapes and noise: what animals and their surroundings are drawn with.

Shapes are polygons, float64 `(corners, 2)` of x (to the right) and y (downwards).
"""

import colorsys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_saliency.common.opencv import cv2

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Point = Sequence[float] | Points
Colour = tuple[float, float, float]
Shape = tuple[Points, Colour]

hsv = colorsys.hsv_to_rgb  # of hue (1 is once around), saturation and value

BLACK = (0.04, 0.04, 0.05)
WHITE = (0.97, 0.97, 0.97)

_SUPERSAMPLING = 4
_FRACTION_BITS = 4
SMALLEST_SIDE = 32


class Layer(NamedTuple):
    """A layer that covers an image in part.

    Attributes:
        colour: float32 `(height, width, 3)` in [0, 1], RGB, already multiplied by `cover`.
        cover: float32 `(height, width)` in [0, 1], the share of each pixel that is covered.
    """

    colour: Floats
    cover: Floats

    def over(self, below: Floats) -> Floats:
        """Lay this layer over an image.

        Args:
            below: float32 `(height, width, 3)` in [0, 1].

        Returns:
            The same with the layer over it.
        """
        return self.colour + (1 - self.cover[..., None]) * below

    def joined(self, below: "Layer") -> "Layer":
        """Join this layer and one below it.

        Args:
            below: The other layer, of the same size.

        Returns:
            One layer that covers what the two cover.
        """
        return Layer(self.over(below.colour), self.cover + (1 - self.cover) * below.cover)


def paint(shapes: Iterable[Shape], size: tuple[int, int]) -> Layer:
    """Paint opaque shapes, in pixels of the image, over each other; edges are anti-aliased."""
    height, width = size
    canvas = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING, 4), np.uint8)
    for points, colour in shapes:
        # To OpenCV a whole number is the middle of a pixel; of its integers some bits are fraction.
        corners = np.rint((points * _SUPERSAMPLING - 0.5) * 2**_FRACTION_BITS).astype(np.int32)
        rgba = (*(255 * channel for channel in colour), 255)
        cv2.fillPoly(canvas, [corners], rgba, shift=_FRACTION_BITS)
    # Where the canvas is clear its colour is 0 too, so the average comes multiplied by the cover.
    fine = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    share = fine.astype(np.float32) / np.float32(255)
    return Layer(share[..., :3], share[..., 3])


def limb(start: Point, bend: Point, end: Point, thick: float, thin: float) -> Points:
    """Return a round-tipped limb along a quadratic Bezier curve, from `thick` to `thin`."""
    start, bend, end = np.asarray(start), np.asarray(bend), np.asarray(end)
    t = np.linspace(0, 1, 10)[:, None]
    path = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    along = (1 - t) * (bend - start) + t * (end - bend)
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    across = along[:, ::-1] * (-1, 1)
    radius = thick + t * (thin - thick)
    angle = np.linspace(np.pi / 2, -np.pi / 2, 7)[:, None]
    tip = path[-1] + thin * (np.cos(angle) * along[-1] + np.sin(angle) * across[-1])
    return np.concatenate([path + radius * across, tip, (path - radius * across)[::-1]])


def ellipse(centre: Point, x_radius: float, y_radius: float) -> Points:
    """Return an upright ellipse."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    x, y = centre
    return np.stack([x + x_radius * np.cos(angle), y + y_radius * np.sin(angle)], axis=1)


def rounded(points: Points) -> Points:
    """Round a polygon off by cutting its corners (Chaikin)."""
    for _ in range(3):
        following = np.roll(points, -1, axis=0)
        cuts = [0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following]
        points = np.stack(cuts, axis=1).reshape(-1, 2)
    return points


def turned(points: Points, angle: float) -> Points:
    """Turn points clockwise about (0, 0) by an angle in radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def moved(points: Points, x: float, y: float) -> Points:
    """Move points by x and y."""
    return points + np.array([x, y])


def clouds(
    rng: np.random.Generator, size: tuple[int, int], rows: int, columns: int | None = None
) -> Floats:
    """Draw smooth noise `(height, width)` about 0, as fine as a grid of rows and columns."""
    coarse = rng.standard_normal((rows, columns or rows), np.float32)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def slope(rng: np.random.Generator, size: tuple[int, int], most: float) -> Floats:
    """Return a plane `(height, width)` about 0 that rises by up to `most` to each side."""
    y, x = grid(size)
    return (rng.uniform(-most, most) * y + rng.uniform(-most, most) * x).astype(np.float32)


def grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return coordinates of rows `(height, 1)` and columns `(1, width)`, from -1 to 1."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in size)
    return y[:, None], x[None]


def times(colour: Colour, factor: float) -> Colour:
    """Darken or brighten a colour."""
    red, green, blue = (min(1.0, factor * channel) for channel in colour)
    return red, green, blue
