"""What runs in a forward pass: each run of each layer, noted by standing in for its `call`."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras

from keras_saliency.engine import backend
from keras_saliency.engine.keras_private import flatten_layers

Probabilities = Literal["softmax", "sigmoid"]
Stand = Callable[[keras.layers.Layer, Callable[..., Any]], Callable[..., Any]]

_PROBABILITIES: dict[str, Probabilities] = {
    "softmax": "softmax",
    "softmax_v2": "softmax",  # what TensorFlow calls tf.nn.softmax
    "sigmoid": "sigmoid",
}


@dataclass(frozen=True)
class LayerCall:
    """One run of one layer, as seen while a forward pass was recorded.

    In a functional model an operation, such as a sum, runs like a layer, and stands for one here.
    `takes` and `gives` number the tensors of the pass, so that equal numbers are the same tensor.
    `activation` is `"softmax"` or `"sigmoid"` where that is what the layer does last.
    """

    layer: keras.layers.Layer
    path: tuple[str, ...]
    number: int
    within: tuple[keras.layers.Layer, ...]
    takes: int | None
    gives: int | None
    shape: tuple[int, ...]
    dtype: str
    activation: Probabilities | None

    @property
    def name(self) -> str:
        """The path as it is printed and may be given: `"mobilenetv2/out_relu"`."""
        return "/".join(self.path)


@dataclass(frozen=True)
class Trace:
    """The runs of a forward pass in the order in which they ended, and what came out."""

    runs: tuple[LayerCall, ...]
    input_shape: tuple[int, ...]
    output: int | None
    output_shape: tuple[int, ...]
    output_dtype: str

    @property
    def input_rank(self) -> int:
        """How many axes images have, batch and channels among them."""
        return len(self.input_shape)

    def producer(self, tensor: int | None) -> LayerCall | None:
        """Return the run that made a tensor: the innermost, since it ended first."""
        return next((r for r in self.runs if tensor is not None and r.gives == tensor), None)

    def runs_of(self, layer: keras.layers.Layer | None) -> list[LayerCall]:
        """Return the runs of a layer."""
        return [run for run in self.runs if run.layer is layer]

    def until(self, run: LayerCall) -> tuple[LayerCall, ...]:
        """Return the runs up to a run, and itself."""
        return self.runs[: self.runs.index(run) + 1]

    def is_alias(self, run: LayerCall) -> bool:
        """Tell whether a run only handed on what a run before it, or its input, had made."""
        return run.gives == run.takes or self.producer(run.gives) is not run


def record(model: keras.Model, forward: Callable[..., Any], *arrays: Any) -> Trace:
    """Trace `forward(*tensors) -> output`, which calls `model`, and note every run of a layer."""
    found: list[Trace] = []

    def look(*inputs: Any) -> None:
        notes = _Notes()
        with ExitStack() as stands:
            for layer in _running(model):
                stands.enter_context(patched_call(layer, notes.running))
                if probabilities(layer):
                    stands.enter_context(patched_call(layer, notes.activating, "activation"))
            output = forward(*inputs)
        found.append(
            Trace(
                tuple(run for run in notes.runs if run.layer is not model),
                tuple(arrays[0].shape),
                notes.number(output),
                tuple(output.shape),
                keras.backend.standardize_dtype(output.dtype),
            )
        )

    backend.traced(look, model, *arrays)
    return found[-1]


def _running(model: keras.Model) -> list[Any]:
    """Return a model's layers, and the operations between them that its graphs call by name."""
    layers = flatten_layers(model)
    graphs = (getattr(layer, "operations", None) or () for layer in layers)
    called = (operation for graph in graphs for operation in graph)
    return [*layers, *(one for one in called if not isinstance(one, keras.layers.Layer))]


class _Notes:
    """What is noted while one forward pass runs."""

    def __init__(self) -> None:
        self.runs: list[LayerCall] = []
        self._within: list[keras.layers.Layer] = []
        self._counts: dict[int, int] = {}
        self._tensors: dict[int, tuple[int, Any]] = {}  # held, so that no id comes twice
        self._activated: set[int | None] = set()

    def number(self, value: Any) -> int | None:
        """Number a tensor: the same number for the same tensor, None for anything else."""
        if not keras.ops.is_tensor(value):
            return None
        return self._tensors.setdefault(id(value), (len(self._tensors), value))[0]

    def running(self, layer: keras.layers.Layer, original: Callable[..., Any]) -> Any:
        """Stand in for a layer's `call`."""

        def call(*args: Any, **kwargs: Any) -> Any:
            number = self._counts.get(id(layer), 0)
            self._counts[id(layer)] = number + 1
            takes = self._number_taken(args[0]) if args else None
            self._within.append(layer)
            try:
                output = original(*args, **kwargs)
            finally:
                self._within.pop()
            self._note(layer, number, takes, output)
            return output

        return call

    def activating(self, layer: keras.layers.Layer, original: Callable[..., Any]) -> Any:
        """Stand in for a layer's `activation`."""

        def activation(*args: Any, **kwargs: Any) -> Any:
            output = original(*args, **kwargs)
            self._activated.add(self.number(output))
            return output

        return activation

    def _note(self, layer: keras.layers.Layer, run: int, takes: int | None, output: Any) -> None:
        gives = self.number(output)
        single = gives is not None
        self.runs.append(
            LayerCall(
                layer,
                (*(outer.name for outer in self._within[1:]), layer.name),
                run,
                tuple(self._within),
                takes,
                gives,
                tuple(output.shape) if single else (),
                keras.backend.standardize_dtype(output.dtype) if single else "",
                probabilities(layer) if single and gives in self._activated else None,
            )
        )

    def _number_taken(self, value: Any) -> int | None:
        """Number what a layer takes; in mixed precision it may be a cast copy of what was given."""
        if keras.ops.is_tensor(value) and id(value) not in self._tensors and self.runs:
            last = self.runs[-1]
            dtype = keras.backend.standardize_dtype(value.dtype)
            if last.gives is not None and last.dtype != dtype and last.shape == tuple(value.shape):
                self._tensors[id(value)] = (last.gives, value)
        return self.number(value)


@contextmanager
def patched_call(
    layer: keras.layers.Layer, stand: Stand, attribute: str | None = None
) -> Iterator[None]:
    """Put `stand(layer, original)` in the place of what a layer runs, for this thread only."""
    if attribute is None:
        quantized = getattr(layer, "quantization_mode", None) is not None
        attribute = "quantized_call" if quantized else "call"
    original = getattr(layer, attribute)
    owner = threading.get_ident()
    replacement = stand(layer, original)

    @functools.wraps(original)
    def ours_or_theirs(*args: Any, **kwargs: Any) -> Any:
        here = threading.get_ident() == owner
        return (replacement if here else original)(*args, **kwargs)

    had, before = attribute in layer.__dict__, layer.__dict__.get(attribute)
    # Keras tracks what `setattr` puts on a layer; the instance's dictionary is not watched.
    layer.__dict__[attribute] = ours_or_theirs
    try:
        yield
    finally:
        if had:
            layer.__dict__[attribute] = before
        else:
            del layer.__dict__[attribute]


def probabilities(layer: keras.layers.Layer) -> Probabilities | None:
    """Return which probabilities a layer's own activation makes, if any."""
    return _PROBABILITIES.get(getattr(layer.__dict__.get("activation"), "__name__", ""))
