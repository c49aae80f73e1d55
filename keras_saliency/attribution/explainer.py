"""Explaining images: `explain`, and the batch loop that the callback shares."""

import time
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_saliency import methods as all_methods
from keras_saliency.attribution.explanation import Explanation
from keras_saliency.attribution.progress import Progress
from keras_saliency.common.progress import Report
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.common.validation import check_call, check_count
from keras_saliency.data.probes import Probes
from keras_saliency.engine.backend import check_backend
from keras_saliency.engine.batching import BatchRunner, Rows, batches, can_halve
from keras_saliency.engine.boxes import Boxes
from keras_saliency.engine.context import resolve
from keras_saliency.engine.missed import share_around
from keras_saliency.engine.model_call import fitting
from keras_saliency.engine.model_choice import explained_model
from keras_saliency.engine.output_head import Head, Of
from keras_saliency.engine.pass_runner import PassRunner, Plan
from keras_saliency.engine.passes import Batch
from keras_saliency.engine.planner import is_built_in, plan_passes
from keras_saliency.engine.preprocessing import Preprocessing
from keras_saliency.engine.pyramid import pyramid_levels
from keras_saliency.engine.scored_model import Method, ScoredModel
from keras_saliency.engine.state_guard import preserve_state
from keras_saliency.engine.target_layer import (
    LayerChoice,
    LayerChoices,
    TargetLayer,
    check_choices,
)
from keras_saliency.engine.targets import Target, What
from keras_saliency.methods._fusion import over_layers

