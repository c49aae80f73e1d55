"""Where the objects are: the demo's grass and snow, and sand, water and rock."""

from __future__ import annotations

import numpy as np

from keras_saliency.data.synthetic import BACKGROUND_NAMES, Background, draw_background
from keras_saliency.data.synthetic.canvas import (
    Floats,
    Shape,
    clouds,
    ellipse,
    hsv,
    moved,
    paint,
    times,
)

GROUNDS = (*BACKGROUND_NAMES, "sand", "water", "rock")


def draw_ground(
    kind: str, rng: np.random.Generator, size: tuple[int, int], feet: float
) -> Background:
    """Draw the surroundings of an object whose lowest row is `feet`.

    Args:
        kind: One of `GROUNDS`.
        rng: Where the chance comes from.
        size: `(height, width)` in pixels.
        feet: A row, in pixels from the top; a part of what lies below is in front.

    Returns:
        The `Background`.
    """
    if kind in BACKGROUND_NAMES:
        return draw_background(kind, rng, size, feet)
    return {"sand": _sand, "water": _water, "rock": _rock}[kind](rng, size, feet)


def _plain(
    rng: np.random.Generator,
    size: tuple[int, int],
    colour: tuple[float, float, float],
    texture: Floats,
) -> Floats:
    """A colour under a texture about 0, in patches of light."""
    patches = rng.uniform(0.03, 0.15) * clouds(rng, size, int(rng.integers(2, 6)))
    base = np.array(colour, np.float32)
    return np.clip(base * (1 + texture + patches)[..., None], 0, 1).astype(np.float32)


def _scattered(
    rng: np.random.Generator,
    size: tuple[int, int],
    count: int,
    rows: tuple[float, float],
    extent: tuple[float, float],
) -> list[np.ndarray]:
    """Flat ellipses in a band of rows, the farthest first."""
    unit = min(size)
    places = np.stack([rng.uniform(0, size[1], count), np.sort(rng.uniform(*rows, count))], axis=1)
    widths = rng.uniform(*extent, count) * unit
    flat = rng.uniform(0.3, 0.8)
    return [
        moved(ellipse((0.0, 0.0), width, flat * width), *place)
        for place, width in zip(places, widths, strict=True)
    ]


def _sand(rng: np.random.Generator, size: tuple[int, int], feet: float) -> Background:
    """Ripples and grains, with pebbles."""
    colour = hsv(rng.uniform(0.07, 0.14), rng.uniform(0.25, 0.6), rng.uniform(0.55, 0.95))
    y = np.arange(size[0], dtype=np.float32)[:, None]
    phase = y / rng.uniform(0.6, 1.8) + rng.uniform(1, 4) * clouds(rng, size, 4)
    texture = rng.uniform(0.0, 0.1) * np.sin(phase) + rng.uniform(0.02, 0.07) * clouds(
        rng, size, 32
    )
    ground = _plain(rng, size, colour, texture)
    pebbles = _scattered(rng, size, int(rng.integers(0, 25)), (0, size[0]), (0.008, 0.03))
    stone = times(colour, rng.uniform(0.4, 0.8))
    behind: list[Shape] = [(p, stone) for p in pebbles if p[:, 1].max() <= feet]
    front: list[Shape] = [(p, stone) for p in pebbles if p[:, 1].max() > feet]
    return Background(paint(behind, size).over(ground), paint(front, size))


def _water(rng: np.random.Generator, size: tuple[int, int], feet: float) -> Background:
    """Waves, with crests of foam."""
    colour = hsv(rng.uniform(0.47, 0.64), rng.uniform(0.3, 0.85), rng.uniform(0.3, 0.8))
    texture = rng.uniform(0.06, 0.2) * clouds(rng, size, int(rng.integers(16, 30)), 6)
    texture += rng.uniform(0.0, 0.08) * clouds(rng, size, 32, 16)
    ground = _plain(rng, size, colour, texture)
    foam = hsv(rng.uniform(0.45, 0.65), rng.uniform(0, 0.15), rng.uniform(0.8, 1.0))
    crests = _scattered(rng, size, int(rng.integers(0, 22)), (0, size[0]), (0.02, 0.09))
    flat = [(p - p.mean(0)) * (1.0, 0.3) + p.mean(0) for p in crests]
    behind: list[Shape] = [(p, foam) for p in flat if p[:, 1].max() <= feet - 2]
    front: list[Shape] = [(p, foam) for p in flat if p[:, 1].max() > feet - 2]
    return Background(paint(behind, size).over(ground), paint(front, size))


def _rock(rng: np.random.Generator, size: tuple[int, int], feet: float) -> Background:
    """Rough stone with cracks, and boulders before it."""
    colour = hsv(rng.random(), rng.uniform(0.0, 0.16), rng.uniform(0.25, 0.65))
    texture = rng.uniform(0.08, 0.2) * clouds(rng, size, int(rng.integers(8, 14)))
    texture += rng.uniform(0.05, 0.14) * clouds(rng, size, 30)
    ground = _plain(rng, size, colour, texture)
    cracks: list[Shape] = []
    for _ in range(int(rng.integers(2, 8))):
        steps = rng.normal(0, 0.12 * min(size), (6, 2))
        path = rng.random(2) * size[::-1] + np.cumsum(steps, axis=0)
        outline = np.concatenate([path, path[::-1] + rng.uniform(0.5, 1.5)])
        cracks.append((outline, times(colour, rng.uniform(0.3, 0.6))))
    boulders = _scattered(
        rng, size, int(rng.integers(0, 9)), (feet, max(size[0], feet + 1)), (0.03, 0.12)
    )
    front: list[Shape] = [(p, times(colour, rng.uniform(0.6, 1.4))) for p in boulders]
    return Background(paint(cracks, size).over(ground), paint(front, size))
