"""Attention scores, collected in place while a forward pass runs."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from keras_saliency.engine.keras_private import attended_axes, flatten_layers
from keras_saliency.engine.tracing import Trace, patched_call

ATTENTION_LAYERS = (layers.MultiHeadAttention, layers.GroupQueryAttention, layers.Attention)


@dataclass(frozen=True)
class AttentionScores:
    """The scores of one call of an attention layer.

    Attributes:
        layer: The layer.
        values: `(batch, heads, *queries, *keys)`; without heads of `layers.Attention`.
        axes: How many axes the queries have, `(batch, *axes, channels)`.
    """

    layer: keras.layers.Layer
    values: Any
    axes: int

    @property
    def is_partial(self) -> bool:
        """Whether tokens attend along some of their axes alone, such as those of one row."""
        order = attended_axes(self.layer)
        in_order = order is None or order == tuple(range(1, self.axes + 1))
        return len(self.values.shape) < self.heads_end + 2 * self.axes or not in_order

    @property
    def heads_end(self) -> int:
        """How many axes there are before those of queries and keys."""
        return 1 if isinstance(self.layer, layers.Attention) else 2

    def matrix(self) -> Any:
        """Return `(batch, heads, queries, keys)`, the tokens in row-major order."""
        batch, *_ = shape = tuple(self.values.shape)
        keys = math.prod(shape[len(shape) - self.axes :])
        queries = math.prod(shape[self.heads_end : len(shape) - self.axes])
        return ops.reshape(self.values, (batch, -1, queries, keys))


@contextmanager
def met_attention(model: keras.Model, trace: Trace) -> Iterator[list[AttentionScores]]:
    """Collect the attention scores of every call of an attention layer within the context.

    Args:
        model: The model, whose attention layers are Keras's or subclasses of these.
        trace: A forward pass of it; calls that are not in it are left out.

    Yields:
        Scores in the order of execution.
    """
    collected: list[AttentionScores] = []

    def on_call(
        layer: keras.layers.Layer,
        traced: set[int],
        numbers: Iterator[int],
        original: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        with_scores = kwargs.pop("return_attention_scores", False)
        output, scores = original(*args, **kwargs, return_attention_scores=True)
        if next(numbers) in traced:
            collected.append(AttentionScores(layer, scores, len(output.shape) - 2))
        return (output, scores) if with_scores else output

    with ExitStack() as patches:
        for layer in flatten_layers(model):
            if isinstance(layer, ATTENTION_LAYERS):
                traced = {call.number for call in trace.calls_of(layer)}
                hook = partial(on_call, layer, traced, itertools.count())
                patches.enter_context(patched_call(layer, hook))
        yield collected


def self_attention(collected: list[AttentionScores], batch: int, name: str) -> Any:
    """Stack the self-attention of a model, averaged over heads.

    Args:
        collected: What `met_attention` collected.
        batch: How many images went through the model.
        name: The model's name, for the message.

    Returns:
        `(batch, layers, tokens, tokens)` float32; each row sums to 1.

    Raises:
        ValueError: No self-attention over all tokens of an image.
    """
    partial_ones = [scores.layer.name for scores in collected if scores.is_partial]
    if partial_ones:
        raise ValueError(
            "Attention rollout needs attention of each token to all tokens of an image. Received: "
            f"model={name!r}, whose layer {partial_ones[0]!r} attends along some of their axes "
            "alone, such as within rows (axial attention). Use 'grad_cam' with a layer, or "
            "'saliency'."
        )
    matrices = [scores.matrix() for scores in collected]
    square = [scores for scores in matrices if scores.shape[-1] == scores.shape[-2]]
    if not square:
        reason = "attention only runs between two sequences" if collected else "no such layer runs"
        raise ValueError(
            "Attention rollout needs self-attention in keras.layers.MultiHeadAttention, "
            f"GroupQueryAttention or Attention. Received: model={name!r}, in which {reason}."
            " Use 'grad_cam' or 'saliency', which need none."
        )
    shapes = {(scores.shape[0], scores.shape[-1]) for scores in square}
    if shapes != {(batch, square[0].shape[-1])}:
        raise ValueError(
            "Attention rollout needs the same tokens of the whole image in all layers. Received: "
            f"model={name!r}, whose layers attend over {sorted(tokens for _, tokens in shapes)} "
            "tokens, or within windows. Use 'grad_cam' with a layer, or 'saliency'."
        )
    tokens = square[0].shape[-1]
    shape = (batch, -1, tokens, tokens)
    heads = [ops.reshape(ops.cast(scores, "float32"), shape) for scores in square]
    return ops.stack([ops.mean(scores, axis=1) for scores in heads], axis=1)
