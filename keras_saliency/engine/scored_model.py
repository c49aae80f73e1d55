"""A model and a target, reduced to the questions that a method may ask."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.batching import with_fewer
from keras_saliency.engine.feature_layout import attended_grid
from keras_saliency.engine.gap_head import pooled_kernel
from keras_saliency.engine.keras_private import flatten_layers
from keras_saliency.engine.model_call import ModelCall
from keras_saliency.engine.output_head import read_head
from keras_saliency.engine.passes import ModelContext, attention_shape, question_function
from keras_saliency.engine.target_layer import LayerChoice, TargetLayer, choose, logits_behind
from keras_saliency.engine.targets import Target, against_similar, resolve_target
from keras_saliency.engine.tracing import record
from keras_saliency.engine.ways import lies_between

Method = Callable[["ScoredModel", Any], Any]


@dataclass(frozen=True)
class Plan:
    """What one pass over a batch of images answers.

    Attributes:
        questions: What it hands out, to methods that run after it.
        inside: Methods by name that run as a part of the compiled pass, so that only their maps
            leave it.
        asked_inside: What these ask.
        copies: How many changed copies of each image each method asks about besides, by name.
    """

    questions: frozenset[str]
    inside: tuple[tuple[str, Method], ...] = ()
    asked_inside: frozenset[str] = frozenset()
    copies: dict[str, int] = field(default_factory=dict, compare=False)

    @property
    def asked(self) -> frozenset[str]:
        """What any method asks about the images themselves."""
        return self.questions | self.asked_inside

    @property
    def apart(self) -> Plan:
        """The same with every method after the pass, so that each fails for itself."""
        return Plan(self.asked, copies=self.copies)


class ScoredModel:
    """A model seen through a target: what a method may ask about a batch of images.

    A method gets one of these and the images, `(batch, height, width, channels)` float32, and
    returns maps `(batch, h, w)`. Answers about these images are computed once and shared by all
    methods. A method may also ask about other images: `rows` then tells, for each of them, which
    image of the batch it stands for, and so which class is scored; without `rows` they stand for
    the batch in its order. Other images are answered `batch_size` at a time.
    Every answer is a tensor of the backend, float32.

    Attributes:
        of: What the scores are computed of: `"logits"`, `"probability"`, `"log_probability"`, or
            `"value"` for a regression.
        batch_size: At most so many images go through the model at once.
        progress: Told of the passes over copies of the images, `(done, all)`, or None.
    """

    def __init__(self, context: ModelContext, batch_size: int) -> None:
        self.of = context.target.of
        self.batch_size = batch_size
        self.progress: Callable[[int, int], None] | None = None
        self._context = context
        self._passes: dict[Plan, Callable[..., Any]] = {}
        self._elsewhere: dict[Any, ScoredModel] = {}
        self._copies: ScoredModel | None = None
        self._images: Any = None
        self._beside: list[Any] = []  # what the target knows of each image, and the other inputs
        self._answers: dict[str, Any] = {}
        self._inside: list[str] = []  # methods whose maps the pass has made
        self._asked: set[str] = set()
        self._rehearsing = self._turns_away = False
        # Small gradients vanish in float16; a power of two is taken out again without a trace.
        self._loss_scale = 1024.0 if _uses_float16(context.model) else 1.0

    def scores(self, images: Any, rows: Any = None) -> Any:
        """Return the score of each image, (batch,)."""
        return self._answer("scores", images, rows)

    def classes(self, images: Any) -> Any:
        """Return the class explained in each image, (batch,) int32, -1 where there is none."""
        return self._answer("classes", images)

    def input_gradients(self, images: Any, rows: Any = None) -> Any:
        """Return the gradient of the score at each image, of the shape of `images`."""
        return self._answer("input_gradients", images, rows)

    def activations(self, images: Any, rows: Any = None) -> Any:
        """Return the output of the layer, (batch, h, w, channels)."""
        return self._answer("activations", images, rows)

    def layer_gradients(self, images: Any, rows: Any = None) -> Any:
        """Return the gradient of the score at the layer's output, (batch, h, w, channels)."""
        return self._answer("layer_gradients", images, rows)

    def attentions(self, images: Any, rows: Any = None) -> Any:
        """Return self-attention, (batch, layers, tokens, tokens), averaged over heads.

        Raises:
            ValueError: The model has no self-attention over all tokens of an image.
        """
        return self._answer("attentions", images, rows)

    def token_grid(self, count: int) -> tuple[int, ...] | None:
        """Return the grid that the last of `count` tokens form, or None where nothing tells."""
        return attended_grid(self._context.recording, count)

    def gated_scores(self, images: Any, gates: Any, rows: Any = None) -> Any:
        """Return scores (batch,), the layer's channels multiplied by `gates` (batch, channels)."""
        return self._others("scores", images, rows, gates)

    def class_weights(self, images: Any) -> Any:
        """Return the weights of the explained class in the dense head, (batch, channels).

        Raises:
            ValueError: The head is not global average pooling of the layer and one dense layer,
                or the target is no class of the logits.
        """
        kernel = pooled_kernel(self._context)
        columns = [-kernel, kernel] if self._context.head.is_binary else [kernel]
        weights = ops.concatenate(columns, axis=-1)
        return ops.take(ops.transpose(weights), self.classes(images), axis=0)

    def at(self, layer: LayerChoice) -> ScoredModel:
        """Return the same model and target, looked at in another layer."""
        key = layer if isinstance(layer, (str, tuple)) else id(layer)
        if key not in self._elsewhere:
            place = choose(self._context.recording, self._context.model, layer)
            self._elsewhere[key] = ScoredModel(replace(self._context, place=place), self.batch_size)
        return self._here_too(self._elsewhere[key])

    def against_similar(self, count: int, strength: float) -> ScoredModel:
        """Return the same model, its score less that of the classes that score most alike.

        Args:
            count: How many classes, those whose scores are nearest to that of the class explained.
            strength: The share of their mean score that is taken off.

        Raises:
            ValueError: The target is no class, or the model knows no other.
        """
        key = (None, count, strength)
        if key not in self._elsewhere:
            target = against_similar(self._context.target, self._context.head, count, strength)
            self._elsewhere[key] = ScoredModel(
                replace(self._context, target=target), self.batch_size
            )
        return self._here_too(self._elsewhere[key])

    def counted(self, passes: int, copies: int) -> Iterator[int]:
        """Count passes over copies, so many of each image, and tell `progress` after each."""
        if self._rehearsing:
            raise _OtherImages(copies)
        if self._copies is not None:
            self._copies._asked.clear()
        for done in range(passes):
            yield done
            if self.progress is not None:
                self.progress(done + 1, passes)

    def with_batch(self, copies: Any, rows: np.ndarray) -> tuple[ScoredModel, Any]:
        """Return the same model and target, its batch these copies, and their tensor.

        What is asked about the copies is learnt from chunk to chunk, so that one pass answers it.

        Args:
            copies: (n, height, width, channels), at most `batch_size`.
            rows: (n,), which image of the batch each is a copy of.
        """
        if self._copies is None:
            self._copies = ScoredModel(self._context, self.batch_size)
            self._copies._passes = self._passes
        there, there.batch_size = self._copies, self.batch_size
        there._images = ops.convert_to_tensor(copies, "float32")
        there._beside, there._answers = self._beside_of(rows), {}
        return there, there._images

    def plan(
        self, methods: Mapping[str, Method], images: np.ndarray, extras: Sequence[np.ndarray] = ()
    ) -> Plan:
        """Find what methods ask about the images themselves, so that one pass can answer all.

        They are asked with zeros for answers; one that turns to other images has said enough.
        """
        self._rehearsing = True
        asked: dict[bool, set[str]] = {False: set(), True: set()}
        inside, copies = [], dict.fromkeys(methods, 0)
        for name, method in methods.items():
            self.set_batch(_NOTHING, images, np.zeros(len(images)), *extras)
            self._turns_away = False
            try:
                method(self, self._images)
            except _OtherImages as others:
                copies[name], self._turns_away = others.copies, True
            fits = self._fits_inside(method)
            asked[fits] |= self._asked
            if fits:
                inside.append((name, method))
        self._rehearsing = False
        self.clear_batch()
        return Plan(frozenset(asked[False]), tuple(inside), frozenset(asked[True]), copies)

    def set_batch(self, plan: Plan, images: Any, detail: Any, *extras: Any) -> Any:
        """Turn to a batch, answer what is planned in one pass, and return the batch's tensor."""
        self._images = ops.convert_to_tensor(images)
        self._beside = [ops.convert_to_tensor(one) for one in (detail, *extras)]
        self._answers, self._asked = {}, set()
        self._inside = [name for name, _ in plan.inside]
        if not self._rehearsing:
            self._answers = self._pass(plan, self._images, *self._beside)
            self._beside[0] = self._answers["detail"]
        return self._images

    def clear_batch(self) -> None:
        """Let go of the batch and of the answers about it."""
        self._images, self._beside, self._answers = None, [], {}
        for there in (*self._elsewhere.values(), *filter(None, [self._copies])):
            there.clear_batch()

    def fetch(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return facts about the batch attended to, and the maps that its pass made, by method.

        The facts are scores, classes and the model's own outputs. All come from the device in one
        copy, but for outputs of another type than float32.
        """
        flat, *parts = self._answers["told"]
        values, start, arrays = ops.convert_to_numpy(flat), 0, []
        for shape in (tuple(part.shape) for part in parts):
            end = start + math.prod(shape)
            arrays.append(values[start:end].reshape(shape))
            start = end
        scores, classes, *maps = arrays[: 2 + len(self._inside)]
        outputs = arrays[len(maps) + 2 :] or [ops.convert_to_numpy(self._answers["outputs"])]
        facts = {"scores": scores, "classes": classes.astype("int32"), "outputs": outputs[0]}
        return facts, dict(zip(self._inside, maps, strict=True))

    def _here_too(self, there: ScoredModel) -> ScoredModel:
        """Turn another view of the model to the batch that is attended to here."""
        self._turns_away = True
        there.batch_size = self.batch_size
        there._images, there._beside = self._images, self._beside
        there._answers, there._rehearsing = {}, self._rehearsing
        return there

    def _answer(self, question: str, images: Any, rows: Any = None) -> Any:
        if question in ("activations", "layer_gradients") and self._context.place is None:
            raise ValueError(self._context.no_place)
        if images is not self._images:
            return self._others(question, images, rows)
        self._asked.add(question)
        if question not in self._answers and self._rehearsing:
            self._answers |= self._attention_zeros() if question == "attentions" else self._zeros()
        elif question not in self._answers:
            missing = frozenset(self._asked - self._answers.keys())
            self._answers |= self._pass(Plan(missing), images, *self._beside)
        return self._answers[question]

    def _others(self, question: str, images: Any, rows: Any, gates: Any = None) -> Any:
        """Answer about images that are not the batch's, in chunks of one size."""
        if self._rehearsing:
            raise _OtherImages(0 if rows is None else len(rows))
        images = ops.convert_to_tensor(images, "float32")
        count = images.shape[0]
        rows = np.arange(count) if rows is None else np.asarray(rows)
        size = min(count, self.batch_size)
        found = []
        for start in range(0, count, size):
            # The last chunk is filled up, so that it needs no trace of its own.
            chunk = np.minimum(np.arange(start, start + size), count - 1)
            inputs = [ops.take(images, chunk, axis=0), *self._beside_of(rows[chunk])]
            if gates is not None:
                inputs.append(ops.take(ops.convert_to_tensor(gates, "float32"), chunk, axis=0))
            answer = self._pass(Plan(frozenset({question})), *inputs)[question]
            found.append(answer[: count - start])
        return ops.concatenate(found)

    def _beside_of(self, rows: np.ndarray) -> list[Any]:
        """What goes beside copies of these images of the batch."""
        return [ops.take(one, rows, axis=0) for one in self._beside]

    def _zeros(self) -> dict[str, Any]:
        place, count = self._context.place, self._images.shape[0]
        layer = ops.zeros(place.shape if place else (count,))
        return {
            "scores": ops.zeros((count,)),
            "classes": ops.zeros((count,), "int32"),
            "input_gradients": ops.zeros(self._images.shape),
            "activations": layer,
            "layer_gradients": layer,
        }

    def _attention_zeros(self) -> dict[str, Any]:
        shape = attention_shape(self._context.call, self._images, *self._beside[1:])
        return {"attentions": ops.zeros(shape)}

    def _fits_inside(self, method: Method) -> bool:
        """Tell whether a method that was rehearsed can be a part of the compiled pass.

        Code in there runs but once, so it must be our own, and stay with the backend's tensors.
        """
        if self._turns_away or self._loss_scale != 1.0 or not is_built_in(method):
            return False
        names, answers = list(self._answers), list(self._answers.values())

        def trial(images: Any, *answers: Any) -> None:
            method(self._answered(images, dict(zip(names, answers, strict=True))), images)

        arrays = [ops.convert_to_numpy(one) for one in (self._images, *answers)]
        try:
            backend.traced(trial, self._context.model, *arrays)
        except Exception:  # whatever a backend raises where its tensors are read as numbers
            return False
        return True

    def _answered(self, images: Any, answers: dict[str, Any]) -> ScoredModel:
        """Return the same model, turned to images about which all is answered that is asked."""
        there = ScoredModel(self._context, self.batch_size)
        there._images, there._answers = images, answers
        return there

    def _function_of(self, plan: Plan) -> Callable[..., Any]:
        """Write the function of a pass, and of the methods that are a part of it."""
        answer = question_function(self._context, plan.asked)

        def mapped(scale: Any, images: Any, *beside: Any) -> dict[str, Any]:
            found = answer(scale, images, *beside)
            there = self._answered(images, found)
            maps = [method(there, images) for _, method in plan.inside]
            handed_out = {name: found[name] for name in (*_FACTS, *plan.questions)}
            return handed_out | {"told": _packed(found, maps)}

        return mapped

    def _pass(self, plan: Plan, *inputs: Any) -> dict[str, Any]:
        """Run one compiled pass that answers just what is planned."""
        if plan not in self._passes:
            model = self._context.model
            self._passes[plan] = backend.compiled(self._function_of(plan), model)
        while True:
            scale = ops.convert_to_tensor(self._loss_scale, "float32")
            answers = self._passes[plan](scale, *inputs)
            if self._loss_scale == 1.0 or _all_finite(answers):
                return answers
            self._loss_scale /= 32.0


_NOTHING = Plan(frozenset())
_FACTS = ("scores", "classes", "outputs", "detail")  # of every pass


class _OtherImages(BaseException):
    """Ends the rehearsal of a method that asks about images of its own making."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies


def resolve(
    call: ModelCall,
    images: np.ndarray,
    labels: np.ndarray | None,
    target: Target,
    layer: LayerChoice,
    extras: Sequence[np.ndarray] = (),
) -> ModelContext:
    """Resolve, once, how a model is asked about images.

    Args:
        call: How a built model is called.
        images: All images, (n, height, width, channels) float32.
        labels: Labels of the images, or None.
        target: What is explained.
        layer: Which layer is looked at; None picks the last feature map.
        extras: The model's other inputs, (n, ...) each.

    Returns:
        The setting.

    Raises:
        ValueError: A layer or target that does not fit the model.
    """
    model = call.model
    first = [one[:1] for one in (images, *extras)]
    recording = call.matters(record(model, call, *first))
    logits = logits_behind(recording)

    def sums_to_one() -> bool:
        outputs_of = backend.compiled(call, model)

        def attempt(count: int) -> Any:
            inputs = [ops.convert_to_tensor(one[:count]) for one in (images, *extras)]
            return ops.convert_to_numpy(outputs_of(*inputs))

        found = with_fewer(attempt, 4)[0].astype("float64")
        return bool((found >= 0).all() and np.allclose(found.sum(axis=-1), 1.0, atol=1e-2))

    activation = logits.activation if logits else None
    head = read_head(call.loss, recording.output_shape, activation, labels, sums_to_one)

    def serves(place: TargetLayer) -> bool:
        return not call.hides_ways or lies_between(call, place, *first)

    place, no_place = None, ""
    try:
        place = choose(recording, model, layer, serves)
    except ValueError as error:
        if layer is not None:
            raise
        no_place = str(error)
    return ModelContext(
        call,
        recording,
        head,
        resolve_target(target, head, labels, len(images)),
        logits,
        place,
        no_place,
    )


def _packed(found: dict[str, Any], maps: list[Any]) -> list[Any]:
    """Lay facts and maps behind each other, and add them as they are, as their shapes tell."""
    parts = [found["scores"], found["classes"], *maps]
    if keras.backend.standardize_dtype(found["outputs"].dtype) == "float32":
        parts.append(found["outputs"])
    flat = [ops.reshape(ops.cast(part, "float32"), (-1,)) for part in parts]
    return [ops.concatenate(flat), *parts]


def is_built_in(method: Method) -> bool:
    """Tell whether a method is one of this package, with options or without."""
    inner = method.func if isinstance(method, functools.partial) else method
    return str(getattr(inner, "__module__", "")).startswith("keras_saliency.methods.")


def _uses_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in flatten_layers(model))


def _all_finite(answers: dict[str, Any]) -> bool:
    found = [ops.all(ops.isfinite(answers[name])) for name in answers if "gradients" in name]
    return all(bool(ops.convert_to_numpy(one)) for one in found)
