"""Sensitivity of maps to the class, by their rank correlation."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_saliency.attribution.explanation import Explanation
from keras_saliency.common.arrays import as_array
from keras_saliency.common.types import Array
from keras_saliency.data.inputs import ModelInputs, split_inputs
from keras_saliency.data.probes import Probes
from keras_saliency.metrics.localization import check_alike, similarity

Explain = Callable[..., Any]


def rank_correlation(maps: Any, others: Any) -> Array:
    """Compute Spearman's rank correlation of maps over their cells.

    Args:
        maps: `(batch, h, w)`; equal values share their mean rank.
        others: The maps to compare with, of the same shape.

    Returns:
        float64 `(batch,)` in [-1, 1]; `nan` where one of the two is the same everywhere, or holds
        NaN or infinity.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> rank_correlation(np.array([[[1, 2, 3]]]), np.array([[[1, 10, 100]]])).tolist()
        [1.0]
    """
    maps, others = as_array(maps, "maps"), as_array(others, "others")
    check_alike(maps, others)
    return similarity(_ranks(maps), _ranks(others))


def class_sensitivity(
    explain: Explain, model: keras.Model, images: Any, targets: Any, others: Sequence[int]
) -> Array:
    """Compute how alike the maps for a class and the maps for other classes are.

    A method whose maps are the same for every class does not show what speaks for a class. Maps of
    magnitude alone, such as `saliency`, may rightly be alike for two classes that one difference
    tells apart: use three classes or more.

    Args:
        explain: Called as `explain(model, images, target=classes)` with classes `(batch,)`;
            returns an `Explanation` or maps `(batch, h, w)`. For a built-in method,
            `functools.partial(ks.explain, method=...)`.
        model: The model.
        images: `(batch, height, width, channels)`, `Probes`, or a dict of a model's inputs.
        targets: The class of each image, or one for all.
        others: The classes to compare with; an image's own class is left out.

    Returns:
        float64 `(batch,)` in [-1, 1], the mean rank correlation with the maps for other classes: 1
        where the class does not matter; `nan` where a map is the same everywhere for its class or
        for all others, or where there is no other class.

    Raises:
        ValueError: If there is not one class per image.

    Example:
        >>> import functools, keras, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(3)])
        >>> explain = functools.partial(ks.explain, method="saliency")
        >>> alike = class_sensitivity(explain, net, np.ones((2, 4, 6, 3)), [0, 1], range(3))
        >>> bool((alike < 0.9).all())
        True
    """
    array, _, _ = inputs_of(images)
    count = len(array)
    classes = np.asarray(targets)
    if classes.dtype.kind not in "iu" or classes.shape not in ((), (count,)):
        raise ValueError(
            f"targets must be a class index, or one per image, {count} in all. "
            f"Received: targets={targets!r}"
        )
    classes = np.broadcast_to(classes, (count,))
    own = maps_of(explain(model, images, target=classes))
    alike = np.full((len(others), count), np.nan)
    for row, other in enumerate(others):
        maps = maps_of(explain(model, images, target=np.full(count, other)))
        alike[row] = np.where(classes == other, np.nan, rank_correlation(own, maps))
    return np.ma.masked_invalid(alike).mean(axis=0).filled(np.nan)


def inputs_of(images: Any) -> tuple[Array, list[Array], ModelInputs]:
    """Return the images as an array, the model's other inputs, and how it gets them."""
    if isinstance(images, Probes):
        return images.images, list(images.extras.values()), images.model_inputs
    given, extras, inputs = split_inputs(images, None)
    return as_array(given, "images"), list(extras.values()), inputs


def maps_of(explained: Any) -> Array:
    """Return the maps `(batch, h, w)` of what a callable like `explain` gave."""
    return explained.maps if isinstance(explained, Explanation) else as_array(explained, "maps")


def _ranks(maps: Array) -> Array:
    """Rank each map's cells, `(batch, 1, cells)`; all zero where a map is not finite."""
    return np.stack([_ranked(row)[None] for row in maps.reshape(len(maps), -1)])


def _ranked(values: Array) -> Array:
    if not np.isfinite(values).all():
        return np.zeros(values.shape)
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]
