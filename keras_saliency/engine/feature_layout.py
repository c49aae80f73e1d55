"""How a layer's output is laid out as a map: channels last, tokens in a grid, frames stacked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_saliency.engine.attention import ATTENTION_LAYERS
from keras_saliency.engine.keras_private import ATTENTION
from keras_saliency.engine.model_inputs import is_convolution, order_of_axes, reorders_axes
from keras_saliency.engine.tracing import LayerCall, Trace

# Before the patches of transformers in use: a class token, a distilled one, four registers.
_MOST_EXTRA = 6


@dataclass(frozen=True)
class Tokens:
    """A layer that gives tokens, and the grid that they form; to be given as `layer=`.

    It is needed only where the grid is not found by itself, from the grid of patches that the
    tokens were made of, or else from where in the image the gradient of each token lies.

    Args:
        layer: Name, path or `Layer`, as `layer=` takes it.
        grid: Tokens along each axis. Tokens before those of the grid, such as one for the class,
            are left out of maps.

    Raises:
        ValueError: A grid that is no tuple of whole numbers from 1.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> pixels = keras.Input((8, 12, 3))
        >>> tokens = keras.layers.Reshape((6, 48))(pixels)
        >>> tokens = keras.layers.Dense(5, name="mix")(tokens)
        >>> scores = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(tokens))
        >>> net, images = keras.Model(pixels, scores), np.ones((1, 8, 12, 3))
        >>> ks.explain(net, images, "grad_cam", layer=ks.Tokens("mix", (2, 3))).maps.shape
        (1, 2, 3)
    """

    layer: str | tuple[str | int, ...] | keras.layers.Layer
    grid: tuple[int, ...]

    def __post_init__(self) -> None:
        grid = self.grid
        counts = isinstance(grid, tuple) and [type(n) is int and n > 0 for n in grid]
        if not counts or not all(counts):
            raise ValueError(
                "grid must hold the tokens along each axis, such as (14, 14). "
                f"Received: grid={grid!r}"
            )


@dataclass(frozen=True)
class Layout:
    """How the output of a layer becomes a map, `(batch, *grid, channels)`.

    Attributes:
        channels_first: Whether its channels are on axis 1.
        tokens: The grid that its tokens form, those before them left out; None for no tokens.
        frames: How many calls of the layer, one a frame, are stacked; 1 where a layer of a video's
            model gives one grid for all frames; None for a single call.
    """

    channels_first: bool = False
    tokens: tuple[int, ...] | None = None
    frames: int | None = None

    def map_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the map that outputs of a shape make."""
        batch, *grid, channels = shape
        if self.channels_first:
            channels, *grid = (*grid, channels)
        grid = list(self.tokens or grid)
        return (batch, *([] if self.frames is None else [self.frames]), *grid, channels)

    def cells(self, shape: tuple[int, ...]) -> int:
        """Return how many cells the output of one call has."""
        return math.prod(self.map_shape(shape)[1 if self.frames is None else 2 : -1])

    def to_map(self, outputs: Sequence[Any]) -> Any:
        """Lay out the outputs of the layer's calls, one a frame."""
        maps = [self._one_map(output) for output in outputs]
        return maps[0] if self.frames is None else ops.stack(maps, axis=1)

    def from_map(self, values: Any, frame: int, shape: tuple[int, ...]) -> Any:
        """Return a map's values in the shape of the output of one call."""
        if self.frames is not None:
            values = values[:, frame]
        if self.tokens is not None:
            count, channels = math.prod(self.tokens), shape[-1]
            values = ops.reshape(values, (-1, count, channels))
            values = ops.pad(values, ((0, 0), (shape[1] - count, 0), (0, 0)))
        return ops.moveaxis(values, -1, 1) if self.channels_first else values

    def extra_tokens(self, shape: tuple[int, ...]) -> int:
        """Return how many tokens of the output of one call are before those of the grid."""
        return 0 if self.tokens is None else shape[1] - math.prod(self.tokens)

    def gated(self, output: Any, gates: Any) -> Any:
        """Multiply the channels of one call's output by gates `(batch, channels)`."""
        ones = [1] * (len(output.shape) - 2)
        shape = (*gates.shape, *ones) if self.channels_first else (-1, *ones, gates.shape[1])
        return output * ops.reshape(ops.cast(gates, output.dtype), shape)

    def _one_map(self, output: Any) -> Any:
        if self.channels_first:
            output = ops.moveaxis(output, 1, -1)
        if self.tokens is not None:
            patches = output[:, output.shape[1] - math.prod(self.tokens) :]
            output = ops.reshape(patches, (-1, *self.tokens, output.shape[-1]))
        return output


