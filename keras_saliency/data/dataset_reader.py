"""A few examples of each class out of a dataset, leaving the dataset as it was."""

from __future__ import annotations

import contextlib
import copy
import itertools
import random
import sys
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.common.arrays import as_array, is_tf_dataset
from keras_saliency.common.random_state import random_streams_kept
from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.common.validation import check_count
from keras_saliency.data.inputs import Kind
from keras_saliency.data.sampling import MEND, Example, Sample

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
    """
    check_count(per_class, "per_class")
    check_count(seed, "seed", least=0)
    rng = np.random.default_rng(seed)
    sample = Sample(per_class, rng, class_count)
    # Closed first: what the dataset's threads still draw must not come after the streams are back.
    with (
        random_streams_kept(),
        contextlib.closing(_examples(dataset, rng, seed, kind)) as examples,
    ):
        for image, label in examples:
            sample.add(image, label)
            if sample.is_enough():
                break
    drawn = sample.examples()
    if not drawn:
        raise ValueError("The dataset yields no examples.")
    if class_count is None and sample.lacks_classes():
        warn_user(
            f"No class but {sample.classes()} was met among the examples that were read from the "
            "dataset: shuffle it (before any `take`), or pass arrays `(images, labels)`."
        )
    labels = [label for _, label in drawn]
    return [image for image, _ in drawn], None if labels[0] is None else labels


def _examples(
    dataset: Any, rng: np.random.Generator, seed: int, kind: Kind | None
) -> Generator[Example, None, None]:
    for element in _elements(dataset, rng, seed):
        yield from _split(element, kind)


def _split(element: Any, kind: Kind | None) -> list[Example]:
    """The single examples of what a dataset yields at a time."""
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
            "of the output that is looked at: `dataset.map` can bring it there. "
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
    if labels.ndim == 0 or len(labels) != len(images):
        raise ValueError(
            "A dataset must yield as many labels as images. "
            f"Received: images.shape={images.shape}, labels.shape={labels.shape}"
        )
    return list(zip(images, labels, strict=True))


def _split_inputs(inputs: Any, labels: Array | None) -> list[Example]:
    """The single examples of several inputs: those of a batch have one length, as have labels."""
    named = inputs if isinstance(inputs, dict) else dict(enumerate(inputs))
    arrays = {name: as_array(part, f"images[{name!r}]") for name, part in named.items()}
    lengths = {
        array.shape[:1] for array in (*arrays.values(), *([] if labels is None else [labels]))
    }
    batched = len(lengths) == 1 and lengths != {()}
    count = next(iter(lengths))[0] if batched else 1
    rows = [
        {k: array[i] if batched else array for k, array in arrays.items()} for i in range(count)
    ]
    images = rows if isinstance(inputs, dict) else [tuple(row.values()) for row in rows]
    if labels is None:
        return [(image, None) for image in images]
    return list(zip(images, labels if batched else [labels], strict=True))


def _is_single(image: Array, label: Array | None, kind: Kind | None) -> bool:
    """Whether this is one example: three axes may be (height, width, channels) or a grey batch."""
    if kind in ("signal", "volume"):
        if label is not None:
            return label.ndim == 0 or len(label) != len(image)
        return image.ndim < (3 if kind == "signal" else 5)
    if image.ndim != 3:
        return image.ndim < 3
    if label is None or (label.ndim > 0 and len(label) == len(image)):
        return image.shape[-1] <= 4
    return True


def is_dataset(value: Any) -> bool:
    """Whether it can be read as a dataset."""
    if isinstance(value, str | bytes | Path | tuple | dict | type):
        return False
    return is_tf_dataset(value) or hasattr(value, "__getitem__") or isinstance(value, Iterable)


def _elements(dataset: Any, rng: np.random.Generator, seed: int) -> Iterator[Any]:
    """What the dataset yields, read so that its user does not notice where that can be done."""
    if isinstance(dataset, str | bytes | Path | tuple):
        raise TypeError(
            "Expected a tf.data.Dataset, a keras PyDataset or an iterable of batches; for a folder "
            "use `Probes.from_directory(folder)`, for arrays `Probes(images, labels)`. "
            f"Received: {type(dataset).__name__}"
        )
    if is_tf_dataset(dataset):
        # The one place besides `autodiff` that needs TensorFlow, and only where it is in use.
        from keras_saliency.data.tf_dataset import stateless_copy

        yield from stateless_copy(dataset, seed).as_numpy_iterator()
    elif hasattr(dataset, "__getitem__") and not isinstance(dataset, dict):
        with _seeds_kept(dataset):
            yield from _indexed(_with_own_generators(dataset), rng)
    elif isinstance(dataset, Iterator):
        warn_user(f"What is read from an iterator will be missing in the training: {MEND}.")
        yield from dataset
    elif isinstance(dataset, Iterable) and not isinstance(dataset, dict):
        with _generators_kept(dataset):
            yield from dataset
    else:
        raise TypeError(
            "Expected a tf.data.Dataset, a keras PyDataset or an iterable of batches. "
            f"Received: {type(dataset).__name__}"
        )


def _indexed(dataset: Any, rng: np.random.Generator) -> Iterator[Any]:
    """The batches of a PyDataset (or a list) in an order of our own."""
    count = dataset.num_batches if hasattr(dataset, "num_batches") else len(dataset)
    for index in itertools.count() if count is None else rng.permutation(count):
        yield dataset[int(index)]


def _with_own_generators(dataset: Any) -> Any:
    """A shallow copy whose random generators are its own: augmentation draws from these."""
    kinds = (np.random.Generator, np.random.RandomState, random.Random)
    twin = copy.copy(dataset)
    for name, value in getattr(dataset, "__dict__", {}).items():
        if isinstance(value, kinds):
            setattr(twin, name, copy.deepcopy(value))
    return twin


@contextlib.contextmanager
def _seeds_kept(dataset: Any) -> Iterator[None]:
    """Put back the seeds of Keras layers that a dataset holds: augmentation draws from these."""
    keras: Any = sys.modules.get("keras")
    held = list(getattr(dataset, "__dict__", {}).values()) if keras else []
    layers = [one for one in held if isinstance(one, keras.layers.Layer)]
    seeds = [v for layer in layers for v in layer.non_trainable_variables]
    before = [keras.ops.convert_to_numpy(v) for v in seeds]
    try:
        yield
    finally:
        for variable, value in zip(seeds, before, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def _generators_kept(loader: Any) -> Iterator[None]:
    """Put back the generators that a torch `DataLoader` and its sampler were given."""
    holders: tuple[Any, Any] = (loader, getattr(loader, "sampler", None))
    found = [holder.generator for holder in holders if hasattr(holder, "generator")]
    states = [(one, one.get_state()) for one in found if hasattr(one, "get_state")]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)
