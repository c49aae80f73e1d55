"""Forward passes and nothing else: what a model says of images that are not explained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.batching import with_fewer
from keras_saliency.engine.passes import ModelContext
from keras_saliency.engine.state_guard import preserve_state

_AT_ONCE = 128  # images, or frames of videos


class Forward:
    """A model asked for probabilities alone, with its weights of now, leaving no trace in it.

    Args:
        setting: What was settled for the model: one of classes, that takes images alone.
    """

    def __init__(self, context: ModelContext) -> None:
        self._context = context
        self._outputs = backend.compiled(context.call, context.model)
        self._at_once = _AT_ONCE
        self._traced: set[tuple[int, ...]] = set()

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Compute the probability of each class.

        Args:
            images: Model inputs, `(n, height, width, channels)`, or videos `(n, frames, ...)`.

        Returns:
            `(n, classes)` in [0, 1].
        """

        def attempt(at_once: int) -> np.ndarray:
            found = []
            shape, model = (at_once, *images.shape[1:]), self._context.model
            is_traced = shape in self._traced and backend.runs_compiled(model)
            with preserve_state(model, is_traced=is_traced):
                for rows in chunks(len(images), at_once):
                    outputs = self._outputs(ops.convert_to_tensor(images[rows], "float32"))
                    found.append(ops.convert_to_numpy(outputs))
            self._traced.add(shape)
            return np.concatenate(found)[: len(images)]

        most = at_a_time(self._at_once, images)
        outputs, found = with_fewer(attempt, most)
        self._at_once = self._at_once * found // most
        return np.asarray(self._context.head.probabilities(outputs))


def at_a_time(count: int, images: np.ndarray) -> int:
    """How many images, or videos of together so many frames, are taken at a time."""
    return count if images.ndim == 4 else max(1, count // images.shape[1])


def chunks(count: int, size: int) -> Iterator[np.ndarray]:
    """Yield rows in chunks of one size, the last filled up, so that one trace serves all."""
    for start in range(0, count, size):
        yield np.minimum(np.arange(start, start + size), count - 1)
