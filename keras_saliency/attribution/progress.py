"""A progress bar for evaluations that take long."""

import time

import keras

PATIENCE = 2.0  # seconds without a bar, in which most evaluations end


class Progress:
    """Shows a bar once an evaluation has taken longer than `PATIENCE`.

    Args:
        batches: The number of batches of images.
    """

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._before = 0
        self._began = time.monotonic()
        self._bar: keras.utils.Progbar | None = None

    def __call__(self, done: int, passes: int) -> None:
        """Report that `done` of the `passes` of the current batch are done."""
        if self._bar is None and time.monotonic() - self._began > PATIENCE:
            self._bar = keras.utils.Progbar(passes * self._batches, unit_name="pass")
        if self._bar is not None:
            self._bar.update(self._before + done)
        if done == passes:
            self._before += passes
