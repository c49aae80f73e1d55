"""What our own writers share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class BaseWriter:
    """A writer that writes nothing: subclasses override what they write.

    Attributes:
        description: What is written, in words, as messages about faults name it.
        folder: The folder of the run, where it has one.
        state_folder: Where a training run that is resumed finds what it goes on with, or None.
        is_continued: Whether an older run is continued.
        events: What writes the blobs that the Saliency tab reads, or None.
    """

    description = "the run"
    folder: Path | None = None
    state_folder: Path | None = None
    is_continued = False
    events: Any = None

    def images(self, images: Mapping[str, np.ndarray], step: int) -> None:
        """Write images.

        Args:
            images: Tag to an image, uint8 `(height, width, 3)`.
            step: The step that they belong to.
        """

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Write numbers.

        Args:
            numbers: Tag to a number; NaN where there is none.
            step: The step that they belong to.
        """

    def text(self, texts: Mapping[str, str], step: int) -> None:
        """Write pages.

        Args:
            texts: Tag to a page in Markdown.
            step: The step that they belong to.
        """

    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        """Write animated GIFs.

        Args:
            gifs: Tag to the bytes of a GIF.
            step: The step that they belong to.
        """

    def maps(self, maps: Mapping[str, np.ndarray], step: int) -> None:
        """Write raw maps.

        Args:
            maps: Method to the maps of all probes, float32 `(n, h, w)`, read-only.
            step: The step that they belong to.
        """

    def charts(self, *, focus: bool, verdict: bool) -> None:
        """Write which curves TensorBoard shows beside each other.

        Args:
            focus: Whether the run has curves of the localization on the object.
            verdict: Whether the run has curves of the verdict.
        """

    def flush(self) -> None:
        """Make sure that what was written so far is there."""

    def close(self) -> None:
        """Finish."""
