"""One pass through a model: the forward pass, and the backward pass if it is needed."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.attention import (
    AttentionScores,
    met_attention,
    positive_products,
    self_attention,
)
from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.target_layer import TargetLayer, hooked

LAYER_QUANTITIES = frozenset({"activations", "layer_gradients"})
ATTENTION_QUANTITIES = frozenset({"attentions", "attention_x_gradient"})
AROUND = "gradients_around_layer"  # those at the images while the target layer's output is held
FACTS = ("scores", "classes", "predicted", "outputs", "detail")  # of every pass
_GRADIENT_FREE = "'occlusion', 'rise', 'score_cam', 'ablation_cam' or 'eigen_cam'"


@dataclass(frozen=True)
class Batch:
    """Images that go through the model together, and what has been computed of them.

    Attributes:
        images: A tensor `(batch, height, width, channels)`.
        inputs: What goes in beside them: what the target knows of each image, and the model's
            other inputs, tensors `(batch, ...)`.
        results: What has been computed, by the name of the quantity.
        requested: The quantities that were requested of such batches: the next pass computes all.
        inside: Names of the methods whose maps the pass has made.
    """

    images: Any
    inputs: tuple[Any, ...]
    results: dict[str, Any] = field(default_factory=dict)
    requested: set[str] = field(default_factory=set)
    inside: tuple[str, ...] = ()

    def inputs_of(self, rows: np.ndarray) -> tuple[Any, ...]:
        """Return what goes in beside images that stand for these of the batch."""
        return tuple(ops.take(values, rows, axis=0) for values in self.inputs)

    def fetch(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return facts about the images, and the maps that their pass made, by method.

        The facts are scores, classes, predicted classes and the model's own outputs. All come
        from the device in one transfer, but for outputs of another type than float32.
        """
        flat, *parts = self.results["packed"]
        shapes = [tuple(part.shape) for part in parts]
        split = np.split(ops.convert_to_numpy(flat), np.cumsum([*map(math.prod, shapes)])[:-1])
        arrays = [values.reshape(shape) for values, shape in zip(split, shapes, strict=True)]
        scores, classes, predicted, *maps = arrays[: 3 + len(self.inside)]
        outputs = arrays[len(maps) + 3 :] or [ops.convert_to_numpy(self.results["outputs"])]
        facts = {"scores": scores, "outputs": outputs[0]}
        facts |= {"classes": classes.astype("int32"), "predicted": predicted.astype("int32")}
        return facts, dict(zip(self.inside, maps, strict=True))


def packed(results: dict[str, Any], maps: list[Any]) -> list[Any]:
    """Concatenate facts and maps into one tensor, followed by themselves, which tell the shapes."""
    parts = [results["scores"], results["classes"], results["predicted"], *maps]
    if keras.backend.standardize_dtype(results["outputs"].dtype) == "float32":
        parts.append(results["outputs"])
    flat = [ops.reshape(ops.cast(part, "float32"), (-1,)) for part in parts]
    return [ops.concatenate(flat), *parts]


