"""What depends on the backend of Keras: compiling, gradients, memory and processes.

Each backend has a module of its own with the same functions. That of the backend in use is
imported, and with it the backend, when the first of its functions is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:  # All have the same functions.
    from keras_saliency.engine.backend.tensorflow import *  # noqa: F403


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
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_backend()
    return getattr(import_module(f"{__name__}.{keras.backend.backend()}"), name)
