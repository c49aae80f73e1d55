"""Plans passes: a dry run finds what methods need of a batch, before anything is computed."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.batching import Rows
from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.pass_runner import PassRunner, Plan
from keras_saliency.engine.passes import (
    ATTENTION_QUANTITIES,
    LAYER_QUANTITIES,
    Batch,
    attention_shape,
)
from keras_saliency.engine.scored_model import Method, ScoredModel


def plan_passes(
    passes: PassRunner,
    methods: Mapping[str, Method],
    images: np.ndarray,
    extras: Sequence[np.ndarray] = (),
) -> Plan:
    """Find what methods need of the images themselves, so that one pass can compute all.

    They are called with zeros for results, until they turn to images of their own making.

    Args:
        passes: The passes of the model; their variants learn what is requested of them.
        methods: The methods by name.
        images: An image or more, `(n, height, width, channels)`.
        extras: The model's other inputs, `(n, ...)` each.

    Returns:
        The plan.
    """
    needed: dict[bool, set[str]] = {False: set(), True: set()}
    inside, perturbed = [], dict.fromkeys(methods, 0)
    on_grid, at_layer = set(), set()
    for name, method in methods.items():
        dry = _DryRun(passes, set())
        tensors = tuple(map(ops.convert_to_tensor, (images, np.zeros(len(images)), *extras)))
        batch = Batch(tensors[0], tensors[1:])
        try:
            _as_method(method, dry, batch)
        except _OtherImages as others:
            perturbed[name], dry.leaves_batch = others.args[0], True
        fits = not dry.leaves_batch and _fits_inside(method, dry, batch)
        needed[fits] |= dry.requested
        if dry.requested & (LAYER_QUANTITIES | ATTENTION_QUANTITIES):
            on_grid.add(name)
        if dry.requested & LAYER_QUANTITIES:
            at_layer.add(name)
        if fits:
            inside.append((name, functools.partial(_as_method, method)))
    return Plan(
        frozenset(needed[False]),
        tuple(inside),
        frozenset(needed[True]),
        perturbed,
        frozenset(on_grid),
        frozenset(at_layer),
    )


def is_built_in(method: Method) -> bool:
    """Tell whether a method is one of this package, with options or without."""
    inner = method.func if isinstance(method, functools.partial) else method
    return str(getattr(inner, "__module__", "")).startswith("keras_saliency.methods.")


def _as_method(method: Method, passes: PassRunner, batch: Batch) -> Any:
    return method(ScoredModel(passes, batch), batch.images)


class _OtherImages(BaseException):
    """Ends the dry run of a method that turns to images of its own making, so many of each."""


class _DryRun(PassRunner):
    """Computes nothing: zeros are the results, and what is requested is noted."""

    def __init__(self, passes: PassRunner, requested: set[str]) -> None:
        super().__init__(passes.context, passes.batch_size)
        self.requested = requested
        self.leaves_batch = False  # for other images, or another context
        self._passes = passes

    def of_batch(self, quantity: str, batch: Batch) -> Any:
        """Return zeros of the quantity's shape."""
        self.requested.add(quantity)
        if quantity not in batch.results:
            batch.results[quantity] = self._zeros(quantity, batch)
        return batch.results[quantity]

    def of_others(
        self, quantity: str, batch: Batch, images: Any, rows: Any = None, gates: Any = None
    ) -> Any:
        """End the dry run."""
        raise _OtherImages(0 if rows is None else len(rows))

    def steps(self, images: int, count: int) -> Iterator[tuple[Rows, slice]]:
        """End the dry run."""
        raise _OtherImages(count)

    def variant(self, key: Any, context: Callable[[], ModelContext]) -> "_DryRun":
        """Return a dry run in another context, whose quantities are no part of the pass."""
        self.leaves_batch = True
        passes = self._passes.variant(key, context)
        return _DryRun(passes, passes.requested)

    def _zeros(self, quantity: str, batch: Batch) -> Any:
        count, layer = batch.images.shape[0], self.context.target_layer
        match quantity:
            case "input_gradients":
                return ops.zeros(batch.images.shape)
            case "attentions" | "attention_x_gradient":
                return ops.zeros(attention_shape(self.context, count))
            case "activations" | "layer_gradients" if layer is not None:
                return ops.zeros(layer.shape)
        return ops.zeros((count,), "int32" if quantity == "classes" else "float32")


def _fits_inside(method: Method, passes: _DryRun, batch: Batch) -> bool:
    """Tell whether a method can be a part of the compiled pass.

    Code in there runs but once, so it must be our own, and stay with the backend's tensors.
    """
    if passes.context.uses_float16 or not is_built_in(method):
        return False
    names, results = list(batch.results), list(batch.results.values())

    def trial(images: Any, *results: Any) -> None:
        _as_method(method, passes, Batch(images, (), dict(zip(names, results, strict=True))))

    arrays = [ops.convert_to_numpy(value) for value in (batch.images, *results)]
    try:
        backend.traced(trial, passes.context.call.model, *arrays)
    except Exception:  # whatever a backend raises where its tensors are read as numbers
        return False
    return True