_MEASURED = 4  # images, of which the share of a layer in the score is measured
_NEGLIGIBLE = 0.01  # of the score, below which nothing is said
_SEVERAL = (
    "Maps of several layers are fused for methods that read a layer of the images themselves. "
    "Received: a list as layer=, and a method that reads a layer of perturbed images alone. Name "
    "one layer."
)


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation of the probes gave.

    Attributes:
        maps: Method name to raw maps `(n, h, w)` float32; a method that failed is missing.
        errors: Method name to what went wrong.
        scores: `(n,)` float32.
        classes: `(n,)` int, the class explained, -1 where there is none.
        predicted: `(n,)` int, the class predicted, -1 for a regression.
        outputs: `(n, ...)` the model's own output.
        tiles: Of tiles, `(all tiles, classes)` float32, the probabilities; else None.
        seconds: What methods took that are no part of the one pass, by name.
    """

    maps: dict[str, np.ndarray]
    errors: dict[str, Exception]
    scores: np.ndarray
    classes: np.ndarray
    predicted: np.ndarray
    outputs: np.ndarray
    tiles: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Explainer:
    """A model, probes and methods, resolved once and evaluated as often as needed.

    Args:
        model: The model; it is built if it is not yet.
        probes: The probes.
        chosen: Names of methods, or callables.
        target: What is explained.
        layer: The layer whose output CAM methods read, or a list of layers, whose maps are fused.
        batch_size: At most so many images in one pass.

    Attributes:
        probes: The probes as the model gets them, after its own preprocessing.
        context: What was resolved for the model and the probes.
        head: How the model's outputs are read.
        of: What the scores are.
        perturbed: How many perturbed images of each image a method evaluates, by name.
        around_layers: Which share of the score, from 0 to 1, depends on the images by other ways
            than through the target layers; 0 where no method reads a layer.

    Raises:
        ValueError: Probes, methods, target or layer that do not fit the model.
    """

    def __init__(
        self,
        model: keras.Model,
        probes: Probes,
        chosen: Sequence[str | Method],
        target: Target,
        layer: LayerChoices,
        batch_size: int,
    ) -> None:
        check_backend()
        check_count(batch_size, "batch_size")
        self._model = model
        self._methods = name_methods(chosen)
        self._is_ours = all(map(is_built_in, self._methods.values()))
        layers = check_choices(layer)
        with preserve_state(model):
            self.probes = probes = Preprocessing(model, probes.model_inputs).probes(probes)
        self._images = np.asarray(probes.images, "float32")
        self._extras = list(probes.extras.values())
        self._on_device: tuple[Any, ...] | None = None
        call = fitting(model, probes.model_inputs, self._images, target.output)
        call.build(self._images, *self._extras)
        with preserve_state(model):
            self.context = resolve(
                call, self._images, probes.labels, target, layers[0], self._extras
            )
            _check_names(probes, self.context.head)
            batch_size = self.context.call.at_most(batch_size)
            if layer is None and isinstance(target.what, Boxes):
                layers = self._levels_of(target.what)
            self._plan_passes(layers, batch_size)
            self.around_layers = self._share_around(min(_MEASURED, batch_size))
            if self._plan.on_grid:
                _ = self.context.placement  # found out once, before the first evaluation
        self.head: Head = self.context.head
        self.of: Of = self.context.target.of
        self.perturbed: dict[str, int] = self._plan.perturbed
        self._run = BatchRunner(self._in_batches, batch_size, model)

    @property
    def target_layers(self) -> list[TargetLayer]:
        """The layers whose output methods read; empty if none of them does."""
        found = (passes.context.target_layer for passes in self._at_layers)
        return [layer for layer in found if layer is not None]

    @property
    def layer_names(self) -> str | None:
        """The paths of these layers, or None."""
        return " + ".join(layer.name for layer in self.target_layers) or None

    @property
    def what_is_missed(self) -> str | None:
        """A clause for the user where a part of the score passes by the target layers, or None."""
        if self.around_layers < _NEGLIGIBLE:
            return None
        layers = " or ".join(one.described_in(self.context.trace) for one in self.target_layers)
        return (
            f"{100 * self.around_layers:.0f} % of the score (gradient times image) does not pass "
            f"through {layers}, and its maps show nothing of it; "
            "layer= names another layer or run, and methods that read no layer, such as "
            "'gradient_x_input', show all of the score"
        )

    @property
    def batch_size(self) -> int:
        """At most so many images go through the model at once, as far as memory allows."""
        return self._run.batch_size

    def evaluate(
        self,
        *,
        left_out: frozenset[str] = frozenset(),
        progress: Callable[[int], Report] | None = None,
    ) -> Evaluation:
        """Explain all images with the model's current weights, and leave the model as it was.

        Where memory runs out, half as many images go through the model at once, now and later. A
        method for which it is too little even for a single one is given up, as any that fails.

        Args:
            left_out: Names of methods that are left out.
            progress: Function from the number of batches to what is called as `(done, all)` after
                each pass over perturbed images of a batch.

        Returns:
            The evaluation.
        """
        inputs = (self._images, self.context.target.detail, *self._extras)
        return self._run(*inputs, at_most=self._at_most, left_out=left_out, progress=progress)

    def contrast(
        self, method: str, index: np.ndarray, classes: np.ndarray, others: np.ndarray
    ) -> np.ndarray:
        """Compute maps of the scores of some classes minus those of others.

        It takes one pass, with no further trace, for as many images as an evaluation explains at
        once.

        Args:
            method: The name of a method that needs nothing but the one pass.
            index: Which images, int `(k,)`.
            classes: The classes explained, int `(k,)`.
            others: The class that is subtracted from each, int `(k,)`.

        Returns:
            Raw maps float32 `(k, h, w)`.

        Raises:
            ValueError: If the target is not one class an image, or the method needs more.
        """
        target = self.context.target
        if not target.classes or method not in dict(self._plan.inside):
            raise ValueError(
                "A contrast needs a target of one class an image, and a method that needs nothing "
                f"but the one pass. Received: method={method!r}, of={target.of!r}"
            )
        detail = target.against(self.head, classes, others)
        inputs = (self._images[index], detail, *(extra[index] for extra in self._extras))
        left_out = frozenset(self._methods) - {method}
        return self._run(*inputs, at_most=self._at_most, left_out=left_out).maps[method]

    @property
    def in_one_pass(self) -> list[str]:
        """The methods that need nothing but the one pass."""
        return list(dict(self._plan.inside))

    @property
    def _at_most(self) -> int | None:
        """A limit of the batch size, where no images are perturbed."""
        return None if any(self.perturbed.values()) else len(self._images)

    def _share_around(self, count: int) -> float:
        """Measure what passes by the target layers, of the first images."""
        if not self._at_layers:
            return 0.0
        first, *others = self.target_layers
        context = replace(self.context, target_layer=first, beside=tuple(others))
        inputs = (self._images, self.context.target.detail, *self._extras)
        return share_around(PassRunner(context, count), *(values[:count] for values in inputs))

    def _levels_of(self, boxes: Boxes) -> list[LayerChoice]:
        """Return the levels of a feature pyramid that boxes may come from, [None] without one."""
        levels = pyramid_levels(self.context.trace, self.context.dataflow)
        if boxes.candidate is not None:
            levels = [one for one in levels if boxes.candidate in range(*one.candidates)]
        if len(levels) == 1:
            self.context = self.context.with_layer(levels[0].layer)
        return [level.layer for level in levels] or [None]

    def _plan_passes(self, layers: list[LayerChoice], batch_size: int) -> None:
        """Plan the passes; with several layers, methods that read one read each in its turn."""
        inputs = self._images[:1], [extra[:1] for extra in self._extras]
        self._passes = PassRunner(self.context, batch_size)
        self._plan = plan_passes(self._passes, self._methods, *inputs)
        reading = self._plan.at_layer
        self._at_layers = [self._passes] if reading else []
        if len(layers) > 1:
            several = replace(self.context, target_layer=None, why_no_layer=_SEVERAL)
            self._passes = PassRunner(several, batch_size)
            made = [
                self._passes.variant(("layer", layer), partial(self.context.with_layer, layer))
                for layer in layers
            ]
            self._at_layers = made if reading else []
            self._methods |= {n: partial(over_layers, self._methods[n], layers) for n in reading}
            self._plan = plan_passes(self._passes, self._methods, *inputs)

    def _in_batches(
        self,
        size: int,
        *inputs: np.ndarray,
        left_out: frozenset[str],
        progress: Callable[[int], Report] | None = None,
    ) -> Evaluation:
        """Explain images with at most `size` of them, or of perturbed ones, in a pass.

        The inputs are the images, what the target knows of each, and the model's other inputs.
        """
        count, every = len(inputs[0]), len(self._images)
        # The batches are equal, so that the least is wasted on filling up the last.
        steps = list(batches(count, -(-every // -(-every // size))))
        self._passes.batch_size = size
        self._passes.progress = None if progress is None else progress(len(steps))
        names = [name for name in self._methods if name not in left_out]
        result = _Partial(names, dict(self._plan.inside), count)
        # Methods of the user's may do anything to the model, passes that were traced nothing.
        with nullcontext() if self._is_ours else preserve_state(self._model):
            for rows, real in steps:
                arrays = self._arrays(rows, inputs)
                self._explain(self._start(arrays, size), real, size, result)
        return result.evaluation()

    def _explain(self, batch: Batch, real: slice, size: int, result: "_Partial") -> None:
        """Add facts and maps of a batch to the result."""
        facts, maps = batch.fetch()
        for fact, values in facts.items():
            result.put(result.facts, fact, values, real)
        model = ScoredModel(self._passes, batch)
        for name in result.remaining():
            began = time.perf_counter()
            try:
                if name not in maps:
                    output = self._methods[name](model, batch.images)
                    maps[name] = _as_maps(output, name, batch.images)
                result.put(result.maps, name, self._over_image(name, maps[name]), real)
            except Exception as error:
                if can_halve(error, size):
                    raise
                result.errors[name] = error
            if name in result.seconds:
                result.seconds[name] += time.perf_counter() - began

    def _over_image(self, name: str, maps: np.ndarray) -> np.ndarray:
        """Lay maps of the target layer's grid over the whole image, of which it may span a part."""
        layer = self.context.target_layer
        if name not in self._plan.on_grid or layer is None:
            return maps
        is_own = maps.shape[1:] == layer.shape[1:-1] or not self._plan.at_layer
        return self.context.placement.over_image(maps) if is_own else maps

    def _start(self, arrays: tuple[Any, ...], size: int) -> Batch:
        """Run the pass over what it takes of some images."""
        # A method within the pass may be what fails, or what one needs, and must not take the
        # others with it: all run after a pass without them, at last each with its own.
        apart = [Plan(self._plan.all_quantities)] if self._plan.inside else []
        for plan in (self._plan, *apart):
            try:
                with nullcontext() if plan is self._plan else preserve_state(self._model):
                    return self._passes.start(plan, *arrays)
            except Exception as error:
                if not plan.all_quantities or can_halve(error, size):
                    raise
        with preserve_state(self._model):
            return self._passes.start(Plan(frozenset()), *arrays)

    def _arrays(self, rows: Rows, inputs: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
        """Return some rows of inputs; where these are all images, they stay on the device."""
        are_all = (
            inputs[0] is self._images
            and isinstance(rows, slice)
            and rows == slice(0, len(self._images))
        )
        if are_all and self._on_device is not None:
            return self._on_device
        some = tuple(values[rows] for values in inputs)
        self._on_device = tuple(map(ops.convert_to_tensor, some)) if are_all else None
        return self._on_device or some


class _Partial:
    """An evaluation in the making, to which one batch after the other is added."""

    def __init__(self, names: Sequence[str], inside: Container[str], count: int) -> None:
        self.facts: dict[str, np.ndarray] = {}
        self.maps: dict[str, np.ndarray] = {}
        self.errors: dict[str, Exception] = {}
        self.seconds = {name: 0.0 for name in names if name not in inside}
        self._names = names
        self._count = count

    def remaining(self) -> list[str]:
        """List the methods that have not failed."""
        return [name for name in self._names if name not in self.errors]

    def put(self, arrays: dict[str, np.ndarray], name: str, values: np.ndarray, at: slice) -> None:
        """Put the values of some images where they belong among those of all."""
        real = at.stop - at.start
        if real == self._count:
            arrays[name] = values[:real]
            return
        if name not in arrays:
            arrays[name] = np.empty((self._count, *values.shape[1:]), values.dtype)
        arrays[name][at] = values[:real]

    def evaluation(self) -> Evaluation:
        """Return the evaluation, without the maps of methods that failed in some batch."""
        maps = {name: self.maps[name] for name in self.remaining()}
        return Evaluation(maps, self.errors, **self.facts, seconds=self.seconds)


def explain(
    model: keras.Model,
    images: Any,
    method: str | Method = "grad_cam",
    *,
    target: Target | What = "predicted",
    of: Of | None = None,
    layer: LayerChoices = None,
    batch_size: int = 32,
) -> Explanation:
    """Compute maps that show what a model's score of some images rests on.

    Args:
        model: Any Keras model with an image input; it is not changed. Of several outputs, name the
            one that is explained: `target=ks.Target("predicted", output="species")`.
        images: `(batch, height, width, channels)`, or `Probes`, which know display and labels too,
            or what these can be made of: `(images, labels)`, a dataset, a folder;
            `(batch, frames, height, width, channels)` of videos. For a model of several inputs, a
            dict of them. Signals `(batch, time, channels)` come as `Probes(..., kind="signal")`.
        method: A name from `methods.available()`, or a callable `(model, images) -> maps`.
        target: What is explained: `"predicted"`, `"label"` (with `Probes` that have labels),
            `"contrast"`, a class index, one index per image, an array of output weights, a
            callable, `Boxes` of an object detector, or a `Target`.
        of: `"logits"` (the default), `"probability"` or `"log_probability"`. A `Target` has its
            own, which this must not contradict.
        layer: Name, path (`"mobilenetv2/out_relu"`), `Layer` or `Tokens` whose output CAM methods
            read; None takes the last feature map before the head. A list of these gives finer maps:
            those of the layers, scaled and fused on the finest grid, from -1 to 1. Each costs a
            pass of its own.
        batch_size: At most so many images in one pass.

    Returns:
        An `Explanation` with raw maps `(batch, h, w)` float32, in the unit of the method.

    Raises:
        ValueError: Images, method, target or layer that do not fit the model, or each other.
        TypeError: An argument of a wrong kind.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> explanation = ks.explain(net, np.ones((1, 8, 12, 3)), "saliency", target=1)
        >>> explanation.maps.shape, explanation.targets.tolist()
        ((1, 8, 12), [1])
    """
    explained_model(model)
    probes = Probes.of(images, model)
    resolved = Target.of_any(target, of)
    if probes.labels is None and isinstance(resolved.what, str) and resolved.what == "label":
        raise ValueError(
            "target='label' needs labels. Received: images without labels. Give "
            "ks.Probes(images, labels), a class index, or target='predicted'."
        )
    explainer = Explainer(model, probes, [method], resolved, layer, batch_size)
    is_shown = keras.config.is_interactive_logging_enabled()
    evaluation = explainer.evaluate(progress=Progress if is_shown else None)
    for error in evaluation.errors.values():
        raise error
    if isinstance(resolved.what, Boxes):
        resolved.what.check(evaluation.scores, evaluation.classes)
    if explainer.what_is_missed is not None:
        warn_user(f"keras_saliency: {explainer.what_is_missed}.")
    (name, maps), *_ = evaluation.maps.items()
    return Explanation(
        maps=maps,
        scores=evaluation.scores,
        targets=evaluation.classes,
        outputs=evaluation.outputs,
        method=name,
        of=explainer.of,
        layer=explainer.layer_names,
        display=explainer.probes.display,
        frames=explainer.probes.frames,
        clips=explainer.probes.clips,
    )


def name_methods(chosen: Sequence[str | Method]) -> dict[str, Method]:
    """Resolve methods under names of their own.

    Args:
        chosen: Names of methods, or callables.

    Returns:
        The methods by name.

    Raises:
        ValueError: No method, an unknown one, or two under one name.
        TypeError: A method that is neither a name nor a callable.
    """
    if isinstance(chosen, (str, ModuleType)) or callable(chosen):
        chosen = [chosen]
    if not isinstance(chosen, Iterable) or isinstance(chosen, (bytes, dict, set)):
        raise TypeError(
            "methods must be names out of keras_saliency.methods.available(), or callables "
            "(model, images) -> maps, in a list; options are given as in functools.partial("
            f"keras_saliency.methods.get('rise'), samples=500). Received: methods={chosen!r}"
        )
    chosen = list(chosen)
    for method in chosen:
        if isinstance(method, ModuleType):
            name = method.__name__.rsplit(".", 1)[-1]
            raise TypeError(
                "A method must be a name or a callable (model, images) -> maps. Received: the "
                f"module {method.__name__}. Give the name, {name!r}, or what the module holds, "
                f"keras_saliency.methods.get({name!r})."
            )
    names = [all_methods.name_of(method) for method in chosen]
    if not names:
        raise ValueError("methods must name at least one method. Received: methods=()")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"Methods need names of their own, under which their maps are filed. Received: "
            f"{', '.join(repeated)} more than once. Wrap one in a function of another name."
        )
    resolved = {name: all_methods.get(method) for name, method in zip(names, chosen, strict=True)}
    for name, method in resolved.items():
        check_call(method, ("model", "images"), f"The method {name!r}")
    return resolved


def _check_names(probes: Probes, head: Head) -> None:
    names = probes.class_names
    if names is not None and head.kind != "values" and len(names) != head.classes:
        raise ValueError(
            f"class_names must name each of the model's {head.classes} classes, in the order of "
            f"its outputs (one sigmoid unit has two). Received: class_names={list(names)}"
        )


def _as_maps(output: Any, name: str, images: Any) -> np.ndarray:
    try:
        # A copy, since a method may go on to write into its array.
        maps = np.array(ops.convert_to_numpy(output), "float32")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"A method must return maps of numbers. Received: {type(output).__name__} from {name!r}"
        ) from error
    if maps.ndim != len(images.shape) - 1 or len(maps) != images.shape[0]:
        grid = {1: "time", 2: "h, w"}.get(len(images.shape) - 2, "frames, h, w")
        raise ValueError(
            f"A method must return one map per image, ({images.shape[0]}, {grid}). "
            f"Received: shape {maps.shape} from {name!r}"
        )
    return maps
