"""What may tell classes apart besides the shape, and rightly so: it is part of the object.

Objects are float32 `(n, SIDE, SIDE, 4)`: RGB times cover, and cover.
"""

from __future__ import annotations

import cv2
import numpy as np
from nuisances import COLOURS, texture
from objects import SIDE

HONEST = ("colour", "texture", "part", "size", "position")
_BEAKS = ((7, 3), (4, 6), (9, 2), (5, 5), (6, 7))  # length and width in pixels, a class each


def altered_objects(
    what: str, objects: np.ndarray, labels: np.ndarray, chances: np.ndarray
) -> np.ndarray:
    """Give each object what goes with its class.

    Args:
        what: One of `HONEST`; sizes and positions are chosen where objects are placed.
        objects: The objects.
        labels: int64 `(n,)`.
        chances: float64 `(n, 4)`, uniform.

    Returns:
        The objects.
    """
    if what == "colour":
        return _coloured(objects, labels, chances)
    if what == "texture":
        return _textured(objects, labels, chances)
    return _beaked(objects, labels, chances) if what == "part" else objects


def _coloured(objects: np.ndarray, labels: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Coats whose colour leans towards that of the class."""
    lean = (0.35 + 0.3 * chances[:, 3]).astype(np.float32)[:, None, None, None]
    colour, cover = objects[..., :3], objects[..., 3:]
    bright = colour.mean(-1, keepdims=True)
    own = COLOURS[labels][:, None, None]
    own = own / own.mean(-1, keepdims=True)
    mixed = (1 - lean) * colour + lean * bright * own
    return np.concatenate([np.minimum(mixed, cover), cover], axis=-1)


def _textured(objects: np.ndarray, labels: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Coats with the streaks of the class."""
    colour, cover = objects[..., :3], objects[..., 3:]
    streaks = texture(np.zeros_like(colour), cover[..., 0], labels, chances[:, ::-1])
    mixed = colour + 2 * cover * streaks
    return np.concatenate([np.clip(mixed, 0, cover), cover], axis=-1)


def _beaked(objects: np.ndarray, labels: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """A beak or horn on the object's upper edge, in the form and colour of the class."""
    beaked = objects.copy()
    for index, (label, chance) in enumerate(zip(labels, chances, strict=True)):
        rows = np.flatnonzero((objects[index, ..., 3] > 0.5).any(axis=1))
        y = int(rows[0] + (0.1 + 0.25 * chance[3]) * np.ptp(rows))
        columns = np.flatnonzero(objects[index, y, :, 3] > 0.5)
        if not len(columns):
            columns = np.flatnonzero((objects[index, ..., 3] > 0.5).any(axis=0))
        side = 1 if chance[2] > 0.5 else -1
        x = columns[-1] if side > 0 else columns[0]
        length, width = _BEAKS[label]
        tip = (x + side * length, y + (chance[1] - 0.5) * length)
        outline = np.array([(x - 2 * side, y - width / 2), tip, (x - 2 * side, y + width / 2)])
        cover = np.zeros((SIDE, SIDE), np.float32)
        corners = np.rint(16 * outline).astype(np.int32)
        cv2.fillPoly(cover, [corners], 1.0, lineType=cv2.LINE_8, shift=4)
        layer = np.dstack([cover[..., None] * COLOURS[label], cover])
        beaked[index] = layer + (1 - cover[..., None]) * objects[index]
    return beaked
