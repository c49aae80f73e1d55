"""Evaluation of a model on counterfactual images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.data.normalization import rgb
from keras_saliency.engine.predictor import at_a_time
from keras_saliency.shortcuts import verdict as wording
from keras_saliency.shortcuts.example_pool import MADE_MASKS
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.images import Swap
from keras_saliency.shortcuts.nuisances import find_salient_patches, keeping, narrowest_first
from keras_saliency.shortcuts.statistics import (
    Alarm,
    Gap,
    Interval,
    donor_gap,
    interval_of,
    is_confirmed,
)
from keras_saliency.shortcuts.verdict import CounterfactualSheet, Verdict
from keras_saliency.shortcuts.video_swaps import ExampleSet, stills

_DRAWS = 2  # donors of the receiver's class, and as many of others; more cost more and add little
_EVALUATED = 128  # counterfactuals in one call of the model
_COMPOSED = 16  # counterfactuals composed at once: allocating more takes longer than computing
_SHOWN = 4  # receivers whose counterfactuals are shown
_EXPLAINED = 0.5  # of the largest gap: a cause has as much, and takes as much away where it is kept


class _Trial(NamedTuple):
    """The pairs of one nuisance, and the model's probabilities for their counterfactuals.

    Attributes:
        donors: int `(receivers, 2, draws)`: donors of the same class, and of others.
        probabilities: float64 `(receivers, 2, draws)`: of the receiver's class.
    """

    donors: Array
    probabilities: Array

    def gap(self, receivers: Array | slice = slice(None)) -> Gap:
        same, other = self.probabilities[receivers].swapaxes(0, 1)
        return donor_gap(same, other, self.donors[receivers])


_Trials = dict[str, _Trial]


class Evaluator:
    """Measures at every evaluation which nuisances a model follows, and keeps the alarm.

    Example:
        >>> from keras_saliency.data.synthetic import scenes
        >>> train = scenes(300)
        >>> def greenness(images):  # As a model that looks at the grass.
        ...     grass = 1 / (1 + np.exp((images[..., 2] - images[..., 1]).mean((1, 2)) / 4))
        ...     return np.stack([grass, 1 - grass], axis=1)
        >>> shortcuts = Shortcuts((train.images, train.labels), nuisances=["background"])
        >>> evaluator = Evaluator(shortcuts, greenness)
        >>> evaluator.evaluate(0).alarm, evaluator.evaluate(1).alarm
        (False, True)
    """

    def __init__(
        self,
        shortcuts: Shortcuts,
        probabilities: Callable[[Array], Array],
        saliency_maps: Callable[[Array, Array], Array] | None = None,
        class_names: Sequence[str] | None = None,
        alarm: Alarm | None = None,
    ) -> None:
        """Connect the shortcuts with a model.

        Args:
            shortcuts: What is swapped, and between which images.
            probabilities: `(images) -> (m, classes)`, or `(m,)` or `(m, 1)` of the second of two
                classes; images are float32 `(m, height, width, channels)`, model inputs.
            saliency_maps: `(images, labels) -> maps (m, h, w)` for the scores of the labels, from
                which salient patches are located; without it the mark is not tested.
            class_names: The classes in the order of the outputs; by default the shortcuts'.
            alarm: The alarm as a training run that is resumed has left it.
        """
        self._shortcuts = shortcuts
        self._probabilities = probabilities
        self._saliency_maps = saliency_maps
        self._class_names = class_names or shortcuts.class_names
        nuisances = shortcuts.nuisances
        self._patched = {name for name, n in nuisances.items() if "spots" in n.needs}
        untested = self._patched if saliency_maps is None else ()
        self._not_tested = shortcuts.not_tested | dict.fromkeys(untested, "no maps")
        self._tested = {k: n for k, n in nuisances.items() if k not in self._not_tested}
        self._alarming = [name for name, n in self._tested.items() if n.alarms]
        self._alarm = alarm or Alarm(shortcuts.threshold)

    def evaluate(self, step: int, when: str | None = None) -> Verdict:
        """Evaluate the model on counterfactual images, and judge.

        Args:
            step: Seeds the draw of pairs, which differ from evaluation to evaluation.
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
            return Verdict(f"can't say: {wording.describe_untested(self._not_tested)}")
        rng = np.random.default_rng([0, step % 2**32])
        donors = shortcuts.donors
        probabilities = self._of_labels(shortcuts.to_input(donors.pixels), donors.labels)
        confident = _confident(probabilities, donors.labels)
        self._locate_patches(shortcuts.receivers, np.arange(len(shortcuts.receivers)))
        self._locate_patches(donors, confident)
        trials = {name: self._measure(n.twins, confident, rng) for name, n in self._tested.items()}
        if not all(np.isfinite(trial.probabilities).all() for trial in trials.values()):
            return Verdict("can't say: the model's outputs are not finite")
        again = self._with_random_donors(trials, rng)
        intervals = {k: interval_of(trials[k].gap(), again[k].gap()) for k in again}
        refuted = {k: again[k] for k in again if not is_confirmed(trials[k].gap(), again[k].gap())}
        moment = when or f"epoch {step + 1}"
        return self._judge(trials | refuted, intervals, moment, float(probabilities.mean()))

    def _outputs(self, inputs: Array) -> Array:
        """The probabilities of all classes, float64 `(n, classes)`; one sigmoid is two of them."""
        outputs = np.asarray(self._probabilities(inputs), np.float64).reshape(len(inputs), -1)
        if outputs.shape[1] == 1:
            outputs = np.concatenate([1 - outputs, outputs], axis=1)
        return outputs

    def _of_labels(self, inputs: Array, labels: Array) -> Array:
        """The probability of each input's label, float64 `(n,)`."""
        outputs = self._outputs(inputs)
        if self._shortcuts.label_count is not None:
            outputs = np.concatenate([outputs, 1 - outputs], axis=1)
        low, high = outputs.min(), outputs.max()
        if labels.max() >= outputs.shape[1] or low < -1e-3 or high > 1 + 1e-3:
            raise ValueError(
                f"The verdict needs probabilities of the classes 0 to {labels.max()}. Received: "
                f"outputs of shape {outputs.shape} from {low:g} to {high:g}"
            )
        return outputs[np.arange(len(labels)), labels]

    def _classes_of_grounds(self) -> dict[int, float]:
        """The share of the scenes without an object that is taken for each class."""
        if self._shortcuts.grounds is None:
            return {}
        outputs = self._outputs(self._shortcuts.grounds)
        several = self._shortcuts.label_count is not None
        chosen = outputs > 0.5 if several else outputs == outputs.max(axis=1, keepdims=True)
        return {int(k): float(chosen[:, k].mean()) for k in np.flatnonzero(chosen.any(axis=0))}

    def _locate_patches(self, images: ExampleSet, index: Array) -> None:
        """Locate the salient patches of some receivers, or of donors that may be drawn."""
        if self._saliency_maps is None or not self._patched & set(self._tested):
            return
        inputs = self._shortcuts.to_input(images.pixels[index])
        maps = self._saliency_maps(inputs, images.labels[index])
        images.spots = np.zeros((len(images), 2), int)
        images.spots[index] = find_salient_patches(maps, images.pixels.shape[1:3])

    def _with_random_donors(self, trials: dict[str, _Trial], rng: np.random.Generator) -> _Trials:
        """Measure what may raise an alarm again, with donors that the model did not choose."""
        donors = self._shortcuts.donors
        doubtful = [k for k in self._alarming if trials[k].gap()[0] > self._alarm.end]
        if self._patched & set(doubtful):
            self._locate_patches(donors, np.arange(len(donors)))
        everyone = np.arange(len(donors))
        return {k: self._measure(self._tested[k].twins, everyone, rng) for k in doubtful}

    def _measure(self, swap: Swap, allowed: Array, rng: np.random.Generator) -> _Trial:
        """Draw pairs, and evaluate the model on their counterfactuals."""
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        sides = self._shortcuts.compared(receivers.labels, donors.labels[allowed])
        return self._try(swap, allowed[_draw(sides, rng)])

    def _try(self, swap: Swap, drawn: Array) -> _Trial:
        """Evaluate the model on the counterfactuals of some pairs."""
        to_input = self._shortcuts.to_input
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        i, j = np.repeat(np.arange(len(receivers)), 2 * _DRAWS), drawn.reshape(-1)
        evaluated, composed = (at_a_time(n, receivers.pixels) for n in (_EVALUATED, _COMPOSED))
        probabilities = []
        for part in _parts(len(i), evaluated):
            inputs = [
                to_input(receivers.counterfactuals(swap, donors, i[few], j[few]))
                for few in _parts(part.stop, composed, part.start)
            ]
            probabilities.append(self._of_labels(np.concatenate(inputs), receivers.labels[i[part]]))
        return _Trial(drawn, np.concatenate(probabilities).reshape(drawn.shape))

    def _explain(self, largest: str, trials: _Trials) -> tuple[str, Gap]:
        """Find the cause of the largest gap, and what is left of that where the cause is kept."""
        broad, trial = self._tested[largest], trials[largest]
        most = trial.gap()[0]
        order = narrowest_first(self._alarming)
        for name in order[: order.index(largest)] if most > self._alarm.end else ():
            if trials[name].gap()[0] >= _EXPLAINED * most:
                swap = keeping(self._tested[name].twins, broad.twins)
                left = self._try(swap, trial.donors).gap()
                if left[0] <= (1 - _EXPLAINED) * most:
                    return name, left
        return largest, trial.gap()

    def _judge(
        self, trials: _Trials, intervals: dict[str, Interval], when: str, probability: float
    ) -> Verdict:
        """Update the alarm with the gaps, and give the verdict."""
        shortcuts, alarm = self._shortcuts, self._alarm
        gaps = {name: trial.gap() for name, trial in trials.items()}
        alarm.update([gaps[name] for name in self._alarming], when)
        largest = max(self._alarming, key=lambda name: gaps[name][0])
        reliance = gaps[largest][0]
        cause, left = self._explain(largest, trials)
        labels = shortcuts.receivers.labels
        per_class = {int(k): trials[cause].gap(labels == k)[0] for k in np.unique(labels)}
        grounds = self._classes_of_grounds()
        words = wording.describe_cause(cause, largest, gaps, left, intervals, self._tested)
        parts = [
            wording.describe(alarm, words, reliance, probability, shortcuts.chance, self._alarming),
            wording.describe_classes(per_class, self._class_names) if alarm.is_on else None,
            wording.describe_grounds(grounds, self._class_names),
            wording.describe_meant(shortcuts.meant, gaps, self._tested),
            wording.describe_untested(self._not_tested) if self._not_tested else None,
            "masks made by a program" if shortcuts.masks_from in MADE_MASKS else None,
        ]
        return Verdict(
            text="; ".join(filter(None, parts)),
            reliance=reliance,
            gaps=gaps,
            alarm=alarm.is_on,
            cause=cause if alarm.is_on else None,
            since=alarm.since if alarm.is_on else None,
            per_class=per_class,
            masks_from=shortcuts.masks_from,
            sheets=self._sheets(trials),
            threshold=alarm.threshold,
            intervals=intervals,
            grounds=grounds,
        )

    def _sheets(self, trials: dict[str, _Trial]) -> dict[str, CounterfactualSheet]:
        """The same few receivers at every evaluation, each with the first donors drawn."""
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        order = np.argsort(receivers.labels, kind="stable")
        shown = order[np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).astype(int)]
        originals, labels = receivers.pixels[shown], receivers.labels[shown]
        before = self._of_labels(self._shortcuts.to_input(originals), labels)
        sheets = {}
        for name, trial in trials.items():
            columns = [stills(originals)]
            for drawn in trial.donors[shown, :, 0].T:
                swap = self._tested[name].twins
                images = receivers.counterfactuals(swap, donors, shown, drawn)
                columns.append(stills(np.rint(images).astype(np.uint8)))
            probabilities = np.column_stack([before, trial.probabilities[shown, :, 0]])
            images = rgb(np.stack(columns, axis=1))
            sheets[name] = CounterfactualSheet(images, probabilities, labels)
        return sheets


def _confident(probabilities: Array, labels: Array) -> Array:
    """The donors of each class that the model is most confident about: half of them."""
    order = np.argsort(-probabilities, kind="stable")
    ranked = [order[labels[order] == label] for label in np.unique(labels)]
    return np.concatenate([members[: -(-len(members) // 2)] for members in ranked])


def _draw(sides: tuple[Array, Array], rng: np.random.Generator) -> Array:
    """Draw, for each receiver, donors of its class and of others; all are different."""
    lots = rng.random(sides[0].shape)
    drawn = [np.where(side, lots, 2).argsort(axis=1)[:, :_DRAWS] for side in sides]
    return np.stack(drawn, axis=1)


def _parts(stop: int, length: int, start: int = 0) -> list[slice]:
    """Cut a range into slices of one length, the last one perhaps shorter."""
    return [slice(k, min(k + length, stop)) for k in range(start, stop, length)]
