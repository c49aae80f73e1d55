"""Motion saliency: what moves by itself in a video, as maps like any other.

No model is asked: this is where something *happens*, for comparison with where a model looks.

    >>> import keras_saliency as ks
    >>> from keras_saliency.data.synthetic.videos import moving_discs
    >>> videos = moving_discs(2).videos  # (batch, frames, height, width, channels)
    >>> found = ks.motion.find(videos)
    >>> found.maps.shape  # pixels a frame
    (2, 10, 40, 56)
    >>> found.masks.shape  # what `masks="motion"` takes
    (2, 10, 40, 56)
    >>> found.save("out.gif")
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_choice
from keras_saliency.data.probes import Probes
from keras_saliency.data.video.camera_motion import camera, displacement
from keras_saliency.data.video.files import read_video
from keras_saliency.data.video.motion_masks import check_clips, mask_of, motion_of
from keras_saliency.data.video.optical_flow import Algorithm, flow
from keras_saliency.drawing import heatmap
from keras_saliency.drawing.video import save_gif

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from keras_saliency.engine.scored_model import ScoredModel

__all__ = ["Motion", "camera", "displacement", "find", "flow", "motion", "read_video"]


@dataclass(frozen=True)
class Motion:
    """What moves in some videos.

    Attributes:
        maps: float32 `(batch, frames, height, width)`: how fast each pixel moves by itself, in
            pixels a frame, the camera's own movement taken out.
        cameras: float64 `(batch, frames - 1, 3, 3)`: homographies from each frame to the next.
        clips: uint8 `(batch, frames, height, width, 3)`, the videos as a person sees them.

    Example:
        >>> import keras_saliency as ks
        >>> from keras_saliency.data.synthetic.videos import moving_discs
        >>> drawn = moving_discs(1, camera="pan")
        >>> found = ks.motion.find(drawn.videos)
        >>> found.maps.shape
        (1, 10, 40, 56)
        >>> inside = found.maps[drawn.masks > 0.5].mean()
        >>> bool(inside > 10 * found.maps[drawn.masks == 0].mean())
        True
    """

    maps: Array
    cameras: Array
    clips: Array

    @cached_property
    def masks(self) -> Array:
        """float32 `(batch, frames, height, width)`, 1 on what moves, else 0."""
        return np.stack([mask_of(map_) for map_ in self.maps])

    def overlay(self, *, cmap: str | None = None, opacity: float | None = None) -> Array:
        """Lay each map over all frames of its video.

        Args:
            cmap: A matplotlib colour map; None takes "inferno".
            opacity: The map's share in the blend, 0 to 1; None lets it follow the magnitude.

        Returns:
            uint8 `(batch, frames, height, width, 3)`.
        """
        return np.stack(
            [
                heatmap.overlay_frames(clip, map_, cmap=cmap, opacity=opacity)
                for clip, map_ in zip(self.clips, self.maps, strict=True)
            ]
        )

    def plot(self, *, cmap: str | None = None, opacity: float | None = None) -> Figure:
        """Draw some frames of each video, the map and the overlay side by side.

        Args:
            cmap: As in `overlay`.
            opacity: As in `overlay`.

        Returns:
            A matplotlib figure, one row a video, with a colour bar in pixels a frame.
        """
        from keras_saliency.data.display import strips

        frames = self.clips.shape[1]
        titles = [f"fastest {map_.max():.3g} pixels a frame" for map_ in self.maps]
        return heatmap.figure(
            strips(self.clips), self.maps, titles, cmap=cmap, opacity=opacity, frames=frames
        )

    def save(
        self,
        path: str | Path,
        row: int = 0,
        *,
        fps: float = 10,
        cmap: str | None = None,
        opacity: float | None = None,
    ) -> None:
        """Write one video with its map over it as an animated GIF.

        Args:
            path: Where to, ending in `.gif`.
            row: Which video of the batch.
            fps: Frames a second, up to 50.
            cmap: As in `overlay`.
            opacity: As in `overlay`.

        Raises:
            ValueError: If the path does not end in `.gif`.
            OSError: If the disk does not take it.
        """
        save_gif(path, self.clips[row], self.maps[row], fps=fps, cmap=cmap, opacity=opacity)


def find(videos: Any, *, algorithm: Algorithm = "dis") -> Motion:
    """Find what moves by itself in videos.

    Between neighbouring frames the optical flow is computed, the camera's movement is found as the
    homography that most of the picture follows, and the length of what is left is the map:

        M_t = sqrt(|F_t,t+1 - C_t,t+1| |F_t,t-1 - C_t,t-1|)

    The first and the last frame have one neighbour. What stands still in a frame is scene there,
    and so is what fills most of the picture.

    Args:
        videos: `(batch, frames, height, width, channels)`, uint8 or in one of the ranges that
            `Probes` know; or `Probes` of videos.
        algorithm: Of the flow: `"dis"` (Kroeger et al. 2016) or `"farneback"` (Farneback 2003).

    Returns:
        A `Motion`.

    Raises:
        ValueError: If these are no videos of two frames or more, or the algorithm is unknown.
    """
    check_choice(algorithm, "algorithm", get_args(Algorithm))
    probes = videos if isinstance(videos, Probes) else Probes(videos)
    if probes.clips is None:
        raise ValueError(
            "Videos must be (batch, frames, height, width, channels); give a single one a batch "
            f"axis, `video[None]`. Received: {probes.kind}s of shape {probes.images.shape}"
        )
    check_clips(probes.clips)
    each = [motion_of(clip, algorithm) for clip in probes.clips]
    maps, cameras = (np.stack(part) for part in zip(*each, strict=True))
    return Motion(maps, cameras, probes.clips)


def motion(model: ScoredModel, images: Any) -> Any:
    """Compute the motion map as a method, to stand beside those of the model.

    It does not look at the model: `methods=["grad_cam", ks.motion.motion]` shows what moves beside
    what is looked at, on the same probes.

    Args:
        model: Not asked.
        images: `(batch, frames, height, width, channels)`, as the model gets them.

    Returns:
        Maps `(batch, frames, height, width)`, pixels a frame.
    """
    from keras import ops

    values = np.asarray(ops.convert_to_numpy(images), np.float32)
    low, high = float(values.min()), float(values.max())
    pixels = np.rint((values - low) * (255 / (high - low or 1.0))).astype(np.uint8)
    return ops.convert_to_tensor(np.stack([motion_of(one)[0] for one in pixels]))
