"""The pool of examples from which receivers and donors are drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.common.arrays import as_array
from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.data.dataset_reader import draw, is_dataset
from keras_saliency.data.inputs import ModelInputs, stack_inputs
from keras_saliency.data.labels import as_labels
from keras_saliency.data.masks import find_objects, masks_of_boxes
from keras_saliency.data.normalization import Scaling, read_pixels
from keras_saliency.data.probes import Probes
from keras_saliency.data.segmentation import is_segmenter, segment
from keras_saliency.data.video.motion_masks import bridged, masks_of
from keras_saliency.shortcuts.second_inputs import split_arrays
from keras_saliency.shortcuts.tasks import task_of
from keras_saliency.shortcuts.tasks.segmentation import Segmentation, as_label_maps
from keras_saliency.shortcuts.tasks.task import Task

RECEIVERS, FEWEST_RECEIVERS = 64, 32
DONORS_NEEDED, MOST_DONORS = 64, 128  # of each class
IMAGES_NEEDED = DONORS_NEEDED + FEWEST_RECEIVERS // 2  # of each of two classes
FEWEST_IMAGES = 20  # of each class, where receivers are donors too
_DONORS = 512  # of all classes together, where each has what it needs
_MOST_GROUPS = 10  # whose donors fit in the memory and time of an evaluation
_SPARE = 1.25  # More are read than needed, as some masks look wrong.
_MOST_MOVING = 0.5  # of a video: where more seems to move, it is the scene
_SEED = 0

Made = str | Callable[[Array], Any]  # "auto", "motion", or what `segment` takes
MADE_MASKS = "border colours", "motion"  # the sources of masks made by a program
_OF_EXAMPLES = "pixels", "images", "groups", "labels", "origin", "names", "masks", "tight"


@dataclass(frozen=True)
class Pool:
    """Examples of each class in random order.

    Attributes:
        pixels: uint8 `(n, height, width, channels)`, of videos `(n, frames, ...)`.
        images: float32, the model's inputs of these.
        groups: int64 `(n,)`: what each is drawn as, such as its class: see `Task.groups`. An image
            that is in several groups is listed as often.
        labels: `(n,)`: what they are compared by: see `Task.values`.
        masks: float32, of the pixels' shape without the channels, or `None`.
        masks_from: `"given"`, `"boxes"`, `"border colours"`, `"motion"`, the name of a
            segmentation, or `None`.
        scaling: Converts the pixels to the images.
        class_names: The classes in the order of the model's outputs, or `None`.
        origin: int64 `(n,)`, the index of each image in the source.
        names: text `(n,)`: names that the source gives, or its indices.
        task: What is compared.
        inputs: In which form the model gets its inputs.
        extras: Its inputs beside the images by name or position, `(n, ...)` each.
        tight: Like `masks`, but of small objects with less background; or `None`.
    """

    pixels: Array
    images: Array
    groups: Array
    labels: Array
    masks: Array | None
    masks_from: str | None
    scaling: Scaling
    class_names: tuple[str, ...] | None
    origin: Array
    names: Array
    task: Task
    inputs: ModelInputs
    extras: Mapping[str | int, Array]
    tight: Array | None = None

    def take(self, index: Array) -> "Pool":
        """Select some of the examples by indices, or by bool `(n,)`."""
        values = {name: getattr(self, name) for name in _OF_EXAMPLES}
        chosen = {name: value[index] for name, value in values.items() if value is not None}
        extras = {name: rows[index] for name, rows in self.extras.items()}
        return replace(self, **chosen, extras=extras)

    def split(self) -> "tuple[Pool, Pool]":
        """Split into receivers and donors, equally in each class."""
        groups = {group: np.flatnonzero(self.groups == group) for group in np.unique(self.groups)}
        tested = [index for group, index in groups.items() if self.task.is_received(group)]
        smallest = min(map(len, tested))
        fewest = -(-FEWEST_RECEIVERS // len(tested))
        wanted = max(1, RECEIVERS // len(tested))
        watched = min(wanted, max(fewest, smallest - DONORS_NEEDED), smallest)
        most = most_donors(len(groups), self.pixels.ndim == 5)
        receivers = np.concatenate([index[:watched] for index in tested])
        free = ~np.isin(self.origin, self.origin[receivers])
        donors = np.concatenate([index[free[index]][:most] for index in groups.values()])
        return self.take(receivers), self.take(donors)

    def shared(self) -> "tuple[Pool, Pool]":
        """Return receivers, equally many of each class, and donors, of which they are a part."""
        groups = {group: np.flatnonzero(self.groups == group) for group in np.unique(self.groups)}
        tested = [index for group, index in groups.items() if self.task.is_received(group)]
        watched = min(RECEIVERS // len(tested), *map(len, tested), RECEIVERS)
        receivers = np.concatenate([index[:watched] for index in tested])
        most = most_donors(len(groups), self.pixels.ndim == 5)
        donors = np.concatenate([index[:most] for index in groups.values()])
        return self.take(receivers), self.take(donors)

    @property
    def fewest(self) -> int:
        """How many images each class must have where receivers are donors too."""
        tested = np.unique(self.groups)[self.task.is_received(np.unique(self.groups))]
        return max(FEWEST_IMAGES, -(-FEWEST_RECEIVERS // max(len(tested), 1)))

    def count(self, label: int) -> int:
        """Count the examples in the smallest of a label's groups."""
        return min(int(np.sum(self.groups == group)) for group in self.task.sides(label))


