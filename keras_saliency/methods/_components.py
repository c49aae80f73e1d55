"""The first principal component of feature maps."""

from typing import Any

import numpy as np
from keras import ops


def first_component(features: np.ndarray, guide: np.ndarray) -> Any:
    """Project features on their first right singular vector.

    Args:
        features: `(batch, h, w, channels)`.
        guide: `(batch, h, w)`, whose product with the result is made positive.

    Returns:
        float32 `(batch, h, w)`; NaN where the features are not finite, as those of a training run
        that has diverged.
    """
    table = features.astype("float64").reshape(len(features), -1, features.shape[-1])
    unknown = ~np.isfinite(table).all(axis=(1, 2))
    table[unknown] = 0.0
    _, _, directions = np.linalg.svd(table, full_matrices=False)
    maps = np.einsum("npk,nk->np", table, directions[:, 0])
    products = np.einsum("np,np->n", maps, guide.astype("float64").reshape(maps.shape))
    maps *= np.where(products < 0, -1.0, 1.0)[:, None]
    maps[unknown] = np.nan
    return ops.convert_to_tensor(maps.reshape(guide.shape), "float32")
