"""SmoothGrad squared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_saliency.methods import Method
from keras_saliency.methods._noise import as_maps, moments

if TYPE_CHECKING:
    from keras_saliency.engine.scored_model import ScoredModel


def square_grad(
    model: ScoredModel,
    images: Any,
    *,
    base: str | Method | None = None,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
) -> Any:
    """Compute SmoothGrad squared: the squared gradient, averaged over noisy copies of the image.

        M_ij = max_c 1/n sum_k (dS / dx_ijc (x + e_k))^2,    e_k ~ N(0, s^2)

    Hooker et al. 2019, "A benchmark for interpretability methods in deep neural networks",
    arXiv:1806.10758, where it ranked pixels better than SmoothGrad itself.

    Args:
        model: The scored model.
        images: (batch, height, width, channels).
        base: A method, by name or callable, whose maps are squared and averaged. None takes the
            gradient at the image; its channels are reduced at the end, as `saliency` does.
        samples: n, how many noisy copies of each image.
        noise: Deviation s of the noise, as a share of the image's own range of values (the
            paper: 0.1 to 0.2).
        seed: Draws the noise, the same for every image and at every epoch.

    Returns:
        Maps (batch, height, width), not negative; with a base, of the base's grid.

    Raises:
        ValueError: An option out of its range.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), "square_grad").maps.shape
        (1, 4, 6)
    """
    _, mean_square = moments(model, images, base, samples, noise, seed)
    return as_maps(mean_square, base)
