"""Attribution methods, one function in a module of its name.

A method is a function `(model, images) -> maps`. It gets a `ScoredModel`, which computes scores,
gradients and activations, and model inputs `(batch, height, width, channels)`. It returns raw maps
`(batch, h, w)`. Your own function is used like a built-in one.

    >>> import keras_saliency as ks
    >>> ks.methods.get("grad_cam") is ks.methods.grad_cam
    True
"""

import functools
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

Method = Callable[[Any, Any], Any]

__all__ = ["Method", "available", "get", "name_of"]


def available() -> list[str]:
    """List the names of the built-in methods.

    Returns:
        The names, in alphabetical order.

    Example:
        >>> "grad_cam" in available()
        True
    """
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def get(method: str | Method) -> Method:
    """Look a method up by its name; return a callable unchanged.

    Args:
        method: One of the names in `available()`, or a callable `(model, images) -> maps`.

    Returns:
        The method, a callable `(model, images) -> maps`.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If `method` is neither a name nor a callable.

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
        from keras_saliency.common.validation import did_you_mean  # with NumPy, which --help spares

        hint = did_you_mean(method.replace("-", "_").lower(), available())
        raise ValueError(
            f"Unknown method {method!r}.{hint} Available: {', '.join(available())}; "
            "or give a callable (model, images) -> maps."
        )
    built_in: Method = getattr(import_module(f"{__name__}.{method}"), method)
    globals()[method] = built_in  # in place of its module, which importing it has put there
    return built_in


def name_of(method: str | Method) -> str:
    """Return the name of a method, which keys its maps.

    Args:
        method: A name, or a callable; of a `functools.partial` the name of its function is taken.

    Returns:
        The name.

    Example:
        >>> name_of(get("grad_cam"))
        'grad_cam'
    """
    if isinstance(method, str):
        return method
    inner: Any = method.func if isinstance(method, functools.partial) else method
    return getattr(inner, "__name__", type(inner).__name__).strip("<>")


def __getattr__(name: str) -> Method:
    """Load a method when it is used, so that `ks.methods.grad_cam` is that function."""
    if name not in available():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return get(name)


def __dir__() -> list[str]:
    return sorted([*__all__, *available()])
