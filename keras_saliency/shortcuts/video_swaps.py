"""Counterfactual videos, composed frame by frame of a receiver and one donor.

A nuisance is swapped between the frames of the two: the object is what moves, and the background
is the scene behind it.
"""

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array
from keras_saliency.data.normalization import rgb
from keras_saliency.data.video.camera_motion import camera
from keras_saliency.data.video.optical_flow import flow, grey
from keras_saliency.shortcuts.images import ImageSet, Inputs, Swap, by_channels, inpainted

_CLEAR = 0.99  # share of a pixel that must show the scene to be taken from another frame


class VideoSet:
    """Videos, either receivers or donors.

    Args:
        pixels: uint8 `(n, frames, height, width, channels)`, as displayed.
        labels: int64 `(n,)`, classes.
        masks: float32 `(n, frames, height, width)` in [0, 1], 1 on what moves; or `None`.
        extras: The model's other inputs by name or position, a row for each video.

    Attributes:
        frames: An `ImageSet` of all frames, those of a video one after the other.
        spots: `None`: salient patches are not located in videos.
    """

    def __init__(
        self,
        pixels: Array,
        labels: Array,
        masks: Array | None,
        extras: Mapping[str | int, Array] | None = None,
    ) -> None:
        self.pixels, self.labels, self.masks = pixels, labels, masks
        self.extras = {} if extras is None else dict(extras)
        self.frames = _Frames(pixels, labels, masks, extras=self.extras)
        self.spots: Array | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def inputs(self, index: Array | slice = slice(None)) -> Inputs:
        """Return what a model gets of some of the videos, by default of all."""
        return Inputs(self.pixels[index], {name: rows[index] for name, rows in self.extras.items()})

    def counterfactuals(self, swap: Swap, donors: Any, i: Array, j: Array) -> Inputs:
        """Swap something between receivers, which these are, and donors.

        Args:
            swap: The function of a `Nuisance`.
            donors: A `VideoSet`.
            i: Indices of receivers, int `(pairs,)`.
            j: Indices of their donors, int `(pairs,)`.

        Returns:
            Counterfactual videos `(pairs, frames, height, width, channels)` from 0 to 255, with
            their other inputs.
        """
        frames = self._frames_of(i), self._frames_of(j)
        made = self.frames.counterfactuals(swap, donors.frames, *frames)
        extras = {name: rows[:: self.pixels.shape[1]] for name, rows in made.extras.items()}
        return Inputs(made.pixels.reshape(len(i), *self.pixels.shape[1:]), extras)

    def _frames_of(self, index: Array) -> Array:
        """The indices of the frames of some videos, int64 `(videos * frames,)`."""
        count = self.pixels.shape[1]
        return (index[:, None] * count + np.arange(count)).reshape(-1)


ExampleSet = ImageSet | VideoSet


