"""TensorBoard event files, written without TensorFlow.

A run of our own and a writer of our own: a second live writer in the folder of Keras's callback
would freeze the user's loss curve, and `tf.summary` obeys switches that Keras leaves behind.
"""

import contextlib
import itertools
import os
import pathlib
import re
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as charts_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text import metadata as text_metadata

from keras_saliency.common.validation import local_folder
from keras_saliency.recording.base_writer import BaseWriter
from keras_saliency.recording.tensorboard import PLUGIN_NAME
from keras_saliency.recording.tensorboard.file_lock import hold, is_held
from keras_saliency.recording.tensorboard.plugin_schema import VERDICT_GROUP
from keras_saliency.recording.tensorboard.tfrecord import frame

JPEG_QUALITY = 90
_LONGEST_SIDE = 65_500  # what OpenCV writes as a JPEG

# Keras writes `epoch_loss` in the runs "train" and "validation"; in our run, where it writes none,
# both have a tag of their own. With `update_freq=7` all it writes is `batch_loss`.
_LOSS = r"(epoch_(val_)?|batch_|evaluation_)loss(_vs_iterations)?$"
_ACCURACY = r"(epoch_(val_)?|batch_)\w*acc(uracy)?$"

_file_numbers = itertools.count()


def safe_tag(text: str) -> str:
    """Make one component of a TensorBoard tag out of any text.

    Args:
        text: For example the name of a method or of a user's function.

    Returns:
        The letters, digits and dots of the text, with one hyphen in place of whatever else stood
        between them. TensorBoard groups cards by the part of a tag before the first slash, and
        sorts underscores like slashes, so neither is left.

    Example:
        ```python
        safe_tag("grad_cam")  # "grad-cam"
        ```
    """
    return re.sub(r"(?:[^\w.]|_)+", "-", text).strip("-") or "unnamed"


def new_run(
    log_dir: str | os.PathLike[str], name: str = "saliency", resume: bool = False, later: int = 0
) -> pathlib.Path:
    """Make the folder of a new TensorBoard run, or find the one to continue.

    Args:
        log_dir: The folder that TensorBoard is pointed at; it is made if need be.
        name: The run's name. Where it is taken, `name_2`, `name_3` and so on are used. A folder
            counts as taken when it exists, so two processes that start together never share one.
        resume: Whether to continue the newest run of this name that holds event files, if any; one
            that another process still writes is not continued.
        later: How many of the newest runs are those of other callbacks of the same training run.

    Returns:
        The run's folder, which exists.

    Raises:
        OSError: If the folder cannot be made.
        ValueError: If `log_dir` is the address of remote storage.

    Example:
        ```python
        run = new_run("logs")  # logs/saliency, the next time logs/saliency_2
        ```
    """
    root = local_folder(log_dir).absolute()  # a program may go to another folder meanwhile
    try:
        root.mkdir(parents=True, exist_ok=True)
        runs = _numbered_runs(root, name)
        if resume:
            for number in sorted(runs, reverse=True):
                files = list(runs[number].glob("*tfevents*"))
                if any(map(is_held, files)):
                    break
                if files and not later:
                    return runs[number]
                later -= bool(files)
        return _make_next(root, name, max(runs, default=0) + 1)
    except OSError as error:
        raise OSError(
            f"log_dir must be a folder that can be written; choose another one, or free the path "
            f"and its permissions. Received: log_dir={str(log_dir)!r} ({error})"
        ) from error


def _numbered_runs(root: pathlib.Path, name: str) -> dict[int, pathlib.Path]:
    """Find the entries of `root` called `name`, `name_2` and so on, by their number."""
    pattern = re.compile(rf"{re.escape(name)}(?:_([1-9]\d*))?")
    matches = ((pattern.fullmatch(path.name), path) for path in root.iterdir())
    return {int(match[1] or 1): path for match, path in matches if match}


