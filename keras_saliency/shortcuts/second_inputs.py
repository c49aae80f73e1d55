"""What a model gets beside the images, such as an age or a site: read, swapped, and in words."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from keras_saliency.common.arrays import as_array
from keras_saliency.common.types import Array
from keras_saliency.data.inputs import ALONE, ModelInputs
from keras_saliency.shortcuts.images import ImageSet, Inputs
from keras_saliency.shortcuts.nuisances import NUISANCES, Nuisance


def split_arrays(given: Any) -> tuple[Any, list[Array], ModelInputs]:
    """Separate images from what a model gets beside them, without copying arrays.

    Args:
        given: Images; or a dict, or tuple, of arrays, of which the images have most axes.

    Returns:
        The images as they were given, the other inputs, and the form of both.

    Raises:
        ValueError: If several inputs may be the images, or the others have not as many rows.
    """
    if not isinstance(given, Mapping | tuple):
        return given, [], ALONE
    named = dict(given if isinstance(given, Mapping) else enumerate(given))
    parts: dict[str | int, Array] = {
        name: part if isinstance(part, np.ndarray) else as_array(part, f"images[{name!r}]")
        for name, part in named.items()
    }
    most = max((part.ndim for part in parts.values()), default=0)
    found = [name for name, part in parts.items() if part.ndim == most]
    shapes = ", ".join(f"{name!r}: {part.shape}" for name, part in parts.items())
    if len(found) != 1:
        raise ValueError(
            "One input must be the images, those that things are swapped in, and several have as "
            "many axes: pass `ks.Probes(inputs, labels, image=...)`, which names it. "
            f"Received: inputs of shapes {{{shapes}}}"
        )
    images = parts.pop(found[0])
    if any(part.shape[:1] != images.shape[:1] for part in parts.values()):
        raise ValueError(
            "Every input of shortcuts= must have a row for each image. "
            f"Received: inputs of shapes {{{shapes}}}"
        )
    return images, [*parts.values()], ModelInputs(tuple(named), found[0])


def nuisances_of(extras: Mapping[str | int, Array]) -> dict[str, Nuisance]:
    """Make a nuisance of each input beside the images, which swaps it and leaves the image.

    Args:
        extras: The other inputs by name or position.

    Returns:
        `{name: Nuisance}`. A name that is no identifier, or that of another nuisance, is written
        with `_` and after `input_`.

    Raises:
        ValueError: If two names become the same.

    Example:
        >>> [*nuisances_of({"age": np.zeros(3), "mark": np.zeros(3), 1: np.zeros(3)})]
        ['age', 'input_mark', 'input_1']
    """
    found = {}
    for key in extras:
        name = "".join(c if c.isalnum() else "_" for c in str(key))
        if name in NUISANCES or not name.isidentifier():
            name = f"input_{name}"
        found[name] = Nuisance(name, f"the input {key!r}", partial(_swap_input, key))
    if len(found) < len(extras):
        raise ValueError(
            "Names of inputs become names of nuisances, in which all but letters and digits is _, "
            f"and must stay different. Received: {', '.join(map(repr, extras))}"
        )
    return found


def describe_values(inputs: Sequence[Inputs]) -> list[list[str]]:
    """Put into words what counterfactuals get beside the images, where that is swapped.

    Args:
        inputs: Those of originals, and of their counterfactuals.

    Returns:
        For each of them a text an example, such as `"age 71"`; empty where nothing is swapped, or
        the input is no single number.
    """
    own, *others = (one.extras for one in inputs)
    swapped = [
        key
        for key, rows in own.items()
        if rows[:1].size == 1 and any((other[key] != rows).any() for other in others)
    ]
    texts = []
    for one in inputs:
        values = {key: one.extras[key].reshape(-1) for key in swapped}
        texts.append(
            [
                ", ".join(f"{key} {rows[k]:g}" for key, rows in values.items())
                for k in range(len(one.pixels))
            ]
        )
    return texts


def _swap_input(
    name: str | int, receivers: ImageSet, donors: ImageSet, i: Array, j: Array
) -> Inputs:
    """Give the model the donor's value of an input, with the receiver's image."""
    own = receivers.inputs(i)
    return Inputs(own.pixels.astype(np.float32), {**own.extras, name: donors.extras[name][j]})
