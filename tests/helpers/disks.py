"""Disks that fail in earnest, and what TensorBoard's own reader finds on them."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray


class Run:
    """A run as TensorBoard reads it: every step of every tag."""

    def __init__(self, folder):
        self.reader = EventAccumulator(
            str(folder), tensor_size_guidance=dict.fromkeys(("images", "scalars", "text"), 0)
        )
        self.reader.Reload()

    @property
    def tags(self):
        return self.reader.Tags()["tensors"]

    def steps(self, tag):
        return [one.step for one in self.reader.Tensors(tag)] if tag in self.tags else []

    def values(self, tag):
        found = self.reader.Tensors(tag)
        return {one.step: make_ndarray(one.tensor_proto).item() for one in found}

    def pictures(self, tag):
        """The encoded images of a tag, by step."""
        found = self.reader.Tensors(tag)
        return {one.step: make_ndarray(one.tensor_proto)[2] for one in found}


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """Mount a file system of a few kilobytes in memory, or skip where that is not permitted."""
    folder.mkdir()
    size = f"size={kilobytes}k"
    _or_skip("mount", "-t", "tmpfs", "-o", size, "keras-saliency", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def immutable(*paths):
    """Forbid to change files, to root and to those who hold them open too; skip where it can't."""
    _or_skip("chattr", "+i", *map(str, paths))
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *map(str, paths)], check=True)


def fill(folder):
    """Take all room that is left on a disk; the file to remove is returned."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return ballast


class SlowFile:
    """The file under a writer on a disk that takes nothing until it is let."""

    def __init__(self, writer):
        self.file = writer._file
        self.reached, self.let = threading.Event(), threading.Event()
        writer._file = self

    def write(self, data):
        self.reached.set()
        assert self.let.wait(60)
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


class LaggingFile:
    """The file under a writer on a disk that takes a while for each large record."""

    def __init__(self, writer, seconds, size):
        self.file, self.seconds, self.size = writer._file, seconds, size
        writer._file = self

    def write(self, data):
        if len(data) > self.size:
            time.sleep(self.seconds)
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


class DeadlyFile:
    """The file under a writer, within a write of which the process is killed.

    Args:
        writer: The writer.
        whole: How many bytes are taken before.
    """

    def __init__(self, writer, whole):
        self.file, self.left = writer._file, whole
        writer._file = self

    def write(self, data):
        taken = self.file.write(data[: self.left])
        self.left -= taken
        if taken < len(data):
            os.kill(os.getpid(), signal.SIGKILL)
        return taken

    def __getattr__(self, name):
        return getattr(self.file, name)


def _or_skip(*command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(command[:2])} is not permitted here: {done.stderr.strip()}")


def total_size(folder):
    """Bytes of all files of a folder."""
    return sum(one.stat().st_size for one in pathlib.Path(folder).rglob("*") if one.is_file())


def records(path):
    """The sizes of the whole records of an event file, and of what follows them, re-derived."""
    data, sizes, at = pathlib.Path(path).read_bytes(), [], 0
    while at + 12 <= len(data):
        size = 16 + int(np.frombuffer(data[at : at + 8], "<u8")[0])
        if at + size > len(data):
            break
        sizes.append(size)
        at += size
    return sizes, len(data) - at
