"""A progress bar for what lasts."""

from __future__ import annotations

import time

import keras

PATIENCE = 2.0  # seconds without a bar, since most explanations are there by then


class Progress:
    """Show a bar once something lasts longer than `PATIENCE`.

    Args:
        batches: How often the passes are gone through: once for each batch of images.
    """

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._before = 0
        self._began = time.monotonic()
        self._bar: keras.utils.Progbar | None = None

    def __call__(self, done: int, passes: int) -> None:
        """Take note that `done` of the `passes` of the current batch are done."""
        if self._bar is None and time.monotonic() - self._began > PATIENCE:
            self._bar = keras.utils.Progbar(passes * self._batches, unit_name="pass")
        if self._bar is not None:
            self._bar.update(self._before + done)
        if done == passes:
            self._before += passes
