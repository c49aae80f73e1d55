"""What a person sees of probes: images in colour, curves of signals, frames of volumes."""

from typing import Any

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.data.frames import chosen_frames, mosaic_of
from keras_saliency.data.inputs import Kind, image_batch

# Tried in this order, so that an image is given the narrowest range that holds it.
KNOWN_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
# Interpolation overshoots a little: this share of the span still counts as rounding.
OVERSHOOT = 0.01
# Of values of an unknown range, from black to white: one bright tag must not leave the rest grey.
_SHOWN = (1, 99)  # percentiles
_SAMPLED = 1_000_000  # values, from which these are computed

_STRIP = 360  # the least width of a displayed signal or volume
_CURVES = 6  # as many channels as are drawn as curves
_INK = (33, 33, 33)


def find_range(images: Array) -> tuple[tuple[float, float], bool]:
    """Return the range of all images together, and whether it is one of the known ones."""
    if images.dtype == np.uint8:
        return (0.0, 255.0), True
    lowest, highest = float(images.min()), float(images.max())
    # Of the values' own span: 1 % of 255 would let standardised values of -2 to 2 pass for bytes.
    slack = OVERSHOOT * (highest - lowest)
    for low, high in KNOWN_RANGES:
        if low - slack <= lowest and highest <= high + slack:
            return (low, high), True
    return (lowest, highest), False


def displayed(images: Array, kind: Kind, value_range: tuple[float, float], known: bool) -> Array:
    """Show images `(batch, *grid, channels)`: uint8 `(batch, [frames,] height, width, 3)`."""
    if kind == "signal":
        return _drawn_signals(images)
    if known:
        return _to_rgb(images, value_range)
    window = shown_range(images)
    warn_user(
        "The images' values run from {:g} to {:g}, which is none of [0, 1], [-1, 1] and [0, 255]: "
        "they are shown stretched linearly from {:g} to {:g}, their 1st and 99th percentile, with "
        "one scale for all probes. For true colours pass the raw images with `preprocess=`, or "
        "what a person should see as `display=`.".format(*value_range, *window)
    )
    return _to_rgb(images, window)


def shown_range(images: Array) -> tuple[float, float]:
    """Return what is shown as black and as white, of images of an unknown range.

    Args:
        images: Floats `(batch, *grid, channels)`, of which the channels that are shown count.

    Returns:
        The 1st and the 99th percentile of all images together, or the extremes where nearly all
        values are equal. Of many values a sample is taken, always the same.

    Example:
        >>> scan = np.linspace(0, 100, 100).reshape(1, 10, 10, 1)
        >>> scan[0, 0, 0] = 30_000  # A metal tag.
        >>> low, high = shown_range(scan)
        >>> round(low), round(high)
        (2, 399)
    """
    values = images[..., : 3 if images.shape[-1] >= 3 else 1].reshape(-1)
    if values.size > _SAMPLED:
        values = values[np.random.default_rng(0).integers(0, values.size, _SAMPLED)]
    low, high = map(float, np.percentile(values, _SHOWN))
    return (low, high) if high > low else (float(images.min()), float(images.max()))


def convert_display(display: Any, kind: Kind, images: Array) -> Array:
    """Convert the images given for display to uint8 RGB, of volumes with all of their frames."""
    array, _, _ = image_batch(display, "display", "volume" if kind == "volume" else "image")
    value_range, known = find_range(array)
    frames = images.shape[1] if kind == "volume" else None
    fits = len(array) == len(images) and frames in (None, array.shape[1])
    if not fits or array.shape[-1] not in (1, 3) or not known:
        each = "per probe" if frames is None else f"of {frames} frames per probe"
        raise ValueError(
            f"`display` must be {len(images)} greyscale or RGB images, one {each}, uint8 or with "
            "values in [0, 1], [-1, 1] or [0, 255]. Received: "
            f"display.shape={array.shape}, values from {array.min():g} to {array.max():g}"
        )
    return _to_rgb(array.astype(np.float32), value_range)


def strips(clips: Array) -> Array:
    """Lay some frames of `(batch, frames, height, width, 3)` side by side, white lines between."""
    frames = clips[:, chosen_frames(clips.shape[1])]
    count, shown, height, width = frames.shape[:4]
    rows, columns = mosaic_of(shown)
    times = max(1, -(-_STRIP // (columns * width)))
    cells = np.full((count, rows * columns, times * height, times * width, 3), 255, np.uint8)
    cells[:, :shown] = frames.repeat(times, axis=2).repeat(times, axis=3)
    cells = cells.reshape(count, rows, columns, *cells.shape[2:])
    cells[:, 1:, :, 0] = 255
    cells[:, :-1, :, -1] = 255
    cells[:, :, 1:, :, 0] = 255
    cells[:, :, :-1, :, -1] = 255
    return cells.swapaxes(2, 3).reshape(count, rows * times * height, -1, 3)


def _to_rgb(images: Array, value_range: tuple[float, float]) -> Array:
    """Convert float images to uint8 RGB, with one scale for all probes."""
    low, high = value_range
    channels = images.shape[-1]
    if channels not in (1, 3):
        warn_user(
            f"Images of {channels} channels can't be shown in colour: the first "
            f"{'three are taken for red, green and blue' if channels > 3 else 'is shown'}. Pass "
            "what a person should see as `display=` (and put the channels last). "
            f"Received: images.shape={images.shape}"
        )
    shown = images[..., : 3 if channels >= 3 else 1]
    span = high - low if high > low else 1.0
    scaled = np.empty(shown.shape, np.uint8)
    for index, image in enumerate(shown):  # one by one: of thousands, floats would fill memory
        scaled[index] = np.rint(np.clip((image - low) / span, 0, 1) * 255)
    return np.broadcast_to(scaled, (*scaled.shape[:-1], 3))


def _drawn_signals(signals: Array) -> Array:
    """Draw `(batch, time, channels)`: curves, or, of many channels, one pale row a channel."""
    low, high = signals.min(axis=(0, 1)), signals.max(axis=(0, 1))
    # Every channel on a scale of its own, the same for all probes: units may differ.
    values = (signals - low) / np.where(high > low, high - low, 1.0)
    draw = _rows if signals.shape[-1] > _CURVES else _curves
    return np.stack([draw(value) for value in values])


def _curves(values: Array) -> Array:
    """Draw `(time, channels)` in [0, 1], a lane for each channel, dark on white."""
    times, channels = values.shape
    lane = max(40, 120 // channels)
    drawn = np.full((lane * channels, _STRIP, 3), 255, np.uint8)
    x = (np.arange(times) + 0.5) * _STRIP / times - 0.5  # the middle of the map's cell
    for channel in range(channels):
        y = lane * channel + 4 + (1 - values[:, channel]) * (lane - 9)
        points = np.rint(np.stack([x, y], axis=-1) * 16).astype(np.int32)
        cv2.polylines(drawn, [points[:, None]], False, _INK, 1, cv2.LINE_AA, 4)
    return drawn


def _rows(values: Array) -> Array:
    """Draw `(time, channels)` in [0, 1] as shades of grey, the first channel at the bottom."""
    pale = np.rint(255 - 165 * values.T[::-1]).astype(np.uint8)
    height = max(120, pale.shape[0])
    large = cv2.resize(pale, (_STRIP, height), interpolation=cv2.INTER_NEAREST)
    return np.repeat(large[..., None], 3, axis=-1)
