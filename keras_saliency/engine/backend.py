"""The one file that knows the backend: compiling, gradients, memory, ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

Function = Callable[..., Any]


def check_backend() -> None:
    """Refuse the backends of Keras that have no gradients."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax", "torch"):
        raise ValueError(
            "Maps need gradients: set KERAS_BACKEND to tensorflow, jax or torch before Keras is "
            f"imported. Received: KERAS_BACKEND={backend}"
        )


def compiled(function: Function, model: keras.Model) -> Function:
    """Compile `function(*tensors)`, which calls `model`, so that it changes none of its state.

    The current weights are read at each call; updates of variables, seed generators among them,
    are dropped.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

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
    if backend == "jax":
        import jax

        variables = model.variables

        def run(values: list[Any], *tensors: Any) -> Any:
            mapping = list(zip(variables, values, strict=True))
            return _stateless(function, mapping)(*tensors)

        # Weights come in as arguments: closed over, they would be baked in as constants.
        jitted = jax.jit(run)
        return lambda *tensors: jitted([v.value for v in variables], *tensors)

    import torch

    return torch.no_grad()(_stateless(function))


def runs_compiled(model: keras.Model) -> bool:
    """Tell whether what `compiled` gives runs the model's Python code only when it is traced."""
    backend = keras.backend.backend()
    return backend == "jax" or (backend == "tensorflow" and not model.run_eagerly)


def traced(function: Function, model: keras.Model, *arrays: np.ndarray) -> None:
    """Run `function(*tensors)` for what it sees in passing, computing as little as can be."""
    backend = keras.backend.backend()
    if backend == "tensorflow" and not model.run_eagerly:
        import tensorflow as tf

        def discarded(*tensors: Any) -> None:
            _stateless(function)(*tensors)

        specs = [tf.TensorSpec(a.shape, a.dtype) for a in arrays]
        tf.function(discarded, autograph=False).get_concrete_function(*specs)
    elif backend == "jax":
        import jax

        jax.eval_shape(lambda *tensors: _stateless(function)(*tensors) and None, *arrays)
    else:
        compiled(function, model)(*[keras.ops.convert_to_tensor(a) for a in arrays])


def gradients(function: Function, points: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Differentiate the sum of scores at several tensors in one backward pass.

    Args:
        function: `(points) -> (scores (batch,), anything else)`.
        points: tensors by name, at which to differentiate.

    Returns:
        Scores, what else the function gave, and the gradient at each point by name; `None` where
        the backend knows that the score does not depend on the point.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            scores, rest = function(points)
        return scores, rest, tape.gradient(scores, points)
    if backend == "jax":
        import jax

        met: set[str] = set()

        def total(at: dict[str, Any]) -> tuple[Any, Any]:
            scores, rest = function({name: _noting(name, met)(point) for name, point in at.items()})
            return scores.sum(), (scores, rest)

        grads, (scores, rest) = jax.grad(total, has_aux=True)(points)
        return scores, rest, {name: grads[name] if name in met else None for name in points}

    import torch

    with torch.enable_grad():
        leaves = {name: point.detach().requires_grad_() for name, point in points.items()}
        scores, rest = function(leaves)
        found = torch.autograd.grad(scores.sum(), list(leaves.values()), allow_unused=True)
    scores, rest = keras.tree.map_structure(_detached, (scores, rest))
    return scores, rest, dict(zip(leaves, found, strict=True))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether what failed did so because the device or the computer lacks memory."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"MemoryError", "ResourceExhaustedError", "OutOfMemoryError"}:  # TensorFlow, torch
        return True
    words = ("RESOURCE_EXHAUSTED", "allocate memory")  # JAX, and torch on a CPU
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def parts(model: keras.Model) -> list[Any]:
    """List a model's layers; with torch all modules as well, those that a layer only wraps."""
    layers = list(model._flatten_layers())
    if keras.backend.backend() != "torch":
        return layers
    # Whether the modules of a model hold its layers depends on the version of Keras.
    modules = (module for layer in layers for module in layer.modules())
    return list({id(one): one for one in (*layers, *modules)}.values())


def is_chief(model: keras.Model) -> bool:
    """Tell whether this is the process that writes, as the only one does and one of several.

    Args:
        model: The model, whose TensorFlow strategy it knows itself.

    Example:
        >>> is_chief(keras.Sequential())
        True
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return bool(model.distribute_strategy.extended.should_save_summary)
    if backend == "jax":
        import jax

        return jax.process_index() == 0
    if backend == "torch":
        from torch import distributed

        together = distributed.is_available() and distributed.is_initialized()
        return not together or distributed.get_rank() == 0
    return True


def is_alone(model: keras.Model) -> bool:
    """Tell whether this process trains by itself, whose clock then decides for all.

    Args:
        model: The model, whose TensorFlow strategy it knows itself.

    Example:
        >>> is_alone(keras.Sequential())
        True
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        strategy = model.distribute_strategy
        replicas = strategy.num_replicas_in_sync
        return bool(replicas == 1 or replicas == len(strategy.extended.worker_devices))
    if backend == "jax":
        import jax

        return jax.process_count() == 1
    if backend == "torch":
        from torch import distributed

        together = distributed.is_available() and distributed.is_initialized()
        return not together or distributed.get_world_size() == 1
    return True


@contextmanager
def state_kept(model: keras.Model) -> Iterator[None]:
    """Put back what Keras knows nothing of: torch's random streams, and buffers of its modules."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    found = [one for part in parts(model) for one in part.buffers(recurse=False)]
    buffers = [(one, one.clone()) for one in {id(one): one for one in found}.values()]
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for one, held in buffers:
                    one.copy_(held)


def _detached(found: Any) -> Any:
    """Cut what torch computed from its graph, which would keep all of it."""
    return found.detach() if hasattr(found, "detach") else found


def _noting(name: str, met: set[str]) -> Function:
    """Write an identity in JAX that notes its name if a gradient comes back to it.

    JAX itself gives zeros where a score does not depend on a point.
    """
    import jax

    @jax.custom_vjp
    def identity(point: Any) -> Any:
        return point

    def back(_: None, gradient: Any) -> tuple[Any]:
        if isinstance(gradient, jax.custom_derivatives.SymbolicZero):
            return (jax.numpy.zeros(gradient.shape, gradient.dtype),)
        met.add(name)
        return (gradient,)

    identity.defvjp(lambda point: (point.value, None), back, symbolic_zeros=True)
    return identity


def _stateless(function: Function, mapping: list[Any] | None = None) -> Function:
    def run(*tensors: Any) -> Any:
        with keras.StatelessScope(state_mapping=mapping):
            return function(*tensors)

    return run
