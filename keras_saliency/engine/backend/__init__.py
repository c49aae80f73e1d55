"""What depends on the backend of Keras: compiling, gradients, memory and processes.

Each backend has a module of its own with the same functions. That of the backend in use is
imported, and with it the backend, when the first of its functions is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from keras_saliency.engine.backend.tensorflow import (
        compiled,
        gradients,
        is_alone,
        is_chief,
        is_out_of_memory,
        parts,
        runs_compiled,
        state_kept,
        traced,
    )

__all__ = [
    "check_backend",
    "compiled",
    "gradients",
    "is_alone",
    "is_chief",
    "is_out_of_memory",
    "parts",
    "runs_compiled",
    "state_kept",
    "traced",
]


def check_backend() -> None:
    """Refuse the backends of Keras that have no gradients.

    Raises:
        ValueError: The backend is not TensorFlow, JAX or torch.
    """
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax", "torch"):
        raise ValueError(
            "Maps need gradients: set KERAS_BACKEND to tensorflow, jax or torch before Keras is "
            f"imported. Received: KERAS_BACKEND={backend}"
        )


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_backend()
    return getattr(import_module(f"{__name__}.{keras.backend.backend()}"), name)
