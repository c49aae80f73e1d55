"""Whether a map shows what the model used: measures and sanity checks.

No one number settles it. Curves and confidence ask the model about changed images, which it has
never seen the like of; sanity checks tell only that a map depends on the model and on the class.

Measures are functions of arrays and of a callable `scores(images) -> (batch,)`, which is always
called with changed copies of all images, in their order. `scorer` makes one of a Keras model.
Sanity checks take a callable like `explain`: `(model, images, target=...)` to an `Explanation` or
to maps.

    >>> import functools, keras, numpy as np, keras_saliency as ks
    >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3, name="conv"),
    ...                         keras.layers.GlobalAveragePooling2D(),
    ...                         keras.layers.Dense(2, name="head")])
    >>> images = np.random.default_rng(0).random((2, 8, 12, 3))
    >>> found = ks.explain(net, images, "grad_cam", target=1)
    >>> scores = ks.metrics.scorer(net, images, target=1)
    >>> ks.metrics.insertion(scores, images, found.maps).areas.shape
    (2,)
    >>> saliency = functools.partial(ks.explain, method="saliency")
    >>> ks.metrics.model_randomisation(saliency, net, images, 1).layers
    ('head', 'conv')
"""

from __future__ import annotations

from keras_saliency.metrics.confidence import ConfidenceChange, confidence_change
from keras_saliency.metrics.insertion_deletion import Curve, deletion, insertion
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
    "insertion",
    "model_randomisation",
    "rank_correlation",
    "road",
    "scorer",
]
