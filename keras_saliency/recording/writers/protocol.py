"""What a writer is, for the user's own."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Writer(Protocol):
    """What `SaliencyCallback(log_dir=...)` takes besides a folder: any object with three methods.

    All methods are called from one thread beside the training. Numbers go first: those of a step
    may come before images of an earlier one. An exception that a writer raises is
    reported once, as a warning, and does not stop the training run.

    A writer may have three methods more: `text(texts, step)` receives pages in Markdown by tag,
    `animations(gifs, step)` the bytes of animated GIFs by tag, and `maps(maps, step)` the raw maps
    by method, float32 `(n, h, w)`, read-only, in the order of the probes.

    Example:
        >>> class PrintingWriter:
        ...     def images(self, pictures, step):
        ...         print(step, sorted(pictures))
        ...     def scalars(self, numbers, step): ...
        ...     def close(self): ...
        >>> isinstance(PrintingWriter(), Writer)
        True
    """

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Write the images of one step.

        Args:
            pictures: Tag to uint8 `(height, width, 3)`, RGB.
            step: The epoch, or the global batch, from 0; -1 is before training.
        """

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Write the numbers of one step.

        Args:
            numbers: Tag to number.
            step: The epoch, or the global batch, from 0; -1 is before training.
        """

    def close(self) -> None:
        """Finish a training run; another one may follow."""
