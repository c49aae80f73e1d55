"""How images enter a model: as floats, which have gradients, and with its own order of axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras import ops

from keras_saliency.recording import standing_in


def takes_channels_first(model: keras.Model) -> bool:
    """Tell whether a model's images have their channels before height and width."""
    layers = model._flatten_layers()
    formats = {layer.data_format for layer in layers if is_convolution(layer)}
    return formats == {"channels_first"} and not any(
        isinstance(layer, keras.layers.Permute) for layer in layers
    )


def is_convolution(layer: keras.layers.Layer) -> bool:
    """Tell whether a layer's `data_format` is that of what it gives."""
    return hasattr(layer, "kernel_size") and hasattr(layer, "data_format")


def entering_shape(model: keras.Model, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in which images (batch, *sizes, channels) enter a model."""
    return (shape[0], shape[-1], *shape[1:-1]) if takes_channels_first(model) else shape


def entering(model: keras.Model, images: Any) -> Any:
    """Order the axes of images (batch, *sizes, channels) as a model takes them."""
    return ops.moveaxis(images, -1, 1) if takes_channels_first(model) else images


@contextmanager
def floats_kept(model: keras.Model) -> Iterator[None]:
    """Let floats pass inputs that are declared as integers: after a cast there is no gradient."""

    def stand(graph: keras.Model, original: Callable[..., Any]) -> Callable[..., Any]:
        def convert(flat_inputs: Any) -> Any:
            return [
                given if _is_image(given) and not _is_float(made) else made
                for given, made in zip(flat_inputs, original(flat_inputs), strict=True)
            ]

        return convert

    with ExitStack() as stands:
        for layer in model._flatten_layers():
            # A Sequential model holds the graph that it runs, and casts for it before.
            graph = getattr(layer, "_functional", None) or layer
            if hasattr(graph, "_convert_inputs_to_tensors") and takes_integers(graph):
                stands.enter_context(standing_in(graph, stand, "_convert_inputs_to_tensors"))
                stands.enter_context(_without_autocast(layer))
        yield


@contextmanager
def _without_autocast(layer: keras.layers.Layer) -> Iterator[None]:
    before, layer.__dict__["autocast"] = layer.autocast, False
    try:
        yield
    finally:
        layer.__dict__["autocast"] = before


def takes_integers(model: keras.Model) -> bool:
    """Tell whether an input of a model is declared as images of integers."""
    inputs = getattr(model, "inputs", None) or ()
    return any(len(i.shape) > 2 and not keras.backend.is_float_dtype(i.dtype) for i in inputs)


def _is_image(value: Any) -> bool:
    return ops.is_tensor(value) and len(value.shape) > 2 and _is_float(value)


def _is_float(value: Any) -> bool:
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype))
