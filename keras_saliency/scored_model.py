"""A model and a target, reduced to the questions that a method may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_saliency import autodiff
from keras_saliency.calls import Call
from keras_saliency.heads import read_head
from keras_saliency.layers import LayerChoice, Place, choose, logits_behind
from keras_saliency.layouts import attended_grid
from keras_saliency.passes import Setting, attention_shape, question_function
from keras_saliency.pooled import pooled_kernel
from keras_saliency.recording import record
from keras_saliency.targets import Target, against_similar, aim
from keras_saliency.ways import lies_between

Method = Callable[["ScoredModel", Any], Any]


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
        copies_asked: Of each method rehearsed, how many copies of each image it asks about.
    """

    def __init__(self, setting: Setting, batch_size: int) -> None:
        self.of = setting.aim.of
        self.batch_size = batch_size
        self.progress: Callable[[int, int], None] | None = None
        self.copies_asked: list[int] = []
        self._setting = setting
        self._passes: dict[frozenset[str], Callable[..., Any]] = {}
        self._elsewhere: dict[Any, ScoredModel] = {}
        self._copies: ScoredModel | None = None
        self._images: Any = None
        self._beside: list[Any] = []  # what the target knows of each image, and the other inputs
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

    def attentions(self, images: Any, rows: Any = None) -> Any:
        """Return self-attention, (batch, layers, tokens, tokens), averaged over heads.

        Raises:
            ValueError: The model has no self-attention over all tokens of an image.
        """
        return self._answer("attentions", images, rows)

    def token_grid(self, count: int) -> tuple[int, ...] | None:
        """Return the grid that the last of `count` tokens form, or None where nothing tells."""
        return attended_grid(self._setting.recording, count)

    def gated_scores(self, images: Any, gates: Any, rows: Any = None) -> Any:
        """Return scores (batch,), the layer's channels multiplied by `gates` (batch, channels)."""
        return self._others("scores", images, rows, gates)

    def class_weights(self, images: Any) -> Any:
        """Return the weights of the explained class in the dense head, (batch, channels).

        Raises:
            ValueError: The head is not global average pooling of the layer and one dense layer,
                or the target is no class of the logits.
        """
        kernel = pooled_kernel(self._setting)
        columns = [-kernel, kernel] if self._setting.head.is_binary else [kernel]
        weights = ops.concatenate(columns, axis=-1)
        return ops.take(ops.transpose(weights), self.classes(images), axis=0)

    def at(self, layer: LayerChoice) -> ScoredModel:
        """Return the same model and target, looked at in another layer."""
        key = layer if isinstance(layer, (str, tuple)) else id(layer)
        if key not in self._elsewhere:
            place = choose(self._setting.recording, self._setting.model, layer)
            self._elsewhere[key] = ScoredModel(replace(self._setting, place=place), self.batch_size)
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
            aim = against_similar(self._setting.aim, self._setting.head, count, strength)
            self._elsewhere[key] = ScoredModel(replace(self._setting, aim=aim), self.batch_size)
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

    def turned_to(self, copies: Any, rows: np.ndarray) -> tuple[ScoredModel, Any]:
        """Return the same model and target, its batch these copies, and their tensor.

        What is asked about the copies is learnt from chunk to chunk, so that one pass answers it.

        Args:
            copies: (n, height, width, channels), at most `batch_size`.
            rows: (n,), which image of the batch each is a copy of.
        """
        if self._copies is None:
            self._copies = ScoredModel(self._setting, self.batch_size)
            self._copies._passes = self._passes
        there = self._copies
        there._images = ops.convert_to_tensor(copies, "float32")
        there._beside, there._answers = self._beside_of(rows), {}
        return there, there._images

    def questions(
        self, methods: Sequence[Method], images: np.ndarray, extras: Sequence[np.ndarray] = ()
    ) -> frozenset[str]:
        """Find what methods ask about the images themselves, so that one pass can answer all.

        They are asked with zeros for answers; one that turns to other images has said enough.
        """
        self._rehearsing, self.copies_asked = True, []
        asked: set[str] = set()
        for method in methods:
            self.attend(images, np.zeros(len(images)), frozenset(), extras)
            copies = 0
            try:
                method(self, self._images)
            except _OtherImages as others:
                copies = others.copies
            self.copies_asked.append(copies)
            asked |= self._asked
        self._rehearsing = False
        self.forget()
        return frozenset(asked)

    def attend(
        self,
        images: np.ndarray,
        detail: np.ndarray,
        questions: frozenset[str],
        extras: Sequence[np.ndarray] = (),
    ) -> Any:
        """Turn to a batch, answer the questions about it in one pass, and return its tensor."""
        self._images = ops.convert_to_tensor(images)
        self._beside = [ops.convert_to_tensor(one) for one in (detail, *extras)]
        self._answers, self._asked = {}, set()
        if not self._rehearsing:
            self._answers = self._pass(questions, self._images, *self._beside)
            self._beside[0] = self._answers["detail"]
        return self._images

    def forget(self) -> None:
        """Let go of the batch and of the answers about it."""
        self._images, self._beside, self._answers = None, [], {}
        for there in (*self._elsewhere.values(), *filter(None, [self._copies])):
            there.forget()

    def facts(self) -> dict[str, np.ndarray]:
        """Return scores, classes and the model's own outputs for the batch attended to."""
        return {
            name: ops.convert_to_numpy(self._answers[name])
            for name in ("scores", "classes", "outputs")
        }

    def _here_too(self, there: ScoredModel) -> ScoredModel:
        """Turn another view of the model to the batch that is attended to here."""
        there._images, there._beside = self._images, self._beside
        there._answers, there._rehearsing = {}, self._rehearsing
        return there

    def _answer(self, question: str, images: Any, rows: Any = None) -> Any:
        if question in ("activations", "layer_gradients") and self._setting.place is None:
            raise ValueError(self._setting.no_place)
        if images is not self._images:
            return self._others(question, images, rows)
        self._asked.add(question)
        if question not in self._answers and self._rehearsing:
            self._answers |= self._attention_zeros() if question == "attentions" else self._zeros()
        elif question not in self._answers:
            missing = frozenset(self._asked - self._answers.keys())
            self._answers |= self._pass(missing, images, *self._beside)
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
            answer = self._pass(frozenset({question}), *inputs)[question]
            found.append(answer[: count - start])
        return ops.concatenate(found)

    def _beside_of(self, rows: np.ndarray) -> list[Any]:
        """What goes beside copies of these images of the batch."""
        return [ops.take(one, rows, axis=0) for one in self._beside]

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

    def _attention_zeros(self) -> dict[str, Any]:
        shape = attention_shape(self._setting.call, self._images, *self._beside[1:])
        return {"attentions": ops.zeros(shape)}

    def _pass(self, questions: frozenset[str], *inputs: Any) -> dict[str, Any]:
        """Run one compiled pass that answers just these questions."""
        if questions not in self._passes:
            self._passes[questions] = autodiff.compiled(
                question_function(self._setting, questions), self._setting.model
            )
        while True:
            scale = ops.convert_to_tensor(self._loss_scale, "float32")
            answers = self._passes[questions](scale, *inputs)
            if self._loss_scale == 1.0 or _all_finite(answers):
                return answers
            self._loss_scale /= 32.0


