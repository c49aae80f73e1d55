"""Videos that play, with maps over them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.drawing import cards, heatmap
from keras_saliency.drawing.animation import animation, encode_gif, with_one_palette

_SMALLEST = 240  # of the longer side of a file: what is smaller is enlarged
_FASTEST = 50  # frames a second: browsers slow down what is faster
_ALONE, _BESIDE = 340, 168  # pixels of a video that has TensorBoard's card to itself, or half of it
_PLAYED_MS, _LEAST_MS = 2500, 80  # all frames together, and one: what is short plays slowly


def save_gif(
    path: str | Path,
    clip: Array,
    map_: Array,
    *,
    fps: float = 10,
    signed: bool = False,
    cmap: str | None = None,
    opacity: float | None = None,
) -> None:
    """Write a video with its map over it as an animated GIF.

    Args:
        path: The file, ending in `.gif`.
        clip: The frames, uint8 `(frames, height, width, 3)`; a small video is enlarged.
        map_: Raw floats `(f, h, w)`.
        fps: Frames per second, up to 50.
        signed: Whether the sign is drawn.
        cmap: A matplotlib colour map.
        opacity: A constant opacity from 0 to 1; None lets it follow the magnitude.

    Raises:
        ValueError: If the path does not end in `.gif`, or `fps` is out of its range.
        OSError: If the file cannot be written.
    """
    check_place(path)
    if not 0 < fps <= _FASTEST:
        raise ValueError(f"`fps` must be above 0, up to {_FASTEST}. Received: fps={fps!r}")
    side = max(_SMALLEST, *clip.shape[1:3])
    large = cards.thumbnails(clip, side)
    drawn = heatmap.overlay_frames(large, map_, signed=signed, cmap=cmap, opacity=opacity)
    Path(path).write_bytes(encode_gif(with_one_palette(list(drawn)), pauses(len(drawn), fps)))


def check_place(path: str | Path) -> None:
    """Raise a ValueError unless a GIF can be written to a path."""
    if Path(path).suffix.lower() != ".gif":
        raise ValueError(f"A video is written as an animated GIF, *.gif. Received: {path}")
    if not Path(path).parent.is_dir():
        raise ValueError(f"There is no folder {Path(path).parent} to write {path} in. Create it.")


def pauses(count: int, fps: float) -> list[int]:
    """Return how long each frame is shown, in milliseconds: multiples of 10, as GIFs need."""
    ends = np.rint(np.arange(count + 1) * (100 / fps)).astype(int)
    return (10 * np.maximum(np.diff(ends), 1)).tolist()


def played(
    names: Sequence[str], clips: Array, maps: Array, *, title: str, signed: bool = False
) -> bytes:
    """Animate videos beside each other for TensorBoard, each with its map over it.

    Args:
        names: The name of each video.
        clips: uint8 `(n, frames, height, width, 3)`.
        maps: Raw floats `(n, f, h, w)`, each drawn on one scale for all frames.
        title: The title above all frames.
        signed: Whether the sign is drawn.

    Returns:
        The bytes of a GIF of 350 pixels width that repeats for ever; a map that cannot be drawn
        leaves its video in grey, which its name states.
    """
    drawn, titles = [], []
    for name, clip, map_ in zip(names, clips, maps, strict=True):
        small = cards.thumbnails(clip, _ALONE if len(clips) == 1 else _BESIDE)
        drawn.append(heatmap.overlay_frames(small, map_, signed=signed))
        titles.append(f"{name} · no heat" if heatmap.fault(map_, signed) else name)
    count = clips.shape[1]
    moments = [
        (f"frame {t + 1} of {count}", np.stack([frames[t] for frames in drawn]))
        for t in range(count)
    ]
    pause = max(_LEAST_MS, round(_PLAYED_MS / count, -1))
    return animation(titles, moments, title=title, pauses=(pause, 3 * pause))
