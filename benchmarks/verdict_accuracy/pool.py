"""Layers of images, drawn once and kept: drawing takes longer than training."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from grounds import GROUNDS, draw_ground
from objects import OBJECTS, SIDE, draw_object

from keras_saliency.data.synthetic import draw_light

_VERSION = 1  # One more whenever what is drawn changes.
FOLDER = Path(tempfile.gettempdir()) / f"keras-saliency-shortcuts-{_VERSION}"
_OBJECTS, _GROUNDS, _LIGHTS = 900, 600, 500  # of each kind
_HELD_OUT = 4  # One in so many is for tests alone.
_FEET = (24, 63)
_NEAR = 24  # grounds with nearly the right feet, that one is drawn among


@dataclass(frozen=True, eq=False)
class Pool:
    """Layers to compose images of.

    Attributes:
        objects: uint8 `(kinds, n, SIDE, SIDE, 4)`: in the upper left corner, as large as it gets.
        extents: int64 `(kinds, n, 2)`: their heights and widths.
        grounds: uint8 `(kinds, n, SIDE, SIDE, 7)`: RGB, and RGB times cover and cover of the front.
        feet: float64 `(kinds, n)`, ascending: the row that each ground was drawn for.
        gains: float32 `(n, SIDE, SIDE, 3)`: light.
        noises: float32 `(n, SIDE, SIDE, 3)`: noise of the pixels.
    """

    objects: np.ndarray
    extents: np.ndarray
    grounds: np.ndarray
    feet: np.ndarray
    gains: np.ndarray
    noises: np.ndarray

    def some_object(self, rng: np.random.Generator, count: int, held_out: bool) -> np.ndarray:
        """Draw objects of those for tests, or of the others, each as rarely as can be."""
        members = np.arange(self.objects.shape[1])
        members = members[(members % _HELD_OUT == 0) == held_out]
        rounds = -(-count // len(members))
        return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count]

    def some_grounds(
        self, rng: np.random.Generator, feet: np.ndarray, held_out: bool
    ) -> np.ndarray:
        """Draw, for each row of feet, an index of a ground of every kind, `(n, kinds)`."""
        members = np.arange(self.feet.shape[1])
        members = members[(members % _HELD_OUT == 0) == held_out]
        found = []
        for rows in self.feet[:, members]:
            first = np.searchsorted(rows, feet) - _NEAR // 2
            first = np.clip(first, 0, len(members) - _NEAR)
            found.append(members[first + rng.integers(_NEAR, size=len(feet))])
        return np.stack(found, axis=1)


def load_pool(folder: Path = FOLDER) -> Pool:
    """Read the pool, and draw it if it isn't there.

    Args:
        folder: Where it is kept.
    """
    if not folder.exists():
        _draw_pool(folder)
    names = Pool.__dataclass_fields__
    return Pool(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names})


def _draw_pool(folder: Path) -> None:
    """Draw everything into a folder beside, which then takes its place whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    objects, extents = zip(*map(_draw_objects, OBJECTS), strict=True)
    grounds, feet = zip(*map(_draw_grounds, GROUNDS), strict=True)
    lights = [draw_light(_stream(2, 0, index), (SIDE, SIDE)) for index in range(_LIGHTS)]
    gains, noises = zip(*lights, strict=True)
    parts = (objects, extents, grounds, feet, gains, noises)
    for name, part in zip(Pool.__dataclass_fields__, parts, strict=True):
        np.save(draft / f"{name}.npy", np.stack(part))
    os.rename(draft, folder)


def _draw_objects(kind: str) -> tuple[np.ndarray, np.ndarray]:
    number = OBJECTS.index(kind)
    drawn = [draw_object(kind, _stream(0, number, index)) for index in range(_OBJECTS)]
    return np.stack([picture for picture, _ in drawn]), np.array([extent for _, extent in drawn])


def _draw_grounds(kind: str) -> tuple[np.ndarray, np.ndarray]:
    number = GROUNDS.index(kind)
    feet = np.linspace(*_FEET, _GROUNDS)
    found = []
    for index, row in enumerate(feet):
        ground, front = draw_ground(kind, _stream(1, number, index), (SIDE, SIDE), row)
        everything = np.dstack([ground, front.colour, front.cover])
        found.append(np.rint(255 * np.clip(everything, 0, 1)).astype(np.uint8))
    return np.stack(found), feet


def _stream(part: int, kind: int, index: int) -> np.random.Generator:
    return np.random.default_rng([part, kind, index])
