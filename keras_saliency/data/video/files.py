"""Reading video files, as far as OpenCV's build knows their codec."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_image, scaled_size
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_count

# How files begin, and from which byte on. Playlists, which name other files, begin otherwise.
_BEGINNINGS = (
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"),  # mp4, mov
    (8, b"AVI "), (0, b"\x1aE\xdf\xa3"), (0, b"GIF8"), (0, b"OggS"), (0, b"FLV"),
    (0, b"\x00\x00\x01\xba"), (0, b"\x00\x00\x01\xb3"), (0, b"0&\xb2u"),  # mpeg, wmv
)  # fmt: skip
_UNREADABLE = (
    "{path} can't be read as a video: it is none, or of a codec that this build of OpenCV does not "
    "know. Convert it, for instance with ffmpeg, to mp4."
)
_FPS = 25.0  # where a file does not tell, or tells nonsense


class Video(NamedTuple):
    """A video's frames and their rate.

    Attributes:
        frames: uint8 `(frames, height, width, 3)`, RGB.
        fps: Frames a second.
    """

    frames: Array
    fps: float


def read_video(
    path: str | Path,
    frames: int | None = None,
    size: tuple[int, int] | int | None = None,
    *,
    first: int | None = None,
) -> Video:
    """Read the frames of a video file.

    Args:
        path: The file, of a kind that OpenCV reads: mp4, avi, mov, webm, gif ...
        frames: How many frames, evenly spread from the first to the last; None takes all.
        size: `(height, width)` that frames are resized to, or how long their longer side may be;
            None keeps their size.
        first: How many frames from the beginning are read; None reads all.

    Returns:
        The `Video`: its frames, and how many of them there are a second.

    Raises:
        ValueError: If the file is no video or has fewer frames, or an option is out of range.

    Example:
        ```python
        clip = read_video("walk.mp4", frames=16, size=(112, 112)).frames
        explanation = ks.explain(model, clip[None], "grad_cam")
        ```
    """
    for name, value in (("frames", frames), ("first", first)):
        if value is not None:
            check_count(value, name)
    _check_file(Path(path))
    wanted, share = None, 1.0
    if frames is not None:
        # What a file says of its length may be wrong: it is read twice, and never held.
        count = sum(1 for _ in islice(_frames_in(path), first))
        if 0 < count < frames:
            raise ValueError(
                f"{path} must have at least {frames} frames. Received: a video of {count}"
            )
        wanted = set(np.rint(np.linspace(0, count - 1, frames)).astype(int).tolist())
        share = frames / max(count, 1)
    taken = [
        _resized(frame, size)
        for index, frame in enumerate(islice(_frames_in(path), first))
        if wanted is None or index in wanted
    ]
    if not taken:
        raise ValueError(_UNREADABLE.format(path=path))
    return Video(np.stack(taken), share * _rate_of(path))


def _check_file(path: Path) -> None:
    """Refuse what is missing, and what begins as no video does."""
    if not path.is_file():
        raise ValueError(f"There is no video {path}. Give the path of a video file.")
    with path.open("rb") as file:
        head = file.read(16)
    if not any(head[start:].startswith(sign) for start, sign in _BEGINNINGS):
        raise ValueError(_UNREADABLE.format(path=path))


def _frames_in(path: str | Path) -> Iterator[Array]:
    """Yield the frames of a file one by one, RGB."""
    film = cv2.VideoCapture(str(path))
    try:
        while (result := film.read())[0]:
            yield cv2.cvtColor(result[1], cv2.COLOR_BGR2RGB)
    finally:
        film.release()


def _rate_of(path: str | Path) -> float:
    film = cv2.VideoCapture(str(path))
    rate = film.get(cv2.CAP_PROP_FPS)
    film.release()
    return float(rate) if 0 < rate < 1000 else _FPS


def _resized(frame: Array, size: tuple[int, int] | int | None) -> Array:
    if size is None:
        return frame
    if isinstance(size, int):
        size = scaled_size(frame.shape, min(1.0, size / max(frame.shape[:2])))
    return resize_image(frame, (size[0], size[1]))
