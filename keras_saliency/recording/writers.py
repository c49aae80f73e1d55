"""Where sets go in place of TensorBoard: a folder of pictures, or a writer of the user's own."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.validation import local_folder
from keras_saliency.drawing.animation import Animation
from keras_saliency.recording.tensorboard.event_writer import new_run, safe_tag


@runtime_checkable
class Writer(Protocol):
    """What `SaliencyCallback(log_dir=...)` takes besides a folder.

    All is called from one thread beside the training. What a writer raises is told once and never
    reaches the training. With a method `text(texts, step)` a writer is also given pages by tag, in
    Markdown, and with `animations(gifs, step)` the bytes of animated GIFs by tag.

    Example:
        >>> class Printed:
        ...     def images(self, pictures, step):
        ...         print(step, sorted(pictures))
        ...     def scalars(self, numbers, step): ...
        ...     def close(self): ...
        >>> isinstance(Printed(), Writer)
        True
    """

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Write pictures by tag, uint8 `(height, width, 3)`; step -1 is before training."""

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Write numbers by tag."""

    def close(self) -> None:
        """Finish, as a training does at its end; another training may follow."""


class PictureFolder:
    """Write a training as files: pictures as `TAG/STEP.png`, numbers as rows of `scalars.csv`.

    A training is never mixed with an older one: where the folder is taken, `NAME_2`, `NAME_3` and
    so on are used.

    Example:
        >>> import tempfile
        >>> writer = PictureFolder(tempfile.mkdtemp() + "/seen")
        >>> writer.images({"grad-cam/03_penguin": np.zeros((48, 64, 3), "uint8")}, 7)
        >>> sorted(str(p.relative_to(writer.folder)) for p in writer.folder.rglob("*.png"))
        ['grad-cam/03-penguin/000007.png']
    """

    def __init__(self, folder: str | Path = "pictures") -> None:
        """Choose where.

        Args:
            folder: Is made when the training begins, with those that it lies in.

        Raises:
            TypeError: If it is no path.
            ValueError: If it is the address of remote storage.
        """
        self._wanted = self._folder = local_folder(folder)
        self._is_open = False

    @property
    def folder(self) -> Path:
        """The folder of this training, or of the last one."""
        return self._folder

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Write pictures, uint8 `(height, width, 3)`, by tag.

        Raises:
            OSError: If the disk does not take them.
        """
        for tag, picture in pictures.items():
            _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            self._place(tag, step, "png").write_bytes(data.tobytes())

    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        """Write animated pictures, the bytes of GIFs, by tag.

        Raises:
            OSError: If the disk does not take them.
        """
        for tag, gif in gifs.items():
            self._place(tag, step, "gif").write_bytes(gif)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Add a row of step, tag and value for each number.

        Raises:
            OSError: If the disk does not take them.
        """
        path = self._begun() / "scalars.csv"
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            if is_new:
                rows.writerow(["step", "tag", "value"])
            rows.writerows([step, tag, value] for tag, value in numbers.items())

    def text(self, texts: Mapping[str, str], step: int) -> None:
        """Write pages in Markdown, by tag; a later one takes the place of the one before.

        Raises:
            OSError: If the disk does not take them.
        """
        for tag, page in texts.items():
            path = self._begun() / f"{safe_tag(tag)}.md"
            path.write_text(page, encoding="utf-8")

    def close(self) -> None:
        """Finish: what comes next is another training, in a folder of its own."""
        self._is_open = False

    def _begun(self) -> Path:
        if not self._is_open:
            self._folder = new_run(self._wanted.parent, self._wanted.name)
            self._is_open = True
        return self._folder

    def _place(self, tag: str, step: int, kind: str) -> Path:
        parts = [safe_tag(part).strip(".") or "unnamed" for part in tag.split("/")]
        place = self._begun().joinpath(*parts) / f"{step:06d}.{kind}"
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


class Relay:
    """A writer of the user's own in the place of a TensorBoard run.

    Args:
        writer: The user's.
    """

    folder = None  # where film strips could be kept for a training that is resumed

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.place = f"what {type(writer).__name__} writes"

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Pass pictures on."""
        self._writer.images(pictures, step)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Pass numbers on, as floats of Python."""
        self._writer.scalars({tag: float(number) for tag, number in numbers.items()}, step)

    def text(self, texts: Mapping[str, str], step: int) -> None:
        """Pass pages on to a writer that takes them."""
        self._optional("text", texts, step)

    def animations(self, animations: Mapping[str, Animation], step: int) -> None:
        """Pass the bytes of GIFs on to a writer that takes them."""
        self._optional("animations", {tag: one.gif for tag, one in animations.items()}, step)

    def charts(self, *, focus: bool, verdict: bool) -> None:
        """Leave out what only TensorBoard has."""

    def flush(self) -> None:
        """Do nothing: a writer writes when it is given something."""

    def close(self) -> None:
        """Close the writer."""
        self._writer.close()

    def _optional(self, name: str, *arguments: Any) -> None:
        method = getattr(self._writer, name, None)
        if method is not None:
            method(*arguments)
