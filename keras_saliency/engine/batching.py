"""Out of memory: what is asked of many images at once is asked of half as many, and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from keras_saliency.engine import backend

Answer = TypeVar("Answer")


def with_fewer(attempt: Callable[[int], Answer], count: int) -> tuple[Answer, int]:
    """Call `attempt(count)`, of half as many whenever memory is short.

    Args:
        attempt: What is tried, with at most so many images in one pass.
        count: How many it begins with.

    Returns:
        What came out, and with how many.

    Raises:
        Exception: What `attempt` raises for other reasons, or with one image at a time.

    Example:
        >>> def attempt(count):
        ...     return [0] * count if count < 10 else [0] * 10**17
        >>> with_fewer(attempt, 32)
        ([0, 0, 0, 0, 0, 0, 0, 0], 8)
    """
    while True:
        try:
            return attempt(count), count
        except Exception as error:
            if not may_do_with_fewer(error, count):
                raise
        count //= 2  # once the error is gone, and with it the tensors that its frames held


def may_do_with_fewer(error: Exception, count: int) -> bool:
    """Tell whether what failed with `count` images at once may not fail with fewer."""
    return count > 1 and backend.is_out_of_memory(error)
