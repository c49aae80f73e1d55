"""Measuring the callback's time, and keeping it within a share of the training run's."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from keras_saliency.callback import messages
from keras_saliency.callback.schedule import Schedule

NOTICEABLE = 0.2  # of an epoch, above which the time taken is reported
LEAST = 1.0  # seconds, below which it never is

_EPOCHS = 3  # of which the time is taken in the middle, as single ones are disturbed
_ROOM = 0.5  # of what is allowed must do before something is done more often again
_GROWTH = 1.25  # of an interval that is not long enough yet


# Part to how rarely it runs: 1 is as often as the user requested, 3 a third of that. A part is the
# evaluation, the check of maps, the verdict, or by its name a method with passes of its own, which
# runs at one of so many evaluations.
Pace = dict[Any, int]


class _Part(Enum):
    """Parts that no method can be named like, and that stay themselves in another process."""

    EVALUATION, CHECK, VERDICT = range(3)


_EVALUATION, _CHECK, _VERDICT = _Part


class Overhead:
    """Measure the callback's time, decide what is due, and what is done less often from now on.

    Args:
        most: Share of the time that the callback may take, above 0 and below 1; None for any.
        schedule: How often the user wants an evaluation.
        verdict_every: After how many epochs the user wants a verdict; None for never.
        check_every: At one of how many evaluations maps are checked; None for never.

    Attributes:
        changes: What was changed, in words.

    Example:
        >>> overhead = Overhead(0.1, Schedule(1), verdict_every=None)
        >>> with overhead.running():
        ...     time.sleep(0.01)
        >>> overhead.adjust(training=9.0)  # The first epoch compiles.
        >>> overhead.is_evaluation_due(2)
        True
        >>> overhead.add_evaluation(0.9, {"rise": 0.8})
        >>> overhead.adjust(training=2.0).partition("; ")[2]
        'from now on rise in one of 7 evaluations'
        >>> [sorted(overhead.left_out(epoch)) for epoch in (6, 7, 8)]
        [['rise'], [], ['rise']]
    """

    def __init__(
        self,
        most: float | None,
        schedule: Schedule,
        verdict_every: int | None,
        check_every: int | None = None,
    ) -> None:
        self.changes: list[str] = []
        self._most, self._schedule = most, schedule
        self._verdict_every, self._check_every = verdict_every or 1, check_every or 1
        self._seconds: dict[Any, float] = {_EVALUATION: 0.0, _VERDICT: 0.0}
        self._pace: Pace = {}
        self._epochs: list[float] = []
        self._has_begun, self._counted = False, 0
        self._is_reported = False
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Begin to measure an epoch."""
        self._began, self._ours = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[Callable[[], float]]:
        """Count the time within the context as the callback's; return what tells it."""
        entered, before = time.perf_counter(), self._ours
        try:
            yield lambda: self._ours - before
        finally:
            self._ours += time.perf_counter() - entered

    def report(self, when: str) -> str | None:
        """Report, of the first epoch with an evaluation after the first one, the callback's share.

        In the first epoch of a training run, what runs is compiled as well, which is no measure.

        Args:
            when: The epoch in words.

        Returns:
            A line for the user, or None where it was no more than `NOTICEABLE` or under `LEAST`.
        """
        has_begun, self._has_begun = self._has_begun, True
        if not has_begun or self._is_reported or not self._ours:
            return None
        self._is_reported = True
        share = self._ours / (time.perf_counter() - self._began)
        if share <= NOTICEABLE or self._ours < LEAST:
            return None
        return messages.TIME_TAKEN.format(self._ours, 100 * share, when)

    @property
    def pace(self) -> list[tuple[str | int, int]]:
        """What is done less often than requested; processes that train together must have one."""
        return [(p.value if isinstance(p, _Part) else p, n) for p, n in self._pace.items()]

    @pace.setter
    def pace(self, pace: Iterable[Sequence[Any]]) -> None:
        self._pace = {_Part(part) if isinstance(part, int) else part: n for part, n in pace}

    @property
    def _period(self) -> int:
        return self._schedule.every * self._pace.get(_EVALUATION, 1)

    def is_evaluation_due(self, count: int, last: int = 1) -> bool:
        """Whether the probes are evaluated after so many epochs or batches; to be asked of each.

        Where several batches run in one go, it is asked after the last of so many, and an
        evaluation is due if it is after any of these.
        """
        self._counted += last
        return self.is_between(count - last, count)

    def is_between(self, before: int, count: int) -> bool:
        """Whether an evaluation lies between two counts of epochs or batches."""
        return count // self._period > before // self._period

    def left_out(self, count: int) -> frozenset[str]:
        """Return the methods that are left out after so many epochs or batches."""
        number = count // self._period
        return frozenset(name for name, one_of in self._method_pace() if number % one_of)

    def is_check_due(self, number: int, *, is_last: bool) -> bool:
        """Whether the maps of an evaluation are checked, of which 0 is before training."""
        is_first = number == 0 and self._check_every > 1
        return is_last or (number % self._check_period == 0 and not is_first)

    @property
    def _check_period(self) -> int:
        return self._check_every * self._pace.get(_CHECK, 1)

    def is_verdict_due(self, epochs: int) -> bool:
        """Whether a verdict is due after so many epochs."""
        return epochs % (self._verdict_every * self._pace.get(_VERDICT, 1)) == 0

    def add_evaluation(
        self, seconds: float, methods: Mapping[str, float], check: float | None = None
    ) -> None:
        """Add the seconds of an evaluation, and which of them methods and a check of maps took.

        Args:
            seconds: All of them.
            methods: Those of methods with passes of their own, by name.
            check: Those of the check of maps; None where maps were not checked.
        """
        self._seconds.update(methods)
        if check is not None:
            self._seconds[_CHECK] = check
        self._seconds[_EVALUATION] = seconds - sum(methods.values()) - (check or 0.0)

    def add_verdict(self, seconds: float) -> None:
        """Add the seconds of a verdict."""
        self._seconds[_VERDICT] = seconds

    def adjust(self, training: float | None = None) -> str | None:
        """Change the pace after an epoch but the first one, if it must be or may be.

        Args:
            training: The seconds of the epoch that were not the callback's; by default as measured.

        Returns:
            What has changed, in words, or None.
        """
        has_begun, self._has_begun = self._has_begun, True
        counted, self._counted = self._counted, 0
        if self._most is None or not has_begun:
            return None
        if training is None:
            training = time.perf_counter() - self._began - self._ours
        self._epochs = [*self._epochs[1 - _EPOCHS :], training]
        usual = statistics.median(self._epochs)
        allowed = usual * self._most / (1 - self._most)
        evaluations = counted / self._schedule.every
        before, now = self._pace, self._cost(self._pace, evaluations)
        if now > allowed:
            self._pace = self._within(allowed, evaluations)
        elif self._cost(roomy := self._within(_ROOM * allowed, evaluations), evaluations) > now:
            self._pace = roomy
        if self._pace == before:
            return None
        share, changes = now / (usual + now), ", ".join(self._described()) or messages.AT_FULL_PACE
        change = messages.PACE_CHANGED.format(100 * share, self._most, changes)
        self.changes.append(change)
        return change

    def _within(self, allowed: float, evaluations: float) -> Pace:
        """Find the pace within so many seconds an epoch: the most expensive part gives way."""
        pace = dict.fromkeys(self._seconds, 1)
        while sum((parts := self._parts(pace, evaluations)).values()) > allowed:
            most = max(parts, key=lambda part: parts[part])
            pace[most] = max(pace[most] + 1, int(_GROWTH * pace[most]))
        return pace

    def _cost(self, pace: Pace, evaluations: float) -> float:
        """Return what a pace costs, in seconds an epoch."""
        return sum(self._parts(pace, evaluations).values())

    def _parts(self, pace: Pace, evaluations: float) -> dict[Any, float]:
        evaluations /= pace.get(_EVALUATION, 1)
        counts = {
            _EVALUATION: evaluations,
            _CHECK: evaluations / self._check_every / pace.get(_CHECK, 1),
            _VERDICT: 1 / self._verdict_every / pace.get(_VERDICT, 1),
        }
        return {
            part: seconds * counts.get(part, evaluations / pace.get(part, 1))
            for part, seconds in self._seconds.items()
        }

    def _method_pace(self) -> list[tuple[str, int]]:
        return [(part, n) for part, n in self._pace.items() if isinstance(part, str)]

    def _described(self) -> list[str]:
        """Describe what is done less often than requested."""
        evaluations = Schedule(self._period, self._schedule.counts_batches)
        verdicts = Schedule(self._pace.get(_VERDICT, 1) * self._verdict_every)
        return [
            *[f"it evaluates every {evaluations}"] * (self._pace.get(_EVALUATION, 1) > 1),
            *(f"{name} in one of {n} evaluations" for name, n in self._method_pace() if n > 1),
            *[f"a check of maps in one of {self._check_period} evaluations"]
            * (self._pace.get(_CHECK, 1) > 1),
            *[f"a verdict every {verdicts}"] * (self._pace.get(_VERDICT, 1) > 1),
        ]
