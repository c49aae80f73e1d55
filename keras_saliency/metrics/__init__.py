"""Measures of maps: faithfulness, localization, and sanity checks.

No single number decides whether a map shows what a model uses. Curves and confidence evaluate the
model on perturbed images, unlike any that it was trained on; localization tells where a map lies,
not what the model uses; sanity checks tell only that a map depends on the model and on the class.

Measures of faithfulness are functions of arrays and of a callable `scores(images) -> (batch,)`,
which always gets all images, perturbed, in their order; `scorer` makes one of a Keras model.
Localization compares maps `(batch, h, w)` with masks `(batch, height, width)`. Sanity checks take a
callable like `explain`: `(model, images, target=...)` to an `Explanation` or to maps.

    >>> import functools, keras, numpy as np, keras_saliency as ks
    >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3, name="conv"),
    ...                         keras.layers.GlobalAveragePooling2D(),
    ...                         keras.layers.Dense(2, name="head")])
    >>> images = np.random.default_rng(0).random((2, 8, 12, 3))
    >>> maps = ks.explain(net, images, "grad_cam", target=1).maps
    >>> scores = ks.metrics.scorer(net, images, target=1)
    >>> ks.metrics.insertion(scores, images, maps).areas.shape
    (2,)
    >>> masks = np.zeros((2, 8, 12))
    >>> masks[:, 2:6, 3:9] = 1
    >>> ks.metrics.mass_in_mask(maps, masks).shape
    (2,)
    >>> saliency = functools.partial(ks.explain, method="saliency")
    >>> ks.metrics.model_randomisation(saliency, net, images, 1).layers
    ('head', 'conv')
"""

from keras_saliency.metrics.confidence import ConfidenceChange, confidence_change
from keras_saliency.metrics.insertion_deletion import Curve, deletion, insertion
from keras_saliency.metrics.localization import (
    enrichment,
    entropy,
    mass_in_mask,
    pointing_hit,
    similarity,
)
from keras_saliency.metrics.randomization import Randomisation, model_randomisation
from keras_saliency.metrics.road import Road, road
from keras_saliency.metrics.scorer import scorer
from keras_saliency.metrics.sensitivity import class_sensitivity, rank_correlation

__all__ = [
    "ConfidenceChange",
    "Curve",
    "Randomisation",
    "Road",
    "class_sensitivity",
    "confidence_change",
    "deletion",
    "enrichment",
    "entropy",
    "insertion",
    "mass_in_mask",
    "model_randomisation",
    "pointing_hit",
    "rank_correlation",
    "road",
    "scorer",
    "similarity",
]
