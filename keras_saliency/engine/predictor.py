"""Answers for images that are not explained, in forward passes only."""

import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.batching import BatchRunner, Rows, gathered
from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.preprocessing import Preprocessing

_BATCH_SIZE = 128  # images, or frames of videos
# Images whose outputs are kept at every place, and the most numbers of these.
_WITH_MAPS, _NUMBERS = 16, 2**25


class Forward:
    """Computes answers with the model's current weights, and leaves the model as it was.

    Args:
        context: What was resolved for the model.
        batch_size: The largest number of images, or frames of videos, in one pass.
    """

    def __init__(self, context: ModelContext, batch_size: int = _BATCH_SIZE) -> None:
        self._head = context.head
        self._preprocessing = Preprocessing(context.call.model, context.call.inputs)
        self._outputs = backend.compiled(context.call, context.call.model)
        self._at_most = batch_size
        size = context.call.at_most(batch_size)
        self._run = BatchRunner(self._in_batches, size, context.call.model)

    def answers(self, images: np.ndarray, *extras: np.ndarray) -> np.ndarray:
        """Compute the probability of each class, or a regression's values.

        Args:
            images: Model inputs, `(n, height, width, channels)`, or videos `(n, frames, ...)`.
            *extras: The model's other inputs, `(n, ...)` each.

        Returns:
            Probabilities `(n, classes)` in [0, 1], or values `(n, units)`.
        """
        outputs = self._run(images, *extras, at_most=at_a_time(self._at_most, images))
        probabilities = self._head.probabilities(outputs)
        return outputs.reshape(len(outputs), -1) if probabilities is None else probabilities

    def maps(self, images: np.ndarray, *extras: np.ndarray) -> np.ndarray:
        """Compute the probability of each class at each place of the output.

        Args:
            images: Model inputs, `(n, height, width, channels)`.
            *extras: The model's other inputs, `(n, ...)` each.

        Returns:
            Probabilities `(n, h, w, classes)` in [0, 1]; of a regression the outputs.
        """
        size = max(1, min(_WITH_MAPS, _NUMBERS // int(np.prod(self._head.shape))))
        outputs = self._run(images, *extras, at_most=size)
        probabilities = self._head.probability_maps(outputs)
        return outputs if probabilities is None else probabilities

    def _in_batches(self, size: int, images: np.ndarray, *extras: np.ndarray) -> np.ndarray:
        def outputs(rows: Rows) -> np.ndarray:
            batch = ops.convert_to_tensor(self._preprocessing.images(images[rows]), "float32")
            others = [ops.convert_to_tensor(values[rows]) for values in extras]
            return np.asarray(ops.convert_to_numpy(self._outputs(batch, *others)))

        return gathered(outputs, len(images), size)


def at_a_time(count: int, images: np.ndarray) -> int:
    """Return `count` for images; for videos, how many have so many frames together, at least 1."""
    return count if images.ndim == 4 else max(1, count // images.shape[1])
