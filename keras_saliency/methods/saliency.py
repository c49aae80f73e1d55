"""Gradient saliency."""

from typing import Any, Literal

from keras import ops

from keras_saliency.common.validation import check_choice
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._channels import over_channels


def saliency(
    model: ScoredModel, images: Any, *, channels: Literal["max", "sum", "l2"] = "max"
) -> Any:
    """Compute gradient saliency: the change of the score with each pixel.

        M_ij = max_c |dS / dx_ijc|

    Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", arXiv:1312.6034.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        channels: How the channels' absolute gradients are reduced: `"max"` as in the paper,
            `"sum"`, or `"l2"`, their Euclidean norm.

    Returns:
        Maps `(batch, height, width)`, not negative, in units of the score per unit of input.

    Raises:
        ValueError: If `channels` is none of these.

    Example:
        >>> import functools, keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> norm = functools.partial(ks.methods.get("saliency"), channels="l2")
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), norm).maps.shape
        (1, 4, 6)
    """
    size = ops.abs(model.input_gradients(images))
    if channels == "max":
        return over_channels(ops.max, ops.maximum, size)
    if channels == "sum":
        return over_channels(ops.sum, ops.add, size)
    check_choice(channels, "channels", ("max", "sum", "l2"))
    return ops.sqrt(ops.sum(ops.square(size), axis=-1))
