"""Which tensors a forward pass makes of which, as the graph of a functional model tells.

The nodes of a graph are matched with the calls of a trace, those of nested graphs for each run of
these by itself. So the calls of a layer that several inputs share are told apart.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from keras_saliency.engine.keras_private import graph_of, nodes_of
from keras_saliency.engine.tracing import LayerCall, Trace


@dataclass(frozen=True)
class Step:
    """A call that no graph describes further, with the numbers of its tensors.

    Attributes:
        call: The call.
        takes: The tensors that it gets.
        makes: The tensors that it returns.
    """

    call: LayerCall
    takes: tuple[int, ...]
    makes: tuple[int, ...]


@dataclass(frozen=True)
class Dataflow:
    """The tensors of a forward pass, from the images to the explained output.

    Attributes:
        steps: The calls that compute, in the order of execution.
        made: The tensors that each call returns, by its layer and which of its calls it is. A call
            inside a layer that is no graph is missing.
        image: The number of the images' tensor.
        output: That of the explained output.
    """

    steps: tuple[Step, ...]
    made: dict[tuple[Any, int], tuple[int, ...]]
    image: int
    output: int

    def is_between(self, call: LayerCall) -> bool:
        """Tell whether a call, or what it is a part of, lies between the images and the output."""
        known = [self.made[key] for key in call.around if key in self.made]
        return not known or not self._between.isdisjoint(known[-1])

    def knows(self, call: LayerCall) -> bool:
        """Tell whether the graph has the call itself, and not only a layer around it."""
        return (call.layer, call.number) in self.made

    def is_cut(self, calls: Sequence[LayerCall]) -> bool:
        """Tell whether the output depends on the images through these calls alone."""
        held = {tensor for call in calls for tensor in self.made[call.layer, call.number]}
        return self.output in held or self.output not in self._after(held)

    def _after(self, held: set[int]) -> set[int]:
        """Return the tensors that depend on the images, but for what depends on them by `held`."""
        after = {self.image} - held
        for step in self.steps:
            if not after.isdisjoint(step.takes):
                after |= set(step.makes) - held
        return after

    @cached_property
    def _between(self) -> set[int]:
        before = {self.output}
        for step in reversed(self.steps):
            if not before.isdisjoint(step.makes):
                before |= set(step.takes)
        return before & self._after(set())


def dataflow_of(model: keras.Model, trace: Trace, image: Any, output: int) -> Dataflow | None:
    """Match the graph of a model with the calls of its trace.

    Args:
        model: The model.
        trace: A forward pass of it.
        image: The symbolic input that is explained.
        output: Which of its outputs is explained.

    Returns:
        The dataflow; None where the model is no graph, or does not run as its graph says.
    """
    graph = graph_of(model)
    if graph is None:
        return None
    reader = _Reader(trace)
    inputs = [reader.number() for _ in graph.inputs]
    outputs = reader.follow((model, 0), graph, inputs)
    position = next((i for i, own in enumerate(graph.inputs) if own is image), None)
    if outputs is None or position is None:
        return None
    return Dataflow(tuple(reader.steps), reader.made, inputs[position], outputs[output])


class _Reader:
    """Follows the runs of graphs, and numbers the tensors that they make."""

    def __init__(self, trace: Trace) -> None:
        self.steps: list[Step] = []
        self.made: dict[tuple[Any, int], tuple[int, ...]] = {}
        self._numbers = itertools.count()
        self._inside: dict[tuple[Any, int], list[LayerCall]] = defaultdict(list)
        for call in trace.calls:
            self._inside[call.around[-2]].append(call)

    def number(self) -> int:
        """Return the number of another tensor."""
        return next(self._numbers)

    def follow(self, run: tuple[Any, int], graph: Any, inputs: Sequence[int]) -> list[int] | None:
        """Follow one run of a graph from its inputs to its outputs; None if it runs otherwise."""
        calls, nodes = self._inside[run], nodes_of(graph)
        runs_so = [call.layer for call in calls] == [node.operation for node in nodes]
        if not runs_so or len(inputs) != len(graph.inputs):
            return None
        numbers = dict(zip(map(id, graph.inputs), inputs, strict=True))
        for call, node in zip(calls, nodes, strict=True):
            key, takes = call.around[-1], [numbers[id(tensor)] for tensor in node.input_tensors]
            inner = graph_of(call.layer)
            makes = None if inner is None else self.follow(key, inner, takes)
            if makes is None:
                makes = [self.number() for _ in node.outputs]
                self.steps.append(Step(call, tuple(takes), tuple(makes)))
            self.made[key] = tuple(makes)
            numbers |= zip(map(id, node.outputs), makes, strict=True)
        return [numbers[id(tensor)] for tensor in graph.outputs]
