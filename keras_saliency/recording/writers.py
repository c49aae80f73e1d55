"""Writers of snapshots other than TensorBoard's: a folder of images, or the user's own."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.validation import local_folder
from keras_saliency.recording.base_writer import BaseWriter
from keras_saliency.recording.resuming import PreviousRun
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run, safe_tag


@runtime_checkable
class Writer(Protocol):
    """What `SaliencyCallback(log_dir=...)` takes besides a folder: any object with three methods.

    All methods are called from one thread beside the training. Numbers go first: those of a step
    may come before images of an earlier one. An exception that a writer raises is
    reported once, as a warning, and does not stop the training run.

    A writer may have two methods more: `text(texts, step)` receives pages in Markdown by tag, and
    `animations(gifs, step)` the bytes of animated GIFs by tag.

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


class PictureFolder(BaseWriter):
    """Write a training run as files: images as `TAG/STEP.png`, numbers as rows of `scalars.csv`.

    Animations are written as `TAG/STEP.gif` and pages as `TAG.md`. A training run is never mixed
    with an older one: where the folder exists, `NAME_2`, `NAME_3` and so on are used.

    Args:
        folder: The folder. It is made when the training run begins, with its parents.

    Attributes:
        folder: That of the training run under way, or of the last one.

    Raises:
        TypeError: If `folder` is not a path.
        ValueError: If `folder` is the address of remote storage.

    Example:
        >>> import tempfile
        >>> writer = PictureFolder(tempfile.mkdtemp() + "/maps")
        >>> writer.images({"grad-cam/03_penguin": np.zeros((48, 64, 3), "uint8")}, 7)
        >>> sorted(str(p.relative_to(writer.folder)) for p in writer.folder.rglob("*.png"))
        ['grad-cam/03-penguin/000007.png']
    """

    description = "what PictureFolder writes"

    def __init__(self, folder: str | Path = "pictures") -> None:
        self._wanted = self.folder = local_folder(folder)
        self._is_open = False

    def begin(self) -> None:
        """Make the folder, as is done before training: one that can't be made is an error then.

        Raises:
            OSError: If the folder cannot be made.
        """
        self._open_folder()

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Write images as PNG files.

        Args:
            pictures: Tag to uint8 `(height, width, 3)`, RGB.
            step: The epoch, or the global batch, from 0; -1 is before training.

        Raises:
            OSError: If a file cannot be written.
        """
        for tag, image in pictures.items():
            _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            self._path(tag, step, "png").write_bytes(data.tobytes())

    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        """Write animations as GIF files.

        Args:
            gifs: Tag to the bytes of a GIF.
            step: The epoch, or the global batch, from 0; -1 is before training.

        Raises:
            OSError: If a file cannot be written.
        """
        for tag, gif in gifs.items():
            self._path(tag, step, "gif").write_bytes(gif)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Append a row of step, tag and value to `scalars.csv` for each number.

        Args:
            numbers: Tag to number.
            step: The epoch, or the global batch, from 0; -1 is before training.

        Raises:
            OSError: If the file cannot be written.
        """
        path = self._open_folder() / "scalars.csv"
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            if is_new:
                rows.writerow(["step", "tag", "value"])
            rows.writerows([step, tag, value] for tag, value in numbers.items())

    def text(self, texts: Mapping[str, str], step: int) -> None:
        """Write pages as Markdown files; a later page replaces the one of the same tag.

        Args:
            texts: Tag to Markdown.
            step: Not used.

        Raises:
            OSError: If a file cannot be written.
        """
        for tag, page in texts.items():
            path = self._open_folder() / f"{safe_tag(tag)}.md"
            path.write_text(page, encoding="utf-8")

    def close(self) -> None:
        """Finish the training run; the next one gets a folder of its own."""
        self._is_open = False

    def _open_folder(self) -> Path:
        if not self._is_open:
            self.folder = new_run(self._wanted.parent, self._wanted.name)
            self._is_open = True
        return self.folder

    def _path(self, tag: str, step: int, suffix: str) -> Path:
        parts = [safe_tag(part).strip(".") or "unnamed" for part in tag.split("/")]
        path = self._open_folder().joinpath(*parts) / f"{step:06d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class _CompleteWriter(BaseWriter):
    """A writer of the user's, with the methods that it lacks."""

    def __init__(self, writer: Writer) -> None:
        self.description = f"what {type(writer).__name__} writes"
        for name in ("images", "scalars", "close", "text", "animations"):
            if hasattr(writer, name):
                setattr(self, name, getattr(writer, name))


def open_writer(
    log_dir: Path | Writer,
    run: str,
    described: Callable[[], Sequence[bytes]],
    *,
    resume_at: int | None,
    later: int,
) -> tuple[BaseWriter, PreviousRun | None]:
    """Make what a training run is written with.

    Args:
        log_dir: The folder that TensorBoard is pointed at, or the user's writer.
        run: The name of the TensorBoard run, to which a number is added where it is taken.
        described: What describes the probes and the settings, of which a run has one of each.
        resume_at: The first step that is written now, where the newest run of this name is
            continued if there is one and it has the same probes and settings; None for a new run.
        later: How many callbacks that come after this one have runs of this name.

    Returns:
        A writer with all methods, of which those that the user's writer lacks do nothing; and the
        run that is resumed, whether it is continued or not, if there is one.

    Raises:
        OSError: If the run's folder or its event file cannot be made.
    """
    if isinstance(log_dir, PictureFolder):
        log_dir.begin()
    if not isinstance(log_dir, Path):
        return log_dir if isinstance(log_dir, BaseWriter) else _CompleteWriter(log_dir), None
    folder = new_run(log_dir, run, resume_at is not None, later)
    if resume_at is None or not any(folder.iterdir()):
        return EventWriter(folder), None
    previous = PreviousRun.read(folder, resume_at, described())
    if previous.differences:
        return EventWriter(new_run(log_dir, run)), previous
    return EventWriter(folder, resume_at), previous
