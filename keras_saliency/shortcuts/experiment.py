"""What the verdict needs: donors and receivers, where their objects are, and what is swapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, get_args

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.shortcuts.example_pool import (
    DONORS_NEEDED,
    FEWEST_RECEIVERS,
    PICTURES_NEEDED,
    Made,
    Pool,
    are_among,
    read_pool,
)
from keras_saliency.shortcuts.nuisances import NUISANCES, Nuisance, Pictures
from keras_saliency.shortcuts.video_swaps import Clips, Shots, twins_of

DEFAULT = ("background", "cast", "texture", "frame", "position", "scale", "mark")
_CURATED = 0.5  # the share of donors among the probes from which they are taken for hand-picked


class Shortcuts:
    """Donors and receivers for the verdict.

    At every evaluation things are taken from donors (their background, colours, ...) and put into
    receivers, and it is measured whether the model follows them.

    Attributes:
        donors, receivers: The `Pictures`, of videos `Clips`, twins are made of; none is both.
        classes: The labels that are tested.
        label_count: How many labels there are where a picture may have several, or `None`. Its
            receivers then stand for one label each that they have, and a donor for one that it has
            or lacks: `label_count + label`.
        class_names: The classes in the order of the model's outputs, or `None`.
        nuisances: What is tested, `{name: Nuisance}`.
        not_tested: Why each other nuisance that was asked for is not.
        masks_from: Where the donors' masks are from: `"given"`, `"boxes"`, `"border colours"` or
            `"motion"` (made by a program), or `None`.
        obstacle: Why there can't be a verdict, or `None`; settled anew by `meet`.
        threshold: The gap from which there is an alarm, as a difference of probabilities.
        every: Evaluate after every so many epochs.
    """

    def __init__(
        self,
        donors: Any,
        *,
        receivers: Any = None,
        masks: Made | None = "auto",
        nuisances: Sequence[str | Nuisance] = DEFAULT,
        every: int = 1,
        threshold: float = 0.20,
        preprocess: Callable[[Any], Any] | None = None,
    ) -> None:
        """Choose donors and receivers, and check that they will do.

        Args:
            donors: Images of the *training* data with their labels, classes or rows of 0 and 1
                (several labels a picture), at least 64 of each class, or with and without a label,
                besides the receivers: arrays `(images, labels)` or `(images, labels, masks)`,
                where masks are `(n, height, width)` or boxes `(n, 4)` of left, top, right and
                bottom edge in pixels; a `tf.data.Dataset` or `PyDataset`; or `Probes`. A part is
                drawn at random; of more than 10 classes 10 are tested, of more than 5 labels
                5. Images curated by hand can hide a shortcut.
            receivers: Likewise, the images whose scores are watched; by default 64 out of the
                donors' source, never used as donors.
            masks: `"auto"` makes masks by a program where none are given; `"motion"` takes what
                moves in videos, `(batch, frames, height, width, channels)`; `None` makes none.
            nuisances: What is swapped: `"background"`, `"cast"`, `"texture"`, `"frame"`,
                `"position"`, `"scale"`, `"mark"`; `"object"` is measured without an alarm. A
                `Nuisance` is one of your own.
            every: Evaluate after every so many epochs.
            threshold: The gap from which there is an alarm, between 0 and 1.
            preprocess: Makes the model's input of the images, as in `Probes`; if these are
                `Probes`, they have their own.

        Raises:
            TypeError: If donors or receivers are of no known kind, or the threshold is no number.
            ValueError: If something doesn't fit together or there is nothing to compare.

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
        wanted = _settled(nuisances)
        _check_options(masks, every, threshold)
        pool = read_pool(donors, preprocess, masks)
        if receivers is None:
            watched, given = pool.split()
        else:
            watched = read_pool(receivers, preprocess, masks, np.unique(pool.labels))
            given = pool.without(watched.images)
            _check_fit(watched, given)
            watched = watched.take(~watched.lacks(watched.labels))
        self.threshold, self.every = threshold, every
        self.class_names, self.masks_from = pool.class_names, pool.masks_from
        self.label_count = pool.label_count
        self.classes, self._missing = _enough(pool, given, watched)
        self.obstacle = self._missing
        self.nuisances, self.not_tested = _testable(wanted, watched, given)
        self.receivers = _pictures(watched, self.classes)
        self.donors = _pictures(given, self.classes)
        _try_out(self.nuisances, self.receivers, self.donors)
        self._scaling, self._donor_images = pool.scaling, given.images
        if self.obstacle is not None:
            warn_user(
                f"There will be no verdict on shortcuts: {self.obstacle}. About {PICTURES_NEEDED} "
                "pictures of each class give donors and receivers enough."
            )

    @classmethod
    def of(cls, value: Any) -> Shortcuts:
        """Take `Shortcuts` as they are, and make them of anything else that `donors` may be.

        Args:
            value: `Shortcuts`, or their donors.

        Returns:
            The shortcuts.

        Raises:
            TypeError: If the value is of no known kind.
            ValueError: If what it holds will not do.

        Example:
            >>> from keras_saliency.data.synthetic import scenes
            >>> train = scenes(300)
            >>> Shortcuts.of((train.images, train.labels)).threshold
            0.2
        """
        return value if isinstance(value, cls) else cls(value)

    def to_input(self, pixels: Array) -> Array:
        """Make the model's input of pixels.

        Args:
            pixels: `(batch, height, width, channels)`, from 0 to 255.

        Returns:
            float32 `(batch, height, width, channels)`, in the range of the donors as given, and
            after `preprocess`.

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
        """The probability of the right class that a model has which knows nothing."""
        return 1 / len(self.classes) if self.label_count is None else 0.5

    def compared(self, receivers: Array, donors: Array) -> tuple[Array, Array]:
        """Say which donors are of a receiver's class, and which are of others.

        Args:
            receivers: Labels of receivers, `(n,)`.
            donors: Labels of donors, `(m,)`.

        Returns:
            Two bool `(n, m)`. Of several labels a picture, a donor of the same class has the label
            that the receiver stands for, and one of the others is known to lack it.

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
        """Say how many of the donors are among some images, such as the pictured probes.

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
        """Find out whether the donors are the pictured probes, which say nothing of the training.

        Images picked by hand are balanced as the training data are not: such donors show less of
        what a model relies on, or nothing (`docs/shortcuts.md`).

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


