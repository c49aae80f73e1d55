"""Gradient times input."""

from typing import Any

from keras import ops

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._channels import over_channels


def gradient_x_input(model: ScoredModel, images: Any) -> Any:
    """Compute gradient x input: each pixel's share of a linear model's score.

        M_ij = sum_c x_ijc * dS / dx_ijc

    Shrikumar et al. 2016, "Not just a black box", arXiv:1605.01713. For a linear model without
    bias the map sums to the score.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`, as the model gets them.

    Returns:
        Maps `(batch, height, width)`, signed, in units of the score.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2, use_bias=False)])
        >>> found = ks.explain(net, np.ones((1, 4, 6, 3)), "gradient_x_input")
        >>> bool(np.allclose(found.maps.sum(), found.scores[0], atol=1e-5))
        True
    """
    return over_channels(ops.sum, ops.add, images * model.input_gradients(images))
