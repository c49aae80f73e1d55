"""A model reduced to what the verdict evaluates on images that are not the probes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from keras import ops

from keras_saliency.common.user_warnings import warn_user
from keras_saliency.data.probes import Probes
from keras_saliency.engine.backend import runs_compiled
from keras_saliency.engine.batching import with_fewer
from keras_saliency.engine.passes import ModelContext
from keras_saliency.engine.predictor import Forward, chunks
from keras_saliency.engine.scored_model import Plan, ScoredModel
from keras_saliency.engine.state_guard import preserve_state
from keras_saliency.engine.targets import Target, resolve_target
from keras_saliency.methods.saliency import saliency
from keras_saliency.shortcuts.experiment import Shortcuts

_GRADIENTS = Plan(frozenset({"input_gradients"}))


class Classifier:
    """A classifier: the probabilities of a model's classes, and saliency maps of a label.

    Args:
        context: The context of the model, whose target is replaced by the label.
        batch_size: The largest number of images in one pass with gradients.

    Raises:
        ValueError: If the model gives no probabilities of classes, gives them pixel by pixel, or
            takes other inputs than images or videos.
    """

    def __init__(self, context: ModelContext, batch_size: int) -> None:
        if context.head.kind == "values":
            raise ValueError(
                "shortcuts= needs a model that gives probabilities of classes. Received: "
                f"model={context.model.name!r}, a model for values (regression), which has no "
                "classes whose pictures could be compared. Leave it out."
            )
        if np.prod(context.head.shape[:-1], dtype=int) > 1:
            raise ValueError(
                "shortcuts= needs a model of one answer an image. Received: "
                f"model={context.model.name!r}, whose output of shape {context.head.shape} has a "
                "class at every position (segmentation): there the background is an answer "
                "itself, and nothing to be swapped. Leave it out."
            )
        if context.call.form.names[1:] or context.recording.input_rank not in (4, 5):
            raise ValueError(
                "shortcuts= needs a model of images or videos alone, (batch, [frames,] height, "
                f"width, channels). Received: model={context.model.name!r}, whose inputs are "
                "signals, or more than images. Leave it out."
            )
        labelled = resolve_target(Target("label"), context.head, np.zeros(1, "int64"), 1)
        self._context = replace(context, target=labelled)
        self._scored = ScoredModel(self._context, batch_size)
        self._batch_size = batch_size
        self._traced = 0
        self._forward = Forward(self._context)

    def check(self, shortcuts: Shortcuts, probes: Probes) -> None:
        """Check donors and receivers against the model and the probes, before training.

        Args:
            shortcuts: The donors and receivers.
            probes: The probes.

        Raises:
            ValueError: If their size is not that of the probes, or the model has no output for a
                label.

        Warns:
            UserWarning: If the donors are the probes, or in another range of values.
        """
        shortcuts.meet(probes.images)
        if shortcuts.obstacle is not None:
            return
        inputs = shortcuts.to_input(shortcuts.receivers.pixels[:1])
        if inputs.shape[1:] != probes.images.shape[1:]:
            raise ValueError(
                "shortcuts= must hold images of the probes' shape, "
                f"{probes.images.shape[1:]}. Received: images of shape {inputs.shape[1:]}"
            )
        self._check_labels(shortcuts)
        ours, theirs = np.abs(probes.images).max(), np.abs(inputs).max()
        if not 0.1 < (theirs + 1e-6) / (ours + 1e-6) < 10:
            warn_user(
                "keras_saliency: shortcuts= and the probes differ in range (magnitudes up to "
                f"{theirs:.3g} and {ours:.3g}), so that one of them is not what the model is "
                "trained on. Give both as the training data are, or with the same preprocess=."
            )

    def _check_labels(self, shortcuts: Shortcuts) -> None:
        head = self._context.head
        if shortcuts.label_count is not None and (
            head.kind != "sigmoid" or head.shape[-1] != shortcuts.label_count
        ):
            raise ValueError(
                f"shortcuts= has {shortcuts.label_count} labels, of which a picture may have "
                "several, and needs a model of as many sigmoids. "
                f"Received: a {head.kind} of shape {head.shape}"
            )
        if max(shortcuts.classes) >= head.classes:
            raise ValueError(
                f"shortcuts= must have labels from 0 to {head.classes - 1}, for a "
                f"model of {head.classes} classes. "
                f"Received: label {max(shortcuts.classes)}"
            )

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Compute the probabilities of all classes.

        Args:
            images: Model inputs, float32 `(n, height, width, channels)`, or videos
                `(n, frames, height, width, channels)`.

        Returns:
            `(n, classes)` in [0, 1].
        """
        return self._forward.probabilities(images)

    def saliency_maps(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Compute gradient saliency of the labels' scores.

        Averaged over noise, as by SmoothGrad, the maps give the same gap of the mark.

        Args:
            images: Model inputs, float32 `(n, height, width, channels)`.
            labels: int `(n,)`; of several labels an image, `classes + label` means a lacking label,
                whose score is explained likewise.

        Returns:
            Maps `(n, height, width)`, not negative.
        """
        labels = labels % self._context.head.classes

        def attempt(at_once: int) -> np.ndarray:
            found = []
            model = self._context.model
            is_traced = at_once == self._traced and runs_compiled(model)
            with preserve_state(model, is_traced=is_traced):
                for rows in chunks(len(images), at_once):
                    batch = self._scored.set_batch(
                        _GRADIENTS,
                        np.asarray(images[rows], "float32"),
                        labels[rows].astype("int32"),
                    )
                    maps = saliency(self._scored, batch)
                    found.append(ops.convert_to_numpy(maps))
                self._scored.clear_batch()
            self._traced = at_once
            return np.concatenate(found)[: len(images)]

        maps, self._batch_size = with_fewer(attempt, self._batch_size)
        return maps