def _settled(nuisances: Sequence[str | Nuisance]) -> dict[str, Nuisance]:
    """Look up what goes by name."""
    listed = isinstance(nuisances, Iterable) and not isinstance(nuisances, str)
    given: list[Any] = list(nuisances) if listed else []
    found = [NUISANCES.get(one) if isinstance(one, str) else one for one in given]
    known = [one for one in found if isinstance(one, Nuisance)]
    if not found or len(known) < len(found):
        raise ValueError(
            f"`nuisances` must be a list of some of {tuple(NUISANCES)}, or of `Nuisance`. "
            f"Received: nuisances={nuisances!r}"
        )
    settled = {one.name: one for one in known}
    if taken := [name for name, one in settled.items() if NUISANCES.get(name, one) is not one]:
        raise ValueError(
            "A `Nuisance` must have a name of its own, none of "
            f"{tuple(NUISANCES)}. Received: name={taken[0]!r}"
        )
    return settled


def _check_options(masks: Any, every: int, threshold: float) -> None:
    """Refuse options that mean nothing."""
    if masks is not None and not (isinstance(masks, str) and masks in get_args(Made)):
        given = repr(masks) if isinstance(masks, str) else type(masks).__name__
        raise ValueError(
            "`masks` must be 'auto', 'motion' (of videos) or None; masks or boxes of your own go "
            "with the donors, "
            f"`(images, labels, masks)`. Received: masks={given}"
        )
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"`every` must count epochs, from 1. Received: every={every!r}")
    if isinstance(threshold, bool) or not isinstance(threshold, Real):
        raise TypeError(
            "`threshold` must be a number, a difference of probabilities. "
            f"Received: threshold={threshold!r}"
        )
    if not 0 < threshold < 1:
        raise ValueError(
            "`threshold` is a difference of probabilities, between 0 and 1. "
            f"Received: threshold={threshold!r}"
        )


