"""Scores of perturbed images, and the order in which a map ranks an image's pixels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_saliency.attribution.explainer import explain
from keras_saliency.common.arrays import as_array
from keras_saliency.common.resampling import resize_linear
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_finite
from keras_saliency.data.probes import Probes
from keras_saliency.engine.batching import BatchRunner, Rows, gathered
from keras_saliency.engine.context import resolve
from keras_saliency.engine.model_call import fitting
from keras_saliency.engine.output_head import Of
from keras_saliency.engine.pass_runner import PassRunner, Plan
from keras_saliency.engine.preprocessing import Preprocessing
from keras_saliency.engine.state_guard import preserve_state
from keras_saliency.engine.targets import Target, What

_SCORES = Plan(frozenset({"scores"}))

Scores = Callable[[Any], Any]


def scorer(
    model: keras.Model,
    images: Any,
    *,
    target: Target | What = "predicted",
    of: Of | None = None,
    batch_size: int = 32,
) -> Scores:
    """Make a function that scores perturbed images, for the classes of the originals.

    Args:
        model: Any Keras model that `explain` takes; it is not changed.
        images: `(batch, height, width, channels)`, the originals, or `Probes`. Of a dict of a
            model's inputs, the others stay as they are: only the images are perturbed.
        target: What is scored, as in `explain`. The class that is `"predicted"` is that of the
            originals, and so is the `"contrast"`.
        of: `"probability"` (the default), `"logits"` or `"log_probability"`; `"logits"` for a
            regression. A `Target` says it itself.
        batch_size: The most images in one pass.

    Returns:
        A callable `(images (batch, height, width, channels)) -> scores (batch,)` float32, which
        takes the perturbed images in the order of the originals.

    Raises:
        ValueError: If images or target do not fit the model; and, when the callable gets another
            number of images than there are originals.

    Example:
        >>> import keras, numpy as np
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2, activation="softmax")])
        >>> scores = scorer(net, np.ones((3, 8, 12, 3)))
        >>> scores(np.zeros((3, 8, 12, 3))).tolist()
        [0.5, 0.5, 0.5]
    """
    probes = images if isinstance(images, Probes) else Probes(images)
    asked = Target.of_any(target, of, default="probability")
    explained = explain(model, probes, _nothing, target=asked, batch_size=batch_size)
    labels = probes.labels
    if isinstance(asked.what, str) and (explained.targets >= 0).all():
        labels = explained.targets
        asked = replace(asked, what="label" if asked.what == "predicted" else asked.what)
    preprocessing = Preprocessing(model, probes.model_inputs)
    given = list(probes.extras.values())
    with preserve_state(model):
        fed = preprocessing.probes(probes)
        call = fitting(model, fed.model_inputs, fed.images, asked.output)
        extras = list(fed.extras.values())
        context = resolve(call, fed.images, labels, asked, None, extras)
    batch_size = context.call.at_most(batch_size)
    passes, detail = PassRunner(context, batch_size), context.target.detail

    def in_batches(size: int, copies: Array) -> Array:
        def of_rows(rows: Rows) -> Array:
            images = preprocessing.images(copies[rows], [extra[rows] for extra in given])
            beside = [extra[rows] for extra in extras]
            return passes.start(_SCORES, images, detail[rows], *beside).fetch()[0]["scores"]

        return gathered(of_rows, len(copies), size)

    run = BatchRunner(in_batches, min(batch_size, len(detail)), model)

    def scores(copies: Any) -> Array:
        copies = as_array(copies, "copies").astype("float32")
        if len(copies) != len(detail):
            raise ValueError(
                f"One copy of each of the {len(detail)} originals, in their order, can be scored. "
                f"Received: copies.shape={copies.shape}"
            )
        return run(copies)

    return scores


def score(scores: Scores, images: Array) -> Array:
    """Call the user's function, and check that it gives one score per image."""
    values = as_array(scores(images.astype("float32", copy=False)), "scores(images)")
    if values.shape != images.shape[:1]:
        raise ValueError(
            f"scores(images) must return one number per image, shape ({len(images)},). "
            f"Received: shape {values.shape}"
        )
    return values.astype("float64")


def match_maps(images: Any, maps: Any) -> tuple[Array, Array]:
    """Return images in float64, and their maps at the size of the images.

    Args:
        images: `(batch, height, width, channels)`, finite.
        maps: `(batch, h, w)`, finite.

    Returns:
        The images, and the maps `(batch, height, width)`, both float64.

    Raises:
        ValueError: If there is not one map per image, or either holds NaN or infinity.
    """
    images, maps = as_array(images, "images"), as_array(maps, "maps")
    if maps.ndim != images.ndim - 1 or maps.ndim < 2 or len(maps) != len(images):
        raise ValueError(
            "Every image (height, width, channels) needs one map (h, w). "
            f"Received: images.shape={images.shape}, maps.shape={maps.shape}"
        )
    check_finite(images, "images")
    check_finite(maps, "maps")
    size = images.shape[1:-1]
    maps = maps.astype("float64")
    if maps.shape[1:] != size:
        maps = np.stack([resize_linear(map_, size) for map_ in maps])
    return images.astype("float64"), maps


def pixel_ranks(maps: Array, seed: int = 0) -> Array:
    """Return the rank of each pixel in its map, 0 for the highest value.

    Equal values are in random order: by row and column, half a map of zeros would have a shape.
    """
    random = np.random.default_rng(seed)
    flat = -maps.reshape(len(maps), -1)
    order = np.stack([np.lexsort((random.permutation(len(row)), row)) for row in flat])
    return np.argsort(order, axis=1).reshape(maps.shape)


def _nothing(model: Any, images: Any) -> Any:
    """Compute no maps: a method for those who want the scores alone."""
    return ops.zeros((images.shape[0], *[1] * (len(images.shape) - 2)))
