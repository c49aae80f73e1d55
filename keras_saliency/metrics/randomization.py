"""The model-randomisation check: a map must depend on what the model has learnt."""

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
from keras_saliency.engine.preprocessing import Preprocessing
from keras_saliency.engine.tracing import record
from keras_saliency.metrics.sensitivity import Explain, inputs_of, maps_of, rank_correlation


@dataclass(frozen=True)
class Randomisation:
    """How far maps stay the same while a model's weights are randomised.

    Attributes:
        layers: The layer down to which, from the top, all were randomised; one an evaluation.
        correlations: float64 `(evaluations, batch)`, rank correlations of the maps with those of
            the trained model; `nan` where a map is the same everywhere.
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
    """Compare a model's maps with those it gives as its layers are randomised, from the top down.

    Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv:1810.03292. A method whose maps
    stay the same shows the image, not the model. A layer is randomised by shuffling the values of
    each of its weights, so that their size, and that of what flows through the model, is kept.
    Magnitudes stay more alike than signed maps, since a network's borders and a bright place weigh
    in with any weights: compare methods on one model, not with zero.

    The model is put back bit for bit, whatever happens; until then nothing else may use it.

    Args:
        explain: Called as `explain(model, images, target=targets)`; returns an `Explanation` or
            maps `(batch, h, w)`. For a built-in method,
            `functools.partial(ks.explain, method=...)`.
        model: The model.
        images: `(batch, height, width, channels)`, `Probes`, or a dict of a model's inputs.
        targets: Passed on to `explain`. Class indices, not `"predicted"`, which would change with
            the weights.
        looks: How often maps are made on the way down, after equal numbers of layers, the last
            time with all layers randomised. None makes maps after every layer.
        seed: Decides the shuffling.

    Returns:
        A `Randomisation`, whose first evaluation is that of the top layer.

    Raises:
        ValueError: If the model has no weights, or an option is out of its range.

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
    correlations, done = [], 0
    with preserve_variables(weight for own in weights.values() for weight in own):
        for end in ends:
            for name in names[done:end]:
                for weight in weights[name]:
                    _shuffle(weight, random)
            done = end
            maps = maps_of(explain(model, images, target=targets))
            correlations.append(rank_correlation(original, maps))
    return Randomisation(tuple(names[end - 1] for end in ends), np.stack(correlations))


def _from_the_top(model: keras.Model, images: Any) -> dict[str, list[Any]]:
    """Return the layers' own weights by the layers' names, the last to run first.

    A weight belongs to the innermost layer that holds it, and of several to the last that runs.
    Weights of layers that were not called come last.
    """
    array, extras, inputs = inputs_of(images)
    beside = [extra[:1] for extra in extras]
    image = Preprocessing(model, inputs).images(array[:1].astype("float32"), beside)
    first = [image, *beside]
    # Every layer counts, whichever output is taken.
    trace = record(model, ModelCall(model, inputs, output=0), *first)
    weights: dict[str, list[Any]] = {}
    taken: set[int] = set()
    calls = [call for call in trace.calls if isinstance(call.layer, keras.layers.Layer)]
    seen = [(call.name, call.layer) for call in reversed(calls)]
    for name, layer in [*seen, *((layer.name, layer) for layer in flatten_layers(model))]:
        inner = {id(w) for sub in flatten_layers(layer, include_self=False) for w in sub.weights}
        own = [w for w in layer.weights if id(w) not in inner | taken]
        if own:
            weights.setdefault(name, []).extend(own)
            taken |= {id(weight) for weight in own}
    if not weights:
        raise ValueError(
            "A model with weights is needed, which can be randomised. "
            f"Received: model={model.name!r} without weights. Call it on images once if it is new."
        )
    return weights


def _shuffle(weight: Any, random: np.random.Generator) -> None:
    values = np.array(ops.convert_to_numpy(weight.value))
    weight.assign(random.permutation(values.reshape(-1)).reshape(values.shape))
