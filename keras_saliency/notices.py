"""What users are told: once, and pointing at their own line."""

from __future__ import annotations

import inspect
import os
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parent) + os.sep

_told: set[str] = set()


def warn_user(message: str) -> None:
    """Warn at the innermost line of code outside this package."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def is_news(text: str) -> bool:
    """Whether this process asks about a text for the first time, so that hints don't nag."""
    known = text in _told
    _told.add(text)
    return not known
