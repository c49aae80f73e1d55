"""A head of global average pooling and one dense layer, whose weights `cam` reads."""

from typing import Any

from keras import layers, ops

from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.keras_private import SOFTMAX
from keras_saliency.engine.tracing import LayerCall, Trace, computes_as, patched_call

_POOLING = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
)
_ACTIVATION = (layers.Softmax, layers.Activation, SOFTMAX)


def pooled_kernel(context: ModelContext) -> Any:
    """Return the weights of the dense layer behind global average pooling.

    Args:
        context: The model and its target.

    Returns:
        The kernel, `(channels, outputs)`.

    Raises:
        ValueError: Another head, a layer that is not the pooled one, or a target that is no class
            of the logits.
    """
    head, layer = _pooled_head(context.trace), context.target_layer
    if head is None:
        raise ValueError(
            "'cam' needs a head of global average pooling and one dense layer. Received: "
            f"model={context.call.model.name!r} with another head. Use 'grad_cam' or 'hires_cam', "
            "which need no such head and give the same map where there is one."
        )
    dense, pooled = head
    reads = layer is not None and pooled is not None and layer.layer is pooled.layer
    if layer is None or pooled is None or not reads or pooled.number not in layer.calls:
        wanted = pooled.name if pooled else "what is pooled"
        raise ValueError(
            f"'cam' reads the layer that is pooled: layer={wanted!r}. "
            f"Received: layer={layer.name if layer else None!r}"
        )
    if not context.target.classes or context.target.of != "logits":
        raise ValueError(
            "'cam' explains the logit of one class: target 'label', 'predicted' or class indices, "
            f"of='logits'. Received: of={context.target.of!r}. Use 'hires_cam' for other targets."
        )
    return _kernel(dense)


def _pooled_head(trace: Trace) -> tuple[layers.Layer, LayerCall | None] | None:
    """Find the dense layer behind global average pooling, and the call whose output is pooled."""
    output = trace.output_call
    if output is not None and isinstance(output.layer, _ACTIVATION):
        output = trace.producer(output.input)
    if output is None or not computes_as(output.layer, layers.Dense):
        return None
    pool = trace.producer(output.input)
    if pool is None or not computes_as(pool.layer, *_POOLING):
        return None
    return output.layer, trace.producer(pool.input)


def _kernel(dense: layers.Layer) -> Any:
    """Return the weights of a dense layer as it applies them, `(inputs, outputs)` float32."""
    if dense.quantization_mode is None:
        return ops.cast(dense.kernel, "float32")
    # What is stored is packed and scaled; what a unit input adds to the output is neither.
    units = ops.eye(dense.input_spec.axes[-1])
    with patched_call(dense, lambda original, inputs: inputs, "activation"):
        outputs = ops.cast(dense(ops.concatenate([units, 0.0 * units[:1]])), "float32")
    return outputs[:-1] - outputs[-1:]
