"""The experiment behind the verdict: receivers, donors, and the nuisances that are swapped."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.common.validation import check_switch, is_integer
from keras_saliency.data.masks import dilate, with_centre
from keras_saliency.data.probes import Probes
from keras_saliency.data.segmentation import is_segmenter
from keras_saliency.shortcuts.example_pool import (
    DONORS_NEEDED,
    FEWEST_RECEIVERS,
    IMAGES_NEEDED,
    MADE_MASKS,
    Made,
    Pool,
    are_among,
    digests,
    read_pool,
)
from keras_saliency.shortcuts.images import ImageSet
from keras_saliency.shortcuts.nuisances import NUISANCES, Nuisance, keeping, narrowest_first
from keras_saliency.shortcuts.second_inputs import nuisances_of
from keras_saliency.shortcuts.tasks import TASKS
from keras_saliency.shortcuts.tasks.classification import Classification
from keras_saliency.shortcuts.tasks.regression import Regression
from keras_saliency.shortcuts.tasks.segmentation import Segmentation
from keras_saliency.shortcuts.video_swaps import ExampleSet, VideoSet

DEFAULT = (
    *("background", "cast", "texture", "frame", "position", "scale", "mark"),
    *("exposure", "light", "compression", "resolution"),
)
_GIVEN_UP = "can't say, masks made by a program miss the objects; pass yours"
_MOST_GROUNDS = 256  # scenes without an object, of those that are given
_MARGIN = 1 / 16  # of the shorter side, by which a given mask may miss the object
_CURATED = 0.5  # share of donors among the probes, above which they count as hand-picked


class Shortcuts:
    """Receivers and donors, from which the verdict on shortcuts is measured.

    At every evaluation one nuisance at a time (the background, the colour cast, ...) is taken from
    donors and put into receivers. These counterfactual images tell whether the model follows the
    nuisance: see `Verdict`.

    Attributes:
        donors: The donors, an `ImageSet` or `VideoSet`.
        donor_names: Their names, or indices in the data, `(n,)` text.
        receivers: The receivers, likewise; no image is both, unless there are few.
        task: What is compared: classes, labels of which an image may have several, numbers
            (regression), or maps of classes (segmentation).
        classes: The labels that are tested, int `(k,)`.
        class_names: The classes in the order of the model's outputs, or `None`.
        nuisances: The nuisances that are tested, `{name: Nuisance}`.
        not_tested: The reason why each other nuisance is not, `{name: reason}`.
        masks_from: The source of the donors' masks: `"given"`, `"boxes"`, `"border colours"` or
            `"motion"` (both made by a program), the name of a segmentation, or `None`.
        origins: Where receivers are donors too, the image that each receiver is and that each
            donor is, int `(receivers,)` and `(donors,)`; else `None`.
        obstacle: The reason why there can't be a verdict, or `None`; `meet` updates it.
        threshold: The gap above which an alarm may be raised, a difference of probabilities
            between 0 and 1; of a regression, the carry coefficient.
        every: Number of epochs from one evaluation to the next.
        meant: The nuisances that the task rightly uses.
        grounds: Scenes without any object as model inputs, or `None`.
        log_gaps: Whether the gap of each nuisance is added to `logs`.
        components: Number of evaluations from one test of components to the next, or `None`.
    """

    def __init__(
        self,
        donors: Any,
        *,
        receivers: Any = None,
        masks: Made | None = "auto",
        mask_cache: str | Path | None = None,
        nuisances: Sequence[str | Nuisance] = DEFAULT,
        every: int = 1,
        threshold: float = 0.20,
        preprocess: Callable[[Any], Any] | None = None,
        meant: Sequence[str] = (),
        grounds: Any = None,
        log_gaps: bool = False,
        task: str | None = None,
        components: int | None = 5,
    ) -> None:
        """Choose donors and receivers, and check them.

        Args:
            donors: Images of the *training* data with their labels: classes `(n,)`, rows of 0
                and 1 `(n, labels)` where an image may have several labels, numbers `(n,)` or
                `(n, 1)` that a model predicts (regression), or maps of classes `(n, height,
                width)` (segmentation), which are the masks as well. It takes at least 20 images
                of each class or with and without each label, and 32 receivers. Where there are no
                64 of each besides the receivers, these are donors too, but never with themselves.
                Arrays `(images, labels)` or `(images, labels, masks)`, where masks are
                `(n, height, width)` in [0, 1] or boxes `(n, 4)` of left, top, right and bottom
                edge in pixels; a `tf.data.Dataset` or `PyDataset`; or `Probes`. Instead of the
                images, a dict or tuple of all inputs of a model of several, of which each other
                one is a nuisance, too. A part is drawn at random; at most 10 classes or 5 labels
                are tested. Images curated by hand can hide a shortcut.
            receivers: Images whose scores are measured, given like `donors`; by default 64 images
                from the donors' source, which are then no donors.
            masks: How masks are computed where none are given. `"auto"` makes them from the
                colours at an image's border, and of photographs only roughly. Better are a
                function from uint8 images `(batch, height, width, 3)` to masks `(batch, h, w)`
                in [0, 1], a Keras segmentation model, whose class 0 is the background, or
                `"rembg"` (`pip install "keras-saliency[rembg]"`), of which `"rembg:MODEL"` and
                `"rembg:FILE.onnx"` choose the model; see `keras_saliency.data.segmentation`.
                `"motion"` takes what moves in videos, `(n, frames, height, width, channels)`.
                `None` makes none.
            mask_cache: The path of a file `.npz` in which the masks of a function, a model or
                rembg are kept, such as `"logs/masks.npz"`: an image that it holds is not segmented
                again. Delete it after a change of the function or the model's weights.
            nuisances: What is swapped: `"background"`, `"cast"`, `"texture"`, `"frame"`,
                `"position"`, `"scale"`, `"mark"`, `"exposure"`, `"light"`, `"compression"`,
                `"resolution"`; `"object"` is measured without an alarm. Your own is a `Nuisance`.
            every: Number of epochs from one evaluation to the next, from 1.
            threshold: The gap above which an alarm may be raised, a difference of probabilities
                between 0 and 1.
            preprocess: Function from the images to the model's input, as in `Probes`, which bring
                their own.
            meant: The nuisances that the task rightly uses, such as `["position"]`: they are
                measured and shown, and never raise an alarm; what is broader is swapped without
                them, where they need no masks.
            grounds: Scenes without any object: images like those of `donors`, `Probes`, or a folder
                of images. The verdict tells which classes the model takes them for.
            log_gaps: Whether Keras's `logs` get the gap of each nuisance as `shortcut_<nuisance>`,
                besides `shortcut_reliance`; the progress bar shows what is in `logs`.
            task: `"classification"`, `"multi-label"`, `"regression"` or `"segmentation"`; by
                default the labels tell. State `"regression"` where the numbers to predict are
                whole, such as an age, and `"segmentation"` for a dataset.
            components: Number of evaluations from one test of components to the next, from 1, or
                `None` for no test: what the last feature map shows of things that no nuisance was
                listed for is swapped as well (`ComponentGap`). It takes images of one class each,
                with masks.

        Raises:
            TypeError: If donors or receivers are of no known kind, or the threshold is no number.
            ValueError: If the parts don't fit together, or there is nothing to compare.

        Warns:
            UserWarning: If there can be no verdict, masks made by a program look wrong, or not all
                classes are tested.

        Example:
            >>> from keras_saliency.data.synthetic import scenes
            >>> train = scenes(300)
            >>> shortcuts = Shortcuts((train.images, train.labels))
            >>> len(shortcuts.receivers), shortcuts.masks_from
            (64, 'border colours')
        """
        chosen = _resolve(nuisances)
        _check_options(masks, every, threshold, task)
        _check_components(components)
        check_switch(log_gaps, "log_gaps")
        pool = read_pool(donors, preprocess, masks, mask_cache=mask_cache, task=task)
        self._inputs, other_inputs = pool.inputs, nuisances_of(pool.extras)
        chosen |= other_inputs
        _check_meant(meant, chosen)
        self.origins: tuple[Array, Array] | None = None
        if receivers is None:
            watched, given = pool.split()
        else:
            among = np.unique(pool.groups)
            watched = read_pool(receivers, preprocess, masks, among, mask_cache, pool.task.name)
            given = pool.take(~are_among(pool.images, watched.images))
            _check_fit(watched, given)
            watched = watched.take(watched.task.is_received(watched.groups))
        self.threshold, self.every, self.meant = threshold, every, tuple(meant)
        self.log_gaps, self.components = log_gaps, components
        self.class_names, self.masks_from = pool.class_names, pool.masks_from
        self.task = pool.task
        self.classes, self._missing = _enough(pool, given, watched)
        if self._missing is not None and receivers is None:
            watched, given, self._missing = _shared(pool, self.classes, self._missing)
            self.classes = np.unique(pool.task.label_of(watched.groups))
            self.origins = None if self._missing else (watched.origin, given.origin)
        self.obstacle = self._missing
        testable, self.not_tested = _testable(chosen, watched, given, masks)
        self.nuisances = _with_meant(testable, meant)
        self.receivers = _example_set(watched, self.classes)
        self.donors = _example_set(given, self.classes)
        self.donor_names = _of_classes(given, self.classes).names
        _try_out(self.nuisances, self.receivers, self.donors)
        self._scaling, self._digests = pool.scaling, digests(given.images)
        self.grounds = _read_grounds(grounds, preprocess, pool)
        if self.obstacle is not None:
            in_part = not isinstance(donors, Probes | tuple)
            warn_user(
                f"There will be no verdict on shortcuts: {self.obstacle}. About {IMAGES_NEEDED} "
                f"pictures{self.task.each} give donors and receivers enough."
                + in_part
                * " Of a dataset a part is read: pass arrays where classes are many."
            )

    @classmethod
    def of(cls, value: Any) -> "Shortcuts":
        """Return `Shortcuts` as they are, and make them from anything that `donors` may be.

        Args:
            value: `Shortcuts`, or their donors.

        Returns:
            The shortcuts.

        Raises:
            TypeError: If the value is of no known kind.
            ValueError: If its parts don't fit together, or there is nothing to compare.

        Example:
            >>> from keras_saliency.data.synthetic import scenes
            >>> train = scenes(300)
            >>> Shortcuts.of((train.images, train.labels)).threshold
            0.2
        """
        return value if isinstance(value, cls) else cls(value)

    def to_input(self, pixels: Array, extras: Mapping[str | int, Array] | None = None) -> Any:
        """Convert pixels to the model's input.

        Args:
            pixels: Images or videos as displayed, from 0 to 255,
                `(batch, [frames,] height, width, channels)`.
            extras: Of a model of several inputs the others, as in `donors.extras`.

        Returns:
            float32 of the same shape, in the range of the donors as given, after `preprocess`; with
            other inputs a dict or tuple of all, as `donors` were given.

        Example:
            >>> from keras_saliency.data.synthetic import scenes
            >>> train = scenes(300)
            >>> shortcuts = Shortcuts((train.images / 255, train.labels))
            >>> float(shortcuts.to_input(np.full((1, 64, 64, 3), 255.0)).max())
            1.0
        """
        images = self._scaling.to_input(pixels)
        return self._inputs.together(images, [*extras.values()]) if extras else images

    @property
    def component_sets(self) -> tuple[ImageSet, ImageSet] | None:
        """The receivers and donors where components are tested: images of one class, with masks.

        Of few images they are not: components of receivers would be found in these themselves.
        """
        receivers, donors = self.receivers, self.donors
        if not isinstance(receivers, ImageSet) or not isinstance(donors, ImageSet):
            return None
        is_asked = self.components is not None and "background" not in self.meant
        has_masks = receivers.masks is not None and donors.masks is not None
        is_able = isinstance(self.task, Classification) and self.origins is None
        return (receivers, donors) if is_asked and has_masks and is_able else None

    def display(self, pixels: Array) -> Array:
        """Convert pixels to what a person sees.

        Args:
            pixels: uint8 `(..., height, width, channels)`, from 0 to 255.

        Returns:
            uint8 `(..., height, width, 3)`. Of donors of an unknown range, black and white are
            their 1st and 99th percentile.

        Example:
            >>> from keras_saliency.data.synthetic import scenes
            >>> train = scenes(300)
            >>> shortcuts = Shortcuts((train.images, train.labels))
            >>> shortcuts.display(train.images[:1, ..., :1]).shape
            (1, 64, 64, 3)
        """
        return self._scaling.display(pixels)

    def __repr__(self) -> str:
        masks = f"masks: {self.masks_from}" if self.masks_from else "no masks"
        return (
            f"Shortcuts({len(self.receivers)} receivers, {len(self.donors)} donors, {masks}, "
            f"{', '.join(self.nuisances)})"
        )

    def share_among(self, images: Array) -> float:
        """Compute the share of donors that are among some images, such as the probes.

        Args:
            images: Model inputs, float32 `(batch, height, width, channels)`.

        Returns:
            The share of the donors, in [0, 1].

        Example:
            >>> from keras_saliency.data.synthetic import scenes
            >>> train = scenes(300)
            >>> shortcuts = Shortcuts((train.images, train.labels))
            >>> shortcuts.share_among(np.float32(train.images))
            1.0
        """
        known = set(digests(images))
        return float(np.mean([digest in known for digest in self._digests]))

    def meet(self, probes: Array) -> None:
        """Check that the donors are not the probes, which are no sample of the training data.

        Images picked by hand are balanced, unlike the training data: such donors show less of
        what a model relies on, or nothing (`docs/shortcuts.md`). The result is in `obstacle`.

        Args:
            probes: Model inputs, float32 `(batch, height, width, channels)`.

        Warns:
            UserWarning: If most donors are among them; `obstacle` is then set.

        Example:
            >>> from keras_saliency.data.synthetic import scenes
            >>> train = scenes(300)
            >>> shortcuts = Shortcuts((train.images, train.labels))
            >>> shortcuts.meet(np.float32(train.images[:8]))
            >>> shortcuts.obstacle is None
            True
        """
        self.obstacle = self._missing
        if self.obstacle is None and (share := self.share_among(probes)) > _CURATED:
            self.obstacle = "donors are not from the training data"
            warn_user(
                f"There will be no verdict on shortcuts: {share:.0%} of the donors are the "
                "pictured probes, and images picked by hand hide what the training data have in "
                "common. Pass the training data, shortcuts=(images, labels), and only a few of "
                "them as probes."
            )


def _resolve(nuisances: Sequence[str | Nuisance]) -> dict[str, Nuisance]:
    """Look up the nuisances that are given by name."""
    listed = isinstance(nuisances, Iterable) and not isinstance(nuisances, str)
    given: list[Any] = list(nuisances) if listed else []
    items = [NUISANCES.get(item) if isinstance(item, str) else item for item in given]
    if not items or not all(isinstance(item, Nuisance) for item in items):
        raise ValueError(
            f"`nuisances` must be a list of some of {tuple(NUISANCES)}, or of `Nuisance`. "
            f"Received: nuisances={nuisances!r}"
        )
    resolved = {item.name: item for item in items if item is not None}
    if taken := [name for name, item in resolved.items() if NUISANCES.get(name, item) is not item]:
        raise ValueError(
            "A `Nuisance` must have a name of its own, none of "
            f"{tuple(NUISANCES)}. Received: name={taken[0]!r}"
        )
    return resolved


def _read_grounds(source: Any, preprocess: Callable[[Any], Any] | None, pool: Pool) -> Array | None:
    """Read scenes without an object as model inputs, some of them where they are many."""
    if source is None:
        return None
    if isinstance(pool.task, Segmentation):
        raise ValueError(
            "`grounds` tells which classes scenes without an object are taken for, and the labels "
            "are maps (segmentation), whose backgrounds are such scenes. Leave it out."
        )
    if pool.extras:
        raise ValueError(
            "`grounds` are images alone, and the model takes more: leave it out. Received: inputs "
            f"{', '.join(map(repr, pool.extras))} beside the images"
        )
    if isinstance(pool.task, Regression):
        raise ValueError(
            "`grounds` tells which classes scenes without an object are taken for, and the labels "
            "are numbers (regression). Leave it out."
        )
    shape = pool.images.shape[1:]
    if isinstance(source, str | Path):
        mode = "grayscale" if shape[-1] == 1 else "rgb"
        scenes = Probes.from_directory(source, image_size=shape[-3:-1], color_mode=mode)
        images = pool.scaling.to_input(scenes.images)
    else:
        images = (
            source if isinstance(source, Probes) else Probes(source, preprocess=preprocess)
        ).images
    if images.shape[1:] != shape:
        raise ValueError(
            f"`grounds` must be images of the donors' shape, {shape}. "
            f"Received: images of shape {images.shape[1:]}"
        )
    return images[np.unique(np.linspace(0, len(images) - 1, _MOST_GROUNDS).astype(int))]


def _check_meant(meant: Sequence[str], nuisances: Iterable[str]) -> None:
    """Refuse what is meant and not tested, or everything."""
    if isinstance(meant, str) or not set(meant) < set(nuisances):
        raise ValueError(
            f"`meant` must be a list of some, not all, of the nuisances {tuple(nuisances)}. "
            f"Received: meant={meant!r}"
        )


def _with_meant(nuisances: dict[str, Nuisance], meant: Sequence[str]) -> dict[str, Nuisance]:
    """Let what is meant raise no alarm, and leave it as it is where broader things are swapped."""
    order, result = narrowest_first(nuisances), {}
    for name, nuisance in nuisances.items():
        swap = nuisance.twins
        for narrow in order[: order.index(name)] if name not in meant else ():
            if narrow in meant and "masks" not in nuisances[narrow].needs:
                swap = keeping(nuisances[narrow].twins, swap)
        alarms = nuisance.alarms and name not in meant
        result[name] = replace(nuisance, twins=swap, alarms=alarms)
    return result


def _check_options(masks: Any, every: int, threshold: float, task: str | None) -> None:
    """Refuse options that are out of range."""
    names = [known.name for known in TASKS]
    if task is not None and task not in names:
        raise ValueError(f"`task` must be one of {names}, or None. Received: task={task!r}")
    is_text = isinstance(masks, str)
    if not (masks is None or (is_text and masks in ("auto", "motion")) or is_segmenter(masks)):
        given = repr(masks) if is_text else type(masks).__name__
        raise ValueError(
            "`masks` must be 'auto', 'motion' (of videos), 'rembg', a function of images, a Keras "
            "segmentation model or None; masks or boxes of your own go with the donors, `(images, "
            f"labels, masks)`. Received: masks={given}"
        )
    if not is_integer(every) or every < 1:
        raise ValueError(f"`every` must count epochs, from 1. Received: every={every!r}")
    is_number = isinstance(threshold, Real) and not isinstance(threshold, bool)
    if not is_number or not 0 < threshold < 1:
        raise (ValueError if is_number else TypeError)(
            "`threshold` must be a number between 0 and 1, a difference of probabilities. "
            f"Received: threshold={threshold!r}"
        )


def _check_components(components: int | None) -> None:
    """Refuse what does not count evaluations."""
    if components is not None and (not is_integer(components) or components < 1):
        raise ValueError(
            "`components` must count evaluations, from 1, or be None. "
            f"Received: components={components!r}"
        )


def _check_fit(receivers: Pool, donors: Pool) -> None:
    """Refuse receivers that do not fit the donors."""
    rules: dict[str, Callable[[Pool], Any]] = {
        "be of one size": lambda pool: pool.pixels.shape[1:],
        "have labels of one kind (classes, rows of 0 and 1 of one length, numbers)": lambda pool: (
            pool.task
        ),
        "have one range of values and one `preprocess`": lambda pool: pool.scaling,
        "have the same inputs beside the images, of one shape": lambda pool: {
            name: rows.shape[1:] for name, rows in pool.extras.items()
        },
    }
    for rule, value in rules.items():
        if value(receivers) != value(donors):
            raise ValueError(
                f"Receivers and donors must {rule}. Received: {value(receivers)} for receivers, "
                f"{value(donors)} for donors"
            )
    if len(receivers.groups) < FEWEST_RECEIVERS:
        warn_user(
            f"{len(receivers.groups)} receivers are few: the verdict is reliable from "
            f"{FEWEST_RECEIVERS} on."
        )


def _enough(pool: Pool, donors: Pool, receivers: Pool) -> tuple[Array, str | None]:
    """The classes with enough donors, and what is missing where these are too few."""
    task, least, each = pool.task, pool.task.fewest, pool.task.each
    shared = np.intersect1d(pool.groups, receivers.groups)
    if len(shared) < least:
        return shared, f"donors and receivers share fewer than {task.fewest_words}"
    counts = np.array([donors.count(label) for label in shared])
    classes = shared[counts >= DONORS_NEEDED]
    if len(classes) >= least:
        return classes, None
    if most := np.sort(counts)[-least]:
        return shared, f"{most} donors{each}, {DONORS_NEEDED} needed"
    pictures = np.sort([pool.count(label) for label in shared])[-least]
    return shared, f"{pictures} pictures{each}, about {IMAGES_NEEDED} needed"


def _shared(pool: Pool, labels: Array, missing: str) -> tuple[Pool, Pool, str | None]:
    """Receivers that are donors too, the donors, and what is missing where these are too few."""
    counts = np.array([pool.count(label) for label in labels])
    if np.sum(counts >= pool.fewest) < pool.task.fewest:
        watched, given = pool.split()
        if len(labels) >= pool.task.fewest:
            most = np.sort(counts)[-pool.task.fewest]
            missing = f"{most} pictures{pool.task.each}, {pool.fewest} needed"
        return watched, given, missing
    kept = labels[counts >= pool.fewest]
    return *pool.take(np.isin(pool.task.label_of(pool.groups), kept)).shared(), None


def _testable(
    nuisances: dict[str, Nuisance], receivers: Pool, donors: Pool, make: Made | None
) -> tuple[dict[str, Nuisance], dict[str, str]]:
    """The nuisances that can be tested, and why the others can't."""
    missing = {"spots": "no spots in videos"} if donors.pixels.ndim == 5 else {}
    if receivers.masks is None or donors.masks is None:
        given_up = make == "auto" and donors.pixels.ndim == 4
        missing["masks"] = _GIVEN_UP if given_up else "no masks"
    if not donors.scaling.true_zero:
        unknown = "it is not known which value is black: pass raw images, `preprocess=`"
        missing["colour"] = missing["black"] = unknown
    if donors.pixels.shape[-1] != 3:
        missing["colour"] = f"{donors.pixels.shape[-1]} channels instead of three"
    reasons = {
        name: missing[need]
        for name, nuisance in nuisances.items()
        for need in set(nuisance.needs) & set(missing)
    }
    stays = donors.task.not_swapped
    reasons |= {name: stays[name] for name in nuisances if name in stays}
    tested = {name: item for name, item in nuisances.items() if name not in reasons}
    if not tested:
        raise ValueError(f"Nothing can be tested: {reasons}. Pass `(images, labels, masks)`.")
    return tested, reasons


