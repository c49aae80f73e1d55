"""Integrated gradients."""

from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.baselines import Baseline, baselines
from keras_saliency.common.validation import check_count
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._perturbations import along_path


def integrated_gradients(
    model: ScoredModel, images: Any, *, baseline: Baseline = "zeros", steps: int = 128
) -> Any:
    """Compute integrated gradients: the gradient along the path from a baseline to the image.

        M_ij = sum_c (x_ijc - b_ijc) * integral_0^1 dS / dx_ijc (b + a (x - b)) da

    Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", arXiv:1703.01365. The
    integral is a Gauss-Legendre sum. Completeness: the map sums to S(x) - S(b).

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        baseline: b, which stands for the absence of features: `"zeros"`, `"mean"` (the image's
            mean colour), `"blur"` (the image, strongly blurred), a number, one for each channel,
            or an image.
            Pixels of the baseline's value get no attribution.
        steps: The number of points on the path, from 1 (the paper: 20 to 300). With 128 the sum
            was right to a thousandth for trained networks, also for those of ReLUs, whose
            gradients jump; smooth ones need no more than 16.

    Returns:
        Maps `(batch, height, width)`, signed, in units of the score.

    Raises:
        ValueError: If the baseline is unknown or does not fit the images, or `steps` is below 1.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), "integrated_gradients").maps.shape
        (1, 4, 6)
    """
    check_count(steps, "steps")
    ends = ops.convert_to_numpy(images).astype("float64")
    begins = baselines(ends, baseline)
    paths = ends - begins
    positions, weights = np.polynomial.legendre.leggauss(steps)  # on -1 to 1, whose length is 2

    def point(row: int, k: int) -> np.ndarray:
        return begins[row] + 0.5 * (1.0 + positions[k]) * paths[row]

    return along_path(model, images, steps, point, lambda row, k: 0.5 * weights[k] * paths[row])
