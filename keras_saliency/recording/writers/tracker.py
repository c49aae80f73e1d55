"""What the writers of trackers share: a run of TensorBoard that a tracker gets as well."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.common.validation import local_folder
from keras_saliency.recording.report.page import page
from keras_saliency.recording.tensorboard.event_reader import newest
from keras_saliency.recording.tensorboard.event_writer import EventWriter


class TrackerWriter(ABC):
    """A writer of a tracker; it never begins the tracker's run, and never ends it.

    Args:
        log_dir: The folder that TensorBoard is pointed at.
    """

    def __init__(self, log_dir: str | Path) -> None:
        self.log_dir = local_folder(log_dir)

    @abstractmethod
    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Hand over the images of one step.

        Args:
            pictures: Tag to uint8 `(height, width, 3)`, RGB.
            step: The epoch, or the global batch, from 0; -1 is before training.
        """

    @abstractmethod
    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Hand over the numbers of one step.

        Args:
            numbers: Tag to number.
            step: The epoch, or the global batch, from 0; -1 is before training.
        """

    @abstractmethod
    def text(self, texts: Mapping[str, str], step: int) -> None:
        """Hand over pages.

        Args:
            texts: Tag to Markdown.
            step: The epoch, or the global batch, from 0; -1 is before training.
        """

    @abstractmethod
    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        """Hand over animations.

        Args:
            gifs: Tag to the bytes of a GIF.
            step: The epoch, or the global batch, from 0; -1 is before training.
        """

    @abstractmethod
    def report(self, html: str) -> None:
        """Hand over the report of the training run.

        Args:
            html: One page that needs nothing else.
        """

    def close(self) -> None:  # noqa: B027
        """Leave the tracker's run open: it belongs to whoever began it."""


class TrackedRun(EventWriter):
    """Write a run of TensorBoard, and hand it over to a tracker.

    Args:
        tracker: What it is handed over to.
        run_dir: As for `EventWriter`.
        continued_at: Likewise.

    Raises:
        OSError: If the event file cannot be made.
    """

    def __init__(
        self,
        tracker: TrackerWriter,
        run_dir: str | os.PathLike[str],
        continued_at: int | None = None,
    ) -> None:
        self._handed_to = tracker
        super().__init__(run_dir, continued_at)

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Write images, uint8 `(height, width, 3)`, RGB, by tag."""
        super().images(pictures, step)
        self._handed_to.images(pictures, step)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Write numbers by tag."""
        super().scalars(numbers, step)
        self._handed_to.scalars(numbers, step)

    def text(self, texts: Mapping[str, str], step: int) -> None:
        """Write Markdown by tag."""
        super().text(texts, step)
        self._handed_to.text(texts, step)

    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        """Write the bytes of GIFs by tag."""
        super().animations(gifs, step)
        self._handed_to.animations(gifs, step)

    def close(self) -> None:
        """Close the event file, and hand the report over."""
        super().close()
        training, _ = newest(self.folder)
        self._handed_to.report(page({training.name: training}).decode())
        self._handed_to.close()


def required(package: str) -> Any:
    """Import the package of a tracker.

    Args:
        package: Its name, which is that of our extra as well.

    Returns:
        The module.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{package} is not installed: pip install "keras-saliency[{package}]"', name=error.name
        ) from error
