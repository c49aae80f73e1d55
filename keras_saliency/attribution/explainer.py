"""Explaining images: `explain`, and the batch loop that the callback shares."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_saliency import methods as all_methods
from keras_saliency.attribution.explanation import Explanation
from keras_saliency.attribution.progress import Progress
from keras_saliency.common.validation import check_call, check_count
from keras_saliency.data.probes import Probes
from keras_saliency.engine.backend import check_backend, runs_compiled
from keras_saliency.engine.batching import may_do_with_fewer, with_fewer
from keras_saliency.engine.model_call import fitting
from keras_saliency.engine.output_head import Head, Of
from keras_saliency.engine.passes import ModelContext
from keras_saliency.engine.scored_model import Method, ScoredModel, is_built_in, resolve
from keras_saliency.engine.state_guard import preserve_state
from keras_saliency.engine.target_layer import LayerChoice, TargetLayer
from keras_saliency.engine.targets import Target, What

Rows = slice | np.ndarray  # of images: a slice where they need no copy


@dataclass(frozen=True)
class Evaluation:
    """What one look at the probes gave.

    Attributes:
        maps: Method name to raw maps (n, h, w) float32; a method that failed is missing.
        errors: Method name to what went wrong.
        scores: (n,) float32.
        classes: (n,) int, the class explained, -1 where there is none.
        outputs: (n, ...) the model's own output.
        tiles: Of tiles, (all tiles, classes) float32, the probabilities; else None.
        seconds: What methods took that are no part of the one pass, by name.
    """

    maps: dict[str, np.ndarray]
    errors: dict[str, Exception]
    scores: np.ndarray
    classes: np.ndarray
    outputs: np.ndarray
    tiles: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Explainer:
    """A model, probes and methods, settled once and looked at as often as needed.

    Args:
        model: The model; it is built if it is not yet.
        probes: The probes.
        chosen: Names of methods, or callables.
        target: What is explained.
        layer: Which layer is looked at.
        batch_size: At most so many images in one pass.

    Raises:
        ValueError: Probes, methods, target or layer that do not fit the model.
    """

    def __init__(
        self,
        model: keras.Model,
        probes: Probes,
        chosen: Sequence[str | Method],
        target: Target,
        layer: LayerChoice,
        batch_size: int,
    ) -> None:
        check_backend()
        check_count(batch_size, "batch_size")
        self._methods = name_methods(chosen)
        self._images = np.asarray(probes.images, "float32")
        self._extras = list(probes.extras.values())
        self._batch_size = batch_size
        self._held: tuple[Any, ...] | None = None
        self._traced = 0  # how many at once went through the model in the last look
        self._model = model
        call = fitting(model, probes.model_inputs, self._images, target.output)
        call.build(self._images, *self._extras)
        with preserve_state(model):
            self._context = resolve(call, self._images, probes.labels, target, layer, self._extras)
            _check_names(probes, self._context.head)
            self._scored = ScoredModel(self._context, batch_size)
            one = [extra[:1] for extra in self._extras]
            self._plan = self._scored.plan(self._methods, self._images[:1], one)

    @property
    def context(self) -> ModelContext:
        """What was settled for the model and the probes."""
        return self._context

    @property
    def head(self) -> Head:
        """How the model's outputs are read."""
        return self._context.head

    @property
    def of(self) -> Of:
        """What the scores are computed of."""
        return self._context.target.of

    @property
    def place(self) -> TargetLayer | None:
        """The layer that methods ask about, or None if none of them does."""
        asks = self._plan.asked & {"activations", "layer_gradients"}
        return self._context.place if asks else None

    @property
    def copies(self) -> dict[str, int]:
        """How many changed copies of each image a method sends through the model, by name."""
        return self._plan.copies

    @property
    def batch_size(self) -> int:
        """At most so many images go through the model at once, as far as memory allows."""
        return self._batch_size

    def evaluate(
        self, *, left_out: frozenset[str] = frozenset(), show_progress: bool = False
    ) -> Evaluation:
        """Explain all images with the model's weights of now, and leave no trace in the model.

        Where memory runs out, half as many go through the model at once, now and later. A method
        that has not enough of it for a single one is given up, as any that fails.

        Methods may be left out by name. With `show_progress`, a bar appears on the screen if this
        lasts.
        """
        most = self._batch_size if any(self.copies.values()) else len(self._images)
        most = min(most, self._batch_size)
        look, found = with_fewer(lambda n: self._evaluate(n, left_out, show_progress), most)
        if found < most:
            self._batch_size = found
        return look

    def _evaluate(self, at_once: int, left_out: frozenset[str], show_progress: bool) -> Evaluation:
        size = _balanced(len(self._images), at_once)
        self._scored.batch_size = at_once
        batches = -(-len(self._images) // size)
        self._scored.progress = Progress(batches) if show_progress else None
        chosen = [name for name in self._methods if name not in left_out]
        seconds = dict.fromkeys(set(chosen) - dict(self._plan.inside).keys(), 0.0)
        facts: dict[str, np.ndarray] = {}
        maps: dict[str, np.ndarray] = {}
        errors: dict[str, Exception] = {}
        with preserve_state(self._model, is_traced=self._is_traced(at_once)):
            for rows, at in self._chunks(size):
                batch = self._set_batch(rows, at_once)
                told, made = self._scored.fetch()
                for fact, found in told.items():
                    self._keep(facts, fact, found, at)
                for name in (n for n in chosen if n not in errors):
                    began = time.perf_counter()
                    try:
                        if name not in made:
                            map_ = self._methods[name](self._scored, batch)
                            made[name] = _as_maps(map_, name, batch)
                        self._keep(maps, name, made[name], at)
                    except Exception as error:
                        if may_do_with_fewer(error, at_once):
                            raise
                        errors[name] = error
                        maps.pop(name, None)
                    if name in seconds:
                        seconds[name] += time.perf_counter() - began
                self._scored.clear_batch()
        self._traced = at_once
        return Evaluation(maps, errors, **facts, seconds=seconds)

    def _keep(self, kept: dict[str, np.ndarray], name: str, found: np.ndarray, at: slice) -> None:
        """Put what was found of some images where it belongs among that of all."""
        count, real = len(self._images), at.stop - at.start
        if real == count:
            kept[name] = found
            return
        if name not in kept:
            kept[name] = np.empty((count, *found.shape[1:]), found.dtype)
        kept[name][at] = found[:real]

    def _set_batch(self, rows: Rows, at_once: int) -> Any:
        """Turn to some of the images, and return their tensor."""
        given = self._given(rows)
        try:
            return self._scored.set_batch(self._plan, *given)
        except Exception as error:
            if not self._plan.inside or may_do_with_fewer(error, at_once):
                raise
        # A method within the pass may be what fails, and must not take the others with it.
        with preserve_state(self._model):
            return self._scored.set_batch(self._plan.apart, *given)

    def _given(self, rows: Rows) -> tuple[Any, ...]:
        """Return what a pass gets of some images; where these are all, it stays on the device."""
        are_all = isinstance(rows, slice) and rows == slice(0, len(self._images))
        if are_all and self._held is not None:
            return self._held
        parts = (self._images, self._context.target.detail, *self._extras)
        given = tuple(part[rows] for part in parts)
        self._held = tuple(map(ops.convert_to_tensor, given)) if are_all else None
        return self._held or given

    def _is_traced(self, at_once: int) -> bool:
        """Tell whether a look runs nothing but compiled passes that were traced before."""
        ours = all(map(is_built_in, self._methods.values()))
        return ours and at_once == self._traced and runs_compiled(self._model)

    def _chunks(self, size: int) -> Iterator[tuple[Rows, slice]]:
        """Yield rows of batches of one size, and which images these are.

        The last batch is filled up, so that one trace serves.
        """
        count = len(self._images)
        for start in range(0, count, size):
            at = slice(start, min(start + size, count))
            filled = np.minimum(np.arange(start, start + size), count - 1)
            yield (at if at.stop == start + size else filled), at


def explain(
    model: keras.Model,
    images: Any,
    method: str | Method = "grad_cam",
    *,
    target: Target | What = "predicted",
    of: Of | None = None,
    layer: LayerChoice = None,
    batch_size: int = 32,
) -> Explanation:
    """Explain what a model's score of some images rests on.

    Args:
        model: Any Keras model with an image input; it is not changed. Of several outputs, name the
            one that is explained: `target=ks.Target("predicted", output="species")`.
        images: (batch, height, width, channels), or `Probes`, which know display and labels too,
            or what these can be made of: `(images, labels)`, a dataset, a folder;
            (batch, frames, height, width, channels) of volumes. For a model of several inputs, a
            dict of them. Signals (batch, time, channels) are given as `Probes(..., kind="signal")`.
        method: A name out of `methods.available()`, or a callable `(model, images) -> maps`.
        target: What is explained: `"predicted"`, `"label"` (with `Probes` that have labels),
            `"contrast"`, a class index, one index per image, an array of output weights, a
            callable, or a `Target`.
        of: `"logits"` (the default), `"probability"` or `"log_probability"`. A `Target` says it
            itself, and is refused if `of` says otherwise.
        layer: Name, path (`"mobilenetv2/out_relu"`), `Layer` or `Tokens` that CAM methods look at;
            None takes the last feature map before the head.
        batch_size: At most so many images in one pass.

    Returns:
        An `Explanation` with raw maps (batch, h, w).

    Raises:
        ValueError: Images, method, target or layer that do not fit the model, or each other.
        TypeError: An argument of a wrong kind.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> found = ks.explain(net, np.ones((1, 8, 12, 3)), "saliency", target=1)
        >>> found.maps.shape, found.targets.tolist()
        ((1, 8, 12), [1])
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "model must be a keras.Model; a file is read by keras.models.load_model(path). "
            f"Received: model of type {type(model).__name__}"
        )
    probes = Probes.of(images, model)
    settled = Target.of_any(target, of)
    if probes.labels is None and isinstance(settled.what, str) and settled.what == "label":
        raise ValueError(
            "target='label' needs labels. Received: images without labels. Give "
            "ks.Probes(images, labels), a class index, or target='predicted'."
        )
    explainer = Explainer(model, probes, [method], settled, layer, batch_size)
    look = explainer.evaluate(show_progress=keras.config.is_interactive_logging_enabled())
    for error in look.errors.values():
        raise error
    (name, maps), *_ = look.maps.items()
    place = explainer.place
    return Explanation(
        maps=maps,
        scores=look.scores,
        targets=look.classes,
        outputs=look.outputs,
        method=name,
        of=explainer.of,
        layer=place.name if place else None,
        display=probes.display,
        frames=probes.frames,
        clips=probes.clips,
    )


def name_methods(chosen: Sequence[str | Method]) -> dict[str, Method]:
    """Settle methods under names of their own.

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
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"Methods need names of their own, under which their maps are filed. Received: "
            f"{', '.join(twice)} more than once. Wrap one in a function of another name."
        )
    found = {name: all_methods.get(method) for name, method in zip(names, chosen, strict=True)}
    for name, method in found.items():
        check_call(method, ("model", "images"), f"The method {name!r}")
    return found


def _balanced(count: int, batch_size: int) -> int:
    """Return the size of equal chunks, at most `batch_size`, that waste the least filling up."""
    return -(-count // -(-count // batch_size))


def _check_names(probes: Probes, head: Head) -> None:
    names = probes.class_names
    if names is not None and head.kind != "values" and len(names) != head.classes:
        raise ValueError(
            f"class_names must name each of the model's {head.classes} classes, in the order of "
            f"its outputs (one sigmoid unit has two). Received: class_names={list(names)}"
        )


def _as_maps(found: Any, name: str, batch: Any) -> np.ndarray:
    try:
        # A copy, since a method may go on to write into its array.
        maps = np.array(ops.convert_to_numpy(found), "float32")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"A method must return maps of numbers. Received: {type(found).__name__} from {name!r}"
        ) from error
    if maps.ndim != len(batch.shape) - 1 or len(maps) != batch.shape[0]:
        grid = {1: "time", 2: "h, w"}.get(len(batch.shape) - 2, "frames, h, w")
        raise ValueError(
            f"A method must return one map per image, ({batch.shape[0]}, {grid}). "
            f"Received: shape {maps.shape} from {name!r}"
        )
    return maps
