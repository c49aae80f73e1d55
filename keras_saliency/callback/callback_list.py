"""The other callbacks of a training, of which Keras tells a callback nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import keras


class Siblings:
    """The callbacks of a training in their order; to be made inside one of the callback's hooks.

    Args:
        callback: The one that asks.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self._callback = callback
        self._listed = _listed_with(callback)

    def carried(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """Take what Keras's own `TensorBoard` would write of an epoch's logs, where there is none.

        The numbers of the verdict have curves of their own.
        """
        if any(isinstance(one, keras.callbacks.TensorBoard) for one in self._listed):
            return {}
        return {k: float(v) for k, v in logs.items() if not k.startswith("shortcut_")}

    def restorers(self) -> list[keras.callbacks.EarlyStopping]:
        """Return each `EarlyStopping` that brings the best weights back when training ends."""
        kind = keras.callbacks.EarlyStopping
        return [one for one in self._listed if isinstance(one, kind) and one.restore_best_weights]

    def after(self) -> list[keras.callbacks.Callback]:
        """Return those whose hooks run after those of the one that asks."""
        return self._listed[self._listed.index(self._callback) + 1 :]

    def comes_before(self, other: keras.callbacks.Callback) -> bool:
        """Whether another callback's hooks run before those of the one that asks."""
        return self._listed.index(other) < self._listed.index(self._callback)


def _listed_with(callback: keras.callbacks.Callback) -> list[keras.callbacks.Callback]:
    """Find the list that calls the callback's hook: its owner is a caller further up."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        listed = getattr(frame.f_locals.get("self"), "callbacks", None)
        if isinstance(listed, list) and any(one is callback for one in listed):
            return list(listed)
        frame = frame.f_back
    return [callback]
