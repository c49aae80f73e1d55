"""Attention rollout."""

from typing import Any, Literal

from keras import ops

from keras_saliency.common.validation import check_number
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._tokens import token_maps


def attention_rollout(
    model: ScoredModel,
    images: Any,
    *,
    token: Literal["class", "mean"] | None = None,
    grid: tuple[int, ...] | None = None,
    residual: float = 0.5,
) -> Any:
    """Compute attention rollout: the share of each patch in the output of a transformer.

        R = B_L ... B_2 B_1,    B_l = r I + (1 - r) A_l,    A_l: attention, the mean of its heads

    Abnar and Zuidema 2020, "Quantifying attention flow in transformers", arXiv:2005.00928. It
    depends on attention alone: the map is the same for every class.

    Args:
        model: The model and the score that is explained. Its self-attention must be in Keras's own
            attention layers.
        images: Model inputs, `(batch, height, width, channels)`.
        token: The row of R that is returned: that of the `"class"` token, the first one, or the
            `"mean"` over the patches. None takes what the head reads: the mean over the patches
            that it reads or, where it reads none, over the tokens before them, such as that of the
            class alone.
        grid: Number of patches along each axis; None takes the grid of the patches that the model
            made, with up to six tokens before them, or else the grid that is measured: where in
            the image the gradient of each token lies.
        residual: r, the share of a token that bypasses each layer, from 0 to 1.

    Returns:
        Maps `(batch, h, w)` of the grid of patches, not negative: shares of the output.

    Raises:
        ValueError: If the model has no such attention, the tokens make no grid, or an option is
            out of its range.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> pixels = keras.Input((8, 12, 3))
        >>> tokens = keras.layers.Reshape((6, 5))(keras.layers.Conv2D(5, 4, strides=4)(pixels))
        >>> tokens = keras.layers.MultiHeadAttention(2, 4)(tokens, tokens)
        >>> scores = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(tokens))
        >>> net = keras.Model(pixels, scores)
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "attention_rollout").maps.shape
        (1, 2, 3)
    """
    check_number(residual, "residual")
    attention = model.attentions(images)
    identity = ops.eye(attention.shape[-1])
    rollout = identity
    for layer in range(attention.shape[1]):
        passing = residual * identity + (1.0 - residual) * attention[:, layer]
        rollout = ops.matmul(passing, rollout)
    return token_maps(model, images, rollout, token, grid)
