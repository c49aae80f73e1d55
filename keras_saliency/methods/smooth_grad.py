"""SmoothGrad."""

from typing import Any

from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods import Method
from keras_saliency.methods._noise import as_maps, moments


def smooth_grad(
    model: ScoredModel,
    images: Any,
    *,
    base: str | Method | None = None,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
) -> Any:
    """Compute SmoothGrad: the gradient, averaged over noisy versions of the image.

        M_ij = max_c |1/n sum_k dS / dx_ijc (x + e_k)|,    e_k ~ N(0, s^2)

    Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise", arXiv:1706.03825.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        base: A method, by name or callable, whose maps are averaged. None takes the signed
            gradient at the image; its channels are reduced at the end, as `saliency` does.
        samples: n, the number of noisy images for each image.
        noise: Standard deviation s of the noise, as a share of the image's own range of values,
            from 0 (the paper: 0.1 to 0.2).
        seed: Seed of the noise, which is the same for every image and at every epoch.

    Returns:
        Maps `(batch, height, width)`, not negative; with a base, of its grid and sign.

    Raises:
        ValueError: If an option is out of its range.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), "smooth_grad").maps.shape
        (1, 4, 6)
    """
    mean, _ = moments(model, images, base, samples, noise, seed)
    return as_maps(mean, base)
