"""Where a layer's grid lies in the image, where crops and padding inside the model move it.

A grid is taken to span what its layer was made of: convolutions and pooling leave that as it is,
crops cut from it, padding adds to it. What such a layer does is read from the coordinates that come
out where coordinates go in, so that no rule of any layer is repeated here.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers, ops

from keras_saliency.common.resampling import along_axes, interpolation, overlaps, resize_linear
from keras_saliency.common.types import Array
from keras_saliency.engine.dataflow import Dataflow, Step
from keras_saliency.engine.keras_private import MOVING, is_of_keras
from keras_saliency.engine.tracing import LayerCall, Trace

_MOVING = (
    *(kind for name, kind in vars(layers).items() if name.startswith(("Cropping", "ZeroPadding"))),
    *(layers.CenterCrop, layers.RandomCrop, layers.Resizing, *MOVING),
)
_HOLDING = (layers.Lambda, layers.Wrapper)  # code of the user's
_MARK = 3.25  # a value that no padding has
_FINEST = 8  # parts of a cell, so that cells of the image's grid begin where the layer's do

Extents = tuple[tuple[float, float], ...]  # of a grid, along each axis of the image: start and end


@dataclass(frozen=True)
class Placement:
    """Where a grid lies in the image.

    Attributes:
        size: Pixels of the image along each axis.
        extents: Where the grid starts and ends along each axis, in pixels; before 0 and beyond the
            size where it reaches into padding.
    """

    size: tuple[int, ...]
    extents: Extents

    @classmethod
    def whole(cls, size: tuple[int, ...]) -> "Placement":
        """Return that of a grid that spans the image."""
        return cls(size, _whole(size))

    @property
    def spans_image(self) -> bool:
        """Whether the grid spans just the image."""
        return self.extents == _whole(self.size)

    def over_image(self, maps: Array) -> Array:
        """Lay maps `(n, *grid)` on a grid that spans the image, with 0 where their own is not."""
        if self.spans_image:
            return maps
        cells = maps.shape[1:]
        matrices = list(map(_onto_image, self.extents, cells, self.size))
        return np.stack([along_axes(matrices, map_) for map_ in maps]).astype(maps.dtype)

    def enlarged(self, map_: Array) -> Array:
        """Resize a map `(*grid)` linearly to the size of the image; edges are repeated."""
        if self.spans_image:
            return resize_linear(map_, self.size)
        matrices = [
            interpolation((np.arange(length) + 0.5 - start) * cells / (end - start) - 0.5, cells)
            for (start, end), cells, length in zip(self.extents, map_.shape, self.size, strict=True)
        ]
        return along_axes(matrices, map_)


def _whole(size: Sequence[int]) -> Extents:
    return tuple((0.0, float(length)) for length in size)


def _onto_image(extent: tuple[float, float], cells: int, length: int) -> Array:
    """Return the matrix that lays a row of cells on cells that span the whole image.

    These are as large as the row's own, or whole parts of them, if they begin where these do; else
    they are pixels. A cell that is covered in part gets that part of the value.
    """
    start, cell, count = min(extent), abs(extent[1] - extent[0]) / cells, length
    for parts in range(1, _FINEST + 1):
        fine = np.array([start, length]) * parts / cell
        if np.abs(fine - fine.round()).max() < 1e-6 and (parts == 1 or cell >= parts):
            count = int(fine[1].round())
            break
    edges = length * np.arange(count + 1) / count
    shares = overlaps(edges[:-1], edges[1:], start + cell * np.arange(cells + 1)) * count / length
    return shares.round(9)[:, :: -1 if extent[0] > extent[1] else 1]


def extents_of(
    trace: Trace, flow: Dataflow | None, call: LayerCall, channels_first: bool
) -> tuple[Extents, bool]:
    """Find what a call's grid spans, from the layers that lead to it.

    Args:
        trace: The forward pass.
        flow: What its graph tells, or None.
        call: The call.
        channels_first: Whether the model's images have their channels first.

    Returns:
        The extents, and whether code that is not Keras's may have moved the grid besides.
    """
    follower = _Follower(trace, channels_first)
    return follower.of_call(flow, call)


def refined(
    extents: Extents, seen: Extents, cells: tuple[int, ...], size: tuple[int, ...]
) -> Extents:
    """Take the part of the image that a layer sees for what its grid spans, where these differ.

    Less than half a cell is no difference: the last pixels are often left over by strides.

    Args:
        extents: What the grid spans by the layers that lead to it.
        seen: What was measured to be seen.
        cells: The grid.
        size: Pixels of the image.

    Returns:
        The extents, replaced along the axes where less is seen.
    """
    placed = []
    for (start, end), (first, last), count, length in zip(extents, seen, cells, size, strict=True):
        slack = 0.5 * (last - first) / count
        is_less = first - max(start, 0) > slack or min(end, length) - last > slack
        placed.append((first, last) if is_less else (start, end))
    return tuple(placed)


class _Follower:
    """Follows what grids span through the calls of a trace."""

    def __init__(self, trace: Trace, channels_first: bool) -> None:
        self._trace, self._first = trace, channels_first
        self._size = trace.input_shape[1:-1]

    def of_call(self, flow: Dataflow | None, call: LayerCall) -> tuple[Extents, bool]:
        """Return what a call's grid spans, and whether that is uncertain."""
        whole = _whole(self._size), False
        if flow is None:
            return self._along(self._trace.until(call), *whole, {self._size})
        known = {flow.image: whole}
        target = next(key for key in (*reversed(call.around), None) if key in flow.made or not key)
        readers: dict[int, list[LayerCall]] = defaultdict(list)
        for step in flow.steps:
            for tensor in step.takes:
                readers[tensor].append(step.call)
        for step in flow.steps:
            given = [known[tensor] for tensor in step.takes if tensor in known]
            if not given:
                continue
            key = step.call.around[-1]
            if key == target and key != call.around[-1]:
                return self._inside(step, self._trace.until(call), *self._widest(given))
            after = [call for tensor in step.makes for call in readers[tensor]]
            passed = self._passed(step, after, *self._widest(given))
            known |= dict.fromkeys(step.makes, passed)
        return known.get(flow.made[target][0], whole) if target else whole

    def _passed(
        self, step: Step, after: Sequence[LayerCall], extents: Extents, uncertain: bool
    ) -> tuple[Extents, bool]:
        """Return what the output of a step spans."""
        call = step.call
        if _is_known(call.layer):
            return self._moved(call, after, extents), uncertain
        inside = self._trace.until(call)
        return self._inside(step, inside, extents, uncertain, self._grid(call.shape))

    def _inside(
        self,
        step: Step,
        calls: Iterable[LayerCall],
        extents: Extents,
        uncertain: bool,
        *grids: tuple[int, ...],
    ) -> tuple[Extents, bool]:
        """Follow the calls inside a layer of which no graph tells."""
        key = step.call.around[-1]
        inner = [call for call in calls if key in call.around[:-1]]
        begin = {self._grid(step.call.taken)}
        return self._along(inner, extents, uncertain, begin, *grids)

    def _along(
        self,
        calls: Sequence[LayerCall],
        extents: Extents,
        uncertain: bool,
        known: set[tuple[int, ...]],
        *grids: tuple[int, ...],
    ) -> tuple[Extents, bool]:
        """Follow calls as though each took what the one before it made.

        A grid of another size than any call made is the work of code between them.
        """
        for call, after in itertools.zip_longest(calls, calls[1:]):
            shapes = [call.taken, *([] if _is_known(call.layer) else [call.shape])]
            grids_here = {self._grid(shape) for shape in shapes if shape}
            uncertain = uncertain or not grids_here <= known | {self._size[-2:]}
            extents = self._moved(call, [after] if after else [], extents)
            known.add(self._grid(call.shape))
        return extents, uncertain or not known.issuperset(grids)

    def _grid(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[2:] if self._first else shape[1:-1]

    def _widest(self, given: Sequence[tuple[Extents, bool]]) -> tuple[Extents, bool]:
        """Of grids that are joined, take what shows most of the image."""

        def shown(extents: Extents) -> float:
            pairs = zip(extents, self._size, strict=True)
            return sum(min(max(e), n) - max(min(e), 0) for e, n in pairs)

        widest = max((extents for extents, _ in given), key=shown)
        return widest, any(uncertain for _, uncertain in given)

    def _moved(self, call: LayerCall, after: Sequence[LayerCall], extents: Extents) -> Extents:
        """Return what a call's output spans, where its input spans `extents`."""
        layer, rank, whole = call.layer, len(call.taken) - 2, len(self._size)
        keeps = isinstance(layer, layers.Resizing) and not (
            layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio
        )
        is_grid = rank == whole or (rank, whole) == (2, 3)  # of an image, or of a frame
        if not isinstance(layer, _MOVING) or keeps or not is_grid:
            return extents
        first = getattr(layer, "data_format", None) == "channels_first" or self._first
        axes = range(1 + first, 1 + first + rank)
        moved = _coordinates(call, axes)
        if moved is None or _is_absorbed(call, [moved[axis] for axis in axes], axes, after):
            return extents
        spans = list(extents[: whole - rank])
        for (start, end), axis in zip(extents[whole - rank :], axes, strict=True):
            cell = (end - start) / call.taken[axis]
            spans.append((start + cell * moved[axis][0], start + cell * moved[axis][1]))
        return tuple(spans)


def _is_known(layer: Any) -> bool:
    """Tell whether it is known what a layer does to a grid: one of Keras's, without other code."""
    return is_of_keras(layer) and not isinstance(layer, _HOLDING)


def _coordinates(call: LayerCall, axes: Sequence[int]) -> dict[int, tuple[float, float]] | None:
    """Find where a call's output starts and ends along axes of its input, in cells of that."""
    marked = _replayed(call, np.full(call.taken, _MARK))
    moved = {}
    for axis in axes:
        shape = [1] * len(call.taken)
        shape[axis] = call.taken[axis]
        centres = np.broadcast_to(np.arange(call.taken[axis]).reshape(shape) + 0.5, call.taken)
        values = _replayed(call, centres)
        if marked is None or values is None or values.ndim != len(call.taken):
            return None
        values = np.where(np.abs(marked - _MARK) < 1e-3, values, np.nan)
        span = _fitted(np.moveaxis(values, axis, 0), call.taken[axis])
        if span is None:
            return None
        moved[axis] = span
    return moved


def _fitted(values: Array, length: int) -> tuple[float, float] | None:
    """Fit a line to the coordinates along the first axis, NaN in padding; return its two ends."""
    rows = np.array(
        [np.median(row[~np.isnan(row)]) if (row == row).any() else np.nan for row in values]
    )
    known = np.flatnonzero(~np.isnan(rows))
    if not len(known):
        return None
    within = known[(rows[known] > 0.51) & (rows[known] < length - 0.51)]
    known = within if len(within) > 1 else known  # some resizing repeats the edges
    if len(known) == 1:
        slope, start = 1.0, rows[known[0]] - known[0] - 0.5
    else:
        slope, start = np.polyfit(known + 0.5, rows[known], 1)
    return _snapped(start), _snapped(start + slope * len(rows))


def _replayed(call: LayerCall, values: Array) -> Array | None:
    """Run a call again on other values."""
    args, kwargs = call.options
    tensor = ops.convert_to_tensor(np.ascontiguousarray(values, "float32"))
    try:
        return np.asarray(ops.convert_to_numpy(call.layer.call(tensor, *args, **kwargs)))
    except Exception:  # such as that of an operation on whole numbers alone
        return None


def _snapped(position: float) -> float:
    """Return the edge of a cell that a position is, but for rounding; or the position."""
    return float(round(position)) if abs(position - round(position)) < 0.3 else float(position)


def _is_absorbed(
    call: LayerCall,
    moved: Sequence[tuple[float, float]],
    axes: Sequence[int],
    after: Sequence[LayerCall],
) -> bool:
    """Tell whether padding is that of the windows which follow, and not of the image."""
    added = [end - start - call.taken[a] for (start, end), a in zip(moved, axes, strict=True)]
    return (
        max(added) > 0
        and bool(after)
        and all(
            room >= extra
            for c in after
            for room, extra in zip(_eaten(c.layer, len(added)), added, strict=True)
        )
    )


def _eaten(layer: Any, rank: int) -> tuple[int, ...]:
    """Return how many cells along each axis the windows of a layer take from a grid."""
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if size is None or getattr(layer, "padding", None) != "valid":
        return (0,) * rank
    dilation = np.broadcast_to(getattr(layer, "dilation_rate", 1), (rank,))
    return tuple((np.broadcast_to(size, (rank,)) - 1) * dilation)
