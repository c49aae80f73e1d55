"""Nuisances: what can be swapped between the images of a receiver and a donor.

A counterfactual image is composed of a receiver `i` and a donor `j`. The functions here take pairs
of indices and return float32 images in the display's range, 0 to 255. A further nuisance is one
more function here; users pass theirs as a `Nuisance`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar, get_args

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_bilinear
from keras_saliency.common.types import Array
from keras_saliency.shortcuts.image_quality import FULL, NOT_COMPRESSED, compress, rescale
from keras_saliency.shortcuts.images import ImageSet, Inputs, Swap, by_channels, required
from keras_saliency.shortcuts.statistics import Gap

Need = Literal["masks", "colour", "black", "spots"]
_Swap = TypeVar("_Swap", bound=Swap)

# Of the image: 5 x 5 of 64 x 64 px. At 4 % most honest features look like a mark. The second patch
# finds marks that a map shows less than something else; with a third honest colours look like one.
PATCH_AREA, PATCHES = 0.006, 2


@dataclass(frozen=True)
class Nuisance:
    """One property that can be swapped between images, for `Shortcuts(..., nuisances=)`.

    Args:
        name: Its name in code, as in `verdict.gaps`: letters, digits and `_`.
        words: Its name in a sentence, such as `"the colour cast"`.
        twins: `(receivers, donors, i, j) -> images`, where the counterfactual images
            `(pairs, height, width, channels)`, from 0 to 255, are the receivers `i` with this
            property of the donors `j`; `i` and `j` are int `(pairs,)`. Both sides are an
            `ImageSet` with `pixels`, `labels`, `masks`, `backgrounds` and more.
        needs: What the images must have: `"masks"`, `"colour"` (three channels, and a known
            black), `"black"` (the latter alone), `"spots"` (the salient patches of each image).
        alarms: Whether its gap may raise an alarm; otherwise the gap is only measured.
        thresholds: How many thresholds its gap must exceed to count in full, at least 1; up to
            there it is divided by this. It is for what honest features have as well, weaker.

    Raises:
        TypeError: If `twins` is not callable.
        ValueError: If the name is not an identifier, a need is unknown, or `thresholds` is below 1.

    Example:
        >>> def swap_left_half(receivers, donors, i, j):
        ...     images, theirs = receivers.pixels[i].astype("float32"), donors.pixels[j]
        ...     half = images.shape[2] // 2
        ...     images[:, :, :half] = theirs[:, :, :half]
        ...     return images
        >>> left = Nuisance("left_half", "the left half", swap_left_half)
        >>> from keras_saliency.data.synthetic import scenes
        >>> train = scenes(300)
        >>> list(ks.Shortcuts((train.images, train.labels), nuisances=["frame", left]).nuisances)
        ['frame', 'left_half']
    """

    name: str
    words: str
    twins: Swap
    needs: frozenset[Need] = frozenset()
    alarms: bool = True
    thresholds: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(
                "`name` is used in logs and tags and must be one word of letters, digits and _. "
                f"Received: name={self.name!r}"
            )
        if not callable(self.twins):
            raise TypeError(
                "`twins` must be a function (receivers, donors, i, j) -> twins. "
                f"Received: twins={self.twins!r}"
            )
        known = get_args(Need)
        if isinstance(self.needs, str) or set(self.needs) - set(known):
            raise ValueError(f"`needs` must be a set out of {known}. Received: needs={self.needs}")
        if not self.thresholds >= 1:
            raise ValueError(f"`thresholds` must be at least 1. Received: {self.thresholds!r}")

    def counted(self, gap: Gap, threshold: float) -> Gap:
        """Return a gap and its error as they count towards an alarm and the reliance.

        Args:
            gap: The gap and its standard error.
            threshold: The gap that raises an alarm.

        Returns:
            Both, divided by `thresholds` up to so many thresholds.

        Example:
            >>> NUISANCES["mark"].counted((0.3, 0.04), threshold=0.2)
            (0.15, 0.02)
            >>> NUISANCES["mark"].counted((0.5, 0.04), threshold=0.2)
            (0.5, 0.04)
        """
        value, error = gap
        by = 1.0 if value > self.thresholds * threshold else self.thresholds
        return value / by, error / by


# From the narrowest to the broadest: a swap of the background includes frame and cast. Exposure and
# light follow, since most of what they change is the background, whose brightness is its own.
NUISANCES: dict[str, Nuisance] = {}


def _nuisance(
    name: str, words: str, *needs: Need, alarms: bool = True, thresholds: float = 1.0
) -> Callable[[_Swap], _Swap]:
    """Register a function in `NUISANCES`."""

    def register(swap: _Swap) -> _Swap:
        NUISANCES[name] = Nuisance(name, words, swap, frozenset(needs), alarms, thresholds)
        return swap

    return register


# An honest detail of that size, such as a beak of its class's own colour, has such a gap as well:
# up to .37 in clean training runs of two classes, where most marks that are relied on have more.
@_nuisance("mark", f"spots of {100 * PATCH_AREA:g} % of the picture", "spots", thresholds=2.0)
def swap_salient_patch(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Paste the donor's salient patches, with soft edges, over the receiver's: first over first."""
    reach, disc = _disc(receivers.pixels.shape[1:3])
    window = np.arange(-reach, reach + 1)

    def pixels_of(centers: Array) -> tuple[Array, Array]:
        return centers[:, 0, None, None] + window[:, None], centers[:, 1, None, None] + window

    images = receivers.pixels[i].astype(np.float32)
    pair, weight = np.arange(len(i))[:, None, None], disc[None, :, :, None]
    own, theirs = required(receivers.spots)[i], required(donors.spots)[j]
    for to, since in zip(own.swapaxes(0, 1), theirs.swapaxes(0, 1), strict=True):
        patch = donors.pixels[j[:, None, None], *pixels_of(since)]
        target = (pair, *pixels_of(to))
        images[target] = weight * patch + (1 - weight) * images[target]
    return images