def read_pool(
    source: Any,
    preprocess: Callable[[Any], Any] | None,
    make: Made | None,
    among: Array | None = None,
    mask_cache: str | Path | None = None,
    task: str | None = None,
) -> Pool:
    """Read examples and draw some of each class.

    Args:
        source: Arrays `(images, labels)` or `(images, labels, masks or boxes)`, `Probes`, or a
            dataset.
        preprocess: Function from images that are no `Probes` to the model's input.
        make: How masks are made where none are given: from colours, from motion in videos, or by
            a segmentation.
        among: The groups that are kept, where there are any of these; by default as many as can
            be tested.
        mask_cache: A file that keeps the masks of a segmentation.
        task: The name of the task; by default the labels tell.

    Returns:
        The pool, without the examples whose mask is unusable.

    Raises:
        TypeError: If the source is of no known kind.
        ValueError: If it has no labels, or its parts don't fit together.
    """
    probes, known, compared, masks_from, among = _read(source, preprocess, among, task)
    pixels, scaling = read_pixels(probes)
    chosen, groups = _choose(compared, known, among, probes.class_names, probes.kind == "volume")
    masks = compared.masks(known[chosen], groups)
    if masks is not None:
        masks_from = "given"
    elif probes.masks is not None:
        masks = probes.masks[chosen]
    pool = Pool(
        pixels=pixels[chosen],
        images=probes.images[chosen],
        groups=groups,
        labels=compared.values(known[chosen], groups),
        masks=masks,
        masks_from=masks_from,
        scaling=scaling,
        class_names=probes.class_names,
        origin=chosen,
        names=np.array(probes.names)[chosen],
        task=compared,
        inputs=probes.model_inputs,
        extras={name: rows[chosen] for name, rows in probes.extras.items()},
    )
    if make == "motion" and pool.pixels.ndim != 5:
        raise ValueError(
            "masks='motion' is for videos, (batch, frames, height, width, channels). Received: "
            f"images of shape {pool.images.shape}"
        )
    if pool.masks is None and is_segmenter(make):
        masks, source = segment(make, scaling.display(pool.pixels), mask_cache)
        pool = replace(pool, masks=masks, masks_from=source)
    if pool.masks is not None:
        return _with_useful_masks(pool)
    if pool.pixels.ndim == 5 and make == "auto":
        warn_user(
            "No masks are made of volumes, and nothing that needs masks is tested. For videos pass "
            "masks='motion', which takes what moves."
        )
        return pool
    return _with_made_masks(pool, make) if make else pool


