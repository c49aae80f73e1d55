"""Images composed of the pool, with a nuisance planted in them, and their exact counterfactuals.

A plan says what each image is made of, apart from the nuisance's value. The same plan drawn with
another value is the exact counterfactual: same object, light, noise and chance, another nuisance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from honest import altered_objects
from nuisances import PAINTED, blurred
from objects import LARGEST, MARGIN, SIDE
from pool import Pool
from unlisted import UNLISTED

_AT_ONCE = 100
_LOW = 58.0  # Where the front begins if objects move: a row that is no clue to their places.
ZONES = {  # of the room that an object has, by the number of classes: x, y
    2: np.array([(0.1, np.nan), (0.9, np.nan)]),
    5: np.array([(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9), (0.5, 0.5)]),
}
_SIZES = {2: (0.30, 0.62), 5: (0.24, 0.33, 0.43, 0.54, 0.66)}  # of the side, likewise
PLACED = ("position", "size")


@dataclass(frozen=True)
class Plan:
    """What `n` images are made of, apart from the nuisance.

    Attributes:
        labels: int64 `(n,)`.
        kinds: int64 `(n,)`, of the objects.
        objects: int64 `(n,)`, which of that kind.
        sizes: float64 `(n,)`, root of the area of the object's box, in pixels.
        places: float64 `(n, 2)`, x and y in the room that the object has, from 0 to 1.
        grounds: int64 `(n,)`, the kind of ground.
        choices: int64 `(n, kinds)`, which ground of every kind.
        lights: int64 `(n,)`.
        chances: float64 `(n, 4)`, from 0 to 1, for what else is left to chance.
    """

    labels: np.ndarray
    kinds: np.ndarray
    objects: np.ndarray
    sizes: np.ndarray
    places: np.ndarray
    grounds: np.ndarray
    choices: np.ndarray
    lights: np.ndarray
    chances: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice) -> Plan:
        """Some of the images."""
        return replace(self, **{name: value[rows] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Sample:
    """Images with the truth about them.

    Attributes:
        images: uint8 `(n, SIDE, SIDE, 3)`.
        labels: int64 `(n,)`.
        masks: float32 `(n, SIDE, SIDE)`, the share of each pixel that shows the object.
        values: int64 `(n,)`, the nuisance's value, which goes with the class of the same number.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    values: np.ndarray


