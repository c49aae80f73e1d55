"""The other callbacks of a training run, which Keras does not tell a callback about."""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import keras


class OtherCallbacks:
    """The callbacks of a training run in their order; to be made inside one of a callback's hooks.

    Args:
        callback: The callback whose hook runs.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self._callback = callback
        self._callbacks = _list_that_calls(callback)

    def unwritten(self, logs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what Keras's own `TensorBoard` would write of an epoch's logs, if it is absent.

        The numbers of the verdict have curves of their own.
        """
        if any(isinstance(other, keras.callbacks.TensorBoard) for other in self._callbacks):
            return {}
        return {str(k): v for k, v in logs.items() if not str(k).startswith("shortcut_")}

    def restorers(self) -> list[keras.callbacks.EarlyStopping]:
        """Return each `EarlyStopping` that brings the best weights back when training ends."""
        kind = keras.callbacks.EarlyStopping
        return [c for c in self._callbacks if isinstance(c, kind) and c.restore_best_weights]

    def after(self) -> list[keras.callbacks.Callback]:
        """Return those whose hooks run after those of the callback."""
        return self._callbacks[self._callbacks.index(self._callback) + 1 :]

    def comes_before(self, other: keras.callbacks.Callback) -> bool:
        """Whether another callback's hooks run before those of the callback."""
        return self._callbacks.index(other) < self._callbacks.index(self._callback)


def _list_that_calls(callback: keras.callbacks.Callback) -> list[keras.callbacks.Callback]:
    """Find the list that calls the callback's hook: its owner is a caller further up."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        callbacks = getattr(frame.f_locals.get("self"), "callbacks", None)
        if isinstance(callbacks, list) and any(other is callback for other in callbacks):
            return list(callbacks)
        frame = frame.f_back
    return [callback]
