"""Interventions: the same picture with one thing taken from another picture.

A twin is made of a receiver `i` and a donor `j`. All functions here take pairs of indices and give
float32 twins in the display's range, 0 to 255. To add a nuisance, write one function here; users
give theirs as a `Nuisance`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_bilinear
from keras_saliency.common.types import Array
from keras_saliency.data.masks import dilate

Need = Literal["masks", "colour", "spots"]

# Of the picture: 5 x 5 of 64 x 64 px. At 4 % most honest features look like marks.
MARK_AREA = 0.006
_FRAME = 1 / 16  # Of the shorter side. Twice as much lets the donor's object in.
_INPAINT_RADIUS = 3
_TELEA = cv2.INPAINT_TELEA
_VISIBLE = 0.05  # A pixel shows the object from this share on.


class Pictures:
    """Pictures of one kind, receivers or donors, and what twins are made of, each made once.

    Attributes:
        pixels: uint8 `(n, height, width, channels)`, as displayed.
        labels: int64 `(n,)`, classes.
        masks: float32 `(n, height, width)` in [0, 1], 1 on the object; or `None`.
        tight: Likewise, with as little ground as can be: what tells the object's place and size.
        spots: int64 `(n, 2)`, row and column of the spot that decides; set anew as the model
            changes; or `None`.
    """

    def __init__(
        self, pixels: Array, labels: Array, masks: Array | None, tight: Array | None = None
    ) -> None:
        self.pixels = pixels
        self.labels = labels
        self.masks = masks
        self.tight = masks if tight is None else tight
        self.spots: Array | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def hidden(self) -> Array:
        """Where the object is, or close to it: bool `(n, height, width)`."""
        if self.masks is None:
            return np.zeros(self.pixels.shape[:3], bool)
        return dilate(self.masks) > _VISIBLE

    @cached_property
    def backgrounds(self) -> Array:
        """The pixels with the object in-painted away (Telea 2004)."""
        return np.stack(list(map(inpainted, self.pixels, self.hidden)))

    @cached_property
    def casts(self) -> Array:
        """float64 `(n, channels)`: the mean log of each channel less their mean, off the object."""
        weights = (~self.hidden[..., None]).astype(np.float32)
        logs = np.log(np.maximum(self.pixels, 1).astype(np.float32))
        means = (weights * logs).sum((1, 2), dtype=np.float64) / np.maximum(weights.sum((1, 2)), 1)
        return means - means.mean(axis=1, keepdims=True)

    @cached_property
    def smooth(self) -> Array:
        """uint8, like the pixels: without their fine texture (a median over 3 x 3)."""
        return _medians(self.pixels)

    @cached_property
    def residuals(self) -> Array:
        """float16, like the pixels: their fine texture, its phases scrambled.

        What is left are its frequencies and colours. It is taken off the object and spread over
        the whole picture, as strong as it was.
        """
        source = self.backgrounds
        fine = source.astype(np.float32) - _medians(source)
        shown = 1 - self.hidden.mean((1, 2))
        scrambled = np.empty(fine.shape, np.float16)  # Up to 255, in steps of 1/8 at the most.
        for index, (residual, share) in enumerate(zip(fine, shown, strict=True)):
            noise = np.random.default_rng(self._seed(index)).standard_normal(residual.shape[:2])
            phases = np.exp(1j * np.angle(np.fft.rfft2(noise)))[..., None]
            spectrum = np.fft.rfft2(residual, axes=(0, 1)) * phases
            size = residual.shape[:2]
            strength = 1 / np.sqrt(max(share, 1e-3))
            scrambled[index] = np.fft.irfft2(spectrum, s=size, axes=(0, 1)) * strength
        return scrambled

    @cached_property
    def boxes(self) -> Array:
        """int64 `(n, 4)`: the object's first and last row, first and last column."""
        size = np.array(self.pixels.shape[1:3])
        boxes = np.tile([0, size[0] - 1, 0, size[1] - 1], (len(self), 1))
        for index, mask in enumerate(_given(self.tight) > _VISIBLE):
            if mask.any():
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                boxes[index] = rows[0], rows[-1], columns[0], columns[-1]
        return boxes

    @cached_property
    def reaches(self) -> Array:
        """int64 `(n, 4)`, like `boxes`: where the object is as long as it is watched."""
        return self.boxes

    @cached_property
    def areas(self) -> Array:
        """float64 `(n,)`: how many pixels the object covers."""
        return _given(self.tight).sum((1, 2), dtype=np.float64)

    def _seed(self, index: int) -> int:
        """What decides the phases of a picture's texture."""
        return index


Twins = Callable[[Pictures, Pictures, Array, Array], Array]


