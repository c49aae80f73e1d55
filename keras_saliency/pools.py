"""Reading the examples that donors and receivers are taken from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_saliency.arrays import Array, as_array
from keras_saliency.labels import settle_labels
from keras_saliency.masks import look_wrong, make_masks, masks_of_boxes
from keras_saliency.notices import warn_user
from keras_saliency.probes import Probes
from keras_saliency.scaling import Scaling, read_pixels, rgb

RECEIVERS, FEWEST_RECEIVERS = 64, 32
DONORS_NEEDED, MOST_DONORS = 64, 128  # of each class
PICTURES_NEEDED = DONORS_NEEDED + FEWEST_RECEIVERS // 2  # of each of two classes
_DONORS = 512  # of all classes together, where each has what it needs
_CLASSES_AT_MOST = 10
_SPARE = 1.25  # More than needed are read, for those whose mask looks wrong.
_SEED = 0


@dataclass(frozen=True)
class Pool:
    """Examples of each class in random order.

    Attributes:
        pixels: uint8 `(n, height, width, channels)`.
        images: float32, what the model gets of them.
        labels: int64 `(n,)`.
        masks: float32 `(n, height, width)`, or `None`.
        masks_from: `"given"`, `"boxes"`, `"border colours"`, or `None`.
        scaling: From the pixels to the images.
        class_names: The classes in the order of the model's outputs, or `None`.
    """

    pixels: Array
    images: Array
    labels: Array
    masks: Array | None
    masks_from: str | None
    scaling: Scaling
    class_names: tuple[str, ...] | None

    def take(self, index: Array) -> Pool:
        """Some of the examples: indices, or bool `(n,)`."""
        return replace(
            self,
            pixels=self.pixels[index],
            images=self.images[index],
            labels=self.labels[index],
            masks=None if self.masks is None else self.masks[index],
        )

    def split(self) -> tuple[Pool, Pool]:
        """Receivers and donors, none of them both, each class alike."""
        groups = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        smallest = min(map(len, groups))
        fewest = -(-FEWEST_RECEIVERS // len(groups))
        watched = max(1, RECEIVERS // len(groups))
        watched = min(watched, max(fewest, smallest - DONORS_NEEDED), smallest)
        most = most_donors(len(groups))
        receivers = np.concatenate([group[:watched] for group in groups])
        donors = np.concatenate([group[watched : watched + most] for group in groups])
        return self.take(receivers), self.take(donors)

    def without(self, images: Array) -> Pool:
        """The examples that are not among some images."""
        return self.take(~are_among(self.images, images))


def read_pool(
    source: Any,
    preprocess: Callable[[Any], Any] | None,
    make: bool,
    among: Array | None = None,
) -> Pool:
    """Read and choose examples.

    Args:
        source: Arrays `(images, labels)` or `(images, labels, masks or boxes)`, `Probes`, or a
            dataset.
        preprocess: Makes the model's input of images that are no `Probes`.
        make: Whether masks are made where none are given.
        among: The classes that are kept where there are any of these; by default all, but no
            more than are tested.

    Returns:
        The pool, without the examples whose mask is of no use.

    Raises:
        TypeError: If the source is of no known kind.
        ValueError: If it has no labels, or its parts don't fit together.
    """
    probes, masks_from = _read(source, preprocess, among)
    pixels, scaling = read_pixels(probes)
    labels, names = _classes_of(probes.labels), probes.class_names
    pool = Pool(pixels, probes.images, labels, probes.masks, masks_from, scaling, names)
    pool = pool.take(_choose(labels, among, names))
    if pool.masks is not None:
        return _with_useful_masks(pool)
    return _with_made_masks(pool) if make else pool


def most_donors(classes: int) -> int:
    """How many donors of each class are kept."""
    return min(MOST_DONORS, max(DONORS_NEEDED, _DONORS // classes))


def are_among(images: Array, others: Array) -> Array:
    """Which images are, to the bit, among others; bool `(n,)`."""
    known = {image.tobytes() for image in np.asarray(others, np.float32)}
    return np.array([image.tobytes() in known for image in np.asarray(images, np.float32)], bool)


def _read(
    source: Any, preprocess: Callable[[Any], Any] | None, among: Array | None
) -> tuple[Probes, str | None]:
    """Probes of whatever the examples are in, and where their masks are from."""
    if isinstance(source, Probes):
        if preprocess is not None:
            raise ValueError("`Probes` have a `preprocess` of their own; leave this one out.")
        return source, None if source.masks is None else "given"
    if isinstance(source, tuple):
        return _read_arrays(source, preprocess, among)
    if hasattr(source, "__array__") or isinstance(source, list | str):
        raise TypeError(
            "Donors and receivers need labels: pass `(images, labels)`, a dataset, or `Probes`. "
            f"Received: {type(source).__name__}"
        )
    per_class = round(_SPARE * (MOST_DONORS + RECEIVERS // 2))
    return Probes.from_dataset(source, per_class, _SEED, preprocess=preprocess), None


def _read_arrays(
    arrays: tuple[Any, ...], preprocess: Callable[[Any], Any] | None, among: Array | None
) -> tuple[Probes, str | None]:
    """Probes of a part of the arrays: a whole training set would fill the memory."""
    if len(arrays) not in (2, 3):
        raise TypeError(
            "Arrays must be `(images, labels)` or `(images, labels, masks)`. "
            f"Received: {len(arrays)} entries"
        )
    images, *rest = (_uncopied(array) for array in (arrays[0], *arrays[2:]))
    if np.ndim(arrays[1]) > 2:
        raise ValueError(
            "The verdict compares classes of whole pictures, and these labels are maps "
            "(segmentation), where the background is a class itself. "
            f"Received: labels.shape={np.shape(arrays[1])}"
        )
    classes = _classes_of(settle_labels(arrays[1], len(images), None))
    chosen = _choose(classes, among)
    if not rest:
        return Probes(images[chosen], classes[chosen], preprocess=preprocess), None
    if len(rest[0]) != len(images):
        raise ValueError(
            "There must be as many masks or boxes as images. "
            f"Received: images.shape={images.shape}, masks.shape={rest[0].shape}"
        )
    masks, boxes = rest[0][chosen], rest[0].ndim == 2
    if boxes:
        masks = masks_of_boxes(masks, images.shape[1:3])
    probes = Probes(images[chosen], classes[chosen], masks=masks, preprocess=preprocess)
    return probes, "boxes" if boxes else "given"


def _uncopied(value: Any) -> Array:
    return value if isinstance(value, np.ndarray) else as_array(value, "donors")


def _classes_of(labels: Array | None) -> Array:
    """Labels that are classes, at least two."""
    if labels is None or labels.ndim != 1 or labels.dtype.kind != "i":
        kind = "none" if labels is None else f"labels.shape={labels.shape}, {labels.dtype}"
        raise ValueError(
            "The verdict compares classes: every donor and receiver needs one class as its label, "
            f"not several, nor a value (regression). Received: {kind}"
        )
    if len(found := np.unique(labels)) < 2:
        raise ValueError(
            "The verdict compares classes, and there is one only; if this is the beginning of a "
            "dataset that is sorted by class, shuffle it before it is batched, or pass arrays. "
            f"Received: labels, all of them {found.tolist()}"
        )
    return labels


def _choose(labels: Array, among: Array | None, names: tuple[str, ...] | None = None) -> Array:
    """Indices of enough examples of each class, in random order."""
    rng = np.random.default_rng(_SEED)
    found = np.unique(labels)
    if among is not None and np.isin(found, among).any():
        found = found[np.isin(found, among)]
    elif len(found) > _CLASSES_AT_MOST:
        found = _some_classes(labels, rng, names)
    enough = round(_SPARE * (most_donors(len(found)) + RECEIVERS // len(found)))
    return np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label))[:enough] for label in found]
    )


def _some_classes(labels: Array, rng: np.random.Generator, names: tuple[str, ...] | None) -> Array:
    """Draw as many classes as are tested, those with enough examples first, and say which."""
    found, counts = np.unique(labels, return_counts=True)
    order = rng.permutation(len(found))
    first = order[np.argsort(counts[order] < PICTURES_NEEDED, kind="stable")]
    drawn = np.sort(found[first[:_CLASSES_AT_MOST]])
    listed = ", ".join(names[label] if names else str(label) for label in drawn)
    warn_user(
        f"The verdict tests {len(drawn)} of the {len(found)} classes, drawn at random: {listed}. "
        f"More would not fit in the memory and time of an evaluation, as each needs "
        f"{DONORS_NEEDED} donors. To test others, pass their pictures alone."
    )
    return drawn


def _with_useful_masks(pool: Pool) -> Pool:
    """Leave out the examples whose given mask is empty or covers everything."""
    area = pool.masks.mean((1, 2)) if pool.masks is not None else np.zeros(0)
    useful = (area > 0) & (area < 1)
    if len(np.unique(pool.labels[useful])) < 2:
        raise ValueError(
            "Masks must be 1 on the object and 0 elsewhere, and nearly all are empty or cover "
            f"everything: {np.mean(area == 0):.0%} and {np.mean(area == 1):.0%}. Correct them, or "
            "leave them out."
        )
    if not useful.all():
        warn_user(
            f"{np.sum(~useful)} of {len(useful)} masks are empty or cover everything: these "
            "examples are left out."
        )
    return pool.take(useful)


def _with_made_masks(pool: Pool) -> Pool:
    """Make masks, and leave out the examples where they look wrong."""
    display = rgb(pool.pixels)
    masks = make_masks(display)
    wrong = look_wrong(display, masks)
    if wrong.mean() > 0.5:
        warn_user(
            f"{wrong.mean():.0%} of the masks made by a program look wrong, so nothing that needs "
            "masks is tested. Pass masks or boxes: `(images, labels, masks)`."
        )
        return pool
    return replace(pool, masks=masks, masks_from="border colours").take(~wrong)
