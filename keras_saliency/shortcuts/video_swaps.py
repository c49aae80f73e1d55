"""Twins of videos: made frame by frame, of one donor a clip.

What a nuisance does to pictures it does to the frames of clips, all with the frames of the one
donor: the object is what moves, and the background the scene behind it.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise, repeat
from typing import Any

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array
from keras_saliency.data.normalization import rgb
from keras_saliency.data.video.camera_motion import camera
from keras_saliency.data.video.optical_flow import flow, grey
from keras_saliency.shortcuts.nuisances import Pictures, Twins, by_channels, inpainted

_CLEAR = 0.99  # the share of a pixel that must show scene to be taken from another frame


class Clips:
    """Videos of one kind, receivers or donors.

    Attributes:
        pixels: uint8 `(n, frames, height, width, channels)`, as displayed.
        labels: int64 `(n,)`, classes.
        masks: float32 `(n, frames, height, width)` in [0, 1], 1 on what moves; or `None`.
        each: The `Pictures` of all frames, those of a clip one after the other.
    """

    def __init__(self, pixels: Array, labels: Array, masks: Array | None) -> None:
        self.pixels, self.labels, self.masks = pixels, labels, masks
        self.each = Frames(pixels, labels, masks)
        self.spots: Array | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def rows(self, index: Array) -> Array:
        """Which frames are those of some clips, int64 `(clips * frames,)`."""
        count = self.pixels.shape[1]
        return (index[:, None] * count + np.arange(count)).reshape(-1)


class Frames(Pictures):
    """The frames of clips, of which those of a clip have one cast, one texture and one place."""

    def __init__(self, pixels: Array, labels: Array, masks: Array | None, first: int = 0) -> None:
        self._count, self._first = pixels.shape[1], first
        flat = None if masks is None else masks.reshape(-1, *masks.shape[2:])
        super().__init__(pixels.reshape(-1, *pixels.shape[2:]), labels.repeat(self._count), flat)

    @cached_property
    def backgrounds(self) -> Array:
        """The scene without what moves: as other frames show it, in-painted where none does."""
        clips = zip(self._by_clip(self.pixels), self._by_clip(self.hidden), strict=True)
        return np.concatenate([scene_of(*clip) for clip in clips])

    @cached_property
    def casts(self) -> Array:
        """The mean of each clip's frames."""
        return self._alike(self._clip_by_clip("casts"))

    @cached_property
    def residuals(self) -> Array:
        """As of pictures; the phases are those of the clip."""
        return self._clip_by_clip("residuals")

    @cached_property
    def areas(self) -> Array:
        """The mean of each clip's frames."""
        return self._alike(super().areas)

    @cached_property
    def reaches(self) -> Array:
        """All that the object of a clip passes, so that it is moved with its whole way."""
        found = np.empty((len(self) // self._count, 4), int)
        moves = self._by_clip(np.any(np.asarray(self.tight), axis=(1, 2)))
        for k, (boxes, moving) in enumerate(zip(self._by_clip(self.boxes), moves, strict=True)):
            met = boxes[moving] if moving.any() else boxes
            top, _, left, _ = met.min(axis=0)
            _, bottom, _, right = met.max(axis=0)
            found[k] = top, bottom, left, right
        return found.repeat(self._count, axis=0)

    def _seed(self, index: int) -> int:
        return self._first

    def _clip_by_clip(self, name: str) -> Array:
        """Compute what pictures have: of all frames at once it would take too much memory."""
        masks = repeat(None) if self.masks is None else self._by_clip(self.masks)
        parts = zip(
            self._by_clip(self.pixels), masks, self._by_clip(self.backgrounds), strict=False
        )
        found = []
        for k, (pixels, mask, scenes) in enumerate(parts):
            given = None if mask is None else mask[None]
            clip = Frames(pixels[None], self.labels[:1], given, k)
            clip.backgrounds = scenes
            found.append(getattr(super(Frames, clip), name))
        return np.concatenate(found)

    def _by_clip(self, values: Array) -> Array:
        return values.reshape(-1, self._count, *values.shape[1:])

    def _alike(self, values: Array) -> Array:
        return self._by_clip(values).mean(axis=1).repeat(self._count, axis=0)


Shots = Pictures | Clips


def twins_of(twins: Twins, receivers: Shots, donors: Shots, i: Array, j: Array) -> Array:
    """Make twins of pictures, or of clips.

    Args:
        twins: What makes twins of pictures.
        receivers: What something is put into.
        donors: What it is taken from.
        i: Which receivers, int `(pairs,)`.
        j: Their donors, int `(pairs,)`.

    Returns:
        float32 `(pairs, [frames,] height, width, channels)`, 0 to 255.
    """
    if isinstance(receivers, Pictures) or isinstance(donors, Pictures):
        return twins(receivers, donors, i, j)  # type: ignore[arg-type]
    made = twins(receivers.each, donors.each, receivers.rows(i), donors.rows(j))
    return made.reshape(len(i), -1, *made.shape[1:])


def stills(pixels: Array) -> Array:
    """Show videos in print: two of their frames, the earlier one above.

    Args:
        pixels: `(n, frames, height, width, channels)`; pictures are returned as they are.

    Returns:
        `(n, 2 * height + 1, width, channels)`, a line between the frames.
    """
    if pixels.ndim != 5:
        return pixels
    count = pixels.shape[1]
    first, last = pixels[:, count // 4], pixels[:, count - 1 - count // 4]
    line = np.full_like(first[:, :1], 255 if pixels.dtype == np.uint8 else 0)
    return np.concatenate([first, line, last], axis=1)


def scene_of(clip: Array, hidden: Array) -> Array:
    """Take what moves out of a clip.

    What it hides in a frame is taken from the nearest frame that shows it, by the way in which the
    camera moved (RANSAC on the flow of what is not hidden); what is hidden in all is in-painted.

    Args:
        clip: uint8 `(frames, height, width, channels)`.
        hidden: bool `(frames, height, width)`, what moves and what is close to it.

    Returns:
        uint8 `(frames, height, width, channels)`.

    Example:
        >>> clip = np.full((3, 16, 24, 1), 90, np.uint8)
        >>> clip[1, 4:9, 5:9] = 200
        >>> bool((scene_of(clip, clip[..., 0] > 100) == 90).all())
        True
    """
    if not hidden.any():
        return clip
    ways = _ways(clip, hidden)
    scene, clear = clip.copy(), (~hidden).astype(np.float32)
    size = clip.shape[2:0:-1]
    options: dict[str, Any] = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP}
    for t in range(len(clip)):
        left = hidden[t].copy()
        for s in sorted(range(len(clip)), key=lambda s: abs(s - t))[1:]:
            if not left.any():
                break
            way = np.linalg.inv(ways[s]) @ ways[t]
            shown = left & (cv2.warpPerspective(clear[s], way, size, **options) > _CLEAR)
            other = by_channels(cv2.warpPerspective, clip[s], way, size, **options)
            scene[t][shown] = other[shown]
            left &= ~shown
        if left.any():
            scene[t] = inpainted(scene[t], left)
    return scene


def _ways(clip: Array, hidden: Array) -> list[Array]:
    """Homographies from places in each frame to those in the first one."""
    shades, ways = grey(rgb(clip)), [np.eye(3)]
    for t, (first, second) in enumerate(pairwise(shades)):
        ways.append(ways[t] @ camera(flow(second, first), second, hidden[t + 1]))
    return ways