@dataclass(frozen=True)
class Nuisance:
    """One thing that can be swapped between pictures, for `Shortcuts(..., nuisances=)`.

    Args:
        name: What it is called in code, as in `logs["shortcut_<name>"]`.
        words: What it is called in a sentence, `"the colour cast"`.
        twins: `(receivers, donors, i, j) -> twins`, `(pairs, height, width, channels)` from 0 to
            255: receiver `i[k]` with this thing of donor `j[k]`. Both sides are `Pictures`, whose
            `pixels`, `masks`, `backgrounds` and the rest are there to be used.
        needs: What has to be there: `"masks"`, `"colour"` (three channels, and a known black),
            `"spots"` (where the model decides).
        alarms: Whether its gap may give an alarm; otherwise it is only measured.

    Raises:
        TypeError: If `twins` can't be called.
        ValueError: If the name is no word to be used in code, or a need is unknown.

    Example:
        >>> def swap_left_half(receivers, donors, i, j):
        ...     twins, theirs = receivers.pixels[i].astype("float32"), donors.pixels[j]
        ...     half = twins.shape[2] // 2
        ...     twins[:, :, :half] = theirs[:, :, :half]
        ...     return twins
        >>> left = Nuisance("left_half", "the left half", swap_left_half)
        >>> from keras_saliency.data.synthetic import scenes
        >>> train = scenes(300)
        >>> list(ks.Shortcuts((train.images, train.labels), nuisances=["frame", left]).nuisances)
        ['frame', 'left_half']
    """

    name: str
    words: str
    twins: Twins
    needs: frozenset[Need] = frozenset()
    alarms: bool = True

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


# From the narrowest to the broadest: a swap of the background carries frame and cast along.
NUISANCES: dict[str, Nuisance] = {}


def _nuisance(name: str, words: str, *needs: Need, alarms: bool = True) -> Callable[[Twins], Twins]:
    """Enter a function into `NUISANCES`."""

    def enter(twins: Twins) -> Twins:
        NUISANCES[name] = Nuisance(name, words, twins, frozenset(needs), alarms)
        return twins

    return enter


# An honest detail of that size, such as a beak of its class's own colour, has such a gap as well.
@_nuisance("mark", f"a spot of {100 * MARK_AREA:g} % of the picture", "spots")
def swap_mark(receivers: Pictures, donors: Pictures, i: Array, j: Array) -> Array:
    """The donor's decisive spot, with a soft edge, over the receiver's."""
    reach, disc = _disc(receivers.pixels.shape[1:3])
    window = np.arange(-reach, reach + 1)

    def places(spots: Array) -> tuple[Array, Array]:
        return spots[:, 0, None, None] + window[:, None], spots[:, 1, None, None] + window

    here, there = places(_given(receivers.spots)[i]), places(_given(donors.spots)[j])
    twins = receivers.pixels[i].astype(np.float32)
    pair = np.arange(len(i))[:, None, None]
    patch = donors.pixels[j[:, None, None], *there]
    weight = disc[None, :, :, None]
    twins[pair, *here] = weight * patch + (1 - weight) * twins[pair, *here]
    return twins


@_nuisance("frame", "the frame")
def swap_frame(receivers: Pictures, donors: Pictures, i: Array, j: Array) -> Array:
    """The donor's outer few pixels around the receiver."""
    depth = max(1, round(_FRAME * min(receivers.pixels.shape[1:3])))
    twins = donors.pixels[j].astype(np.float32)
    inner = (slice(None), slice(depth, -depth), slice(depth, -depth))
    twins[inner] = receivers.pixels[i][inner]
    return twins


@_nuisance("cast", "the colour cast", "colour")
def swap_cast(receivers: Pictures, donors: Pictures, i: Array, j: Array) -> Array:
    """The receiver's channels scaled to the donor's balance of colours."""
    gain = np.exp(donors.casts[j] - receivers.casts[i])[:, None, None].astype(np.float32)
    return np.clip(receivers.pixels[i] * gain, 0, 255)


@_nuisance("texture", "the fine texture")
def swap_texture(receivers: Pictures, donors: Pictures, i: Array, j: Array) -> Array:
    """The receiver's fine texture replaced by one with the donor's frequencies."""
    return np.clip(receivers.smooth[i] + donors.residuals[j].astype(np.float32), 0, 255)


@_nuisance("position", "the object's place", "masks")
def swap_position(receivers: Pictures, donors: Pictures, i: Array, j: Array) -> Array:
    """The receiver's object moved to the place of the donor's, as far as the picture reaches."""
    height, width = receivers.pixels.shape[1:3]
    reaches = receivers.reaches[i]
    wanted = np.rint(_middles(donors.reaches[j]) - _middles(reaches)).astype(int)
    top, bottom, left, right = reaches.T
    down = np.clip(wanted[:, 0], -top, height - 1 - bottom)
    aside = np.clip(wanted[:, 1], -left, width - 1 - right)
    moves = [np.array([[1, 0, x], [0, 1, y]], np.float32) for y, x in zip(down, aside, strict=True)]
    return _moved_objects(receivers, i, moves)


@_nuisance("scale", "the object's size", "masks")
def swap_scale(receivers: Pictures, donors: Pictures, i: Array, j: Array) -> Array:
    """The receiver's object resized in its place to the size of the donor's."""
    factors = np.sqrt(donors.areas[j] / receivers.areas[i])
    moves = []
    for factor, (y, x) in zip(factors, _middles(receivers.boxes[i]), strict=True):
        rows = [[factor, 0, x - factor * x], [0, factor, y - factor * y]]
        moves.append(np.array(rows, np.float32))
    return _moved_objects(receivers, i, moves)


