"""All that this package takes from Keras's private API: no other file touches it.

Each use names the versions on which it was checked; the first is the lowest that is supported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.ops.core import Slice
from keras.src.ops.image import CropImages, PadImages
from keras.src.ops.nn import DotProductAttention, Gelu, Relu, Relu6, Sigmoid, Silu, Softmax
from keras.src.ops.numpy import (
    Add,
    Concatenate,
    Flip,
    GetItem,
    Maximum,
    Moveaxis,
    Multiply,
    Pad,
    Reshape,
    Squeeze,
    Swapaxes,
    Transpose,
)

# Operations between layers, which have no public classes (3.13, 3.15): those that make a map of
# maps, cell by cell, those that only move axes, and those that only move, cut or pad along axes.
ELEMENTWISE = (Add, Multiply, Maximum, Relu, Relu6, Gelu, Silu)
REORDERING = (Transpose, Moveaxis, Swapaxes)
MOVING = (GetItem, Slice, Flip, Pad, CropImages, PadImages)
ATTENTION, RESHAPE, SIGMOID, SOFTMAX = DotProductAttention, Reshape, Sigmoid, Softmax
CONCATENATE = Concatenate
SQUEEZING = (GetItem, Squeeze, Reshape)  # those that may take an axis of one away

# Name of the method of a graph that casts its inputs to the declared types; 3.13, 3.15.
CONVERT_INPUTS = "_convert_inputs_to_tensors"

# Name of the method by which `layers.Attention` weighs values with its scores; 3.13, 3.15.
APPLY_SCORES = "_apply_scores"

# Name of the attribute in which an operation keeps what `keras.RematScope` asked for; 3.13, 3.15.
REMAT_MODE = "_remat_mode"


def flatten_layers(
    layer: keras.layers.Layer, *, include_self: bool = True
) -> list[keras.layers.Layer]:
    """List all layers within a layer, outer ones first, behind the layer itself."""
    return list(layer._flatten_layers(include_self=include_self))  # 3.13, 3.15


def sublayers(layer: keras.layers.Layer) -> list[Any]:
    """List what a layer is made of: in a graph operations too, in the order in which they run."""
    return list(getattr(layer, "operations", None) or layer._layers)  # 3.13, 3.15


def graph_of(layer: keras.layers.Layer) -> Any:
    """Return the graph that a layer runs, if it runs one: a Sequential model holds a functional."""
    graph = getattr(layer, "_functional", None) or layer  # 3.13, 3.15
    return graph if hasattr(graph, CONVERT_INPUTS) else None


def inputs_by_name(model: keras.Model) -> dict[str | int, Any] | None:
    """Return a model's symbolic inputs if it takes them as a dict, or None."""
    struct = getattr(model, "_inputs_struct", None)  # 3.13, 3.15
    return dict(struct) if isinstance(struct, dict) else None


def nodes_of(graph: Any) -> list[Any]:
    """List the nodes of a graph in the order in which it runs them, but for those of its inputs."""
    by_depth = graph._nodes_by_depth  # 3.13, 3.15
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [node for node in nodes if node.operation and not node.is_input]


@contextmanager
def nodes_kept(model: keras.Model) -> Iterator[None]:
    """Drop the nodes by which a symbolic call notes itself in a graph around the model."""
    nodes = list(model._inbound_nodes)  # 3.13, 3.15
    yield
    model._inbound_nodes[:] = nodes


def loss_options(loss: keras.losses.Loss) -> dict[str, Any]:
    """Return the options of a loss, those with which it calls its function among them."""
    return vars(loss) | getattr(loss, "_fn_kwargs", {})  # 3.13, 3.15


def is_of_keras(value: Any) -> bool:
    """Tell whether an object's class is one of Keras's own."""
    return type(value).__module__.startswith("keras.src.")  # 3.13, 3.15


def rematerializes(operation: Any) -> bool:
    """Tell whether a layer or operation computes its output again in a backward pass."""
    return getattr(operation, REMAT_MODE, None) is not None


def attended_axes(layer: keras.layers.Layer) -> tuple[int, ...] | None:
    """Return the axes that `MultiHeadAttention` attends over, or None for another layer."""
    axes = getattr(layer, "_attention_axes", None)  # 3.13, 3.15
    return None if axes is None else tuple(axes)


def seed_generator_of(layer: Any) -> Any:
    """Return the seeds of a layer that also works in `tf.data`, where it runs on TensorFlow."""
    return layer._get_seed_generator(layer.backend._backend)  # 3.13, 3.15


def batches_of(optimizer: keras.optimizers.Optimizer) -> Any:
    """Return the variable in which an optimizer counts batches, whatever it accumulates."""
    return getattr(optimizer, "inner_optimizer", optimizer)._iterations  # 3.13, 3.15


def runs_batch_hooks_in_threads(callbacks: Any) -> bool:
    """Tell whether a `CallbackList` hands the hooks of batches to a pool of threads."""
    return bool(getattr(callbacks, "_async_train", False))  # 3.13, 3.15
