"""A few examples of each class of a dataset, read without moving the dataset's state."""

import contextlib
import itertools
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.common.arrays import as_array, is_tf_dataset
from keras_saliency.common.held_state import StateWalker, put_back
from keras_saliency.common.preserve import preserve_random_streams
from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.common.validation import check_count
from keras_saliency.data.inputs import Kind
from keras_saliency.data.sampling import Example, Reservoir

_REMEDY = "pass arrays instead, or a second dataset that does not train"
_MOVES = (
    "The dataset yields something else when it is read again, since it keeps a state that can't be "
    "put back (in processes, files, iterators), so reading it may shift what it yields in training"
)
_STATE = StateWalker(
    ("keras", "tensorflow", "jax", "jaxlib", "numpy", "pandas"), with_variables=True
)
_LABELS = {"label", "labels"}  # as the dicts of tensorflow_datasets name them


def draw(
    dataset: Iterable[Any],
    per_class: int,
    seed: int,
    class_count: int | None,
    kind: Kind | None = None,
) -> tuple[list[Any], list[Any] | None]:
    """Choose up to `per_class` examples of each class at random among those that are read.

    Args:
        dataset: Yields `(images, labels, ...)`, or images alone; batches or single examples.
        per_class: How many to keep of each class; of all together where there are no classes.
        seed: Decides the choice.
        class_count: How many classes there are; lets the reading stop early.
        kind: What the images are, where their shape does not tell.

    Returns:
        The images (each a dict or tuple of arrays where there are more inputs) and their labels
        (`None` without labels), class by class.

    Raises:
        TypeError: If the dataset is none, or does not yield images (and labels).
        ValueError: If it yields no examples, or an option is out of its range.
    """
    check_count(per_class, "per_class")
    check_count(seed, "seed", least=0)
    rng = np.random.default_rng(seed)
    reservoir = Reservoir(per_class, rng, class_count)
    # Closed first: what the dataset's threads still draw must not come after the streams are back.
    with (
        preserve_random_streams(),
        contextlib.closing(_elements(dataset, rng, seed)) as elements,
    ):
        for image, label in itertools.chain.from_iterable(_split(e, kind) for e in elements):
            reservoir.add(image, label)
            if reservoir.is_enough():
                break
    if not (drawn := reservoir.examples()):
        raise ValueError("The dataset yields no examples.")
    if class_count is None and reservoir.lacks_classes():
        warn_user(
            f"No class but {reservoir.classes()} was met among the examples that were read from "
            "the dataset: shuffle it (before any `take`), or pass arrays `(images, labels)`."
        )
    images, labels = map(list, zip(*drawn, strict=True))
    return images, None if labels[0] is None else labels


def _split(element: Any, kind: Kind | None) -> list[Example]:
    """Split what a dataset yields at a time into single examples."""
    images, labels = element, None
    if isinstance(element, tuple | list):
        if not element:
            raise TypeError(
                "A dataset must yield `(images, labels)`, or images alone. Received: an empty "
                f"{type(element).__name__}"
            )
        images, labels = element[0], element[1] if len(element) > 1 else None
    if isinstance(labels, dict | tuple):
        raise TypeError(
            "A dataset must yield `(images, labels)`, or images alone, the labels one array, those "
            "of the output that is explained: `dataset.map` can bring it there. "
            f"Received: {type(labels).__name__} of labels"
        )
    if labels is None and isinstance(images, dict) and not _LABELS.isdisjoint(images):
        raise TypeError(
            "A dataset must yield labels beside the images, not among them: a dict is the inputs "
            'of a model. `dataset.map(lambda x: (x["image"], x["label"]))` brings it there. '
            f"Received: a dict of {', '.join(map(repr, images))}"
        )
    labels = None if labels is None else as_array(labels, "labels")
    if isinstance(images, dict | tuple | list):
        return _split_inputs(images, labels)
    images = as_array(images, "images")
    if _is_single(images, labels, kind):
        return [(images, labels)]
    if labels is None:
        return [(image, None) for image in images]
    if labels.shape[:1] != images.shape[:1]:
        raise ValueError(
            "A dataset must yield as many labels as images. "
            f"Received: images.shape={images.shape}, labels.shape={labels.shape}"
        )
    return list(zip(images, labels, strict=True))