def most_donors(classes: int, videos: bool = False) -> int:
    """The number of donors of each class: of videos, which fill the memory, no more than needed."""
    return DONORS_NEEDED if videos else min(MOST_DONORS, max(DONORS_NEEDED, _DONORS // classes))


def are_among(images: Array, others: Array) -> Array:
    """Which images are, to the bit, among others; bool `(n,)`."""
    known = set(digests(others))
    return np.array([digest in known for digest in digests(images)], bool)


def digests(images: Array) -> list[bytes]:
    """Digests of model inputs, which tell equal images without keeping them."""
    given = (np.ascontiguousarray(image, np.float32) for image in np.asarray(images))
    return [blake2b(image.data, digest_size=16).digest() for image in given]


_Read = tuple[Probes, Array, Task, str | None, Array | None]


def _read(
    source: Any, preprocess: Callable[[Any], Any] | None, among: Array | None, task: str | None
) -> _Read:
    """Read a source as probes; return these, labels, task, `masks_from` and groups to keep."""
    if isinstance(source, Probes):
        if preprocess is not None:
            raise ValueError("`Probes` have a `preprocess` of their own; leave this one out.")
        masks_from = None if source.masks is None else "given"
        return source, *_labels_of(source.labels, task), masks_from, among
    if isinstance(source, tuple):
        return _read_arrays(source, preprocess, among, task)
    if hasattr(source, "__array__") or isinstance(source, list) or not is_dataset(source):
        raise TypeError(
            "Donors and receivers need labels: pass `(images, labels)`, a dataset, or `Probes`. "
            f"Received: {type(source).__name__}"
        )
    per_class = round(_SPARE * (MOST_DONORS + RECEIVERS // 2))
    if task == Segmentation.name:
        examples, maps = draw(source, _MOST_GROUPS * per_class // 2, _SEED, None)
        return _read_arrays((stack_inputs(examples), maps), preprocess, among, task)
    probes = Probes.from_dataset(source, per_class, _SEED, preprocess=preprocess)
    return probes, *_labels_of(probes.labels, task), None, among


def _read_arrays(
    arrays: tuple[Any, ...],
    preprocess: Callable[[Any], Any] | None,
    among: Array | None,
    name: str | None,
) -> _Read:
    """Read a part of the arrays: a whole training set would fill the memory."""
    if len(arrays) not in (2, 3):
        raise TypeError(
            "Arrays must be `(images, labels)` or `(images, labels, masks)`. "
            f"Received: {len(arrays)} entries"
        )
    given, extras, form = split_arrays(arrays[0])
    images, *rest = (_uncopied(array) for array in (given, *arrays[2:]))
    if images.ndim == 0 or not len(images):
        raise ValueError(
            "Donors and receivers must be images. Received: "
            f"images.shape={images.shape}, type {type(arrays[0]).__name__}"
        )
    labels, task = _labels_of(_labels_or_maps(arrays[1], images, name), name)
    if isinstance(task, Segmentation) and rest:
        raise ValueError(
            "Labels that are maps (segmentation) are the masks: pass `(images, label_maps)`. "
            f"Received: masks.shape={rest[0].shape} beside them"
        )
    chosen, groups = _choose(task, labels, among, videos=images.ndim == 5)
    once = np.unique(chosen)
    chosen = once if len(once) < len(chosen) else chosen  # Groups may overlap.
    labels, among = labels[chosen], np.unique(groups)
    inputs = form.together(images[chosen], [rows[chosen] for rows in extras])
    names = [f"image_{index}" for index in chosen]
    if not rest:
        return Probes(inputs, names=names, preprocess=preprocess), labels, task, None, among
    if len(rest[0]) != len(images):
        raise ValueError(
            "There must be as many masks or boxes as images. "
            f"Received: images.shape={images.shape}, masks.shape={rest[0].shape}"
        )
    masks, boxes = rest[0][chosen], rest[0].ndim == 2
    if boxes:
        masks = masks_of_boxes(masks, images.shape[1:3])
    probes = Probes(inputs, masks=masks, names=names, preprocess=preprocess)
    return probes, labels, task, "boxes" if boxes else "given", among


def _uncopied(value: Any) -> Array:
    return value if isinstance(value, np.ndarray) else as_array(value, "donors")


def _labels_or_maps(labels: Any, images: Array, name: str | None) -> Array | None:
    """Check labels of whole images, or maps of them."""
    if name == Segmentation.name or np.ndim(labels) > 2:
        return as_label_maps(labels, images)
    return as_labels(labels, len(images), None)


def _labels_of(labels: Array | None, name: str | None) -> tuple[Array, Task]:
    """Check labels; return them with their task."""
    task = task_of(labels, name)
    return np.asarray(labels), task


def _choose(
    task: Task,
    labels: Array,
    among: Array | None,
    names: tuple[str, ...] | None = None,
    videos: bool = False,
) -> tuple[Array, Array]:
    """Draw examples of each group in random order; return their indices and groups."""
    rng = np.random.default_rng(_SEED)
    groups = task.groups(labels)
    if among is not None and np.isin(list(groups), among).any():
        groups = {group: index for group, index in groups.items() if group in among}
    elif len(groups) > _MOST_GROUPS:
        groups = _draw_labels(task, groups, rng, names)
    tested = int(task.is_received(np.array(list(groups))).sum())
    enough = round(_SPARE * (most_donors(len(groups), videos) + RECEIVERS // max(tested, 1)))
    chosen = {group: rng.permutation(index)[:enough] for group, index in groups.items()}
    drawn_as = np.repeat(list(chosen), [len(index) for index in chosen.values()])
    return np.concatenate(list(chosen.values())), drawn_as


def _draw_labels(
    task: Task,
    groups: dict[int, Array],
    rng: np.random.Generator,
    names: tuple[str, ...] | None,
) -> dict[int, Array]:
    """Draw the labels that are tested, those with enough images first; return their groups."""
    labels = np.unique(task.label_of(np.array(list(groups))))
    sizes = np.array([min(len(groups[side]) for side in task.sides(k)) for k in labels])
    order = rng.permutation(len(labels))
    first = labels[order[np.argsort(sizes[order] < IMAGES_NEEDED, kind="stable")]]
    drawn = np.sort(first[: _MOST_GROUPS * len(labels) // len(groups)])
    listed = ", ".join(names[label] if names else str(label) for label in drawn)
    if (sizes >= FEWEST_IMAGES).any():  # else there is no verdict, and this would promise one
        warn_user(
            f"The verdict tests {len(drawn)} of the {len(labels)} {task.labels_word}, drawn at "
            f"random: {listed}. More would not fit in the memory and time of an evaluation. To "
            "test others, pass their pictures alone."
        )
    return {side: groups[side] for side in sorted(s for k in drawn for s in task.sides(k))}


def _with_useful_masks(pool: Pool) -> Pool:
    """Leave out the examples whose given mask is empty or covers everything."""
    area = np.zeros(0) if pool.masks is None else pool.masks.reshape(len(pool.masks), -1).mean(1)
    useful = (area > 0) & (area < 1)
    least = min(2, len(np.unique(pool.groups)))
    if len(np.unique(pool.groups[useful])) < least:
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


def _with_made_masks(pool: Pool, make: Made) -> Pool:
    """Make masks, and leave out the examples where they look wrong."""
    display, tight = pool.scaling.display(pool.pixels), None
    if make == "motion":
        masks = np.stack([bridged(mask) for mask in masks_of(display)])
        area = masks.mean((1, 2, 3))
        wrong = (area == 0) | (area > _MOST_MOVING)
        reason = (
            f"In {wrong.mean():.0%} of the videos nothing was found to move, or most of the picture"
        )
        source, expected = "motion", "masks: `(videos, labels, masks)`"
    else:
        masks, tight, wrong = find_objects(display)
        reason = f"{wrong.mean():.0%} of the masks made by a program look wrong"
        source, expected = "border colours", "masks or boxes: `(images, labels, masks)`"
    if wrong.mean() > 0.5:
        warn_user(f"{reason}, so nothing that needs masks is tested. Pass {expected}.")
        return pool
    return replace(pool, masks=masks, tight=tight, masks_from=source).take(~wrong)
