"""Drawn videos of a disc that moves to the left or to the right over a texture.

The texture, warm or cool, is the scene; it goes with the direction as often as wanted. The
camera stands still, pans or zooms, whatever the direction is.
"""

from typing import Literal, NamedTuple

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array

DIRECTIONS = ("left", "right")

_GRAIN = 2.0  # pixels, of the finest of a texture's blots
_SLOWEST, _FASTEST = 1.6, 2.6  # pixels a frame, of the disc
_PANNED = 1.0  # pixels a frame along each axis, at most
_ZOOMED = 0.012  # of the size, a frame
_NOISE = 2.0  # of 255, of the camera
_COLOURS = np.array([[170.0, 120.0, 80.0], [80.0, 120.0, 170.0]])  # warm, cool


class Videos(NamedTuple):
    """Drawn videos and the truth about them.

    Attributes:
        videos: uint8 `(count, frames, height, width, 3)`.
        labels: int64 `(count,)`: 0 moves to the left, 1 to the right.
        masks: float32 `(count, frames, height, width)` in [0, 1], 1 on the disc.
        scenes: int64 `(count,)`: 0 for a warm texture, 1 for a cool one.
        counterfactuals: The same videos over a scene of the other kind.
    """

    videos: Array
    labels: Array
    masks: Array
    scenes: Array
    counterfactuals: Array


def moving_discs(
    count: int,
    *,
    correlation: float = 0.5,
    size: tuple[int, int] = (40, 56),
    frames: int = 10,
    camera: Literal["still", "pan", "zoom"] = "pan",
    plain: bool = False,
    contrast: float = 1.0,
    seed: int = 0,
) -> Videos:
    """Draw videos of discs, half of which move to the left and half to the right.

    Args:
        count: How many videos.
        correlation: In how many of them, from 0.5 to 1, the scene is warm where the disc moves to
            the left and cool where it moves to the right.
        size: `(height, width)`; the disc's diameter is 0.35 of the shorter side.
        frames: How many frames each has.
        camera: What the camera does; each video has a direction of its own.
        plain: Whether discs are of one colour; else they have a texture.
        contrast: How opaque discs are, from 0 to 1: at 0.1 little but the scene is visible.
        seed: Makes the videos repeatable.

    Returns:
        The videos in random order.

    Example:
        >>> drawn = moving_discs(4, size=(30, 45), frames=6)
        >>> drawn.videos.shape, sorted(drawn.labels.tolist())
        ((4, 6, 30, 45, 3), [0, 0, 1, 1])
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    scenes = np.where(rng.random(count) < correlation, labels, 1 - labels)
    videos = np.empty((count, frames, *size, 3), np.uint8)
    others, masks = np.empty_like(videos), np.empty((count, frames, *size), np.float32)
    for k in range(count):
        masks[k], disc = _disc(rng, labels[k], size, frames, plain)
        path = _path(rng, camera, size, frames)
        noise = rng.normal(0, _NOISE, videos[k].shape).astype(np.float32)
        for kind, drawn in ((scenes[k], videos), (1 - scenes[k], others)):
            scene = _filmed(_texture(rng, size, frames) + _COLOURS[kind], path, size)
            mixed = scene + contrast * masks[k][..., None] * (disc - scene) + noise
            drawn[k] = np.rint(np.clip(mixed, 0, 255))
    return Videos(videos, labels, masks, scenes, others)


def _disc(
    rng: np.random.Generator, label: int, size: tuple[int, int], frames: int, plain: bool
) -> tuple[Array, Array]:
    """Draw a disc on its way: its masks and its pixels, float32."""
    height, width = size
    radius = 0.175 * min(size)
    step = rng.uniform(_SLOWEST, _FASTEST) * (1 if label else -1)
    step = np.clip(step, -1, 1) * min(abs(step), (width - 2 * radius - 2) / max(frames - 1, 1))
    drift = rng.uniform(-0.4, 0.4)
    times = np.arange(frames) - (frames - 1) / 2
    x = _placed(rng, times * step, width, radius)
    y = _placed(rng, times * drift, height, radius)
    rows, columns = np.indices(size)
    distance = np.hypot(rows - y[:, None, None], columns - x[:, None, None])
    masks = np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
    colour = rng.uniform(30, 230, 3)
    if plain:
        return masks, np.broadcast_to(colour.astype(np.float32), (*masks.shape, 3))
    side = int(4 * radius) + 8
    surface = (_blots(rng, (side, side), 1.5) + colour).astype(np.float32)
    seen = []
    for left, top in zip(x - side / 2, y - side / 2, strict=True):
        move = np.array([[1, 0, left], [0, 1, top]])
        seen.append(cv2.warpAffine(surface, move, (width, height), borderMode=cv2.BORDER_REFLECT))
    return masks, np.stack(seen)


def _placed(rng: np.random.Generator, path: Array, length: int, radius: float) -> Array:
    """Put a path somewhere along an axis so that the disc stays inside."""
    least, most = radius - path.min(), length - 1 - radius - path.max()
    return path + (rng.uniform(least, most) if least < most else (least + most) / 2)


def _path(rng: np.random.Generator, camera: str, size: tuple[int, int], frames: int) -> list[Array]:
    """Move the camera: affine maps from points in each frame to the texture."""
    margin = _margin(frames)
    pan = rng.uniform(-_PANNED, _PANNED, 2) if camera == "pan" else np.zeros(2)
    zoom = _ZOOMED * rng.choice([-1, 1]) if camera == "zoom" else 0.0
    middle = (np.array(size[::-1]) - 1) / 2
    path = []
    for t in range(frames):
        scale = (1 + zoom) ** t
        shift = margin + t * pan + (1 - scale) * middle
        path.append(np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]))
    return path


def _margin(frames: int) -> int:
    return int(np.ceil(_PANNED * frames)) + 8


def _texture(rng: np.random.Generator, size: tuple[int, int], frames: int) -> Array:
    """Draw blots on a canvas larger than a frame by what the camera may reach."""
    wide = 2 * _margin(frames) + round(_ZOOMED * frames * max(size))
    return _blots(rng, (size[0] + wide, size[1] + wide), _GRAIN)


def _blots(rng: np.random.Generator, size: tuple[int, int], grain: float) -> Array:
    """Draw fine and coarse blots around 0, float32 `(height, width, 3)`."""
    noise = rng.standard_normal((2, *size, 3)).astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(noise[i], (0, 0), grain * (1 + 2 * i)) for i in (0, 1))
    return 22 * fine / fine.std() + 18 * coarse / coarse.std()


def _filmed(texture: Array, path: list[Array], size: tuple[int, int]) -> Array:
    """Film a texture along the camera's path, float32 `(frames, height, width, 3)`."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    large = texture.astype(np.float32)
    return np.stack([cv2.warpAffine(large, view, size[::-1], flags=flags) for view in path])
