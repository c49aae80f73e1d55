"""Progress of what takes longer than a moment, on standard error."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

_PATIENCE = 2.0  # seconds without a word
_EVERY = 1.0  # seconds between updates


def with_progress(items: Iterable[Any], total: int, message: str) -> Iterator[Any]:
    """Yield the items, and say how far it is once that has taken more than 2 s.

    Args:
        items: What is done, one after the other.
        total: The number of items.
        message: What is done, such as `"computing masks"`.

    Yields:
        The items.
    """
    started = shown = time.monotonic()
    spoken = False
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - started > _PATIENCE and now - shown > _EVERY:
            shown, spoken = now, True
            print(f"\r{message}: {done} of {total}", end="", file=sys.stderr, flush=True)
        yield item
    if spoken:
        print(f"\r{message}: {total} of {total}", file=sys.stderr, flush=True)
