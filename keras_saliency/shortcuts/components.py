"""Components of what feeds the logits, and the test whether the model relies on their places.

Whatever a model uses shows in its last feature map, also what no nuisance was listed for. There
the evidence for a class is split into a few non-negative factors, as concepts are by CRAFT (Fel et
al. 2023, "CRAFT: Concept Recursive Activation FacTorization for Explainability"). What shows in the
place of a factor is then swapped between images, which tells whether the model follows it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from keras_saliency.common.arrays import json_number
from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_bilinear, resize_maps
from keras_saliency.common.types import Array
from keras_saliency.shortcuts.images import ImageSet, Inputs, Swap, by_channels, required
from keras_saliency.shortcuts.statistics import ERRORS, Gap, is_confirmed

Place = Literal["off the object", "on the object"]
OFF: Place = "off the object"
ON: Place = "on the object"
COMPONENT = "component"  # as the cause of an alarm

_COUNT = 6  # components of a class
_STEPS = 60  # updates, after which factors hardly change
_FACTORIZED = 64  # donors of a class
_FIRST = 2  # the evaluation with the first test, unless all have one
_TRIED = 2  # components of a class and place that are swapped
_SHOWN = 8  # images of a component
_FULL = 0.5  # of an image's strongest place, from which on its component is swapped wholly
_TINY = 1e-9


class Factors(NamedTuple):
    """Non-negative factors of the evidence for one class.

    Attributes:
        maps: float32 `(n, h, w, count)`, how strong each component is at each place.
        vectors: float32 `(count, channels)`, the channels of each; each sums to 1.
    """

    maps: Array
    vectors: Array


def factorize(evidence: Array, count: int = _COUNT, vectors: Array | None = None) -> Factors:
    """Factorize non-negative evidence, `evidence ≈ maps @ vectors`, both not negative.

    The squared error is lowered by multiplicative updates (Lee and Seung 2000, "Algorithms for
    Non-negative Matrix Factorization").

    Args:
        evidence: Not negative, `(n, h, w, channels)`.
        count: The number of components, from 1.
        vectors: Those of other images `(count, channels)`, which are then kept.

    Returns:
        The factors.

    Example:
        >>> maps, vectors = np.array([[[[2.0], [0.0]]]]), np.array([[0.25, 0.75]])
        >>> found = factorize(maps @ vectors, count=1)
        >>> found.maps.round(3).tolist(), found.vectors.round(3).tolist()
        ([[[[2.0], [0.0]]]], [[0.25, 0.75]])
    """
    rows = np.asarray(evidence, np.float32).reshape(-1, evidence.shape[-1])
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.1, 1, (len(rows), count)).astype(np.float32)
    parts = rng.uniform(0.1, 1, (count, rows.shape[1])).astype(np.float32)
    if vectors is not None:
        parts = np.asarray(vectors, np.float32)
    for _ in range(_STEPS):
        weights *= (rows @ parts.T) / (weights @ (parts @ parts.T) + _TINY)
        if vectors is None:
            parts *= (weights.T @ rows) / (weights.T @ weights @ parts + _TINY)
    sums = parts.sum(axis=1) if vectors is None else np.ones(count, np.float32)
    maps = (weights * sums).reshape(*evidence.shape[:-1], count)
    return Factors(maps, parts / np.maximum(sums, _TINY)[:, None])


@dataclass(frozen=True)
class Component:
    """One component of the evidence for a class, and the images where it is strongest.

    Attributes:
        label: The class.
        gap: What receivers of the class lose, from -1 to 1.
        share: Its share of the evidence for the class, in [0, 1].
        inside: The share of it that lies on objects, in [0, 1].
        images: uint8 `(8, height, width, channels)`, donors of the class, or fewer.
        maps: float32 `(8, height, width)` in [0, 1], where it lies in them.
    """

    label: int
    gap: float
    share: float
    inside: float
    images: Array
    maps: Array


@dataclass(frozen=True)
class ComponentGap:
    """What is lost where what feeds the logits off objects, or on them, is of another class.

    Attributes:
        place: `"off the object"` or `"on the object"`.
        gap: The gap and its standard error, from -1 to 1, over the receivers that did not choose
            the components.
        passes: Whether the model relies on it: the gap is above the threshold, above 2.9 standard
            errors, and confirmed with donors that the model did not choose.
        components: The component of each class, that with the largest gap first.
        when: The evaluation in words.
    """

    place: Place
    gap: Gap
    passes: bool
    components: tuple[Component, ...]
    when: str

    def to_dict(self, class_names: Sequence[str] | None = None) -> dict[str, Any]:
        """Convert all but the images to what JSON holds.

        Args:
            class_names: The names of the classes, which are then the keys.

        Returns:
            The gap with its error, whether it passes, when, and each class's gap and shares.
        """
        return {
            "gap": [*map(json_number, self.gap)],
            "passes": bool(self.passes),
            "when": self.when,
            "classes": {
                str(class_names[one.label] if class_names else one.label): {
                    "gap": json_number(one.gap),
                    "share": json_number(one.share),
                    "inside": json_number(one.inside),
                }
                for one in self.components
            },
        }


class ComponentSwap:
    """Swaps what shows where the evidence lies, off objects or on them.

    A donor is moved so that its strongest place comes to lie on the receiver's; what shows there
    and around it, where either has evidence, is pasted with soft edges. Off objects it is cut from
    the donor's background and pasted beside the receiver's object.

    Args:
        place: Whether the places off objects are swapped, or those on them.
        own: The receivers' evidence at each place, not negative, `(receivers, h, w)`.
        theirs: That of the donors, `(donors, h, w)`.
        receivers: The receivers.
        donors: The donors.
    """

    def __init__(
        self, place: Place, own: Array, theirs: Array, receivers: ImageSet, donors: ImageSet
    ) -> None:
        self._is_off = place == OFF
        self._own, self._to = soft_masks(own, visible(place, receivers))
        self._theirs, self._from = soft_masks(theirs, visible(place, donors))

    def __call__(self, receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
        """Compose the counterfactual images of pairs, as a `Nuisance` does."""
        source = donors.safe_backgrounds if self._is_off else donors.pixels
        images = receivers.pixels[i].astype(np.float32)
        for pair, (down, aside) in enumerate(self._to[i] - self._from[j]):
            move = np.array([[1, 0, aside], [0, 1, down]], np.float32)
            size = images.shape[2:0:-1]
            moved = by_channels(
                cv2.warpAffine, source[j[pair]], move, size, borderMode=cv2.BORDER_REFLECT_101
            )
            theirs = cv2.warpAffine(self._theirs[j[pair]].astype(np.float32), move, size)
            weight = np.maximum(theirs, self._own[i[pair]])
            if self._is_off:
                weight = weight * (1 - required(receivers.masks)[i[pair]])
            images[pair] += weight[..., None] * (moved - images[pair])
        return images


def visible(place: Place, images: ImageSet) -> Array:
    """Tell which pixels are certain to be off the object, or may be on it.

    Args:
        place: Which of the two.
        images: The images, with masks.

    Returns:
        bool `(n, height, width)`.
    """
    return ~images.covered if place == OFF else images.hidden


def soft_masks(maps: Array, allowed: Array) -> tuple[Array, Array]:
    """Resize maps to the images, and scale each to its strongest place among those allowed.

    Args:
        maps: Not negative, `(n, h, w)`.
        allowed: bool `(n, height, width)`.

    Returns:
        float16 `(n, height, width)`: 1 where a map has half of its maximum or more, 0 where it has
        nothing or is not allowed; and int64 `(n, 2)`, row and column of its strongest place.

    Example:
        >>> masks, peaks = soft_masks(np.array([[[4, 1, 8]]]), np.array([[[True, True, False]]]))
        >>> masks.tolist(), peaks.tolist()
        ([[[1.0, 0.5, 0.0]]], [[0, 0]])
    """
    masks = np.zeros(allowed.shape, np.float16)
    peaks = np.zeros((len(allowed), 2), np.int64)
    for index, map_ in enumerate(maps):
        large = resize_bilinear(np.asarray(map_, np.float32), allowed.shape[1:]) * allowed[index]
        masks[index] = np.clip(large / max(_FULL * float(large.max()), _TINY), 0, 1)
        peaks[index] = np.unravel_index(large.argmax(), large.shape)
    return masks, peaks


class _OfClass(NamedTuple):
    """The components of one class.

    Attributes:
        donors: int `(d,)`, which donors of the class were factorized.
        receivers: int `(r,)`, the receivers of the class.
        theirs: `(d, h, w, components)`, where they lie in the donors.
        own: `(r, h, w, components)`, where they lie in the receivers.
        shares: `(components,)`, the share of each of the evidence.
        inside: `(components,)`, the share of each that lies on objects.
    """

    donors: Array
    receivers: Array
    theirs: Array
    own: Array
    shares: Array
    inside: Array

    def strongest(self, place: Place) -> Array:
        """The components with most of the evidence at a place, the first first."""
        amounts = self.shares * (1 - self.inside if place == OFF else self.inside)
        return np.argsort(-amounts, kind="stable")[:_TRIED]


class ComponentTest:
    """Finds components and tests whether a model relies on their places.

    The test is that of a nuisance (`Verdict`): receivers lose probability where what shows in the
    place comes from another class. The components are chosen on one half of the receivers, and the
    gap is that of the others.

    Args:
        receivers: The receivers, with masks.
        donors: The donors, with masks.
        evidence: `(inputs, labels) -> (n, h, w, channels)`, not negative: how much each channel
            adds to the score of the label at each place of the last feature map.
        measure: `(swap, allowed, rng) -> trial`: tries a swap on all receivers with donors among
            those allowed; a trial's `gap(receivers)` is that of some of them.
        threshold: The gap that passes.
        every: Number of evaluations from one test to the next. There is another test at the second
            evaluation, so that a short training run has one at all.
    """

    def __init__(
        self,
        receivers: ImageSet,
        donors: ImageSet,
        evidence: Callable[[Inputs, Array], Array],
        measure: Callable[[Swap, Array, np.random.Generator], Any],
        threshold: float,
        every: int,
    ) -> None:
        self._receivers, self._donors = receivers, donors
        self._evidence, self._measure = evidence, measure
        self._threshold, self._every, self._count = threshold, every, 0
        self._newest: tuple[ComponentGap, ...] = ()
        of_class = {k: np.flatnonzero(receivers.labels == k) for k in np.unique(receivers.labels)}
        # One half of a class chooses, and the other measures.
        self._of_class = {int(k): index for k, index in of_class.items() if len(index) > 1}
        self._choosing = {k: index[::2] for k, index in self._of_class.items()}
        self._measuring = {k: index[1::2] for k, index in self._of_class.items()}

    def evaluate(
        self, confident: Callable[[], Array], rng: np.random.Generator, when: str
    ) -> tuple[ComponentGap, ...]:
        """Find the components of each class, and measure the gaps off objects and on them.

        Args:
            confident: Returns the donors that the model is surest of, int `(m,)`; it is called
                where the test is due.
            rng: Draws pairs of receivers and donors.
            when: The evaluation in words.

        Returns:
            The gap of each place; between two tests, that of the last. Classes with one receiver
            have no part in it.
        """
        self._count += 1
        is_due = self._count % self._every == 0 or self._count == _FIRST
        if not is_due or not self._of_class:
            return self._newest
        classes = {label: self._factorized(label) for label in self._of_class}
        allowed = confident()
        found = [self._at(place, classes, allowed, rng, when) for place in (OFF, ON)]
        self._newest = tuple(found)
        return self._newest

    def _factorized(self, label: int) -> _OfClass:
        donors = np.flatnonzero(self._donors.labels == label)[:_FACTORIZED]
        receivers = self._of_class[label]
        maps, vectors = factorize(self._of(self._donors, donors))
        own, _ = factorize(self._of(self._receivers, receivers), len(vectors), vectors)
        sums = maps.sum(axis=(0, 1, 2))
        objects = resize_maps(self._donors.hidden[donors].astype(np.float32), maps.shape[1:3])
        inside = np.einsum("nhw,nhwk->k", objects, maps) / np.maximum(sums, _TINY)
        shares = sums / max(float(sums.sum()), _TINY)
        return _OfClass(donors, receivers, maps, own, shares, inside)

    def _of(self, images: ImageSet, index: Array) -> Array:
        return self._evidence(images.inputs(index), images.labels[index])

    def _at(
        self,
        place: Place,
        classes: dict[int, _OfClass],
        confident: Array,
        rng: np.random.Generator,
        when: str,
    ) -> ComponentGap:
        """Choose the component of each class at a place, and measure the gap of these."""
        known = np.concatenate([found.donors for found in classes.values()])
        allowed = np.intersect1d(confident, known)
        swaps = [self._swap(place, dict.fromkeys(classes, rank), classes) for rank in range(_TRIED)]
        trials = [self._measure(swap, allowed, rng) for swap in swaps]
        ranks = {
            label: int(np.argmax([trial.gap(self._choosing[label])[0] for trial in trials]))
            for label in classes
        }
        trial = _joined(trials, ranks, self._receivers.labels)
        others = np.concatenate(list(self._measuring.values()))
        gap = trial.gap(others)
        passes = gap[0] > self._threshold and gap[0] > ERRORS * gap[1]
        if passes:
            again = self._measure(self._swap(place, ranks, classes), known, rng).gap(others)
            passes = is_confirmed(gap, again)
        lost = {label: trial.gap(index)[0] for label, index in self._measuring.items()}
        shown = [self._component(place, k, lost[k], ranks[k], classes[k]) for k in classes]
        shown.sort(key=lambda component: -component.gap)
        return ComponentGap(place, gap, passes, tuple(shown), when)

    def _swap(
        self, place: Place, ranks: dict[int, int], classes: dict[int, _OfClass]
    ) -> ComponentSwap:
        """Swap the component of this rank in each class, with all that are tried of donors."""
        grid = next(iter(classes.values())).own.shape[1:3]
        own = np.zeros((len(self._receivers), *grid), np.float32)
        theirs = np.zeros((len(self._donors), *grid), np.float32)
        for label, found in classes.items():
            strongest = found.strongest(place)
            own[found.receivers] = found.own[..., strongest[ranks[label]]]
            theirs[found.donors] = found.theirs[..., strongest].sum(axis=-1)
        return ComponentSwap(place, own, theirs, self._receivers, self._donors)

    def _component(
        self, place: Place, label: int, gap: float, rank: int, found: _OfClass
    ) -> Component:
        """The component of a class, with the donors where it is strongest."""
        index = found.strongest(place)[rank]
        maps = found.theirs[..., index]
        allowed = visible(place, self._donors)[found.donors]
        seen = maps * resize_maps(allowed.astype(np.float32), maps.shape[1:])
        best = np.argsort(-seen.max(axis=(1, 2)), kind="stable")[:_SHOWN]
        masks, _ = soft_masks(maps[best], allowed[best])
        images = self._donors.pixels[found.donors[best]]
        share, inside = float(found.shares[index]), float(found.inside[index])
        return Component(label, gap, share, inside, images, masks.astype(np.float32))


def _joined(trials: list[Any], ranks: dict[int, int], labels: Array) -> Any:
    """The trial of which the receivers of each class are taken from that of their component."""
    chosen, rows = np.array([ranks.get(int(k), 0) for k in labels]), np.arange(len(labels))
    return trials[0]._make(
        None if parts[0] is None else np.stack(parts)[chosen, rows]
        for parts in zip(*trials, strict=True)
    )
