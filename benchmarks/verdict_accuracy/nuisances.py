"""What is planted in finished images: one function a nuisance.

Each takes images `(n, SIDE, SIDE, 3)` in about [0, 1], the objects' masks, the nuisance's values
`(n,)` from 0, and chances `(n, 4)`, uniform; the same chances with another value make
a counterfactual.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from objects import SIDE

Painter = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

COLOURS = np.array(
    [(0.85, 0.2, 0.15), (0.15, 0.3, 0.85), (0.2, 0.75, 0.25), (0.9, 0.8, 0.15), (0.7, 0.2, 0.8)],
    np.float32,
)
_GLYPHS = (
    ("0111110", "1100011", "1000001", "1000001", "1000001", "1100011", "0111110"),
    ("0011100", "0011100", "1111111", "1111111", "1111111", "0011100", "0011100"),
    ("1111111", "1111111", "0000000", "0000000", "0000000", "1111111", "1111111"),
    ("1100011", "1110111", "0111110", "0011100", "0111110", "1110111", "1100011"),
    ("1111111", "1111111", "1100000", "1100000", "1100000", "1100000", "1100000"),
)
_TINTS = np.array(
    [(0.13, 0, -0.13), (-0.13, 0, 0.13), (-0.07, 0.14, -0.07), (0.07, -0.14, 0.07), (0, 0, 0)],
    np.float32,
)
_BLURS = {2: (0.0, 3.0), 5: (0.0, 0.8, 1.6, 3.0, 5.0)}  # deviation in pixels, by classes
_ANGLES = (0, 90, 45, 135)  # of fine streaks, in degrees; the fifth texture has no direction
_TEXTURES, _STRENGTH = 48, 0.06


def _columns(chances: np.ndarray) -> np.ndarray:
    """Each chance as `(4, n, 1, 1, 1)`, to be used with images."""
    return chances.T.astype(np.float32)[..., None, None, None]


def watermark(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """A half-transparent coloured sign in the lower right corner."""
    marked = pictures.copy()
    for index, (value, chance) in enumerate(zip(values, chances, strict=True)):
        sign = np.array([list(row) for row in _GLYPHS[value]], np.float32)[..., None]
        y, x = SIDE - 12 - (3 * chance[:2]).astype(int)
        place = (index, slice(y, y + 7), slice(x, x + 7))
        weight = sign * np.float32(0.55 + 0.3 * chance[2])
        marked[place] = weight * COLOURS[value] + (1 - weight) * pictures[place]
    return marked


def border(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """A coloured frame of two or three pixels, brighter or darker by chance."""
    framed = pictures.copy()
    for index, (value, chance) in enumerate(zip(values, chances, strict=True)):
        width = 2 + int(chance[0] > 0.5)
        inside = slice(width, SIDE - width)
        framed[index] = COLOURS[value] * np.float32(0.6 + 0.5 * chance[1])
        framed[index, inside, inside] = pictures[index, inside, inside]
    return framed


def tint(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """A colour cast, weaker or stronger by chance."""
    strength = 0.6 + 0.8 * _columns(chances)[0]
    return pictures * np.exp(strength * _TINTS[values][:, None, None])


def texture(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """Fine streaks in one direction, or grains, all over the image."""
    fields = _textures()
    chosen = (chances[:, 0] * _TEXTURES).astype(int)
    strength = _STRENGTH * (0.7 + 0.6 * _columns(chances)[1])
    return pictures + strength * fields[values, chosen][..., None]


def mark(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """A coloured dot about 4 pixels wide, anywhere on the object."""
    marked = pictures.copy()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for index, (value, chance) in enumerate(zip(values, chances, strict=True)):
        inside = cv2.blur(masks[index], (5, 5))
        spots = np.flatnonzero(inside >= min(0.95, float(inside.max())))
        y, x = np.unravel_index(spots[int(chance[0] * len(spots))], inside.shape)
        distance = np.hypot(rows - y, columns - x)
        weight = np.clip(2.0 + 0.5 * chance[1] + 0.5 - distance, 0, 1).astype(np.float32)
        weight = weight[..., None]
        marked[index] = weight * COLOURS[value] + (1 - weight) * pictures[index]
    return marked


def blurred(
    layers: np.ndarray, values: np.ndarray, chances: np.ndarray, classes: int
) -> np.ndarray:
    """Ground and front `(n, SIDE, SIDE, 7)` out of focus by the value; the object stays sharp."""
    found = layers.copy()
    for index, (value, chance) in enumerate(zip(values, chances, strict=True)):
        deviation = _BLURS[classes][value] * (0.9 + 0.2 * chance[0])
        if deviation:
            found[index] = cv2.GaussianBlur(layers[index], (0, 0), deviation)
    return found


@cache
def _textures() -> np.ndarray:
    """float32 `(values, _TEXTURES, SIDE, SIDE)`: noise of one wavelength, mean 0, deviation 1."""
    frequency = np.fft.fftfreq(SIDE)
    y, x = frequency[:, None], frequency[None]
    radius = np.hypot(x, y)
    ring = np.exp(-(((radius - 0.33) / 0.06) ** 2))
    filters = []
    for angle in np.deg2rad(_ANGLES):
        along = np.abs(x * np.cos(angle) + y * np.sin(angle)) / np.maximum(radius, 1e-9)
        filters.append(ring * (along > 0.9))
    filters.append(ring)
    noise = np.random.default_rng(0).standard_normal((len(filters), _TEXTURES, SIDE, SIDE))
    fields = np.fft.ifft2(np.fft.fft2(noise) * np.array(filters)[:, None]).real
    return (fields / fields.std(axis=(2, 3), keepdims=True)).astype(np.float32)


PAINTED: dict[str, Painter] = {
    "watermark": watermark,
    "border": border,
    "tint": tint,
    "texture": texture,
    "mark": mark,
}
