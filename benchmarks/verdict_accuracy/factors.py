"""What a model follows of everything that a training set varies, by exact counterfactuals.

The planted nuisance is one factor of many: grounds, places, sizes and light vary as well, and what
rightly tells the classes apart is a factor too. A model may follow any of them, by accident also.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from objects import SIDE
from pictures import PLACED, ZONES, Plan, Studio

FACTORS = ("ground", "place", "extent", "light", "planted", "honest")
_IMAGES = {2: 160, 5: 100}  # by the number of classes; each is drawn with every value
_EXTENTS = {2: (0.42, 0.68), 5: (0.38, 0.46, 0.54, 0.62, 0.70)}  # of the side


@dataclass(frozen=True)
class Twins:
    """Images of one factor, each with every value of it.

    Attributes:
        images: uint8 `(values, n, SIDE, SIDE, 3)`.
        labels: int64 `(n,)`.
        goes: Whether each value goes with the class of the same number, as what is planted does.
    """

    images: np.ndarray
    labels: np.ndarray
    goes: bool

    def reliance(self, probabilities: np.ndarray) -> float:
        """The probability of the class that is lost where a value is that of another class.

        Args:
            probabilities: Of the images' classes, `(values, n)`.

        Returns:
            From -1 to 1. Where no value goes with a class, the most of all ways in which they may.
        """
        count = len(self.images)
        table = [probabilities[:, self.labels == k].mean(axis=1) for k in range(count)]
        own = np.array(table) - np.mean(table, axis=1, keepdims=True)
        ways = [tuple(range(count))] if self.goes else permutations(range(count))
        lost = max(own[np.arange(count), list(way)].mean() for way in ways)
        return float(lost * count / (count - 1))


def factor_twins(studio: Studio, rng: np.random.Generator, planted: bool) -> dict[str, Twins]:
    """Draw test images of each factor of a studio with all values of that factor.

    Args:
        studio: What composes the images.
        rng: Where the chance comes from.
        planted: Whether the nuisance's values go with the classes.

    Returns:
        `{factor: twins}` of those of `FACTORS` that the studio's images have. A nuisance that is
        the ground, the place or the size is listed as planted alone.
    """
    plan = studio.plan(rng, _IMAGES[studio.classes], held_out=True)
    values = rng.integers(studio.classes, size=len(plan))

    def drawn(changed: list[tuple[Plan, np.ndarray]], goes: bool) -> Twins:
        return Twins(np.stack([studio.draw(*one).images for one in changed]), plan.labels, goes)

    each = [np.full(len(plan), value) for value in range(studio.classes)]
    twins = {"planted": drawn([(plan, value) for value in each], planted)}
    if studio.honest:
        twins["honest"] = drawn([(replace(plan, labels=v), values) for v in each], True)
    given = {studio.nuisance, studio.honest}
    if "background" not in given:
        twins["ground"] = drawn([(replace(plan, grounds=v), values) for v in each], False)
    if not given & set(PLACED):
        zones = ZONES[studio.classes]
        placed = [np.where(np.isnan(zones[v]), plan.places, zones[v]) for v in each]
        twins["place"] = drawn([(replace(plan, places=p), values) for p in placed], False)
        extents = np.array(_EXTENTS[studio.classes])
        sized = [replace(plan, sizes=SIDE * extents[v]) for v in each]
        twins["extent"] = drawn([(one, values) for one in sized], False)
    lights = studio.lights_by_brightness(rng, len(plan))
    twins["light"] = drawn([(replace(plan, lights=row), values) for row in lights], False)
    return twins