@_nuisance("object", "the object", "masks", alarms=False)
def swap_object(receivers: Pictures, donors: Pictures, i: Array, j: Array) -> Array:
    """The donor's object on the receiver's own background."""
    return _blend(donors.pixels[j], receivers.backgrounds[i], _given(donors.masks)[j])


@_nuisance("background", "the background", "masks")
def swap_background(receivers: Pictures, donors: Pictures, i: Array, j: Array) -> Array:
    """The receiver's object on the donor's background."""
    return _blend(receivers.pixels[i], donors.backgrounds[j], _given(receivers.masks)[i])


def narrowest_first(names: Iterable[str]) -> list[str]:
    """Order nuisances; those of the user's own are of one thing, and come before all others."""
    order = list(NUISANCES)
    return sorted(names, key=lambda name: order.index(name) if name in order else -1)


def find_spots(maps: Array, size: tuple[int, int]) -> Array:
    """Find the spot of the size of a mark that holds most of each map's magnitude.

    Args:
        maps: Raw maps `(batch, h, w)` of any size, such as saliency.
        size: The pictures' `(height, width)`.

    Returns:
        int64 `(batch, 2)`: row and column of the spot's middle, so that it lies wholly inside; the
        picture's middle where a map is dead.

    Example:
        >>> find_spots(np.eye(64)[None] * (np.arange(64) == 40), (64, 64)).tolist()
        [[40, 40]]
    """
    reach, disc = _disc(size)
    # The middle counts most, or a lone peak could lie anywhere in the spot.
    weight = disc * cv2.getGaussianKernel(len(disc), 0) * cv2.getGaussianKernel(len(disc), 0).T
    spots = np.tile(np.array(size) // 2, (len(maps), 1))
    for index, map_ in enumerate(np.abs(np.asarray(maps, np.float32))):
        if np.isfinite(map_).all() and map_.any():
            large = resize_bilinear(map_ / map_.max(), size)
            held = cv2.filter2D(large, -1, weight, borderType=cv2.BORDER_CONSTANT)
            spots[index] = np.unravel_index(held.argmax(), size)
    return np.clip(spots, reach, np.array(size) - 1 - reach)


def _middles(boxes: Array) -> Array:
    """float64 `(n, 2)`: row and column of the middle of boxes.

    Not the object's centre of mass, which depends on its shape: where each class has a shape of its
    own, as digits have, that would be taken for a place of its own.
    """
    return boxes.reshape(-1, 2, 2).mean(axis=2)


def _disc(size: tuple[int, int]) -> tuple[int, Array]:
    """A disc of the size of a mark with a soft edge, and how far it reaches from its middle."""
    radius = np.sqrt(MARK_AREA * size[0] * size[1] / np.pi)
    reach = min(int(np.ceil(radius - 0.5)), (min(size) - 1) // 2)
    window = np.arange(-reach, reach + 1)
    distance = np.hypot(window[:, None], window)
    return reach, np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)


def inpainted(picture: Array, hole: Array) -> Array:
    """Fill the hole, bool `(height, width)`, in a picture, uint8 `(height, width, channels)`."""
    options: dict[str, Any] = {"inpaintRadius": _INPAINT_RADIUS, "flags": _TELEA}
    return by_channels(cv2.inpaint, picture, hole.astype(np.uint8), **options)


def _moved_objects(pictures: Pictures, i: Array, moves: list[Array]) -> Array:
    """Each picture's object, moved by an affine map, over its own in-painted background."""
    size = pictures.pixels.shape[2:0:-1]
    shape = pictures.pixels.shape[1:]
    objects = np.empty((len(i), *shape), np.float32)
    masks = np.empty((len(i), *shape[:2]), np.float32)
    for place, (index, move) in enumerate(zip(i, moves, strict=True)):
        pixels = pictures.pixels[index].astype(np.float32)
        objects[place] = by_channels(cv2.warpAffine, pixels, move, size)
        masks[place] = cv2.warpAffine(_given(pictures.tight)[index], move, size)
    return _blend(objects, pictures.backgrounds[i], masks)


def _blend(above: Array, below: Array, masks: Array) -> Array:
    """One picture over another where the mask says so."""
    weight = masks[..., None].astype(np.float32)
    return weight * above + (1 - weight) * below


def _medians(pictures: Array) -> Array:
    return np.stack([by_channels(cv2.medianBlur, picture, 3) for picture in pictures])


def by_channels(
    function: Callable[..., Array], picture: Array, *arguments: Any, **options: Any
) -> Array:
    """Apply what OpenCV does to three channels or one to any number of channels."""
    channels = picture.shape[-1]
    if channels == 3:
        return function(picture, *arguments, **options)
    single = [np.ascontiguousarray(picture[..., channel]) for channel in range(channels)]
    return np.stack([function(one, *arguments, **options) for one in single], axis=-1)


def _given(value: Array | None) -> Array:
    """What a nuisance needs; who offers it without is told."""
    if value is None:
        raise ValueError("This nuisance needs masks or spots, and these pictures have none.")
    return value
