"""Making what a training run is written with."""

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from keras_saliency.recording.base_writer import BaseWriter
from keras_saliency.recording.remote import RemoteFolder
from keras_saliency.recording.resuming import PreviousRun
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run
from keras_saliency.recording.writers.picture_folder import PictureFolder
from keras_saliency.recording.writers.protocol import Writer
from keras_saliency.recording.writers.remote import open_remote
from keras_saliency.recording.writers.several import SeveralWriters
from keras_saliency.recording.writers.tracker import TrackedRun, TrackerWriter

Place: TypeAlias = Path | RemoteFolder | Writer

RUN_VARIABLE = "KERAS_SALIENCY_RUN"  # names the run, where a scheduler restarts training
_RUN_NAME = re.compile(r"\w[\w.-]*")


class _CompleteWriter(BaseWriter):
    """A writer of the user's, with the methods that it lacks."""

    def __init__(self, writer: Writer) -> None:
        self.description = f"what {type(writer).__name__} writes"
        for name in ("images", "scalars", "close", "text", "animations", "maps"):
            if hasattr(writer, name):
                setattr(self, name, getattr(writer, name))


def open_writer(
    log_dir: Place | tuple[Place, ...],
    run: str,
    described: Callable[[], Sequence[bytes]],
    *,
    resume_at: int | None,
    later: int,
) -> tuple[BaseWriter, PreviousRun | None]:
    """Make what a training run is written with.

    Args:
        log_dir: The folder that TensorBoard is pointed at, or a writer; or several of them.
        run: The name of the TensorBoard run, to which a number is added where it is taken. The
            environment variable `KERAS_SALIENCY_RUN` replaces what it begins with, `"saliency"`.
        described: What describes the probes and the settings, of which a run has one of each.
        resume_at: The first step that is written now, where the newest run of this name is
            continued if there is one and it has the same probes and settings; None for a new run.
        later: How many callbacks that come after this one have runs of this name.

    Returns:
        A writer with all methods, of which those that the user's writer lacks do nothing; and the
        run that is resumed, whether it is continued or not, if there is one.

    Raises:
        OSError: If the run's folder or its event file cannot be made.
        ValueError: If `KERAS_SALIENCY_RUN` is no name of a folder.
    """
    if isinstance(log_dir, tuple):
        places = (
            open_writer(place, run, described, resume_at=resume_at, later=later)
            for place in log_dir
        )
        writers, found = zip(*places, strict=True)
        return SeveralWriters(writers), next(filter(None, found), None)
    if isinstance(log_dir, PictureFolder):
        log_dir.begin()
    opened: Callable[..., EventWriter] = EventWriter
    if isinstance(log_dir, TrackerWriter):
        opened, log_dir = partial(TrackedRun, log_dir), log_dir.log_dir
    named = os.environ.get(RUN_VARIABLE, "")
    if named and not _RUN_NAME.fullmatch(named):
        raise ValueError(
            f"{RUN_VARIABLE} must be the name of a folder, of letters, digits, '_', '-' and '.'. "
            f"Received: {RUN_VARIABLE}={named!r}"
        )
    run = named + run.removeprefix("saliency") if named else run
    if isinstance(log_dir, RemoteFolder):
        return open_remote(
            log_dir, run, described, resume_at=resume_at, later=later, is_named=bool(named)
        )
    if not isinstance(log_dir, Path):
        return log_dir if isinstance(log_dir, BaseWriter) else _CompleteWriter(log_dir), None
    folder = new_run(log_dir, run, resume_at is not None, later)
    if resume_at is None or not any(folder.iterdir()):
        return opened(folder), None
    previous = PreviousRun.read(folder, resume_at, described())
    if previous.differences:
        return opened(new_run(log_dir, run)), previous
    return opened(folder, resume_at), previous


def tensorboard_folder(log_dir: Place | tuple[Place, ...]) -> Path | RemoteFolder | None:
    """Return the folder that TensorBoard is pointed at, or None where no run is written for it.

    Of several places it is the first that has one.
    """
    if isinstance(log_dir, tuple):
        folders = [tensorboard_folder(place) for place in log_dir]
        return next((folder for folder in folders if folder is not None), None)
    if isinstance(log_dir, TrackerWriter):
        return log_dir.log_dir
    return log_dir if isinstance(log_dir, Path | RemoteFolder) else None