def _split_inputs(inputs: Any, labels: Array | None) -> list[Example]:
    """Split several inputs into examples: those of a batch have one length, as have labels."""
    named = inputs if isinstance(inputs, dict) else dict(enumerate(inputs))
    arrays = {name: as_array(part, f"images[{name!r}]") for name, part in named.items()}
    held = [*arrays.values()] if labels is None else [*arrays.values(), labels]
    lengths = {array.shape[:1] for array in held}
    rows: Any = zip(*arrays.values(), strict=True)
    row_labels: Any = itertools.repeat(None) if labels is None else labels
    if len(lengths) != 1 or lengths == {()}:  # a single example
        rows, row_labels = [tuple(arrays.values())], [labels]
    if isinstance(inputs, dict):
        rows = (dict(zip(arrays, row, strict=True)) for row in rows)
    return list(zip(rows, row_labels, strict=False))


def _is_single(image: Array, label: Array | None, kind: Kind | None) -> bool:
    """Tell whether this is one example: three axes may also be those of a grey batch."""
    unlike = label is not None and (label.ndim == 0 or label.shape[:1] != image.shape[:1])
    if kind in ("signal", "volume"):
        return unlike if label is not None else image.ndim < (3 if kind == "signal" else 5)
    return image.ndim < 3 or (image.ndim == 3 and (unlike or image.shape[-1] <= 4))


def is_dataset(value: Any) -> bool:
    """Tell whether a value can be read as a dataset."""
    if isinstance(value, str | bytes | Path | tuple | dict | type):
        return False
    return is_tf_dataset(value) or hasattr(value, "__getitem__") or isinstance(value, Iterable)


def _elements(dataset: Any, rng: np.random.Generator, seed: int) -> Generator[Any, None, None]:
    """Yield what the dataset yields, without its user noticing where that is possible."""
    if not is_dataset(dataset):
        raise TypeError(
            "Expected a tf.data.Dataset, a keras PyDataset or an iterable of batches; for a folder "
            "use `Probes.from_directory(folder)`, for arrays `Probes(images, labels)`. "
            f"Received: {type(dataset).__name__}"
        )
    if is_tf_dataset(dataset):
        # Besides `engine.backend`, the only place that needs TensorFlow, and only where it is used.
        from keras_saliency.data.tf_dataset import stateless_copy

        unnoticed, problem = stateless_copy(dataset, seed)
        if problem is not None:
            warn_user(f"{problem}: {_REMEDY}.")
        yield from unnoticed.as_numpy_iterator()
    elif hasattr(dataset, "__getitem__") and _has_length(dataset):
        count = dataset.num_batches if hasattr(dataset, "num_batches") else len(dataset)
        order = range(sys.maxsize) if count is None else rng.permutation(count).tolist()
        yield from _unnoticed(dataset, lambda: (dataset[i] for i in order))
    elif isinstance(dataset, Iterator):
        warn_user(f"What is read from an iterator will be missing in the training: {_REMEDY}.")
        yield from dataset
    else:
        yield from _unnoticed(dataset, lambda: iter(dataset))


def _has_length(dataset: Any) -> bool:
    return hasattr(dataset, "__len__") or hasattr(dataset, "num_batches")


def _unnoticed(dataset: Any, read: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield what a dataset yields, put back what that moves, and warn if that is not all of it."""
    with _kept(dataset), preserve_random_streams():
        first = _arrays(next(read(), ()))
    with _kept(dataset):
        for index, element in enumerate(read()):
            if index == 0 and not _are_same(first, _arrays(element)):
                warn_user(f"{_MOVES}: {_REMEDY}.")
            yield element


@contextlib.contextmanager
def _kept(dataset: Any) -> Iterator[None]:
    """Put back what a dataset, and what it holds, keep in Python."""
    attributes = getattr(dataset, "__dict__", {})
    undo = _STATE.remember([attributes, dataset])
    if attributes.get("_iterator") is not None:  # of a DataLoader, whose processes live on
        attributes["_iterator"] = None
    try:
        yield
    finally:
        put_back(undo)


def _arrays(element: Any) -> list[Array]:
    """Return copies of the arrays in what a dataset yields, or nothing where they can't be read."""
    if isinstance(element, dict):
        element = list(element.values())
    if isinstance(element, tuple | list) and not all(isinstance(v, int | float) for v in element):
        return [array for part in element for array in _arrays(part)]
    try:
        return [as_array(element, "images")]
    except (TypeError, ValueError):  # which is raised where the element is split
        return []


def _are_same(first: list[Array], second: list[Array]) -> bool:
    if len(first) != len(second):
        return False
    pairs = zip(first, second, strict=True)
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
