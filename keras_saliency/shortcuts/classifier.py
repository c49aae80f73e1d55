"""A model reduced to what the verdict evaluates on images that are not the probes."""

from dataclasses import replace

import numpy as np
from keras import ops

from keras_saliency.common.user_warnings import warn_user
from keras_saliency.data.probes import Probes
from keras_saliency.engine.batching import BatchRunner, Rows, gathered
from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.pass_runner import PassRunner, Plan
from keras_saliency.engine.predictor import Forward
from keras_saliency.engine.preprocessing import Preprocessing
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.engine.targets import Target, resolve_target
from keras_saliency.methods.saliency import saliency
from keras_saliency.shortcuts.experiment import Shortcuts

_GRADIENTS = Plan(frozenset({"input_gradients"}))


class Classifier:
    """A classifier: the probabilities of a model's classes, and saliency maps of a label.

    Args:
        context: The context of the model, whose target is replaced by the label.
        batch_size: The largest number of images in one pass with gradients.

    Attributes:
        probabilities: Function from model inputs, float32 `(n, height, width, channels)`, or videos
            `(n, frames, height, width, channels)`, to probabilities `(n, classes)` in [0, 1].

    Raises:
        ValueError: If the model gives no probabilities of classes, gives them pixel by pixel, or
            takes other inputs than images or videos.
    """

    def __init__(self, context: ModelContext, batch_size: int) -> None:
        if context.head.kind == "values":
            raise ValueError(
                "shortcuts= needs a model that gives probabilities of classes. Received: "
                f"model={context.call.model.name!r}, a model for values (regression), which has no "
                "classes whose pictures could be compared. Leave it out, or state what the outputs "
                "are: target=ks.Target(head='softmax'), or 'sigmoid'."
            )
        if np.prod(context.head.positions, dtype=int) > 1:
            raise ValueError(
                "shortcuts= needs a model of one answer an image. Received: "
                f"model={context.call.model.name!r}, whose output of shape "
                f"{context.head.shape} has a class at every position (segmentation): there the "
                "background is an answer itself, and nothing to be swapped. Leave it out."
            )
        if context.call.inputs.names[1:] or len(context.trace.input_shape) not in (4, 5):
            raise ValueError(
                "shortcuts= needs a model of images or videos alone, (batch, [frames,] height, "
                f"width, channels). Received: model={context.call.model.name!r}, whose inputs are "
                "signals, or more than images. Leave it out."
            )
        labelled = resolve_target(Target("label"), context.head, np.zeros(1, "int64"), 1)
        self._context = replace(context, target=labelled)
        self._preprocessing = Preprocessing(context.call.model, context.call.inputs)
        batch_size = context.call.at_most(batch_size)
        self._passes = PassRunner(self._context, batch_size)
        self._run = BatchRunner(self._saliency, batch_size, context.call.model)
        self.probabilities = Forward(self._context).probabilities

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
        head, count = self._context.head, shortcuts.label_count
        if count is not None and (head.kind != "sigmoid" or head.units != count):
            raise ValueError(
                f"shortcuts= has {count} labels, of which a picture may have "
                "several, and needs a model of as many sigmoids. "
                f"Received: a {head.kind} of shape {head.shape}. If these are logits of sigmoids, "
                "state it: target=ks.Target(head='sigmoid')."
            )
        if max(shortcuts.classes) >= head.classes:
            raise ValueError(
                f"shortcuts= must have labels from 0 to {head.classes - 1}, for a model of "
                f"{head.classes} classes. Received: label {max(shortcuts.classes)}"
            )

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
        labels = labels % self._context.head.classes  # One is lacking where it would be.
        return self._run(images, labels.astype("int32"))

    def _saliency(self, size: int, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        def maps(rows: Rows) -> np.ndarray:
            given = np.asarray(images[rows], "float32")
            pixels = self._preprocessing.images(given)
            batch = self._passes.start(_GRADIENTS, pixels, labels[rows])
            result = saliency(ScoredModel(self._passes, batch), batch.images)
            return self._preprocessing.placed(ops.convert_to_numpy(result), given)

        return gathered(maps, len(images), size)
