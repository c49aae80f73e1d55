"""The command `keras-saliency motion VIDEO`: a video with what moves in it, as a GIF."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_saliency.cli.arguments import add_colours, whole_number

if TYPE_CHECKING:
    from keras_saliency.motion import Motion

_FRAMES, _SIDE = 150, 480  # what a GIF can hold, and a page show
_STILL = 0.05  # pixels a frame, below which the camera counts as still


def add_to(commands: Any) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "motion",
        help="draw what moves by itself in a video, whatever its camera does",
        description="Draw what moves by itself in a video: optical flow from frame to frame, less "
        "the camera's own movement. It takes no model.",
    )
    option = parser.add_argument
    option("video", metavar="VIDEO", type=Path, help="an mp4, avi, mov, webm or gif")
    option("--out", type=Path, metavar="PATH", help="an animated GIF (VIDEO.motion.gif)")
    words = "dis has sharper edges (%(default)s)"
    option("--flow", choices=("dis", "farneback"), default="dis", help=words)
    count, words = whole_number(1), "from the beginning, at most (%(default)s)"
    option("--frames", type=count, default=_FRAMES, metavar="N", help=words)
    words = "the longer side; larger videos are shrunk to it (%(default)s)"
    option("--side", type=count, default=_SIDE, metavar="PIXELS", help=words)
    add_colours(parser)
    parser.set_defaults(run=_motion)


def _motion(args: argparse.Namespace) -> None:
    """Find what moves; arguments are checked first."""
    from keras_saliency import motion
    from keras_saliency.drawing import heatmap
    from keras_saliency.drawing.video import check_place

    out = args.out or args.video.with_suffix(".motion.gif")
    check_place(out)
    heatmap.colour_bar((1, 1), cmap=args.cmap)
    clip, fps = motion.read_video(args.video, size=args.side, first=args.frames)
    moving = motion.find(clip[None], algorithm=args.flow)
    moving.save(out, fps=min(fps, 50), cmap=args.cmap, opacity=args.opacity)
    height, width = clip.shape[1:3]
    print(
        f"{args.video}: {len(clip)} frames of {width} x {height}, {fps:.3g} a second; "
        f"{in_words(moving)} -> {out}"
    )


def in_words(motion: Motion) -> str:
    """Describe the motion of one video: that of its camera, and what moves by itself."""
    import numpy as np

    from keras_saliency.motion import displacement

    size = motion.maps.shape[2:]
    speeds = [np.linalg.norm(displacement(c, size), axis=-1).mean() for c in motion.cameras[0]]
    panned = float(np.median(speeds))
    moves = f"moves {panned:.2g} pixels a frame" if panned > _STILL else "stands still"
    moving = motion.masks[0] > 0
    if not moving.any():
        return f"the camera {moves}, and nothing moves by itself"
    return (
        f"the camera {moves}; {100 * moving.mean():.2g} % of the picture moves by itself, "
        f"{np.median(motion.maps[0][moving]):.2g} pixels a frame"
    )
