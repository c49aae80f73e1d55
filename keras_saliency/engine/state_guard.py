"""Puts back what a pass may have changed in a model outside of Keras's variables."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras.layers import JaxLayer, Lambda

from keras_saliency.common.held_state import StateWalker, put_back
from keras_saliency.engine import backend
from keras_saliency.engine.keras_private import is_of_keras

_WALKER = StateWalker(("keras", "tensorflow", "jax", "jaxlib", "torch", "numpy"))
_is_plain: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # of Keras's layers


@contextmanager
def preserve_state(model: keras.Model, *, is_traced: bool = False) -> Iterator[None]:
    """Put back, after a pass, what a layer's Python code or its tracing may have changed.

    Args:
        model: The model. Put back is every attribute of its layers, but for a request to stop
            training; what collections, objects of the user's and functions among them hold, with
            arrays, variables and random generators; and the random streams of the process.
        is_traced: Whether only compiled passes will run that were traced before. Then Keras's own
            layers run no Python code, and others do in a callback of the backend alone. The random
            streams are left alone: put back, they would give what a thread that loads data has
            drawn meanwhile a second time.
    """
    parts = backend.parts(model)
    undo = _WALKER.remember(vars(part) for part in parts if not (is_traced and _is_inert(part)))
    if not is_traced:
        undo.append(partial(random.setstate, random.getstate()))
        undo.append(partial(np.random.set_state, np.random.get_state()))
    with backend.state_kept(model):
        try:
            yield
        finally:
            put_back(undo)


def _is_inert(part: Any) -> bool:
    """Tell whether a part of a model is Keras's own, and holds no code or state of the user's."""
    if not is_of_keras(part) or isinstance(part, (Lambda, JaxLayer)):
        return False
    if part not in _is_plain:
        _is_plain[part] = not any(map(_WALKER.is_state, vars(part).values()))
    return _is_plain[part]
