"""Reading a `tf.data.Dataset` without moving the state it trains with; needs TensorFlow."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_saliency.common.preserve import preserve_random_streams

# Serialising in-memory arrays takes about nine times their size.
_COPY_AT_MOST = 512 * 2**20
# The dataset operations that share state with their originals, and the same without state:
# (operation, how many inputs it has, the attribute that it does not have).
_STATELESS = {
    "ShuffleDatasetV3": ("ShuffleDataset", 4, None),
    "RandomDatasetV2": ("RandomDataset", 2, "rerandomize_each_iteration"),
}
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def stateless_copy(dataset: Any, seed: int) -> tuple[Any, str | None]:
    """Copy a `tf.data.Dataset` so that reading the copy leaves the original's later epochs alone.

    Each iterator draws the next seed of its dataset's shuffles, so that one that comes early shifts
    the order of every epoch after it. The copy goes through the serialised graph: its variables
    (the state of random layers) are its own, its shuffles get a seed of ours, and caches, which
    it would share and fill, are left out.

    Args:
        dataset: The dataset.
        seed: Of the copy's shuffles.

    Returns:
        The copy, or the dataset itself where none can be made, and what reading it may shift.
    """
    if _bytes_in_memory(dataset) > _COPY_AT_MOST:
        return dataset, (
            "The dataset is too large to be copied, and reading it may shift its order in training"
        )
    try:
        graph = _stateless_graph(dataset, seed)
        copied = _from_graph(graph, dataset.element_spec)
    except tf.errors.OpError as error:
        return dataset, (
            "The dataset can't be copied, and reading it may shift its order in training "
            f"({error.message})"
        )
    spec = dataset.element_spec
    if _calls_python(graph) and not _yield_the_same(copied, _from_graph(graph, spec)):
        return copied, (
            "The dataset calls Python code that keeps a state of its own (a random generator, an "
            "iterator), so reading it shifts what it yields in training"
        )
    return copied, None


def _bytes_in_memory(dataset: Any) -> int:
    """Return the size of the arrays that a dataset was made from."""
    own = sum(t.dtype.size * t.shape.num_elements() for t in getattr(dataset, "_tensors", ()))
    return own + sum(_bytes_in_memory(source) for source in dataset._inputs())


def _stateless_graph(dataset: Any, seed: int) -> Any:
    """Return the dataset as a GraphDef that shares no state with it."""
    # The policy "ignore": of the state of random operations the copy needs none.
    variant = tf.data.experimental.to_variant(dataset)
    serialised = tf.raw_ops.DatasetToGraphV2(input_dataset=variant, external_state_policy=1)
    graph = tf.compat.v1.GraphDef.FromString(serialised.numpy())
    constant = graph.node.add(name="keras_saliency_seed", op="Const")
    constant.attr["dtype"].type = tf.int64.as_datatype_enum
    # Two zeros would mean a seed drawn anew.
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(seed + 1 or 1, tf.int64))
    sources = {}
    for node in graph.node:
        if node.op in _STATELESS:
            node.op, inputs, attribute = _STATELESS[node.op]
            del node.input[inputs:]
            node.input[inputs - 2] = node.input[inputs - 1] = constant.name
            if attribute is not None:
                del node.attr[attribute]
        elif node.op in ("CacheDataset", "CacheDatasetV2"):
            sources[node.name] = node.input[0]
    for node in graph.node:
        for index, source in enumerate(node.input):
            while source in sources:
                source = sources[source]
            node.input[index] = source
    return graph


def _from_graph(graph: Any, element_spec: Any) -> Any:
    variant = tf.raw_ops.DatasetFromGraph(graph_def=graph.SerializeToString())
    return tf.data.experimental.from_variant(variant, element_spec)


def _calls_python(graph: Any) -> bool:
    return any(
        node.op in _PYTHON_OPS for function in graph.library.function for node in function.node_def
    )


def _yield_the_same(first: Any, second: Any) -> bool:
    """Tell whether two copies begin alike; what Python code keeps is the only thing they share."""
    heads = []
    for dataset in (first, second):
        with preserve_random_streams():
            heads.append(tf.nest.flatten(list(dataset.take(1).as_numpy_iterator())))
    return all(np.array_equal(a, b) for a, b in zip(*heads, strict=True))
