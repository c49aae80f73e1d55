"""The layer whose output CAM methods read, and how it and the logits are hooked in place.

A layer is hooked by patching its `call` during one traced forward pass. The model is not cloned,
cut or rewired, and nothing is left behind.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
from keras import layers

from keras_saliency.engine.feature_layout import Layout, Tokens, attends, layout_of, over_frames
from keras_saliency.engine.keras_private import (
    ELEMENTWISE,
    RESHAPE,
    SIGMOID,
    SOFTMAX,
    flatten_layers,
)
from keras_saliency.engine.model_inputs import is_convolution
from keras_saliency.engine.tracing import (
    LayerCall,
    Probabilities,
    Trace,
    computes_as,
    patched_call,
    probabilities,
)

LayerChoice: TypeAlias = str | tuple[str | int, ...] | keras.layers.Layer | Tokens | None
LayerChoices: TypeAlias = LayerChoice | list[LayerChoice]

# A layer of these kinds adds nothing of its own to its map, which is its input's, maybe coarser.
_FAMILIES = ("Random", "SpatialDropout", "UpSampling", "ZeroPadding", "Cropping")
_PASSES_ON = (
    *(k for name, k in vars(layers).items() if "Pooling" in name or name.startswith(_FAMILIES)),
    *(layers.InputLayer, layers.Identity, layers.Dropout, layers.AlphaDropout),
    *(layers.GaussianDropout, layers.GaussianNoise, layers.ActivityRegularization),
    *(layers.Flatten, layers.Reshape, layers.Permute, layers.RepeatVector, layers.Masking),
    *(layers.Resizing, layers.CenterCrop, layers.Rescaling, layers.Normalization, layers.Softmax),
    *(RESHAPE, SIGMOID, SOFTMAX),
)


@dataclass(frozen=True)
class TargetLayer:
    """A layer and those of its calls whose output is read, for one image.

    Attributes:
        layer: The layer.
        name: Its path.
        calls: Numbers of the calls: one, or one a frame.
        output_shape: Shape of the output of a call.
        dtype: Its dtype.
        layout: How the outputs make a map.
    """

    layer: keras.layers.Layer
    name: str
    calls: tuple[int, ...]
    output_shape: tuple[int, ...]
    dtype: str
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the map, `(1, *grid, channels)`."""
        return self.layout.map_shape(self.output_shape)

    @property
    def grid(self) -> str:
        """The grid of the map, as it is printed: `"7 x 7"`."""
        return " x ".join(map(str, self.shape[1:-1]))

    def calls_in(self, trace: Trace) -> list[LayerCall]:
        """Return the calls themselves."""
        return [call for call in trace.calls_of(self.layer) if call.number in self.calls]

    def source_in(self, trace: Trace) -> "TargetLayer | None":
        """Return the layer whose output this one takes; None where it is of another shape."""
        made = [trace.producer(call.input) for call in self.calls_in(trace)]
        calls = [call for call in made if call and call.shape[:-1] == self.output_shape[:-1]]
        is_single = len(calls) == len(made) and len({id(call.layer) for call in calls}) == 1
        return _target_layer(calls, self.layout) if is_single else None

    def described_in(self, trace: Trace) -> str:
        """Name the layer, and its run where it has several."""
        several = over_frames(self.calls_in(trace)[-1]) is None and len(trace.calls_of(self.layer))
        run = f" in its run {self.calls[-1]}" if several > 1 else ""
        return f"layer {self.name!r}{run}"


@dataclass(frozen=True)
class LogitLayer:
    """The layer that turns logits into probabilities.

    Attributes:
        layer: The layer.
        number: Which of its calls does.
        activation: The probabilities it makes.
        fused: Whether it makes them by its `activation`, of logits that it computes itself.
    """

    layer: keras.layers.Layer
    number: int
    activation: Probabilities
    fused: bool


@dataclass
class Seen:
    """What the hooks saw in a forward pass: a target layer's outputs, and logits."""

    outputs: list[Any] = field(default_factory=list)
    logits: list[Any] = field(default_factory=list)


