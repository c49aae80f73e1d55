"""Grass and snow: the ground behind an animal, and what stands, lies or falls in front of it."""

from typing import NamedTuple

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.validation import check_choice, check_size
from keras_saliency.data.synthetic import canvas

BACKGROUND_NAMES = ("grass", "snow")


class Background(NamedTuple):
    """What is behind an animal, and what is in front of it.

    Attributes:
        ground: float32 `(height, width, 3)` in [0, 1], RGB.
        front: the `Layer` that is nearer than the animal.
    """

    ground: canvas.Floats
    front: canvas.Layer


def draw_background(
    kind: str, rng: np.random.Generator, size: tuple[int, int], feet: float
) -> Background:
    """Draw grass or snow around an animal: what is rooted or lies below its feet is in front.

    Args:
        kind: One of `BACKGROUND_NAMES`.
        rng: The random generator.
        size: `(height, width)` in pixels, each at least 32.
        feet: The lowest row of the animal, in pixels from the top.

    Returns:
        The `Background`.

    Raises:
        ValueError: If `kind` is unknown or `size` out of its range.

    Example:
        ```python
        import numpy as np
        from keras_saliency.data.synthetic import draw_background

        grass = draw_background("grass", np.random.default_rng(0), (64, 64), feet=50)
        image = grass.front.over(grass.ground)  # grass with no animal on it
        ```
    """
    check_choice(kind, "kind", BACKGROUND_NAMES)
    check_size(size, "size", canvas.SMALLEST_SIDE)
    return _grass(rng, size, feet) if kind == "grass" else _snow(rng, size, feet)


def _grass(rng: np.random.Generator, size: tuple[int, int], feet: float) -> Background:
    """Draw patchy, streaky ground with blades on it."""
    hue = rng.uniform(0.19, 0.38)
    base = np.array(canvas.hsv(hue, rng.uniform(0.35, 0.8), rng.uniform(0.22, 0.62)), np.float32)
    texture = rng.uniform(0.1, 0.4) * canvas.clouds(rng, size, int(rng.integers(3, 7)))
    texture += rng.uniform(0.02, 0.14) * canvas.clouds(rng, size, 8, 40)
    ground = base * np.clip(1 + texture, 0.25, 2.0)[..., None]
    greens = [
        canvas.hsv(hue + rng.normal(0, 0.03), rng.uniform(0.4, 0.9), rng.uniform(0.15, 0.9))
        for _ in range(4)
    ]
    straw = canvas.hsv(rng.uniform(0.09, 0.17), rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.9))
    colours = [*greens, straw]
    # Feet have some depth: those that are farther away stand in more of the grass.
    nearest_behind = feet - 0.06 * min(size)
    behind: list[canvas.Shape] = []
    front: list[canvas.Shape] = []
    blades, roots = _blades(rng, size)
    for blade, root, pick in zip(blades, roots, rng.integers(5, size=len(roots)), strict=True):
        (front if root > nearest_behind else behind).append((blade, colours[pick]))
    return Background(canvas.paint(behind, size).over(ground), canvas.paint(front, size))


def _blades(rng: np.random.Generator, size: tuple[int, int]) -> tuple[canvas.Points, canvas.Points]:
    """Draw bent blades `(count, 4, 2)`, the farthest first, and the rows of their roots."""
    height, width = size
    unit = min(size)
    count = int(rng.uniform(50, 210) * height * width / unit**2)
    # Some roots are below the image, so that its last rows are as full as the others.
    roots = np.sort(rng.uniform(0, height + 0.12 * unit, count))
    start = np.stack([rng.uniform(0, width, count), roots], axis=1)
    tall = rng.uniform(1.6, 2.8) if rng.random() < 0.35 else 1.0
    length = rng.uniform(0.05, 0.13, count) * tall * unit * (0.7 + 0.5 * roots / height)
    lean = rng.normal(0, 0.28) + rng.normal(0, 0.22, count)
    bent = lean * rng.uniform(1.0, 1.7, count)
    middle = start + (0.55 * length * np.stack([np.sin(lean), -np.cos(lean)])).T
    tip = middle + (0.45 * length * np.stack([np.sin(bent), -np.cos(bent)])).T
    half = rng.uniform(0.006, 0.014, (count, 1)) * unit * (1.0, 0.0)
    return np.stack([start - half, middle - 0.7 * half, tip, start + half], axis=1), roots


def _snow(rng: np.random.Generator, size: tuple[int, int], feet: float) -> Background:
    """Draw drifts, one before the other, and falling flakes."""
    unit = min(size)
    tone = canvas.hsv(rng.random(), rng.uniform(0.0, 0.13), rng.uniform(0.7, 1.0))
    base = np.array(tone, np.float32)
    texture = rng.uniform(0.03, 0.14) * canvas.clouds(rng, size, int(rng.integers(2, 6)))
    texture += rng.uniform(0.0, 0.03) * canvas.clouds(rng, size, 24)
    plain = np.clip(base * (1 + texture[..., None]), 0, 1)
    ground, front = plain, _flakes(rng, size)
    rows = list(rng.uniform(0, size[0], rng.integers(0, 4)))
    if rng.random() < 0.6:  # The animal stands in a drift.
        rows.append(feet - rng.uniform(-0.02, 0.09) * unit)
    near = [row for row in rows if row > feet - 0.1 * unit]
    for row in sorted(set(rows) - set(near)):
        ground = _drift(rng, row, plain).over(ground)
    for row in sorted(near, reverse=True):
        front = front.joined(_drift(rng, row, plain))
    return Background(ground, front)


def _drift(rng: np.random.Generator, row: float, plain: canvas.Floats) -> canvas.Layer:
    """Draw all that lies below a wavy or jagged ridge around a row, in shadow along the ridge."""
    height, width = plain.shape[:2]
    unit = min(height, width)
    knots = int(rng.integers(4, 12) * max(1.0, width / height))
    bumps = rng.normal(0, rng.uniform(0.008, 0.03) * unit, (1, knots))
    how = cv2.INTER_LINEAR if rng.random() < 0.4 else cv2.INTER_CUBIC
    ridge = row + cv2.resize(bumps, (width, 1), interpolation=how)
    depth = np.arange(height)[:, None] + 0.5 - ridge
    fade = rng.uniform(0.01, 0.12) * unit
    shadow = rng.uniform(0.06, 0.35) * np.exp(-np.maximum(depth, 0) / fade)
    cover = np.clip(depth + 0.5, 0, 1)
    colour = plain * (cover * (1 - shadow)).astype(np.float32)[..., None]
    return canvas.Layer(colour, cover.astype(np.float32))


def _flakes(rng: np.random.Generator, size: tuple[int, int]) -> canvas.Layer:
    """Draw round flakes, from none to many."""
    height, width = size
    unit = min(size)
    count = int(rng.uniform(0, 80) * rng.random() * height * width / unit**2)
    radii = unit * rng.uniform(0.004, rng.uniform(0.008, 0.02), (count, 1, 1))
    centres = rng.random((count, 1, 2)) * (width, height)
    outlines = centres + radii * canvas.ellipse((0.0, 0.0), 1.0, 1.0)
    return canvas.paint([(outline, canvas.WHITE) for outline in outlines], size)
