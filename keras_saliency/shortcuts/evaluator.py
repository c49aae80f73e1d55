"""Evaluation of a model on counterfactual images."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from keras_saliency.common.progress import Report
from keras_saliency.common.types import Array
from keras_saliency.engine.predictor import at_a_time
from keras_saliency.shortcuts import verdict as wording
from keras_saliency.shortcuts.components import ComponentTest
from keras_saliency.shortcuts.example_pool import MADE_MASKS
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.images import Swap
from keras_saliency.shortcuts.nuisances import (
    PATCHES,
    find_salient_patches,
    keeping,
    narrower_than,
)
from keras_saliency.shortcuts.statistics import (
    Alarm,
    Gap,
    Interval,
    carry_coefficient,
    interval_of,
    is_confirmed,
)
from keras_saliency.shortcuts.tasks.categorical import Categorical
from keras_saliency.shortcuts.verdict import CounterfactualSheet, Example, Verdict
from keras_saliency.shortcuts.video_swaps import ExampleSet, stills

_EVALUATED = 128  # counterfactuals in one call of the model
_COMPOSED = 16  # counterfactuals composed at once: allocating more takes longer than computing
_SHOWN = 4  # receivers whose counterfactuals are shown
_LISTED = 4  # donors of each class that are listed as teaching a shortcut, or as contradicting it
_DOUBTED = 0.5  # probability of its label below which a donor contradicts what the model has learnt
_EXPLAINED = 0.5  # of the largest gap: a cause has as much, and takes as much away where it is kept


class _Trial(NamedTuple):
    """The pairs of one nuisance, and what is watched of the model for their counterfactuals.

    Attributes:
        donors: int `(receivers, 2, draws)`: donors that count as the same, and others.
        origins: Where receivers are donors too, the images that the receivers are `(receivers,)`
            and that their donors are, like `donors`; else `None`.
        watched: float64 `(receivers, 2, draws)`, such as the probability of the receiver's class.
        differences: Likewise, of the labels of donors and receiver.
    """

    donors: Array
    origins: tuple[Array, Array] | None
    watched: Array
    differences: Array

    def gap(self, receivers: Array | slice = slice(None)) -> Gap:
        """The gap of some of the receivers, by default of all."""
        watched, differences = self.watched[receivers], self.differences[receivers]
        if self.origins is None:
            return carry_coefficient(watched, differences, self.donors[receivers])
        own, theirs = self.origins
        return carry_coefficient(watched, differences, theirs[receivers], own[receivers])

    def interval(self) -> Interval:
        """Where the reliance in unseen images lies."""
        few = None if self.origins is None else len(self.donors)
        return interval_of(self.gap(), few)


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
        answers: Callable[[Array], Array],
        saliency_maps: Callable[[Array, Array], Array] | None = None,
        class_names: Sequence[str] | None = None,
        alarm: Alarm | None = None,
        evidence: Callable[[Array, Array], Array] | None = None,
    ) -> None:
        """Connect the shortcuts with a model.

        Args:
            shortcuts: What is swapped, and between which images.
            answers: `(images) -> probabilities (m, classes)`, or `(m,)` or `(m, 1)` of the second
                of two classes, or predictions of a regression; images are float32
                `(m, height, width, channels)`, model inputs.
            saliency_maps: `(images, labels) -> maps (m, h, w)` for the scores of the labels, from
                which salient patches are located; without it the mark is not tested.
            class_names: The classes in the order of the outputs; by default the shortcuts'.
            alarm: The alarm as a training run that is resumed has left it.
            evidence: `(images, labels) -> (m, h, w, channels)`, not negative: what feeds the scores
                of the labels in the last feature map; without it no components are tested.
        """
        self._shortcuts = shortcuts
        self._answers = answers
        self._saliency_maps = saliency_maps
        self._class_names = class_names or shortcuts.class_names
        nuisances = shortcuts.nuisances
        self._patched = {name for name, n in nuisances.items() if "spots" in n.needs}
        untested = self._patched if saliency_maps is None else ()
        self._not_tested = shortcuts.not_tested | dict.fromkeys(untested, "no maps")
        self._tested = {k: n for k, n in nuisances.items() if k not in self._not_tested}
        self._alarming = [name for name, n in self._tested.items() if n.alarms]
        self._alarm = alarm or Alarm(shortcuts.threshold)
        self._components = None if evidence is None else self._component_test(evidence)

    def evaluate(
        self, step: int, when: str | None = None, progress: Report | None = None
    ) -> Verdict:
        """Evaluate the model on counterfactual images, and judge.

        Args:
            step: Seeds the draw of pairs, which differ from evaluation to evaluation.
            when: The evaluation in words; by default `"epoch 1"` for step 0.
            progress: Called as `(done, all)` before each nuisance is tested.

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
        donors, task = shortcuts.donors, shortcuts.task
        watched = self._watch(shortcuts.to_input(donors.pixels), donors, np.arange(len(donors)))
        confident = task.confident(watched, donors.labels)
        self._locate_patches(shortcuts.receivers, np.arange(len(shortcuts.receivers)))
        self._locate_patches(donors, confident)
        trials = {}
        for done, (name, nuisance) in enumerate(self._tested.items()):
            if progress is not None:
                progress(done, len(self._tested))
            trials[name] = self._measure(nuisance.twins, confident, rng)
        if not all(np.isfinite(trial.watched).all() for trial in trials.values()):
            return Verdict("can't say: the model's outputs are not finite")
        again = self._with_random_donors(trials, rng, chosen=len(confident) < len(donors))
        gaps = {k: self._counted(k, trials[k]) for k in self._alarming}
        counted = gaps | {k: self._confirmed(k, gaps[k], again[k]) for k in again}
        moment = when or f"epoch {step + 1}"
        self._alarm.update(list(counted.values()), moment)
        too_early = task.too_early(watched, donors.labels, shortcuts.classes)
        verdict = self._judge(trials | again, again, too_early)
        if self._components is not None:
            found = self._components.evaluate(confident, rng, moment)
            verdict = wording.with_components(verdict, found, self._class_names)
        return replace(verdict, examples=self._examples(watched)) if verdict.alarm else verdict

    def _component_test(self, evidence: Callable[[Array, Array], Array]) -> ComponentTest | None:
        """The test of components, where the shortcuts allow it."""
        shortcuts = self._shortcuts

        def of_pixels(pixels: Array, labels: Array) -> Array:
            return evidence(shortcuts.to_input(pixels), labels)

        if (sets := shortcuts.component_sets) is None:
            return None
        return ComponentTest(
            *sets, of_pixels, self._measure, shortcuts.threshold, shortcuts.components or 1
        )

    def _outputs(self, inputs: Array) -> Array:
        return np.asarray(self._answers(inputs), np.float64)

    def _watch(self, inputs: Array, examples: ExampleSet, index: Array) -> Array:
        """What is watched of the model for inputs made of examples, float64 `(n,)`."""
        return self._shortcuts.task.watched(self._outputs(inputs), examples, index)

    def _classes_of_grounds(self) -> dict[int, float]:
        """The share of the scenes without an object that is taken for each class."""
        if self._shortcuts.grounds is None:
            return {}
        chosen = self._shortcuts.task.chosen(self._outputs(self._shortcuts.grounds))
        return {int(k): float(chosen[:, k].mean()) for k in np.flatnonzero(chosen.any(axis=0))}

    def _locate_patches(self, images: ExampleSet, index: Array) -> None:
        """Locate the salient patches of some receivers, or of donors that may be drawn."""
        if self._saliency_maps is None or not self._patched & set(self._tested):
            return
        inputs = self._shortcuts.to_input(images.pixels[index])
        maps = self._saliency_maps(inputs, self._shortcuts.task.label_of(images.labels[index]))
        images.spots = np.zeros((len(images), PATCHES, 2), int)
        images.spots[index] = find_salient_patches(maps, images.pixels.shape[1:3])

    def _with_random_donors(
        self, trials: _Trials, rng: np.random.Generator, *, chosen: bool
    ) -> _Trials:
        """Measure what may raise an alarm again, with donors that the model did not choose."""
        donors = self._shortcuts.donors
        doubtful = [k for k in self._alarming if trials[k].gap()[0] > self._alarm.end]
        if not chosen:
            return {k: trials[k] for k in doubtful}
        if self._patched & set(doubtful):
            self._locate_patches(donors, np.arange(len(donors)))
        everyone = np.arange(len(donors))
        return {k: self._measure(self._tested[k].twins, everyone, rng) for k in doubtful}

    def _counted(self, name: str, trial: _Trial) -> Gap:
        """The gap of a nuisance as it counts towards the alarm and the reliance."""
        return self._tested[name].counted(trial.gap(), self._alarm.threshold)

    def _confirmed(self, name: str, gap: Gap, again: _Trial) -> Gap:
        """The gap that counts for the alarm: that with random donors where it is not confirmed.

        Of few images it counts as no more than the threshold while the interval is too wide. Where
        much is asked of a nuisance, random donors decide.
        """
        random = self._counted(name, again)
        if again.origins is not None and again.interval()[0] <= self._alarm.end:
            return min(random[0], self._alarm.threshold), random[1]
        is_enough = self._tested[name].thresholds == 1 and is_confirmed(gap, random)
        return gap if is_enough else random

    def _measure(self, swap: Swap, allowed: Array, rng: np.random.Generator) -> _Trial:
        """Draw pairs, and evaluate the model on their counterfactuals."""
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        barred = None
        if self._shortcuts.origins is not None:
            own, theirs = self._shortcuts.origins
            barred = own[:, None] == theirs[allowed]
        drawn = self._shortcuts.task.draw(receivers.labels, donors.labels[allowed], rng, barred)
        return self._try(swap, allowed[drawn])

    def _try(self, swap: Swap, drawn: Array) -> _Trial:
        """Evaluate the model on the counterfactuals of some pairs."""
        to_input = self._shortcuts.to_input
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        i, j = np.repeat(np.arange(len(receivers)), drawn[0].size), drawn.reshape(-1)
        evaluated, composed = (at_a_time(n, receivers.pixels) for n in (_EVALUATED, _COMPOSED))
        watched = []
        for part in _parts(len(i), evaluated):
            inputs = [
                to_input(receivers.counterfactuals(swap, donors, i[few], j[few]))
                for few in _parts(part.stop, composed, part.start)
            ]
            watched.append(self._watch(np.concatenate(inputs), receivers, i[part]))
        differences = self._shortcuts.task.differences(receivers.labels, donors.labels[drawn])
        origins = self._shortcuts.origins
        if origins is not None:
            origins = origins[0], origins[1][drawn]
        return _Trial(drawn, origins, np.concatenate(watched).reshape(drawn.shape), differences)

    def _explain(self, largest: str, trials: _Trials) -> tuple[str, Gap]:
        """Find the cause of the largest gap, and what is left of that where the cause is kept."""
        broad, trial = self._tested[largest], trials[largest]
        most = trial.gap()[0]
        for name in narrower_than(largest, self._alarming) if most > self._alarm.end else ():
            if trials[name].gap()[0] >= _EXPLAINED * most:
                swap = keeping(self._tested[name].twins, broad.twins)
                left = self._try(swap, trial.donors).gap()
                if left[0] <= (1 - _EXPLAINED) * most:
                    return name, left
        return largest, trial.gap()

    def _judge(self, trials: _Trials, doubtful: Iterable[str], too_early: str | None) -> Verdict:
        """Give the verdict, after the alarm is updated."""
        shortcuts, alarm = self._shortcuts, self._alarm
        gaps = {name: trial.gap() for name, trial in trials.items()}
        intervals = {name: trials[name].interval() for name in doubtful}
        counted = {name: self._counted(name, trials[name])[0] for name in self._alarming}
        largest = max(counted, key=counted.__getitem__)
        reliance = counted[largest]
        cause, left = self._explain(largest, trials)
        narrower = narrower_than(cause, self._alarming)
        others = [name for name in narrower if counted[name] > alarm.threshold]
        subsets = shortcuts.task.subsets(shortcuts.receivers.labels)
        per_class = {label: trials[cause].gap(of_label)[0] for label, of_label in subsets.items()}
        grounds = self._classes_of_grounds()
        measure = shortcuts.task.measure
        words = wording.describe_cause(cause, largest, gaps, left, intervals, self._tested, measure)
        parts = [
            wording.describe(alarm, words, reliance, too_early, self._alarming),
            wording.describe_others(others, gaps, self._tested, measure) if alarm.is_on else None,
            wording.describe_classes(per_class, self._class_names) if alarm.is_on else None,
            wording.describe_grounds(grounds, self._class_names),
            wording.describe_meant(shortcuts.meant, gaps, self._tested),
            wording.describe_untested(self._not_tested) if self._not_tested else None,
            "few pictures, with receivers as donors" if shortcuts.origins else None,
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

    def _examples(self, watched: Array) -> dict[str, list[Example]]:
        """The donors of each class that the model is surest of, and those that it doubts most."""
        donors, task = self._shortcuts.donors, self._shortcuts.task
        if not isinstance(task, Categorical):
            return {}
        labels = task.label_of(donors.labels)
        chosen: dict[str, list[int]] = {"teaching": [], "contradicting": []}
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            ranked = members[np.argsort(-watched[members], kind="stable")]
            doubted = ranked[watched[ranked] < _DOUBTED][::-1]
            chosen["teaching"] += ranked[:_LISTED].tolist()
            chosen["contradicting"] += doubted[:_LISTED].tolist()

        def example(k: int) -> Example:
            image = self._shortcuts.display(stills(donors.pixels[k : k + 1]))[0]
            name = str(self._shortcuts.donor_names[k])
            return Example(name, int(labels[k]), float(watched[k]), image)

        return {kind: list(map(example, index)) for kind, index in chosen.items()}

    def _sheets(self, trials: dict[str, _Trial]) -> dict[str, CounterfactualSheet]:
        """The same few receivers at every evaluation, each with the first donors drawn."""
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        order = np.argsort(receivers.labels, kind="stable")
        shown = order[np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).astype(int)]
        originals = receivers.pixels[shown]
        before = self._watch(self._shortcuts.to_input(originals), receivers, shown)
        sheets = {}
        for name, trial in trials.items():
            columns = [stills(originals)]
            for drawn in trial.donors[shown, :, 0].T:
                swap = self._tested[name].twins
                images = receivers.counterfactuals(swap, donors, shown, drawn)
                columns.append(stills(np.rint(images).astype(np.uint8)))
            watched = np.column_stack([before, trial.watched[shown, :, 0]])
            images = self._shortcuts.display(np.stack(columns, axis=1))
            sheets[name] = self._sheet(images, watched, shown, trial.donors[shown, :, 0])
        return sheets

    def _sheet(
        self, images: Array, watched: Array, shown: Array, drawn: Array
    ) -> CounterfactualSheet:
        """Describe the receivers that are shown, and their counterfactuals with drawn donors."""
        task, donors = self._shortcuts.task, self._shortcuts.donors
        labels = self._shortcuts.receivers.labels[shown]
        captions = task.captions(watched, np.column_stack([labels, donors.labels[drawn]]))
        return CounterfactualSheet(images, watched, labels, captions, task.columns, task.note)


def _parts(stop: int, length: int, start: int = 0) -> list[slice]:
    """Cut a range into slices of one length, the last one perhaps shorter."""
    return [slice(k, min(k + length, stop)) for k in range(start, stop, length)]
