"""Evaluation of a model on counterfactual images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_saliency.common.progress import Report
from keras_saliency.common.types import Array
from keras_saliency.shortcuts import screening
from keras_saliency.shortcuts import verdict as wording
from keras_saliency.shortcuts.components import ComponentTest
from keras_saliency.shortcuts.example_pool import MADE_MASKS
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.images import Inputs, Swap
from keras_saliency.shortcuts.nuisances import keeping, narrower_than
from keras_saliency.shortcuts.second_inputs import describe_values, nuisances_of
from keras_saliency.shortcuts.statistics import Alarm, Gap, is_confirmed
from keras_saliency.shortcuts.tasks.categorical import Categorical
from keras_saliency.shortcuts.trials import Pairs, Trial, TrialRunner
from keras_saliency.shortcuts.verdict import CounterfactualSheet, Example, Verdict
from keras_saliency.shortcuts.video_swaps import stills

_RESAMPLED = 20  # times the donors that were asked, to see whether they are enough
_SHOWN = 4  # receivers whose counterfactuals are shown
_LISTED = 4  # donors of each class that are listed as teaching a shortcut, or as contradicting it
_DOUBTED = 0.5  # probability of its label below which a donor contradicts what the model has learnt
_EXPLAINED = 0.5  # of the largest gap: a cause has as much, and takes as much away where it is kept


_Trials = dict[str, Trial]


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
        answers: Callable[[Any], Array],
        saliency_maps: Callable[[Any, Array], Array] | None = None,
        class_names: Sequence[str] | None = None,
        alarm: Alarm | None = None,
        evidence: Callable[[Any, Array], Array] | None = None,
    ) -> None:
        """Connect the shortcuts with a model.

        Args:
            shortcuts: What is swapped, and between which images.
            answers: `(images) -> probabilities (m, classes)`, or `(m,)` or `(m, 1)` of the second
                of two classes, or predictions of a regression; images are float32
                `(m, height, width, channels)`, model inputs, or a dict or tuple of all inputs.
            saliency_maps: `(images, labels) -> maps (m, h, w)` for the scores of the labels, from
                which salient patches are located; without it the mark is not tested.
            class_names: The classes in the order of the outputs; by default the shortcuts'.
            alarm: The alarm as a training run that is resumed has left it.
            evidence: `(images, labels) -> (m, h, w, channels)`, not negative: what feeds the scores
                of the labels in the last feature map; without it no components are tested.
        """
        self._shortcuts = shortcuts
        self._runner = TrialRunner(shortcuts, answers, saliency_maps)
        self._class_names = class_names or shortcuts.class_names
        nuisances = shortcuts.nuisances
        self._patched = {name for name, n in nuisances.items() if "spots" in n.needs}
        untested = self._patched if saliency_maps is None else ()
        self._not_tested = shortcuts.not_tested | dict.fromkeys(untested, "no maps")
        self._tested = {k: n for k, n in nuisances.items() if k not in self._not_tested}
        self._alarming = [name for name, n in self._tested.items() if n.alarms]
        self._alarm = alarm or Alarm(shortcuts.threshold)
        # What was in doubt at the last evaluation; of an alarm from before, that is not known.
        is_new = self._alarm.since is None and not self._alarm.is_on
        self._in_doubt = set() if is_new else set(self._alarming)
        self._components = None if evidence is None else self._component_test(evidence)

    def evaluate(
        self, step: int, when: str | None = None, progress: Report | None = None
    ) -> Verdict:
        """Evaluate the model on counterfactual images, and judge.

        Args:
            step: Seeds the draw of pairs, which differ from evaluation to evaluation.
            when: The evaluation in words; by default `"epoch 1"` for step 0.
            progress: Called as `(done, all)`, with nuisances, before their first small trials, and
                before each that is measured in full.

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
        self._runner.start()
        trials, again = self._trials(rng, progress or (lambda done, count: None))
        if not all(np.isfinite(trial.watched).all() for trial in trials.values()):
            return Verdict("can't say: the model's outputs are not finite")
        gaps = {k: self._counted(k, trials[k]) for k in self._alarming}
        counted = gaps | {k: self._confirmed(k, gaps[k], again[k]) for k in again}
        moment = when or f"epoch {step + 1}"
        self._alarm.update(list(counted.values()), moment)
        self._in_doubt = {k for k, (gap, _) in counted.items() if gap >= self._alarm.end}
        verdict = self._judge(trials | again, again)
        if self._components is not None:
            found = self._components.evaluate(self._runner.confident, rng, moment)
            verdict = wording.with_components(verdict, found, self._class_names)
        return replace(verdict, examples=self._examples()) if verdict.alarm else verdict

    def _trials(self, rng: np.random.Generator, progress: Report) -> tuple[_Trials, _Trials]:
        """Measure all nuisances, and those in doubt with donors that the model did not choose."""
        count = len(self._tested)
        progress(0, count)
        trials = self._screened(rng)
        if not all(np.isfinite(trial.watched).all() for trial in trials.values()):
            return trials, {}
        gaps = {name: trial.gap() for name, trial in trials.items() if name not in self._in_doubt}
        clear = {name for name, gap in gaps.items() if screening.is_clear(gap, self._alarm)}
        doubtful = [name for name in self._tested if name not in clear]
        again: _Trials = {}
        for done, name in enumerate(doubtful, count - len(doubtful)):
            progress(done, count)
            # While an alarm stands nothing but its end is to be found out, for which the small
            # trial shows what confident donors do.
            if self._alarm.is_on and name in trials and name in self._alarming:
                again[name] = self._measure(name, None, rng)
            else:
                trials[name] = self._measure(name, self._runner.confident(), rng)
        ordered = {name: trials[name] for name in self._tested}
        if not all(np.isfinite(trial.watched).all() for trial in trials.values()):
            return ordered, {}
        return ordered, again | self._with_random_donors(trials, doubtful, again, rng)

    def _screened(self, rng: np.random.Generator) -> _Trials:
        """A small trial of each nuisance, unless there are few images."""
        shortcuts, runner = self._shortcuts, self._runner
        if shortcuts.origins is not None or len(shortcuts.receivers) < 2 * screening.RECEIVERS:
            return {}
        task, rows, labels = shortcuts.task, shortcuts.receivers.labels, shortcuts.donors.labels
        asked = screening.some_donors(task, labels, rng)
        runner.ask(self._shown, asked)
        confident = runner.confident(asked)
        few = confident[screening.few_donors(task, labels[confident], rng)]
        receivers = screening.some_receivers(task, rows, self._shown, rng)
        several = []
        for name, nuisance in self._tested.items():
            has_patches = name in self._patched
            allowed = few if has_patches else confident
            drawn = runner.draw(allowed, rng, receivers, screening.DRAWS)
            several.append(Pairs(nuisance.twins, *drawn, has_patches))
        return dict(zip(self._tested, runner.run(several), strict=True))

    def _too_early(self) -> str | None:
        """Why the model has learnt too little for a verdict, by all donors unless a few tell."""
        shortcuts, runner = self._shortcuts, self._runner

        def reason(index: Array) -> str | None:
            labels = shortcuts.donors.labels[index]
            return shortcuts.task.too_early(runner.of_donors(index), labels, shortcuts.classes)

        few = runner.known_donors
        resampled = np.random.default_rng(0).choice(few, (_RESAMPLED, len(few)))
        is_certain = len({reason(index) is None for index in resampled}) == 1
        return reason(few if is_certain else np.arange(len(shortcuts.donors)))

    @property
    def _shown(self) -> Array:
        """The receivers whose counterfactuals are shown, the same few at every evaluation."""
        order = np.argsort(self._shortcuts.receivers.labels, kind="stable")
        return order[np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).astype(int)]

    def _component_test(self, evidence: Callable[[Any, Array], Array]) -> ComponentTest | None:
        """The test of components, where the shortcuts allow it."""
        shortcuts = self._shortcuts

        def of_inputs(inputs: Inputs, labels: Array) -> Array:
            return evidence(shortcuts.to_input(*inputs), labels)

        if (sets := shortcuts.component_sets) is None:
            return None
        return ComponentTest(
            *sets, of_inputs, self._try, shortcuts.threshold, shortcuts.components or 1
        )

    def _classes_of_grounds(self) -> dict[int, float]:
        """The share of the scenes without an object that is taken for each class."""
        if self._shortcuts.grounds is None:
            return {}
        chosen = self._shortcuts.task.chosen(self._runner.outputs(self._shortcuts.grounds))
        return {int(k): float(chosen[:, k].mean()) for k in np.flatnonzero(chosen.any(axis=0))}

    def _with_random_donors(
        self,
        trials: _Trials,
        measured: Iterable[str],
        known: Iterable[str],
        rng: np.random.Generator,
    ) -> _Trials:
        """Measure what may raise an alarm again, with donors that the model did not choose."""
        doubtful = [
            name
            for name in measured
            if name in self._alarming
            and name not in known
            and trials[name].gap()[0] > self._alarm.end
        ]
        if doubtful and len(self._runner.confident()) == len(self._shortcuts.donors):
            return {name: trials[name] for name in doubtful}
        return {name: self._measure(name, None, rng) for name in doubtful}

    def _counted(self, name: str, trial: Trial) -> Gap:
        """The gap of a nuisance as it counts towards the alarm and the reliance."""
        return self._tested[name].counted(trial.gap(), self._alarm.threshold)

    def _confirmed(self, name: str, gap: Gap, again: Trial) -> Gap:
        """The gap that counts for the alarm: that with random donors where it is not confirmed.

        Of few images it counts as no more than the threshold while the interval is too wide. Where
        much is asked of a nuisance, random donors decide.
        """
        random = self._counted(name, again)
        if again.origins is not None and again.interval()[0] <= self._alarm.end:
            return min(random[0], self._alarm.threshold), random[1]
        is_enough = self._tested[name].thresholds == 1 and is_confirmed(gap, random)
        if self._alarm.is_on:  # Both must be low for its end; one is of a small trial.
            gap = max(gap, random)
        return gap if is_enough else random

    def _measure(self, name: str, allowed: Array | None, rng: np.random.Generator) -> Trial:
        """Try a nuisance on all receivers, with donors out of some, or drawn from all."""
        swap, has_patches = self._tested[name].twins, name in self._patched
        return self._try(swap, allowed, rng, has_patches=has_patches)

    def _try(
        self,
        swap: Swap,
        allowed: Array | None,
        rng: np.random.Generator,
        *,
        has_patches: bool = False,
    ) -> Trial:
        """Try a swap on all receivers, likewise."""
        if allowed is None:
            allowed = np.arange(len(self._shortcuts.donors))
        pairs = self._runner.draw(allowed, rng)
        return self._runner.run([Pairs(swap, *pairs, has_patches)])[0]

    def _explain(self, largest: str, trials: _Trials) -> tuple[str, Gap]:
        """Find the cause of the largest gap, and what is left of that where the cause is kept."""
        broad, trial = self._tested[largest], trials[largest]
        most = trial.gap()[0]
        for name in narrower_than(largest, self._alarming) if most > self._alarm.end else ():
            if trials[name].gap()[0] >= _EXPLAINED * most:
                swap = keeping(self._tested[name].twins, broad.twins)
                has_patches = bool(self._patched & {name, largest})
                pairs = Pairs(swap, trial.receivers, trial.donors, has_patches)
                left = self._runner.run([pairs])[0].gap()
                if left[0] <= (1 - _EXPLAINED) * most:
                    return name, left
        return largest, trial.gap()

    def _judge(self, trials: _Trials, doubtful: Iterable[str]) -> Verdict:
        """Give the verdict, after the alarm is updated."""
        shortcuts, alarm = self._shortcuts, self._alarm
        gaps = {name: trial.gap() for name, trial in trials.items()}
        intervals = {name: trials[name].interval() for name in doubtful}
        counted = {name: self._counted(name, trials[name])[0] for name in self._alarming}
        largest = max(counted, key=counted.__getitem__)
        reliance = counted[largest]
        cause, left = self._explain(largest, trials)
        others = [name for name in self._beside(cause, counted) if counted[name] > alarm.threshold]
        too_early = self._too_early()
        subsets = shortcuts.task.subsets(shortcuts.receivers.labels[trials[cause].receivers])
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
            receivers={name: len(trial.receivers) for name, trial in trials.items()},
        )

    def _beside(self, cause: str, counted: Mapping[str, float]) -> list[str]:
        """What a gap of its own may be due to beside the cause: what is narrower, other inputs."""
        inputs = nuisances_of(self._shortcuts.receivers.extras).keys() & set(self._alarming)
        if cause not in inputs:
            return narrower_than(cause, self._alarming)
        pictured = [name for name in self._alarming if name not in inputs]
        largest = sorted(pictured, key=lambda name: -counted[name])[:1]
        return [*(name for name in self._alarming if name in inputs - {cause}), *largest]

    def _examples(self) -> dict[str, list[Example]]:
        """The donors of each class that the model is surest of, and those that it doubts most."""
        donors, task = self._shortcuts.donors, self._shortcuts.task
        if not isinstance(task, Categorical):
            return {}
        labels, watched = task.label_of(donors.labels), self._runner.of_donors()
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

    def _sheets(self, trials: dict[str, Trial]) -> dict[str, CounterfactualSheet]:
        """The same few receivers at every evaluation, each with the first donors drawn."""
        receivers, donors = self._shortcuts.receivers, self._shortcuts.donors
        shown = self._shown
        before, _ = self._runner.ask(shown, np.arange(0))
        sheets = {}
        for name, trial in trials.items():
            rows = [int(np.flatnonzero(trial.receivers == k)[0]) for k in shown]
            swap, drawn = self._tested[name].twins, trial.donors[rows, :, 0]
            columns = [receivers.inputs(shown)]
            columns += [receivers.counterfactuals(swap, donors, shown, j) for j in drawn.T]
            watched = np.column_stack([before, trial.watched[rows, :, 0]])
            sheets[name] = self._sheet(columns, watched, shown, drawn)
        return sheets

    def _sheet(
        self, columns: Sequence[Inputs], watched: Array, shown: Array, drawn: Array
    ) -> CounterfactualSheet:
        """Describe the receivers that are shown, and their counterfactuals with drawn donors."""
        task, donors = self._shortcuts.task, self._shortcuts.donors
        labels = self._shortcuts.receivers.labels[shown]
        pixels = [stills(np.rint(column.pixels).astype(np.uint8)) for column in columns]
        images = self._shortcuts.display(np.stack(pixels, axis=1))
        captions = task.captions(watched, np.column_stack([labels, donors.labels[drawn]]))
        values = zip(*describe_values(columns), strict=True)
        captions = [
            [", ".join(filter(None, texts)) for texts in zip(*row, strict=True)]
            for row in zip(captions, values, strict=True)
        ]
        return CounterfactualSheet(images, watched, labels, captions, task.columns, task.note)
