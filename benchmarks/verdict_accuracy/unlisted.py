"""Cues that no nuisance of the verdict is made for, planted like those of `nuisances.py`.

Rules for components may be made with `DEVELOPED`. `SET_ASIDE` were chosen before any of them was
trained on, and are reported apart: no rule, threshold or wording is to be made on them.
"""

from __future__ import annotations

import cv2
import numpy as np
from nuisances import _GLYPHS, COLOURS, Painter
from objects import SIDE

DEVELOPED = ("logo", "band")
SET_ASIDE = ("ball", "vignette", "contrast", "stripes")

_LIGHT_CORNERS = np.array([-0.5, 0.5, 0.0, -0.25, 0.25], np.float32)
_CONTRASTS = np.array([0.6, 1.4, 1.0, 0.8, 1.2], np.float32)
_STRIPES = 11.0  # pixels from one stripe to the next
_ROWS, _COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def _beside(mask: np.ndarray, size: int, chance: float) -> tuple[int, int]:
    """Row and column of the upper left corner of a square off the object, or nearly so."""
    covered = cv2.boxFilter(mask, -1, (size, size), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    room = covered[: SIDE - size, : SIDE - size]
    free = np.flatnonzero(room <= room.min() + 1e-3)
    y, x = np.unravel_index(free[int(chance * len(free))], room.shape)
    return int(y), int(x)


def logo(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """A sign of 9 px in the form of the value, of any colour, anywhere off the object."""
    marked = pictures.copy()
    for index, (value, chance) in enumerate(zip(values, chances, strict=True)):
        sign = np.array([list(row) for row in _GLYPHS[value]], np.float32)
        sign = cv2.resize(sign, (9, 9), interpolation=cv2.INTER_LINEAR)[..., None]
        y, x = _beside(masks[index], 9, chance[0])
        place = (index, slice(y, y + 9), slice(x, x + 9))
        weight = sign * np.float32(0.7 + 0.3 * chance[2])
        colour = COLOURS[int(chance[1] * len(COLOURS))]
        marked[place] = weight * colour + (1 - weight) * pictures[place]
    return marked


def band(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """A band of 7 px in the colour of the value, across the image behind the object."""
    top = 2 + np.floor((SIDE - 11) * chances[:, 0])[:, None, None]
    inside = ((top <= _ROWS) & (top + 7 > _ROWS)) * (1 - masks)
    weight = (inside * (0.5 + 0.4 * chances[:, 1])[:, None, None]).astype(np.float32)[..., None]
    return weight * COLOURS[values][:, None, None] + (1 - weight) * pictures


def ball(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """A shaded ball 10 px wide in the colour of the value, anywhere off the object."""
    marked = pictures.copy()
    for index, (value, chance) in enumerate(zip(values, chances, strict=True)):
        y, x = _beside(masks[index], 11, chance[0])
        distance = np.hypot(_ROWS - y - 5, _COLUMNS - x - 5)
        shade = 1.1 - 0.5 * np.hypot(_ROWS - y - 3, _COLUMNS - x - 3) / 10
        weight = np.clip(5.0 - distance, 0, 1)[..., None]
        painted = (COLOURS[value] * shade[..., None]).astype(np.float32)
        marked[index] = weight * painted + (1 - weight) * pictures[index]
    return marked


def vignette(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """Corners darker or brighter than the middle."""
    distance = np.hypot(_ROWS - SIDE / 2, _COLUMNS - SIDE / 2) / (SIDE / np.sqrt(2))
    strength = _LIGHT_CORNERS[values] * (0.8 + 0.4 * chances[:, 0]).astype(np.float32)
    gain = np.exp(strength[:, None, None] * 2 * (distance**2 - 0.33))
    return pictures * gain[..., None]


def contrast(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """Less or more contrast about each image's own mean."""
    factor = _CONTRASTS[values] * (0.9 + 0.2 * chances[:, 0]).astype(np.float32)
    mean = pictures.mean(axis=(1, 2), keepdims=True)
    return mean + factor[:, None, None, None] * (pictures - mean)


def stripes(
    pictures: np.ndarray, masks: np.ndarray, values: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """Broad faint stripes behind the object, in the direction of the value."""
    angle = np.deg2rad(36.0 * values + 90.0 * (values == 1))[:, None, None]
    along = _COLUMNS * np.cos(angle) + _ROWS * np.sin(angle)
    wave = np.sin(2 * np.pi * (along / _STRIPES + chances[:, 0, None, None]))
    weight = (0.07 + 0.04 * chances[:, 1])[:, None, None] * wave * (1 - masks)
    return pictures + weight.astype(np.float32)[..., None]


UNLISTED: dict[str, Painter] = {
    "logo": logo,
    "band": band,
    "ball": ball,
    "vignette": vignette,
    "contrast": contrast,
    "stripes": stripes,
}
