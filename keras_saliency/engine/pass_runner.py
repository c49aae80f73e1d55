"""Runs the passes of a model, each compiled once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.batching import Rows, batches
from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.loss_scale import LossScale
from keras_saliency.engine.passes import FACTS, Batch, packed, pass_function


@dataclass(frozen=True)
class Plan:
    """What one pass over a batch of images computes.

    Attributes:
        quantities: What it hands out, to methods that run after it.
        inside: Methods by name that run as a part of the compiled pass, so that only their maps
            leave it: functions `(passes, batch) -> maps`.
        inside_quantities: What these need.
        perturbed: How many perturbed images of each image each method evaluates besides, by name.
        on_grid: Names of the methods whose maps are on the grid of the layer, or of its tokens.
        at_layer: Names of the methods that read the output of the layer.
    """

    quantities: frozenset[str]
    inside: tuple[tuple[str, Callable[..., Any]], ...] = ()
    inside_quantities: frozenset[str] = frozenset()
    perturbed: dict[str, int] = field(default_factory=dict, compare=False)
    on_grid: frozenset[str] = field(default=frozenset(), compare=False)
    at_layer: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def all_quantities(self) -> frozenset[str]:
        """What any method needs of the images themselves."""
        return self.quantities | self.inside_quantities


class PassRunner:
    """The compiled passes of a model in one context.

    Args:
        context: What was resolved for the model.
        batch_size: At most so many images go through the model at once.

    Attributes:
        progress: Called as `(done, all)` after each pass over perturbed images, or None.
        requested: What was requested of a whole batch so far, where no plan tells beforehand.
    """

    def __init__(self, context: ModelContext, batch_size: int) -> None:
        self.context = context
        self.batch_size = batch_size
        self.progress: Callable[[int, int], None] | None = None
        self.requested: set[str] = set()
        self._compiled: dict[Plan, Callable[..., Any]] = {}
        self._variants: dict[Any, PassRunner] = {}
        self._loss_scale = LossScale() if context.uses_float16 else None

    def start(self, plan: Plan, images: Any, detail: Any, *extras: Any) -> Batch:
        """Run what is planned for a batch in one pass.

        Args:
            plan: What the pass computes.
            images: `(batch, height, width, channels)`.
            detail: What the target knows of each image, `(batch, ...)`.
            *extras: The model's other inputs, `(batch, ...)` each.

        Returns:
            The batch with its results.
        """
        tensor, *inputs = map(ops.convert_to_tensor, (images, detail, *extras))
        results = self.run(plan, tensor, *inputs)
        inside = tuple(name for name, _ in plan.inside)
        return Batch(tensor, (results["detail"], *inputs[1:]), results, set(), inside)

    def of_batch(self, quantity: str, batch: Batch) -> Any:
        """Compute a quantity of the batch's own images, with all that was requested before."""
        batch.requested.add(quantity)
        if quantity not in batch.results:
            missing = frozenset(batch.requested - batch.results.keys())
            try:
                batch.results.update(self.run(Plan(missing), batch.images, *batch.inputs))
            except Exception:
                batch.requested.discard(quantity)  # or it would fail with all that follows
                raise
        return batch.results[quantity]

    def of_others(
        self, quantity: str, batch: Batch, images: Any, rows: Any = None, gates: Any = None
    ) -> Any:
        """Compute a quantity of images that are not the batch's, `batch_size` at a time."""
        images = ops.convert_to_tensor(images, "float32")
        count = images.shape[0]
        rows = np.arange(count) if rows is None else np.asarray(rows)
        parts = []
        for part, real in batches(count, min(count, self.batch_size)):
            numbers = np.arange(count)[part]
            inputs = [ops.take(images, numbers, axis=0), *batch.inputs_of(rows[numbers])]
            if gates is not None:
                inputs.append(ops.take(ops.convert_to_tensor(gates, "float32"), numbers, axis=0))
            result = self.run(Plan(frozenset({quantity})), *inputs)[quantity]
            parts.append(result[: real.stop - real.start])
        return ops.concatenate(parts)

    def steps(self, images: int, count: int) -> Iterator[tuple[Rows, slice]]:
        """Yield the passes over `count` perturbed images of each image, and report progress."""
        total = images * count
        passes = list(batches(total, min(total, self.batch_size)))
        for done, step in enumerate(passes, 1):
            yield step
            if self.progress is not None:
                self.progress(done, len(passes))

    def variant(self, key: Any, context: Callable[[], ModelContext]) -> "PassRunner":
        """Return passes of the same model in another context, made once and known by its key."""
        if key not in self._variants:
            self._variants[key] = PassRunner(context(), self.batch_size)
        self._variants[key].batch_size = self.batch_size
        return self._variants[key]

    def run(self, plan: Plan, *inputs: Any) -> dict[str, Any]:
        """Run one compiled pass that computes just what is planned."""
        if plan not in self._compiled:
            self._compiled[plan] = backend.compiled(
                self._function_of(plan), self.context.call.model
            )

        def scaled(scales: np.ndarray) -> dict[str, Any]:
            return self._compiled[plan](ops.convert_to_tensor(scales), *inputs)

        count = inputs[0].shape[0]
        if self._loss_scale is None:
            return scaled(np.ones(count, "float32"))
        return self._loss_scale.fitting(count, scaled)

    def _function_of(self, plan: Plan) -> Callable[..., Any]:
        """Write the function of a pass, and of the methods that are a part of it."""
        compute = pass_function(self.context, plan.all_quantities)

        def function(scales: Any, images: Any, *inputs: Any) -> dict[str, Any]:
            results = compute(scales, images, *inputs)
            batch = Batch(images, inputs, results)
            maps = [method(self, batch) for _, method in plan.inside]
            handed_out = {name: results[name] for name in (*FACTS, *plan.quantities)}
            return handed_out | {"packed": packed(results, maps)}

        return function