def _try_out(nuisances: dict[str, Nuisance], receivers: ExampleSet, donors: ExampleSet) -> None:
    """Compose one image with each nuisance of the user, so that its errors show early."""
    # Spots are located when there is a model.
    own = [n for n in nuisances.values() if n.name not in NUISANCES and "spots" not in n.needs]
    for nuisance in own if len(receivers) and len(donors) else ():
        first = np.array([0])
        images = np.asarray(receivers.counterfactuals(nuisance.twins, donors, first, first).pixels)
        expected = (1, *receivers.pixels.shape[1:])
        if images.shape != expected or not np.isfinite(images).all():
            raise ValueError(
                f"The function of nuisance {nuisance.name!r} must return finite images of shape "
                f"(pairs, height, width, channels), for one pair {expected}. Received: shape "
                f"{images.shape}{'' if images.shape != expected else ', not all finite'}"
            )


def _example_set(pool: Pool, classes: Array) -> ExampleSet:
    kept = _of_classes(pool, classes)
    if kept.pixels.ndim == 5:
        return VideoSet(kept.pixels, kept.labels, kept.masks, kept.extras)
    masks = kept.masks, kept.tight, _covering(kept)
    return ImageSet(kept.pixels, kept.labels, *masks, kept.extras)


def _of_classes(pool: Pool, classes: Array) -> Pool:
    return pool.take(np.isin(pool.task.label_of(pool.groups), classes))


def _covering(pool: Pool) -> Array | None:
    """Masks that cover whole objects, where the pool's own may miss a part, as boxes do not."""
    if pool.masks is None or not len(pool.masks) or pool.masks_from == "boxes":
        return None
    return with_centre(pool.masks) if pool.masks_from in MADE_MASKS else dilate(pool.masks, _MARGIN)
