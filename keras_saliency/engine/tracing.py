"""Traces a forward pass: each call of each layer, recorded by patching the layer's `call`."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Literal

import keras
import numpy as np

from keras_saliency.engine import backend
from keras_saliency.engine.keras_private import (
    REMAT_MODE,
    SQUEEZING,
    flatten_layers,
    rematerializes,
)

Probabilities = Literal["softmax", "sigmoid"]
Hook = Callable[..., Any]  # `(original, *args, **kwargs) -> what the layer returns`

_PROBABILITIES: dict[str, Probabilities] = {
    "softmax": "softmax",
    "softmax_v2": "softmax",  # what TensorFlow calls tf.nn.softmax
    "sigmoid": "sigmoid",
}


@dataclass(frozen=True)
class LayerCall:
    """One call of one layer in a traced forward pass.

    In a functional model an operation, such as a sum, is called like a layer, and is one here.

    Attributes:
        layer: The layer or operation.
        path: Names of the layers around it, and its own.
        number: Which of the layer's calls it is, from 0.
        within: The layers around it, outermost first, the model among them.
        runs: Which of their calls these are.
        input: Number of the tensor that it gets: equal numbers are the same tensor.
        output: Number of the tensor that it returns.
        shape: Shape of its output; `()` where that is no single tensor.
        dtype: Its dtype.
        activation: `"softmax"` or `"sigmoid"` where that is what the layer does last.
        taken: Shape of the tensor that it gets; `()` where that is no single tensor.
        options: What else it is called with, but for tensors: positional and by name.
    """

    layer: keras.layers.Layer
    path: tuple[str, ...]
    number: int
    within: tuple[keras.layers.Layer, ...]
    runs: tuple[int, ...]
    input: int | None
    output: int | None
    shape: tuple[int, ...]
    dtype: str
    activation: Probabilities | None
    taken: tuple[int, ...]
    options: tuple[tuple[Any, ...], dict[str, Any]] = field(compare=False)

    @property
    def name(self) -> str:
        """The path as it is printed and may be given: `"mobilenetv2/out_relu"`."""
        return "/".join(self.path)

    @property
    def around(self) -> tuple[tuple[keras.layers.Layer, int], ...]:
        """The calls around it, outermost first, and itself: each a layer and which of its calls."""
        return (*zip(self.within, self.runs, strict=True), (self.layer, self.number))


@dataclass(frozen=True)
class Trace:
    """The layer calls of a forward pass, in the order in which they returned, and its output.

    Attributes:
        calls: The calls.
        input_shape: Shape of the images.
        output: Number of the tensor that the model returns.
        output_shape: Its shape.
        grid_of: Measures the grid of so many tokens, where no call's shape tells it; None where
            they form none.
    """

    calls: tuple[LayerCall, ...]
    input_shape: tuple[int, ...]
    output: int | None
    output_shape: tuple[int, ...]
    grid_of: Callable[[int], tuple[int, ...] | None] = lambda count: None

    def producer(self, tensor: int | None) -> LayerCall | None:
        """Return the call that made a tensor: the innermost, since it returned first."""
        return next((c for c in self.calls if tensor is not None and c.output == tensor), None)

    @property
    def output_call(self) -> LayerCall | None:
        """The call that computes the output, from which an operation may take its single unit."""
        call = self.producer(self.output)
        while call is not None and isinstance(call.layer, (*SQUEEZING, keras.layers.Reshape)):
            before = self.producer(call.input)
            if before is None or before.shape not in (call.shape, (*call.shape, 1)):
                break
            call = before
        return call

    def calls_of(self, layer: keras.layers.Layer | None) -> list[LayerCall]:
        """Return the calls of a layer."""
        return [call for call in self.calls if call.layer is layer]

    def until(self, call: LayerCall) -> tuple[LayerCall, ...]:
        """Return the calls up to a call, and itself."""
        return self.calls[: self.calls.index(call) + 1]

    def is_alias(self, call: LayerCall) -> bool:
        """Tell whether a call only returned what a call before it, or its input, had made."""
        return call.output == call.input or self.producer(call.output) is not call


def record(model: keras.Model, forward: Callable[..., Any], *arrays: Any, batch: int = 1) -> Trace:
    """Trace `forward(*tensors) -> output`, which calls `model`, and record every layer call.

    The shapes are those of one image, also where it must be given as often as `batch` says.
    """
    traces: list[Trace] = []
    kinds = {id(layer): probabilities(layer) for layer in operations_of(model)}

    def recorded(*inputs: Any) -> None:
        recorder = _Recorder(batch, kinds)
        with ExitStack() as patches:
            for layer in operations_of(model):
                patches.enter_context(patched_call(layer, partial(recorder.on_call, layer)))
                if kinds[id(layer)]:
                    patches.enter_context(patched_call(layer, recorder.on_activation, "activation"))
            output = forward(*inputs)
        traces.append(
            Trace(
                tuple(call for call in recorder.calls if call.layer is not model),
                recorder.shape(arrays[0]),
                recorder.number(output),
                recorder.shape(output),
            )
        )

    backend.traced(recorded, model, *arrays)
    return traces[-1]


def operations_of(model: keras.Model) -> list[Any]:
    """Return a model's layers, and the operations between them that its graphs call by name."""
    layers = flatten_layers(model)
    graphs = (getattr(layer, "operations", None) or () for layer in layers)
    between = (part for graph in graphs for part in graph)
    return [*layers, *(part for part in between if not isinstance(part, keras.layers.Layer))]