@_nuisance("frame", "the frame")
def swap_frame(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Put around the receiver what stands out in the donor's rim, in place of what does in its own.

    What stands out is what the image does not continue to from inside. Pasting the whole rim would
    draw a frame around every image, by the edge where it ends.
    """
    own, theirs = receivers.standing_out[i][..., None], donors.standing_out[j][..., None]
    images = own * receivers.continued[i] + (1 - own) * receivers.pixels[i]
    return theirs * donors.pixels[j] + (1 - theirs) * images


@_nuisance("cast", "the colour cast", "colour")
def swap_cast(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Scale the receiver's channels to the donor's balance of colours."""
    gain = np.exp(donors.casts[j] - receivers.casts[i])[:, None, None].astype(np.float32)
    return np.clip(receivers.pixels[i] * gain, 0, 255)


@_nuisance("texture", "the fine texture")
def swap_texture(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Replace the receiver's fine texture by one with the donor's frequencies."""
    return np.clip(receivers.smooth[i] + donors.residuals[j].astype(np.float32), 0, 255)


@_nuisance("compression", "the compression")
def swap_compression(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Compress the receiver as the donor is (JPEG).

    Of a receiver that is compressed itself, the blocks are smoothed away before, and it has the
    donor's fine texture instead, whatever the donor's compression is.
    """
    images = _restored(receivers, donors, i, j, receivers.qualities < NOT_COMPRESSED)
    for pair in np.flatnonzero(donors.qualities[j] < NOT_COMPRESSED):
        images[pair] = compress(images[pair], donors.qualities[j[pair]])
    return images.astype(np.float32)


@_nuisance("resolution", "the resolution")
def swap_resolution(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Take away the receiver's details down to the donor's scale.

    A receiver that lacks details itself has the donor's fine texture before, whatever that is.
    """
    images = _restored(receivers, donors, i, j, receivers.scales < FULL)
    for pair in np.flatnonzero(donors.scales[j] < FULL):
        images[pair] = rescale(images[pair], donors.scales[j[pair]])
    return images.astype(np.float32)


@_nuisance("position", "the object's place", "masks")
def swap_position(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Move the receiver's object to the position of the donor's, within the image."""
    height, width = receivers.pixels.shape[1:3]
    reaches = receivers.reaches[i]
    wanted = np.rint(_centers(donors.reaches[j]) - _centers(reaches)).astype(int)
    top, bottom, left, right = reaches.T
    down = np.clip(wanted[:, 0], -top, height - 1 - bottom)
    aside = np.clip(wanted[:, 1], -left, width - 1 - right)
    return _moved_objects(receivers, i, np.ones(len(i)), down, aside)


@_nuisance("scale", "the object's size", "masks")
def swap_scale(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Resize the receiver's object in its position to the size of the donor's."""
    factors = np.sqrt(donors.areas[j] / receivers.areas[i])
    y, x = _centers(receivers.boxes[i]).T
    return _moved_objects(receivers, i, factors, y - factors * y, x - factors * x)


@_nuisance("object", "the object", "masks", alarms=False)
def swap_object(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Put the donor's object on the receiver's own background."""
    return _blend(donors.pixels[j], receivers.backgrounds[i], required(donors.masks)[j])


@_nuisance("background", "the background", "masks")
def swap_background(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Put the receiver's object on the donor's background."""
    return _blend(receivers.pixels[i], donors.safe_backgrounds[j], required(receivers.masks)[i])


@_nuisance("exposure", "the exposure", "black")
def swap_exposure(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Make the receiver as bright as the donor, on average."""
    gain = np.exp(donors.exposures[j] - receivers.exposures[i]).astype(np.float32)
    return np.clip(receivers.pixels[i] * gain[:, None, None, None], 0, 255)


@_nuisance("light", "the fall of light", "black")
def swap_light(receivers: ImageSet, donors: ImageSet, i: Array, j: Array) -> Array:
    """Light the receiver from where the donor is lit, as brightly as it was."""
    gain = np.exp(donors.lights[j] - receivers.lights[i])[..., None]
    return np.clip(receivers.pixels[i] * gain, 0, 255)


def narrowest_first(names: Iterable[str]) -> list[str]:
    """Order nuisances; a user's own concern one property each, and come before all others."""
    order = list(NUISANCES)
    return sorted(names, key=lambda name: order.index(name) if name in order else -1)


def narrower_than(name: str, names: Iterable[str]) -> list[str]:
    """Select the nuisances that come before one of them in that order."""
    order = narrowest_first(names)
    return order[: order.index(name)]


def keeping(narrow: Swap, broad: Swap) -> Swap:
    """Return a broad swap that leaves the receiver's own narrow property in place.

    Args:
        narrow: The swap of the property that is kept.
        broad: The swap that would carry it along.

    Returns:
        A function like both.

    Example:
        >>> pixels = np.empty((2, 32, 32, 3), np.uint8)
        >>> pixels[0], pixels[1] = (100, 50, 50), (50, 50, 100)
        >>> images = ImageSet(pixels, np.array([0, 1]), np.zeros((2, 32, 32), np.float32))
        >>> receiver, donor = np.array([0]), np.array([1])
        >>> swap_background(images, images, receiver, donor)[0, 9, 9].tolist()
        [50.0, 50.0, 100.0]
        >>> swap = keeping(swap_cast, swap_background)
        >>> swap(images, images, receiver, donor).pixels[0, 9, 9].round().tolist()
        [100.0, 50.0, 50.0]
    """
    return partial(_swap_all_but, narrow, broad)


def _swap_all_but(
    narrow: Swap, broad: Swap, receivers: ImageSet, donors: ImageSet, i: Array, j: Array
) -> Inputs:
    made = receivers.changed(receivers.counterfactuals(broad, donors, i, j), i)
    return made.counterfactuals(narrow, receivers, np.arange(len(i)), i)


def find_salient_patches(maps: Array, size: tuple[int, int]) -> Array:
    """Find the separate patches of the mark's size that hold most of each map's magnitude.

    Args:
        maps: Raw maps `(batch, h, w)` of any size, such as saliency.
        size: The images' `(height, width)`.

    Returns:
        int64 `(batch, PATCHES, 2)`: row and column of the patches' centres, that with most first,
        such that they lie wholly inside and hardly overlap; the image's centre where a map is dead.

    Example:
        >>> map_ = np.zeros((64, 64))
        >>> map_[40, 41], map_[10, 12] = 3, 2
        >>> find_salient_patches(map_[None], (64, 64)).tolist()
        [[[40, 41], [10, 12]]]
    """
    reach, disc = _disc(size)
    # The middle has the largest weight, or a lone peak could lie anywhere in the patch.
    weight = disc * cv2.getGaussianKernel(len(disc), 0) * cv2.getGaussianKernel(len(disc), 0).T
    centers = np.tile(np.array(size) // 2, (len(maps), PATCHES, 1))
    for index, map_ in enumerate(np.abs(np.asarray(maps, np.float32))):
        if np.isfinite(map_).all() and map_.any():
            large = resize_bilinear(map_ / map_.max(), size)
            mass = cv2.filter2D(large, -1, weight, borderType=cv2.BORDER_CONSTANT)
            for patch in range(PATCHES):
                y, x = map(int, np.unravel_index(mass.argmax(), size))
                centers[index, patch] = y, x
                cv2.circle(mass, (x, y), 2 * reach, -1.0, cv2.FILLED)
    return np.clip(centers, reach, np.array(size) - 1 - reach)


def _centers(boxes: Array) -> Array:
    """float64 `(n, 2)`: row and column of the centre of boxes.

    This is not the object's centre of mass, which depends on its shape: where each class has a
    shape of its own, as digits have, that would be taken for a position of its own.
    """
    return boxes.reshape(-1, 2, 2).mean(axis=2)


def _disc(size: tuple[int, int]) -> tuple[int, Array]:
    """The radius in whole pixels of a patch, and its weights: a disc with a soft edge."""
    radius = np.sqrt(PATCH_AREA * size[0] * size[1] / np.pi)
    reach = min(int(np.ceil(radius - 0.5)), (min(size) - 1) // 2)
    window = np.arange(-reach, reach + 1)
    distance = np.hypot(window[:, None], window)
    return reach, np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)


def _moved_objects(images: ImageSet, i: Array, factors: Array, down: Array, aside: Array) -> Array:
    """Each image's object, scaled and moved, over its own in-painted background."""
    shape, size = images.pixels.shape[1:], images.pixels.shape[2:0:-1]
    objects = np.empty((len(i), *shape), np.float32)
    masks = np.empty((len(i), *shape[:2]), np.float32)
    for pair, (index, factor, y, x) in enumerate(zip(i, factors, down, aside, strict=True)):
        move = np.array([[factor, 0, x], [0, factor, y]], np.float32)
        pixels = images.pixels[index].astype(np.float32)
        objects[pair] = by_channels(cv2.warpAffine, pixels, move, size)
        masks[pair] = cv2.warpAffine(required(images.tight)[index], move, size)
    return _blend(objects, images.backgrounds[i], masks)


def _restored(receivers: ImageSet, donors: ImageSet, i: Array, j: Array, spoilt: Array) -> Array:
    """Receivers, uint8; those that are spoilt have the donors' fine texture instead of theirs."""
    images, smoothed = receivers.pixels[i], spoilt[i]
    if smoothed.any():
        textured = swap_texture(receivers, donors, i[smoothed], j[smoothed])
        images[smoothed] = np.rint(textured).astype(np.uint8)
    return images


def _blend(above: Array, below: Array, masks: Array) -> Array:
    """One image over another where the mask says so."""
    weight = masks[..., None].astype(np.float32)
    return weight * above + (1 - weight) * below
