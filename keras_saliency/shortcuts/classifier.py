"""A model reduced to what the verdict evaluates on images that are not the probes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from keras_saliency import methods
from keras_saliency.common.resampling import cell_shares
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.data.probes import Probes
from keras_saliency.engine.batching import BatchRunner, Rows, gathered
from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.pass_runner import PassRunner, Plan
from keras_saliency.engine.predictor import Forward
from keras_saliency.engine.preprocessing import Preprocessing
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.engine.targets import Target, resolve_target
from keras_saliency.shortcuts.experiment import Shortcuts

_GRADIENTS = Plan(frozenset({"input_gradients"}))
_FORWARD = 32  # images in a forward pass: few more than are asked for, as batches are filled up
_CELLS = 16  # of a side, to which larger feature maps are averaged
_LAYER = Plan(frozenset({"activations", "layer_gradients"}))


class Classifier:
    """A model's answers for images, and saliency maps of a label.

    Args:
        context: The context of the model, whose target is replaced by the label.
        batch_size: The largest number of images in one pass with gradients.

    Attributes:
        has_feature_map: Whether a layer's output is a feature map, as `evidence` needs.

    Raises:
        ValueError: If the model takes signals.
    """

    def __init__(self, context: ModelContext, batch_size: int) -> None:
        if len(context.trace.input_shape) not in (4, 5):
            raise ValueError(
                "shortcuts= needs a model of images or videos, (batch, [frames,] height, width, "
                f"channels). Received: model={context.call.model.name!r}, whose inputs are "
                "signals. Leave it out."
            )
        labelled = resolve_target(Target("label"), context.head, np.zeros(1, "int64"), 1)
        self._context = replace(context, target=labelled)
        self._inputs = context.call.inputs
        self._preprocessing = Preprocessing(context.call.model, context.call.inputs)
        batch_size = context.call.at_most(batch_size)
        self._passes = PassRunner(self._context, batch_size)
        self._run = BatchRunner(self._saliency, batch_size, context.call.model)
        self._run_layer = BatchRunner(self._evidence, batch_size, context.call.model)
        self._forward = Forward(self._context, _FORWARD)
        self.has_feature_map = context.target_layer is not None

    def check(self, shortcuts: Shortcuts, probes: Probes) -> None:
        """Check donors and receivers against the model and the probes, before training.

        Args:
            shortcuts: The donors and receivers.
            probes: The probes.

        Raises:
            ValueError: If their size or other inputs are not those of the probes, or the model's
                outputs are not those of the task.

        Warns:
            UserWarning: If the donors are the probes, or in another range of values.
        """
        shortcuts.task.check_positions(self._context.head)
        self._check_inputs(shortcuts.receivers.extras, probes)
        shortcuts.meet(probes.images)
        if shortcuts.obstacle is not None:
            return
        inputs = shortcuts.to_input(shortcuts.receivers.pixels[:1])
        if inputs.shape[1:] != probes.images.shape[1:]:
            raise ValueError(
                "shortcuts= must hold images of the probes' shape, "
                f"{probes.images.shape[1:]}. Received: images of shape {inputs.shape[1:]}"
            )
        shortcuts.task.check_head(self._context.head, shortcuts.classes)
        ours, theirs = np.abs(probes.images).max(), np.abs(inputs).max()
        if not 0.1 < (theirs + 1e-6) / (ours + 1e-6) < 10:
            warn_user(
                "keras_saliency: shortcuts= and the probes differ in range (magnitudes up to "
                f"{theirs:.3g} and {ours:.3g}), so that one of them is not what the model is "
                "trained on. Give both as the training data are, or with the same preprocess=."
            )

    def answers(self, inputs: Any) -> np.ndarray:
        """Compute the probability of each class, of a segmentation at each place, or values.

        Args:
            inputs: Model inputs, float32 `(n, height, width, channels)`, or videos `(n, frames,
                height, width, channels)`; or a dict or tuple of these and the model's others.

        Returns:
            Probabilities `(n, classes)` or `(n, h, w, classes)` in [0, 1], or values `(n, units)`.
        """
        has_places = np.prod(self._context.head.positions, dtype=int) > 1
        compute = self._forward.maps if has_places else self._forward.answers
        return compute(*self._inputs.apart(inputs))

    def saliency_maps(self, inputs: Any, labels: np.ndarray) -> np.ndarray:
        """Compute gradient saliency of the labels' scores.

        Averaged over noise, as by SmoothGrad, the maps give the same gap of the mark.

        Args:
            inputs: As `answers` takes them.
            labels: int `(n,)`.

        Returns:
            Maps `(n, height, width)`, not negative.
        """
        images, *extras = self._inputs.apart(inputs)
        return self._run(images, labels.astype("int32"), *extras)

    def evidence(self, inputs: Any, labels: np.ndarray) -> np.ndarray:
        """Compute what feeds the labels' scores at each place of the last feature map.

        It is the positive part of activation times gradient, which a linear head sums up to the
        score, but for its bias and what speaks against the label. Large feature maps are averaged
        over a grid of 16 x 16 cells.

        Args:
            inputs: As `answers` takes them.
            labels: int `(n,)`.

        Returns:
            float32 `(n, h, w, channels)` of the layer that CAM methods read, not negative; `h` and
            `w` are at most 16.
        """
        images, *extras = self._inputs.apart(inputs)
        return self._run_layer(images, labels.astype("int32"), *extras)

    def _check_inputs(self, extras: Mapping[str | int, np.ndarray], probes: Probes) -> None:
        """Refuse inputs beside the images that are not those of the probes."""
        ours, theirs = (
            {name: rows.shape[1:] for name, rows in given.items()}
            for given in (extras, probes.extras)
        )
        if ours != theirs:
            raise ValueError(
                "shortcuts= must hold all inputs that the probes hold, of the same names and "
                "shapes: ({'image': images, ...}, labels), a row for each image. Received: "
                f"{_listed(ours)} beside the images of shortcuts=, {_listed(theirs)} beside those "
                "of the probes"
            )
        if ours and self._preprocessing.exists:
            raise ValueError(
                "shortcuts= can't follow a model whose own `preprocessor` takes more than images. "
                f"Received: model={self._context.call.model.name!r}, inputs {_listed(ours)} beside "
                "the images. Leave it out."
            )

    def _evidence(
        self, size: int, images: np.ndarray, labels: np.ndarray, *extras: np.ndarray
    ) -> np.ndarray:
        def parts(rows: Rows) -> np.ndarray:
            pixels = self._preprocessing.images(np.asarray(images[rows], "float32"))
            others = [values[rows] for values in extras]
            results = self._passes.start(_LAYER, pixels, labels[rows], *others).results
            product = results["activations"] * results["layer_gradients"]
            return ops.convert_to_numpy(_on_cells(ops.relu(product)))

        return gathered(parts, len(images), size)

    def _saliency(
        self, size: int, images: np.ndarray, labels: np.ndarray, *extras: np.ndarray
    ) -> np.ndarray:
        def maps(rows: Rows) -> np.ndarray:
            given = np.asarray(images[rows], "float32")
            pixels = self._preprocessing.images(given)
            others = [values[rows] for values in extras]
            batch = self._passes.start(_GRADIENTS, pixels, labels[rows], *others)
            result = methods.get("saliency")(ScoredModel(self._passes, batch), batch.images)
            return self._preprocessing.placed(ops.convert_to_numpy(result), given)

        return gathered(maps, len(images), size)


def _listed(shapes: Mapping[str | int, tuple[int, ...]]) -> str:
    """Name inputs with their shapes of one example."""
    return ", ".join(f"{name!r} {shape}" for name, shape in shapes.items()) or "nothing"


def _on_cells(evidence: Any) -> Any:
    """Average `(n, h, w, channels)` over the cells of a grid, where it has more."""
    grid = evidence.shape[1:3]
    if max(grid) <= _CELLS:
        return evidence
    rows, columns = (cell_shares(n, min(n, _CELLS)).astype("float32") for n in grid)
    return ops.einsum("xw,nywc->nyxc", columns, ops.einsum("yh,nhwc->nywc", rows, evidence))
