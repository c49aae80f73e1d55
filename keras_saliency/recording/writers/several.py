"""Several writers at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_saliency.recording.base_writer import BaseWriter


class SeveralWriters(BaseWriter):
    """Hand everything to several writers; one that fails does not stop the others.

    The run that a training run is resumed from is that of the first one that has a folder.

    Args:
        writers: The writers, with all methods.
    """

    def __init__(self, writers: Sequence[BaseWriter]) -> None:
        self._writers = list(writers)
        self.description = " and ".join(writer.description for writer in writers)
        first = next((writer for writer in writers if writer.folder is not None), BaseWriter())
        self.folder, self.state_folder = first.folder, first.state_folder
        self.is_continued = first.is_continued
        self._events = [writer.events for writer in writers if writer.events is not None]
        self.events = self if self._events else None

    @property
    def lost_files(self) -> int:
        """How many event files something else has replaced or cut short."""
        return sum(events.lost_files for events in self._events)

    def blobs(self, tag: str, blobs: Sequence[bytes], step: int) -> None:
        """Write what the Saliency tab reads, to all that TensorBoard reads."""
        self._each("blobs", tag, blobs, step, among=self._events)

    def images(self, images: Mapping[str, np.ndarray], step: int) -> None:
        """Write images."""
        self._each("images", images, step)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Write numbers."""
        self._each("scalars", numbers, step)

    def text(self, texts: Mapping[str, str], step: int) -> None:
        """Write pages."""
        self._each("text", texts, step)

    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        """Write animated GIFs."""
        self._each("animations", gifs, step)

    def maps(self, maps: Mapping[str, np.ndarray], step: int) -> None:
        """Write raw maps."""
        self._each("maps", maps, step)

    def charts(self, *, focus: bool, verdict: bool) -> None:
        """Write which curves TensorBoard shows beside each other."""
        self._each("charts", focus=focus, verdict=verdict)

    def flush(self) -> None:
        """Make sure that what was written so far is there."""
        self._each("flush")

    def close(self) -> None:
        """Finish."""
        self._each("close")

    def _each(
        self, method: str, *arguments: Any, among: Sequence[Any] | None = None, **options: Any
    ) -> None:
        """Call a method of every writer, and raise the first error after that."""
        faults = []
        for writer in self._writers if among is None else among:
            try:
                getattr(writer, method)(*arguments, **options)
            except Exception as error:
                faults.append(error)
        if faults:
            raise faults[0]
