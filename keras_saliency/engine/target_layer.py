"""Which layer is looked at, and how it and the logits are reached in place.

A layer is reached by standing in for its `call` during one traced forward pass. The model is not
cloned, cut or rewired, and nothing is left behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras

from keras_saliency.engine.feature_layout import Layout, Tokens, attends, layout_of, over_frames
from keras_saliency.engine.keras_private import flatten_layers
from keras_saliency.engine.tracing import (
    LayerCall,
    Probabilities,
    Trace,
    patched_call,
    probabilities,
)

LayerChoice: TypeAlias = str | tuple[str | int, ...] | keras.layers.Layer | Tokens | None

# A layer of these kinds adds nothing of its own to look at: its map is its input's, coarser.
_PASSES_ON = frozenset(
    {"InputLayer", "Identity", "Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise"}
    | {"ActivityRegularization", "Flatten", "Reshape", "Permute", "RepeatVector", "Masking"}
    | {"Resizing", "CenterCrop", "Rescaling", "Normalization", "Softmax"}
    | {f"{kind}{d}D" for d in (1, 2, 3) for kind in ("SpatialDropout", "ZeroPadding", "Cropping")}
    | {f"UpSampling{d}D" for d in (1, 2, 3)}
)

# Of the operations between layers, those that make a map of maps, place by place.
_MAKES_MAPS = frozenset({"Add", "Multiply", "Maximum", "Relu", "Relu6", "Gelu", "Silu"})


@dataclass(frozen=True)
class TargetLayer:
    """A layer and those of its runs that are looked at, and what they give for one image.

    Attributes:
        layer: The layer.
        name: Its path.
        runs: Numbers of the runs: one, or one a frame.
        output_shape: Shape of the output of a run.
        dtype: Its dtype.
        layout: How the outputs make a map.
    """

    layer: keras.layers.Layer
    name: str
    runs: tuple[int, ...]
    output_shape: tuple[int, ...]
    dtype: str
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the map, (1, *grid, channels)."""
        return self.layout.map_shape(self.output_shape)


@dataclass(frozen=True)
class LogitLayer:
    """The layer that turns logits into probabilities, and how its logits are met."""

    layer: keras.layers.Layer
    run: int
    activation: Probabilities
    fused: bool


@dataclass
class Seen:
    """What was met on the way through a forward pass."""

    outputs: list[Any] = field(default_factory=list)
    logits: list[Any] = field(default_factory=list)


