"""SmoothGrad squared."""

from typing import Any

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods import Method
from keras_saliency.methods._noise import as_maps, moments


def square_grad(
    model: ScoredModel,
    images: Any,
    *,
    base: str | Method | None = None,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
) -> Any:
    """Compute SmoothGrad squared: the squared gradient, averaged over noisy versions of the image.

        M_ij = max_c 1/n sum_k (dS / dx_ijc (x + e_k))^2,    e_k ~ N(0, s^2)

    Hooker et al. 2019, "A benchmark for interpretability methods in deep neural networks",
    arXiv:1806.10758, where it ranked pixels better than SmoothGrad itself.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        base: A method, by name or callable, whose maps are squared and averaged. None takes the
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
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), "square_grad").maps.shape
        (1, 4, 6)
    """
    _, mean_square = moments(model, images, base, samples, noise, seed)
    return as_maps(mean_square, base)
