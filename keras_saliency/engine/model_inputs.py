"""How images enter a model: as floats, which have gradients, and with its own order of axes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_saliency.engine.keras_private import (
    CONVERT_INPUTS,
    REORDERING,
    Moveaxis,
    Swapaxes,
    flatten_layers,
    graph_of,
    sublayers,
)
from keras_saliency.engine.tracing import patched_call, replaced


def takes_channels_first(model: keras.Model) -> bool:
    """Tell whether a model's images have their channels before height and width."""
    relevant = [part for part in _parts(model) if is_convolution(part) or reorders_axes(part)]
    formats = {part.data_format for part in relevant if is_convolution(part)}
    # Where the axes are moved first, the convolutions don't tell how images enter.
    return formats == {"channels_first"} and is_convolution(relevant[0])


def is_convolution(operation: Any) -> bool:
    """Tell whether an operation's `data_format` is that of what it gives."""
    return hasattr(operation, "kernel_size") and hasattr(operation, "data_format")


def reorders_axes(operation: Any) -> bool:
    """Tell whether an operation, a layer or one between layers, only moves axes."""
    return isinstance(operation, (keras.layers.Permute, *REORDERING))


def order_of_axes(operation: Any, rank: int) -> tuple[int, ...]:
    """Return, for an operation that reorders axes, which axis each one was before."""
    axes = np.empty(tuple(range(rank)))  # its shape names the axes, and it holds nothing
    match operation:
        case keras.layers.Permute():
            return axes.transpose(0, *operation.dims).shape
        case Moveaxis():
            return np.moveaxis(axes, operation.source, operation.destination).shape
        case Swapaxes():
            return axes.swapaxes(operation.axis1, operation.axis2).shape
    return axes.transpose(operation.axes).shape


def entering(model: keras.Model, images: Any) -> Any:
    """Order the axes of images `(batch, *sizes, channels)` as a model takes them."""
    return ops.moveaxis(images, -1, 1) if takes_channels_first(model) else images


@contextmanager
def floats_kept(model: keras.Model) -> Iterator[None]:
    """Let floats pass inputs that are declared as integers: after a cast there is no gradient."""

    def convert(original: Callable[..., Any], flat_inputs: Any) -> Any:
        return [
            value if _is_image(value) and not _is_float(cast) else cast
            for value, cast in zip(flat_inputs, original(flat_inputs), strict=True)
        ]

    with ExitStack() as patches:
        for layer in flatten_layers(model):
            # A Sequential model holds the graph that it runs, and casts for it before.
            graph = graph_of(layer)
            if graph is not None and takes_integers(graph):
                patches.enter_context(patched_call(graph, convert, CONVERT_INPUTS))
                patches.enter_context(replaced(layer, "autocast", False))
        yield


def takes_integers(model: keras.Model) -> bool:
    """Tell whether an input of a model is declared as images of integers."""
    inputs = getattr(model, "inputs", None) or ()
    return any(len(i.shape) > 2 and not keras.backend.is_float_dtype(i.dtype) for i in inputs)


def _parts(layer: keras.layers.Layer) -> Iterator[Any]:
    """What a layer is made of: in a graph, in the order in which it runs."""
    for part in sublayers(layer):
        yield part
        if isinstance(part, keras.layers.Layer):
            yield from _parts(part)


def _is_image(value: Any) -> bool:
    return ops.is_tensor(value) and len(value.shape) > 2 and _is_float(value)


def _is_float(value: Any) -> bool:
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype))