class Studio:
    """Composes images of one nuisance for one number of classes.

    Attributes:
        nuisance: What is planted.
        classes: How many classes, and values of the nuisance.
        honest: What besides the shape tells the classes apart and is meant to, or `""`.
    """

    def __init__(self, pool: Pool, nuisance: str, classes: int, honest: str = "") -> None:
        self.nuisance, self.classes, self.honest = nuisance, classes, honest
        self._pool = pool
        self._placing = honest if honest in PLACED else nuisance

    def lights_by_brightness(self, rng: np.random.Generator, count: int) -> list[np.ndarray]:
        """Draw lights for so many images from the darkest to the brightest, a part a class."""
        order = np.argsort(self._pool.gains.mean(axis=(1, 2, 3)))
        return [rng.choice(part, count) for part in np.array_split(order, self.classes)]

    def plan(self, rng: np.random.Generator, count: int, held_out: bool = False) -> Plan:
        """Leave everything but the nuisance to chance.

        Args:
            rng: Where the chance comes from.
            count: How many images, as many of each class as can be.
            held_out: Whether of layers that are for tests alone.
        """
        labels = rng.permutation(np.arange(count) % self.classes)
        # Where place or size is what makes the class, the shape must not.
        meaningless = self.honest in PLACED
        kinds = rng.integers(self.classes, size=count) if meaningless else labels
        chosen = np.empty(count, np.int64)
        for kind in range(self.classes):
            members = np.flatnonzero(kinds == kind)
            chosen[members] = self._pool.some_object(rng, len(members), held_out)
        shares = rng.uniform(0.36, LARGEST / SIDE, count)
        if self._placing == "position":
            shares = rng.uniform(0.28, 0.42, count)
        plan = Plan(
            labels=labels,
            kinds=kinds,
            objects=chosen,
            sizes=shares * SIDE,
            places=rng.random((count, 2)),
            grounds=rng.integers(self.classes, size=count),
            choices=np.zeros((count, self.classes), np.int64),
            lights=rng.integers(len(self._pool.gains), size=count),
            chances=rng.random((count, 4)),
        )
        feet = np.full(count, _LOW)
        if self._placing not in PLACED:
            corners, extents = self._boxes(plan, labels)
            feet = corners[:, 1] + extents[:, 0]
        return replace(plan, choices=self._pool.some_grounds(rng, feet, held_out))

    def draw(self, plan: Plan, values: np.ndarray) -> Sample:
        """Compose the images of a plan, with these values of the nuisance."""
        parts = [slice(k, k + _AT_ONCE) for k in range(0, len(plan), _AT_ONCE)]
        drawn = [self._draw(plan.part(rows), values[rows]) for rows in parts]
        images, masks = (np.concatenate(found) for found in zip(*drawn, strict=True))
        return Sample(images, plan.labels, masks, values)

    def _draw(self, plan: Plan, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        objects = self._objects(plan, values)
        if self.honest:
            objects = altered_objects(self.honest, objects, plan.labels, plan.chances)
        colour, cover = objects[..., :3], objects[..., 3:]
        kinds = values if self.nuisance == "background" else plan.grounds
        chosen = plan.choices[np.arange(len(plan)), kinds]
        layers = self._pool.grounds[kinds, chosen].astype(np.float32) / np.float32(255)
        if self.nuisance == "blur":
            layers = blurred(layers, values, plan.chances, self.classes)
        ground, front, hidden = layers[..., :3], layers[..., 3:6], layers[..., 6:]
        pictures = front + (1 - hidden) * (colour + (1 - cover) * ground)
        masks = (cover * (1 - hidden))[..., 0]
        pictures = pictures * self._pool.gains[plan.lights] + self._pool.noises[plan.lights]
        if painter := (PAINTED | UNLISTED).get(self.nuisance):
            pictures = painter(pictures, masks, values, plan.chances)
        return np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8), masks

    def _boxes(self, plan: Plan, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The objects' left and upper edges `(n, 2)`, and heights and widths `(n, 2)`."""
        extents = self._pool.extents[plan.kinds, plan.objects].astype(np.float64)
        sizes, places = plan.sizes, plan.places
        told = plan.labels if self.honest in PLACED else values
        if self._placing == "size":
            sizes = SIDE * np.array(_SIZES[self.classes])[told] * (0.93 + 0.14 * plan.chances[:, 0])
        if self._placing == "position":
            zones = ZONES[self.classes][told]
            places = np.where(np.isnan(zones), places, zones + 0.2 * (places - 0.5))
        scale = np.minimum(sizes / np.sqrt(extents.prod(1)), 1.0)
        extents = np.maximum(np.rint(extents * scale[:, None]), 2)
        room = SIDE - 2 * MARGIN - extents[:, ::-1]
        corners = MARGIN + places * room
        if self._placing == "size":  # Larger and smaller ones are about one centre.
            centres = SIDE / 2 + 16 * (places - 0.5)
            corners = np.clip(centres - extents[:, ::-1] / 2, MARGIN, MARGIN + room)
        return np.rint(corners).astype(int), extents.astype(int)

    def _objects(self, plan: Plan, values: np.ndarray) -> np.ndarray:
        """The objects in their places, float32 `(n, SIDE, SIDE, 4)`, times their cover."""
        placed = np.zeros((len(plan), SIDE, SIDE, 4), np.float32)
        full = self._pool.extents[plan.kinds, plan.objects]
        for index, ((x, y), (height, width)) in enumerate(
            zip(*self._boxes(plan, values), strict=True)
        ):
            tall, wide = full[index]
            picture = self._pool.objects[plan.kinds[index], plan.objects[index], :tall, :wide]
            small = cv2.resize(
                np.ascontiguousarray(picture),
                (int(width), int(height)),
                interpolation=cv2.INTER_AREA,
            )
            placed[index, y : y + height, x : x + width] = small
        return placed / np.float32(255)


def matching(
    rng: np.random.Generator, labels: np.ndarray, classes: int, correlation: float
) -> np.ndarray:
    """Draw values of a nuisance that goes with the class.

    Args:
        rng: Where the chance comes from.
        labels: int64 `(n,)`.
        classes: How many.
        correlation: From 0.5, where the value says nothing, to 1, where it says everything. With
            two classes it is the share of images that match; with more, this share is as far
            from chance.

    Returns:
        int64 `(n,)`.
    """
    share = 1 / classes + (1 - 1 / classes) * (2 * correlation - 1)
    values = np.empty(len(labels), np.int64)
    for label in range(classes):  # Exactly so in every class, or it would be a weak clue.
        members = rng.permutation(np.flatnonzero(labels == label))
        match = round(share * len(members))
        values[members[:match]] = label
        rest = np.arange(len(members) - match)
        values[members[match:]] = (label + 1 + rest % (classes - 1)) % classes
    return values


def others(rng: np.random.Generator, labels: np.ndarray, classes: int) -> np.ndarray:
    """Draw, for each label, another one."""
    return (labels + rng.integers(1, classes, size=len(labels))) % classes
