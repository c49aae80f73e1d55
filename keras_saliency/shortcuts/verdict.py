"""Is it a shortcut, which one, and since when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.data.normalization import rgb
from keras_saliency.engine.predictor import at_a_time
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.nuisances import Twins, find_spots, narrowest_first
from keras_saliency.shortcuts.statistics import _CLEARED, Alarm, donor_gap
from keras_saliency.shortcuts.video_swaps import stills, twins_of

_DRAWS = 2  # donors of the receiver's class, and as many of others: more cost more and tell little
_ASKED = 128  # twins the model gets at a time
_COMPOSED = 16  # and composed at a time: to reserve much memory takes longer than to compute
_SHOWN = 4  # receivers whose twins are shown
_MOST = 0.6  # of the largest gap: what explains so much of it is the cause
_NEARLY_ALL = 0.85  # of it: what explains so much is named alone
_LEARNT = 0.1  # of the way from chance to certainty, below which nothing is to be seen yet


@dataclass(frozen=True)
class TwinSheet:
    """A few receivers and their twins, to look at.

    Attributes:
        pictures: uint8 `(receivers, 3, height, width, 3)`: the receiver, its twin with a donor of
            its own class, and its twin with a donor of another.
        probabilities: float64 `(receivers, 3)` of the receiver's class.
        labels: int64 `(receivers,)`.
    """

    pictures: Array
    probabilities: Array
    labels: Array


@dataclass(frozen=True)
class Verdict:
    """What the model relies on, as far as was tested.

    A gap is the probability of the right class that is lost where a thing comes from an image of
    another class rather than of the same one. It says *relies on*, not *wrongly relies on*.

    Attributes:
        text: The verdict in words.
        reliance: The largest gap of those that may give an alarm; `nan` where there is no verdict.
        gaps: `{nuisance: (gap, standard error)}`, from the narrowest to the broadest.
        alarm: Whether the model relies on a nuisance: above the threshold and twice its error in
            two evaluations running, until below half of the threshold.
        cause: The narrowest nuisance that explains most of the reliance, or `None`.
        since: When the alarm's first evaluation was, such as `"epoch 2"`, or `None`.
        per_class: `{label: gap}` of the cause, over the receivers of each class.
        masks_from: Where the masks are from: `"given"`, `"boxes"`, `"border colours"`, `"motion"`,
            or `None`.
        sheets: `{nuisance: TwinSheet}`.
        threshold: The gap above which there may be an alarm; `nan` where there is no verdict.
    """

    text: str
    reliance: float = float("nan")
    gaps: dict[str, tuple[float, float]] = field(default_factory=dict)
    alarm: bool = False
    cause: str | None = None
    since: str | None = None
    per_class: dict[int, float] = field(default_factory=dict)
    masks_from: str | None = None
    sheets: dict[str, TwinSheet] = field(default_factory=dict)
    threshold: float = float("nan")


@dataclass(frozen=True)
class _Trial:
    """The pairs of one nuisance and what the model makes of their twins.

    Attributes:
        donors: int `(receivers, 2, draws)`: donors of the same class, and of others.
        probabilities: float64, likewise: of the receiver's class.
    """

    donors: Array
    probabilities: Array

    def gap(self, receivers: Array | slice = slice(None)) -> tuple[float, float]:
        same, other = self.probabilities[receivers].swapaxes(0, 1)
        return donor_gap(same, other, self.donors[receivers])


class Assessor:
    """Asks a model at every evaluation what it follows, and keeps the alarm.

    Example:
        >>> from keras_saliency.data.synthetic import scenes
        >>> train = scenes(300)
        >>> def greenness(images):  # As a model that looks at the grass.
        ...     grass = 1 / (1 + np.exp((images[..., 2] - images[..., 1]).mean((1, 2)) / 4))
        ...     return np.stack([grass, 1 - grass], axis=1)
        >>> shortcuts = Shortcuts((train.images, train.labels), nuisances=["background"])
        >>> assessor = Assessor(shortcuts, greenness)
        >>> assessor.evaluate(0).alarm, assessor.evaluate(1).alarm
        (False, True)
    """

    def __init__(
        self,
        shortcuts: Shortcuts,
        probabilities: Callable[[Array], Array],
        peaks: Callable[[Array, Array], Array] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        """Connect the shortcuts with a model.

        Args:
            shortcuts: What is swapped, and between which images.
            probabilities: `(images) -> (m, classes)`, or `(m,)` or `(m, 1)` of the second of two
                classes; images are float32 `(m, height, width, channels)`, model inputs.
            peaks: `(images, labels) -> maps (m, h, w)`, whose magnitude says where the decision
                for the label is made, such as saliency; without it the mark is not tested.
            class_names: The classes in the order of the outputs; by default the shortcuts'.
        """
        self._shortcuts = shortcuts
        self._probabilities = probabilities
        self._peaks = peaks
        self._class_names = class_names or shortcuts.class_names
        self._not_tested = dict(shortcuts.not_tested)
        if peaks is None:
            self._not_tested |= {
                name: "no maps"
                for name, nuisance in shortcuts.nuisances.items()
                if "spots" in nuisance.needs
            }
        self._tested = {
            name: nuisance
            for name, nuisance in shortcuts.nuisances.items()
            if name not in self._not_tested
        }
        self._alarming = [name for name, nuisance in self._tested.items() if nuisance.alarms]
        self._alarm = Alarm(shortcuts.threshold)

    def evaluate(self, step: int, when: str | None = None) -> Verdict:
        """Ask the model, and judge.

        Args:
            step: Decides which pairs are drawn, anew at every evaluation.
            when: The evaluation in words; by default `"epoch 1"` for step 0.

        Returns:
            The verdict. Where there can be none its text begins with "can't say".

        Raises:
            ValueError: If the outputs are no probabilities of the labels' classes.
        """
        shortcuts = self._shortcuts
        if shortcuts.obstacle is not None:
            return Verdict(f"can't say: {shortcuts.obstacle}")
        if not self._alarming:
            return Verdict(f"can't say: {self._untested()}")
        rng = np.random.default_rng([0, step % 2**32])
        donors = shortcuts.donors
        known = self._ask(shortcuts.to_input(donors.pixels), donors.labels)
        confident = _confident(known, donors.labels)
        self._find_spots(confident)
        trials = {name: self._try(n.twins, confident, rng) for name, n in self._tested.items()}
        if not all(np.isfinite(trial.probabilities).all() for trial in trials.values()):
            return Verdict("can't say: the model's outputs are not finite")
        return self._judge(trials, when or f"epoch {step + 1}", float(known.mean()))

    def _ask(self, inputs: Array, labels: Array) -> Array:
        """The probability of each input's label, float64 `(n,)`."""
        found = np.asarray(self._probabilities(inputs), np.float64).reshape(len(inputs), -1)
        if found.shape[1] == 1:
            found = np.concatenate([1 - found, found], axis=1)
        if self._shortcuts.label_count is not None:
            found = np.concatenate([found, 1 - found], axis=1)
        if labels.max() >= found.shape[1] or found.min() < -1e-3 or found.max() > 1 + 1e-3:
            raise ValueError(
                f"The verdict needs probabilities of the classes 0 to {labels.max()}. Received: "
                f"outputs of shape {found.shape} from {found.min():g} to {found.max():g}"
            )
        return found[np.arange(len(labels)), labels]

    def _find_spots(self, confident: Array) -> None:
        """Look anew where decisions are made, for those that may take part."""
        if self._peaks is None or not any("spots" in n.needs for n in self._tested.values()):
            return
        everyone = np.arange(len(self._shortcuts.receivers))
        for pictures, index in (
            (self._shortcuts.receivers, everyone),
            (self._shortcuts.donors, confident),
        ):
            size = pictures.pixels.shape[1:3]
            maps = self._peaks(
                self._shortcuts.to_input(pictures.pixels[index]), pictures.labels[index]
            )
            pictures.spots = np.zeros((len(pictures), 2), int)
            pictures.spots[index] = find_spots(maps, size)

    def _try(self, twins: Twins, confident: Array, rng: np.random.Generator) -> _Trial:
        """Draw pairs, and ask the model about their twins."""
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        sides = self._shortcuts.compared(receivers.labels, donors.labels[confident])
        drawn = confident[_draw(sides, rng)]
        i, j = np.repeat(np.arange(len(receivers)), 2 * _DRAWS), drawn.reshape(-1)
        found = []
        asked, composed = (at_a_time(n, receivers.pixels) for n in (_ASKED, _COMPOSED))
        for part in _parts(len(i), asked):
            inputs = [
                self._shortcuts.to_input(twins_of(twins, receivers, donors, i[few], j[few]))
                for few in _parts(part.stop, composed, part.start)
            ]
            found.append(self._ask(np.concatenate(inputs), receivers.labels[i[part]]))
        return _Trial(drawn, np.concatenate(found).reshape(drawn.shape))

    def _judge(self, trials: dict[str, _Trial], when: str, known: float) -> Verdict:
        gaps = {name: trial.gap() for name, trial in trials.items()}
        self._alarm.update([gaps[name] for name in self._alarming], when)
        largest = max(self._alarming, key=lambda name: gaps[name][0])
        reliance = gaps[largest][0]
        least = min(_MOST * reliance, reliance)  # The gaps may be below zero.
        leading = next(n for n in narrowest_first(self._alarming) if gaps[n][0] >= least)
        labels = self._shortcuts.receivers.labels
        per_class = {
            int(label): trials[leading].gap(labels == label)[0] for label in np.unique(labels)
        }
        alarm = self._alarm.is_on
        return Verdict(
            text=self._words(self._measured(leading, largest, gaps), reliance, per_class, known),
            reliance=reliance,
            gaps=gaps,
            alarm=alarm,
            cause=leading if alarm else None,
            since=self._alarm.since if alarm else None,
            per_class=per_class,
            masks_from=self._shortcuts.masks_from,
            sheets=self._sheets(trials),
            threshold=self._alarm.threshold,
        )

    def _words(
        self, measured: str, reliance: float, per_class: dict[int, float], known: float
    ) -> str:
        chance = self._shortcuts.chance
        if self._alarm.is_on:
            said = [
                f"relies on {measured} since {self._alarm.since}",
                *_worst(self._named(per_class)),
            ]
        elif self._alarm.since is not None:
            said = [f"may rely on {measured}; the next evaluation will tell"]
        elif reliance >= _CLEARED * self._alarm.threshold:
            said = [f"weak signs of reliance on {measured}, too weak for an alarm"]
        elif known < chance + _LEARNT * (1 - chance):
            said = [
                "can't say yet: the model hardly tells the classes apart (probability of the "
                f"right one {known:.2f}, by chance {chance:.2f})"
            ]
        else:
            said = [f"no evidence of {', '.join(self._alarming)}"]
        if self._not_tested:
            said.append(self._untested())
        if self._shortcuts.masks_from in ("border colours", "motion"):
            said.append("masks made by a program")
        return "; ".join(said)

    def _measured(self, leading: str, largest: str, gaps: dict[str, tuple[float, float]]) -> str:
        """The cause and its gap in words; and the broader thing that clearly moves more, if any."""
        cause, moved = self._tested[leading].words, gaps[leading][0]
        if moved >= min(_NEARLY_ALL * gaps[largest][0], gaps[largest][0]):
            return f"{cause} (gap {moved:.2f} +- {gaps[leading][1]:.2f})"
        gap, error = gaps[largest]
        whole = self._tested[largest].words
        return f"{whole} (gap {gap:.2f} +- {error:.2f}), above all {cause} ({moved:.2f})"

    def _untested(self) -> str:
        reasons: dict[str, list[str]] = {}
        for name, reason in self._not_tested.items():
            reasons.setdefault(reason, []).append(name)
        listed = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
        return f"not tested: {', '.join(listed)}"

    def _named(self, per_class: dict[int, float]) -> dict[str, float]:
        names = self._class_names
        return {str(names[label] if names else label): gap for label, gap in per_class.items()}

    def _sheets(self, trials: dict[str, _Trial]) -> dict[str, TwinSheet]:
        """The same few receivers at every evaluation, each with the first twins drawn."""
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        order = np.argsort(receivers.labels, kind="stable")
        shown = order[np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).astype(int)]
        originals, labels = receivers.pixels[shown], receivers.labels[shown]
        before = self._ask(self._shortcuts.to_input(originals), labels)
        sheets = {}
        for name, trial in trials.items():
            pictures = [stills(originals)]
            for side in (0, 1):
                drawn = trial.donors[shown, side, 0]
                twins = twins_of(self._tested[name].twins, receivers, donors, shown, drawn)
                pictures.append(stills(np.rint(twins).astype(np.uint8)))
            after = trial.probabilities[shown, :, 0]
            sheets[name] = TwinSheet(
                rgb(np.stack(pictures, axis=1)), np.column_stack([before, after]), labels
            )
        return sheets


def _confident(probabilities: Array, labels: Array) -> Array:
    """The donors of each class that the model is most confident about: half of them."""
    halves = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = members[np.argsort(-probabilities[members], kind="stable")]
        halves.append(order[: -(-len(order) // 2)])
    return np.concatenate(halves)


def _draw(sides: tuple[Array, Array], rng: np.random.Generator) -> Array:
    """Draw, for each receiver, donors of its class and of others; all are different."""
    lots = rng.random(sides[0].shape)
    drawn = [np.where(side, lots, 2).argsort(axis=1)[:, :_DRAWS] for side in sides]
    return np.stack(drawn, axis=1)


def _parts(stop: int, length: int, start: int = 0) -> list[slice]:
    """Cut a range into slices of one length, the last one perhaps shorter."""
    return [slice(k, min(k + length, stop)) for k in range(start, stop, length)]


def _worst(per_class: dict[str, float]) -> list[str]:
    """The two classes that follow the nuisance most, where there are more than two."""
    if len(per_class) <= 2:
        return []
    first, second = sorted(per_class, key=lambda name: -per_class[name])[:2]
    return [f"most in {first} ({per_class[first]:.2f}), then {second} ({per_class[second]:.2f})"]
