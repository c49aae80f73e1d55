"""A head of global average pooling and one dense layer, whose weights `cam` reads."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_saliency.engine.passes import ModelContext
from keras_saliency.engine.tracing import LayerCall, Trace, patched_call


def pooled_kernel(context: ModelContext) -> Any:
    """Return the weights of the dense layer behind global average pooling, (channels, outputs).

    Raises:
        ValueError: Another head, a layer that is not the pooled one, or a target that is no class
            of the logits.
    """
    head, place = _pooled_head(context.recording), context.place
    if head is None:
        raise ValueError(
            "'cam' needs a head of global average pooling and one dense layer. Received: "
            f"model={context.model.name!r} with another head. Use 'grad_cam' or 'hires_cam', "
            "which need no such head and give the same map where there is one."
        )
    dense, pooled = head
    if place is None or pooled is None or place.layer is not pooled.layer:
        wanted = pooled.name if pooled else "what is pooled"
        raise ValueError(
            f"'cam' reads the layer that is pooled: layer={wanted!r}. "
            f"Received: layer={place.name if place else None!r}"
        )
    if not context.target.classes or context.target.of != "logits":
        raise ValueError(
            "'cam' explains the logit of one class: target 'label', 'predicted' or class indices, "
            f"of='logits'. Received: of={context.target.of!r}. Use 'hires_cam' for other targets."
        )
    return _kernel(dense)


def _pooled_head(recording: Trace) -> tuple[keras.layers.Layer, LayerCall | None] | None:
    """Find the dense layer behind global average pooling, and the run whose output is pooled."""
    output = recording.producer(recording.output)
    if output is not None and type(output.layer).__name__ in ("Softmax", "Activation"):
        output = recording.producer(output.takes)
    if output is None or type(output.layer).__name__ != "Dense":
        return None
    pool = recording.producer(output.takes)
    if pool is None or not type(pool.layer).__name__.startswith("GlobalAveragePooling"):
        return None
    return output.layer, recording.producer(pool.takes)


def _kernel(dense: keras.layers.Layer) -> Any:
    """Return the weights of a dense layer as it applies them, (inputs, outputs) float32."""
    if dense.quantization_mode is None:
        return ops.cast(dense.kernel, "float32")
    # What is stored is packed and scaled; what a unit input adds to the output is neither.
    units = ops.eye(dense.input_spec.axes[-1])
    with patched_call(dense, lambda layer, original: lambda inputs: inputs, "activation"):
        answers = ops.cast(dense(ops.concatenate([units, 0.0 * units[:1]])), "float32")
    return answers[:-1] - answers[-1:]
