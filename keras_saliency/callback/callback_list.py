"""The other callbacks of a training run, which Keras does not tell a callback about."""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import keras

from keras_saliency.callback import messages
from keras_saliency.engine.keras_private import runs_batch_hooks_in_threads


class OtherCallbacks:
    """The callbacks of a training run in their order; to be made inside one of a callback's hooks.

    Args:
        callback: The callback whose hook runs.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self._callback = callback
        self._owner = _list_that_calls(callback)
        self._callbacks = [callback] if self._owner is None else list(self._owner.callbacks)

    def check(self, *, counts_batches: bool) -> None:
        """Refuse lists that harm the training run or its record.

        Args:
            counts_batches: Whether the callback has a hook that runs after each batch.

        Raises:
            ValueError: If the callback is in the list twice, or its hook would run in a thread.
        """
        count = sum(other is self._callback for other in self._callbacks)
        if count > 1:
            raise ValueError(messages.TWICE.format(count))
        if counts_batches and runs_batch_hooks_in_threads(self._owner):
            raise ValueError(messages.NO_LIST)

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

    def swaps_averages(self) -> bool:
        """Whether the averages of the weights are in the model when the callback's epoch ends."""
        kind = keras.callbacks.SwapEMAWeights
        swappers = [c for c in self._callbacks if isinstance(c, kind) and c.swap_on_epoch]
        return any(map(self.comes_before, swappers))

    def after(self) -> list[keras.callbacks.Callback]:
        """Return those whose hooks run after those of the callback."""
        return self._callbacks[self._callbacks.index(self._callback) + 1 :]

    def comes_before(self, other: keras.callbacks.Callback) -> bool:
        """Whether another callback's hooks run before those of the callback."""
        return self._callbacks.index(other) < self._callbacks.index(self._callback)


def _list_that_calls(callback: keras.callbacks.Callback) -> Any:
    """Find the `CallbackList`, or what is like it, that calls the callback's hook further up."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        callbacks = getattr(owner, "callbacks", None)
        if isinstance(callbacks, list) and any(other is callback for other in callbacks):
            return owner
        frame = frame.f_back
    return None
