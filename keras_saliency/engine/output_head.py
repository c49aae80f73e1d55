"""How a model's outputs are read: classes or values, and where the logits are."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_saliency.engine.keras_private import loss_options

Of = Literal["logits", "probability", "log_probability", "value"]
Kind = Literal["softmax", "sigmoid", "values"]
Activation = Literal["softmax", "sigmoid", "linear"]

# Parts of the names of losses, without case and underscores; the first list that fits decides.
_LOSSES: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("sigmoid", ("binary", "sigmoid", "bce", "multilabel", "asymmetric")),
    ("softmax", ("categorical", "softmax")),
    ("sigmoid", ("dice", "tversky", "jaccard")),
    ("values", ("triplet", "contrastive", "npair", "infonce", "ntxent", "siamese", "embedding")),
)
_REGRESSIONS = (
    *("meansquared", "meanabsolute", "mse", "mae", "mape", "msle", "huber", "cosh"),
    *("poisson", "cosine", "crps", "smoothl1", "pinball", "quantile"),
)
_SMALLEST = 1e-30  # where a probability is lower, its logarithm is finite and its gradient 0
_SMOOTHED = 0.25  # how far a smoothed label may be from 0 or 1


@dataclass(frozen=True)
class Head:
    """How a model's outputs are to be read.

    Attributes:
        kind: `"softmax"` (classes exclude each other), `"sigmoid"` (they don't, or there is one
            unit for two classes) or `"values"` (no classes: regression, embeddings, images).
        logits: Where logits come from: `"hooked"` behind a fused activation, `"outputs"` where
            the model returns them itself, or None where they can't be had.
        shape: Shape of the output without the batch.
        bare: Whether the output lacks an axis of units: `(batch,)`, or `(batch, height, width)`.
        is_guess: Whether nothing states what the outputs are.
    """

    kind: Kind
    logits: Literal["hooked", "outputs"] | None
    shape: tuple[int, ...]
    bare: bool = False
    is_guess: bool = field(default=False, compare=False)

    @property
    def units(self) -> int:
        """How many outputs there are at each position."""
        return 1 if self.bare else self.shape[-1]

    @property
    def positions(self) -> tuple[int, ...]:
        """Shape of the output without the batch and the units; `()` of one answer an image."""
        return self.shape if self.bare else self.shape[:-1]

    @property
    def is_binary(self) -> bool:
        """Whether one unit stands for two classes."""
        return self.kind == "sigmoid" and self.units == 1

    @property
    def classes(self) -> int:
        """How many classes the output distinguishes; for a regression, how many values it has."""
        return 2 if self.is_binary else self.units

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
        logits = ops.cast(logits, "float32") if self.logits == "hooked" else outputs
        if self.bare:  # which the layer that is hooked need not be
            logits = ops.reshape(logits, ops.shape(outputs))
        if both and self.bare:
            outputs, logits = outputs[..., None], logits[..., None]
        if self.logits is None:
            probability = ops.concatenate([1.0 - outputs, outputs], -1) if both else outputs
            if of == "probability":
                return probability
            return ops.log(ops.maximum(probability, _SMALLEST))
        if both:
            logits = ops.concatenate([-logits, logits], axis=-1)
        if of == "logits":
            return logits
        if self.kind == "softmax":
            return ops.softmax(logits) if of == "probability" else ops.log_softmax(logits)
        return ops.sigmoid(logits) if of == "probability" else ops.log_sigmoid(logits)

    def by_class(self, outputs: Any, logits: Any, of: Of) -> Any:
        """Compute the same with one column a class: one sigmoid unit z becomes [-z, z]."""
        quantity = self.quantity(outputs, logits, of, both=self.is_binary)
        return quantity[..., None] if self.bare and not self.is_binary else quantity

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
        values = self.probability_maps(outputs)
        if values is None:
            return None
        return values.reshape(len(values), -1, values.shape[-1]).mean(axis=1)

    def probability_maps(self, outputs: np.ndarray) -> np.ndarray | None:
        """Return the probability of each class at each position, or None for a regression."""
        if self.kind == "values":
            return None
        values = outputs.astype(np.float64)
        values = values[..., None] if self.bare else values
        if self.logits == "outputs":
            values = (
                _softmax(values) if self.kind == "softmax" else np.exp(-np.logaddexp(0, -values))
            )
        if self.is_binary:
            values = np.concatenate([1 - values, values], axis=-1)
        return values


def read_head(
    stated: Kind | None,
    compiled_loss: Any,
    output_shape: tuple[int, ...],
    activation: Activation | None,
    labels: np.ndarray | None,
    image_shape: tuple[int, ...],
    outputs_of: Callable[[], np.ndarray],
    *,
    of_classes: bool = False,
) -> Head:
    """Find how a model's outputs are to be read.

    What decides, in this order: what the target states; a softmax that was hooked; the loss that
    the model was compiled with; the output's shape; a sigmoid that was hooked; the labels; and the
    outputs themselves.

    Args:
        stated: The kind of the head, where it is stated.
        compiled_loss: The loss that the model was compiled with for this output, or None.
        output_shape: `(batch, ..., units)` of the scored output, or without units.
        activation: `"softmax"` or `"sigmoid"` as hooked, `"linear"` where a dense or convolutional
            layer without any makes the output, or None.
        labels: The probes' labels, or None.
        image_shape: `(batch, ..., channels)` of the images.
        outputs_of: Called only if it is needed; computes some outputs.
        of_classes: Whether something is asked for that only classes have.

    Returns:
        The head.

    Raises:
        ValueError: If what is stated contradicts the activation.
    """
    shape = tuple(output_shape[1:])
    grid = tuple(image_shape[1:-1])
    head = Head("values", None, shape, bare=not shape or (len(grid) > 1 and shape == grid))
    loss, from_logits = describe_loss(compiled_loss, head.units)
    if stated is None:
        kind, is_guess = _kind(head, loss, activation, labels, tuple(image_shape[1:]), outputs_of)
    else:
        kind, is_guess = _checked(stated, head, activation), False
    if of_classes and is_guess and kind == "values":
        kind = "sigmoid" if activation == "sigmoid" or head.units == 1 else "softmax"
    head = replace(head, kind=kind, is_guess=is_guess)
    if kind == "values":
        return head
    if activation in ("softmax", "sigmoid"):
        return replace(head, logits="hooked")
    by_loss = kind == "sigmoid" and "crossentropy" in loss
    if from_logits or not (by_loss or _are_probabilities(kind, activation, outputs_of)):
        return replace(head, logits="outputs")
    return head


def _checked(stated: Kind, head: Head, activation: Activation | None) -> Kind:
    """Return what is stated, or raise a ValueError where it contradicts the model."""
    is_other = activation not in (None, "linear", stated)
    if stated != "values" and (is_other or (stated == "softmax" and head.units == 1)):
        output = f"a {activation}" if is_other else "one unit, of which a softmax is always 1"
        raise ValueError(
            f"head={stated!r} contradicts the model, whose output is {output}. Leave `head` out, "
            "or give head='values' if the outputs are no probabilities of classes."
        )
    return stated


def _kind(
    head: Head,
    loss: str,
    activation: Activation | None,
    labels: np.ndarray | None,
    image_shape: tuple[int, ...],
    outputs_of: Callable[[], np.ndarray],
) -> tuple[Kind, bool]:
    """Find the kind of a head, and whether that is a guess."""
    by_labels, by_loss = _kind_by_labels(labels, head.units), _kind_by_loss(loss)
    if activation == "softmax":
        return "softmax", False
    if by_loss == "values":
        is_classes = activation == "sigmoid" and by_labels == "sigmoid"
        return ("sigmoid", True) if is_classes else ("values", False)
    if by_loss != "softmax" and _is_image(head, loss, image_shape) and by_labels != "sigmoid":
        return "values", True
    if activation == "sigmoid":
        is_value = by_loss is None and by_labels == "values"
        return ("values", True) if is_value else ("sigmoid", False)
    if (kind := by_loss or by_labels) is not None:
        return kind, by_loss is None and head.units == 1
    if head.units == 1:
        return ("sigmoid", False) if "crossentropy" in loss else ("values", True)
    if _are_probabilities("softmax", activation, outputs_of):
        return "softmax", False
    is_linear = activation == "linear"
    return "softmax" if is_linear or not _have_unit_length(outputs_of()) else "values", True


def _kind_by_loss(loss: str) -> Kind | None:
    """Return what a loss is for, by its name."""
    if "crossentropy" not in loss and any(word in loss for word in _REGRESSIONS):
        return "values"
    return next((kind for kind, words in _LOSSES if any(word in loss for word in words)), None)


def _kind_by_labels(labels: np.ndarray | None, units: int) -> Kind | None:
    """Return what labels tell of a model's outputs: classes don't tell whether they exclude."""
    if labels is None or (labels.ndim == 2 and labels.shape[1] != units):
        return None
    if labels.ndim == 2:
        near = np.minimum(np.abs(labels), np.abs(labels - 1)) <= _SMOOTHED
        return "sigmoid" if near.all() else "values"
    if labels.dtype.kind not in "iu" or labels.max(initial=0) >= max(2, units):
        return "values"
    return "sigmoid" if units == 1 else None


def _is_image(head: Head, loss: str, image_shape: tuple[int, ...]) -> bool:
    """Tell whether the output has the shape of the images, or as many numbers, as a decoder's."""
    is_flat = head.shape == (math.prod(image_shape),)
    of_classes = any(word in loss for word in ("dice", "tversky", "jaccard", "iou", "focal"))
    return (is_flat or head.shape == image_shape) and not of_classes


def _are_probabilities(
    kind: Kind, activation: Activation | None, outputs_of: Callable[[], np.ndarray]
) -> bool:
    """Tell whether outputs are probabilities, as far as the first of them show."""
    if activation == "linear":
        return False
    outputs = outputs_of()
    within = bool((outputs >= 0).all() and (outputs <= 1.01).all())
    if kind == "sigmoid":
        return within and bool(outputs.any())
    return within and np.allclose(outputs.sum(axis=-1), 1.0, atol=1e-2)


def _have_unit_length(outputs: np.ndarray) -> bool:
    return np.allclose((outputs**2).sum(axis=-1), 1.0, atol=1e-3)


def describe_loss(loss: Any, units: int) -> tuple[str, bool]:
    """Return a loss's name, without case and underscores, and its `from_logits`."""
    if loss is None:
        return "", False
    if isinstance(loss, str) and loss.lower() in ("crossentropy", "ce"):
        # Keras resolves which by the outputs when it first sees some.
        return ("binary" if units == 1 else "categorical") + "crossentropy", False
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
