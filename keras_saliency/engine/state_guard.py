"""Puts back what a pass may have changed in a model outside of Keras's variables."""

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
from keras.layers import JaxLayer, Lambda

from keras_saliency.engine import backend
from keras_saliency.engine.keras_private import is_of_keras

_LARGE = 2**24  # bytes; a larger array is taken for a constant
_HOLDS = (dict, list, set, deque, tuple, np.ndarray)
_REQUEST = "stop_training"  # of a model: a signal, or another thread, may ask for it at any time


@contextmanager
def preserve_state(model: keras.Model, *, is_traced: bool = False) -> Iterator[None]:
    """Put back, after a pass, what a layer's Python code or its tracing may have changed.

    Args:
        model: The model. Put back is every attribute of its layers, but for a request to stop
            training; what dicts, lists, sets and arrays among them held; and the random streams of
            the process.
        is_traced: Whether only compiled passes will run that were traced before. Then Keras's own
            layers run no Python code, and others do in a callback of the backend alone. The random
            streams are left alone: put back, they would give what a thread that loads data has
            drawn meanwhile a second time.
    """
    undo_steps: list[Callable[[], None]] = []
    visited: set[int] = set()
    for part in backend.parts(model):
        if not (is_traced and _is_inert(part)):
            _remember(vars(part), undo_steps, visited)
    if not is_traced:
        undo_steps.append(partial(random.setstate, random.getstate()))
        undo_steps.append(partial(np.random.set_state, np.random.get_state()))
    with backend.state_kept(model):
        try:
            yield
        finally:
            for undo in undo_steps:
                undo()


def _is_inert(part: Any) -> bool:
    """Tell whether a part of a model is Keras's own, and holds no code of the user's."""
    return is_of_keras(part) and not isinstance(part, (Lambda, JaxLayer))


def _remember(value: Any, undo_steps: list[Callable[[], None]], visited: set[int]) -> None:
    """Note how to put back what a value holds, and what is held by what it holds."""
    if id(value) in visited:
        return
    visited.add(id(value))
    if isinstance(value, np.ndarray):
        if value.flags.writeable and value.nbytes <= _LARGE:
            undo_steps.append(partial(np.copyto, value, value.copy()))
        return
    # Past Keras's own lists and dicts, which note what is added: nothing in them is new.
    if isinstance(value, dict):
        undo_steps.append(partial(_put_back, value, dict(value)))
    elif isinstance(value, list):
        undo_steps.append(partial(list.__setitem__, value, slice(None), list(value)))
    elif isinstance(value, set):
        undo_steps.append(partial(_put_back_set, value, set(value)))
    elif isinstance(value, deque):
        undo_steps.append(partial(deque.__init__, value, list(value), value.maxlen))
    for item in list(value.values() if isinstance(value, dict) else value):
        if isinstance(item, _HOLDS):
            _remember(item, undo_steps, visited)


def _put_back(value: dict[Any, Any], held: dict[Any, Any]) -> None:
    kind = OrderedDict if isinstance(value, OrderedDict) else dict
    for key in value.keys() - held.keys():
        kind.__delitem__(value, key)
    for key, item in held.items():
        if key not in value or (value[key] is not item and key != _REQUEST):
            kind.__setitem__(value, key, item)


def _put_back_set(value: set[Any], held: set[Any]) -> None:
    set.intersection_update(value, held)
    set.update(value, held)
