"""Trials: pairs of receivers and donors, and what a model makes of their counterfactual images."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.engine.predictor import at_a_time
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.images import Swap
from keras_saliency.shortcuts.nuisances import PATCHES, find_salient_patches
from keras_saliency.shortcuts.statistics import Gap, Interval, carry_coefficient, interval_of
from keras_saliency.shortcuts.tasks.task import DRAWS
from keras_saliency.shortcuts.video_swaps import ExampleSet

_ASKED = 64  # receivers and donors themselves in one call: their inputs are large
_EVALUATED = 32  # counterfactuals in one call of the model
_COMPOSED = 16  # counterfactuals composed at once: allocating more takes longer than computing


class Trial(NamedTuple):
    """The pairs of one nuisance, and what is watched of the model for their counterfactuals.

    Attributes:
        receivers: int `(n,)`, the receivers.
        donors: int `(n, 2, draws)`: donors that count as the same, and others.
        origins: Where receivers are donors too, the images that the receivers are `(n,)` and that
            their donors are, like `donors`; else `None`.
        watched: float64 `(n, 2, draws)`, such as the probability of the receiver's class.
        differences: Likewise, of the labels of donors and receiver.
    """

    receivers: Array
    donors: Array
    origins: tuple[Array, Array] | None
    watched: Array
    differences: Array

    def gap(self, rows: Array | slice = slice(None)) -> Gap:
        """The gap of some of the rows, by default of all."""
        watched, differences = self.watched[rows], self.differences[rows]
        if self.origins is None:
            return carry_coefficient(watched, differences, self.donors[rows])
        own, theirs = self.origins
        return carry_coefficient(watched, differences, theirs[rows], own[rows])

    def interval(self) -> Interval:
        """Where the reliance in unseen images lies."""
        few = None if self.origins is None else len(self.donors)
        return interval_of(self.gap(), few)


class Pairs(NamedTuple):
    """What a trial is made of.

    Attributes:
        swap: The function of a nuisance.
        receivers: int `(n,)`.
        donors: int `(n, 2, draws)`.
        has_patches: Whether the function needs salient patches.
    """

    swap: Swap
    receivers: Array
    donors: Array
    has_patches: bool = False

    @property
    def flat(self) -> tuple[Array, Array]:
        """Receiver and donor of each pair, int `(pairs,)` each."""
        return np.repeat(self.receivers, self.donors[0].size), self.donors.reshape(-1)


class TrialRunner:
    """Asks a model about donors and counterfactuals, and no more often than it must.

    What it has learnt of donors, and the salient patches it has located, are those of the model as
    it is, and are forgotten by `start`.

    Args:
        shortcuts: Receivers, donors and the task.
        answers: As `Evaluator` takes them.
        saliency_maps: Likewise.
    """

    def __init__(
        self,
        shortcuts: Shortcuts,
        answers: Callable[[Any], Array],
        saliency_maps: Callable[[Any, Array], Array] | None,
    ) -> None:
        self._shortcuts, self._answers, self._saliency_maps = shortcuts, answers, saliency_maps
        self.start()

    def start(self) -> None:
        """Begin an evaluation of a model whose weights are others than before."""
        self._sides = [_Known(x) for x in (self._shortcuts.receivers, self._shortcuts.donors)]

    def outputs(self, inputs: Any) -> Array:
        """The model's answers, float64 `(n, ...)`."""
        return np.asarray(self._answers(inputs), np.float64)

    def ask(self, receivers: Array, donors: Array) -> tuple[Array, Array]:
        """Watch the model on some of the images themselves, those not known yet in one call.

        Args:
            receivers: int `(n,)`.
            donors: int `(m,)`.

        Returns:
            What is watched for each, float64 `(n,)` and `(m,)`.
        """
        sides = list(zip(self._sides, (receivers, donors), strict=True))
        unknown = [np.unique(index[~side.is_watched[index]]) for side, index in sides]
        waiting = list(unknown)
        for inputs in self._inputs(unknown):
            outputs = self.outputs(inputs)
            for n, side in enumerate(self._sides):
                index, waiting[n] = np.split(waiting[n], [len(outputs)])
                if len(index):
                    part, outputs = np.split(outputs, [len(index)])
                    side.watched[index] = self._shortcuts.task.watched(part, side.examples, index)
                    side.is_watched[index] = True
        return self._sides[0].watched[receivers], self._sides[1].watched[donors]

    @property
    def known_donors(self) -> Array:
        """The donors that the model was asked about, all where it was about none, int `(m,)`."""
        return np.flatnonzero(self._sides[1].is_watched | ~self._sides[1].is_watched.any())

    def of_donors(self, index: Array | None = None) -> Array:
        """What is watched of the model for some of the donors, by default all, float64 `(n,)`."""
        index = np.arange(len(self._shortcuts.donors)) if index is None else index
        return self.ask(np.arange(0), index)[1]

    def confident(self, among: Array | None = None) -> Array:
        """The donors that the model is surest of, among some, by default among all."""
        donors = self._shortcuts.donors
        among = np.arange(len(donors)) if among is None else among
        chosen = self._shortcuts.task.confident(self.of_donors(among), donors.labels[among])
        return among[chosen]

    def draw(
        self,
        allowed: Array,
        rng: np.random.Generator,
        receivers: Array | None = None,
        draws: int = DRAWS,
    ) -> tuple[Array, Array]:
        """Draw donors among those allowed for some receivers, by default for all.

        Args:
            allowed: int `(m,)`.
            rng: The source of randomness.
            receivers: int `(n,)`.
            draws: The number of donors on each side of a receiver.

        Returns:
            The receivers, and their donors, int `(n, 2, draws)`.
        """
        shortcuts = self._shortcuts
        given, donors = shortcuts.receivers.labels, shortcuts.donors.labels[allowed]
        index = np.arange(len(given)) if receivers is None else receivers
        barred = None
        if shortcuts.origins is not None:
            own, theirs = shortcuts.origins
            barred = own[index, None] == theirs[allowed]
        return index, allowed[shortcuts.task.draw(given[index], donors, rng, barred, draws)]

    def run(self, several: Sequence[Pairs]) -> list[Trial]:
        """Evaluate the model on the counterfactuals of several nuisances, together.

        Args:
            several: The pairs of each.

        Returns:
            The trial of each.
        """
        for pairs in several:
            if pairs.has_patches:
                self._locate_patches(pairs.receivers, pairs.donors.reshape(-1))
        watched = [
            self._shortcuts.task.watched(self.outputs(inputs), self._shortcuts.receivers, index)
            for inputs, index in self._batches(several)
        ]
        stops = np.cumsum([pairs.donors.size for pairs in several])
        parts = np.split(np.concatenate(watched), stops[:-1])
        return [self._trial(pairs, part) for pairs, part in zip(several, parts, strict=True)]

    def _trial(self, pairs: Pairs, watched: Array) -> Trial:
        shortcuts, (receivers, drawn) = self._shortcuts, pairs[1:3]
        given, theirs = shortcuts.receivers.labels[receivers], shortcuts.donors.labels[drawn]
        origins = shortcuts.origins
        if origins is not None:
            origins = origins[0][receivers], origins[1][drawn]
        differences = shortcuts.task.differences(given, theirs)
        return Trial(receivers, drawn, origins, watched.reshape(drawn.shape), differences)

    def _batches(self, several: Sequence[Pairs]) -> Iterator[tuple[Any, Array]]:
        """Compose counterfactuals as inputs, with their receivers, in batches of one size."""
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        at_once = min(_EVALUATED, self._shortcuts.task.evaluated), _COMPOSED
        evaluated, composed = (at_a_time(count, receivers.pixels) for count in at_once)
        waiting: list[tuple[Any, Array]] = []
        for pairs in several:
            i, j = pairs.flat
            start = 0
            while start < len(i):
                free = evaluated - sum(len(index) for _, index in waiting)
                few = slice(start, start + min(composed, free))
                made = receivers.counterfactuals(pairs.swap, donors, i[few], j[few])
                waiting.append((self._shortcuts.to_input(*made), i[few]))
                start = few.stop
                if free <= composed:
                    yield _joined(waiting)
                    waiting = []
        if waiting:
            yield _joined(waiting)

    def _inputs(self, index: Sequence[Array]) -> Iterator[Any]:
        """Convert some receivers, and after them donors, to inputs, a few at a time."""
        at_once = min(_ASKED, self._shortcuts.task.evaluated)
        size, count = at_a_time(at_once, self._shortcuts.donors.pixels), sum(map(len, index))
        sides = list(zip(self._sides, index, (0, len(index[0])), strict=True))
        for start in range(0, count, size):
            given = [
                side.examples.inputs(k[max(start - first, 0) : max(start + size - first, 0)])
                for side, k, first in sides
            ]
            yield self._shortcuts.to_input(*_stacked(given))

    def _locate_patches(self, *index: Array) -> None:
        """Locate the salient patches of some receivers and donors where they are unknown."""
        if self._saliency_maps is None:
            return
        unknown = [
            np.unique(k[~side.is_located[k]]) for side, k in zip(self._sides, index, strict=True)
        ]
        if not sum(map(len, unknown)):
            return
        task, given = self._shortcuts.task, list(zip(self._sides, unknown, strict=True))
        labels = np.concatenate([task.label_of(side.examples.labels[k]) for side, k in given])
        size, found = self._shortcuts.receivers.pixels.shape[1:3], np.empty((0, PATCHES, 2), int)
        for inputs in self._inputs(unknown):
            few = labels[len(found) : len(found) + len(keras.tree.flatten(inputs)[0])]
            located = find_salient_patches(self._saliency_maps(inputs, few), size)
            found = np.concatenate([found, located])
        parts = np.split(found, [len(unknown[0])])
        for side, k, part in zip(self._sides, unknown, parts, strict=True):
            if side.examples.spots is None:
                side.examples.spots = np.zeros((len(side.examples), PATCHES, 2), int)
            side.examples.spots[k], side.is_located[k] = part, True


class _Known:
    """What is known of receivers, or of donors, in one evaluation.

    Args:
        examples: The images.

    Attributes:
        watched: float64 `(n,)`: what is watched of the model for them.
        is_watched: bool `(n,)`: where that is known.
        is_located: bool `(n,)`: where the salient patches are.
    """

    def __init__(self, examples: ExampleSet) -> None:
        self.examples = examples
        self.watched = np.full(len(examples), np.nan)
        self.is_watched, self.is_located = np.zeros((2, len(examples)), bool)


def _joined(parts: Sequence[tuple[Any, Array]]) -> tuple[Any, Array]:
    inputs, index = zip(*parts, strict=True)
    return _stacked(inputs), np.concatenate(index)


def _stacked(parts: Sequence[Any]) -> Any:
    """Concatenate arrays, or what holds arrays in one structure."""
    return keras.tree.map_structure(lambda *rows: np.concatenate(rows), *parts)
