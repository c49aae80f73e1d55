"""Where each pixel of a frame lies in another frame."""

from typing import Literal, get_args

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_choice

Algorithm = Literal["dis", "farneback"]

_SMALLEST = 48  # of a side: smaller frames are enlarged, or patches would not fit into them
# Farneback's pyramid (scale, levels), window, iterations, neighbourhood (size, sigma) and flags.
# A smaller window than is usual keeps the movers of small videos apart.
_FARNEBACK = (0.5, 4, 7, 5, 5, 1.1, 0)


def flow(first: Array, second: Array, algorithm: Algorithm = "dis") -> Array:
    """Compute how far each pixel of a frame moves until another frame.

    Args:
        first: uint8 `(height, width)`, or `(height, width, channels)`, of which the grey is taken.
        second: Likewise.
        algorithm: `"dis"`, dense inverse search (Kroeger et al. 2016, arXiv:1603.03590), or
            `"farneback"` (Farneback 2003), which blurs more: both as OpenCV has them.

    Returns:
        float32 `(height, width, 2)`, pixels to the right and down.

    Raises:
        TypeError: If the frames are not uint8.
        ValueError: If their shapes differ or are wrong, or the algorithm is unknown.

    Example:
        >>> frame = np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)
        >>> frame = cv2.GaussianBlur(frame, (0, 0), 2)
        >>> moved = flow(frame, np.roll(frame, 3, axis=1))
        >>> np.median(moved, axis=(0, 1)).round(1).tolist()
        [3.0, 0.0]
    """
    check_choice(algorithm, "algorithm", get_args(Algorithm))
    if first.dtype != np.uint8 or second.dtype != np.uint8:
        raise TypeError(
            "Frames must be uint8, as images are. "
            f"Received: first.dtype={first.dtype}, second.dtype={second.dtype}"
        )
    if first.shape != second.shape or first.ndim not in (2, 3):
        raise ValueError(
            "Frames must be (height, width) or (height, width, channels), of one shape. "
            f"Received: first.shape={first.shape}, second.shape={second.shape}"
        )
    before, after = grey(np.stack([first, second]))
    height, width = before.shape
    times = -(-_SMALLEST // min(height, width))
    if times > 1:
        size = (times * width, times * height)
        before, after = (
            cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in (before, after)
        )
    empty = np.zeros((*before.shape, 2), np.float32)
    if algorithm == "farneback":
        moved = cv2.calcOpticalFlowFarneback(before, after, empty, *_FARNEBACK)
    else:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setFinestScale(0)
        moved = search.calc(before, after, empty)
    if times > 1:
        moved = cv2.resize(moved, (width, height), interpolation=cv2.INTER_AREA) / times
    return np.asarray(moved, np.float32)


def grey(frames: Array) -> Array:
    """Return uint8 `(frames, height, width)` of uint8 frames with channels or without."""
    if frames.ndim == 3:
        return frames
    if frames.shape[-1] == 3:
        return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    return np.rint(frames.mean(axis=-1)).astype(np.uint8)
