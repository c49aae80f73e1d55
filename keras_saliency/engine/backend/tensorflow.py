"""The functions of `engine.backend` on TensorFlow."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_saliency.engine.keras_private import flatten_layers

Function = Callable[..., Any]


def compiled(function: Function, model: keras.Model) -> Function:
    """Compile `function(*tensors)`, which calls `model`, so that it changes none of its state.

    The current weights are read at each call; updates of variables, seed generators among them,
    are dropped.
    """
    if model.run_eagerly:
        return _stateless(function)
    # XLA made MobileNetV2 ten times slower on a CPU, so the model's own choice is not copied.
    traces = tf.function(_stateless(function), autograph=False)
    known: dict[tuple[Any, ...], Function] = {}

    def call(*tensors: Any) -> Any:
        # `tf.function` itself would warn of retracing when many models are explained.
        key = tuple((t.shape, t.dtype) for t in tensors)
        if key not in known:
            specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
            known[key] = traces.get_concrete_function(*specs)
        return known[key](*tensors)

    return call


def runs_compiled(model: keras.Model) -> bool:
    """Tell whether what `compiled` gives runs the model's Python code only when it is traced."""
    return not model.run_eagerly


def traced(function: Function, model: keras.Model, *arrays: np.ndarray) -> None:
    """Run `function(*tensors) -> None`, computing as little as possible."""
    if model.run_eagerly:
        compiled(function, model)(*map(keras.ops.convert_to_tensor, arrays))
        return
    specs = [tf.TensorSpec(a.shape, a.dtype) for a in arrays]
    tf.function(_stateless(function), autograph=False).get_concrete_function(*specs)


def gradients(function: Function, points: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Differentiate the sum of scores at several tensors in one backward pass.

    Args:
        function: `(points) -> (scores (batch,), anything else)`.
        points: Tensors by name, at which to differentiate.

    Returns:
        Scores, what else the function returned, and the gradient at each point by name; `None`
        where the backend knows that the score does not depend on the point.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        scores, rest = function(points)
    return scores, rest, tape.gradient(scores, points)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that the device or the computer lacks memory."""
    return isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError))


def parts(model: keras.Model) -> list[Any]:
    """List a model's layers; with torch all modules as well, those that a layer only wraps."""
    return flatten_layers(model)


def is_chief(model: keras.Model) -> bool:
    """Tell whether this process writes the logs, of the processes that train together."""
    return bool(model.distribute_strategy.extended.should_save_summary)


def is_alone(model: keras.Model) -> bool:
    """Tell whether this process trains by itself, so that its clock decides for all."""
    strategy = model.distribute_strategy
    replicas = strategy.num_replicas_in_sync
    return bool(replicas == 1 or replicas == len(strategy.extended.worker_devices))


def from_chief(model: keras.Model, values: np.ndarray) -> np.ndarray:
    """Return the chief's whole numbers, int32 `(n,)`, in every process; all must call it."""
    strategy = model.distribute_strategy
    own = tf.constant(values if is_chief(model) else np.zeros_like(values))
    total = strategy.reduce("SUM", strategy.run(lambda: tf.identity(own)), axis=None)
    return total.numpy() // len(strategy.extended.worker_devices)


def state_kept(model: keras.Model) -> AbstractContextManager[None]:
    """Put back what Keras does not track: torch's random streams, and buffers of its modules."""
    return nullcontext()


def _stateless(function: Function) -> Function:
    def run(*tensors: Any) -> Any:
        with keras.StatelessScope():
            return function(*tensors)

    return run
