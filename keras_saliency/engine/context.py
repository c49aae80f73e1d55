"""What is resolved once for a model and its probes, before anything is computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.batching import BatchRunner
from keras_saliency.engine.connection import leads_around, lies_between, seen_extents
from keras_saliency.engine.dataflow import Dataflow
from keras_saliency.engine.keras_private import flatten_layers
from keras_saliency.engine.model_call import ModelCall
from keras_saliency.engine.model_inputs import takes_channels_first
from keras_saliency.engine.output_head import Head, read_head
from keras_saliency.engine.placement import Placement, extents_of, refined
from keras_saliency.engine.target_layer import (
    LayerChoice,
    LogitLayer,
    TargetLayer,
    choose,
    is_linear,
    logits_behind,
)
from keras_saliency.engine.targets import ResolvedTarget, Target, resolve_target
from keras_saliency.engine.tokens import measured_grid, tokens_read
from keras_saliency.engine.tracing import Trace


@dataclass(frozen=True)
class ModelContext:
    """How a model is evaluated for its probes.

    Attributes:
        call: How the model is called.
        trace: A forward pass of it, without the calls that its graph shows elsewhere than between
            the images and the output.
        dataflow: What leads there from the images, or None where no graph tells.
        example: One image, and the model's other inputs with it.
        head: How its outputs are read.
        target: What is explained.
        logits: The layer that turns logits into probabilities, or None.
        target_layer: The layer whose output CAM methods read, or None.
        beside: Further layers that are read; what passes by all of them is missed by their maps.
        why_no_layer: The message of the error where there is no such layer.
        tokens_read: Measures which of so many tokens the head reads, `(count,)` bool; None where
            that can't be told.
    """

    call: ModelCall
    trace: Trace
    dataflow: Dataflow | None
    example: tuple[np.ndarray, ...]
    head: Head
    target: ResolvedTarget
    logits: LogitLayer | None
    target_layer: TargetLayer | None
    why_no_layer: str
    tokens_read: Callable[[int], np.ndarray | None]
    beside: tuple[TargetLayer, ...] = ()

    @property
    def uses_float16(self) -> bool:
        """Whether a layer of the model computes in float16."""
        return any(layer.compute_dtype == "float16" for layer in flatten_layers(self.call.model))

    @cached_property
    def placement(self) -> Placement:
        """Where the grid of the target layer lies in the image.

        Layers of Keras's tell; where other code may have cropped the image, that is measured.
        """
        size, layer = self.trace.input_shape[1:-1], self.target_layer
        if layer is None:
            return Placement.whole(size)
        call, first = layer.calls_in(self.trace)[0], takes_channels_first(self.call.model)
        placed, uncertain = extents_of(self.trace, self.dataflow, call, first)
        if uncertain:
            seen = seen_extents(self.call, layer, *self.example)
            placed = placed if seen is None else refined(placed, seen, layer.shape[1:-1], size)
        return Placement(size, placed)

    def with_layer(self, layer: LayerChoice) -> "ModelContext":
        """Return the same with another target layer, or raise where none fits."""
        chosen = choose(self.trace, self.call.model, layer, self._is_usable)
        return replace(self, target_layer=chosen)

    @property
    def is_cut(self) -> bool:
        """Whether the output depends on the images through the target layers alone."""
        layer, flow = self.target_layer, self.dataflow
        if layer is None:
            return True
        calls = [call for one in (layer, *self.beside) for call in one.calls_in(self.trace)]
        if flow is not None and all(map(flow.knows, calls)):
            return flow.is_cut(calls)
        return not self.beside and not leads_around(self.call, layer, *self.example)

    def _is_usable(self, candidate: TargetLayer) -> bool:
        """Tell whether a layer lies between the images and the output."""
        if self.call.takes_one_path:
            return True
        calls, flow = candidate.calls_in(self.trace), self.dataflow
        known = flow is not None and all(map(flow.knows, calls))
        return known or lies_between(self.call, candidate, *self.example)


def resolve(
    call: ModelCall,
    images: np.ndarray,
    labels: np.ndarray | None,
    target: Target,
    layer: LayerChoice,
    extras: Sequence[np.ndarray] = (),
) -> ModelContext:
    """Resolve how a model is evaluated for images.

    Args:
        call: How a built model is called.
        images: All images, `(n, height, width, channels)` float32.
        labels: Labels of the images, or None.
        target: What is explained.
        layer: The layer whose output CAM methods read; None takes the last feature map.
        extras: The model's other inputs, `(n, ...)` each.

    Returns:
        The context.

    Raises:
        ValueError: A layer or target that does not fit the model.
    """
    first = tuple(values[:1] for values in (images, *extras))
    call, trace = call.traced(*first)
    flow = call.dataflow(trace)
    if flow is not None:
        trace = replace(trace, calls=tuple(filter(flow.is_between, trace.calls)))
    trace = replace(trace, grid_of=cache(partial(measured_grid, call, trace, first)))
    logits = logits_behind(trace)
    head = read_head(
        target.head,
        call.loss,
        trace.output_shape,
        logits.activation if logits else "linear" if is_linear(trace) else None,
        labels,
        images.shape,
        cache(lambda: _first_outputs(call, images, *extras)),
        of_classes=target.is_of_classes,
    )
    resolved = resolve_target(target, head, labels, len(images))
    read = cache(partial(tokens_read, call, trace, logits, first))
    context = ModelContext(call, trace, flow, first, head, resolved, logits, None, "", read)
    try:
        return context.with_layer(layer)
    except ValueError as error:
        if layer is not None:
            raise
        return replace(context, why_no_layer=str(error))


def _first_outputs(call: ModelCall, *inputs: np.ndarray) -> np.ndarray:
    """Compute a model's outputs of the first images, float64 `(n, ...)`."""
    outputs_of = backend.compiled(call, call.model)

    def first(size: int, _: np.ndarray) -> Any:
        tensors = [ops.convert_to_tensor(values[:size]) for values in inputs]
        return ops.convert_to_numpy(outputs_of(*tensors))

    return BatchRunner(first, call.at_most(4), call.model)(inputs[0]).astype("float64")
