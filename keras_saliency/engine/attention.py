"""Attention scores, collected in place while a forward pass runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras import layers, ops

from keras_saliency.engine.keras_private import flatten_layers
from keras_saliency.engine.tracing import patched_call

ATTENTION_LAYERS = (layers.MultiHeadAttention, layers.GroupQueryAttention, layers.Attention)


@contextmanager
def met_attention(model: keras.Model) -> Iterator[list[Any]]:
    """Collect the attention scores of every call of an attention layer within the context.

    Args:
        model: The model, whose attention layers are Keras's or subclasses of these.

    Yields:
        Tensors `(batch, heads, queries, keys)`, in the order of execution.
    """
    collected: list[Any] = []

    def on_call(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with_scores = kwargs.pop("return_attention_scores", False)
        output, scores = original(*args, **kwargs, return_attention_scores=True)
        collected.append(scores)
        return (output, scores) if with_scores else output

    with ExitStack() as patches:
        for layer in flatten_layers(model):
            if isinstance(layer, ATTENTION_LAYERS):
                patches.enter_context(patched_call(layer, on_call))
        yield collected


def self_attention(collected: list[Any], batch: int, name: str) -> Any:
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
    square = [scores for scores in collected if scores.shape[-1] == scores.shape[-2]]
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