def pass_function(context: ModelContext, quantities: frozenset[str]) -> Callable[..., Any]:
    """Write the function of one pass: the forward pass, and a backward pass if one is needed.

    It takes a factor for each image's score, images, what the target knows of each, the model's
    other inputs, and, if there are any, gates of the layer's channels.
    """
    extra_inputs = max(len(context.call.inputs.names) - 1, 0)
    at_images = AROUND if AROUND in quantities else "input_gradients"
    attending = attention_calls(context) if "attention_x_gradient" in quantities else []
    at_attention = [f"attention {index}" for index in range(len(attending))]

    def compute(scales: Any, images: Any, detail: Any, *rest: Any) -> dict[str, Any]:
        extras, gates = rest[:extra_inputs], next(iter(rest[extra_inputs:]), None)
        points: dict[str, Any] = {}
        needs_layer = gates is not None or quantities & {*LAYER_QUANTITIES, AROUND}
        layer = context.target_layer if needs_layer else None
        if at_images in quantities:
            points[at_images] = images
        if layer is not None and "layer_gradients" in quantities:
            # What is added to the layer's output has the gradient of the layer's output.
            shape = (layer.shape[0] * context.call.rows(images), *layer.shape[1:])
            points["layer_gradients"] = ops.zeros(shape, layer.dtype)
        rows = context.call.rows(images)
        points |= zip(at_attention, (call.zeros(rows) for call in attending), strict=True)

        def scored(points: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            collected: Any = nullcontext([])
            if not quantities.isdisjoint(ATTENTION_QUANTITIES):
                added = [points[name] for name in at_attention] or None
                collected = met_attention(context.call.model, context.trace, added)
            filled = None if gates is None else context.call.filled(gates)
            with (
                hooked(layer, context.logits, _changing(layer, points, filled)) as seen,
                _held(context) if AROUND in points else nullcontext(),
                collected as attention,
            ):
                outputs = context.call(points.get(at_images, images), *extras)
            count, kept = images.shape[0], context.call.kept
            logits = kept(seen.logits[context.logits.number], count) if context.logits else None
            resolved = context.target.resolved(context.head, outputs, logits, detail)
            scores, classes = context.target.score(context.head, outputs, logits, resolved)
            predicted = context.head.predicted(outputs, logits)
            results = {"scores": scores, "classes": classes, "predicted": predicted}
            results |= {"outputs": outputs, "detail": resolved}
            if layer is not None:
                maps = kept(layer.layout.to_map(seen.outputs), count * layer.shape[0])
                results["activations"] = ops.cast(maps, "float32")
            if "attentions" in quantities:
                results["attentions"] = _stacked(context, attention, images)
            if attending:
                results["attention scores"] = [met.values for met in attention]
            return scores * scales, results

        if not points:
            return scored({})[1]
        _, results, grads = backend.gradients(scored, points)
        if AROUND in points and grads[AROUND] is None:
            grads[AROUND] = ops.zeros_like(images)
        if attending:
            slopes, values = [grads.pop(n) for n in at_attention], results.pop("attention scores")
            products = positive_products(attending, values, slopes)
            grads["attention_x_gradient"] = products and _stacked(context, products, images)
        connected = {name: _connected(name, grad, context) for name, grad in grads.items()}
        if layer is not None and "layer_gradients" in connected:
            count = images.shape[0] * layer.shape[0]
            connected["layer_gradients"] = context.call.kept(connected["layer_gradients"], count)
        return results | {name: _unscaled(grad, scales) for name, grad in connected.items()}

    return compute


def _changing(
    layer: TargetLayer | None, points: dict[str, Any], gates: Any
) -> Callable[[Any, int], Any]:
    """Return what changes the output of a layer: gates, and what its gradients are taken at."""

    def changed(output: Any, frame: int) -> Any:
        if AROUND in points:
            output = ops.stop_gradient(output)
        if layer is not None and gates is not None:
            output = layer.layout.gated(output, gates)
        if layer is not None and "layer_gradients" in points:
            added = points["layer_gradients"]
            output = output + layer.layout.from_map(added, frame, output.shape)
        return output

    return changed


@contextmanager
def _held(context: ModelContext) -> Iterator[None]:
    """Hold what is read beside the target layer's output, so that gradients pass all of it by."""
    with ExitStack() as hooks, _extra_tokens_held(context):
        for layer in context.beside:
            hooks.enter_context(
                hooked(layer, None, lambda output, frame: ops.stop_gradient(output))
            )
        yield


def _extra_tokens_held(context: ModelContext) -> Any:
    """Hold tokens outside the grid, such as the class's, in what the target layer takes.

    A residual connection carries them past the layer, and no layer's map shows them.
    """
    layer = context.target_layer
    extra = layer.layout.extra_tokens(layer.output_shape) if layer else 0
    source = layer.source_in(context.trace) if layer and extra else None

    def held(tokens: Any, frame: int) -> Any:
        return ops.concatenate([ops.stop_gradient(tokens[:, :extra]), tokens[:, extra:]], axis=1)

    return hooked(source, None, held) if source else nullcontext()


def _stacked(context: ModelContext, attention: list[AttentionScores], images: Any) -> Any:
    """Stack the self-attention of images, `(batch, layers, tokens, tokens)`."""
    call = context.call
    stacked = self_attention(attention, call.rows(images), call.model.name)
    return call.kept(stacked, images.shape[0])


def attention_calls(context: ModelContext) -> list[AttentionScores]:
    """Find the model's calls of attention for one image, with symbolic scores."""
    call, found = context.call, []

    def forward(images: Any, *extras: Any) -> None:
        with met_attention(call.model, context.trace) as attention:
            call(images, *extras)
        found.append([met.symbolic(call.rows(images)) for met in attention])

    backend.traced(forward, call.model, *context.example)
    return found[-1]


def attention_shape(context: ModelContext, count: int) -> tuple[int, ...]:
    """Find the shape of the stacked self-attention of so many images."""
    _, *shape = self_attention(attention_calls(context), 1, context.call.model.name).shape
    return (count, *shape)


def _unscaled(gradient: Any, scales: Any) -> Any:
    """Take the factors of the images' scores out of their gradients."""
    each = ops.reshape(scales, (-1, *[1] * len(gradient.shape[1:])))
    return gradient / ops.repeat(each, gradient.shape[0] // scales.shape[0], axis=0)


def _connected(quantity: str, gradient: Any, context: ModelContext) -> Any:
    """Return a gradient in float32, or raise where the score does not depend on the point."""
    if gradient is not None:
        return ops.cast(gradient, "float32")
    if quantity == "layer_gradients" and context.target_layer is not None:
        raise ValueError(
            f"The score does not depend on layer {context.target_layer.name!r}, or the model stops "
            "the gradient behind it, so that there is no gradient. Name a layer on the way to the "
            "explained output with layer=, or take a method without gradients, "
            f"{_GRADIENT_FREE}."
        )
    if quantity == "attention_x_gradient":
        raise ValueError(
            "The score has no gradient at the model's attention: no layer of attention is on the "
            "way to the explained output, or the model stops the gradient behind it. Take "
            "'attention_rollout', which needs none."
        )
    raise ValueError(
        "The score has no gradient at the images: the model turns them into integers, or stops "
        f"the gradient. Take a method without gradients, {_GRADIENT_FREE}, or one with gradients "
        "at a layer behind that place, such as 'grad_cam'."
    )
