"""How many batches a model has trained on."""

import keras

from keras_saliency.engine.keras_private import batches_of


class BatchCount:
    """Counts batches by the hooks of a callback, and corrects that count by the optimizer's.

    The hooks count on past the end of data where several batches run in one go, and what they count
    is not saved with a model. The optimizer counts the batches it has applied, without those that
    float16 has skipped, but reading its count waits for the device: `correct` does it.

    Args:
        model: The model, before its first batch.

    Attributes:
        count: How many batches, in earlier training runs too; between corrections at least as many.
    """

    def __init__(self, model: keras.Model) -> None:
        self.count = self._corrected = self._by_optimizer = batches_trained(model)
        self._in_epoch = self._beyond = 0

    def begin_epoch(self, model: keras.Model) -> None:
        """Begin to count from the first batch of an epoch."""
        self.correct(model)
        self._in_epoch = 0

    def end(self, batch: int, steps: int | None) -> None:
        """Count up to a batch that has ended.

        Args:
            batch: Its number in the epoch from 0, as Keras gives it to hooks.
            steps: How many batches an epoch has, where that is known.
        """
        ended = batch + 1
        self.count += max(1, ended - self._in_epoch)
        self._in_epoch, self._beyond = ended, max(0, ended - (steps or ended))

    def correct(self, model: keras.Model) -> None:
        """Set the count to the optimizer's, if the model's optimizer takes one step a batch."""
        by_optimizer = batches_trained(model)
        moved, hooked = by_optimizer - self._by_optimizer, self.count - self._corrected
        at_once = getattr(model, "steps_per_execution", 1)
        optimizer = getattr(model, "optimizer", None)
        may_skip = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        least = 0 if may_skip else hooked - at_once + 1
        if least <= moved < hooked + at_once:
            self.count = self._corrected + moved
        else:
            self.count -= self._beyond
        self._corrected, self._by_optimizer, self._beyond = self.count, by_optimizer, 0


def batches_trained(model: keras.Model) -> int:
    """Return how many batches a model's optimizer has applied; 0 if it has none."""
    optimizer = getattr(model, "optimizer", None)
    return int(keras.ops.convert_to_numpy(batches_of(optimizer))) if optimizer else 0
