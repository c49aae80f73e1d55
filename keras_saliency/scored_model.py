"""A model and a target, reduced to the questions that a method may ask."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_saliency import autodiff
from keras_saliency.layers import (
    LayerChoice,
    LogitPlace,
    Place,
    choose,
    logits_behind,
    pooled_head,
    reached,
)
from keras_saliency.recording import Recording, record
from keras_saliency.targets import Aim, Head, Target, aim, read_head

Method = Callable[["ScoredModel", Any], Any]


@dataclass(frozen=True)
class Setting:
    """What is settled once for a model and its probes, before anything is computed."""

    model: keras.Model
    recording: Recording
    head: Head
    aim: Aim
    logits: LogitPlace | None
    place: Place | None
    no_place: str


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
    """

    def __init__(self, setting: Setting, batch_size: int) -> None:
        self.of = setting.aim.of
        self.batch_size = batch_size
        self._setting = setting
        self._passes: dict[frozenset[str], Callable[..., Any]] = {}
        self._elsewhere: dict[Any, ScoredModel] = {}
        self._images: Any = None
        self._detail: Any = None
        self._answers: dict[str, Any] = {}
        self._asked: set[str] = set()
        self._rehearsing = False
        # Small gradients vanish in float16; a power of two is taken out again without a trace.
        self._loss_scale = 1024.0 if _uses_float16(setting.model) else 1.0

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

    def gated_scores(self, images: Any, gates: Any, rows: Any = None) -> Any:
        """Return scores (batch,), the layer's channels multiplied by `gates` (batch, channels)."""
        return self._others("scores", images, rows, gates)

    def class_weights(self, images: Any) -> Any:
        """Return the weights of the explained class in the dense head, (batch, channels).

        Raises:
            ValueError: The head is not global average pooling of the layer and one dense layer,
                or the target is no class of the logits.
        """
        kernel = _pooled_kernel(self._setting)
        columns = [-kernel, kernel] if self._setting.head.is_binary else [kernel]
        weights = ops.concatenate(columns, axis=-1)
        return ops.take(ops.transpose(weights), self.classes(images), axis=0)

    def at(self, layer: LayerChoice) -> ScoredModel:
        """Return the same model and target, looked at in another layer."""
        key = layer if isinstance(layer, (str, tuple)) else id(layer)
        if key not in self._elsewhere:
            place = choose(self._setting.recording, self._setting.model, layer)
            there = ScoredModel(replace(self._setting, place=place), self.batch_size)
            self._elsewhere[key] = there
        there = self._elsewhere[key]
        there._images, there._detail = self._images, self._detail
        there._answers, there._rehearsing = {}, self._rehearsing
        return there

    def questions(self, methods: Sequence[Method], images: np.ndarray) -> frozenset[str]:
        """Find what methods ask about the images themselves, so that one pass can answer all.

        They are asked with zeros for answers; one that turns to other images has said enough.
        """
        self._rehearsing = True
        asked: set[str] = set()
        for method in methods:
            self.attend(images, np.zeros(len(images)), frozenset())
            with suppress(_OtherImages):
                method(self, self._images)
            asked |= self._asked
        self._rehearsing = False
        self.forget()
        return frozenset(asked)

    def attend(self, images: np.ndarray, detail: np.ndarray, questions: frozenset[str]) -> Any:
        """Turn to a batch, answer the questions about it in one pass, and return its tensor."""
        self._images = ops.convert_to_tensor(images)
        self._detail = ops.convert_to_tensor(detail)
        self._answers, self._asked = {}, set()
        if not self._rehearsing:
            self._answers = self._pass(questions, self._images, self._detail)
            if self._setting.aim.classes:
                # What was predicted for an image is what its perturbed copies are scored for.
                self._detail = self._answers["classes"]
        return self._images

    def forget(self) -> None:
        """Let go of the batch and of the answers about it."""
        self._images, self._detail, self._answers = None, None, {}
        for there in self._elsewhere.values():
            there.forget()

    def facts(self) -> dict[str, np.ndarray]:
        """Return scores, classes and the model's own outputs for the batch attended to."""
        return {
            name: ops.convert_to_numpy(self._answers[name])
            for name in ("scores", "classes", "outputs")
        }

    def _answer(self, question: str, images: Any, rows: Any = None) -> Any:
        if question in ("activations", "layer_gradients") and self._setting.place is None:
            raise ValueError(self._setting.no_place)
        if images is not self._images:
            return self._others(question, images, rows)
        self._asked.add(question)
        if question not in self._answers and self._rehearsing:
            self._answers |= self._zeros()
        elif question not in self._answers:
            self._answers |= self._pass(frozenset({question}), images, self._detail)
        return self._answers[question]

    def _others(self, question: str, images: Any, rows: Any, gates: Any = None) -> Any:
        """Answer about images that are not the batch's, in chunks of one size."""
        if self._rehearsing:
            raise _OtherImages
        images = ops.convert_to_tensor(images, "float32")
        count = images.shape[0]
        rows = np.arange(count) if rows is None else np.asarray(rows)
        size = min(count, self.batch_size)
        found = []
        for start in range(0, count, size):
            # The last chunk is filled up, so that it needs no trace of its own.
            chunk = np.minimum(np.arange(start, start + size), count - 1)
            inputs = [ops.take(images, chunk, axis=0), ops.take(self._detail, rows[chunk], axis=0)]
            if gates is not None:
                inputs.append(ops.take(ops.convert_to_tensor(gates, "float32"), chunk, axis=0))
            answer = self._pass(frozenset({question}), *inputs)[question]
            found.append(answer[: count - start])
        return ops.concatenate(found)

    def _zeros(self) -> dict[str, Any]:
        place, count = self._setting.place, self._images.shape[0]
        layer = ops.zeros(place.shape if place else (count,))
        return {
            "scores": ops.zeros((count,)),
            "classes": ops.zeros((count,), "int32"),
            "input_gradients": ops.zeros(self._images.shape),
            "activations": layer,
            "layer_gradients": layer,
        }

    def _pass(self, questions: frozenset[str], *inputs: Any) -> dict[str, Any]:
        """Run one compiled pass that answers just these questions."""
        if questions not in self._passes:
            self._passes[questions] = autodiff.compiled(
                _question_function(self._setting, questions), self._setting.model
            )
        while True:
            scale = ops.convert_to_tensor(self._loss_scale, "float32")
            answers = self._passes[questions](scale, *inputs)
            if self._loss_scale == 1.0 or _all_finite(answers):
                return answers
            self._loss_scale /= 32.0


