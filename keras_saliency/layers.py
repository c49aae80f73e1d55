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

from keras_saliency.recording import Probabilities, Recording, Run, probabilities, standing_in

LayerChoice: TypeAlias = str | tuple[str | int, ...] | keras.layers.Layer | None

# A layer of these kinds adds nothing of its own to look at: its map is its input's, coarser.
_PASSES_ON = frozenset(
    {"InputLayer", "Identity", "Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise"}
    | {"ActivityRegularization", "Flatten", "Reshape", "Permute", "RepeatVector", "Masking"}
    | {"Resizing", "CenterCrop", "Rescaling", "Normalization", "Softmax"}
    | {f"{kind}{d}D" for d in (1, 2, 3) for kind in ("SpatialDropout", "ZeroPadding", "Cropping")}
    | {f"UpSampling{d}D" for d in (1, 2, 3)}
)


@dataclass(frozen=True)
class Place:
    """A layer and that one of its runs which is looked at, and its output for one image."""

    layer: keras.layers.Layer
    name: str
    run: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class LogitPlace:
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
def reached(
    place: Place | None, logits: LogitPlace | None, changed: Callable[[Any], Any]
) -> Iterator[Seen]:
    """Meet a layer's output, and the logits, in the forward passes within the context.

    Args:
        place: The layer to look at, or None.
        logits: Where logits become probabilities, or None.
        changed: Called with the layer's output; what it returns takes its place.

    Yields:
        What was met: `outputs` of the place, and `logits`, one a run of their layer.
    """
    seen = Seen()

    def looking(layer: keras.layers.Layer, original: Callable[..., Any]) -> Callable[..., Any]:
        passed = 0

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal passed
            output = original(*args, **kwargs)
            if place is not None and passed == place.run:
                output = changed(output)
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
            stands.enter_context(standing_in(place.layer, looking))
        if logits is not None:
            name = "activation" if logits.fused else None
            stands.enter_context(standing_in(logits.layer, noting, name))
        yield seen


def choose(recording: Recording, model: keras.Model, choice: LayerChoice) -> Place:
    """Settle which layer's output is looked at.

    Args:
        recording: A recorded forward pass of the model.
        model: The model.
        choice: A name, a path into nested models with an optional run number at its end, a
            `Layer`, or None for the last feature map before the head.

    Returns:
        The place.

    Raises:
        ValueError: No layer fits, or several do. The message lists the layers that would.
        TypeError: The choice is of another kind.
    """
    if choice is None:
        features = _features(recording)
        if not features:
            raise ValueError(
                "No spatial layer was found: no layer before the head gives a map of more than "
                f"one cell. Received: model={model.name!r}, whose layers give "
                f"{', '.join(f'{r.name} {r.shape[1:]}' for r in recording.runs[-6:])}. Use methods "
                "that need no layer ('saliency', 'gradient_x_input'), or name one with layer=."
            )
        return _place(features[-1])
    names, run = _names_and_run(choice)
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
    runs = [r for r in matching if r.layer is matching[0].layer]
    if run is not None and not -len(runs) <= run < len(runs):
        raise ValueError(
            f"layer={choice!r} asks for run {run}, but the layer runs {len(runs)} times in a "
            "forward pass. Runs count from 0."
        )
    if not _is_grid(runs[-1], recording.input_rank):
        raise ValueError(
            f"layer={choice!r} gives no map: its output has shape {runs[-1].shape}, a grid of rank "
            f"{recording.input_rank} is needed. {_candidates(recording)}"
        )
    return _place(runs[-1 if run is None else run])


def logits_behind(recording: Recording) -> LogitPlace | None:
    """Find the layer that makes the model's probabilities from logits, if there is one."""
    run = recording.producer(recording.output)
    if run is None:
        return None
    if type(run.layer).__name__ == "Softmax":
        return LogitPlace(run.layer, run.number, "softmax", fused=False)
    kind = run.activation
    return LogitPlace(run.layer, run.number, kind, fused=True) if kind else None


def pooled_head(recording: Recording) -> tuple[keras.layers.Layer, Run | None] | None:
    """Find a head of global average pooling and one dense layer.

    Returns:
        The dense layer and the run whose output is pooled, or None for other heads.
    """
    output = recording.producer(recording.output)
    if output is not None and type(output.layer).__name__ in ("Softmax", "Activation"):
        output = recording.producer(output.takes)
    if output is None or type(output.layer).__name__ != "Dense":
        return None
    pool = recording.producer(output.takes)
    if pool is None or not type(pool.layer).__name__.startswith("GlobalAveragePooling"):
        return None
    return output.layer, recording.producer(pool.takes)


def _is_grid(run: Run, rank: int) -> bool:
    return len(run.shape) == rank


def _features(recording: Recording) -> list[Run]:
    """Feature maps before the head, in the order of execution."""
    return [
        run
        for run in recording.runs[: _head(recording)]
        if _is_grid(run, recording.input_rank)
        and math.prod(run.shape[1:-1]) > 1
        and not _only_passes_on(run.layer)
        # What attention gives was made by a projection inside it, and is its own all the same.
        and (_attends(run.layer) or not recording.is_alias(run))
        and not any(_attends(outer) for outer in run.within)
    ]


def _attends(layer: keras.layers.Layer) -> bool:
    return "Attention" in type(layer).__name__


def _head(recording: Recording) -> int:
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


def _place(run: Run) -> Place:
    return Place(run.layer, run.name, run.number, run.shape, run.dtype)


def _names_and_run(choice: Any) -> tuple[tuple[str, ...], int | None]:
    """Take a choice apart: a path of names, empty for a `Layer`, and the number of a run."""
    if isinstance(choice, keras.layers.Layer):
        return (), None
    parts = tuple(choice.split("/")) if isinstance(choice, str) else choice
    if isinstance(parts, tuple) and parts:
        *names, run = parts if isinstance(parts[-1], int) else (*parts, None)
        if names and all(isinstance(name, str) for name in names):
            return tuple(names), run
    raise TypeError(
        "layer must be a name, a path such as ('mobilenetv2', 'out_relu') with the number of a run "
        f"at its end if need be, a Layer, or None. Received: layer={choice!r}"
    )


def _not_found(recording: Recording, model: keras.Model, choice: Any) -> str:
    names, _ = _names_and_run(choice)
    known = [r for r in model._flatten_layers() if r is choice or r.name in names[-1:]]
    choice = choice if names else choice.name
    if known:
        return (
            f"layer={choice!r} is part of the model but did not run by itself in a forward pass "
            f"(it is unused, or inside a loop). {_candidates(recording)}"
        )
    return f"layer={choice!r} is not in the model {model.name!r}. {_candidates(recording)}"


def _candidates(recording: Recording) -> str:
    names = [run.name for run in _features(recording)]
    if not names:
        return "The model has no layer that gives a map."
    listed = ", ".join(map(repr, names[-12:]))
    return f"Layers with a map, last ones: {listed}."
