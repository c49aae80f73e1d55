"""The command `keras-saliency motion VIDEO`: a video with what moves in it, as a GIF."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_saliency.cli.arguments import as_count, as_share

if TYPE_CHECKING:
    from keras_saliency.motion import Motion

_FRAMES, _SIDE = 150, 480  # what a GIF can hold, and a page show
_STILL = 0.05  # pixels a frame: what the camera moves less, it does not


def add_to(commands: Any) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "motion",
        help="draw what moves by itself in a video, whatever its camera does",
        description="Draw what moves by itself in a video: optical flow from frame to frame, less "
        "the camera's own movement. No model is asked.",
    )
    option = parser.add_argument
    option("video", metavar="VIDEO", type=Path, help="an mp4, avi, mov, webm or gif")
    option("--out", type=Path, metavar="PATH", help="an animated GIF (VIDEO.motion.gif)")
    option(
        "--flow",
        choices=("dis", "farneback"),
        default="dis",
        help="dis has sharper edges (%(default)s)",
    )
    option(
        "--frames",
        type=as_count,
        default=_FRAMES,
        metavar="N",
        help="from the beginning, at most (%(default)s)",
    )
    option(
        "--side",
        type=as_count,
        default=_SIDE,
        metavar="PIXELS",
        help="the longer side; larger videos are shrunk to it (%(default)s)",
    )
    option("--cmap", metavar="NAME", help="a matplotlib colour map")
    option(
        "--opacity",
        type=as_share,
        metavar="0..1",
        help="of the map; by default it follows the magnitude",
    )
    parser.set_defaults(run=_motion)


def _motion(args: argparse.Namespace) -> None:
    """Find what moves; what can be wrong is checked before it is computed."""
    from keras_saliency import motion
    from keras_saliency.drawing import heatmap
    from keras_saliency.drawing.video import check_place

    place = args.out or args.video.with_suffix(".motion.gif")
    check_place(place)
    heatmap.colour_bar((1, 1), cmap=args.cmap)
    clip, fps = motion.read_video(args.video, size=args.side, first=args.frames)
    found = motion.find(clip[None], algorithm=args.flow)
    found.save(place, fps=min(fps, 50), cmap=args.cmap, opacity=args.opacity)
    height, width = clip.shape[1:3]
    print(
        f"{args.video}: {len(clip)} frames of {width} x {height}, {fps:.3g} a second; "
        f"{in_words(found)} -> {place}"
    )


def in_words(found: Motion) -> str:
    """Say of one video how its camera moves, and how much moves by itself."""
    import numpy as np

    from keras_saliency.motion import displacement

    size = found.maps.shape[2:]
    speeds = [np.linalg.norm(displacement(one, size), axis=-1).mean() for one in found.cameras[0]]
    panned = float(np.median(speeds))
    moves = f"moves {panned:.2g} pixels a frame" if panned > _STILL else "stands still"
    moving = found.masks[0] > 0
    if not moving.any():
        return f"the camera {moves}, and nothing moves by itself"
    return (
        f"the camera {moves}; {100 * moving.mean():.2g} % of the picture moves by itself, "
        f"{np.median(found.maps[0][moving]):.2g} pixels a frame"
    )