def layout_of(trace: Trace, call: LayerCall, grid: tuple[int, ...] | None = None) -> Layout | None:
    """Find how the output of a layer call makes a map.

    Args:
        trace: The forward pass.
        call: A call of a layer in it.
        grid: The grid of the tokens, where it was given.

    Returns:
        The layout, or None where the output makes no map.
    """
    wrapper = over_frames(call)
    frames = None if wrapper is None else trace.calls_of(wrapper)[-1].shape[1]
    # An image or, within a wrapper, a frame.
    size = trace.input_shape[1 if wrapper is None else 2 : -1]
    if grid is None and len(call.shape) == len(size) + 2:
        first = _channels_first(trace, call)
        return None if first is None else Layout(first, frames=frames)
    if grid is None and len(size) == 3 and len(call.shape) == 4:
        return _of_whole_video(trace, call, size[1:])
    if len(call.shape) != 3:
        return None
    grid = grid or _grid_of_tokens(trace, call, size)
    fits = grid is not None and math.prod(grid) <= call.shape[1]
    return Layout(tokens=grid, frames=frames) if fits else None


def attended_grid(trace: Trace, count: int) -> tuple[int, ...] | None:
    """Find the grid of tokens that attention attends over.

    Args:
        trace: The forward pass.
        count: How many tokens there are, those of the class and registers among them.

    Returns:
        The grid of the patches in the trace, or else as it is measured; it holds the last of the
        tokens. None where neither fits.
    """
    size = trace.input_shape[1:-1]
    return _nearest(count, _grids_of(trace, trace.calls, size)) or trace.grid_of(count)


def over_frames(call: LayerCall) -> keras.layers.Layer | None:
    """Return the layer that makes a call once for each frame, if one does."""
    within = reversed(call.within)
    return next((o for o in within if isinstance(o, keras.layers.TimeDistributed)), None)


def attends(layer: keras.layers.Layer) -> bool:
    """Tell whether a layer or operation is one of Keras's for attention, or a subclass of one."""
    return isinstance(layer, (*ATTENTION_LAYERS, ATTENTION))


def attends_over(call: LayerCall, count: int) -> bool:
    """Tell whether a call is one of attention over so many tokens."""
    # The operation has heads of tokens, `(batch, tokens, heads, channels)`.
    axes = call.shape[1:2] if isinstance(call.layer, ATTENTION) else call.shape[1:-1]
    return attends(call.layer) and math.prod(axes) == count


def _of_whole_video(trace: Trace, call: LayerCall, size: tuple[int, ...]) -> Layout | None:
    """Find the layout of a call that gives one grid for a whole video, as a ConvLSTM2D does.

    There must have been a convolution of such a rank. Frames that were put into the batch, which is
    of one video in a trace, are not one grid.
    """
    before = (c.layer for c in trace.until(call) if len(c.shape) == 4 and over_frames(c) is None)
    if not any(map(is_convolution, before)) or call.shape[0] != trace.input_shape[0]:
        return None
    first = _channels_first(trace, call)
    if first is None:
        return None
    layout = Layout(first, frames=1)
    grid = layout.map_shape(call.shape)[2:-1]
    return layout if all(own <= whole for own, whole in zip(grid, size, strict=True)) else None


def _channels_first(trace: Trace, call: LayerCall) -> bool | None:
    """Tell the order of an output's axes; None where its channels are neither first nor last.

    It is that of the last convolution up to the call, after what has moved the axes since.
    """
    rank = len(call.shape)
    channels, moves = rank - 1, []
    for earlier in reversed(trace.until(call)):
        if len(earlier.shape) != rank:
            continue
        if is_convolution(earlier.layer):
            channels = 1 if earlier.layer.data_format == "channels_first" else rank - 1
            break
        if reorders_axes(earlier.layer):
            moves.append(order_of_axes(earlier.layer, rank))
    for order in reversed(moves):
        channels = order.index(channels)
    return {1: True, rank - 1: False}.get(channels)


def _grid_of_tokens(trace: Trace, call: LayerCall, size: tuple[int, ...]) -> tuple[int, ...] | None:
    """Find the grid of tokens: that of the patches in the trace, or as it is measured."""
    count = call.shape[1]
    grids = _grids_of(trace, trace.until(call), size)
    if any(attends_over(c, count) for c in trace.calls):
        # What is measured of a frame has the axis of frames before its own.
        return _nearest(count, grids) or (trace.grid_of(count) or ())[-len(size) :] or None
    # Without attention over them, only patches of just that number tell tokens from other things.
    return _nearest(count, [grid for grid in grids if math.prod(grid) == count])


def _grids_of(
    trace: Trace, calls: Sequence[LayerCall], size: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """List the grids of calls, of as many axes as an image of this size."""
    return [
        Layout(first).map_shape(call.shape)[1:-1]
        for call in calls
        # Inside attention there are tokens by heads, which are no cells.
        if len(call.shape) == len(size) + 2
        and not any(attends(outer) for outer in call.within)
        and (first := _channels_first(trace, call)) is not None
    ]


def _nearest(count: int, grids: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return the grid with the fewest tokens left over, of equals the last."""
    extra = {grid: count - math.prod(grid) for grid in reversed(grids)}
    fitting = [grid for grid in extra if 0 <= extra[grid] <= _MOST_EXTRA]
    return min(fitting, key=extra.__getitem__, default=None)
