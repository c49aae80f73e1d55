"""Attention scores, collected in place while a forward pass runs."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from keras_saliency.engine.keras_private import APPLY_SCORES, attended_axes, flatten_layers
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

    def symbolic(self, rows: int) -> "AttentionScores":
        """Return the same for one of so many images, with the shape and dtype of scores alone."""
        count, *shape = self.values.shape
        dtype = keras.backend.standardize_dtype(self.values.dtype)
        return replace(self, values=keras.KerasTensor((count // rows, *shape), dtype))

    def zeros(self, rows: int) -> Any:
        """Return zeros of the shape that symbolic scores have for so many images."""
        count, *shape = self.values.shape
        return ops.zeros((count * rows, *shape), self.values.dtype)

    def matrix(self) -> Any:
        """Return `(batch, heads, queries, keys)`, the tokens in row-major order."""
        batch, *_ = shape = tuple(self.values.shape)
        keys = math.prod(shape[len(shape) - self.axes :])
        queries = math.prod(shape[self.heads_end : len(shape) - self.axes])
        return ops.reshape(self.values, (batch, -1, queries, keys))


@contextmanager
def met_attention(
    model: keras.Model, trace: Trace, added: Sequence[Any] | None = None
) -> Iterator[list[AttentionScores]]:
    """Collect the attention scores of every call of an attention layer within the context.

    Args:
        model: The model, whose attention layers are Keras's or subclasses of these.
        trace: A forward pass of it; calls that are not in it are left out.
        added: What is added to the scores of each call before they weigh the values, of the
            scores' shapes; None adds nothing.

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
        is_traced = next(numbers) in traced
        change: AbstractContextManager[None] = nullcontext()
        if is_traced and added is not None:
            change = _changed(layer, added[len(collected)])
        with change:
            output, scores = original(*args, **kwargs, return_attention_scores=True)
        if is_traced:
            collected.append(AttentionScores(layer, scores, len(output.shape) - 2))
        return (output, scores) if with_scores else output

    with ExitStack() as patches:
        for layer in flatten_layers(model):
            if isinstance(layer, ATTENTION_LAYERS):
                traced = {call.number for call in trace.calls_of(layer)}
                hook = partial(on_call, layer, traced, itertools.count())
                patches.enter_context(patched_call(layer, hook))
        yield collected


def _changed(layer: keras.layers.Layer, added: Any) -> AbstractContextManager[None]:
    """Add something to the scores of an attention layer, which then weigh its values."""
    if isinstance(layer, layers.Attention):

        def on_scores(
            original: Callable[..., Any], scores: Any, value: Any, *args: Any, **kwargs: Any
        ) -> Any:
            output, weights = original(scores, value, *args, **kwargs)
            return output + ops.matmul(added, value), weights + added

        return patched_call(layer, on_scores, APPLY_SCORES)

    def on_softmax(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs) + added

    softmax = next(part for part in flatten_layers(layer) if isinstance(part, layers.Softmax))
    return patched_call(softmax, on_softmax)


def positive_products(
    calls: Sequence[AttentionScores], values: Sequence[Any], gradients: Sequence[Any]
) -> list[AttentionScores] | None:
    """Multiply attention scores by their gradients, and keep what is positive.

    Args:
        calls: The calls of attention.
        values: Their scores.
        gradients: The gradient at these; None where there is none, which counts as zero.

    Returns:
        The products in float32, as scores of the same calls; None where no call has a gradient.
    """
    if all(gradient is None for gradient in gradients):
        return None
    products = []
    for call, value, gradient in zip(calls, values, gradients, strict=True):
        value = ops.cast(value, "float32")
        slope = 0.0 if gradient is None else ops.cast(gradient, "float32")
        products.append(replace(call, values=ops.relu(value * slope)))
    return products


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
            "Maps of attention need attention of each token to all tokens of an image. Received: "
            f"model={name!r}, whose layer {partial_ones[0]!r} attends along some of their axes "
            "alone, such as within rows (axial attention). Use 'grad_cam' with a layer, or "
            "'saliency'."
        )
    matrices = [scores.matrix() for scores in collected]
    square = [scores for scores in matrices if scores.shape[-1] == scores.shape[-2]]
    if not square:
        reason = "attention only runs between two sequences" if collected else "no such layer runs"
        raise ValueError(
            "Maps of attention need self-attention in keras.layers.MultiHeadAttention, "
            f"GroupQueryAttention or Attention. Received: model={name!r}, in which {reason}."
            " Use 'grad_cam' or 'saliency', which need none."
        )
    shapes = {(scores.shape[0], scores.shape[-1]) for scores in square}
    if shapes != {(batch, square[0].shape[-1])}:
        raise ValueError(
            "Maps of attention need the same tokens of the whole image in all layers. Received: "
            f"model={name!r}, whose layers attend over {sorted(tokens for _, tokens in shapes)} "
            "tokens, or within windows. Use 'grad_cam' with a layer, or 'saliency'."
        )
    tokens = square[0].shape[-1]
    shape = (batch, -1, tokens, tokens)
    heads = [ops.reshape(ops.cast(scores, "float32"), shape) for scores in square]
    return ops.stack([ops.mean(scores, axis=1) for scores in heads], axis=1)
