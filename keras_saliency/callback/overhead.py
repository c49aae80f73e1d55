"""Keeping within a share of a training's time: what is looked at less often, and in what words."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_saliency.callback.schedule import in_words

_EPOCHS = 3  # of which the time is taken in the middle, as single ones are disturbed
_ROOM = 0.5  # of what is allowed must do before something is asked more often again
_GROWTH = 1.25  # of an interval that is not long enough yet


@dataclass(frozen=True)
class Pace:
    """How often something is done: 1 is as often as the user asked, 3 a third of that.

    Attributes:
        look: Of looks.
        methods: Of methods with passes of their own: at one of so many looks.
        verdict: Of verdicts.
    """

    look: int = 1
    methods: Mapping[str, int] = field(default_factory=dict)
    verdict: int = 1


class Overhead:
    """Decide what is due, and after each epoch what is to be done less often.

    Args:
        most: Share of the time that may be ours, above 0 and below 1; None for any.
        every: After how many epochs or batches the user wants a look.
        counts_batches: Whether these are batches.
        verdict_every: After how many epochs the user wants a verdict; None for never.

    Example:
        >>> overhead = Overhead(0.1, every=1, counts_batches=False, verdict_every=None)
        >>> overhead.settle(training=9.0)  # The first epoch traces.
        >>> overhead.looks(2)
        True
        >>> overhead.looked(0.9, {"rise": 0.8})
        >>> overhead.settle(training=2.0)
        'looking takes 31 % of the time, max_overhead=0.1; from now on rise in one of 7 looks'
        >>> [sorted(overhead.left_out(epoch)) for epoch in (6, 7, 8)]
        [['rise'], [], ['rise']]
    """

    def __init__(
        self, most: float | None, every: int, counts_batches: bool, verdict_every: int | None
    ) -> None:
        self.changes: list[str] = []
        self._most = most
        self._every, self._counts_batches = every, counts_batches
        self._verdict_every = verdict_every
        self._pace = Pace()
        self._look, self._verdict = 0.0, 0.0
        self._methods: dict[str, float] = {}
        self._trainings: list[float] = []
        self._has_begun, self._counted = False, 0

    def looks(self, count: int, last: int = 1) -> bool:
        """Tell, after each epoch or batch, whether the probes are looked at after so many.

        Where several batches run in one go, it is asked after the last of so many, and looks if it
        is time after any of these.
        """
        self._counted += last
        period = self._every * self._pace.look
        return count // period > (count - last) // period

    def left_out(self, count: int) -> frozenset[str]:
        """Return the methods that are left out of the look after so many epochs, or batches."""
        number = count // (self._every * self._pace.look)
        return frozenset(name for name, one_of in self._pace.methods.items() if number % one_of)

    def judges(self, epochs: int) -> bool:
        """Tell whether a verdict is due after so many epochs."""
        return epochs % ((self._verdict_every or 1) * self._pace.verdict) == 0

    def looked(self, seconds: float, methods: Mapping[str, float]) -> None:
        """Take note of a look: its seconds, and those of methods with passes of their own."""
        self._methods |= methods
        self._look = seconds - sum(methods.values())

    def judged(self, seconds: float) -> None:
        """Take note of the seconds of a verdict."""
        self._verdict = seconds

    def settle(self, training: float) -> str | None:
        """Change the pace after an epoch but the first one, if it must be or may be.

        Args:
            training: The seconds of the epoch that were not ours.

        Returns:
            What has changed, in words, or None.
        """
        has_begun, self._has_begun = self._has_begun, True
        counted, self._counted = self._counted, 0
        if self._most is None or not has_begun:
            return None
        self._trainings = [*self._trainings[1 - _EPOCHS :], training]
        usual = statistics.median(self._trainings)
        allowed = usual * self._most / (1 - self._most)
        looks = counted / self._every
        before, now = self._pace, self._cost(self._pace, looks)
        if now > allowed:
            self._pace = self._within(allowed, looks)
        elif self._cost(roomy := self._within(_ROOM * allowed, looks), looks) > now:
            self._pace = roomy
        if self._pace == before:
            return None
        share = 100 * now / (usual + now)
        self.changes.append(
            f"looking takes {share:.3g} % of the time, max_overhead={self._most:g}; from now on "
            f"{self._in_words()}"
        )
        return self.changes[-1]

    def _within(self, allowed: float, looks: float) -> Pace:
        """Find the pace that keeps within so many seconds an epoch: the dearest part gives way."""
        one_of: dict[Any, int] = dict.fromkeys((_LOOK, _VERDICT, *self._methods), 1)
        while self._cost(pace := _pace(one_of), looks) > allowed:
            parts = self._parts(pace, looks)
            dearest = max(parts, key=lambda part: parts[part])
            one_of[dearest] = max(one_of[dearest] + 1, int(_GROWTH * one_of[dearest]))
        return pace

    def _cost(self, pace: Pace, looks: float) -> float:
        """Return what a pace costs, in seconds an epoch."""
        return sum(self._parts(pace, looks).values())

    def _parts(self, pace: Pace, looks: float) -> dict[Any, float]:
        looks /= pace.look
        parts: dict[Any, float] = {
            name: seconds * looks / pace.methods.get(name, 1)
            for name, seconds in self._methods.items()
        }
        verdicts = 1 / (self._verdict_every or 1) / pace.verdict
        return parts | {_LOOK: self._look * looks, _VERDICT: self._verdict * verdicts}

    def _in_words(self) -> str:
        pace, every = self._pace, self._every * self._pace.look
        said = [f"it looks every {in_words(every, self._counts_batches)}"] * (pace.look > 1)
        said += [f"{name} in one of {n} looks" for name, n in pace.methods.items() if n > 1]
        if pace.verdict > 1:
            epochs = in_words(pace.verdict * (self._verdict_every or 1), False)
            said.append(f"a verdict every {epochs}")
        return ", ".join(said) or "all is done as often as asked again"


_LOOK, _VERDICT = object(), object()  # parts that no method can be named like


def _pace(one_of: Mapping[Any, int]) -> Pace:
    methods = {name: n for name, n in one_of.items() if isinstance(name, str)}
    return Pace(one_of[_LOOK], methods, one_of[_VERDICT])
