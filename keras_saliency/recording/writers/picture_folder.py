"""A training run as a folder of images."""

import csv
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.validation import local_folder
from keras_saliency.recording.base_writer import BaseWriter
from keras_saliency.recording.remote import Mirror, RemoteFolder, is_address, unique_number
from keras_saliency.recording.tensorboard.event_writer import new_run, safe_tag


class PictureFolder(BaseWriter):
    """Write a training run as files: images as `TAG/STEP.png`, numbers as rows of `scalars.csv`.

    Animations are written as `TAG/STEP.gif` and pages as `TAG.md`. A training run is never mixed
    with an older one: where the folder exists, `NAME_2`, `NAME_3` and so on are used.

    Args:
        folder: The folder. It is made when the training run begins, with its parents. Or an address
            in remote storage, such as `"s3://bucket/maps"`, to which a number is added.

    Attributes:
        folder: That of the training run under way, or of the last one; of remote storage a local
            one, from which files are copied.

    Raises:
        TypeError: If `folder` is not a path.
        ValueError: If nobody knows the scheme of an address.
        ImportError: If a library for remote storage is missing.

    Example:
        >>> import tempfile
        >>> writer = PictureFolder(tempfile.mkdtemp() + "/maps")
        >>> writer.images({"grad-cam/03_penguin": np.zeros((48, 64, 3), "uint8")}, 7)
        >>> sorted(str(p.relative_to(writer.folder)) for p in writer.folder.rglob("*.png"))
        ['grad-cam/03-penguin/000007.png']
    """

    description = "what PictureFolder writes"

    def __init__(self, folder: str | Path = "pictures") -> None:
        self._remote = RemoteFolder(str(folder)) if is_address(folder) else None
        self._wanted = Path(self._remote.name) if self._remote else local_folder(folder)
        self._mirror: Mirror | None = None
        self.folder: Path = self._wanted
        self._is_open = False

    def begin(self) -> None:
        """Make the folder, as is done before training: one that can't be made is an error then.

        Raises:
            OSError: If the folder cannot be made, or remote storage cannot be written.
        """
        if self._remote is not None:
            self._remote.check()
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

    def flush(self) -> None:
        """Let what was written so far be copied to remote storage, if it goes there."""
        if self._mirror is not None:
            self._mirror.wake()

    def close(self) -> None:
        """Finish the training run; the next one gets a folder of its own."""
        self._is_open = False
        if self._mirror is not None:
            self._mirror.close()

    def _open_folder(self) -> Path:
        if not self._is_open:
            if self._remote is None:
                self.folder = new_run(self._wanted.parent, self._wanted.name)
            else:
                self.folder = Path(tempfile.mkdtemp(prefix="keras-saliency-"))
                remote = RemoteFolder(f"{self._remote}_{unique_number()}")
                self._mirror = Mirror(self.folder, remote)
            self._is_open = True
        return self.folder

    def _path(self, tag: str, step: int, suffix: str) -> Path:
        parts = [safe_tag(part).strip(".") or "unnamed" for part in tag.split("/")]
        path = self._open_folder().joinpath(*parts) / f"{step:06d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
