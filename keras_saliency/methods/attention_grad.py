"""Attention times its gradient, over the layers of a transformer."""

from typing import Any, Literal

from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._tokens import token_maps


def attention_grad(
    model: ScoredModel,
    images: Any,
    *,
    token: Literal["class", "mean"] | None = None,
    grid: tuple[int, ...] | None = None,
) -> Any:
    """Compute attention times gradient: the patches whose attention raises the score.

        M = R - I,    R = (I + P_L) ... (I + P_2) (I + P_1),
        P_l = mean_h relu(A_lh * dS / dA_lh),    A_lh: attention of head h in layer l

    Chefer, Gur and Wolf 2021, "Generic attention-model explainability for interpreting bi-modal and
    encoder-decoder transformers", arXiv:2103.15679, for self-attention. Unlike `attention_rollout`
    it depends on the class. Where the gradient of a single layer counts alone, and not its product
    with attention, this is LeGrad (Bousselham et al. 2024, arXiv:2404.03214).

    Args:
        model: The model and the score that is explained. Its self-attention must be in Keras's own
            attention layers.
        images: Model inputs, `(batch, height, width, channels)`.
        token: The row of M that is returned: that of the `"class"` token, the first one, or the
            `"mean"` over the patches. None takes what the head reads, as in `attention_rollout`.
        grid: Number of patches along each axis; None finds it, as in `attention_rollout`.

    Returns:
        Maps `(batch, h, w)` of the grid of patches, not negative; 0 where no attention to a patch
        raises the score.

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
        >>> ks.explain(net, np.ones((1, 8, 12, 3)), "attention_grad").maps.shape
        (1, 2, 3)
    """
    products = model.attention_x_gradient(images)
    relevance = ops.zeros_like(products[:, 0])
    for layer in range(products.shape[1]):
        paths = ops.eye(products.shape[-1]) + relevance
        relevance = relevance + ops.matmul(products[:, layer], paths)  # R - I, which may be tiny
    return token_maps(model, images, relevance, token, grid)