class _OtherImages(BaseException):
    """Ends the rehearsal of a method that asks about images of its own making."""


def settle(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray | None,
    target: Target,
    layer: LayerChoice,
) -> Setting:
    """Look at a model once and settle how it is asked.

    Args:
        model: A built model.
        images: All images, (n, height, width, channels) float32.
        labels: Labels of the images, or None.
        target: What is explained.
        layer: Which layer is looked at; None picks the last feature map.

    Returns:
        The setting.

    Raises:
        ValueError: A layer or target that does not fit the model.
    """
    forward = functools.partial(_output, model)
    recording = record(model, forward, images[:1])
    logits = logits_behind(recording)

    def sums_to_one() -> bool:
        outputs = autodiff.compiled(forward, model)(ops.convert_to_tensor(images[:4]))
        found = ops.convert_to_numpy(outputs).astype("float64")
        return bool((found >= 0).all() and np.allclose(found.sum(axis=-1), 1.0, atol=1e-2))

    activation = logits.activation if logits else None
    head = read_head(model, recording.output_shape, activation, labels, sums_to_one)
    place, no_place = None, ""
    try:
        place = choose(recording, model, layer)
    except ValueError as error:
        if layer is not None:
            raise
        no_place = str(error)
    return Setting(
        model, recording, head, aim(target, head, labels, len(images)), logits, place, no_place
    )


def _output(model: keras.Model, images: Any) -> Any:
    """Call a model as it is used, not trained, and return its only output."""
    outputs = keras.tree.flatten(model(images, training=False))
    if len(outputs) != 1:
        raise ValueError(
            f"A model with one output is needed. Received: model={model.name!r} with "
            f"{len(outputs)} outputs. Explain a keras.Model(model.input, output) of one of them."
        )
    return outputs[0]


