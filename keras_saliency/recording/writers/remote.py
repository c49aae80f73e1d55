"""Opening a run in remote storage, or the one that a training run goes on in."""

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_saliency.recording.remote import RemoteFolder, unique_number
from keras_saliency.recording.resuming import PreviousRun
from keras_saliency.recording.tensorboard.remote_writer import RemoteWriter

STILL_S = 900.0  # since its last file, after which a run is taken to have ended
_STAMP = re.compile(r"tfevents\.(\d{10,})\.")


def open_remote(
    log_dir: RemoteFolder,
    run: str,
    described: Callable[[], Sequence[bytes]],
    *,
    resume_at: int | None,
    later: int,
    is_named: bool,
) -> tuple[RemoteWriter, PreviousRun | None]:
    """Open a new run in remote storage, or the one to continue.

    There are no locks, so the number of a new run is the time and a random number, unless it is
    named; and a run is continued if it is named, or has been still for `STILL_S`.

    Args:
        log_dir: Where TensorBoard looks for runs.
        run: The run's name.
        described: What describes the probes and the settings.
        resume_at: As for `open_writer`.
        later: Likewise.
        is_named: Whether the user has named the run.

    Returns:
        As `open_writer`.

    Raises:
        OSError: If the storage cannot be written.
    """
    log_dir.check()
    above = Path(tempfile.mkdtemp(prefix="keras-saliency-"))
    runs, previous = _numbered_runs(log_dir, run), None
    found = None if resume_at is None else _to_continue(runs, later, is_named=is_named)
    if found is not None and resume_at is not None:
        name, files = found
        (log_dir / name).download(files, above / name)
        previous = PreviousRun.read(above / name, resume_at, described())
        if not previous.differences:
            return RemoteWriter(above / name, log_dir / name, resume_at), previous
    number = max(runs, default=0) + 1 if is_named else unique_number()
    name = run if number == 1 else f"{run}_{number}"
    (above / name).mkdir()
    return RemoteWriter(above / name, log_dir / name), previous


def _numbered_runs(log_dir: RemoteFolder, run: str) -> dict[int, tuple[str, list[str]]]:
    """Find the runs called `run`, `run_2` and so on by their number, each with its files."""
    pattern = re.compile(rf"({re.escape(run)}(?:_([1-9]\d*))?)/(.+)")
    found: dict[int, tuple[str, list[str]]] = {}
    for path in log_dir.files():
        if match := pattern.fullmatch(path):
            found.setdefault(int(match[2] or 1), (match[1], []))[1].append(match[3])
    return found


def _to_continue(
    runs: dict[int, tuple[str, list[str]]], later: int, *, is_named: bool
) -> tuple[str, list[str]] | None:
    """Find the newest run with event files, if it is named or has been still for long enough."""
    for number in sorted(runs, reverse=True):
        stamps = [int(match[1]) for file in runs[number][1] if (match := _STAMP.search(file))]
        if not stamps:
            continue
        if not later:
            is_still = time.time() - max(stamps) > STILL_S
            return runs[number] if is_named or is_still else None
        later -= 1
    return None
