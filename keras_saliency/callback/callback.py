"""The Keras callback: its settings, and hooks that a `TrainingSession` carries out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_saliency.attribution.explainer import name_methods
from keras_saliency.callback import messages
from keras_saliency.callback.schedule import Schedule
from keras_saliency.callback.session import Settings, TrainingSession
from keras_saliency.common.validation import check_count, check_share, check_switch, local_folder
from keras_saliency.data.directory import check_folder
from keras_saliency.data.probes import Probes
from keras_saliency.drawing.notebook import figure_html, png
from keras_saliency.engine.model_choice import ModelChoice, check_model_choice, explained_model
from keras_saliency.engine.scored_model import Method
from keras_saliency.engine.target_layer import LayerChoice, check_choice
from keras_saliency.engine.targets import Target, What
from keras_saliency.recording.scalars import check_tags
from keras_saliency.recording.writers import Writer
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
            newest, if its probes and settings are the same. Alternatively a `PictureFolder`, or a
            `Writer` of your own.
        methods: Names listed by `keras_saliency.methods.available()`, or callables
            `(model, images) -> maps`.
        layer: Layer whose activations CAM methods use: a name, a path (`"mobilenetv2/out_relu"`, or
            a tuple), a `Layer`, or None for the last feature map before the head.
        target: Output that is explained: `"label"` (the prediction, where there are no labels),
            `"predicted"`, `"contrast"`, a class index, one per probe, an array of output weights, a
            callable, or a `Target`, which also chooses logits, probability or log probability.
        shortcuts: `Shortcuts`, or the training data itself (a dataset, or `(images, labels)`, read
            now), for a verdict after every epoch. The verdict is written to TensorBoard, returned
            by `verdict`, and added to `logs` as `shortcut_reliance` and `shortcut_<nuisance>`, from
            0 to 1. Callbacks that monitor these come after this one in the list and need
            `mode="min"`, as in `ModelCheckpoint(path, monitor="shortcut_reliance", mode="min")`. A
            model that has learnt nothing relies on nothing: monitor the accuracy too.
        every: Number of epochs from one evaluation to the next, or of batches, as in
            `"200 batches"`. The latter are written to a run of their own, with the global batch, as
            the optimizer counts it, as their step; they need `callbacks=` to be a list.
        batch_size: Maximum number of images in one pass. It is halved where memory runs out.
        strict: Whether faults during training are raised rather than reported once as a warning.
        max_overhead: Share of an epoch's time, above 0 and below 1, for which the callback may
            block training; None for no limit. It is measured from the second epoch on. Where it is
            exceeded, methods with passes of their own, all evaluations, or verdicts are run less
            often; this is printed, and listed on the page `about`.
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
        model: ModelChoice = None,
    ) -> None:
        super().__init__()
        if not isinstance(log_dir, Writer) or isinstance(log_dir, type):
            log_dir = local_folder(log_dir)
        named = name_methods(methods)
        check_tags(named)
        images = check_folder(probes) if isinstance(probes, (str, Path)) else Probes.of(probes)
        check_choice(layer)
        check_model_choice(model)
        check_switch(strict, "strict")
        check_share(max_overhead, "max_overhead")
        self.settings = Settings(
            log_dir=log_dir,
            methods=list(named.values()),
            probes=images,
            layer=layer,
            target=Target.of_any(target),
            shortcuts=None if shortcuts is None else Shortcuts.of(shortcuts),
            schedule=Schedule.of(every),
            batch_size=check_count(batch_size, "batch_size"),
            strict=strict,
            max_overhead=max_overhead,
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
        left_out = {"_model": None, "params": None, "session": None, "_verdict": self.verdict}
        return {k: v for k, v in vars(self).items() if k != "on_train_batch_end"} | left_out

    @property
    def verdict(self) -> Verdict | None:
        """What the model relies on, as of the newest evaluation.

        Returns:
            The `Verdict` of the training run under way, or of the last one; None before the first.
        """
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

    def _repr_html_(self) -> str | None:
        """Show a notebook the newest maps, and the verdict in words."""
        image, verdict = self._repr_png_(), self.verdict
        text = messages.VERDICT_MISSING if verdict is None else verdict.text
        return None if image is None else figure_html(image, f"The model: {text}.")

    def _repr_png_(self) -> bytes | None:
        sheet = None if self.session is None else self.session.draw()
        return None if sheet is None else png(sheet)
