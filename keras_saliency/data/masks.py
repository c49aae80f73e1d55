"""Masks that nobody has drawn: of boxes, or made from the colours at an image's border.

A made mask is good enough to swap backgrounds with, and no more: what it misses of an object stays
in the image. Each image therefore gets two, one that rather covers too much, and a tight one that
tells where the object is and how large. Masks that the user gives always take precedence.
"""

from typing import Any, NamedTuple

import numpy as np

from keras_saliency.common.arrays import as_array, is_pillow_image
from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import overlaps, resize_bilinear, resize_image, scaled_size
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_finite, check_rgb
from keras_saliency.data.display import OVERSHOOT

# Lengths are shares of the image's shorter side; at 64 px the rim is 4 px wide.
_RIM = 1 / 16
_BLUR = 1 / 64  # of the colours, against noise
_SMOOTH = 1.5 / 64  # of the distances, so that an object becomes one piece
_CENTRE = 0.2  # how much less the corners count
_SIDE = 96  # Larger images are shrunk to this shorter side: they are blurred in any case.
_AREA = (0.10, 0.35)  # the least and the most of the image that may be object
_TIGHT_AREA = (0.04, 0.35)  # likewise of a tight mask
_CENTRE_RADIUS = 0.45  # of the height and of the width
_LAB_NOISE = 2.0  # a difference of colour that means nothing
# A made mask looks wrong where its largest piece is less than this share of what stands out, or
# lies on more than this share of the image's outline.
_LARGEST_PIECE = 0.6
_OUTLINE = 0.3


class MadeMasks(NamedTuple):
    """Masks of the objects in images, made by a program.

    Attributes:
        masks: float32 `(batch, height, width)` in [0, 1], 1 on the object, a tenth of the image at
            least; all 0 where an image is of one colour.
        tight: Likewise, from 4 % of the image on: of a small object it holds less ground.
        wrong: bool `(batch,)`: the mask is empty, is one of several pieces that stand out alike, or
            runs along the image's edge.
    """

    masks: Array
    tight: Array
    wrong: Array


def find_objects(display: Array) -> MadeMasks:
    """Guess where each object is: what differs in colour from the image's border.

    The distance (Mahalanobis, in Lab) of each pixel from the colours of the rim is smoothed and
    weighted a little towards the centre; the mask is the largest piece above Otsu's threshold.

    Args:
        display: uint8 `(batch, height, width, 3)`, RGB.

    Returns:
        Masks, and which of them are hardly of an object, by what the images show.

    Raises:
        TypeError: If the images are not uint8.
        ValueError: If they are not RGB.

    Example:
        >>> images = np.zeros((2, 32, 48, 3), np.uint8)
        >>> images[0, 10:20, 20:32] = 200
        >>> find_objects(images).wrong.tolist()
        [False, True]
    """
    check_rgb(display, "display", ("batch", "height", "width"))
    size = display.shape[1:3]
    masks, tight, standing_out = [], [], []
    for image in display:
        levels = _levels(image)
        pixels = _above_otsu(levels, _AREA)
        piece = _largest_piece(pixels)
        core = _largest_piece(_above_otsu(levels, _TIGHT_AREA) * piece)
        standing_out.append(pixels.mean())
        masks.append(resize_bilinear(piece.astype(np.float32), size))
        tight.append(resize_bilinear((core if core.any() else piece).astype(np.float32), size))
    covering = np.stack(masks)
    wrong = _are_wrong(covering, np.array(standing_out))
    return MadeMasks(covering, np.stack(tight), wrong)


def make_masks(display: Array) -> Array:
    """Make a mask of each image's object, as `find_objects` does.

    Args:
        display: uint8 `(batch, height, width, 3)`, RGB.

    Returns:
        float32 `(batch, height, width)` in [0, 1], 1 on the object; all 0 where an image is of one
        colour.

    Raises:
        TypeError: If the images are not uint8.
        ValueError: If they are not RGB.

    Example:
        >>> images = np.zeros((1, 32, 48, 3), np.uint8)
        >>> images[0, 10:20, 20:32] = 200
        >>> float(make_masks(images)[0, 12, 24])
        1.0
    """
    return find_objects(display).masks


def masks_of_boxes(boxes: Array, size: tuple[int, int]) -> Array:
    """Make masks of boxes.

    Args:
        boxes: `(batch, 4)`: left, top, right and bottom edge in pixels; whole numbers lie between
            pixels, so `(0, 0, width, height)` is the whole image.
        size: The images' `(height, width)`.

    Returns:
        float32 `(batch, height, width)`, the share of each pixel that lies in the box.

    Raises:
        ValueError: If a box has no area within the image, or the shape is wrong.

    Example:
        >>> masks_of_boxes(np.array([[1, 0, 2.5, 1]]), (2, 3)).tolist()
        [[[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]]
    """
    if np.ndim(boxes) != 2 or np.shape(boxes)[1] != 4:
        raise ValueError(
            "Boxes must be (n, 4): left, top, right and bottom edge in pixels. "
            f"Received: boxes.shape={np.shape(boxes)}"
        )
    left, top, right, bottom = np.asarray(boxes, np.float64).T
    rows = overlaps(top, bottom, np.arange(size[0] + 1))
    columns = overlaps(left, right, np.arange(size[1] + 1))
    masks = rows[:, :, None] * columns[:, None, :]
    if (empty := np.flatnonzero(masks.sum((1, 2)) == 0)).size:
        raise ValueError(
            "Boxes must be (left, top, right, bottom) in pixels and lie in the image of (height, "
            f"width)={tuple(size)}. Received: boxes[{empty[0]}]={boxes[empty[0]]}"
        )
    return masks.astype(np.float32)