class _Frames(ImageSet):
    """The frames of videos; those of one video share one cast, one texture and one position."""

    def __init__(
        self,
        pixels: Array,
        labels: Array,
        masks: Array | None,
        first: int = 0,
        extras: Mapping[str | int, Array] | None = None,
    ) -> None:
        self._count = pixels.shape[1]
        flat = None if masks is None else masks.reshape(-1, *masks.shape[2:])
        images, classes = pixels.reshape(-1, *pixels.shape[2:]), labels.repeat(self._count)
        others = {name: rows.repeat(self._count, axis=0) for name, rows in (extras or {}).items()}
        super().__init__(images, classes, flat, extras=others)
        self.seeds = np.full(len(self), first)

    @cached_property
    def backgrounds(self) -> Array:
        """The scene without what moves: from other frames, or in-painted where none shows it."""
        videos = zip(self._by_video(self.pixels), self._by_video(self.hidden), strict=True)
        return np.concatenate([scene_of(*video) for video in videos])

    @cached_property
    def casts(self) -> Array:
        """The mean over each video's frames."""
        return self._mean_by_video(self._one_by_one("casts"))

    @cached_property
    def exposures(self) -> Array:
        """The mean over each video's frames."""
        return self._mean_by_video(self._one_by_one("exposures"))

    @cached_property
    def lights(self) -> Array:
        """The mean over each video's frames."""
        return self._mean_by_video(self._one_by_one("lights"))

    @cached_property
    def qualities(self) -> Array:
        """That of each video's first frame."""
        return self._of_first_frames("qualities")

    @cached_property
    def scales(self) -> Array:
        """That of each video's first frame."""
        return self._of_first_frames("scales")

    @cached_property
    def residuals(self) -> Array:
        """As of images; the phases are those of the video."""
        return self._one_by_one("residuals")

    @cached_property
    def areas(self) -> Array:
        """The mean over each video's frames."""
        return self._mean_by_video(super().areas)

    @cached_property
    def reaches(self) -> Array:
        """The box around the object's whole path, so that it is moved with the path."""
        reaches = np.empty((len(self) // self._count, 4), int)
        moves = self._by_video(np.any(np.asarray(self.tight), axis=(1, 2)))
        for k, (boxes, moving) in enumerate(zip(self._by_video(self.boxes), moves, strict=True)):
            visible = boxes[moving] if moving.any() else boxes
            low, high = visible.min(axis=0), visible.max(axis=0)
            reaches[k] = low[0], high[1], low[2], high[3]
        return reaches.repeat(self._count, axis=0)

    def _one_by_one(self, name: str) -> Array:
        """Compute a property of `ImageSet` by video: all frames at once take too much memory."""
        parts = []
        for k in range(len(self) // self._count):
            rows = slice(k * self._count, (k + 1) * self._count)
            mask = None if self.masks is None else self.masks[None, rows]
            video = _Frames(self.pixels[None, rows], self.labels[:1], mask, k)
            video.backgrounds = self.backgrounds[rows]
            parts.append(getattr(super(_Frames, video), name))
        return np.concatenate(parts)

    def _of_first_frames(self, name: str) -> Array:
        first = slice(None, None, self._count)
        images = ImageSet(self.pixels[first], self.labels[first], None)
        return getattr(images, name).repeat(self._count)

    def _by_video(self, values: Array) -> Array:
        return values.reshape(-1, self._count, *values.shape[1:])

    def _mean_by_video(self, values: Array) -> Array:
        return self._by_video(values).mean(axis=1).repeat(self._count, axis=0)


def stills(pixels: Array) -> Array:
    """Show each video as a still: two of its frames, the earlier one above.

    Args:
        pixels: `(n, frames, height, width, channels)`; images are returned as they are.

    Returns:
        `(n, 2 * height + 1, width, channels)`, with a line between the frames.
    """
    if pixels.ndim != 5:
        return pixels
    count = pixels.shape[1]
    first, last = pixels[:, count // 4], pixels[:, count - 1 - count // 4]
    line = np.full_like(first[:, :1], 255 if pixels.dtype == np.uint8 else 0)
    return np.concatenate([first, line, last], axis=1)


def scene_of(video: Array, hidden: Array) -> Array:
    """Remove what moves from a video.

    What it hides in a frame is taken from the nearest frame that shows it, through the movement of
    the camera (RANSAC on the flow of what is not hidden). What is hidden in all is in-painted.

    Args:
        video: uint8 `(frames, height, width, channels)`.
        hidden: bool `(frames, height, width)`, what moves, with a margin.

    Returns:
        uint8 `(frames, height, width, channels)`.

    Example:
        >>> video = np.full((3, 16, 24, 1), 90, np.uint8)
        >>> video[1, 4:9, 5:9] = 200
        >>> bool((scene_of(video, video[..., 0] > 100) == 90).all())
        True
    """
    if not hidden.any():
        return video
    to_first = _homographies(video, hidden)
    scene, clear = video.copy(), (~hidden).astype(np.float32)
    size = video.shape[2:0:-1]
    options: dict[str, Any] = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP}
    for t in range(len(video)):
        missing = hidden[t].copy()
        for s in sorted(range(len(video)), key=lambda s: abs(s - t))[1:]:
            if not missing.any():
                break
            warp = np.linalg.inv(to_first[s]) @ to_first[t]
            seen = missing & (cv2.warpPerspective(clear[s], warp, size, **options) > _CLEAR)
            other = by_channels(cv2.warpPerspective, video[s], warp, size, **options)
            scene[t][seen] = other[seen]
            missing &= ~seen
        if missing.any():
            scene[t] = inpainted(scene[t], missing)
    return scene


def _homographies(video: Array, hidden: Array) -> list[Array]:
    """Homographies from positions in each frame to those in the first one."""
    shades, to_first = grey(rgb(video)), [np.eye(3)]
    for t, (first, second) in enumerate(pairwise(shades)):
        to_first.append(to_first[t] @ camera(flow(second, first), second, hidden[t + 1]))
    return to_first
