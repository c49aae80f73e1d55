"""What `explain` returns: maps of some images, to be drawn and saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_saliency.drawing import heatmap
from keras_saliency.drawing.notebook import figure_html, png
from keras_saliency.drawing.video import save_gif
from keras_saliency.engine.output_head import Of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 8  # images, by a notebook
_PER_IMAGE = ("maps", "scores", "targets", "outputs", "display")


@dataclass(frozen=True)
class Explanation:
    """Attribution maps of some images, with the scores that they explain.

    Attributes:
        maps: `(batch, h, w)` float32, raw, in the unit of the method, and signed where the method
            is. Saliency has the size of the images, a CAM that of its layer's grid, which is
            continued over the whole image where the model crops it inside. Maps of signals are
            `(batch, time)`, of videos `(batch, frames, h, w)`.
        scores: `(batch,)` float32, the quantity explained, in the unit that `of` names.
        targets: `(batch,)` int, the class explained in each image; -1 where the target is no class.
        outputs: `(batch, ...)`, the model's own output; of several, the one that is explained.
        method: Name of the method.
        of: What the scores are: `"logits"`, `"probability"`, `"log_probability"`, or `"value"`.
        layer: Path of the layer whose output the method read, of several joined by ` + `, or None.
        display: `(batch, height, width, 3)` uint8, the images as a person sees them.
        frames: How many frames each video has, some of which `display` shows; 1 for images.
        clips: Of videos all frames, `(batch, frames, height, width, 3)` uint8; else None.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> explanation = ks.explain(net, np.ones((1, 8, 12, 3)), "grad_cam")
        >>> explanation.overlay().shape
        (1, 8, 12, 3)
    """

    maps: np.ndarray
    scores: np.ndarray
    targets: np.ndarray
    outputs: np.ndarray
    method: str
    of: Of
    layer: str | None
    display: np.ndarray
    frames: int = 1
    clips: np.ndarray | None = None

    @property
    def signed(self) -> bool:
        """Whether a map has negative values: evidence against the score."""
        return bool((self.maps < 0).any())

    def overlay(self, *, cmap: str | None = None, opacity: float | None = None) -> np.ndarray:
        """Blend each map, coloured and resized, with its image.

        Args:
            cmap: A matplotlib colour map; None takes one for magnitude, or for sign.
            opacity: The map's share in the blend, from 0 to 1; None lets it follow the magnitude,
                so that the image stays visible where there is no evidence.

        Returns:
            Images `(batch, height, width, 3)` uint8.

        Raises:
            ValueError: An unknown colour map, or an opacity out of its range.
        """
        options: dict[str, Any] = {"cmap": cmap, "opacity": opacity, "frames": self.frames}
        pairs = zip(self.display, self.maps, strict=True)
        return np.stack([heatmap.overlay(*pair, signed=self.signed, **options) for pair in pairs])

    def plot(
        self,
        titles: Sequence[str] | None = None,
        *,
        cmap: str | None = None,
        opacity: float | None = None,
    ) -> Figure:
        """Draw image, map and overlay side by side, with a colour bar.

        Args:
            titles: One title per image; None states the class and the score.
            cmap: A matplotlib colour map, as in `overlay`.
            opacity: The map's share in the blend, as in `overlay`.

        Returns:
            A matplotlib figure, one row per image.

        Raises:
            TypeError: `titles` is no list.
            ValueError: Not one title per image, or an option out of its range.
        """
        if titles is None:
            titles = [
                f"{self.method}: {f'class {target}, ' if target >= 0 else ''}{self.of} {score:.3g}"
                for target, score in zip(self.targets, self.scores, strict=True)
            ]
        if isinstance(titles, str) or not isinstance(titles, Iterable):
            raise TypeError(f"titles must be a list, one per image. Received: titles={titles!r}")
        options: dict[str, Any] = {"cmap": cmap, "opacity": opacity, "frames": self.frames}
        return heatmap.figure(self.display, self.maps, list(titles), signed=self.signed, **options)

    def save(
        self,
        path: str | Path,
        row: int | None = None,
        *,
        fps: float = 10,
        cmap: str | None = None,
        opacity: float | None = None,
    ) -> None:
        """Save images with their maps as a PNG, or a video with its map over it as a GIF.

        Args:
            path: The file. One that ends in `.png` gets what `plot` draws, one that ends in `.gif`
                a video that plays.
            row: Index in the batch; by default all images, or the first video.
            fps: Frames per second of a video, up to 50.
            cmap: A matplotlib colour map, as in `overlay`.
            opacity: The map's share in the blend, as in `overlay`.

        Raises:
            ValueError: The path ends in something else, or in `.gif` and the images are no videos.
            OSError: The file cannot be written.
        """
        ending = Path(path).suffix.lower()
        options: dict[str, Any] = {"cmap": cmap, "opacity": opacity}
        if ending == ".png":
            chosen = self if row is None else self._take(slice(row, row + 1 or None))
            Path(path).write_bytes(png(chosen.plot(**options)))
        elif self.clips is None:
            raise ValueError(
                "Images are saved as a PNG, *.png; only videos play, as *.gif. "
                f"Received: path={str(path)!r} for maps of shape {self.maps.shape}"
            )
        else:
            clip, map_ = self.clips[row or 0], self.maps[row or 0]
            save_gif(path, clip, map_, signed=self.signed, fps=fps, **options)

    def __repr__(self) -> str:
        layer = f" at {self.layer}" if self.layer else ""
        shape = " x ".join(map(str, self.maps.shape))
        return f"Explanation({self.method} of {self.of}{layer}, maps {shape})"

    def _take(self, rows: slice) -> Explanation:
        """Return some of the images, still."""
        taken = {name: getattr(self, name)[rows] for name in _PER_IMAGE}
        return replace(self, **taken, clips=None)

    def _repr_html_(self) -> str:
        """Show the first images in a notebook, with a caption."""
        layer = f" at {self.layer}" if self.layer else ""
        count = f"; {_SHOWN} of {len(self.maps)}" if len(self.maps) > _SHOWN else ""
        return figure_html(self._repr_png_(), f"{self.method} of {self.of}{layer}{count}")

    def _repr_png_(self) -> bytes:
        return png(self._take(slice(_SHOWN)).plot())
