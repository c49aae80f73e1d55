"""One training run, from `on_train_begin` to `on_train_end`, and all of its state."""

import contextlib
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_saliency.attribution.contrast import contrast_of_wrong
from keras_saliency.attribution.explainer import Evaluation, Explainer, name_methods
from keras_saliency.callback import messages
from keras_saliency.callback.batch_count import BatchCount, batches_trained
from keras_saliency.callback.batch_norm import BatchNormStatus, keeps_averages
from keras_saliency.callback.callback_list import OtherCallbacks
from keras_saliency.callback.overhead import Overhead
from keras_saliency.callback.scale_check import ScaleCheck
from keras_saliency.callback.schedule import Schedule
from keras_saliency.data.probes import Probes
from keras_saliency.drawing.cards import mask_sheet
from keras_saliency.engine.backend import is_chief
from keras_saliency.engine.model_choice import ModelChoice, explained_model
from keras_saliency.engine.predictions import read_predictions
from keras_saliency.engine.processes import of_chief
from keras_saliency.engine.scored_model import Method
from keras_saliency.engine.target_layer import LayerChoices
from keras_saliency.engine.targets import Target
from keras_saliency.metrics.map_check import MapChecker
from keras_saliency.recording.base_writer import BaseWriter
from keras_saliency.recording.overview import Overview
from keras_saliency.recording.recorder import DRAWN, Recorder
from keras_saliency.recording.remote import RemoteFolder
from keras_saliency.recording.resuming import PreviousRun
from keras_saliency.recording.run_summary import about, further_settings, settings
from keras_saliency.recording.scalars import plain_numbers
from keras_saliency.recording.snapshot import Snapshot, choose_evenly
from keras_saliency.recording.tensorboard.plugin_data import probe_blobs
from keras_saliency.recording.writers.opening import Place, open_writer, tensorboard_folder
from keras_saliency.shortcuts.classifier import Classifier
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.label_leakage import leakage_of
from keras_saliency.shortcuts.verdict import Verdict
from keras_saliency.shortcuts.video_swaps import stills
from keras_saliency.tiles.explainer import TileMaps, explainer_of

_SCALE_CHECKS = 5  # epochs: at first, a model may have learnt too little to tell


@dataclass(frozen=True)
class Settings:
    """The arguments of a `SaliencyCallback`, validated; its docstring describes them."""

    log_dir: Place | tuple[Place, ...]
    methods: Sequence[str | Method]
    probes: Probes | Path
    layer: LayerChoices
    target: Target
    shortcuts: Shortcuts | None
    schedule: Schedule
    batch_size: int
    strict: bool
    max_overhead: float | None
    on_alarm: Callable[[Verdict], Any] | None
    check_maps: int | None
    model: ModelChoice

    @property
    def folder(self) -> Path | RemoteFolder | None:
        """Where TensorBoard looks for runs, or None where nothing is written for it."""
        return tensorboard_folder(self.log_dir)

    @property
    def run(self) -> tuple[Place | tuple[Place, ...], str]:
        """Where all goes, and the name of the TensorBoard run."""
        name = "saliency_batches" if self.schedule.counts_batches else "saliency"
        return self.folder or self.log_dir, name


