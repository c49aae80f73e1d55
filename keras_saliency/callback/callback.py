"""The Keras callback: its settings, and hooks that a `TrainingSession` carries out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_saliency.attribution.explainer import name_methods
from keras_saliency.callback import messages
from keras_saliency.callback.schedule import Schedule, check_interval
from keras_saliency.callback.session import Settings, TrainingSession
from keras_saliency.common.validation import (
    check_call,
    check_count,
    check_share,
    check_switch,
    local_folder,
)
from keras_saliency.data.directory import check_folder
from keras_saliency.data.probes import Probes
from keras_saliency.drawing.notebook import figure_html, png
from keras_saliency.engine.model_choice import ModelChoice, check_model_choice, explained_model
from keras_saliency.engine.scored_model import Method
from keras_saliency.engine.target_layer import LayerChoices, check_choices
from keras_saliency.engine.targets import Target, What
from keras_saliency.recording.remote import RemoteFolder, is_address
from keras_saliency.recording.scalars import check_tags
from keras_saliency.recording.writers import Writer
from keras_saliency.recording.writers.opening import Place
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.verdict import Verdict


class SaliencyCallback(keras.callbacks.Callback):
    """Write saliency maps of a few fixed images to TensorBoard while a model trains.

    Before the first batch and at the end of every epoch, all probes are explained by all methods.
    Overlays, film strips and scalars are written to a TensorBoard run of their own,
    `<log_dir>/saliency`, by a worker thread. With `shortcuts`, a verdict on what the model relies
    on is computed too.

    Training is not changed: weights, optimizer, statistics and random streams are bit for bit what
    they are without the callback. After the first batch no fault of the callback stops it.

    Args:
        probes: The images to explain: `Probes`, `tiles.Tiles`, an array of shape
            `(batch, height, width, channels)`, `(images, labels)`, a dataset (read now, a few
            images per class), or a folder of class sub-folders.
        log_dir: Folder that TensorBoard is pointed at. A run is never mixed with an older one: the
            first is `saliency`, the next `saliency_2`; `fit` with `initial_epoch > 0` continues the
            newest, if its probes and settings are the same. Or an address in remote storage, such
            as `"s3://bucket/logs"` (`docs/past_one_machine.md`); one of `ks.writers`, such as
            `WandbWriter`; or a `Writer` of your own. A list of these writes to all at once.
        methods: Names listed by `keras_saliency.methods.available()`, or callables
            `(model, images) -> maps`.
        layer: Layer whose activations CAM methods use: a name, a path (`"mobilenetv2/out_relu"`, or
            a tuple), a `Layer`, or None for the last feature map before the head. A list of these
            gives finer maps, those of all layers fused, at one pass for each.
        target: Output that is explained: `"label"` (the prediction, where there are no labels),
            `"predicted"`, `"contrast"`, a class index, one per probe, an array of output weights, a
            callable, or a `Target`, which also chooses logits, probability or log probability.
        shortcuts: `Shortcuts`, or the training data itself (a dataset, or `(images, labels)`, read
            now), for a verdict after every epoch. The verdict is written to TensorBoard and
            returned by `verdict`, and its largest gap is added to `logs` as `shortcut_reliance`,
            from -1 to 1 (`Shortcuts(log_gaps=True)` adds the others). Callbacks that monitor it
            come after this one in the list and need `mode="min"`, as in
            `ModelCheckpoint(path, monitor="shortcut_reliance", mode="min")`. A
            model that has learnt nothing relies on nothing: monitor the accuracy too.
        every: Number of epochs from one evaluation to the next, or of batches, as in
            `"200 batches"`. The latter are written to a run of their own, with the global batch, as
            the optimizer counts it, as their step; they need `callbacks=` to be a list.
        batch_size: Maximum number of images in one pass. It is halved where memory runs out.
        strict: Whether faults during training are raised rather than reported once as a warning.
        max_overhead: Share of an epoch's time, above 0 and below 1, for which the callback may
            block training; None for no limit. It is measured from the second epoch on. Where it is
            exceeded, methods with passes of their own, all evaluations, checks of maps, or verdicts
            are run less often; this is printed, and listed on the page `about`.
        on_alarm: Callable that is given the `Verdict` when an alarm is raised, in the thread that
            trains: it may send a message, or set `model.stop_training`. An alarm is one however its
            cause changes, until it ends; a training run that is resumed with its alarm on raises it
            anew. An exception in it is reported once, as a warning.
        check_maps: Whether maps are checked, at the last evaluation and every fifth: the model
            must need the strongest tenth of a map more than a tenth elsewhere, or the map is drawn
            in grey. It takes four forward passes for each method. Probes that are classified
            wrongly get a map of the predicted class against the label there, for one pass more.
            `"every"` checks all evaluations, the one before training included.
        model: Model that is explained, where it is not the one that trains but one that this holds:
            the name of an attribute, as `"discriminator"` of a GAN, or a function of the model that
            trains, such as `lambda m: keras.Sequential([m.encoder, m.probe])`, called when training
            begins.

    Raises:
        ValueError: If an argument is invalid. What depends on the model is checked when training
            begins, before its first batch.
        TypeError: If an argument has a wrong type.

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
        log_dir: str | Path | Writer | list[str | Path | Writer] = "logs",
        methods: Sequence[str | Method] = ("saliency", "grad_cam"),
        *,
        layer: LayerChoices = None,
        target: Target | What = "label",
        shortcuts: Any = None,
        every: int | str = 1,
        batch_size: int = 32,
        strict: bool = False,
        max_overhead: float | None = None,
        on_alarm: Callable[[Verdict], Any] | None = None,
        check_maps: bool | str = True,
        model: ModelChoice = None,
    ) -> None:
        super().__init__()
        places, named = _places(log_dir), name_methods(methods)
        check_tags(named)
        images = check_folder(probes) if isinstance(probes, (str, Path)) else Probes.of(probes)
        check_choices(layer)
        check_model_choice(model)
        check_switch(strict, "strict")
        check_share(max_overhead, "max_overhead")
        if on_alarm is not None:
            _check_on_alarm(on_alarm)
        self.settings = Settings(
            log_dir=places,
            methods=list(named.values()),
            probes=images,
            layer=layer,
            target=Target.of_any(target),
            shortcuts=None if shortcuts is None else Shortcuts.of(shortcuts),
            schedule=Schedule.of(every),
            batch_size=check_count(batch_size, "batch_size"),
            strict=strict,
            max_overhead=max_overhead,
            on_alarm=on_alarm,
            check_maps=check_interval(check_maps),
            model=model,
        )
        self.session: TrainingSession | None = None
        self._verdict: Verdict | None = None
        self._hook_batches()

    def _hook_batches(self) -> None:
        if self.settings.schedule.counts_batches:
            # A batch hook turns off Keras's asynchronous dispatch: there is one only on request.
            self.on_train_batch_end = self._on_batch_end

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._hook_batches()

    def __getstate__(self) -> dict[str, Any]:
        """Give a copy, or a pickle, the settings and the verdict, and no training run."""
        left_out = {
            "_model": None,
            "params": None,
            "session": None,
            "_verdict": self._newest_verdict(),
        }
        return {k: v for k, v in vars(self).items() if k != "on_train_batch_end"} | left_out

    @property
    def verdict(self) -> Verdict:
        """What the model relies on, as of the newest evaluation.

        Returns:
            The `Verdict` of the training run under way, or of the last one. Where there is none its
            text begins with "can't say", and says why.
        """
        if (newest := self._newest_verdict()) is not None:
            return newest
        asked = self.settings.shortcuts is not None
        return Verdict(messages.NO_VERDICT_YET if asked else messages.VERDICT_MISSING)

    def _newest_verdict(self) -> Verdict | None:
        return self._verdict if self.session is None else self.session.verdict

    def set_model(self, model: keras.Model) -> None:
        """Take the model that trains, and refuse one of Keras 2, whose list calls this first."""
        if "tf_keras" in type(model).__module__:
            explained_model(model)  # which refuses it
        super().set_model(model)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Check everything that can be wrong, before anything is trained."""
        if self.model is None:
            raise ValueError(messages.BY_HAND.format("set_model has not been called."))
        if self.session is not None:
            self.session.close()
        self.session = TrainingSession(self, self.settings, is_first=self.session is None)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Evaluate the probes before the first batch."""
        if self.session is None:
            raise ValueError(messages.BY_HAND.format("on_epoch_begin without on_train_begin."))
        self.session.begin_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluate the probes and compute the verdict, where they are due."""
        if self.session is None or not self.session.is_recording:
            raise ValueError(messages.BY_HAND.format("on_epoch_end without on_epoch_begin."))
        self.session.end_epoch(epoch, logs)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Evaluate the weights that are kept, if they are not the last ones, and finish writing."""
        if self.session is not None:
            self.session.end()

    def _on_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self.session is not None:
            self.session.end_batch(batch, logs)

    def __repr__(self) -> str:
        chosen = self.settings
        probes = f"{len(chosen.probes)} probes" if isinstance(chosen.probes, Probes) else "a folder"
        listed = ", ".join(name_methods(chosen.methods))
        places = chosen.log_dir if isinstance(chosen.log_dir, tuple) else (chosen.log_dir,)
        place = " and ".join(
            f"'{one}'" if isinstance(one, Path | RemoteFolder) else type(one).__name__
            for one in places
        )
        return (
            f"SaliencyCallback({probes}, {place}, "
            f"methods: {listed}, every {chosen.schedule}, "
            f"{'without' if chosen.shortcuts is None else 'with'} shortcuts)"
        )

    def _repr_html_(self) -> str | None:
        """Show a notebook the newest maps, and the verdict in words."""
        image = self._repr_png_()
        return None if image is None else figure_html(image, f"The model: {self.verdict.text}.")

    def _repr_png_(self) -> bytes | None:
        sheet = None if self.session is None else self.session.draw()
        return None if sheet is None else png(sheet)


def _places(log_dir: Any) -> Place | tuple[Place, ...]:
    """Return where everything is written, which may be several places."""
    if not isinstance(log_dir, list):
        return _place(log_dir)
    if not log_dir:
        raise ValueError(f"A list of log_dir must hold a place. Received: log_dir={log_dir!r}")
    return tuple(map(_place, log_dir))


def _place(log_dir: Any) -> Place:
    """Return where everything is written, as it was given in one of several forms."""
    if isinstance(log_dir, Writer) and not isinstance(log_dir, type):
        return log_dir
    return RemoteFolder(log_dir) if is_address(log_dir) else local_folder(log_dir)


def _check_on_alarm(on_alarm: Any) -> None:
    if not callable(on_alarm):
        raise TypeError(
            f"on_alarm must be a callable that takes a verdict. Received: on_alarm={on_alarm!r}"
        )
    check_call(on_alarm, ("verdict",), "on_alarm")