@contextmanager
def hooked(
    target_layer: TargetLayer | None,
    logits: LogitLayer | None,
    changed: Callable[[Any, int], Any],
) -> Iterator[Seen]:
    """Hook a layer's output, and the logits, in the forward passes within the context.

    Args:
        target_layer: The layer whose output is read, or None.
        logits: Where logits become probabilities, or None.
        changed: Called with the layer's output and the number of the frame; what it returns
            replaces the output.

    Yields:
        What was seen: `outputs` of the target layer, one a frame, and `logits`, one for each call
        of their layer.
    """
    seen, numbers = Seen(), itertools.count()

    def on_call(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        output, number = original(*args, **kwargs), next(numbers)
        if target_layer is not None and number in target_layer.calls:
            output = changed(output, target_layer.calls.index(number))
            seen.outputs.append(output)
        return output

    def on_logits(original: Callable[..., Any], inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.logits.append(inputs)
        return original(inputs, *args, **kwargs)

    with ExitStack() as patches:
        if target_layer is not None:
            patches.enter_context(patched_call(target_layer.layer, on_call))
        if logits is not None:
            name = "activation" if logits.fused else None
            patches.enter_context(patched_call(logits.layer, on_logits, name))
        yield seen


def choose(
    trace: Trace,
    model: keras.Model,
    choice: LayerChoice,
    is_usable: Callable[[TargetLayer], bool] = lambda candidate: True,
) -> TargetLayer:
    """Choose the layer whose output CAM methods read.

    Args:
        trace: A forward pass of the model.
        model: The model.
        choice: A name, a path into nested models with an optional number of a call at its end, a
            `Layer`, `Tokens`, or None for the last feature map before the head.
        is_usable: Called with feature maps, or calls of the layer that was chosen, the last one
            first, until it returns True.

    Returns:
        The target layer.

    Raises:
        ValueError: No layer fits, or several do. The message lists the layers that would.
        TypeError: The choice is of another kind.
    """
    if choice is None:
        return _last_feature_map(trace, model, is_usable)
    grid = choice.grid if isinstance(choice, Tokens) else None
    if isinstance(choice, Tokens):
        choice = choice.layer
    names, number = _names_and_number(choice)
    calls = _calls_named(trace, model, choice, names)
    if layout_of(trace, calls[-1], grid) is None:
        _check_axes(trace, calls[-1])
        raise ValueError(
            f"layer={choice!r} gives no map: its output has shape {calls[-1].shape}, a grid of "
            f"rank {len(trace.input_shape)}, or the tokens of one, are needed; ks.Tokens(layer, "
            f"grid) tells how tokens lie. {_candidates(trace)}"
        )
    runs = _runs(trace, calls, grid)
    if number is None:
        return next(filter(is_usable, reversed(runs.values())), runs[max(runs)])
    number = sorted(runs)[number] if -len(runs) <= number < 0 else number
    if number not in runs:
        raise ValueError(
            f"layer= asks for run {number} of {calls[-1].name!r}, whose runs between the images "
            f"and the explained output are {', '.join(map(str, runs))}. Runs count from 0."
        )
    return runs[number]


def check_choices(choices: Any) -> list[LayerChoice]:
    """Return the layers that were chosen, if they can be layers of any model.

    Args:
        choices: A layer as `choose` takes it, or a list of such.

    Returns:
        The layers.

    Raises:
        ValueError: The list is empty.
        TypeError: A layer is of another kind.
    """
    listed = choices if isinstance(choices, list) else [choices]
    if not listed:
        raise ValueError(
            "layer must name at least one layer. Received: layer=[]. None is the last feature map."
        )
    for choice in listed:
        check_choice(choice)
    return listed


def check_choice(choice: Any) -> None:
    """Refuse what can't name a layer of any model."""
    if choice is not None:
        _names_and_number(choice.layer if isinstance(choice, Tokens) else choice)


def logits_behind(trace: Trace) -> LogitLayer | None:
    """Find the layer that makes the model's probabilities from logits, if there is one."""
    call = trace.output_call
    if call is None:
        return None
    if computes_as(call.layer, layers.Softmax, SOFTMAX):
        return LogitLayer(call.layer, call.number, "softmax", fused=False)
    if computes_as(call.layer, SIGMOID):
        return LogitLayer(call.layer, call.number, "sigmoid", fused=False)
    kind = call.activation
    return LogitLayer(call.layer, call.number, kind, fused=True) if kind else None


def is_linear(trace: Trace) -> bool:
    """Tell whether a dense or convolutional layer without an activation makes the output."""
    call = trace.output_call
    kinds = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D)
    if call is None or not computes_as(call.layer, *kinds):
        return False
    return call.layer.activation is keras.activations.linear


def _last_feature_map(
    trace: Trace, model: keras.Model, is_usable: Callable[[TargetLayer], bool]
) -> TargetLayer:
    features = _features(trace)
    while features:
        call, layout = features[-1]
        if layout.tokens is not None and call.shape[1] > math.prod(layout.tokens):
            call, layout = _before_the_last_attention(trace, features)
        calls = [c for c in trace.calls_of(call.layer) if c.number <= call.number]
        *_, candidate = _runs(trace, calls).values()
        if is_usable(candidate):
            return candidate
        features.remove((call, layout))
    for call in reversed(trace.calls[: _head(trace)]):
        _check_axes(trace, call)
    raise ValueError(
        "No spatial layer was found: no layer before the head gives a map of more than "
        f"one cell. Received: model={model.name!r}, whose layers give "
        f"{', '.join(f'{c.name} {c.shape[1:]}' for c in trace.calls[-6:])}. Use methods "
        "that need no layer ('saliency', 'gradient_x_input'), or name one with layer=."
    )


def _check_axes(trace: Trace, call: LayerCall) -> None:
    """Refuse a convolution over other axes than the input has, as over an STFT of a signal."""
    if is_convolution(call.layer) and len(call.shape) != len(trace.input_shape):
        raise ValueError(
            f"The feature maps of {call.name!r} {call.shape[1:]} have other axes than the input "
            f"{trace.input_shape[1:]}, over which maps are laid. Use methods that need no layer "
            "('saliency', 'gradient_x_input', 'integrated_gradients', 'occlusion', 'rise'); or, "
            "for maps over the axes of the layer, such as time and frequency, explain the layers "
            "behind the change of axes as a model of their own, and give it what they get as "
            "images: explain(keras.Sequential(model.layers[k:]), spectrograms), and "
            "SaliencyCallback(spectrograms, model=lambda m: keras.Sequential(m.layers[k:]))."
        )


def _before_the_last_attention(
    trace: Trace, features: list[tuple[LayerCall, Layout]]
) -> tuple[LayerCall, Layout]:
    """Pick the last tokens that are read by others: after that, the class token is on its own."""
    attending = [index for index, call in enumerate(trace.calls) if attends(call.layer)]
    before = trace.calls[: attending[-1]] if attending else trace.calls
    read = [(call, layout) for call, layout in features if call in before]
    return (read or features)[-1]


def _calls_named(
    trace: Trace, model: keras.Model, choice: Any, names: tuple[str, ...]
) -> list[LayerCall]:
    """Return the calls of the one layer that was chosen."""
    matching = [
        call
        for call in trace.calls
        if (call.path[-len(names) :] == names if names else call.layer is choice)
    ]
    if not matching:
        raise ValueError(_not_found(trace, model, choice))
    if len({id(call.layer) for call in matching}) > 1:
        paths = sorted({call.name for call in matching})
        raise ValueError(
            f"layer={choice!r} fits several layers: {', '.join(map(repr, paths))}. Give one of "
            "these paths, or the layer itself."
        )
    return matching


def _features(trace: Trace) -> list[tuple[LayerCall, Layout]]:
    """Feature maps before the head, in the order of execution."""
    return [
        (call, layout)
        for call in trace.calls[: _head(trace)]
        if not _only_passes_on(call.layer)
        and isinstance(call.layer, (layers.Layer, *ELEMENTWISE))
        # What attention gives was made by a projection inside it, and is its own all the same.
        and (attends(call.layer) or not trace.is_alias(call))
        and not any(attends(outer) for outer in call.within)
        and (layout := layout_of(trace, call)) is not None
        and layout.cells(call.shape) > 1
    ]


def _head(trace: Trace) -> int:
    """Return where the head begins: at what projects onto the outputs, or makes them itself."""
    made = trace.output_call
    calls = trace.calls if made is None else trace.until(made)
    output = trace.output if made is None else made.output
    width = (trace.output_shape if made is None else made.shape)[-1]
    for index in reversed(range(len(calls))):
        call = calls[index]
        if _only_passes_on(call.layer) or trace.is_alias(call):
            continue
        projects = hasattr(call.layer, "kernel") and call.shape[-1] == width
        return index if projects or call.output == output else index + 1
    return 0


def _only_passes_on(layer: Any) -> bool:
    is_activation = isinstance(layer, layers.Activation) and probabilities(layer) is not None
    return isinstance(layer, _PASSES_ON) or is_activation


def _runs(
    trace: Trace, calls: list[LayerCall], grid: tuple[int, ...] | None = None
) -> dict[int, TargetLayer]:
    """Return the runs of a layer by number: its calls, or those of each frame of a video."""
    last = calls[-1]
    wrapper = next((key for key in reversed(last.around) if key[0] is over_frames(last)), None)
    layouts = [layout_of(trace, call, grid) for call in calls]
    if wrapper is None:
        pairs = zip(calls, layouts, strict=True)
        return {c.number: _target_layer([c], layout) for c, layout in pairs if layout is not None}
    # Where the wrapper itself is called more than once, its last call counts.
    calls, layout = [call for call in calls if wrapper in call.around], layouts[-1] or Layout()
    times = len(calls) // (layout.frames or 1)
    return {run: _target_layer(calls[run::times], layout) for run in range(times)}


def _target_layer(calls: list[LayerCall], layout: Layout) -> TargetLayer:
    last, numbers = calls[-1], tuple(call.number for call in calls)
    return TargetLayer(last.layer, last.name, numbers, last.shape, last.dtype, layout)


def _names_and_number(choice: Any) -> tuple[tuple[str, ...], int | None]:
    """Split a choice: a path of names, empty for a `Layer`, and the number of a call."""
    if isinstance(choice, keras.layers.Layer):
        return (), None
    parts = tuple(choice.split("/")) if isinstance(choice, str) else choice
    if isinstance(parts, tuple) and parts:
        *names, number = parts if isinstance(parts[-1], int) else (*parts, None)
        if names and all(isinstance(name, str) for name in names) and any(names):
            return tuple(names), number
    raise TypeError(
        "layer must be a name, a path such as ('mobilenetv2', 'out_relu') with the number of a run "
        f"at its end if need be, a Layer, or None. Received: layer={choice!r}"
    )


def _not_found(trace: Trace, model: keras.Model, choice: Any) -> str:
    names, _ = _names_and_number(choice)
    known = [c for c in flatten_layers(model) if c is choice or c.name in names[-1:]]
    choice = choice if names else choice.name
    paths = sorted({c.name for c in trace.calls if any(c.layer is layer for layer in known)})
    if paths:
        return f"layer={choice!r} is no path in the model. Its last part is known as {paths}."
    if known:
        return (
            f"layer={choice!r} is part of the model but did not run by itself in a forward pass "
            f"(it is unused, or inside a loop). {_candidates(trace)}"
        )
    return f"layer={choice!r} is not in the model {model.name!r}. {_candidates(trace)}"


def _candidates(trace: Trace) -> str:
    names = list(dict.fromkeys(call.name for call, _ in _features(trace)))
    if not names:
        return "The model has no layer that gives a map."
    listed = ", ".join(map(repr, names[-12:]))
    return f"Layers with a map, last ones: {listed}."
