"""Elephants and penguins, drawn looking to the left; half of them are mirrored when placed.

Lengths are in units of about half an animal's height, from the middle of its body.
"""

import numpy as np

from keras_saliency.common.validation import check_choice, check_size
from keras_saliency.data.synthetic import canvas
from keras_saliency.data.synthetic.canvas import Colour, Points, Shape, ellipse, limb, moved, times

CLASS_NAMES = ("elephant", "penguin")

_ELEPHANT_BODY = np.array(
    [
        *[(-1.0, -0.4), (-0.4, -0.8), (0.35, -0.75), (0.95, -0.55), (1.1, 0.1)],
        *[(0.85, 0.6), (0.1, 0.5), (-0.7, 0.6), (-1.1, 0.2)],
    ]
)
_ELEPHANT_EAR = np.array(
    [(-0.3, -0.35), (0.2, -0.5), (0.5, -0.2), (0.35, 0.35), (0.0, 0.65), (-0.3, 0.2)]
)
_PENGUIN_BODY = np.array(
    [
        *[(0.0, -1.05), (0.4, -0.85), (0.5, -0.1), (0.62, 0.5), (0.4, 1.05)],
        *[(-0.4, 1.05), (-0.62, 0.5), (-0.5, -0.1), (-0.4, -0.85)],
    ]
)


def draw_animal(kind: str, rng: np.random.Generator, size: tuple[int, int]) -> canvas.Layer:
    """Draw one animal, wholly inside the image, in a random pose, place, size and colour.

    Both kinds take their coats and sizes from the same ranges; their shapes tell them apart.

    Args:
        kind: One of `CLASS_NAMES`.
        rng: The random generator.
        size: `(height, width)` in pixels, each at least 32.

    Returns:
        The animal as a `Layer`.

    Raises:
        ValueError: If `kind` is unknown or `size` out of its range.

    Example:
        ```python
        import numpy as np
        from keras_saliency.data.synthetic import draw_animal

        animal = draw_animal("elephant", np.random.default_rng(0), (64, 64))
        animal.cover.mean()  # its share of the image
        ```
    """
    check_choice(kind, "kind", CLASS_NAMES)
    check_size(size, "size", canvas.SMALLEST_SIDE)
    shapes = _elephant(rng) if kind == "elephant" else _penguin(rng)
    animal = canvas.paint(_placed(shapes, rng, size), size)
    shade = (
        1 + canvas.slope(rng, size, 0.35) + rng.uniform(0.02, 0.12) * canvas.clouds(rng, size, 12)
    )
    shaded = animal.colour * np.clip(shade, 0.5, 1.5).astype(np.float32)[..., None]
    return canvas.Layer(np.minimum(shaded, animal.cover[..., None]), animal.cover)


def _elephant(rng: np.random.Generator) -> list[Shape]:
    """Draw tail, far legs, body, near legs and head, from the farthest to the nearest."""
    coat = _coat(rng)
    far = times(coat, 0.72)
    length = rng.uniform(0.72, 1.05)  # Shorter where the animal stands at an angle to us.
    legs = []
    for x in (-0.42 * length, 0.52 * length, -0.66 * length, 0.78 * length):
        step = rng.uniform(-0.32, 0.32)
        foot = (x + step, rng.uniform(1.1, 1.25))
        legs.append(limb((x, 0.1), (x + 0.7 * step, 0.7), foot, 0.24, 0.16))
    swing = 1.1 * length + rng.uniform(-0.35, 0.35)
    shapes = [
        (limb((0.92 * length, -0.3), (1.2 * length, 0.0), (swing, 0.5), 0.06, 0.03), far),
        (ellipse((swing, 0.55), 0.07, 0.12), times(coat, 0.4)),
        *[(leg, far) for leg in legs[:2]],
        (canvas.rounded(_ELEPHANT_BODY * (length, 1.0)), coat),
        *[(leg, coat) for leg in legs[2:]],
    ]
    neck = np.array([-0.92 * length, rng.uniform(-0.55, -0.1)])
    return shapes + _elephant_head(rng, neck, times(coat, rng.uniform(0.9, 1.12)))


