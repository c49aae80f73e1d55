"""Where tokens come from, and which of them are read, measured by gradients."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.batching import batches
from keras_saliency.engine.feature_layout import attends_over
from keras_saliency.engine.model_call import ModelCall
from keras_saliency.engine.target_layer import LogitLayer, hooked
from keras_saliency.engine.tracing import LayerCall, Trace, patched_call

_AT_A_TIME = 32  # tokens whose receptive fields are measured in one pass
_NEGLIGIBLE = 1e-6  # of the largest gradient


def measured_grid(
    call: ModelCall, trace: Trace, inputs: tuple[np.ndarray, ...], count: int
) -> tuple[int, ...] | None:
    """Find the grid of tokens from where in the image the gradient of each of them lies.

    Args:
        call: How the model is called.
        trace: A forward pass of it.
        inputs: One image, `(1, height, width, channels)`, and the other inputs with it.
        count: How many tokens attention attends over.

    Returns:
        The grid, in whose order the last of the tokens are; those before them do not depend on the
        image. None where the tokens form no grid.
    """
    attending = _attending(trace, count)
    if not attending:
        return None
    fields = backend.compiled(_fields(call, attending[0], count), call.model)
    images, *extras = inputs
    low, high = float(images.min()), float(images.max())
    # Noise has no black border, behind which a unit may be dead.
    noise = np.random.default_rng(0).uniform(low, high if high > low else low + 1, images.shape)
    parts = []
    for rows, _ in batches(count, call.at_most(min(count, _AT_A_TIME))):
        chosen = np.eye(count, dtype="float32")[rows]
        repeated = [np.repeat(v, len(chosen), axis=0) for v in (noise.astype("float32"), *extras)]
        gradients = fields(*map(ops.convert_to_tensor, (chosen, *repeated)))
        if gradients is None:
            return None
        parts.append(_is_reached(np.abs(ops.convert_to_numpy(gradients)).sum(axis=-1)))
    return _grid_of(np.concatenate(parts)[:count])


def tokens_read(
    call: ModelCall,
    trace: Trace,
    logits: LogitLayer | None,
    inputs: tuple[np.ndarray, ...],
    count: int,
) -> np.ndarray | None:
    """Find which tokens a model's output depends on after the last attention over them.

    Args:
        call: How the model is called.
        trace: A forward pass of it.
        logits: The layer that turns logits into probabilities, or None.
        inputs: One image, `(1, height, width, channels)`, and the other inputs with it.
        count: How many tokens attention attends over.

    Returns:
        `(count,)` bool, or None where that can't be told.
    """
    attending = _attending(trace, count)
    if not attending:
        return None
    last = attending[-1]

    def gradients(images: Any, *extras: Any) -> Any:
        def outputs_of(points: dict[str, Any]) -> tuple[Any, None]:
            def changed(tokens: Any) -> Any:
                return tokens + points["tokens"]

            no_change = hooked(None, logits, lambda output, frame: output)
            with _output_changed(last, changed), no_change as seen:
                outputs = call(images, *extras)
            outputs = seen.logits[logits.number] if logits else outputs
            return _weighed(outputs), None

        points = {"tokens": ops.zeros(last.shape, last.dtype)}
        return backend.gradients(outputs_of, points)[2]["tokens"]

    result = backend.compiled(gradients, call.model)(*map(ops.convert_to_tensor, inputs))
    if result is None:
        return None
    values = ops.convert_to_numpy(ops.cast(result, "float32"))
    read = _is_reached(np.abs(values).reshape(1, count, -1).sum(axis=-1))[0]
    return read if read.any() else None


def _attending(trace: Trace, count: int) -> list[LayerCall]:
    """List the calls of attention over so many tokens of a whole image, and not of its windows."""
    images = trace.input_shape[0]
    return [c for c in trace.calls if attends_over(c, count) and c.shape[0] == images]


def _fields(call: ModelCall, first: LayerCall, count: int) -> Callable[..., Any]:
    """Write the function of the gradients of chosen tokens `(n, count)` at images."""

    def gradients(chosen: Any, images: Any, *extras: Any) -> Any:
        def tokens_of(points: dict[str, Any]) -> tuple[Any, None]:
            tokens = _taken(first, lambda: call(points["images"], *extras))
            tokens = ops.reshape(tokens, (chosen.shape[0], count, -1))
            return _weighed(tokens * ops.cast(chosen[..., None], tokens.dtype)), None

        return backend.gradients(tokens_of, {"images": images})[2]["images"]

    return gradients


class _Taken(BaseException):
    """Ends a forward pass at what a layer takes."""


def _taken(layer_call: LayerCall, forward: Callable[[], Any]) -> Any:
    """Run a forward pass up to a call of a layer, and return the first tensor that it takes."""
    numbers, taken = itertools.count(), []

    def on_call(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if next(numbers) == layer_call.number:
            query = args[0] if args else kwargs.get("query", kwargs.get("inputs"))
            taken.append(query[0] if isinstance(query, list | tuple) else query)
            raise _Taken
        return original(*args, **kwargs)

    with suppress(_Taken), patched_call(layer_call.layer, on_call):
        forward()
    return taken[-1]


@contextmanager
def _output_changed(layer_call: LayerCall, changed: Callable[[Any], Any]) -> Iterator[None]:
    """Change what a call of an attention layer returns."""
    numbers = itertools.count()

    def on_call(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        return changed(output) if next(numbers) == layer_call.number else output

    with patched_call(layer_call.layer, on_call):
        yield


def _weighed(values: Any) -> Any:
    """Sum values with random weights, of which no normalization makes a constant, per image."""
    flat = ops.reshape(ops.cast(values, "float32"), (values.shape[0], -1))
    weights = np.random.default_rng(0).normal(size=flat.shape[1]).astype("float32")
    return ops.sum(flat * ops.convert_to_tensor(weights), axis=1)


def _is_reached(magnitudes: np.ndarray) -> np.ndarray:
    """Tell in each row where magnitudes are more than rounding."""
    highest = magnitudes.max(axis=tuple(range(1, magnitudes.ndim)), keepdims=True)
    return np.asarray(magnitudes > _NEGLIGIBLE * highest)


def _grid_of(reached: np.ndarray) -> tuple[int, ...] | None:
    """Find the grid of tokens from the pixels that reach each, `(tokens, *size)` bool."""
    any_reached = np.asarray(reached.reshape(len(reached), -1).any(axis=1))
    fields = reached[any_reached.argmax() :]
    if not any_reached[-len(fields) :].all():
        return None
    places = []
    for axis in range(1, fields.ndim):
        others = tuple(a for a in range(1, fields.ndim) if a != axis)
        line = np.asarray(fields.any(axis=others))
        ends = np.stack([line.argmax(axis=1), -line[:, ::-1].argmax(axis=1)], axis=1)
        places.append(np.unique(ends, axis=0, return_inverse=True)[1].reshape(-1))
    grid = tuple(int(place.max()) + 1 for place in places)
    in_order = np.array_equal(places, np.indices(grid).reshape(len(grid), -1))
    return grid if in_order else None
