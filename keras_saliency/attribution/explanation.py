"""What `explain` returns: maps of some images, drawn and saved on request."""

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
    """Maps of some images, and what they are maps of.

    Attributes:
        maps: float32 (batch, h, w), raw, and signed where the method is signed. Saliency has the
            size of the images, a CAM that of its layer's grid. Of signals (batch, time), of
            volumes (batch, frames, h, w).
        scores: float32 (batch,), the explained quantity.
        targets: int (batch,), the class explained in each image; -1 where the target is no class.
        outputs: The model's own output, (batch, ...); of several, the one that is explained.
        method: Name of the method.
        of: What the scores are: `"logits"`, `"probability"`, `"log_probability"`, or `"value"`.
        layer: Path of the layer that was looked at, or None.
        display: uint8 (batch, height, width, 3), the images as a person sees them.
        frames: How many frames each volume has, some of which `display` shows; 1 for others.
        clips: Of volumes all frames, uint8 (batch, frames, height, width, 3); else None.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3),
        ...                         keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> found = ks.explain(net, np.ones((1, 8, 12, 3)), "grad_cam")
        >>> found.overlay().shape
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
        """Whether a map holds negative values, evidence against the score."""
        return bool((self.maps < 0).any())

    def overlay(self, *, cmap: str | None = None, opacity: float | None = None) -> np.ndarray:
        """Lay each map over its image.

        Args:
            cmap: A matplotlib colour map; None takes one for magnitude, or for sign.
            opacity: The map's share in the blend, 0 to 1; None lets it follow the magnitude, so
                that the picture stays clean where there is no evidence.

        Returns:
            uint8 (batch, height, width, 3).
        """
        options: dict[str, Any] = {"cmap": cmap, "opacity": opacity, "frames": self.frames}
        return np.stack(
            [
                heatmap.overlay(picture, map_, signed=self.signed, **options)
                for picture, map_ in zip(self.display, self.maps, strict=True)
            ]
        )

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
        """
        if titles is None:
            titles = [
                f"{self.method}: class {target}, {self.of} {score:.3g}"
                if target >= 0
                else f"{self.method}: {self.of} {score:.3g}"
                for target, score in zip(self.targets, self.scores, strict=True)
            ]
        if isinstance(titles, str) or not isinstance(titles, Iterable):
            raise TypeError(f"titles must be a list, one per image. Received: titles={titles!r}")
        return heatmap.figure(
            self.display,
            self.maps,
            list(titles),
            signed=self.signed,
            cmap=cmap,
            opacity=opacity,
            frames=self.frames,
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
        """Write a video with its map over it as an animated GIF.

        Args:
            path: Where to, ending in `.gif`.
            row: Which video of the batch.
            fps: Frames a second, up to 50.
            cmap: A matplotlib colour map, as in `overlay`.
            opacity: The map's share in the blend, as in `overlay`.

        Raises:
            ValueError: If these are no videos, or the path does not end in `.gif`.
            OSError: If the disk does not take it.
        """
        if self.clips is None:
            raise ValueError(
                "Only videos play; of a picture, write `overlay()` or `plot()`. Received: maps of "
                f"shape {self.maps.shape}"
            )
        options: dict[str, Any] = {"fps": fps, "cmap": cmap, "opacity": opacity}
        save_gif(path, self.clips[row], self.maps[row], signed=self.signed, **options)

    def _repr_html_(self) -> str:
        """Show a notebook the first images, and what they are maps of."""
        where = f" at {self.layer}" if self.layer else ""
        count = f"; {_SHOWN} of {len(self.maps)}" if len(self.maps) > _SHOWN else ""
        return figure_html(self._repr_png_(), f"{self.method} of {self.of}{where}{count}")

    def _repr_png_(self) -> bytes:
        few = {name: getattr(self, name)[:_SHOWN] for name in _PER_IMAGE}
        return png(replace(self, **few, clips=None).plot())