def _elephant_head(rng: np.random.Generator, neck: Points, skin: Colour) -> list[Shape]:
    """Draw ears, head, tusk, trunk and eye around the point where the head meets the body."""
    head = moved(neck, -0.25, 0.0)
    ear_colour = times(skin, rng.choice([0.35, 0.7, 1.35, 1.8]) * rng.uniform(0.85, 1.15))
    ear = canvas.rounded(_ELEPHANT_EAR * (rng.uniform(0.6, 1.1), rng.uniform(0.8, 1.15)))
    near_ear = canvas.turned(ear, rng.uniform(-0.4, 0.3)) + moved(neck, 0.02, -0.08)
    shapes: list[Shape] = []
    if rng.random() < 0.35:  # The head is turned towards us and shows its other ear.
        far_ear = ear * (-0.7, 0.95) + moved(head, -0.2, -0.1)
        shapes.append((far_ear, times(ear_colour, 0.8)))
    shapes.append((ellipse(head, 0.46, 0.44), skin))
    ivory = canvas.hsv(rng.uniform(0.1, 0.16), rng.uniform(0.05, 0.3), rng.uniform(0.8, 0.98))
    root = moved(head, -0.26, 0.1)
    if rng.random() < 0.65:
        point = moved(root, rng.uniform(-0.7, -0.35), rng.uniform(0.0, 0.35))
        tusk = limb(moved(root, 0.1, 0.12), moved(root, -0.1, 0.3), point, 0.075, 0.02)
        shapes.append((tusk, ivory))
    lowered = rng.uniform(-0.9, 1.9)  # Radians, from lifted to hanging and swung back.
    reach = rng.uniform(0.8, 1.1)
    tip = moved(root, -reach * np.cos(lowered), reach * np.sin(lowered))
    bend = moved(root, rng.uniform(-0.55, -0.2), rng.uniform(0.2, 0.6))
    shapes += [(limb(root, bend, tip, 0.21, 0.08), skin), (near_ear, ear_colour)]
    eye = moved(head, -0.2, -0.12)
    return [*shapes, (ellipse(eye, 0.075, 0.075), ivory), (ellipse(eye, 0.05, 0.05), canvas.BLACK)]


def _penguin(rng: np.random.Generator) -> list[Shape]:
    """Draw feet, tail, flippers, body and head, from the farthest to the nearest."""
    coat = _coat(rng)
    belly_colour = times(coat, rng.choice([0.5, 1.4, 1.9]) * rng.uniform(0.85, 1.15))
    side_on = rng.uniform(0.1, 1.0)  # From facing us to showing its side.
    girth = rng.uniform(0.8, 1.15) * (1 - 0.12 * side_on)
    feet_colour = canvas.hsv(rng.random(), rng.uniform(0.3, 0.9), rng.uniform(0.35, 0.95))
    feet: list[Shape] = []
    flippers = []
    for side in (-1, 1):
        ankle = np.array([0.22 * girth * side, 0.95])
        toes = moved(ankle, 0.1 * side * (1 - side_on) - 0.25 * side_on, rng.uniform(0.08, 0.2))
        feet.append((limb(ankle, (ankle + toes) / 2, toes, 0.1, 0.12), feet_colour))
        flippers.append(_flipper(rng, np.array([0.36 * girth * side, -0.5]), side))
    tail = np.array([(0.2, 0.7), (0.5, 0.85), (rng.uniform(0.5, 0.85), 1.05)]) * (side_on, 1.0)
    belly = ellipse((-0.17 * side_on * girth, 0.2), 0.36 * girth * (1 - 0.25 * side_on), 0.66)
    return [
        *feet,
        (tail, times(coat, 0.8)),
        (flippers[0], times(coat, 0.78)),
        (canvas.rounded(_PENGUIN_BODY * (girth, 1.0)), coat),
        (belly, belly_colour),
        (flippers[1], times(coat, 0.88)),
        *_penguin_head(rng, coat, belly_colour),
    ]


