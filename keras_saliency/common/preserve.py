"""State that other code moves while it runs, put back afterwards."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np


@contextlib.contextmanager
def preserve(states: Iterable[tuple[Callable[[Any], Any], Any]]) -> Iterator[None]:
    """Call each setter with its value at the end, whatever happens."""
    held = list(states)
    try:
        yield
    finally:
        for put_back, value in held:
            put_back(value)


@contextlib.contextmanager
def preserve_random_streams() -> Iterator[None]:
    """Put the global random streams back: a dataset's code may draw from them."""
    torch = sys.modules.get("torch")
    streams = (np.random.set_state, np.random.get_state()), (random.setstate, random.getstate())
    with (
        preserve(streams),
        torch.random.fork_rng(devices=[]) if torch else contextlib.nullcontext(),
    ):
        yield


def preserve_variables(variables: Iterable[Any]) -> contextlib.AbstractContextManager[None]:
    """Give Keras variables their values back at the end."""
    from keras import ops

    # A copy: on some backends the array would share its memory with the variable.
    return preserve([(v.assign, np.array(ops.convert_to_numpy(v))) for v in variables])