class _OtherImages(BaseException):
    """Ends the rehearsal of a method that asks about images of its own making."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies


def settle(
    call: Call,
    images: np.ndarray,
    labels: np.ndarray | None,
    target: Target,
    layer: LayerChoice,
    extras: Sequence[np.ndarray] = (),
) -> Setting:
    """Look at a model once and settle how it is asked.

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
        inputs = [ops.convert_to_tensor(one[:4]) for one in (images, *extras)]
        outputs = autodiff.compiled(call, model)(*inputs)
        found = ops.convert_to_numpy(outputs).astype("float64")
        return bool((found >= 0).all() and np.allclose(found.sum(axis=-1), 1.0, atol=1e-2))

    activation = logits.activation if logits else None
    head = read_head(call.loss, recording.output_shape, activation, labels, sums_to_one)

    def serves(place: Place) -> bool:
        return not call.hides_ways or lies_between(call, place, *first)

    place, no_place = None, ""
    try:
        place = choose(recording, model, layer, serves)
    except ValueError as error:
        if layer is not None:
            raise
        no_place = str(error)
    return Setting(
        call, recording, head, aim(target, head, labels, len(images)), logits, place, no_place
    )


def _uses_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in model._flatten_layers())


def _all_finite(answers: dict[str, Any]) -> bool:
    found = [ops.all(ops.isfinite(answers[name])) for name in answers if "gradients" in name]
    return all(bool(ops.convert_to_numpy(one)) for one in found)
