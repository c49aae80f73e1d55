"""VarGrad."""

from typing import Any

import numpy as np

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods import Method
from keras_saliency.methods._noise import as_maps, moments


def var_grad(
    model: ScoredModel,
    images: Any,
    *,
    base: str | Method | None = None,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
) -> Any:
    """Compute VarGrad: the variance of the gradient over noisy versions of the image.

        M_ij = max_c Var_k dS / dx_ijc (x + e_k),    e_k ~ N(0, s^2)

    Adebayo et al. 2018, "Local explanation methods for deep neural networks lack sensitivity to
    parameter values", arXiv:1810.03307. It is zero where the model is linear, however steep.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        base: A method, by name or callable, whose maps vary. None takes the signed
            gradient at the image; its channels are reduced at the end, as `saliency` does.
        samples: As in `smooth_grad`.
        noise: As in `smooth_grad`.
        seed: As in `smooth_grad`.

    Returns:
        Maps `(batch, height, width)`, not negative; with a base, of the base's grid.

    Raises:
        ValueError: If an option is out of its range.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), "var_grad").maps.shape
        (1, 4, 6)
    """
    mean, mean_square = moments(model, images, base, samples, noise, seed)
    return as_maps(np.maximum(mean_square - np.square(mean), 0.0), base)
