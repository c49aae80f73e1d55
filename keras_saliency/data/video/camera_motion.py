"""The camera's own movement between two frames, and what is left without it."""

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array
from keras_saliency.data.video.optical_flow import grey

_POINTS = 2000  # at most, evenly over the frame
_FLAT = 0.3  # of the pixels, those with the least texture: their flow is guessed
_NEAR = 0.5  # pixels: what moves like the camera does so within this
_LEAST = 0.5  # of the points: where fewer move as one, nothing is known of the camera
_STILL = 0.2  # pixels, and the share of points, that a moving camera must explain better
_AS_GOOD = 0.95  # than one that stands still


def camera(flow: Array, frame: Array, ignored: Array | None = None) -> Array:
    """Compute how the camera moved: the homography that most of the frame follows.

    It is estimated by RANSAC (Fischler and Bolles 1981) over points with texture. What moves must
    be the smaller part of the frame: a mover that fills most of it is taken for the scene. Scenes
    of depth have parallax, which no homography describes: what is near then seems to move.

    Args:
        flow: `(height, width, 2)`, from this frame to another.
        frame: The frame, uint8 `(height, width)` or `(height, width, channels)`.
        ignored: bool `(height, width)`, pixels that are known to move by themselves.

    Returns:
        float64 `(3, 3)`, from points `(x, y, 1)` in this frame to those in the other; the identity
        where the camera stands still, or nothing can be known.

    Example:
        >>> frame = np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)
        >>> panned = np.full((50, 70, 2), (3.0, -1.0), np.float32)
        >>> camera(panned, frame).round(3)[:2, 2].tolist()
        [3.0, -1.0]
    """
    shade = grey(frame[None])[0]
    texture = cv2.cornerMinEigenVal(shade, 5)
    useful = texture >= np.quantile(texture, _FLAT)
    if ignored is not None and (useful & ~ignored).any():
        useful &= ~ignored
    rows, columns = np.nonzero(useful)
    step = -(-len(rows) // _POINTS)
    rows, columns = rows[::step], columns[::step]
    before = np.stack([columns, rows], axis=-1).astype(np.float64)
    moved = flow[rows, columns].astype(np.float64)
    if len(before) < 8:
        return np.eye(3)
    homography, _ = cv2.findHomography(before, before + moved, cv2.RANSAC, _NEAR)
    if homography is None:
        return np.eye(3)
    left = np.linalg.norm(_moved(homography, before) - moved, axis=-1)
    stands = np.mean(np.linalg.norm(moved, axis=-1) < _STILL)
    if np.mean(left < _NEAR) < _LEAST or stands >= _AS_GOOD * np.mean(left < _STILL):
        return np.eye(3)
    return homography


def displacement(homography: Array, size: tuple[int, int]) -> Array:
    """Compute how far a camera's movement moves each pixel.

    Args:
        homography: `(3, 3)`, as `camera` gives it.
        size: The frame's `(height, width)`.

    Returns:
        float64 `(height, width, 2)`, pixels to the right and down.

    Example:
        >>> displacement(np.array([[1, 0, 2], [0, 1, 0], [0, 0, 1]]), (1, 2)).tolist()
        [[[2.0, 0.0], [2.0, 0.0]]]
    """
    rows, columns = np.indices(size, np.float64)
    points = np.stack([columns, rows], axis=-1)
    return _moved(homography, points.reshape(-1, 2)).reshape(points.shape)


def _moved(homography: Array, points: Array) -> Array:
    """Compute how far a homography moves points `(n, 2)`."""
    ends = points @ homography[:, :2].T + homography[:, 2]
    return ends[:, :2] / ends[:, 2:] - points
