"""The functions of `engine.backend` on JAX; `tensorflow.py` says what each does."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from keras_saliency.engine.keras_private import flatten_layers

Function = Callable[..., Any]


def compiled(function: Function, model: keras.Model) -> Function:
    """Compile `function(*tensors)`, which calls `model`, so that it changes none of its state."""
    variables = model.variables

    def run(values: list[Any], *tensors: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*tensors)

    # Weights come in as arguments: closed over, they would be baked in as constants.
    jitted = jax.jit(run)
    return lambda *tensors: jitted([v.value for v in variables], *tensors)


def runs_compiled(model: keras.Model) -> bool:
    """Tell whether what `compiled` gives runs the model's Python code only when it is traced."""
    return True


def traced(function: Function, model: keras.Model, *arrays: np.ndarray) -> None:
    """Run `function(*tensors) -> None`, computing as little as possible."""
    with keras.StatelessScope():
        jax.eval_shape(function, *arrays)


def gradients(function: Function, points: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Differentiate the sum of scores at several tensors in one backward pass."""
    reached: set[str] = set()

    def total(points: dict[str, Any]) -> tuple[Any, Any]:
        watched = {name: _watched(name, reached)(point) for name, point in points.items()}
        scores, rest = function(watched)
        return scores.sum(), (scores, rest)

    grads, (scores, rest) = jax.grad(total, has_aux=True)(points)
    return scores, rest, {name: grads[name] if name in reached else None for name in points}


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that the device or the computer lacks memory."""
    words = ("RESOURCE_EXHAUSTED", "allocate memory")
    runtime = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return runtime or isinstance(error, MemoryError)


def parts(model: keras.Model) -> list[Any]:
    """List a model's layers."""
    return flatten_layers(model)


def is_chief(model: keras.Model) -> bool:
    """Tell whether this process writes the logs, of the processes that train together."""
    return jax.process_index() == 0


def is_alone(model: keras.Model) -> bool:
    """Tell whether this process trains by itself, so that its clock decides for all."""
    return jax.process_count() == 1


def from_chief(model: keras.Model, values: np.ndarray) -> np.ndarray:
    """Return the chief's whole numbers, int32 `(n,)`, in every process; all must call it."""
    return np.asarray(multihost_utils.broadcast_one_to_all(values))


def state_kept(model: keras.Model) -> AbstractContextManager[None]:
    """Put back what Keras does not track: nothing, in JAX."""
    return nullcontext()


def _watched(name: str, reached: set[str]) -> Function:
    """Return an identity in JAX that notes its name if a gradient comes back to it.

    JAX itself gives zeros where a score does not depend on a point.
    """

    @jax.custom_vjp
    def identity(point: Any) -> Any:
        return point

    def back(_: None, gradient: Any) -> tuple[Any]:
        if isinstance(gradient, jax.custom_derivatives.SymbolicZero):
            return (jax.numpy.zeros(gradient.shape, gradient.dtype),)
        reached.add(name)
        return (gradient,)

    identity.defvjp(lambda point: (point.value, None), back, symbolic_zeros=True)
    return identity
