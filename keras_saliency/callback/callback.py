"""The Keras callback: when to look, and what is done with what is seen."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from keras_saliency.attribution.explainer import Evaluation, Explainer, name_methods
from keras_saliency.callback.batch_norm import Settling, iterations
from keras_saliency.callback.callback_list import Siblings
from keras_saliency.callback.costs import Stopwatch, dear_methods
from keras_saliency.callback.overhead import Overhead
from keras_saliency.callback.schedule import hint, in_words, read_every
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.common.validation import check_count, check_share, check_switch, local_folder
from keras_saliency.data.directory import check_folder
from keras_saliency.data.normalization import rgb
from keras_saliency.data.probes import Probes
from keras_saliency.drawing.cards import mask_sheet
from keras_saliency.drawing.notebook import figure_html, png
from keras_saliency.engine.backend import is_alone, is_chief
from keras_saliency.engine.predictions import read_predictions
from keras_saliency.engine.scored_model import Method
from keras_saliency.engine.target_layer import LayerChoice, check_choice
from keras_saliency.engine.targets import Target, What
from keras_saliency.recording.base_writer import BaseWriter
from keras_saliency.recording.overview import Overview
from keras_saliency.recording.recorder import Recorder
from keras_saliency.recording.run_summary import about, settings
from keras_saliency.recording.scalars import check_tags
from keras_saliency.recording.snapshot import Snapshot
from keras_saliency.recording.writers import Writer, open_writer
from keras_saliency.shortcuts.classifier import Classifier
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.verdict import Verdict
from keras_saliency.shortcuts.video_swaps import stills
from keras_saliency.tiles.explainer import TileMaps, explainer_of

logger = logging.getLogger("keras_saliency")

# What a training has made, which goes into no copy: the model, threads, files, compiled functions.
_OF_A_TRAINING = {
    *("_siblings", "_probes", "_explainer", "_asked", "_stopwatch", "_overhead", "_is_timed"),
    *("_settling", "_batch", "_in_epoch", "_assessor"),
}

_BY_HAND = (
    "A loop of your own tells its callbacks of all that happens, in order, as "
    "keras.callbacks.CallbackList(callbacks, model=model) does with the same hooks. Received: "
)


class SaliencyCallback(keras.callbacks.Callback):
    """Watch, while a model trains, what it looks at in a few fixed images.

    Before the first batch and after every epoch, all probes are explained by all methods, and
    overlays, film strips and numbers go to a TensorBoard run of their own, `<log_dir>/saliency`.
    The training is not touched: weights, optimizer, statistics and random streams are bit for bit
    what they are without the callback, and after the first batch no fault of its own stops it.

    Args:
        probes: `Probes`, `tiles.Tiles`, an array of images, `(images, labels)`, a dataset (read
            now, a few images a class), or a folder of class sub-folders.
        log_dir: Where TensorBoard looks for runs. A run is never mixed with an older one:
            `saliency`, then `saliency_2`; a fit with `initial_epoch > 0` continues the newest. Or
            where else all goes: a `PictureFolder`, or a `Writer` of your own.
        methods: Names out of `keras_saliency.methods.available()`, or callables
            `(model, images) -> maps`.
        layer: What CAM methods look at: a name, a path (`"mobilenetv2/out_relu"`, or a tuple), a
            `Layer`, or None for the last feature map before the head.
        target: What is explained: `"label"` (without labels, the prediction), `"predicted"`,
            `"contrast"`, a class index, one per probe, an array of output weights, a callable, or
            a `Target`, which also says of what: logits, probability or log probability.
        shortcuts: `Shortcuts`, or the training data itself (a dataset, or `(images, labels)`, read
            now), for a verdict after every epoch: what the model relies on, and since when. It goes
            to TensorBoard, to `verdict`, and into `logs` as `shortcut_reliance` and
            `shortcut_<nuisance>`. Callbacks that use those stand after this one in the list, and
            those that compare need `mode="min"`, as in `ModelCheckpoint(path,
            monitor="shortcut_reliance", mode="min")`. A model that has learnt nothing relies on
            nothing: look at the accuracy besides.
        every: Look after every so many epochs, or, as in `"200 batches"`, batches; these have the
            global batch for their step and a run of their own.
        batch_size: At most so many probes in one pass; half of them, and so on, where memory runs
            out.
        strict: Raise faults during training instead of warning once.
        max_overhead: Share of an epoch's time, above 0 and below 1, for which the training may be
            held; None for any. It is measured while training, from the second epoch on, and where
            it is too much, methods with passes of their own, all looks, or verdicts come less
            often. What does is said, and stands on the page `about`.

    Raises:
        ValueError: Arguments that can't work; what depends on the model is checked when training
            begins, before its first batch.
        TypeError: An argument of a wrong kind.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((16, 24, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = np.random.default_rng(0).random((8, 16, 24, 3)), np.arange(8) % 2
        >>> history = net.fit(x, y, verbose=0, callbacks=[ks.SaliencyCallback((x, y), "logs")])
    """

    def __init__(
        self,
        probes: Any,
        log_dir: str | Path | Writer = "logs",
        methods: Sequence[str | Method] = ("saliency", "grad_cam"),
        *,
        layer: LayerChoice = None,
        target: Target | What = "label",
        shortcuts: Any = None,
        every: int | str = 1,
        batch_size: int = 32,
        strict: bool = False,
        max_overhead: float | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(log_dir, Writer) or isinstance(log_dir, type):
            log_dir = local_folder(log_dir)
        self._log_dir: Path | Writer = log_dir
        named = name_methods(methods)
        check_tags(named)
        self._methods = list(named.values())
        is_folder = isinstance(probes, (str, Path))
        self._given = check_folder(probes) if is_folder else Probes.of(probes)
        check_choice(layer)
        self._layer = layer
        self._target = Target.of_any(target)
        self._shortcuts = None if shortcuts is None else Shortcuts.of(shortcuts)
        self.verdict: Verdict | None = None
        self._every, self._counts_batches = read_every(every)
        self._rhythm = in_words(self._every, self._counts_batches)
        check_count(batch_size, "batch_size")
        self._batch_size = batch_size
        check_switch(strict, "strict")
        self._strict = strict
        check_share(max_overhead, "max_overhead")
        self._max_overhead = max_overhead
        self._has_hinted = False
        self._forget()
        if self._counts_batches:
            # A batch hook turns off Keras's asynchronous dispatch: there is one only on request.
            self.on_train_batch_end = self._after_batch

    def _forget(self) -> None:
        """Be as before any training, but for the verdict."""
        self._faults: set[str] = set()
        self._recorder: Recorder | None = None
        self._unsaid: list[str] = []
        self._last: Snapshot | None = None
        self._best: Snapshot | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        """Give a copy, or a pickle, the settings and the verdict, and no training under way."""
        left_out = {*_OF_A_TRAINING, "_recorder", "_last", "_best"}
        kept = {name: value for name, value in vars(self).items() if name not in left_out}
        return kept | {"_model": None, "params": None}

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Check everything that can be wrong, before anything is trained."""
        if self.model is None:
            raise ValueError(_BY_HAND + "set_model has not been called.")
        self._close()
        self._faults = set()
        self._check_clock()
        self._siblings = Siblings(self)
        self._probes = self._load_probes()
        self._explainer = self._settle()
        self._asked = self._connect()
        self._say_what_is_looked_at()
        self._say_how_to_see_all()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Draw one set before the first batch, so that what was learnt can be told."""
        if not hasattr(self, "_explainer"):
            raise ValueError(_BY_HAND + "on_epoch_begin without on_train_begin.")
        self._remember_the_best()
        if self._recorder is None:
            self._begin(epoch)
        self._say_what_it_took()
        self._stopwatch = Stopwatch()
        self._in_epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the probes, if it is time."""
        if not hasattr(self, "_overhead"):
            raise ValueError(_BY_HAND + "on_epoch_end without on_epoch_begin.")
        self._assess(epoch, logs)
        if not self._counts_batches:
            self._look_if_due(epoch + 1, epoch, f"epoch {epoch + 1}", logs)
        self._note_what_it_took(epoch)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Show the model that is kept, if it is not the last one seen, and finish writing."""
        self._show_what_is_kept()
        if self._last is not None and self.verdict is not None:
            self._tell_about(self._last.step)
        self._close()
        self._say_what_it_took()

    def _repr_html_(self) -> str | None:
        """Show a notebook the newest set, and the verdict in words."""
        image = self._repr_png_()
        said = "no verdict without shortcuts=" if self.verdict is None else self.verdict.text
        return None if image is None else figure_html(image, f"The model: {said}.")

    def _repr_png_(self) -> bytes | None:
        if self._last is None:
            return None
        seen, of = self._probes, self._explainer.of
        sheet = Overview(seen.names, seen.display, seen.label_texts(), of, seen.frames)
        return png(sheet.draw(self._last))

    def _after_batch(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look after some batches; with `steps_per_execution` several are over at once."""
        over = batch + 1
        over = min(over, (self.params or {}).get("steps") or over)  # Keras counts on past the end
        last, self._in_epoch = max(1, over - self._in_epoch), over
        self._batch += last
        self._look_if_due(self._batch, self._batch, f"batch {self._batch}", logs, last)

    def _begin(self, epoch: int) -> None:
        first = self._first_look()
        name = "saliency_batches" if self._counts_batches else "saliency"
        begun = iterations(self.model) + 1 if self._counts_batches else epoch
        writer = BaseWriter()
        if is_chief(self.model):
            later = sum(map(self._shares_folder, self._siblings.after()))
            resume_at = begun if epoch > 0 else None
            writer = open_writer(self._log_dir, name, resume_at=resume_at, later=later)
        self._recorder = Recorder.of_probes(
            writer,
            self._probes,
            of=self._explainer.of,
            settings=settings(self.model, self._explainer, self._target, self._rhythm),
            slides=TileMaps.of(self._probes, self._explainer.head),
            on_fault=self._warn,
        )
        self._last = self._best = None
        self._is_timed = False
        self._overhead = Overhead(
            self._max_overhead,
            self._every,
            self._counts_batches,
            self._shortcuts.every if self._shortcuts else None,
        )
        self._settling, self._batch = Settling(self.model), iterations(self.model)
        self._assessor = self._begin_assessing(epoch)
        if not writer.is_continued:
            before = self._batch if self._counts_batches else epoch - 1
            when = "before training" if epoch == 0 else f"epoch {epoch}"
            self._record(before, when, first, {})
            focus, verdict = self._probes.masks is not None, self._shortcuts is not None
            self._recorder.record_charts(focus=focus, verdict=verdict)
            self._tell_about(before)

    def _shares_folder(self, other: keras.callbacks.Callback) -> bool:
        """Tell whether another callback's runs lie beside this one's, under the same name."""
        alike = isinstance(other, SaliencyCallback) and other._log_dir == self._log_dir
        return alike and other._counts_batches == self._counts_batches

    def _begin_assessing(self, epoch: int) -> Evaluator | None:
        """Connect the shortcuts with the model, and show the masks that are in use."""
        self.verdict = None
        if self._shortcuts is None or self._asked is None:
            if not self._has_hinted:  # which is enough, where it trains again and again
                self._say("gives no verdict on shortcuts without shortcuts=, the training data")
            self._has_hinted = True
            return None
        donors = self._shortcuts.donors
        if self._recorder is not None and donors.masks is not None and len(donors):
            title = f"masks of donors: {self._shortcuts.masks_from}"
            shown = rgb(stills(donors.pixels)), stills(donors.masks[..., None])[..., 0]
            sheet = mask_sheet(*shown, title=title)
            self._recorder.record_images({"shortcut-masks/donors": sheet}, epoch - 1)
        names = self._probes.class_names
        return Evaluator(
            self._shortcuts, self._asked.probabilities, self._asked.saliency_maps, names
        )

    def _first_look(self) -> Evaluation:
        """Look for the first time, when a method that fails is still an error."""
        look = self._ask()
        for name, error in look.errors.items():
            error.add_note(f"While computing {name!r}; nothing has been trained.")
            raise error
        return look

    def _ask(self, left_out: frozenset[str] = frozenset()) -> Evaluation:
        """Ask about all probes; where memory is short this is told, though nothing is missing."""
        before = self._explainer.batch_size
        look = self._explainer.evaluate(left_out=left_out)
        if self._explainer.batch_size < before:
            self._unsaid.append(
                f"out of memory with batch_size={before}, so it looks at "
                f"{self._explainer.batch_size} images at a time from now on"
            )
        return look

    def _assess(self, epoch: int, logs: dict[str, Any] | None) -> None:
        """Ask what the model relies on, if it is time, and put the numbers into `logs`."""
        if self._assessor is None or self._shortcuts is None:
            return
        if self.verdict is None or self._overhead.judges(epoch + 1):
            try:
                self._bring_weights_back()
                with self._stopwatch.running() as taken:
                    verdict = self._assessor.evaluate(epoch)
                self._overhead.judged(taken())
            except Exception as error:
                self._fault("verdict", f"there is no verdict of epoch {epoch + 1} ({error})", error)
                verdict = Verdict(f"can't say: {error}")
            if verdict.alarm and not (self.verdict and self.verdict.alarm):
                warn_user(f"keras_saliency: the model {verdict.text}")
            self.verdict = verdict
            if self._recorder is not None:
                self._recorder.record_verdict(verdict, f"epoch {epoch + 1}", epoch)
        if logs is not None:
            logs["shortcut_reliance"] = self.verdict.reliance
            for name in self._shortcuts.nuisances:
                logs[f"shortcut_{name}"] = self.verdict.gaps.get(name, (float("nan"),))[0]

    def _look_if_due(
        self, count: int, step: int, when: str, logs: Mapping[str, Any] | None, last: int = 1
    ) -> None:
        """Look, if it is time after so many epochs or batches, with the methods that are due."""
        left_out = self._overhead.left_out(count)
        if self._overhead.looks(count, last) and self._explainer.perturbed.keys() - left_out:
            self._look(step, when, logs, left_out)

    def _look(
        self,
        step: int,
        when: str,
        logs: Mapping[str, Any] | None,
        left_out: frozenset[str] = frozenset(),
    ) -> None:
        """Look during training, when nothing of ours may stop it."""
        try:
            self._bring_weights_back()
            with self._stopwatch.running() as taken:
                look = self._ask(left_out)
                for name, error in look.errors.items():
                    self._fault(name, f"{name!r} could not be computed ({error})", error)
                self._record(step, when, look, logs or {})
            self._overhead.looked(taken(), look.seconds)
        except Exception as error:
            self._fault("set", f"the set of {when} is missing ({error})", error)

    def _record(self, step: int, when: str, look: Evaluation, logs: Mapping[str, Any]) -> None:
        if self._recorder is None:
            return
        carried = self._siblings.carried(logs)
        probes, head = self._probes, self._explainer.head
        said = read_predictions(head, look.outputs, probes.labels, probes.class_names)
        self._last = Snapshot.of(step, when, self._settling.note(self.model), look, said, carried)
        self._recorder.record(self._last)

    def _remember_the_best(self) -> None:
        """Hold on to the set of the epoch whose weights `EarlyStopping` would bring back."""
        for restorer in self._restorers():
            if self._last is not None and restorer.best_epoch == self._last.step:
                self._best = self._last

    def _show_what_is_kept(self) -> None:
        """Show the weights of an earlier epoch that `EarlyStopping` brings back, if it does.

        It does so in its own `on_train_end`: before ours, or after it.
        """
        self._remember_the_best()
        for restorer in self._restorers():
            last = self._last
            if last is None or restorer.best_weights is None or restorer.best_epoch == last.step:
                continue
            step, when = last.step + 1, f"kept: epoch {restorer.best_epoch + 1}"
            if self._siblings.comes_before(restorer):
                self._look(step, when, None)
            elif self._best is not None and self._recorder is not None:
                self._last = replace(self._best, step=step, when=when, note="", logs={})
                self._recorder.record(self._last)

    def _restorers(self) -> list[keras.callbacks.EarlyStopping]:
        return [] if self._recorder is None or self._counts_batches else self._siblings.restorers()

    def _bring_weights_back(self) -> None:
        """Ask for the model, to which JAX gives the weights back only then."""
        _ = self.model

    def _check_clock(self) -> None:
        if self._max_overhead is not None and not is_alone(self.model):
            raise ValueError(
                "max_overhead goes by the clock, which differs between processes that train "
                "together and must look together. Use every=, or fewer methods. "
                f"Received: max_overhead={self._max_overhead!r}"
            )

    def _load_probes(self) -> Probes:
        if isinstance(self._given, Probes):
            return self._given
        return Probes.of(self._given, self.model)

    def _settle(self) -> Explainer:
        target = self._target
        by_label = isinstance(target.what, str) and target.what == "label"
        if by_label and self._probes.labels is None:
            self._say("the probes have no labels, so the predicted class is explained")
            target = replace(target, what="predicted")
        return explainer_of(
            self.model, self._probes, self._methods, target, self._layer, self._batch_size
        )

    def _connect(self) -> Classifier | None:
        """Make the model ready to be asked for a verdict, if there will be one."""
        if self._shortcuts is None:
            return None
        asked = Classifier(self._explainer.context, self._batch_size)
        asked.check(self._shortcuts, self._probes)
        return asked

    def _say_what_is_looked_at(self) -> None:
        place = self._explainer.target_layer
        if place is not None:
            grid = " x ".join(map(str, place.shape[1:-1]))
            self._say(f"looks at layer {place.name!r}, a grid of {grid}")
        if self._explainer.of != self._target.of:
            self._say(f"explains the {self._explainer.of}, since the model's logits can't be had")
        dear = dear_methods(self._explainer.perturbed, len(self._probes))
        if dear is not None:
            self._say(dear)

    def _say_how_to_see_all(self) -> None:
        if not isinstance(self._log_dir, Path):
            return
        said = hint(self.params or {}, self._every, self._counts_batches, self._log_dir)
        if said is not None:
            self._say(said)

    def _tell_about(self, step: int) -> None:
        """Write the page about the run, with the verdict as it is now."""
        if self._recorder is None:
            return
        try:
            page = about(
                self.model,
                self._explainer,
                self._target,
                self._probes,
                every=self._rhythm,
                asks_for_verdict=self._shortcuts is not None,
                verdict=self.verdict,
                changes=self._overhead.changes,
            )
            self._recorder.record_text({"about": page}, step)
        except Exception as error:
            self._fault("about", f"the page about the run is missing ({error})", error)

    def _note_what_it_took(self, epoch: int) -> None:
        """Keep within `max_overhead`; without it, measure the first looks within an epoch, once."""
        if self._max_overhead is not None:
            watch = self._stopwatch
            settled = self._overhead.settle(watch.rest)
            if settled is not None:
                self._unsaid.append(settled)
                self._tell_about(epoch)
        elif not self._is_timed and self._stopwatch.seconds:
            self._is_timed = True
            told = self._stopwatch.told(f"epoch {epoch + 1}")
            self._unsaid += [] if told is None else [told]

    def _say_what_it_took(self) -> None:
        """Tell it between epochs, when no progress bar is in the way."""
        for text in self._unsaid:
            self._say(text)
        self._unsaid = []

    def _say(self, text: str) -> None:
        """Tell the user something, as Keras tells of its progress."""
        if keras.config.is_interactive_logging_enabled() and (self.params or {}).get("verbose"):
            sys.stdout.write(f"keras_saliency: {text}\n")
        else:
            logger.info(text)

    def _fault(self, kind: str, text: str, error: Exception) -> None:
        if self._strict:
            self._close()
            raise error
        if kind not in self._faults:
            self._faults.add(kind)
            self._warn(text)

    def _warn(self, text: str) -> None:
        warn_user(f"keras_saliency: {text}. The training goes on.")

    def _close(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
        self._recorder = None
