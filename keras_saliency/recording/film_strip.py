"""The film strips: how the maps of a method changed while training, in one image."""

import hashlib
import io
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_saliency.common.pillow import decoded
from keras_saliency.drawing import cards
from keras_saliency.drawing.animation import animation
from keras_saliency.recording.snapshot import choose_evenly, words
from keras_saliency.recording.tensorboard.event_writer import encode_jpeg, safe_tag

_COLUMNS = 20
_ANIMATED = 16  # probes
_BESIDES = 2**17  # bytes of a file of columns that are no pixels
_GROWTH = 4  # a strip is written again once it spans a quarter more: each holds all before it


class Column(NamedTuple):
    """The maps of one snapshot: its step, its label, and uint8 `(n, height, width, 3)`."""

    step: int
    label: str
    cells: np.ndarray


@dataclass
class Columns:
    """The columns of one strip: every `stride`-th snapshot, and the newest.

    Attributes:
        seen: How many snapshots there were.
        stride: Every how many of them one is kept.
        kept: The columns that are kept, fewer than 20.
        shown: The columns to be drawn.
        written: How many snapshots there were when the strip was last drawn.
        stored: Whether what is kept is on disk.
    """

    seen: int = 0
    stride: int = 1
    kept: list[Column] = field(default_factory=list)
    shown: list[Column] = field(default_factory=list)
    written: int = 0
    stored: bool = True

    def add(self, newest: Column) -> None:
        """Add the newest column."""
        # A training run that is resumed from an earlier epoch adds the columns since then again.
        before = [column for column in self.kept if column.step < newest.step]
        if len(before) < len(self.kept):
            self.kept, self.seen, self.written = before, len(before) * self.stride, 0
        due = self.seen % self.stride == 0
        self.seen += 1
        self.shown = [*self.kept, newest]
        if due:
            self.kept, self.stored = self.shown, False
            if len(self.kept) == _COLUMNS:  # the next one would be too many
                self.kept = self.kept[::2]
                self.stride *= 2


