"""The levels of a detector's feature pyramid, each with the candidate boxes that come from it."""

from dataclasses import dataclass

import keras

from keras_saliency.engine.dataflow import Dataflow, Step
from keras_saliency.engine.keras_private import CONCATENATE
from keras_saliency.engine.tracing import LayerCall, Trace


@dataclass(frozen=True)
class Level:
    """A level of a feature pyramid.

    Attributes:
        layer: The layer that makes it, a path with the number of a run, as `layer=` takes it.
        candidates: Which rows of the output come from it: the first, and that behind the last.
    """

    layer: tuple[str | int, ...]
    candidates: tuple[int, int]


def pyramid_levels(trace: Trace, flow: Dataflow | None) -> list[Level]:
    """Find the levels of a feature pyramid whose boxes are joined in the output.

    A level is the last tensor on the way to its rows of the output that something else reads as
    well: the head of the boxes' places, or another level.

    Args:
        trace: A forward pass of the model.
        flow: What its graph tells, or None.

    Returns:
        The levels in the order of their candidates; none where the output is not joined of several,
        or the graph does not tell what of.
    """
    joined = None if flow is None else _joined(flow)
    if flow is None or joined is None:
        return []
    levels, first = [], 0
    for tensor in joined.takes:
        made = _maker(flow, tensor)
        call = None if made is None else _level_call(trace, flow, tensor)
        if made is None or call is None:
            return []
        behind = first + made.call.shape[1]
        levels.append(Level((*call.path, call.number), (first, behind)))
        first = behind
    return levels if first == trace.output_shape[1] else []


def _joined(flow: Dataflow) -> Step | None:
    """Return the step that joins the output from several, behind which only its values change."""
    step = _maker(flow, flow.output)
    while step is not None and len(step.takes) == 1:
        step = _maker(flow, step.takes[0])
    kinds = keras.layers.Concatenate, CONCATENATE
    return step if step is not None and isinstance(step.call.layer, kinds) else None


def _level_call(trace: Trace, flow: Dataflow, tensor: int) -> LayerCall | None:
    """Return the call that makes the level from which a tensor comes."""
    leading = _leading_to(flow, tensor)
    inside = set(map(id, leading))
    outside = {taken for step in flow.steps if id(step) not in inside for taken in step.takes}
    for step in reversed(leading):
        for taken in step.takes:
            if taken in outside and taken != flow.image:
                # The step before may be a layer that makes several levels at once.
                return trace.producer(step.call.input)
    return None


def _leading_to(flow: Dataflow, tensor: int) -> list[Step]:
    """List the steps that lead to a tensor, in the order of execution."""
    needed, leading = {tensor}, []
    for step in reversed(flow.steps):
        if not needed.isdisjoint(step.makes):
            needed |= set(step.takes)
            leading.append(step)
    return leading[::-1]


def _maker(flow: Dataflow, tensor: int) -> Step | None:
    return next((step for step in flow.steps if tensor in step.makes), None)