def _make_next(root: pathlib.Path, name: str, number: int) -> pathlib.Path:
    """Make the folder of the first free number; that `mkdir` fails on an old one is the lock."""
    while True:
        run = root / (name if number == 1 else f"{name}_{number}")
        with contextlib.suppress(FileExistsError):
            run.mkdir()
            return run
        number += 1


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encode an image as JPEG with its colours at full resolution.

    Args:
        image: uint8 `(height, width, 3)`, RGB.

    Returns:
        The bytes of a JPEG file of quality 90 with 4:4:4 sampling, which keeps the thin coloured
        structures of a map that the usual 4:2:0 washes out.

    Raises:
        TypeError: If the image is not uint8.
        ValueError: If its shape is not `(height, width, 3)`, or a side is too long for a JPEG.

    Example:
        ```python
        data = encode_jpeg(np.zeros((20, 30, 3), np.uint8))
        ```
    """
    # Imported here, so that reading this module stays quick and free of OpenCV.
    from keras_saliency.common.opencv import cv2

    if image.dtype != np.uint8:
        raise TypeError(f"an image must be uint8. Received: image.dtype={image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"an image must have the shape (height, width, 3). Received: image.shape={image.shape}"
        )
    if max(image.shape) > _LONGEST_SIDE:
        raise ValueError(
            f"a JPEG has at most {_LONGEST_SIDE} pixels a side; draw fewer or smaller images. "
            f"Received: image.shape={image.shape}"
        )
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *sampling]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


class EventWriter(BaseWriter):
    """Write images, numbers and texts to one new event file of a run.

    Every tracker that shows something in TensorBoard goes through this class. It may be used from
    several threads. Each event is handed to the operating system at once, whole or not at all: what
    was written stays readable, and writing goes on once a full disk has room again. Where something
    else cuts the file short or replaces it, an `OSError` says so and writing goes on in a second
    file.

    All methods that write raise an `OSError` if the disk does not take it, and a `ValueError` if
    the writer is closed. Their `step` is the one on TensorBoard's slider; -1 is before training.

    Args:
        run_dir: The folder of the run, which exists; it stays known as `folder`.
        continued_at: Where a run is continued, the first step that is written anew: what the run
            holds from there on counts no more.

    Attributes:
        lost_files: How many of its event files something else has replaced or cut short.

    Raises:
        OSError: If the event file cannot be made.

    Example:
        ```python
        writer = EventWriter(new_run("logs"))
        writer.images({"grad-cam/00_cat": np.zeros((20, 30, 3), np.uint8)}, step=0)
        writer.scalars({"grad-cam/peak": 0.25}, step=0)
        writer.text({"saliency/verdict": "**leans on the background**"}, step=0)
        writer.close()
        ```
    """

    def __init__(self, run_dir: str | os.PathLike[str], continued_at: int | None = None) -> None:
        self.folder: pathlib.Path = pathlib.Path(run_dir)
        self.state_folder = self.folder
        self.description = f"the run {self.folder}"
        self.is_continued = continued_at is not None
        self.events = self
        self._lock = threading.Lock()
        self._is_finished = False
        self.lost_files = 0
        self._begin_file()
        if continued_at is not None:
            self._restart_at(continued_at)

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Write images, uint8 `(height, width, 3)`, RGB, by tag."""
        images = {tag: (encode_jpeg(image), image.shape[1::-1]) for tag, image in pictures.items()}
        self._write_images(images, step)

    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        """Write the bytes of GIFs by tag, which TensorBoard shows as they are."""
        # The width and height stand behind the six letters that a GIF begins with.
        images = {tag: (gif, struct.unpack_from("<HH", gif, 6)) for tag, gif in gifs.items()}
        self._write_images(images, step)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Write numbers by tag."""
        dtype = types_pb2.DT_FLOAT
        tensors = {
            tag: _tensor(dtype, [], float_val=[float(number)]) for tag, number in numbers.items()
        }
        plugin = scalar_metadata.PLUGIN_NAME
        self._write_tensors(tensors, plugin, summary_pb2.DATA_CLASS_SCALAR, step)

    def text(self, texts: Mapping[str, str], step: int) -> None:
        """Write texts in Markdown by tag."""
        tensors = {tag: _string_tensor([text.encode()], []) for tag, text in texts.items()}
        plugin = text_metadata.PLUGIN_NAME
        self._write_tensors(tensors, plugin, summary_pb2.DATA_CLASS_TENSOR, step)

    def blobs(self, tag: str, blobs: Sequence[bytes], step: int) -> None:
        """Write what the Saliency tab reads.

        Args:
            tag: Such as `"maps/grad-cam"`.
            blobs: Files, JSON first.
            step: The step on TensorBoard's slider; -1 is before training.
        """
        tensors = {tag: _string_tensor(blobs, [len(blobs)])}
        self._write_tensors(tensors, PLUGIN_NAME, summary_pb2.DATA_CLASS_BLOB_SEQUENCE, step)

    def charts(self, *, focus: bool, verdict: bool) -> None:
        """Place focus and verdict beside the loss curves, in the tab Custom Scalars.

        Args:
            focus: Whether the run has curves of the focus.
            verdict: Whether the run has curves of the verdict.
        """
        tags = {"loss": [_LOSS], "accuracy": [_ACCURACY, "probes/accuracy$"]}
        if verdict:
            tags["verdict: relies on"] = [VERDICT_GROUP]
        if focus:
            tags["focus: times more on the object than by chance"] = ["focus/"]
        tags["similarity to the maps before"] = ["similarity/"]
        charts = [{"title": title, "multiline": {"tag": tag}} for title, tag in tags.items()]
        category = {"title": "What the model looks at", "chart": charts}
        layout = layout_pb2.Layout(category=[category]).SerializeToString()
        tensors = {charts_metadata.CONFIG_SUMMARY_TAG: _string_tensor([layout], [])}
        plugin = charts_metadata.PLUGIN_NAME
        self._write_tensors(tensors, plugin, summary_pb2.DATA_CLASS_TENSOR, 0)

    def flush(self) -> None:
        """Make sure that what was written so far is there.

        Raises:
            FileNotFoundError: If the event file has been deleted.
        """
        # A deleted file can still be written to, and everything in it is lost without a word.
        if not self.path.exists():
            raise FileNotFoundError(
                f"the event file was deleted while it was written; start a new run to go on "
                f"recording. Received: path={str(self.path)!r}"
            )

    def finish_file(self) -> None:
        """Close the file; what is written next begins another one."""
        with self._lock:
            self._file.close()
            self._is_finished = True

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self._file.close()
            self._is_finished = False  # so that writing more is an error

    def _begin_file(self) -> None:
        # TensorBoard reads the files of a run in the order of their names, so this one is the last
        # also where the clock of another machine, which wrote before, is ahead.
        names = (path.name.split(".") for path in self.folder.glob("events.out.tfevents.*"))
        later = (int(name[3]) + 1 for name in names if name[3].isdecimal())
        second = max([int(time.time()), *later])
        host = re.sub(r"[^\w.-]", "-", socket.gethostname())
        stamp = f"{second:010d}.{host}.{os.getpid()}.{next(_file_numbers):04d}"
        path = self.folder / f"events.out.tfevents.{stamp}.v2"
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115 (closed in close)
        self.path = path
        hold(self._file)
        self._size = 0
        # Some network drives tell one file by two numbers.
        own = os.fstat(self._file.fileno())
        self._has_identity = os.name != "nt" and os.path.samestat(own, os.stat(self.path))
        version = event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2")
        self._append(frame(version.SerializeToString()))

    def _restart_at(self, step: int) -> None:
        """Let TensorBoard's Python loader forget what the run holds from a step on.

        Its other loader does so by itself. This one would show of each step the first that was
        written, and takes the first restart of a run for its beginning: hence two of them.
        """
        log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        for _ in range(2):
            self._write(event_pb2.Event(wall_time=time.time(), step=step, session_log=log))

    def _write_images(self, images: Mapping[str, tuple[bytes, tuple[int, ...]]], step: int) -> None:
        """Write encoded images, each with its (width, height)."""
        tensors = {
            tag: _string_tensor([*(str(length).encode() for length in size), data], [3])
            for tag, (data, size) in images.items()
        }
        plugin = image_metadata.PLUGIN_NAME
        self._write_tensors(tensors, plugin, summary_pb2.DATA_CLASS_BLOB_SEQUENCE, step)

    def _write_tensors(
        self, tensors: Mapping[str, tensor_pb2.TensorProto], plugin: str, kind: int, step: int
    ) -> None:
        """Write tensors by tag, all in one event, with their plugin and class of data."""
        data = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin)
        metadata = summary_pb2.SummaryMetadata(plugin_data=data, data_class=kind)
        values = [
            summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
            for tag, tensor in tensors.items()
        ]
        if values:
            summary = summary_pb2.Summary(value=values)
            self._write(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: event_pb2.Event) -> None:
        record = frame(event.SerializeToString())
        with self._lock:
            if self._is_finished:
                self._begin_file()
                self._is_finished = False
            fault, held = self._fault(), self._size
            if fault is not None:
                left, self.lost_files = self._file, self.lost_files + 1
                self._begin_file()
                left.close()
            self._append(record)
        if fault is not None:
            raise OSError(
                f"something else {fault}, so part of its {held:,} bytes may be lost; what "
                f"follows is in {self.path.name}"
            )

    def _fault(self) -> str | None:
        """Tell what else was done to the file, if nobody would read what is written to it now."""
        own, name = os.fstat(self._file.fileno()), self.path.name
        if own.st_size < self._size:  # a gap that no reader comes across
            return f"cut the event file {name} short"
        with contextlib.suppress(OSError):
            if self._has_identity and not os.path.samestat(own, os.stat(self.path)):
                return f"replaced the event file {name}"
        return None

    def _append(self, record: bytes) -> None:
        """Write a record, whole or not at all: a part of one would hide what comes after it."""
        done = 0
        self._file.seek(self._size)
        try:
            while done < len(record):
                done += self._file.write(memoryview(record)[done:])
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += done


def _string_tensor(strings: Sequence[bytes], shape: Sequence[int]) -> tensor_pb2.TensorProto:
    return _tensor(types_pb2.DT_STRING, shape, string_val=strings)


def _tensor(dtype: int, shape: Sequence[int], **values: Sequence[Any]) -> tensor_pb2.TensorProto:
    shape_proto = tensor_shape_pb2.TensorShapeProto(dim=[{"size": size} for size in shape])
    return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=shape_proto, **values)