@contextmanager
def untouched(model: keras.Model) -> Iterator[None]:
    """Put back, after a pass, what a layer's Python code or its tracing may have moved."""
    before = [(layer, dict(layer.__dict__)) for layer in model._flatten_layers()]
    lists = [(v, list(v)) for _, held in before for v in held.values() if isinstance(v, list)]
    drawn, drawn_numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(drawn)
        np.random.set_state(drawn_numpy)
        for layer, attributes in before:
            for name in layer.__dict__.keys() - attributes.keys():
                del layer.__dict__[name]
            layer.__dict__.update(attributes)
        for value, held in lists:
            # Past Keras's own lists, which note what is added: nothing in them is new.
            list.__setitem__(value, slice(None), held)


def _question_function(setting: Setting, questions: frozenset[str]) -> Callable[..., Any]:
    """Write the function of one pass: the forward pass, and a backward pass if one is needed."""

    def answer(scale: Any, images: Any, detail: Any, gates: Any = None) -> dict[str, Any]:
        points: dict[str, Any] = {}
        looks = gates is not None or questions & {"activations", "layer_gradients"}
        place = setting.place if looks else None
        if "input_gradients" in questions:
            points["input_gradients"] = images
        if place is not None and "layer_gradients" in questions:
            # What is added to the layer's output has the gradient of the layer's output.
            shape = (place.shape[0] * images.shape[0], *place.shape[1:])
            points["layer_gradients"] = ops.zeros(shape, place.dtype)

        def scored(points: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            def changed(output: Any) -> Any:
                if gates is not None:
                    output = output * _spread(ops.cast(gates, output.dtype), len(output.shape))
                return output + points.get("layer_gradients", 0.0)

            with reached(place, setting.logits, changed) as seen:
                outputs = _output(setting.model, points.get("input_gradients", images))
            logits = seen.logits[setting.logits.run] if setting.logits else None
            scores, classes = setting.aim.score(setting.head, outputs, logits, detail)
            rest = {"scores": scores, "classes": classes, "outputs": outputs}
            if place is not None:
                rest["activations"] = ops.cast(seen.outputs[0], "float32")
            return scores * scale, rest

        if not points:
            return scored({})[1]
        _, rest, gradients = autodiff.gradients(scored, points)
        return rest | {name: _connected(name, gradients[name], setting) / scale for name in points}

    return answer


def _spread(gates: Any, rank: int) -> Any:
    """Reshape (batch, channels) so that it broadcasts over the places of a layer's output."""
    return ops.reshape(gates, (gates.shape[0], *[1] * (rank - 2), gates.shape[1]))


def _connected(question: str, gradient: Any, setting: Setting) -> Any:
    """Return a gradient in float32, or say that the score does not depend on the point."""
    if gradient is not None:
        return ops.cast(gradient, "float32")
    if question == "layer_gradients" and setting.place is not None:
        raise ValueError(
            f"The score does not depend on layer {setting.place.name!r}, so it has no gradient "
            "there. Name a layer on the way to the explained output with layer=."
        )
    raise ValueError(
        "The score has no gradient at the images: the model turns them into integers, or stops "
        "the gradient. Methods that ask for the layer alone ('grad_cam') still work."
    )


def _pooled_kernel(setting: Setting) -> Any:
    head, place = pooled_head(setting.recording), setting.place
    if head is None:
        raise ValueError(
            "'cam' needs a head of global average pooling and one dense layer. Received: "
            f"model={setting.model.name!r} with another head. Use 'grad_cam' or 'hires_cam', "
            "which need no such head and give the same map where there is one."
        )
    dense, pooled = head
    if place is None or pooled is None or place.layer is not pooled.layer:
        wanted = pooled.name if pooled else "what is pooled"
        raise ValueError(
            f"'cam' reads the layer that is pooled: layer={wanted!r}. "
            f"Received: layer={place.name if place else None!r}"
        )
    if not setting.aim.classes or setting.aim.of != "logits":
        raise ValueError(
            "'cam' explains the logit of one class: target 'label', 'predicted' or class indices, "
            f"of='logits'. Received: of={setting.aim.of!r}. Use 'hires_cam' for other targets."
        )
    return ops.cast(dense.kernel, "float32")


def _uses_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in model._flatten_layers())


def _all_finite(answers: dict[str, Any]) -> bool:
    found = [ops.all(ops.isfinite(answers[name])) for name in answers if "gradients" in name]
    return all(bool(ops.convert_to_numpy(one)) for one in found)
