"""The experiment behind the verdict: receivers, donors, and the nuisances that are swapped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.common.validation import is_integer
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
    read_pool,
)
from keras_saliency.shortcuts.images import ImageSet
from keras_saliency.shortcuts.nuisances import NUISANCES, Nuisance, keeping, narrowest_first
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
        receivers: The receivers, likewise; no image is both.
        classes: The labels that are tested, int `(k,)`.
        label_count: The number of labels where an image may have several, or `None`. A receiver
            then stands for one label that it has, and a donor for one that it has or lacks, which
            is written `label_count + label`.
        class_names: The classes in the order of the model's outputs, or `None`.
        nuisances: The nuisances that are tested, `{name: Nuisance}`.
        not_tested: The reason why each other nuisance is not, `{name: reason}`.
        masks_from: The source of the donors' masks: `"given"`, `"boxes"`, `"border colours"` or
            `"motion"` (both made by a program), the name of a segmentation, or `None`.
        obstacle: The reason why there can't be a verdict, or `None`; `meet` updates it.
        threshold: The gap above which an alarm may be raised, a difference of probabilities
            between 0 and 1.
        every: Number of epochs from one evaluation to the next.
        meant: The nuisances that the task rightly uses.
        grounds: Scenes without any object as model inputs, or `None`.
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
    ) -> None:
        """Choose donors and receivers, and check them.

        Args:
            donors: Images of the *training* data with their labels: classes `(n,)`, or rows of 0
                and 1 `(n, labels)` where an image may have several labels. It takes at least 64
                images of each class, or with and without each label, besides the receivers.
                Arrays `(images, labels)` or `(images, labels, masks)`, where masks are
                `(n, height, width)` in [0, 1] or boxes `(n, 4)` of left, top, right and bottom
                edge in pixels; a `tf.data.Dataset` or `PyDataset`; or `Probes`. A part is drawn
                at random; at most 10 classes or 5 labels are tested. Images curated by hand can
                hide a shortcut.
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
        _check_options(masks, every, threshold)
        _check_meant(meant, chosen)
        pool = read_pool(donors, preprocess, masks, mask_cache=mask_cache)
        if receivers is None:
            watched, given = pool.split()
        else:
            watched = read_pool(receivers, preprocess, masks, np.unique(pool.labels), mask_cache)
            given = pool.take(~are_among(pool.images, watched.images))
            _check_fit(watched, given)
            watched = watched.take(~watched.lacks(watched.labels))
        self.threshold, self.every, self.meant = threshold, every, tuple(meant)
        self.class_names, self.masks_from = pool.class_names, pool.masks_from
        self.label_count = pool.label_count
        self.classes, self._missing = _enough(pool, given, watched)
        self.obstacle = self._missing
        testable, self.not_tested = _testable(chosen, watched, given, masks)
        self.nuisances = _with_meant(testable, meant)
        self.receivers = _example_set(watched, self.classes)
        self.donors = _example_set(given, self.classes)
        _try_out(self.nuisances, self.receivers, self.donors)
        self._scaling, self._donor_images = pool.scaling, given.images
        self.grounds = _read_grounds(grounds, preprocess, pool)
        if self.obstacle is not None:
            warn_user(
                f"There will be no verdict on shortcuts: {self.obstacle}. About {IMAGES_NEEDED} "
                "pictures of each class give donors and receivers enough."
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

    def to_input(self, pixels: Array) -> Array:
        """Convert pixels to the model's input.

        Args:
            pixels: Images or videos as displayed, from 0 to 255,
                `(batch, [frames,] height, width, channels)`.

        Returns:
            float32 of the same shape, in the range of the donors as given, after `preprocess`.

        Example:
            >>> from keras_saliency.data.synthetic import scenes
            >>> train = scenes(300)
            >>> shortcuts = Shortcuts((train.images / 255, train.labels))
            >>> float(shortcuts.to_input(np.full((1, 64, 64, 3), 255.0)).max())
            1.0
        """
        return self._scaling.to_input(pixels)

    @property
    def chance(self) -> float:
        """The probability of the correct class of a model that has learnt nothing, in [0, 1]."""
        return 1 / len(self.classes) if self.label_count is None else 0.5

    def compared(self, receivers: Array, donors: Array) -> tuple[Array, Array]:
        """Compare the labels of receivers and donors.

        Args:
            receivers: Labels of receivers, `(n,)`.
            donors: Labels of donors, `(m,)`.

        Returns:
            Two bool `(n, m)`: which donors are of a receiver's class, and which are of another.
            Where images have several labels, the former have the label that the receiver stands
            for, and the latter lack it.

        Example:
            >>> rows = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 80)
            >>> images = np.random.default_rng(0).integers(0, 256, (320, 8, 9, 3), np.uint8)
            >>> shortcuts = Shortcuts((images, rows), masks=None)
            >>> same, other = shortcuts.compared(np.array([0]), np.array([0, 1, 2, 3]))
            >>> same.tolist(), other.tolist()
            ([[True, False, False, False]], [[False, False, True, False]])
        """
        same = receivers[:, None] == donors
        if self.label_count is None:
            return same, ~same
        return same, receivers[:, None] + self.label_count == donors

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
        return float(are_among(self._donor_images, images).mean())

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


def _check_options(masks: Any, every: int, threshold: float) -> None:
    """Refuse options that are out of range."""
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


def _check_fit(receivers: Pool, donors: Pool) -> None:
    """Refuse receivers that do not fit the donors."""
    rules: dict[str, Callable[[Pool], Any]] = {
        "be of one size": lambda pool: pool.pixels.shape[1:],
        "have labels of one kind: classes, or rows of 0 and 1 of one length": lambda pool: (
            "classes" if pool.label_count is None else f"rows of {pool.label_count}"
        ),
        "have one range of values and one `preprocess`": lambda pool: pool.scaling,
    }
    for rule, value in rules.items():
        if value(receivers) != value(donors):
            raise ValueError(
                f"Receivers and donors must {rule}. Received: {value(receivers)} for receivers, "
                f"{value(donors)} for donors"
            )
    if len(receivers.labels) < FEWEST_RECEIVERS:
        warn_user(
            f"{len(receivers.labels)} receivers are few: the verdict is reliable from "
            f"{FEWEST_RECEIVERS} on."
        )


def _enough(pool: Pool, donors: Pool, receivers: Pool) -> tuple[Array, str | None]:
    """The classes with enough donors, and what is missing where these are too few."""
    several = pool.label_count is not None
    least, kind, words = (1, "label", "one label") if several else (2, "class", "two classes")
    shared = np.intersect1d(pool.labels, receivers.labels)
    if len(shared) < least:
        return shared, f"donors and receivers share fewer than {words}"
    counts = np.array([donors.count(label) for label in shared])
    classes = shared[counts >= DONORS_NEEDED]
    if len(classes) >= least:
        return classes, None
    if most := np.sort(counts)[-least]:
        return shared, f"{most} donors a {kind}, {DONORS_NEEDED} needed"
    pictures = np.sort([pool.count(label) for label in shared])[-least]
    return shared, f"{pictures} pictures a {kind}, about {IMAGES_NEEDED} needed"


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
        images = np.asarray(receivers.counterfactuals(nuisance.twins, donors, first, first))
        expected = (1, *receivers.pixels.shape[1:])
        if images.shape != expected or not np.isfinite(images).all():
            raise ValueError(
                f"The function of nuisance {nuisance.name!r} must return finite images of shape "
                f"(pairs, height, width, channels), for one pair {expected}. Received: shape "
                f"{images.shape}{'' if images.shape != expected else ', not all finite'}"
            )


def _example_set(pool: Pool, classes: Array) -> ExampleSet:
    labels = pool.labels if pool.label_count is None else pool.labels % pool.label_count
    kept = pool.take(np.isin(labels, classes))
    if kept.pixels.ndim == 5:
        return VideoSet(kept.pixels, kept.labels, kept.masks)
    return ImageSet(kept.pixels, kept.labels, kept.masks, kept.tight, _covering(kept))


def _covering(pool: Pool) -> Array | None:
    """Masks that cover whole objects, where the pool's own may miss a part, as boxes do not."""
    if pool.masks is None or not len(pool.masks) or pool.masks_from == "boxes":
        return None
    return with_centre(pool.masks) if pool.masks_from in MADE_MASKS else dilate(pool.masks, _MARGIN)