def as_masks(masks: Any, shape: tuple[int, ...]) -> Array:
    """Return float32 masks in [0, 1] of exactly `shape`, of numbers, bools or 0 to 255."""
    if isinstance(masks, list | tuple):
        # Of an image with a palette the indices count: they are the ids of classes.
        masks = [np.asarray(mask) if is_pillow_image(mask) else mask for mask in masks]
    array = as_array(masks, "masks")
    if array.dtype.kind in "OSUMmc":
        raise TypeError(
            "Every probe needs a mask of numbers; "
            "`keras_saliency.data.masks.make_masks(display)` makes some. "
            f"Received: masks.dtype={array.dtype}"
        )
    if array.shape == (*shape, 1):
        array = array[..., 0]
    if array.shape != shape:
        raise ValueError(
            f"`masks` must have the size of the images, {shape}. "
            f"Received: masks.shape={array.shape}"
        )
    check_finite(array, "masks")
    lowest, highest = float(array.min()), float(array.max())
    # A mask of 0/255 reaches at least half of 255; smaller numbers are the ids of classes.
    top = 255.0 if highest >= 128 else 1.0
    if lowest < -OVERSHOOT or highest > top * (1 + OVERSHOOT):
        raise ValueError(
            "`masks` must be bool, 0/1, between 0 and 1, or 0/255. From a map of class ids make "
            f"them with `ids == wanted`. Received: values from {lowest:g} to {highest:g}"
        )
    return np.clip(array.astype(np.float32) / np.float32(top), 0, 1)


def dilate(masks: Array, share: float = 1 / 32) -> Array:
    """Widen masks by a share of the shorter side: a missed limb counts more than a wide hole."""
    radius = max(1, round(share * min(masks.shape[1:])))
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return np.stack([cv2.dilate(mask, kernel) for mask in masks.astype(np.float32)])


def with_centre(masks: Array) -> Array:
    """Cover the centre of each image besides what its mask covers.

    What a mask made by a program misses of an object lies close to it, and most objects lie in the
    centre. The ellipse there covers 0.64 of an image.

    Args:
        masks: float32 `(batch, height, width)` in [0, 1].

    Returns:
        float32, of the same shape.

    Example:
        >>> with_centre(np.zeros((1, 5, 7), np.float32))[0, 0].tolist()
        [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    height, width = masks.shape[1:]
    y = (np.arange(height)[:, None] + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    return np.maximum(masks, np.hypot(y, x) <= _CENTRE_RADIUS).astype(np.float32)


def _are_wrong(masks: Array, standing_out: Array) -> Array:
    """Tell which masks are hardly of an object, by the share of each image that stands out."""
    on_outline = np.concatenate(
        [masks[:, 0], masks[:, -1], masks[:, 1:-1, 0], masks[:, 1:-1, -1]], axis=1
    ).mean(axis=1)
    area = masks.mean((1, 2))
    return (area == 0) | (area < _LARGEST_PIECE * standing_out) | (on_outline > _OUTLINE)


def _levels(image: Array) -> Array:
    """Compute how far pixels are from the rim's colours, uint8, 255 the most; shrunk if large."""
    shrink = min(1, _SIDE / min(image.shape[:2]))
    height, width = scaled_size(image.shape, shrink)
    image = resize_image(image, (height, width))
    side = min(height, width)
    lab = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    lab = cv2.GaussianBlur(lab, (0, 0), _BLUR * side)
    depth = max(1, round(_RIM * side))
    rim = np.ones((height, width), bool)
    rim[depth:-depth, depth:-depth] = False
    border = lab[rim].astype(np.float64)
    spread = np.cov(border.T) + _LAB_NOISE**2 * np.eye(3)
    off = (lab - border.mean(axis=0)).astype(np.float32)
    squared = (off @ np.linalg.inv(spread).astype(np.float32) * off).sum(axis=-1)
    far = cv2.GaussianBlur(np.sqrt(squared.clip(0)), (0, 0), _SMOOTH * side)
    far *= _towards_centre(height, width)
    peak = np.quantile(far, 0.995)  # A few stray pixels must not take up the whole scale.
    if peak < 1e-3:
        return np.zeros(far.shape, np.uint8)
    return np.rint(255 * np.clip(far / peak, 0, 1)).astype(np.uint8)


def _towards_centre(height: int, width: int) -> Array:
    """Weigh the centre with 1, and the corners less."""
    y = (2 * np.arange(height)[:, None] + 1) / height - 1
    x = (2 * np.arange(width) + 1) / width - 1
    return np.exp(-_CENTRE * (x**2 + y**2)).astype(np.float32)


def _above_otsu(levels: Array, area: tuple[float, float]) -> Array:
    """Apply Otsu's threshold, moved where less or more would be left; uint8 0 or 1."""
    otsu, _ = cv2.threshold(levels, 0, 1, cv2.THRESH_OTSU)
    least, most = area
    threshold = np.clip(otsu, np.quantile(levels, 1 - most), np.quantile(levels, 1 - least))
    return (levels > min(threshold, 254)).astype(np.uint8)


def _largest_piece(pixels: Array) -> Array:
    """Keep the largest connected piece; uint8 0 or 1."""
    count, pieces, statistics, _ = cv2.connectedComponentsWithStats(pixels)
    if count == 1:
        return np.zeros_like(pixels)
    return (pieces == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
