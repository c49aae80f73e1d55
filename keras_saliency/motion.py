"""Motion saliency: what moves by itself in a video, as maps like any other.

No model is evaluated: the maps show where something *happens*, for comparison with what a model
looks at.

    >>> import keras_saliency as ks
    >>> from keras_saliency.data.synthetic.videos import moving_discs
    >>> videos = moving_discs(2).videos  # (batch, frames, height, width, channels)
    >>> moving = ks.motion.find(videos)
    >>> moving.maps.shape  # pixels a frame
    (2, 10, 40, 56)
    >>> moving.masks.shape  # what `masks="motion"` takes
    (2, 10, 40, 56)
    >>> moving.save("out.gif")
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_saliency.common.types import Array
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
    """The motion maps of some videos.

    Attributes:
        maps: float32 `(batch, frames, height, width)`, the speed at which each pixel moves by
            itself, in pixels a frame, without the camera's own movement.
        cameras: float64 `(batch, frames - 1, 3, 3)`, homographies from each frame to the next.
        clips: uint8 `(batch, frames, height, width, 3)`, RGB, the videos as a person sees them.

    Example:
        >>> import keras_saliency as ks
        >>> from keras_saliency.data.synthetic.videos import moving_discs
        >>> discs = moving_discs(1, camera="pan")
        >>> moving = ks.motion.find(discs.videos)
        >>> moving.maps.shape
        (1, 10, 40, 56)
        >>> inside = moving.maps[discs.masks > 0.5].mean()
        >>> bool(inside > 10 * moving.maps[discs.masks == 0].mean())
        True
    """

    maps: Array
    cameras: Array
    clips: Array

    @functools.cached_property
    def masks(self) -> Array:
        """Masks of what moves.

        Returns:
            float32 `(batch, frames, height, width)`: 1 on what moves and 0 elsewhere.
        """
        return np.stack([mask_of(map_) for map_ in self.maps])

    def overlay(self, *, cmap: str | None = None, opacity: float | None = None) -> Array:
        """Blend each map into all frames of its video.

        Args:
            cmap: The name of a matplotlib colour map; None takes "inferno".
            opacity: The map's share in the blend, from 0 to 1; None lets it follow the magnitude,
                so that what stands still shows the video alone.

        Returns:
            uint8 `(batch, frames, height, width, 3)`, RGB.

        Raises:
            TypeError: If `cmap` is not a name.
            ValueError: If there is no colour map of that name.
        """
        blend = functools.partial(heatmap.overlay_frames, cmap=cmap, opacity=opacity)
        return np.stack(list(map(blend, self.clips, self.maps)))

    def plot(self, *, cmap: str | None = None, opacity: float | None = None) -> Figure:
        """Draw some frames of each video, the map and the overlay side by side.

        Args:
            cmap: As in `overlay`.
            opacity: As in `overlay`, from 0 to 1.

        Returns:
            A matplotlib figure with a row for each video and a colour bar in pixels a frame.

        Raises:
            TypeError: If `cmap` is not a name.
            ValueError: If there is no colour map of that name, or the opacity is out of its range.
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
            path: The file, ending in `.gif`.
            row: The index of the video in the batch.
            fps: Frames per second, above 0 and up to 50.
            cmap: As in `overlay`.
            opacity: As in `overlay`.

        Raises:
            TypeError: If `cmap` is not a name.
            ValueError: If the path does not end in `.gif`, its folder is missing, `fps` is out of
                its range, or there is no colour map of that name.
            OSError: If the file cannot be written.
        """
        save_gif(path, self.clips[row], self.maps[row], fps=fps, cmap=cmap, opacity=opacity)


def find(videos: Any, *, algorithm: Algorithm = "dis") -> Motion:
    """Find what moves by itself in videos.

    The optical flow `F` between neighbouring frames is computed. The camera's movement `C` is the
    homography that most of the image follows. The map is the length of their difference, the
    geometric mean of that to the next and to the previous frame:

        M_t = sqrt(|F_t,t+1 - C_t,t+1| |F_t,t-1 - C_t,t-1|)

    The first and the last frame have one neighbour. What stands still is the scene, and so is what
    fills most of the image.

    Args:
        videos: `(batch, frames, height, width, channels)`, uint8 or in one of the value ranges that
            `Probes` recognizes; or `Probes` of videos.
        algorithm: The optical flow: `"dis"` (Kroeger et al. 2016) or `"farneback"`
            (Farneback 2003).

    Returns:
        A `Motion` with maps of the size of the videos.

    Raises:
        ValueError: If `videos` are not videos of two frames or more, or the algorithm is unknown.

    Example:
        >>> from keras_saliency.data.synthetic.videos import moving_discs
        >>> find(moving_discs(1).videos).cameras.shape
        (1, 9, 3, 3)
    """
    probes = videos if isinstance(videos, Probes) else Probes(videos)
    if probes.clips is None:
        raise ValueError(
            "Videos must be (batch, frames, height, width, channels); give a single one a batch "
            f"axis, `video[None]`. Received: {probes.kind}s of shape {probes.images.shape}"
        )
    check_clips(probes.clips)
    results = [motion_of(clip, algorithm) for clip in probes.clips]
    maps, cameras = (np.stack(parts) for parts in zip(*results, strict=True))
    return Motion(maps, cameras, probes.clips)


def motion(model: ScoredModel, images: Any) -> Any:
    """Compute motion maps as a method, beside those of the model.

    `methods=["grad_cam", ks.motion.motion]` shows what moves beside what the model looks at, on the
    same probes. The model is not evaluated.

    Args:
        model: Not used.
        images: `(batch, frames, height, width, channels)`, as the model gets them.

    Returns:
        A tensor of float32 maps `(batch, frames, height, width)`, in pixels a frame.
    """
    from keras import ops

    values = np.asarray(ops.convert_to_numpy(images), np.float32)
    low, high = float(values.min()), float(values.max())
    pixels = np.rint((values - low) * (255 / (high - low or 1.0))).astype(np.uint8)
    return ops.convert_to_tensor(np.stack([motion_of(clip)[0] for clip in pixels]))