def _flipper(rng: np.random.Generator, shoulder: Points, side: int) -> Points:
    """Draw a flipper that hangs down or is lifted."""
    lift = rng.uniform(0.1, 1.0) if rng.random() < 0.75 else rng.uniform(1.0, 2.2)
    reach = rng.uniform(0.7, 0.9)
    elbow = moved(shoulder, 0.45 * side * np.sin(0.7 * lift), 0.45 * np.cos(0.7 * lift))
    end = moved(shoulder, reach * side * np.sin(lift), reach * np.cos(lift))
    return limb(shoulder, elbow, end, 0.15, 0.06)


def _penguin_head(rng: np.random.Generator, coat: Colour, patch: Colour) -> list[Shape]:
    """Draw neck, cheek, beak and eyes; the head may face another way than the body."""
    head = np.array([rng.uniform(-0.22, 0.1), rng.uniform(-1.2, -1.02)])
    facing = rng.uniform(0.2, 1.0) * (1 if rng.random() < 0.8 else -1)
    shapes = [(limb((0, -0.6), (0, -0.8), head, 0.36, 0.3), coat)]
    if rng.random() < 0.5:
        shapes.append((ellipse(moved(head, -0.14 * facing, 0.08), 0.2, 0.17), patch))
    base = moved(head, -0.24 * facing, 0.04)
    nod, reach = rng.uniform(-0.4, 0.5), rng.uniform(0.3, 0.5)
    if abs(facing) > 0.5:
        tip = moved(base, -reach * facing * np.cos(nod), reach * np.sin(nod))
        beak = np.array([moved(base, 0, -0.1), tip, moved(base, 0, 0.1)])
        eyes = [moved(head, -0.12 * facing, -0.09)]
    else:  # The head faces us: two eyes, and the beak is seen from above.
        beak = np.array([moved(base, -0.12, 0), moved(base, 0.12, 0), moved(base, 0, 0.7 * reach)])
        eyes = [moved(base, -0.14, -0.13), moved(base, 0.14, -0.13)]
    shapes.append((beak, canvas.hsv(rng.random(), rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.95))))
    for eye in eyes:
        shapes += [
            (ellipse(eye, 0.085, 0.085), canvas.WHITE),
            (ellipse(eye, 0.05, 0.05), canvas.BLACK),
        ]
    return shapes


def _coat(rng: np.random.Generator) -> Colour:
    """Choose the colour of an animal of either kind."""
    return canvas.hsv(rng.random(), rng.uniform(0.0, 0.32), rng.uniform(0.2, 0.68))


def _placed(shapes: list[Shape], rng: np.random.Generator, size: tuple[int, int]) -> list[Shape]:
    """Turn, mirror, scale and move the shapes to somewhere wholly inside the image, in pixels."""
    angle = rng.normal(0, 0.16) if rng.random() < 0.85 else rng.uniform(-0.8, 0.8)
    mirror = (rng.choice([-1.0, 1.0]), 1.0)
    outlines = [canvas.turned(points, angle) * mirror for points, _ in shapes]
    corners = np.concatenate(outlines)
    low, extent = corners.min(axis=0), np.ptp(corners, axis=0)
    margin = 1.5  # Pixels left free on every side.
    room = np.array(size[::-1]) - 2 * margin
    wanted = rng.uniform(0.36, 0.74) * min(size) / np.sqrt(extent.prod())
    scale = min(wanted, (room / extent).min())
    corner = margin + rng.random(2) * (room - scale * extent)
    return [
        (corner + scale * (points - low), colour)
        for points, (_, colour) in zip(outlines, shapes, strict=True)
    ]