@contextmanager
def hooked(
    place: TargetLayer | None, logits: LogitLayer | None, changed: Callable[[Any, int], Any]
) -> Iterator[Seen]:
    """Meet a layer's output, and the logits, in the forward passes within the context.

    Args:
        place: The layer to look at, or None.
        logits: Where logits become probabilities, or None.
        changed: Called with the layer's output and the number of the frame; what it returns takes
            the output's place.

    Yields:
        What was met: `outputs` of the place, one a frame, and `logits`, one a run of their layer.
    """
    seen = Seen()

    def looking(layer: keras.layers.Layer, original: Callable[..., Any]) -> Callable[..., Any]:
        passed = 0

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal passed
            output = original(*args, **kwargs)
            if place is not None and passed in place.runs:
                output = changed(output, place.runs.index(passed))
                seen.outputs.append(output)
            passed += 1
            return output

        return call

    def noting(layer: keras.layers.Layer, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            seen.logits.append(inputs)
            return original(inputs, *args, **kwargs)

        return call

    with ExitStack() as stands:
        if place is not None:
            stands.enter_context(patched_call(place.layer, looking))
        if logits is not None:
            name = "activation" if logits.fused else None
            stands.enter_context(patched_call(logits.layer, noting, name))
        yield seen


def choose(
    recording: Trace,
    model: keras.Model,
    choice: LayerChoice,
    serves: Callable[[TargetLayer], bool] = lambda place: True,
) -> TargetLayer:
    """Settle which layer's output is looked at.

    Args:
        recording: A recorded forward pass of the model.
        model: The model.
        choice: A name, a path into nested models with an optional run number at its end, a
            `Layer`, `Tokens`, or None for the last feature map before the head.
        serves: Asked of feature maps, the last one first, until one will do.

    Returns:
        The place.

    Raises:
        ValueError: No layer fits, or several do. The message lists the layers that would.
        TypeError: The choice is of another kind.
    """
    if choice is None:
        return _last_feature_map(recording, model, serves)
    grid = choice.grid if isinstance(choice, Tokens) else None
    if isinstance(choice, Tokens):
        choice = choice.layer
    names, number = _names_and_run(choice)
    runs = _runs_named(recording, model, choice, names)
    layout = layout_of(recording, runs[-1], grid)
    if layout is None:
        raise ValueError(
            f"layer={choice!r} gives no map: its output has shape {runs[-1].shape}, a grid of rank "
            f"{recording.input_rank}, or the tokens of one, are needed; ks.Tokens(layer, grid) "
            f"tells how tokens lie. {_candidates(recording)}"
        )
    return _place(recording, runs, layout, -1 if number is None else number)


def check_choice(choice: Any) -> None:
    """Refuse what can't name a layer of any model."""
    if choice is not None:
        _names_and_run(choice.layer if isinstance(choice, Tokens) else choice)


def logits_behind(recording: Trace) -> LogitLayer | None:
    """Find the layer that makes the model's probabilities from logits, if there is one."""
    run = recording.producer(recording.output)
    if run is None:
        return None
    if type(run.layer).__name__ == "Softmax":
        return LogitLayer(run.layer, run.number, "softmax", fused=False)
    kind = run.activation
    return LogitLayer(run.layer, run.number, kind, fused=True) if kind else None


def _last_feature_map(
    recording: Trace, model: keras.Model, serves: Callable[[TargetLayer], bool]
) -> TargetLayer:
    features = _features(recording)
    while features:
        run, layout = features[-1]
        if layout.tokens is not None and run.shape[1] > math.prod(layout.tokens):
            run, layout = _before_the_last_attention(recording, features)
        runs = [r for r in recording.runs if r.layer is run.layer and r.number <= run.number]
        place = _place(recording, runs, layout, -1)
        if serves(place):
            return place
        features.remove((run, layout))
    raise ValueError(
        "No spatial layer was found: no layer before the head gives a map of more than "
        f"one cell. Received: model={model.name!r}, whose layers give "
        f"{', '.join(f'{r.name} {r.shape[1:]}' for r in recording.runs[-6:])}. Use methods "
        "that need no layer ('saliency', 'gradient_x_input'), or name one with layer=."
    )


def _before_the_last_attention(
    recording: Trace, features: list[tuple[LayerCall, Layout]]
) -> tuple[LayerCall, Layout]:
    """Pick the last tokens that are read by others: after that, the class token is on its own."""
    attending = [index for index, run in enumerate(recording.runs) if attends(run.layer)]
    before = recording.runs[: attending[-1]] if attending else recording.runs
    ended = {(id(run.layer), run.number) for run in before}
    read = [one for one in features if (id(one[0].layer), one[0].number) in ended]
    return (read or features)[-1]


def _runs_named(
    recording: Trace, model: keras.Model, choice: Any, names: tuple[str, ...]
) -> list[LayerCall]:
    """Return the runs of the one layer that was chosen."""
    matching = [
        r
        for r in recording.runs
        if (r.path[-len(names) :] == names if names else r.layer is choice)
    ]
    if not matching:
        raise ValueError(_not_found(recording, model, choice))
    if len({id(r.layer) for r in matching}) > 1:
        paths = sorted({r.name for r in matching})
        raise ValueError(
            f"layer={choice!r} fits several layers: {', '.join(map(repr, paths))}. Give one of "
            "these paths, or the layer itself."
        )
    return [r for r in matching if r.layer is matching[0].layer]


def _features(recording: Trace) -> list[tuple[LayerCall, Layout]]:
    """Feature maps before the head, in the order of execution."""
    return [
        (run, layout)
        for run in recording.runs[: _head(recording)]
        if not _only_passes_on(run.layer)
        and (isinstance(run.layer, keras.layers.Layer) or type(run.layer).__name__ in _MAKES_MAPS)
        # What attention gives was made by a projection inside it, and is its own all the same.
        and (attends(run.layer) or not recording.is_alias(run))
        and not any(attends(outer) for outer in run.within)
        and (layout := layout_of(recording, run)) is not None
        and layout.cells(run.shape) > 1
    ]


def _head(recording: Trace) -> int:
    """Return where the head begins: at what projects onto the outputs, or makes them itself."""
    for index in reversed(range(len(recording.runs))):
        run = recording.runs[index]
        if _only_passes_on(run.layer) or recording.is_alias(run):
            continue
        projects = hasattr(run.layer, "kernel") and run.shape[-1] == recording.output_shape[-1]
        return index if projects or run.gives == recording.output else index + 1
    return 0


def _only_passes_on(layer: keras.layers.Layer) -> bool:
    kind = type(layer).__name__
    if kind in _PASSES_ON or "Pooling" in kind or kind.startswith("Random"):
        return True
    return kind == "Activation" and probabilities(layer) is not None


def _place(recording: Trace, runs: list[LayerCall], layout: Layout, number: int) -> TargetLayer:
    """Settle which of a layer's runs is looked at, or which of those of each frame."""
    last, frames = runs[-1], 1
    if layout.frames is not None:
        frames = layout.frames
    if (wrapper := over_frames(last)) is not None:
        runs = [run for run in runs if run.within == last.within]
        # Where the wrapper itself runs more than once, its last run counts.
        runs = runs[-(len(runs) // len(recording.runs_of(wrapper))) :]
    times = len(runs) // frames
    if not -times <= number < times:
        raise ValueError(
            f"layer= asks for run {number} of {last.name!r}, but it runs {times} times in "
            "a forward pass. Runs count from 0."
        )
    numbers = tuple(runs[frame * times + number % times].number for frame in range(frames))
    return TargetLayer(last.layer, last.name, numbers, last.shape, last.dtype, layout)


def _names_and_run(choice: Any) -> tuple[tuple[str, ...], int | None]:
    """Take a choice apart: a path of names, empty for a `Layer`, and the number of a run."""
    if isinstance(choice, keras.layers.Layer):
        return (), None
    parts = tuple(choice.split("/")) if isinstance(choice, str) else choice
    if isinstance(parts, tuple) and parts:
        *names, run = parts if isinstance(parts[-1], int) else (*parts, None)
        if names and all(isinstance(name, str) for name in names) and any(names):
            return tuple(names), run
    raise TypeError(
        "layer must be a name, a path such as ('mobilenetv2', 'out_relu') with the number of a run "
        f"at its end if need be, a Layer, or None. Received: layer={choice!r}"
    )


def _not_found(recording: Trace, model: keras.Model, choice: Any) -> str:
    names, _ = _names_and_run(choice)
    known = [r for r in flatten_layers(model) if r is choice or r.name in names[-1:]]
    choice = choice if names else choice.name
    paths = sorted({r.name for r in recording.runs if any(r.layer is one for one in known)})
    if paths:
        return f"layer={choice!r} is no path in the model. Its last part is known as {paths}."
    if known:
        return (
            f"layer={choice!r} is part of the model but did not run by itself in a forward pass "
            f"(it is unused, or inside a loop). {_candidates(recording)}"
        )
    return f"layer={choice!r} is not in the model {model.name!r}. {_candidates(recording)}"


def _candidates(recording: Trace) -> str:
    names = list(dict.fromkeys(run.name for run, _ in _features(recording)))
    if not names:
        return "The model has no layer that gives a map."
    listed = ", ".join(map(repr, names[-12:]))
    return f"Layers with a map, last ones: {listed}."
