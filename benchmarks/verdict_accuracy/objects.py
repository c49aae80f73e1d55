"""What the images show: the demo's animals, and a house, a tree and a fish.

All of them take their colours from one range, so that shapes alone tell them apart. Lengths are in
units of about half an object's height.
"""

from __future__ import annotations

import cv2
import numpy as np

from keras_saliency.data.synthetic import CLASS_NAMES, Layer, draw_animal
from keras_saliency.data.synthetic.canvas import (
    BLACK,
    WHITE,
    Colour,
    Points,
    Shape,
    clouds,
    ellipse,
    hsv,
    limb,
    moved,
    paint,
    rounded,
    slope,
    times,
    turned,
)

OBJECTS = (*CLASS_NAMES, "house", "tree", "fish")
SIDE = 64  # of the images
LARGEST = 0.74 * SIDE  # The root of the area of an object's box.
MARGIN = 2
_CANVAS = 128  # Drawn larger, so that it stays sharp when placed.


def draw_object(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    """Draw an object as large as it gets, in the upper left corner.

    Args:
        kind: One of `OBJECTS`.
        rng: Where the chance comes from.

    Returns:
        uint8 `(SIDE, SIDE, 4)`, RGB multiplied by the cover, and the cover; and the object's
        height and width in pixels.
    """
    size = (_CANVAS, _CANVAS)
    layer = draw_animal(kind, rng, size) if kind in CLASS_NAMES else _drawn(kind, rng)
    rows = np.flatnonzero(layer.cover.any(axis=1))
    columns = np.flatnonzero(layer.cover.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    crop = np.dstack([layer.colour[box], layer.cover[box]])
    extent = np.array(crop.shape[:2])
    scale = min(LARGEST / np.sqrt(extent.prod()), ((SIDE - 2 * MARGIN) / extent).min())
    height, width = np.maximum(np.rint(scale * extent).astype(int), 1)
    small = cv2.resize(crop, (int(width), int(height)), interpolation=cv2.INTER_AREA)
    canvas = np.zeros((SIDE, SIDE, 4), np.uint8)
    canvas[:height, :width] = np.rint(255 * np.clip(small, 0, 1))
    return canvas, (int(height), int(width))


def _drawn(kind: str, rng: np.random.Generator) -> Layer:
    """A house, tree or fish: turned, mirrored, shaded, and as large as the canvas allows."""
    shapes = {"house": _house, "tree": _tree, "fish": _fish}[kind](rng)
    angle = rng.normal(0, 0.4 if kind == "fish" else 0.08)
    mirror = (rng.choice([-1.0, 1.0]), 1.0)
    outlines = [turned(points, angle) * mirror for points, _ in shapes]
    corners = np.concatenate(outlines)
    low, extent = corners.min(axis=0), np.ptp(corners, axis=0)
    scale = (_CANVAS - 4) / extent.max()
    placed = [
        (2 + scale * (points - low), colour)
        for points, (_, colour) in zip(outlines, shapes, strict=True)
    ]
    layer = paint(placed, (_CANVAS, _CANVAS))
    light = slope(rng, (_CANVAS, _CANVAS), 0.35)
    shade = 1 + light + rng.uniform(0.02, 0.12) * clouds(rng, (_CANVAS, _CANVAS), 12)
    shaded = layer.colour * np.clip(shade, 0.5, 1.5).astype(np.float32)[..., None]
    return Layer(np.minimum(shaded, layer.cover[..., None]), layer.cover)


def _coat(rng: np.random.Generator) -> Colour:
    """A colour from the range of the animals' coats."""
    return hsv(rng.random(), rng.uniform(0.0, 0.32), rng.uniform(0.2, 0.68))


def _polygon(*corners: tuple[float, float]) -> Points:
    return np.array(corners, np.float64)


def _house(rng: np.random.Generator) -> list[Shape]:
    """A front with a gable roof, chimney, door and windows, and often a side wall."""
    wall = _coat(rng)
    roof = times(wall, rng.choice([0.45, 1.6]) * rng.uniform(0.85, 1.15))
    half, eaves, ridge = rng.uniform(0.6, 0.95), rng.uniform(-0.35, 0.0), rng.uniform(-1.1, -0.75)
    shapes: list[Shape] = []
    if rng.random() < 0.7:
        far = half + rng.uniform(0.3, 0.9)
        side = _polygon((half, eaves), (far, eaves + 0.05), (far, 0.9), (half, 1.0))
        slates = _polygon((0, ridge), (far - half, ridge + 0.05), (far, eaves), (half, eaves))
        shapes += [(side, times(wall, 0.7)), (slates, times(roof, 0.8))]
    if rng.random() < 0.6:
        x = rng.uniform(-0.4, 0.3) * half
        stack = _polygon((x, ridge - 0.2), (x + 0.2, ridge - 0.2), (x + 0.2, eaves), (x, eaves))
        shapes.append((stack, times(roof, 0.7)))
    over = half + rng.uniform(0.02, 0.15)
    shapes += [
        (_polygon((-half, eaves), (0, ridge), (half, eaves), (half, 1.0), (-half, 1.0)), wall),
        (_polygon((-over, eaves + 0.1), (0, ridge - 0.1), (0, ridge + 0.1)), roof),
        (_polygon((over, eaves + 0.1), (0, ridge - 0.1), (0, ridge + 0.1)), roof),
    ]
    door = rng.uniform(-0.6, 0.3) * half
    top = rng.uniform(0.35, 0.5)
    shapes.append(
        (_polygon((door, top), (door + 0.26, top), (door + 0.26, 1.0), (door, 1.0)), _coat(rng))
    )
    pane = times(wall, 0.3) if rng.random() < 0.5 else hsv(rng.random(), 0.1, 0.9)
    for x in (-0.55 * half, 0.3 * half):
        y = eaves + rng.uniform(0.08, 0.16)
        shapes.append((_polygon((x, y), (x + 0.2, y), (x + 0.2, y + 0.22), (x, y + 0.22)), pane))
    return shapes


def _tree(rng: np.random.Generator) -> list[Shape]:
    """A trunk with branches, and a crown of clumps or of tiers."""
    bark, leaves = _coat(rng), _coat(rng)
    lean = rng.uniform(-0.25, 0.25)
    crown = rng.uniform(-0.5, -0.2)
    trunk = limb((0, 1.1), (lean, 0.5), (lean, crown), rng.uniform(0.12, 0.24), 0.07)
    shapes: list[Shape] = [(trunk, bark)]
    for side in (-1, 1):
        tip = (lean + side * rng.uniform(0.3, 0.6), crown - rng.uniform(0, 0.3))
        shapes.append((limb((lean / 2, 0.4), (lean, 0.1), tip, 0.08, 0.03), times(bark, 0.85)))
    if rng.random() < 0.4:
        for tier in range(4):
            wide, y = 0.75 - 0.15 * tier, 0.35 - 0.42 * tier
            needle = _polygon((lean - wide, y), (lean, y - 0.75), (lean + wide, y))
            shapes.append((needle, times(leaves, rng.uniform(0.75, 1.2))))
        return shapes
    for _ in range(int(rng.integers(5, 9))):
        middle = (lean + rng.normal(0, 0.32), crown - 0.2 + rng.normal(0, 0.25))
        clump = ellipse(middle, rng.uniform(0.25, 0.5), rng.uniform(0.22, 0.42))
        shapes.append((clump, times(leaves, rng.uniform(0.75, 1.25))))
    return shapes


def _fish(rng: np.random.Generator) -> list[Shape]:
    """Tail, fins, body, gill and eye, looking to the left."""
    skin = _coat(rng)
    fin = times(skin, rng.choice([0.55, 1.4]) * rng.uniform(0.85, 1.15))
    deep, bend = rng.uniform(0.34, 0.62), rng.uniform(-0.2, 0.2)
    fork, spread = rng.uniform(0.0, 0.25), rng.uniform(0.3, 0.55)
    tail = _polygon(
        (0.7, bend), (1.3, bend - spread), (1.3 - fork, bend), (1.3, bend + spread), (0.7, bend)
    )
    tall = rng.uniform(0.2, 0.5)
    back = _polygon((-0.3, -0.7 * deep), (0.1, -deep - tall), (0.55, -0.5 * deep))
    belly = _polygon((-0.1, 0.7 * deep), (0.25, deep + 0.7 * tall), (0.45, 0.5 * deep))
    body = _polygon(
        *[(-1.05, 0.0), (-0.7, -0.75 * deep), (0.0, -1.1 * deep), (0.6, -0.4 * deep)],
        *[(0.85, bend), (0.6, 0.45 * deep), (0.0, 1.1 * deep), (-0.7, 0.7 * deep)],
    )
    side = limb((-0.25, 0.1), (-0.05, 0.25), (0.15, rng.uniform(0.1, 0.5)), 0.1, 0.05)
    eye = _polygon((-0.72, -0.12))[0]
    return [
        (tail, fin),
        (back, fin),
        (belly, fin),
        (rounded(body), skin),
        (moved(ellipse((0.0, 0.0), 0.05, 0.55 * deep), -0.42, 0.0), times(skin, 0.6)),
        (side, times(fin, 0.9)),
        (ellipse(eye, 0.1, 0.1), WHITE),
        (ellipse(eye, 0.055, 0.055), BLACK),
    ]
