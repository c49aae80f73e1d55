"""Attribution methods: one file each, named as the function it holds.

A method is a function `(model, images) -> maps`: it asks a `ScoredModel` for what it needs and
returns raw maps `(batch, h, w)`. A function of your own is as good as a built-in one.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

from keras_saliency.common.validation import did_you_mean

Method = Callable[[Any, Any], Any]


def available() -> list[str]:
    """List the names of the built-in methods.

    Returns:
        The names, sorted.

    Example:
        >>> "grad_cam" in available()
        True
    """
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def get(method: str | Method) -> Method:
    """Return a method by its name, or a callable as it is.

    Args:
        method: A name out of `available()`, or a callable `(model, images) -> maps (batch, h, w)`.

    Returns:
        The callable.

    Raises:
        ValueError: The name is unknown.
        TypeError: Neither a name nor a callable.

    Example:
        >>> get("grad_cam").__name__
        'grad_cam'
    """
    if callable(method):
        return method
    if not isinstance(method, str):
        raise TypeError(
            f"A method must be a name or a callable (model, images) -> maps. Received: {method!r}"
        )
    if method not in available():
        hint = did_you_mean(method.replace("-", "_").lower(), available())
        raise ValueError(
            f"Unknown method {method!r}.{hint} Available: {', '.join(available())}; "
            "or give a callable (model, images) -> maps."
        )
    found: Method = getattr(import_module(f"{__name__}.{method}"), method)
    return found


def name_of(method: str | Method) -> str:
    """Return the name under which a method's maps are filed."""
    if isinstance(method, str):
        return method
    inner: Any = method.func if isinstance(method, functools.partial) else method
    return getattr(inner, "__name__", type(inner).__name__).strip("<>")