class TrainingSession:
    """Evaluates the probes during one training run.

    Every process of several evaluates, since one that does not would leave the others waiting: on
    JAX all of them run each computation together, and so they do on TensorFlow where a variable is
    gathered when it is read. The results are the same, as the weights are; one process writes them.

    Args:
        callback: The callback, inside its `on_train_begin`.
        settings: Its settings.
        is_first: Whether it is the callback's first training run, where it gives advice.

    Attributes:
        model: The model that is explained: the one that trains, or one that it holds.
        probes: The probes, as the model gets them.
        explainer: What computes the maps.
        recorder: What writes them, once the first epoch has begun.
        is_recording: Whether it does so now.
        newest: The newest snapshot, or None.
        verdict: The newest verdict, or None.

    Raises:
        ValueError: Settings that do not fit the model.
        TypeError: A model that is none of Keras 3.
    """

    recorder: Recorder
    _previous: PreviousRun | None
    _overhead: Overhead
    _batches: BatchCount
    _batch_norm: BatchNormStatus
    _checker: MapChecker | None
    _evaluator: Evaluator | None

    def __init__(
        self, callback: keras.callbacks.Callback, settings: Settings, *, is_first: bool
    ) -> None:
        self._callback, self._settings, self._is_first = callback, settings, is_first
        self.model = explained_model(self._model, settings.model)
        self.is_recording = False
        self.newest: Snapshot | None = None
        self.verdict: Verdict | None = None
        self._best: Snapshot | None = None
        self._evaluations = 0
        self._reporter = messages.Reporter(callback.params)
        self._others = OtherCallbacks(callback)
        counts_batches = settings.schedule.counts_batches
        self._others.check(counts_batches=counts_batches)
        self._restorers = [] if counts_batches else self._others.restorers()
        probes = settings.probes
        self._given = probes if isinstance(probes, Probes) else Probes.of(probes, self.model)
        self.explainer = self._make_explainer()
        self.probes = self.explainer.probes
        self._classifier: Classifier | None = None
        if settings.shortcuts is not None:
            self._classifier = Classifier(self.explainer.context, settings.batch_size)
            self._classifier.check(settings.shortcuts, self._given)
        chosen = settings.shortcuts, self._classifier
        self._scale = ScaleCheck(self.explainer, self._given, *chosen)
        # The logs tell of the model that trains.
        self._scale_checks = _SCALE_CHECKS if self.model is self._model else 0
        self._announce()

    def begin_epoch(self, epoch: int) -> None:
        """Write a snapshot before the first batch, so that what was learnt stands out."""
        self._remember_best()
        if not self.is_recording:
            self._begin(epoch)
        self._reporter.say_pending()
        self._overhead.begin_epoch()
        if self._settings.schedule.counts_batches:
            self._batches.begin_epoch(self._model)

    def end_epoch(self, epoch: int, logs: dict[str, Any] | None) -> None:
        """Compute the verdict and evaluate the probes, where they are due."""
        self.assess(epoch, logs)
        if not self._settings.schedule.counts_batches:
            self._evaluate_if_due(epoch + 1, epoch, f"epoch {epoch + 1}", logs)
        self._check_scale(epoch, logs or {})
        self._adjust_pace(epoch)

    def end_batch(self, batch: int, logs: Mapping[str, Any] | None) -> None:
        """Evaluate the probes, where it is due; with `steps_per_execution` several batches end."""
        batches, before = self._batches, self._batches.count
        batches.end(batch, (self._callback.params or {}).get("steps"))
        if self._overhead.is_between(before, batches.count):
            batches.correct(self._model)
        count = batches.count
        self._evaluate_if_due(count, count, f"batch {count}", logs, count - before)

    def end(self) -> None:
        """Show the model that is kept, if it is not the last one evaluated, and finish writing."""
        if self.is_recording:
            self._show_kept()
        if self.is_recording and self.newest is not None and self.verdict is not None:
            self._write_summary(self.newest.step)
        self.close()
        self._reporter.say_pending()

    def close(self) -> None:
        """Finish writing; a second call does nothing."""
        if self.is_recording:
            self.recorder.close()
        self.is_recording = False

    def draw(self) -> np.ndarray | None:
        """Draw the newest snapshot, uint8 `(height, width, 3)`; None before the first one."""
        if self.newest is None:
            return None
        probes, of = self.probes, self.explainer.of
        sheet = Overview(probes.names, probes.display, probes.label_texts(), of, probes.frames)
        return sheet.draw(self.newest)

    def assess(self, epoch: int, logs: dict[str, Any] | None) -> None:
        """Compute the verdict, if it is due, and put its numbers into `logs`."""
        if self._evaluator is None or self._settings.shortcuts is None:
            return
        if self.verdict is None or self._overhead.is_verdict_due(epoch + 1):
            verdict = self._evaluate_shortcuts(self._evaluator, epoch)
            is_raised = verdict.alarm and not (self.verdict and self.verdict.alarm)
            self.verdict = verdict
            # Where the steps of the run are batches, so is that of its verdicts.
            step = self._batches.count if self._settings.schedule.counts_batches else epoch
            self.recorder.record_verdict(verdict, f"epoch {epoch + 1}", step)
            if is_raised:
                self._raise_alarm(verdict)
        if logs is not None:
            logs["shortcut_reliance"] = self.verdict.reliance
            shortcuts, gaps = self._settings.shortcuts, self.verdict.gaps
            for name in shortcuts.nuisances if shortcuts.log_gaps else ():
                logs[f"shortcut_{name}"] = gaps.get(name, (float("nan"),))[0]

    def _evaluate_shortcuts(self, evaluator: Evaluator, epoch: int) -> Verdict:
        """Compute the verdict: in every process that of the chief, whose images stay there."""
        fault = None
        try:
            progress = self._reporter.progress("computing the verdict, nuisances")
            with self._measured() as seconds, progress as report:
                verdict = evaluator.evaluate(epoch, progress=report)
            self._overhead.add_verdict(seconds())
        except Exception as error:
            verdict, fault = Verdict(f"can't say: {error}"), error
        agreed = of_chief(self._model, verdict.plain())
        if fault is not None:  # Only now, or the other processes would wait.
            self._fault("verdict", messages.VERDICT_FAILED.format(epoch + 1, fault), fault)
        return verdict if is_chief(self._model) else Verdict.from_plain(agreed)

    def _raise_alarm(self, verdict: Verdict) -> None:
        """Tell the user, and in one process of several whom the user wants to be told."""
        self._reporter.alarm(verdict.text)
        if self._settings.on_alarm is None or not is_chief(self._model):
            return
        try:
            self._settings.on_alarm(verdict)
        except Exception as error:
            self._fault("on_alarm", messages.ON_ALARM_FAILED.format(error), error)

    def _check_scale(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Warn once if images are scaled unlike those that the model is trained on."""
        # What batch norm does at inference tells nothing yet.
        if not self._scale_checks or self._batch_norm.note(self.model):
            return
        is_new = self.newest is not None and self.newest.step == epoch
        if not (is_new or self._settings.schedule.counts_batches):
            return  # An epoch without an evaluation costs nothing.
        self._scale_checks -= 1
        try:
            with self._measured():
                notes = self._scale.notes(logs, self.newest if is_new else None)
            for note in notes:
                self._reporter.warn(note)
        except Exception as error:
            self._fault("scale", messages.IS_MISSING.format("the check of scales", error), error)

    @property
    def _model(self) -> keras.Model:
        return self._callback.model

    def _make_explainer(self, left_out: Container[str] = ()) -> Explainer:
        chosen, target, probes = self._settings, self._settings.target, self._given
        by_label = isinstance(target.what, str) and target.what == "label"
        if by_label and probes.labels is None:
            self._reporter.say(None if left_out else messages.NO_LABELS)
            target = replace(target, what="predicted")
        named = name_methods(chosen.methods)
        methods = [method for name, method in named.items() if name not in left_out]
        arguments = methods, target, chosen.layer, chosen.batch_size
        return explainer_of(self.model, probes, *arguments)

    def _announce(self) -> None:
        """Say what is explained, what is expensive, and how to see all of it."""
        say, explainer = self._reporter.say, self.explainer
        for layer in explainer.target_layers:
            say(messages.TARGET_LAYER.format(layer.name, layer.grid))
        say(explainer.what_is_missed)
        if explainer.of != self._settings.target.of:
            say(messages.EXPLAINED.format(explainer.of))
        say(messages.assumed(explainer.head))
        if keeps_averages(self._model):
            swapped = self._others.swaps_averages() and not self._settings.schedule.counts_batches
            say(messages.AVERAGED if swapped else messages.NOT_AVERAGED)
        say(messages.expensive_methods(explainer.perturbed, len(self.probes)), self._leakage())
        if isinstance(folder := self._settings.folder, Path):
            say(messages.unreadable_name(folder))

    def _leakage(self) -> str | None:
        """Say which trivial property tells the label of the training images, if one does."""
        if self._settings.shortcuts is None or not self._is_first:
            return None
        try:
            leakage = leakage_of(self._settings.shortcuts)
        except Exception as error:
            self._fault("leakage", messages.IS_MISSING.format("the check of labels", error), error)
            return None
        return leakage.text if leakage is not None and leakage.leaks else None

    def _begin(self, epoch: int) -> None:
        """Evaluate for the first time, when a method that fails is still an error, and write."""
        model, chosen = self.model, self._settings
        first = self._evaluate()
        for name, error in first.errors.items():
            self._fault_at_once(name, error, is_last=not first.maps)
        if first.errors:
            self.explainer = self._make_explainer(left_out=first.errors)
        every = str(chosen.schedule)
        self._listed = settings(model, self.explainer, chosen.target, every)
        all_settings = self._listed | further_settings(
            self.explainer, self.probes, chosen.shortcuts
        )
        writer, self._previous = self._open_writer(epoch, all_settings)
        self.recorder = Recorder(
            writer,
            self.probes,
            of=self.explainer.of,
            settings=all_settings,
            slides=TileMaps.of(self.probes, self.explainer.head),
            previous=first.maps if writer.is_continued else None,
            checks_maps=chosen.check_maps is not None,
            on_fault=self._reporter.warn,
        )
        self.is_recording = True
        verdict_every = chosen.shortcuts.every if chosen.shortcuts else None
        self._overhead = Overhead(
            chosen.max_overhead, chosen.schedule, verdict_every, chosen.check_maps
        )
        self._batch_norm, self._batches = BatchNormStatus(model), BatchCount(self._model)
        self._evaluator = self._make_evaluator(epoch)
        self._checker = None if chosen.check_maps is None else MapChecker(self.explainer)
        found = self._check_maps(first, is_last=False)
        if not writer.is_continued:
            before = self._batches.count if chosen.schedule.counts_batches else epoch - 1
            when = f"epoch {epoch}" if epoch else "before training"
            self._record(before, when, first, {}, found)
            has_masks, has_verdict = self.probes.masks is not None, chosen.shortcuts is not None
            self.recorder.record_charts(focus=has_masks, verdict=has_verdict)
            self._write_summary(before)

    def _open_writer(
        self, epoch: int, all_settings: Mapping[str, str]
    ) -> tuple[BaseWriter, PreviousRun | None]:
        if not is_chief(self._model):
            return BaseWriter(), None
        run, counts_batches = self._settings.run, self._settings.schedule.counts_batches
        first = batches_trained(self._model) + 1 if counts_batches else epoch
        others = (getattr(other, "settings", None) for other in self._others.after())
        later = sum(isinstance(other, Settings) and other.run == run for other in others)

        def described() -> list[bytes]:
            shown = choose_evenly(self.probes.label_texts(), DRAWN)
            return probe_blobs(self.probes, shown, self.explainer.of, all_settings)

        resume_at = first if epoch > 0 else None
        chosen = self._settings.log_dir, run[1], described
        writer, previous = open_writer(*chosen, resume_at=resume_at, later=later)
        folder = self._settings.folder
        if folder is not None and writer.folder is not None:
            if previous is not None and previous.differences:
                own, before = folder / writer.folder.name, folder / previous.folder.name
                other = ", ".join(previous.differences)
                self._reporter.say(messages.OWN_RUN.format(own, before, other))
            evaluations = self._settings.schedule.evaluations(self._callback.params or {})
            where = messages.where_to_look(writer.folder, folder, evaluations)
            self._reporter.say(where)
        return writer, previous

    def _make_evaluator(self, epoch: int) -> Evaluator | None:
        """Connect the shortcuts with the model, and show the masks that are in use."""
        shortcuts = self._settings.shortcuts
        if shortcuts is None or self._classifier is None:
            self._reporter.say(messages.NO_VERDICT if self._is_first else None)
            return None
        donors = shortcuts.donors
        if donors.masks is not None and len(donors):
            title = f"masks of donors: {shortcuts.masks_from}"
            images = shortcuts.display(stills(donors.pixels))
            masks = stills(donors.masks[..., None])[..., 0]
            sheet = mask_sheet(images, masks, title=title)
            self.recorder.record_images({"shortcut-masks/donors": sheet}, epoch - 1)
        names = self.probes.class_names
        alarm = self._previous.alarm(shortcuts.threshold) if self._previous else None
        asked = self._classifier
        evidence = asked.evidence if asked.has_feature_map else None
        return Evaluator(shortcuts, asked.answers, asked.saliency_maps, names, alarm, evidence)

    def _evaluate(self, left_out: frozenset[str] = frozenset()) -> Evaluation:
        """Evaluate all probes; where memory is short this is said, though nothing is missing."""
        before = self.explainer.batch_size
        with self._reporter.progress("evaluating the probes, passes") as report:
            evaluation = self.explainer.evaluate(left_out=left_out, progress=lambda _: report)
        if self.explainer.batch_size < before:
            self._reporter.say_later(
                messages.OUT_OF_MEMORY.format(before, self.explainer.batch_size)
            )
        return evaluation

    def _evaluate_if_due(
        self, count: int, step: int, when: str, logs: Mapping[str, Any] | None, last: int = 1
    ) -> None:
        """Evaluate, if it is due after so many epochs or batches, the methods that are due."""
        left_out = self._overhead.left_out(count)
        is_due = self._overhead.is_evaluation_due(count, last)
        if is_due and self.explainer.perturbed.keys() - left_out:
            planned = self._settings.schedule.planned(self._callback.params or {})
            is_last = planned > 0 and not self._overhead.is_between(count, planned)
            is_last |= bool(getattr(self._model, "stop_training", False))
            self._evaluate_in_training(step, when, logs, left_out, is_last=is_last)

    def _evaluate_in_training(
        self,
        step: int,
        when: str,
        logs: Mapping[str, Any] | None = None,
        left_out: frozenset[str] = frozenset(),
        *,
        is_last: bool,
    ) -> None:
        """Evaluate and record, when no fault of ours may stop the training run."""
        try:
            with self._measured() as seconds:
                evaluation = self._evaluate(left_out)
                for name, error in evaluation.errors.items():
                    self._fault(name, messages.METHOD_FAILED.format(name, error), error)
                began = time.perf_counter()
                found = self._check_maps(evaluation, is_last=is_last)
                check = time.perf_counter() - began if found else None
                self._record(step, when, evaluation, logs or {}, found)
            self._overhead.add_evaluation(seconds(), evaluation.seconds, check)
        except Exception as error:
            self._fault("set", messages.IS_MISSING.format(f"the set of {when}", error), error)

    def _check_maps(self, evaluation: Evaluation, *, is_last: bool) -> dict[str, Any]:
        """Check the maps of an evaluation, and contrast what is wrong, where that is due."""
        number, self._evaluations = self._evaluations, self._evaluations + 1
        if self._checker is None or not self._overhead.is_check_due(number, is_last=is_last):
            return {}
        try:
            checks = self._checker.check(evaluation, seed=number)
            return {"checks": checks, "contrast": contrast_of_wrong(self.explainer, evaluation)}
        except Exception as error:
            self._fault("check", messages.IS_MISSING.format("the check of maps", error), error)
            return {}

    def _record(
        self,
        step: int,
        when: str,
        evaluation: Evaluation,
        logs: Mapping[str, Any],
        found: dict[str, Any],
    ) -> None:
        probes, head = self.probes, self.explainer.head
        numbers, others = plain_numbers(self._others.unwritten(logs))
        if others:
            self._reporter.say_once("logs", messages.NO_CURVE.format(", ".join(others)))
        answers = read_predictions(
            head, evaluation.outputs, evaluation.predicted, probes.labels, probes.class_names
        )
        self.newest = Snapshot(
            step=step,
            when=when,
            note=self._batch_norm.note(self.model),
            maps=evaluation.maps,
            errors={name: str(error) for name, error in evaluation.errors.items()},
            scores=evaluation.scores,
            predicted=answers.texts,
            confidence=answers.confidence,
            probability=answers.probability,
            correct=answers.correct,
            logs=numbers,
            tiles=evaluation.tiles,
            **found,
        )
        self.recorder.record(self.newest)

    def _remember_best(self) -> None:
        """Keep the snapshot of the epoch whose weights `EarlyStopping` would bring back."""
        for restorer in self._restorers:
            if self.newest is not None and restorer.best_epoch == self.newest.step:
                self._best = self.newest

    def _show_kept(self) -> None:
        """Show the weights of an earlier epoch that `EarlyStopping` brings back, if it does.

        It does so in its own `on_train_end`: before ours, or after it.
        """
        self._remember_best()
        for restorer in self._restorers:
            last = self.newest
            if last is None or restorer.best_weights is None or restorer.best_epoch == last.step:
                continue
            step, when = last.step + 1, f"kept: epoch {restorer.best_epoch + 1}"
            if self._others.comes_before(restorer):
                self._evaluate_in_training(step, when, is_last=True)
            elif self._best is not None:
                self.newest = replace(self._best, step=step, when=when, note="", logs={})
                self.recorder.record(self.newest)

    def _write_summary(self, step: int) -> None:
        """Write the page about the run, with the verdict as it is now."""
        has_verdict, changes = self._settings.shortcuts is not None, self._overhead.changes
        try:
            page = about(
                self._listed,
                self.probes,
                has_verdict=has_verdict,
                verdict=self.verdict,
                changes=changes,
                previous=self._previous,
            )
            self.recorder.record_text({"about": page}, step)
        except Exception as error:
            self._fault("about", messages.IS_MISSING.format("the page about the run", error), error)

    def _adjust_pace(self, epoch: int) -> None:
        """Keep within `max_overhead`; without it, report what the first evaluations took."""
        if self._settings.max_overhead is None:
            self._reporter.say_later(self._overhead.report(f"epoch {epoch + 1}"))
            return
        change = self._overhead.adjust()
        # Clocks differ, and all processes must evaluate together.
        self._overhead.pace = of_chief(self._model, self._overhead.pace)
        if change is not None:
            self._reporter.say_later(change)
            self._write_summary(epoch)

    @contextlib.contextmanager
    def _measured(self) -> Iterator[Callable[[], float]]:
        """Count the time within the context as ours."""
        _ = self._model  # to which JAX gives the weights back only when it is read
        with self._overhead.running() as seconds:
            yield seconds

    def _fault_at_once(self, method: str, error: Exception, *, is_last: bool) -> None:
        """Say which method fails before training; where no other is left, that is an error."""
        if is_last or self._settings.strict:
            error.add_note(messages.NOT_TRAINED.format(method))
            raise error
        self._reporter.warn_once(method, messages.METHOD_FAILED_AT_ONCE.format(method, error))

    def _fault(self, kind: str, text: str, error: Exception) -> None:
        if self._settings.strict:
            self.close()
            raise error
        self._reporter.warn_once(kind, text)