class _Recorder:
    """Records the layer calls of one forward pass.

    Args:
        batch: How often the one image is given.
        kinds: Which probabilities each layer's activation makes, by the layer's id.
    """

    def __init__(self, batch: int, kinds: dict[int, Probabilities | None]) -> None:
        self._batch = batch
        self._kinds = kinds
        self.calls: list[LayerCall] = []
        self._within: list[tuple[keras.layers.Layer, int]] = []
        self._counts: dict[int, int] = {}
        self._tensors: dict[int, tuple[int, Any]] = {}  # held, so that no id comes twice
        self._activated: set[int | None] = set()

    def number(self, value: Any) -> int | None:
        """Number a tensor: the same number for the same tensor, None for anything else."""
        if not keras.ops.is_tensor(value):
            return None
        return self._tensors.setdefault(id(value), (len(self._tensors), value))[0]

    def on_call(self, layer: Any, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a layer, and record it."""
        number = self._counts.get(id(layer), 0)
        self._counts[id(layer)] = number + 1
        taken = self._number_taken(args[0]) if args else None
        self._within.append((layer, number))
        try:
            output = original(*args, **kwargs)
        finally:
            self._within.pop()
        self._record(layer, number, args, kwargs, taken, output)
        return output

    def on_activation(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a layer's activation, and note what it makes."""
        output = original(*args, **kwargs)
        self._activated.add(self.number(output))
        return output

    def _record(
        self,
        layer: keras.layers.Layer,
        number: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        taken: int | None,
        output: Any,
    ) -> None:
        made = self.number(output)
        single = made is not None
        within = tuple(outer for outer, _ in self._within)
        self.calls.append(
            LayerCall(
                layer,
                (*(outer.name for outer in within[1:]), layer.name),
                number,
                within,
                tuple(run for _, run in self._within),
                taken,
                made,
                self.shape(output) if single else (),
                keras.backend.standardize_dtype(output.dtype) if single else "",
                self._kinds[id(layer)] if single and made in self._activated else None,
                () if taken is None else tuple(args[0].shape),
                _without_tensors(args[1:], kwargs),
            )
        )

    def shape(self, output: Any) -> tuple[int, ...]:
        """Return the shape of an output, as of one image."""
        first, *rest = output.shape or (1,)
        return (first // self._batch, *rest) if self._batch > 1 and first else tuple(output.shape)

    def _number_taken(self, value: Any) -> int | None:
        """Number what a layer takes; in mixed precision it may be a cast of what was given."""
        if keras.ops.is_tensor(value) and id(value) not in self._tensors and self.calls:
            last = self.calls[-1]
            dtype = keras.backend.standardize_dtype(value.dtype)
            if last.output is not None and last.dtype != dtype and last.shape == self.shape(value):
                self._tensors[id(value)] = (last.output, value)
        return self.number(value)


def _without_tensors(*options: Any) -> Any:
    """Return what a call is given, with None in place of tensors, which are not to be kept."""

    def kept(value: Any) -> Any:
        return None if keras.ops.is_tensor(value) else value

    return keras.tree.map_structure(kept, options, none_is_leaf=True)


@contextmanager
def patched_call(
    layer: keras.layers.Layer, hook: Hook, attribute: str | None = None
) -> Iterator[None]:
    """Let a hook call a layer, as `hook(original, *args, **kwargs)`, in this thread only."""
    if attribute is None:
        quantized = getattr(layer, "quantization_mode", None) is not None
        attribute = "quantized_call" if quantized else "call"
    original = getattr(layer, attribute)
    owner = threading.get_ident()

    @wraps(original)
    def dispatched(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == owner:
            return hook(original, *args, **kwargs)
        return original(*args, **kwargs)

    with replaced(layer, attribute, dispatched):
        yield


@contextmanager
def replaced(layer: keras.layers.Layer, attribute: str, value: Any) -> Iterator[None]:
    """Give a layer another attribute within the context."""
    had, before = attribute in layer.__dict__, layer.__dict__.get(attribute)
    # Keras tracks what `setattr` puts on a layer; the instance's dictionary is not watched.
    layer.__dict__[attribute] = value
    try:
        yield
    finally:
        if had:
            layer.__dict__[attribute] = before
        else:
            del layer.__dict__[attribute]


@contextmanager
def computed_once(model: keras.Model) -> Iterator[None]:
    """Let no part of a model compute its output again in the backward pass.

    What `keras.RematScope` wraps runs twice, in a function of the backend whose tensors may not
    leave it: there is no hooking such a layer.
    """
    with ExitStack() as patches:
        for operation in filter(rematerializes, operations_of(model)):
            patches.enter_context(replaced(operation, REMAT_MODE, None))
        yield


def computes_as(layer: Any, *kinds: Any) -> bool:
    """Tell whether a layer is of one of these classes, or a subclass that computes the same.

    A subclass with a `call` of its own may compute anything.
    """
    return any(isinstance(layer, kind) and type(layer).call is kind.call for kind in kinds)


def probabilities(layer: keras.layers.Layer) -> Probabilities | None:
    """Return which probabilities a layer's own activation makes, if any.

    To be called where tensors have values, and not while a pass is traced.
    """
    activation = layer.__dict__.get("activation")
    kind = _PROBABILITIES.get(getattr(activation, "__name__", ""))
    own = kind is not None and activation is getattr(keras.activations, kind)
    return kind if kind and (own or _computes(activation, kind)) else None


def _computes(activation: Callable[..., Any], kind: Probabilities) -> bool:
    """Tell whether a function of that name computes it: one of the user's may do anything."""
    values = np.array([[[0.3, -1.2, 2.0], [0.0, 4.0, -0.5]], [[1.0, 0.1, -3.0], [7.0, 0.2, 0.4]]])
    raised = np.exp(values)
    wanted = raised / (raised.sum(axis=-1, keepdims=True) if kind == "softmax" else 1 + raised)
    try:
        computed = activation(keras.ops.convert_to_tensor(values, "float32"))
        return bool(np.allclose(keras.ops.convert_to_numpy(computed), wanted, atol=1e-5))
    except Exception:  # whatever a function of the user's raises of such values
        return False
