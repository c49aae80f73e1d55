"""What is explained: which part of the head's quantity (logit, probability) is scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.validation import check_call, check_choice
from keras_saliency.engine.boxes import Boxes
from keras_saliency.engine.output_head import Head, Kind, Of

What = str | int | Sequence[int] | np.ndarray | Boxes | Callable[..., Any]

_OF = ("logits", "probability", "log_probability")
_HEADS = ("softmax", "sigmoid", "values")
_NAMED = ("label", "predicted", "contrast")


@dataclass(frozen=True)
class Target:
    """What is explained: which score, and of what it is computed.

    Args:
        what: `"label"` (the probe's own class), `"predicted"`, `"contrast"` (the label, or without
            labels the predicted class, minus the runner-up; of one sigmoid unit the logit, which
            is that difference already), a class index, one class index per image, an array of the
            shape of the output (the weights of a linear combination of outputs, or a mask of them)
            or `(batch, *output shape)`, `Boxes` of an object detector, or a callable `(outputs
            (batch, ...), labels) -> scores (batch,)` in `keras.ops`.
        of: `"logits"`, `"probability"` or `"log_probability"`. Where a model's logits can't be
            hooked, the log probability takes their place and is named in the results.
        region: For models that give classes at each position: where the class is explained.
            `"predicted"` is where the model sees that class, an array of the output's positions,
            `(height, width)` or `(batch, height, width)`, weighs each of them; None takes all of
            them. The score is the mean over the region.
        output: Which output of a model of several: its name (the key of a dict, the name of the
            output layer) or its place. The probes' labels are labels of this output.
        head: What the outputs are: `"softmax"` (classes that exclude each other, as logits or
            probabilities), `"sigmoid"` (classes that don't, or one unit for two classes) or
            `"values"` (a regression, an embedding, an image). None finds it by the loss, the last
            activation and the labels; where these leave it open, the callback prints what it
            assumes.

    Raises:
        ValueError: An unknown name in `what`, `of`, `region` or `head`.
        TypeError: `what` is none of the kinds above.

    Example:
        >>> import keras_saliency as ks
        >>> ks.Target("label", of="probability")
        Target(what='label', of='probability', region=None, output=None, head=None)
    """

    what: What = "label"
    of: Of = "logits"
    region: str | np.ndarray | None = None
    output: str | int | None = None
    head: Kind | None = None

    def __post_init__(self) -> None:
        check_choice(self.of, "of", _OF)
        if self.head is not None:
            check_choice(self.head, "head", _HEADS)
        if isinstance(self.region, str) and self.region != "predicted":
            raise ValueError(
                "region must be 'predicted', an array over the output's positions, or None. "
                f"Received: region={self.region!r}"
            )
        if isinstance(self.what, str) and self.what not in _NAMED:
            raise ValueError(
                f"target must be one of {', '.join(_NAMED)}, a class index, one index per image, "
                f"an array of output weights, or a callable. Received: target={self.what!r}"
            )
        if isinstance(self.what, Boxes) and self.region is not None:
            raise ValueError(
                "region= is for models with classes at each position, and Boxes choose theirs. "
                f"Received: region={self.region!r} beside Boxes. Leave `region` out."
            )
        if not callable(self.what) and not isinstance(self.what, (str, Boxes)):
            array = np.asarray(self.what)
            if array.dtype.kind not in ("iufb" if array.ndim else "iuf"):
                raise TypeError(
                    "target must be one of the names, a class index, one index per image, an array "
                    f"of output weights, or a callable. Received: target={self.what!r}"
                )
            if not np.isfinite(array).all():
                raise ValueError(
                    "A target's weights must be finite numbers. Received: NaN or infinity in "
                    f"target of shape {array.shape}"
                )
        if callable(self.what):
            check_call(self.what, ("outputs", "labels"), "A target function")

    @property
    def is_of_classes(self) -> bool:
        """Whether something is asked for that only outputs of classes have."""
        if isinstance(self.what, (str, Boxes)) or callable(self.what):
            is_class = isinstance(self.what, Boxes) or self.what == "contrast"
        else:
            array = np.asarray(self.what)
            is_class = array.ndim <= 1 and array.dtype.kind in "iu" and bool((array > 0).any())
        return is_class or self.of != "logits" or self.region is not None

    @classmethod
    def of_any(
        cls, target: "Target | What", of: Of | None = None, default: Of = "logits"
    ) -> "Target":
        """Return what a caller gave as a `Target`, whose own `of` counts.

        Args:
            target: A `Target`, or what its `what` takes.
            of: What is explained, or None where the caller said nothing.
            default: What is explained then.

        Returns:
            A `Target`.

        Raises:
            ValueError: `of` contradicts the `Target`.
            TypeError: `target` is of a wrong kind.
        """
        if not isinstance(target, Target):
            return cls(target, default if of is None else of)
        if of not in (None, target.of):
            raise ValueError(
                "of= is for targets that are no Target, which says it itself. Received: "
                f"of={of!r} beside Target(..., of={target.of!r}). Give Target(..., of={of!r}) "
                "alone."
            )
        return target


@dataclass(frozen=True)
class ResolvedTarget:
    """A target resolved for one model and one set of images.

    Attributes:
        of: What the scores are, as far as the model gives it.
        detail: What the score needs to know about each image, `(n, ...)`: classes or weights;
            negative where the model's outputs for the image decide. Of a class another one may be
            subtracted: see `against`.
        classes: Whether the score is that of one class an image, returned second by `score`, and
            of no other: a contrast is not.
    """

    of: Of
    detail: np.ndarray
    classes: bool
    _score: Callable[..., Any]
    _resolve: Callable[..., Any] = lambda head, outputs, logits, of, detail: detail

    def against(self, head: Head, classes: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return the `detail` of the scores of some classes minus those of others.

        A pass that is traced for this target takes it: it has the shape and type of `detail`.

        Args:
            head: The head that the target is resolved for.
            classes: The classes explained, int `(n,)`.
            others: The class that is subtracted from each, int `(n,)`.

        Returns:
            int `(n,)`, of a target whose score is that of one class an image.
        """
        return (classes + head.classes * (others + 1)).astype(self.detail.dtype)

    def resolved(self, head: Head, outputs: Any, logits: Any, detail: Any) -> Any:
        """Return `detail` with what the outputs decide.

        What was predicted for an image is what its perturbed images are then scored for.
        """
        return self._resolve(head, outputs, logits, self.of, detail)

    def score(self, head: Head, outputs: Any, logits: Any, detail: Any) -> tuple[Any, Any]:
        """Compute scores `(batch,)` float32 and the classes explained `(batch,)`, or -1."""
        scores, classes = self._score(head, outputs, logits, self.of, detail)
        return ops.cast(scores, "float32"), ops.cast(classes, "int32")


def resolve_target(
    target: Target, head: Head, labels: np.ndarray | None, count: int
) -> ResolvedTarget:
    """Resolve a target for a head and the probes.

    Args:
        target: What is explained.
        head: How the model's outputs are read.
        labels: Classes `(n,)`, several classes `(n, classes)`, values `(n,)` or None.
        count: n, the number of probes.

    Returns:
        The resolved target.

    Raises:
        ValueError: Labels, classes or weights that do not fit the head.
    """
    of = head.effective(target.of)
    if head.kind == "values" and target.of != "logits":
        raise ValueError(
            f"of={target.of!r} needs a model that gives probabilities of classes. Received: a "
            "model for values (regression). Leave `of` out."
        )
    what = target.what
    if target.region is not None:
        return _in_region(target, head, labels, count, of)
    if callable(what):
        known = np.zeros(count, "int32") if labels is None else labels
        return ResolvedTarget(of, known, False, partial(_called, what))
    if isinstance(what, Boxes):
        return ResolvedTarget(of, what.marks(head, count), False, what.score, what.resolved)
    if isinstance(what, str):
        return _named(what, head, labels, count, of)
    array = np.asarray(what)
    if array.dtype.kind in "iu" and array.ndim <= 1:
        return ResolvedTarget(of, _class_indices(array, head, count), True, _of_class)
    return ResolvedTarget(of, _weights(array, head, count), False, _weighted)


def against_similar(
    target: ResolvedTarget, head: Head, count: int, strength: float
) -> ResolvedTarget:
    """Subtract from the score of a class that of the `count` classes with the nearest scores."""
    if not target.classes or head.classes < 2:
        raise ValueError(
            "'finer_cam' compares classes by itself: target 'label', 'predicted' or class indices. "
            f"Received: another target, such as 'contrast', or a model whose output has shape "
            f"{head.shape}. Use 'grad_cam'."
        )
    rivals = min(count, head.classes - 1)
    return replace(target, _score=partial(_less_similar, count=rivals, strength=strength))


def check_labels(labels: np.ndarray, head: Head) -> np.ndarray:
    """Return labels that fit a head, or raise a ValueError that says what would."""
    if labels.ndim == 2:
        if labels.shape[1] != head.units:
            raise ValueError(
                f"labels must have one column for each of the model's {head.units} outputs. "
                f"Received: labels.shape={labels.shape}"
            )
        return labels
    return labels if head.kind == "values" else _classes(labels, head, "labels")


def _named(what: str, head: Head, labels: np.ndarray | None, count: int, of: Of) -> ResolvedTarget:
    nothing = np.full(count, -1, "int32")
    if labels is not None:
        labels = check_labels(labels, head)
    if head.kind == "values":
        if what == "contrast":
            raise ValueError(
                "target='contrast' compares classes, and the model gives values (regression). "
                f"Received: an output of shape {head.shape}. Use 'predicted', the index of an "
                "output, or an array of output weights; if these are classes, state it: "
                "ks.Target('contrast', head='softmax')."
            )
        return ResolvedTarget(of, nothing, False, _mean_of_values)
    contrast = what == "contrast"
    score = _contrast if contrast else _of_class
    if contrast and head.classes < 2:
        raise ValueError(
            "target='contrast' compares classes, and the model has only one. Received: an output "
            f"of shape {head.shape}. Use 'predicted' or an array of output weights."
        )
    if what == "predicted" or labels is None:
        return ResolvedTarget(of, nothing, not contrast, score, _predicted)
    if labels.ndim == 2:
        if contrast:
            raise ValueError(
                "target='contrast' needs one class a probe. Received: "
                f"labels.shape={labels.shape}, several classes each. Use 'label' or 'predicted'."
            )
        return ResolvedTarget(of, labels.astype("float32"), False, _weighted)
    return ResolvedTarget(of, labels, not contrast, score)


def _in_region(
    target: Target, head: Head, labels: np.ndarray | None, count: int, of: Of
) -> ResolvedTarget:
    """Resolve one class an image, explained in a region of the output's positions."""
    positions = head.positions
    if not positions or head.kind == "values":
        raise ValueError(
            "region= needs a model that gives classes at each position (segmentation). Received: "
            f"an output of shape {head.shape}. Leave `region` out."
        )
    what = labels if isinstance(target.what, str) and target.what == "label" else target.what
    array = np.asarray(what)
    if callable(what) or array.dtype.kind not in "iu" or array.ndim > 1:
        raise ValueError(
            "region= explains one class an image: a class index, one per image, or 'label' with "
            f"such labels. Received: target={target.what!r}. Leave `region` out."
        )
    chosen = np.eye(head.classes)[_class_indices(array, head, count)]
    chosen = chosen.reshape(count, *[1] * len(positions), -1)
    region = _region(target.region, positions, count)[..., None]
    weights = (region * chosen).astype("float32")
    return ResolvedTarget(of, weights, False, _averaged, _where_predicted)


# How a resolved target scores: `(head, outputs, logits, of, detail) -> scores, classes`.


def _of_class(head: Head, outputs: Any, logits: Any, of: Of, detail: Any) -> tuple[Any, Any]:
    classes, other = detail % head.classes, detail // head.classes - 1  # -1 for none
    quantity, _, own = _rivals(head, outputs, logits, of, classes)
    subtracted = quantity * ops.one_hot(other, quantity.shape[-1], dtype="float32")
    return own - ops.sum(subtracted, axis=-1), classes


def _contrast(head: Head, outputs: Any, logits: Any, of: Of, classes: Any) -> tuple[Any, Any]:
    quantity, chosen, own = _rivals(head, outputs, logits, of, classes)
    return own - ops.max(quantity - 1e9 * chosen, axis=-1), classes


def _less_similar(
    head: Head, outputs: Any, logits: Any, of: Of, classes: Any, *, count: int, strength: float
) -> tuple[Any, Any]:
    quantity, chosen, own = _rivals(head, outputs, logits, of, classes)
    _, similar = ops.top_k(-ops.abs(quantity - own[:, None]) - 1e9 * chosen, count)
    others = ops.mean(ops.take_along_axis(quantity, similar, axis=-1), axis=-1)
    return own - strength * others, classes


def _called(
    function: Callable[..., Any], head: Head, outputs: Any, logits: Any, of: Of, labels: Any
) -> tuple[Any, Any]:
    scores = function(head.quantity(outputs, logits, of), labels)
    shape = getattr(scores, "shape", None)
    if shape is None or tuple(shape) != (outputs.shape[0],):
        received = type(scores).__name__ if shape is None else f"shape {tuple(shape)}"
        raise ValueError(
            "A target function must return one score per image, shape "
            f"({outputs.shape[0]},). Received: {received}"
        )
    return scores, _no_class(outputs)


def _weighted(head: Head, outputs: Any, logits: Any, of: Of, weights: Any) -> tuple[Any, Any]:
    products = head.quantity(outputs, logits, of) * ops.cast(weights, "float32")
    return ops.sum(_flat(products), axis=1), _no_class(outputs)


def _averaged(head: Head, outputs: Any, logits: Any, of: Of, weights: Any) -> tuple[Any, Any]:
    products = head.by_class(outputs, logits, of) * weights
    everywhere = tuple(range(1, len(products.shape)))
    area = ops.sum(weights, axis=everywhere)
    scores = ops.sum(products, axis=everywhere) / ops.where(area > 0, area, 1.0)
    return scores, ops.argmax(ops.sum(weights, axis=everywhere[:-1]), axis=-1)


def _mean_of_values(head: Head, outputs: Any, logits: Any, of: Of, _: Any) -> tuple[Any, Any]:
    values = head.quantity(outputs, logits, of)
    return ops.mean(_flat(values), axis=1), _no_class(outputs)


# How outputs decide what a target leaves open: `(head, outputs, logits, of, detail) -> detail`.


def _predicted(head: Head, outputs: Any, logits: Any, of: Of, classes: Any) -> Any:
    """Replace negative classes by those that are predicted."""
    classes = ops.cast(classes, "int32")
    return ops.where(classes < 0, head.predicted(outputs, logits), classes)


def _where_predicted(head: Head, outputs: Any, logits: Any, of: Of, weights: Any) -> Any:
    """Replace negative weights `(batch, *positions, classes)`: 1 where the class is predicted."""
    if head.kind == "sigmoid":
        predicted = head.by_class(outputs, logits, "probability") > 0.5
    else:
        order = head.by_class(outputs, logits, head.effective("logits"))
        predicted = ops.one_hot(ops.argmax(order, axis=-1), head.classes)
    return ops.where(weights < 0, ops.cast(predicted, "float32"), weights)


def _flat(values: Any) -> Any:
    return ops.reshape(values, (values.shape[0], -1))


def _no_class(outputs: Any) -> Any:
    return -ops.ones((outputs.shape[0],), "int32")


def _over_positions(quantity: Any) -> Any:
    """Average `(batch, *positions, classes)` over the positions."""
    return ops.mean(quantity, axis=tuple(range(1, len(quantity.shape) - 1)))


def _rivals(head: Head, outputs: Any, logits: Any, of: Of, classes: Any) -> tuple[Any, Any, Any]:
    """Return the scores of all classes, averaged over positions, the chosen one-hot, and its own.

    The logit of one sigmoid unit is the lead of its class over the other, whose own is then 0.
    """
    quantity = _over_positions(head.by_class(outputs, logits, of))
    chosen = ops.one_hot(classes, quantity.shape[-1], dtype="float32")
    own = quantity * chosen
    return own if head.is_binary and of == "logits" else quantity, chosen, ops.sum(own, axis=-1)


def _class_indices(array: np.ndarray, head: Head, count: int) -> np.ndarray:
    """Return a class index for each image out of one for all, or one each."""
    if array.ndim == 1 and len(array) != count:
        raise ValueError(
            f"target must hold one class index per image, {count} in all. "
            f"Received: target of length {len(array)}. If these are weights of outputs, give "
            "them as floats."
        )
    return _classes(np.broadcast_to(array, (count,)), head, "target")


def _region(region: Any, positions: tuple[int, ...], count: int) -> np.ndarray:
    """Return the weight of each position, `(n, *positions)`; -1 where the prediction decides."""
    if isinstance(region, str):
        return np.full((count, *positions), -1.0)
    array = np.asarray(region)
    if array.dtype.kind not in "iufb" or array.shape not in (positions, (count, *positions)):
        raise ValueError(
            f"region must be 'predicted', or weigh the output's positions, {positions}, or those "
            f"of each image, {(count, *positions)}. Received: region of shape {array.shape}"
        )
    if not (array >= 0).all() or not array.any():
        raise ValueError(
            "region must hold weights from 0, and some above it. Received: values from "
            f"{array.min()} to {array.max()}"
        )
    return np.broadcast_to(array, (count, *positions))


def _classes(classes: np.ndarray, head: Head, name: str) -> np.ndarray:
    wrong = (classes < 0) | (classes >= head.classes) | (classes != np.floor(classes))
    if wrong.any():
        raise ValueError(
            f"{name} must be class indices from 0 to {head.classes - 1}, for a model whose output "
            f"has shape {head.shape}. Received: {classes[wrong][0]:g}"
        )
    return classes.astype("int32")


def _weights(array: np.ndarray, head: Head, count: int) -> np.ndarray:
    if head.bare and array.shape[-1:] == (1,):
        array = array[..., 0]
    if array.shape == head.shape:
        array = np.broadcast_to(array, (count, *head.shape))
    if array.shape != (count, *head.shape):
        raise ValueError(
            f"An array target must have the shape of the output, {head.shape}, or one such array "
            f"per image, {(count, *head.shape)}. Received: target.shape={array.shape}"
        )
    return array.astype("float32")
