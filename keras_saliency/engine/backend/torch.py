"""The functions of `engine.backend` on torch; `tensorflow.py` says what each does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import torch
from torch import distributed

from keras_saliency.engine.keras_private import flatten_layers

Function = Callable[..., Any]


def compiled(function: Function, model: keras.Model) -> Function:
    """Wrap `function(*tensors)`, which calls `model`, so that it changes none of its state."""

    @torch.no_grad()
    def run(*tensors: Any) -> Any:
        with keras.StatelessScope():
            return function(*tensors)

    return run


def runs_compiled(model: keras.Model) -> bool:
    """Tell whether what `compiled` gives runs the model's Python code only when it is traced."""
    return False


def traced(function: Function, model: keras.Model, *arrays: np.ndarray) -> None:
    """Run `function(*tensors) -> None`."""
    compiled(function, model)(*map(keras.ops.convert_to_tensor, arrays))


def gradients(function: Function, points: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Differentiate the sum of scores at several tensors in one backward pass."""
    with torch.enable_grad():
        leaves = {name: point.detach().requires_grad_() for name, point in points.items()}
        scores, rest = function(leaves)
        grads = torch.autograd.grad(scores.sum(), list(leaves.values()), allow_unused=True)
    scores, rest = keras.tree.map_structure(_detached, (scores, rest))
    return scores, rest, dict(zip(leaves, grads, strict=True))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that the device or the computer lacks memory."""
    on_cpu = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return on_cpu or isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))


def parts(model: keras.Model) -> list[Any]:
    """List a model's layers, and all modules, those that a layer only wraps among them."""
    layers = flatten_layers(model)
    # Whether the modules of a model hold its layers depends on the version of Keras.
    modules = (module for layer in layers for module in layer.modules())
    return list({id(part): part for part in (*layers, *modules)}.values())


def is_chief(model: keras.Model) -> bool:
    """Tell whether this process writes the logs, of the processes that train together."""
    return not _is_distributed() or distributed.get_rank() == 0


def is_alone(model: keras.Model) -> bool:
    """Tell whether this process trains by itself, so that its clock decides for all."""
    return not _is_distributed() or distributed.get_world_size() == 1


def from_chief(model: keras.Model, values: np.ndarray) -> np.ndarray:
    """Return the chief's whole numbers, int32 `(n,)`, in every process; all must call it."""
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(values, device=device)
    distributed.broadcast(tensor, src=0)
    return tensor.cpu().numpy()


@contextmanager
def state_kept(model: keras.Model) -> Iterator[None]:
    """Put back what Keras does not track: torch's random streams, and buffers of its modules."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    buffers = {id(b): b for part in parts(model) for b in part.buffers(recurse=False)}.values()
    before = [(buffer, buffer.clone()) for buffer in buffers]
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, values in before:
                    buffer.copy_(values)


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _detached(value: Any) -> Any:
    """Cut what torch computed from its graph, which would keep all of it."""
    return value.detach() if hasattr(value, "detach") else value