def _check_fit(receivers: Pool, donors: Pool) -> None:
    """Refuse receivers that nothing of the donors fits into."""
    shapes = receivers.pixels.shape[1:], donors.pixels.shape[1:]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "Receivers and donors must be of one size. "
            f"Received: receivers of {shapes[0]}, donors of {shapes[1]}"
        )
    if receivers.label_count != donors.label_count:
        raise ValueError(
            "Receivers and donors must have labels of one kind: classes, or rows of 0 and 1 of one "
            f"length. Received: rows of {receivers.label_count} for receivers, "
            f"of {donors.label_count} for donors"
        )
    if receivers.scaling != donors.scaling:
        raise ValueError(
            "Receivers and donors must have one range of values and one `preprocess`. "
            f"Received: receivers with {receivers.scaling}, donors with {donors.scaling}"
        )
    if len(receivers.labels) < FEWEST_RECEIVERS:
        warn_user(
            f"{len(receivers.labels)} receivers are few: the verdict is reliable from "
            f"{FEWEST_RECEIVERS} on."
        )


def _enough(pool: Pool, donors: Pool, receivers: Pool) -> tuple[Array, str | None]:
    """The classes that there are enough donors of, and what is missing if these are too few.

    Donors are what is left of the pool without the receivers.
    """
    least, kind = (2, "class") if pool.label_count is None else (1, "label")
    shared = np.intersect1d(pool.labels, receivers.labels)
    if len(shared) < least:
        return (
            shared,
            f"donors and receivers share fewer than {'two classes' if least == 2 else 'one label'}",
        )
    counts = np.array([donors.count(label) for label in shared])
    classes = shared[counts >= DONORS_NEEDED]
    if len(classes) >= least:
        return classes, None
    if most := np.sort(counts)[-least]:
        return shared, f"{most} donors a {kind}, {DONORS_NEEDED} needed"
    pictures = np.sort([pool.count(label) for label in shared])[-least]
    return shared, f"{pictures} pictures a {kind}, about {PICTURES_NEEDED} needed"


def _testable(
    nuisances: dict[str, Nuisance], receivers: Pool, donors: Pool
) -> tuple[dict[str, Nuisance], dict[str, str]]:
    """The nuisances that can be tested, and why the others can't."""
    missing = {"spots": "no spots in videos"} if donors.pixels.ndim == 5 else {}
    if receivers.masks is None or donors.masks is None:
        missing["masks"] = "no masks"
    if donors.pixels.shape[-1] != 3:
        missing["colour"] = f"{donors.pixels.shape[-1]} channels instead of three"
    elif not donors.scaling.true_zero:
        missing["colour"] = "it is not known which value is black: pass raw images, `preprocess=`"
    reasons = {
        name: missing[need]
        for name, nuisance in nuisances.items()
        for need in set(nuisance.needs) & set(missing)
    }
    tested = {name: one for name, one in nuisances.items() if name not in reasons}
    if not tested:
        raise ValueError(f"Nothing can be tested: {reasons}. Pass `(images, labels, masks)`.")
    return tested, reasons


def _try_out(nuisances: dict[str, Nuisance], receivers: Shots, donors: Shots) -> None:
    """Make one twin with each nuisance of the user's own, so that its faults show now."""
    own = [one for name, one in nuisances.items() if name not in NUISANCES]
    for nuisance in own if len(receivers) and len(donors) else ():
        if "spots" in nuisance.needs:  # They are found when there is a model.
            continue
        first = np.array([0])
        twins = np.asarray(twins_of(nuisance.twins, receivers, donors, first, first))
        expected = (1, *receivers.pixels.shape[1:])
        if twins.shape != expected or not np.isfinite(twins).all():
            raise ValueError(
                f"The function of nuisance {nuisance.name!r} must return finite twins of shape "
                f"(pairs, height, width, channels), for one pair {expected}. Received: shape "
                f"{twins.shape}{'' if twins.shape != expected else ', not all finite'}"
            )


def _pictures(pool: Pool, classes: Array) -> Shots:
    labels = pool.labels if pool.label_count is None else pool.labels % pool.label_count
    kept = pool.take(np.isin(labels, classes))
    if kept.pixels.ndim == 5:
        return Clips(kept.pixels, kept.labels, kept.masks)
    return Pictures(kept.pixels, kept.labels, kept.masks, kept.tight)
