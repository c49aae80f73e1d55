"""Reduction of the channels of images."""

from collections.abc import Callable
from functools import reduce
from typing import Any

from keras import ops

_FEW = 4


def over_channels(along: Callable[..., Any], pair: Callable[..., Any], values: Any) -> Any:
    """Reduce `values` by `along` their last axis, or pair by pair where channels are few.

    Along a short axis TensorFlow takes twice as long on a CPU as pair by pair.

    Args:
        along: A reduction such as `ops.max`.
        pair: The same of two tensors, such as `ops.maximum`.
        values: `(batch, ..., channels)`.

    Returns:
        A tensor `(batch, ...)`.
    """
    if values.shape[-1] > _FEW:
        return along(values, axis=-1)
    return reduce(pair, ops.unstack(values, axis=-1))
