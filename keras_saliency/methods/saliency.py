"""Gradient saliency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from keras import ops

from keras_saliency.common.validation import check_choice
from keras_saliency.methods._channels import over_channels

if TYPE_CHECKING:
    from keras_saliency.engine.scored_model import ScoredModel


def saliency(
    model: ScoredModel, images: Any, *, channels: Literal["max", "sum", "l2"] = "max"
) -> Any:
    """Compute gradient saliency: how much the score changes with each pixel.

        M_ij = max_c |dS / dx_ijc|

    Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", arXiv:1312.6034.

    Args:
        model: The scored model.
        images: (batch, height, width, channels).
        channels: How the channels' absolute gradients are reduced: `"max"` as in the paper,
            `"sum"`, or `"l2"`, their Euclidean norm.

    Returns:
        Maps (batch, height, width), not negative, in units of the score per unit of input.

    Raises:
        ValueError: Another word for `channels`.

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
