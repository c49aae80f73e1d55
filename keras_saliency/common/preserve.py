"""State that other code moves while it runs, put back afterwards."""

import contextlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np


def preserve(states: Iterable[tuple[Callable[[Any], Any], Any]]) -> contextlib.ExitStack:
    """Call each setter with its value at the end, whatever happens."""
    stack = contextlib.ExitStack()
    for put_back, value in states:
        stack.callback(put_back, value)
    return stack


@contextlib.contextmanager
def preserve_random_streams() -> Iterator[None]:
    """Put the global random streams back: a dataset's code may draw from them."""
    torch = sys.modules.get("torch")
    streams = (np.random.set_state, np.random.get_state()), (random.setstate, random.getstate())
    with preserve(streams), torch.random.fork_rng(devices=[]) if torch else preserve(()):
        yield


def preserve_variables(variables: Iterable[Any]) -> contextlib.ExitStack:
    """Give Keras variables their values back at the end."""
    from keras import ops

    # A copy: on some backends the array would share its memory with the variable.
    return preserve([(v.assign, np.array(ops.convert_to_numpy(v))) for v in variables])
