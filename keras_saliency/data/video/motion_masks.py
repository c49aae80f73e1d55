"""Motion of its own: maps of its speed, and masks made of these."""

from itertools import pairwise

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array
from keras_saliency.data.video.camera_motion import camera, displacement
from keras_saliency.data.video.optical_flow import Algorithm, flow, grey

_NOISE = 0.3  # pixels a frame: what moves less stands still
_SHARE = 0.4  # of a frame's fastest pixels: what moves as fast is a mover
_LEAST_PEAK = 0.4  # of the usual frame's peak: a frame in which nothing moves has no mover
_STRAY = 0.995  # A few stray pixels must not set the scale.
_CRUMB = 0.1  # of the largest piece of a frame: smaller ones are none
_CLOSED = 5  # pixels: gaps that are closed


def motion_of(video: Array, algorithm: Algorithm = "dis") -> tuple[Array, Array]:
    """Compute how fast each pixel of one video moves by itself, and how the camera moved.

    The speed is the length of the flow less the camera's, of a frame to the next and to the one
    before, and of these two the geometric mean: behind a mover and before it, where the scene is
    uncovered or hidden, only one of the two errs.

        M_t = sqrt(|F_t,t+1 - C_t,t+1| |F_t,t-1 - C_t,t-1|)

    Args:
        video: uint8 `(frames, height, width, channels)`, of two frames at least.
        algorithm: Of the flow.

    Returns:
        The map, float32 `(frames, height, width)` in pixels a frame, and the homographies
        `(frames - 1, 3, 3)` from each frame to the next.
    """
    pairs = [*pairwise(grey(video))]
    forward, cameras = zip(*(_speed(here, other, algorithm) for here, other in pairs), strict=True)
    backward, _ = zip(*(_speed(here, other, algorithm) for other, here in pairs), strict=True)
    onward, back = np.stack([*forward, backward[-1]]), np.stack([forward[0], *backward])
    return np.sqrt(onward * back).astype(np.float32), np.stack(cameras)


def _speed(here: Array, other: Array, algorithm: Algorithm) -> tuple[Array, Array]:
    """Return how fast pixels move by themselves from a frame to another, and the homography."""
    moved = flow(here, other, algorithm)
    homography = camera(moved, here)
    return np.linalg.norm(moved - displacement(homography, here.shape), axis=-1), homography


def mask_of(map_: Array) -> Array:
    """Make the mask of what moves in one video.

    In each frame it is what moves at least 0.4 times as fast as the fastest does there, gaps closed
    and holes filled.

    Args:
        map_: `(frames, height, width)`, pixels a frame, as `motion_of` gives it.

    Returns:
        float32 `(frames, height, width)`, 0 or 1; nothing in frames where all stands still.
    """
    peaks = np.quantile(map_.reshape(len(map_), -1), _STRAY, axis=1)
    peaks = np.clip(peaks, _LEAST_PEAK * np.median(peaks), np.quantile(map_, _STRAY))
    thresholds = np.maximum(_SHARE * peaks, _NOISE)
    moving = (map_ > thresholds[:, None, None]).astype(np.uint8)
    return np.stack([_whole(frame) for frame in moving]).astype(np.float32)


def masks_of(clips: Array) -> Array:
    """Make the masks of what moves in videos.

    Args:
        clips: uint8 `(batch, frames, height, width, channels)`.

    Returns:
        float32 `(batch, frames, height, width)`, 0 or 1.

    Raises:
        ValueError: If there is one frame only.
    """
    check_clips(clips)
    return np.stack([mask_of(motion_of(clip)[0]) for clip in clips])


def bridged(mask: Array) -> Array:
    """Fill the frames of a video in which nothing was seen to move.

    What rests for a moment is where it was before and where it will be, or between.

    Args:
        mask: `(frames, height, width)`, as `mask_of` makes it.

    Returns:
        The same with no frame empty, unless all are.

    Example:
        >>> bridged(np.array([[[1, 0, 0]], [[0, 0, 0]], [[0, 1, 0]]]))[1].tolist()
        [[1, 1, 0]]
    """
    moving = np.flatnonzero(mask.any((1, 2)))
    whole = mask.copy()
    for t in np.flatnonzero(~mask.any((1, 2))) if moving.size else ():
        near = {
            moving[moving < t].max(initial=moving[0]),
            moving[moving > t].min(initial=moving[-1]),
        }
        whole[t] = mask[list(near)].max(axis=0)
    return whole


def check_clips(clips: Array) -> None:
    """Refuse videos in which nothing can move."""
    if clips.shape[1] < 2:
        raise ValueError(
            "What moves is found between frames, and two are needed. Received: videos of "
            f"{clips.shape[1]} frame, shape {clips.shape}"
        )


def _whole(moving: Array) -> Array:
    """Close gaps, fill holes, and leave out crumbs; uint8 0 or 1."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_CLOSED, _CLOSED))
    closed = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, kernel)
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(closed)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    _, pieces, statistics, _ = cv2.connectedComponentsWithStats(filled)
    areas = statistics[:, cv2.CC_STAT_AREA]
    kept = areas >= _CRUMB * areas[1:].max(initial=0)
    kept[0] = False
    return kept[pieces].astype(np.uint8)