class FilmStrips:
    """One film strip for each method, of bounded memory however long the training run.

    The columns also lie in a folder, if there is one, from which a resumed training run goes on.

    Args:
        names: The name of each probe.
        labels: For each probe its label in words, or None.
        display: The probes as a person sees them, uint8 `(n, height, width, 3)`.
        of: The explained quantity.
        frames: How many frames the volumes have, some of which `display` shows.
        folder: Where the columns are kept, or None. A file that is broken, or of other probes, is
            replaced.

    Example:
        ```python
        strips = FilmStrips(["00 cat"], ["cat"], photos, "logits", 1, run / "film-strips")
        image = strips.add("grad_cam", 0, "epoch 1", maps, signed=False)
        ```
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Sequence[str | None],
        display: np.ndarray,
        of: str,
        frames: int,
        folder: Path | None,
    ) -> None:
        self._names = list(names)
        self._animated = choose_evenly(labels, _ANIMATED)
        self._frames = frames
        side = 96 if len(self._names) <= 8 else 64  # so that a long strip can be seen, and written
        if display.shape[2] >= 2 * display.shape[1]:
            side *= 2  # curves and rows of frames are low
        self._images = cards.thumbnails(display, side)
        self._note = f"{of.replace('_', ' ')}, each picture on its own scale up to its peak"
        described = repr((self._names, self._note, self._images.shape)).encode()
        self._whose = hashlib.sha256(described + self._images.tobytes()).hexdigest()
        self._folder = folder
        self._strips: dict[str, Columns] = {}

    def add(
        self, method: str, step: int, when: str, maps: np.ndarray | None, signed: bool
    ) -> np.ndarray | None:
        """Add a column.

        Args:
            method: The strip's name.
            step: The step of the maps; columns of this and later steps are dropped.
            when: The moment in words.
            maps: Raw floats `(n, ...)`, or None where the method failed.
            signed: Whether the sign is drawn.

        Returns:
            The strip, uint8 `(height, width, 3)`, or None until it has grown by a quarter.
        """
        map_of = [None] * len(self._images) if maps is None else maps
        cells = [
            cards.cell(image, map_, signed=signed, frames=self._frames)
            for image, map_ in zip(self._images, map_of, strict=True)
        ]
        label = when.removesuffix(" training")  # a column is narrow
        if method not in self._strips:
            self._strips[method] = self._restore(method)
        columns = self._strips[method]
        columns.add(Column(step, label, np.stack(cells)))
        is_due = columns.seen >= columns.written + max(1, columns.written // _GROWTH)
        return self._draw(method) if is_due else None

    def unwritten(self) -> dict[str, tuple[int, np.ndarray]]:
        """Draw the strips that have grown since the last time: by method, step and strip."""
        return {
            method: (columns.shown[-1].step, self._draw(method))
            for method, columns in self._strips.items()
            if columns.shown and columns.written < columns.seen
        }

    def animations(self) -> dict[str, tuple[int, bytes]]:
        """Animate up to 16 probes: by method, the last step and the animation."""
        names = [self._names[i] for i in self._animated]
        animated = {}
        for method, columns in self._strips.items():
            if len(columns.shown) > 1:
                moments = [(column.label, column.cells[self._animated]) for column in columns.shown]
                gif = animation(names, moments, title=words(method))
                animated[method] = (columns.shown[-1].step, gif)
        return animated

    def store(self) -> None:
        """Write the columns to disk.

        Raises:
            OSError: If they cannot be written.
        """
        if self._folder is None:
            return
        for method, columns in self._strips.items():
            if not columns.stored:
                self._store(self._folder, method, columns)
                columns.stored = True

    def _draw(self, method: str) -> np.ndarray:
        columns = self._strips[method]
        columns.written = columns.seen
        title = f"{words(method)} · {self._note}"
        labelled = [(column.label, column.cells) for column in columns.shown]
        return cards.film_strip(self._images, self._names, labelled, title=title)

    def _store(self, folder: Path, method: str, columns: Columns) -> None:
        """Write the columns, all or nothing, as one image instead of many arrays."""
        cells = np.stack([column.cells for column in columns.kept])
        count, probes, height, width, _ = cells.shape
        sheet = cells.transpose(1, 2, 0, 3, 4).reshape(probes * height, count * width, 3)
        file = io.BytesIO()
        np.savez(
            file,
            whose=self._whose,
            seen=columns.seen,
            stride=columns.stride,
            steps=[column.step for column in columns.kept],
            labels=[column.label for column in columns.kept],
            sheet=np.frombuffer(encode_jpeg(sheet), np.uint8),
        )
        folder.mkdir(exist_ok=True)
        path = _path(folder, method)
        path.with_suffix(".part").write_bytes(file.getvalue())
        os.replace(path.with_suffix(".part"), path)

    def _restore(self, method: str) -> Columns:
        """Read the columns of the training run that is resumed; else start without any."""
        if self._folder is None:
            return Columns()
        try:
            return self._read(_path(self._folder, method))
        except Exception:  # whatever a missing or broken file may raise: the strip starts anew
            return Columns()

    def _read(self, path: Path) -> Columns:
        """Read a file of columns, or raise; nothing larger than what is written is unpacked."""
        _check_sizes(path, _COLUMNS * self._images.nbytes + _BESIDES)
        with np.load(path, allow_pickle=False) as stored:
            steps, labels, sheet = stored["steps"], stored["labels"], stored["sheet"].tobytes()
            seen, stride = int(stored["seen"]), int(stored["stride"])
            if str(stored["whose"]) != self._whose or seen < 0 or stride < 1:
                raise ValueError("columns of others")
        if steps.ndim != 1 or labels.shape != steps.shape or len(steps) >= _COLUMNS:
            raise ValueError("more columns than a strip has")
        count, (probes, height, width, _) = len(steps), self._images.shape
        pixels = decoded(sheet, "RGB", probes * height * count * width)
        cells = np.asarray(pixels).reshape(probes, height, count, width, 3).transpose(2, 0, 1, 3, 4)
        # There and back, as NumPy accepts invalid characters.
        words = [str(label).encode().decode() for label in labels]
        return Columns(seen, stride, list(map(Column, map(int, steps), words, cells)))


def _check_sizes(path: Path, most: int) -> None:
    """Raise a ValueError for an archive that is packed, or holds more bytes than it may."""
    size = path.stat().st_size
    if size <= most:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("columns are stored as they are")
    if size > most:
        raise ValueError(f"columns of {size:,} bytes, where {most:,} are enough")


def _path(folder: Path, method: str) -> Path:
    return folder / f"{safe_tag(method)}.npz"
