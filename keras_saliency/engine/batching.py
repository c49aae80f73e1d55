"""Batches of one size, which is halved whenever memory runs out."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

import keras
import numpy as np

from keras_saliency.engine import backend
from keras_saliency.engine.state_guard import preserve_state

Result = TypeVar("Result")

Rows: TypeAlias = slice | np.ndarray  # of images: a slice where they need no copy


class BatchRunner(Generic[Result]):
    """Calls a function of images with the batch size that memory allows.

    The model is left as it was. Once the function has run on a shape, nothing but passes that are
    compiled for it runs any more, so that less of the model needs to be guarded. Where memory runs
    out, the batch size is halved, for this call and those to come.

    Args:
        function: `(size, images, *arguments) -> result`, which runs at most `size` images through
            the model at once, as `batches` and `gathered` do.
        batch_size: The size to begin with.
        model: The model that the function runs.

    Example:
        >>> import keras
        >>> def function(size, images):
        ...     return [0] * size if size < 10 else [0] * 10**17
        >>> runner = BatchRunner(function, 32, keras.Sequential())
        >>> runner(np.zeros((40, 8))), runner.batch_size
        ([0, 0, 0, 0, 0, 0, 0, 0], 8)
    """

    def __init__(
        self, function: Callable[..., Result], batch_size: int, model: keras.Model
    ) -> None:
        self.batch_size = batch_size
        self._function = function
        self._model = model
        self._traced: set[tuple[int, ...]] = set()

    def __call__(
        self, images: np.ndarray, *arguments: Any, at_most: int | None = None, **options: Any
    ) -> Result:
        """Call the function.

        Args:
            images: `(n, ...)`.
            *arguments: Handed on to the function.
            at_most: A lower batch size for this call.
            **options: Handed on, likewise.

        Returns:
            What the function returns.

        Raises:
            Exception: What the function raises for other reasons, or with one image at a time.
        """
        size = self.batch_size if at_most is None else min(at_most, self.batch_size)
        while True:
            try:
                return self._guarded(size, images, *arguments, **options)
            except Exception as error:
                if not can_halve(error, size):
                    raise
            # Once the error is gone, and with it the tensors that its frames held.
            size = self.batch_size = size // 2

    def _guarded(self, size: int, images: np.ndarray, *arguments: Any, **options: Any) -> Result:
        shape = (size, *images.shape[1:])
        is_traced = shape in self._traced and backend.runs_compiled(self._model)
        with preserve_state(self._model, is_traced=is_traced):
            result = self._function(size, images, *arguments, **options)
        self._traced.add(shape)
        return result


def batches(count: int, size: int) -> Iterator[tuple[Rows, slice]]:
    """Yield the rows of each batch, and which of the `count` images these are.

    The last batch is filled up with the last image, so that one trace serves all.
    """
    for start in range(0, count, size):
        real = slice(start, min(start + size, count))
        is_full = real.stop == start + size
        yield real if is_full else np.minimum(np.arange(start, start + size), count - 1), real


def gathered(function: Callable[[Rows], np.ndarray], count: int, size: int) -> np.ndarray:
    """Call `function(rows) -> (size, ...)` batch by batch, and return its `(count, ...)`."""
    return np.concatenate([function(rows) for rows, _ in batches(count, size)])[:count]


def can_halve(error: Exception, size: int) -> bool:
    """Tell whether what failed with `size` images at once may succeed with fewer."""
    return size > 1 and backend.is_out_of_memory(error)
