"""The model-randomisation check: a map must depend on what the model has learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_saliency.common.preserve import preserve_variables
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_count
from keras_saliency.engine.keras_private import flatten_layers
from keras_saliency.engine.model_call import ModelCall
from keras_saliency.engine.tracing import record
from keras_saliency.metrics.sensitivity import (
    Explain,
    inputs_of,
    maps_of,
    rank_correlation,
)


@dataclass(frozen=True)
class Randomisation:
    """How far maps stay the same while a model forgets what it has learnt.

    Attributes:
        layers: The layer down to which, from the top, all were randomised; one for each look.
        correlations: float64 (looks, batch), rank correlations of the maps with those of the
            trained model; `nan` where a map is the same everywhere.
    """

    layers: tuple[str, ...]
    correlations: Array


def model_randomisation(
    explain: Explain,
    model: keras.Model,
    images: Any,
    targets: Any,
    *,
    looks: int | None = None,
    seed: int = 0,
) -> Randomisation:
    """Randomise a model from the top down, layer by layer, and compare its maps with the original.

    Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv:1810.03292. A method whose maps
    stay the same shows the image, not the model. A layer is randomised by shuffling the values of
    each of its weights, so that their size, and that of what flows through the model, is kept.
    Magnitudes stay more alike than signed maps, since a network's borders and a bright place weigh
    in with any weights: compare methods on one model, not with zero.

    The model is put back bit for bit, whatever happens; until then nothing else may use it.

    Args:
        explain: Called as `explain(model, images, target=targets)`; returns an `Explanation` or
            maps (batch, h, w). For a built-in method, `functools.partial(ks.explain, method=...)`.
        model: The model.
        images: (batch, height, width, channels), `Probes`, or a dict of a model's inputs.
        targets: Handed on to `explain`. Class indices, not `"predicted"`, which would change with
            the weights.
        looks: How often maps are made on the way down, after equal numbers of layers, the last
            time with all layers randomised. None looks after every layer.
        seed: Decides the shuffling.

    Returns:
        A `Randomisation`, the first look being that at the top.

    Raises:
        ValueError: A model without weights, or an option out of its range.

    Example:
        >>> import functools, keras, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3, name="conv"),
        ...                         keras.layers.Flatten(), keras.layers.Dense(2, name="head")])
        >>> explain = functools.partial(ks.explain, method="saliency")
        >>> model_randomisation(explain, net, np.ones((2, 8, 12, 3)), 1).layers
        ('head', 'conv')
    """
    random = np.random.default_rng(check_count(seed, "seed", least=0))
    original = maps_of(explain(model, images, target=targets))
    weights = _from_the_top(model, images)
    names = list(weights)
    count = len(names) if looks is None else min(check_count(looks, "looks"), len(names))
    ends = np.rint(np.linspace(0, len(names), count + 1)[1:]).astype(int)
    found, done = [], 0
    with preserve_variables(weight for own in weights.values() for weight in own):
        for end in ends:
            for name in names[done:end]:
                for weight in weights[name]:
                    _shuffle(weight, random)
            done = end
            maps = maps_of(explain(model, images, target=targets))
            found.append(rank_correlation(original, maps))
    return Randomisation(tuple(names[end - 1] for end in ends), np.stack(found))


def _from_the_top(model: keras.Model, images: Any) -> dict[str, list[Any]]:
    """Return the layers' own weights by the layers' names, the last to run first.

    A weight belongs to the innermost layer that holds it, and of several to the last that runs.
    What is held by no layer that was seen running comes last.
    """
    array, extras, form = inputs_of(images)
    first = [array[:1].astype("float32"), *(extra[:1] for extra in extras)]
    # Every layer counts, whichever output is taken.
    trace = record(model, ModelCall(model, form, output=0), *first)
    found: dict[str, list[Any]] = {}
    taken: set[int] = set()
    layers = [call for call in trace.calls if isinstance(call.layer, keras.layers.Layer)]
    seen = [(call.name, call.layer) for call in reversed(layers)]
    for name, layer in [*seen, *((layer.name, layer) for layer in flatten_layers(model))]:
        inner = {id(w) for sub in flatten_layers(layer, include_self=False) for w in sub.weights}
        own = [w for w in layer.weights if id(w) not in inner | taken]
        if own:
            found.setdefault(name, []).extend(own)
            taken |= {id(weight) for weight in own}
    if not found:
        raise ValueError(
            "A model with weights is needed, which can be randomised. "
            f"Received: model={model.name!r} without weights. Call it on images once if it is new."
        )
    return found


def _shuffle(weight: Any, random: np.random.Generator) -> None:
    values = np.array(ops.convert_to_numpy(weight.value))
    weight.assign(random.permutation(values.reshape(-1)).reshape(values.shape))
