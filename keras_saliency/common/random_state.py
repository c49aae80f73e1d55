"""Global random streams, put back after foreign code has drawn from them."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def random_streams_kept() -> Iterator[None]:
    """Put the global random streams back: a dataset's code may draw from them."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    torch = sys.modules.get("torch")
    try:
        with torch.random.fork_rng(devices=[]) if torch else contextlib.nullcontext():
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
