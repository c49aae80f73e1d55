"""Whether the moving averages of a model's batch norms have seen enough to be trusted."""

import keras

from keras_saliency.callback.batch_count import batches_trained
from keras_saliency.engine.keras_private import flatten_layers


class BatchNormStatus:
    """Counts the steps since a training run began.

    Args:
        model: The model, before its first batch.
    """

    def __init__(self, model: keras.Model) -> None:
        has_optimizer = getattr(model, "optimizer", None)
        self._momentum = _fresh_momentum(model) if has_optimizer else 0.0
        self._start = batches_trained(model)

    def note(self, model: keras.Model) -> str:
        """Return a note for readers of the model's maps as it is now, or nothing."""
        # Moving averages that began at 0 and 1 and still hold a tenth of it say little.
        weight = self._momentum ** (batches_trained(model) - self._start) if self._momentum else 0
        return "batch norm not settled" if weight > 0.1 else ""


def keeps_averages(model: keras.Model) -> bool:
    """Return whether a model's optimizer averages the weights (`use_ema=True`)."""
    optimizer = getattr(model, "optimizer", None)
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
    return any(getattr(one, "use_ema", False) for one in getattr(inner, "optimizers", [inner]))


def _fresh_momentum(model: keras.Model) -> float:
    """Return the slowest momentum of batch norms that have seen nothing yet, or 0."""
    momenta = [0.0]
    for layer in flatten_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and layer.built:
            mean = keras.ops.convert_to_numpy(layer.moving_mean)
            variance = keras.ops.convert_to_numpy(layer.moving_variance)
            if not mean.any() and (variance == 1).all():
                momenta.append(layer.momentum)
    return max(momenta)
