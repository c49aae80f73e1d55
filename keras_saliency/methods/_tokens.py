"""Rows and grids of tokens, which the methods of attention share."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.validation import check_choice
from keras_saliency.engine.scored_model import ScoredModel


def token_maps(
    model: ScoredModel, images: Any, relevance: Any, token: str | None, grid: tuple[int, ...] | None
) -> Any:
    """Lay the rows of some tokens over the grid of patches, and average them.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        relevance: `(batch, tokens, tokens)`, in row i what each token means to token i.
        token: Whose row is taken: `"class"`, `"mean"`, or None for what the head reads.
        grid: Patches along each axis, or None.

    Returns:
        Maps `(batch, *grid)`.

    Raises:
        ValueError: The tokens make no grid, or an option does not fit them.
    """
    check_choice(token, "token", ("class", "mean", None))
    count = relevance.shape[-1]
    size = _grid(model, images, count) if grid is None else _check_grid(grid, count)
    first = count - math.prod(size)
    if token == "class" and not first:
        raise ValueError(
            f"token='class' needs a token before the patches. Received: {count} tokens for a "
            f"grid of {size}. Use token='mean'."
        )
    rows = ops.mean(ops.take(relevance, _rows(model, token, count, first), axis=1), axis=1)
    return ops.reshape(rows[:, first:], (-1, *size))


def _rows(model: ScoredModel, token: str | None, count: int, first: int) -> np.ndarray:
    """Return which rows are averaged; the patches begin at `first`."""
    rows = np.arange(count)
    if token is None:
        read = model.tokens_read(count)
        if read is not None:
            return rows[read & (rows >= first)] if read[first:].any() else rows[read]
    return rows[:1] if token == "class" or (token is None and first) else rows[first:]


def _grid(model: ScoredModel, images: Any, count: int) -> tuple[int, ...]:
    size = model.token_grid(count)
    if size is None:
        raise ValueError(
            f"The tokens make no grid that could be found. Received: {count} tokens for images of "
            f"{tuple(images.shape[1:-1])}. Give grid=, the patches along each axis; tokens before "
            "them are dropped."
        )
    return size


def _check_grid(grid: Any, count: int) -> tuple[int, ...]:
    fits = isinstance(grid, (tuple, list)) and all(isinstance(n, int) and n > 0 for n in grid)
    if not fits or math.prod(grid) > count:
        raise ValueError(
            f"grid must hold the patches along each axis, at most {count} in all, the number of "
            f"tokens. Received: grid={grid!r}"
        )
    return tuple(grid)
