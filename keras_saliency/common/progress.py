"""Progress of what takes longer than a moment, on standard error."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Report = Callable[[int, int], None]  # of what is done, and of how much that is

_PATIENCE = 2.0  # seconds without a word
_EVERY = 1.0  # seconds between updates
_CLEAR, _UP = "\r\x1b[2K", "\x1b[1A"  # this line, and the cursor


def with_progress(items: Iterable[Any], total: int, message: str) -> Iterator[Any]:
    """Yield the items, and say how far it is once that has taken more than 2 s.

    Nothing is said where the standard error is neither a terminal nor a notebook.

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
        if _is_read() and now - started > _PATIENCE and now - shown > _EVERY:
            shown, spoken = now, True
            print(f"\r{message}: {done} of {total}", end="", file=sys.stderr, flush=True)
        yield item
    if spoken:
        print(f"\r{message}: {total} of {total}", file=sys.stderr, flush=True)


def _is_read() -> bool:
    """Whether somebody sees the standard error as it is written: in files lines would pile up."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


@contextlib.contextmanager
def terminal_line(message: str) -> Iterator[Report]:
    """Say within the context how far it is, once that has taken more than 2 s.

    The line stands below the cursor, which at the end is in the line where it was: the progress bar
    there is drawn on. Nothing is said where the standard error is no terminal.

    Args:
        message: What is done, such as `"evaluating the probes"`.

    Yields:
        A function `(done, total)` to be called as it goes on.
    """
    started = time.monotonic()
    shown = 0.0

    def report(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if sys.stderr.isatty() and now - started > _PATIENCE and now - shown > _EVERY:
            start, shown = _CLEAR if shown else "\n", now
            print(f"{start}{message}: {done} of {total}", end="", file=sys.stderr, flush=True)

    try:
        yield report
    finally:
        if shown:
            print(f"{_CLEAR}{_UP}", end="", file=sys.stderr, flush=True)
