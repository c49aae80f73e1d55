"""One pass through a model: the forward pass, and the backward pass if it is needed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.attention import met_attention, self_attention
from keras_saliency.engine.model_call import ModelCall
from keras_saliency.engine.output_head import Head
from keras_saliency.engine.target_layer import LogitLayer, TargetLayer, hooked
from keras_saliency.engine.targets import ResolvedTarget
from keras_saliency.engine.tracing import Trace


@dataclass(frozen=True)
class ModelContext:
    """What is settled once for a model and its probes, before anything is computed."""

    call: ModelCall
    recording: Trace
    head: Head
    target: ResolvedTarget
    logits: LogitLayer | None
    place: TargetLayer | None
    no_place: str

    @property
    def model(self) -> keras.Model:
        """The model that is called."""
        return self.call.model


def question_function(context: ModelContext, questions: frozenset[str]) -> Callable[..., Any]:
    """Write the function of one pass: the forward pass, and a backward pass if one is needed.

    It takes the scale of the scores, images, what the target knows of each, the model's other
    inputs, and, if there are any, gates of the layer's channels.
    """
    beside = max(len(context.call.form.names) - 1, 0)

    def answer(scale: Any, images: Any, detail: Any, *rest: Any) -> dict[str, Any]:
        extras, gates = rest[:beside], next(iter(rest[beside:]), None)
        points: dict[str, Any] = {}
        looks = gates is not None or questions & {"activations", "layer_gradients"}
        place = context.place if looks else None
        attends = "attentions" in questions
        if "input_gradients" in questions:
            points["input_gradients"] = images
        if place is not None and "layer_gradients" in questions:
            # What is added to the layer's output has the gradient of the layer's output.
            shape = (place.shape[0] * images.shape[0], *place.shape[1:])
            points["layer_gradients"] = ops.zeros(shape, place.dtype)

        def scored(points: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            def changed(output: Any, frame: int) -> Any:
                if place is not None and gates is not None:
                    output = place.layout.gated(output, gates)
                if place is not None and "layer_gradients" in points:
                    added = points["layer_gradients"]
                    output = output + place.layout.from_map(added, frame, output.shape)
                return output

            attention: Any = met_attention(context.model) if attends else nullcontext([])
            with hooked(place, context.logits, changed) as seen, attention as met:
                outputs = context.call(points.get("input_gradients", images), *extras)
            logits = seen.logits[context.logits.run] if context.logits else None
            resolved = context.target.resolved(context.head, outputs, logits, detail)
            scores, classes = context.target.score(context.head, outputs, logits, resolved)
            found = {"scores": scores, "classes": classes, "outputs": outputs, "detail": resolved}
            if place is not None:
                found["activations"] = ops.cast(place.layout.to_map(seen.outputs), "float32")
            if attends:
                found["attentions"] = self_attention(met, images.shape[0], context.model.name)
            return scores * scale, found

        if not points:
            return scored({})[1]
        _, found, gradients = backend.gradients(scored, points)
        return found | {name: _connected(name, gradients[name], context) / scale for name in points}

    return answer


def attention_shape(call: ModelCall, images: Any, *extras: Any) -> tuple[int, ...]:
    """Find the shape of the model's stacked self-attention without computing it."""
    shapes: list[tuple[int, ...]] = []

    def look(images: Any, *extras: Any) -> None:
        with met_attention(call.model) as met:
            call(images, *extras)
        shapes.append(tuple(self_attention(met, images.shape[0], call.model.name).shape))

    backend.traced(look, call.model, *map(ops.convert_to_numpy, (images, *extras)))
    return shapes[-1]


def _connected(question: str, gradient: Any, context: ModelContext) -> Any:
    """Return a gradient in float32, or say that the score does not depend on the point."""
    if gradient is not None:
        return ops.cast(gradient, "float32")
    if question == "layer_gradients" and context.place is not None:
        raise ValueError(
            f"The score does not depend on layer {context.place.name!r}, so it has no gradient "
            "there. Name a layer on the way to the explained output with layer=."
        )
    raise ValueError(
        "The score has no gradient at the images: the model turns them into integers, or stops "
        "the gradient. Methods that ask for the layer alone ('grad_cam') still work."
    )
