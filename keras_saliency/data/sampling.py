"""A random choice of examples of each class, made while a dataset is read."""

import copy
import time
from typing import Any

import numpy as np

# Enough to meet rare classes, and little enough for a dataset that repeats for ever.
_READ_AT_MOST = 2000
# Where class comes after class, the others are still to come: so many examples, or seconds.
_READ_ON = 10_000
_PATIENCE = 30.0
# Of every class this many times more are read than kept, so that there is something to choose from.
_CHOICE = 8

Example = tuple[Any, Any]


class Reservoir:
    """Some examples of each class; each example that was seen is held with the same chance."""

    def __init__(self, per_class: int, rng: np.random.Generator, class_count: int | None) -> None:
        self._per_class = per_class
        self._rng = rng
        self._class_count = class_count
        self._kept: dict[Any, list[Example]] = {}
        self._seen: dict[Any, int] = {}
        self._last: Any = None
        self._changes = 0  # how often the class is another than that of the example before
        self._began = time.monotonic()
        self._is_cut = False  # whether reading ended for want of patience

    def add(self, image: Any, label: Any) -> None:
        """Take in one example; reservoir sampling decides whether it is held."""
        group, self._class_count = _class_of(label, self._class_count)
        self._changes += bool(self._seen) and group != self._last
        self._last = group
        seen = self._seen[group] = self._seen.get(group, 0) + 1
        held = self._kept.setdefault(group, [])
        if len(held) < self._per_class:
            held.append((copy.deepcopy(image), label))
        elif (index := int(self._rng.integers(seen))) < self._per_class:
            held[index] = (copy.deepcopy(image), label)

    def is_enough(self) -> bool:
        """Tell whether reading on would hardly make a better choice."""
        choice = _CHOICE * self._per_class
        if len(self._seen) == self._class_count and min(self._seen.values()) >= choice:
            return True
        count = self._count()
        if count < max(_READ_AT_MOST, choice):
            return False
        late = time.monotonic() - self._began > _PATIENCE
        self._is_cut = count >= max(_READ_ON, choice) or late
        return self._is_cut or not self._is_sorted()

    def lacks_classes(self) -> bool:
        """Tell whether some classes were probably not met: there are at least two, if any."""
        return self._is_sorted() and (len(self._seen) == 1 or self._is_cut)

    def classes(self) -> str:
        """List the classes that were met."""
        met = list(map(str, self._seen))
        return ", ".join(met[:5]) + ", …" * (len(met) > 5)

    def examples(self) -> list[Example]:
        """Return the examples that are held, class by class."""
        order = sorted(
            self._kept, key=lambda group: (group is None, isinstance(group, str), group or 0)
        )
        return [example for group in order for example in self._kept[group]]

    def _count(self) -> int:
        return sum(self._seen.values())

    def _is_sorted(self) -> bool:
        """Tell whether class comes after class up to here; numbers that do not repeat are none."""
        repeats = self._count() >= 2 * len(self._seen)
        return repeats and None not in self._seen and self._changes < len(self._seen)


def _class_of(label: Any, class_count: int | None) -> tuple[Any, int | None]:
    """Return the class of one label (`None` if it has none), and how many classes there are."""
    if label is None:
        return None, class_count
    value = np.asarray(label)
    if value.size == 1:
        item = value.reshape(-1)[0]
        if isinstance(item, bytes | str):
            return (item.decode() if isinstance(item, bytes) else str(item)), class_count
        # Fractional or negative, it is a regression's target.
        return (int(item) if item >= 0 and float(item).is_integer() else None), class_count
    if value.ndim == 1 and (value >= 0).all() and np.isclose(value.sum(), 1, atol=1e-3):
        return int(value.argmax()), class_count or len(value)
    return None, class_count
