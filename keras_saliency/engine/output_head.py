"""How a model's outputs are read: classes or values, and where the logits are."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_saliency.engine.keras_private import loss_options

Of = Literal["logits", "probability", "log_probability", "value"]

_REGRESSIONS = ("mean", "mse", "mae", "mape", "msle", "huber", "cosh", "poisson", "cosine", "crps")
_SMALLEST = 1e-30  # where a probability is lower, its logarithm is finite and its gradient 0


@dataclass(frozen=True)
class Head:
    """How a model's outputs are to be read.

    Attributes:
        kind: `"softmax"` (classes exclude each other), `"sigmoid"` (they don't, or there is one
            unit for two classes) or `"values"` (no classes: regression).
        logits: Where logits come from: `"hooked"` behind a fused activation, `"outputs"` where
            the model returns them itself, or None where they can't be had.
        shape: Shape of the output without the batch.
    """

    kind: Literal["softmax", "sigmoid", "values"]
    logits: Literal["hooked", "outputs"] | None
    shape: tuple[int, ...]

    @property
    def is_binary(self) -> bool:
        """Whether one unit stands for two classes."""
        return self.kind == "sigmoid" and self.shape[-1:] == (1,)

    @property
    def classes(self) -> int:
        """How many classes the output distinguishes; for a regression, how many values it has."""
        return 2 if self.is_binary else self.shape[-1]

    def effective(self, of: Of) -> Of:
        """Return what can be computed when `of` is requested."""
        if self.kind == "values":
            return "value"
        return "log_probability" if of == "logits" and self.logits is None else of

    def quantity(self, outputs: Any, logits: Any, of: Of, *, both: bool = False) -> Any:
        """Compute what is explained, `(batch, *shape)` float32, from outputs and hooked logits.

        Of one sigmoid unit, both of its classes may be had.
        """
        outputs = ops.cast(outputs, "float32")
        if self.kind == "values":
            return outputs
        if self.logits is None:
            probability = ops.concatenate([1.0 - outputs, outputs], -1) if both else outputs
            if of == "probability":
                return probability
            return ops.log(ops.maximum(probability, _SMALLEST))
        logits = outputs if self.logits == "outputs" else ops.cast(logits, "float32")
        if both:
            logits = ops.concatenate([-logits, logits], axis=-1)
        if of == "logits":
            return logits
        if self.kind == "softmax":
            return ops.softmax(logits) if of == "probability" else ops.log_softmax(logits)
        return ops.sigmoid(logits) if of == "probability" else ops.log_sigmoid(logits)

    def by_class(self, outputs: Any, logits: Any, of: Of) -> Any:
        """Compute the same with one column a class: one sigmoid unit z becomes [-z, z]."""
        return self.quantity(outputs, logits, of, both=self.is_binary)

    def predicted(self, outputs: Any, logits: Any) -> Any:
        """Compute the predicted classes `(batch,)` int32; -1 for a regression.

        They have the highest logits, wherever there are logits: several probabilities may all be
        rounded to 1.
        """
        if self.kind == "values":
            return -ops.ones((outputs.shape[0],), "int32")
        order = self.by_class(outputs, logits, self.effective("logits"))
        order = ops.mean(order, axis=tuple(range(1, len(order.shape) - 1)))
        return ops.cast(ops.argmax(order, axis=-1), "int32")

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        """Return the probability of each class, `(batch, classes)`, or None for a regression.

        Outputs with positions, `(batch, height, width, classes)`, are averaged over them.
        """
        if self.kind == "values":
            return None
        values = outputs.astype(np.float64)
        if self.logits == "outputs":
            values = _softmax(values) if self.kind == "softmax" else 1 / (1 + np.exp(-values))
        if self.is_binary:
            values = np.concatenate([1 - values, values], axis=-1)
        return values.reshape(len(values), -1, values.shape[-1]).mean(axis=1)


def read_head(
    compiled_loss: Any,
    output_shape: tuple[int, ...],
    activation: Literal["softmax", "sigmoid"] | None,
    labels: np.ndarray | None,
    sums_to_one: Callable[[], bool],
) -> Head:
    """Find how a model's outputs are to be read.

    What decides, in this order: the activation that was hooked; the loss that the model was
    compiled with; the labels and the outputs themselves.

    Args:
        compiled_loss: The loss that the model was compiled with for this output, or None.
        output_shape: `(batch, ..., classes)` of the scored output.
        activation: `"softmax"`, `"sigmoid"` or None, as hooked.
        labels: The probes' labels, or None.
        sums_to_one: Called only if nothing else decides; computes some outputs and tells whether
            they are probabilities over the classes.

    Returns:
        The head.
    """
    shape = tuple(output_shape[1:])
    if activation is not None:
        return Head(activation, "hooked", shape)
    loss, from_logits = _described(compiled_loss, shape)
    if "binary" in loss and "crossentropy" in loss:
        return Head("sigmoid", "outputs" if from_logits else None, shape)
    if "crossentropy" not in loss and any(word in loss for word in _REGRESSIONS):
        return Head("values", None, shape)
    if shape[-1] > 1:
        return Head("softmax", "outputs" if from_logits or not sums_to_one() else None, shape)
    binary = labels is not None and labels.dtype.kind in "iu" and set(np.unique(labels)) <= {0, 1}
    return Head("sigmoid" if binary else "values", "outputs" if binary else None, shape)


def _described(loss: Any, shape: tuple[int, ...]) -> tuple[str, bool]:
    """Return a loss's name, without case and underscores, and its `from_logits`."""
    if loss is None:
        return "", False
    if isinstance(loss, str) and loss.lower() in ("crossentropy", "ce"):
        # Keras resolves which by the outputs when it first sees some.
        return ("binary" if shape[-1] == 1 else "categorical") + "crossentropy", False
    loss = keras.losses.get(loss)  # the function of a short name, such as "bce"
    options: dict[str, Any] = {}
    if isinstance(loss, keras.losses.Loss):
        options = loss_options(loss)
        loss = getattr(loss, "fn", loss)
    while isinstance(loss, functools.partial):
        options = loss.keywords | options
        loss = loss.func
    name = getattr(loss, "__name__", type(loss).__name__).lower().replace("_", "")
    return name, bool(options.get("from_logits", False))


def _softmax(values: np.ndarray) -> np.ndarray:
    shifted = np.exp(values - values.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
