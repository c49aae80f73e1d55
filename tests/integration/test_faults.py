"""Faults made in earnest: training ends as without the callback, what was written is readable,
and one warning says what is missing.
"""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import keras
import pytest

import keras_saliency as ks
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run
from keras_saliency.shortcuts.verdict import Verdict

from helpers import observed
from helpers.board import Board, snapshot
from helpers.disks import (
    DeadlyFile,
    LaggingFile,
    Run,
    SlowFile,
    fill,
    immutable,
    records,
    small_disk,
)
from helpers.observed import values
from helpers.watching import ALL, EPOCHS, NUMBER, PICTURE, PROBES, STRIP, Then, built, watched


def faulty(folder, **actions):
    """Train, and let something happen after some epochs; return the run and the one warning."""
    watch = ks.SaliencyCallback(PROBES, folder, ["grad_cam"])
    (message,) = watched(watch, Then(watch, **actions))
    assert message.endswith("The training goes on.")
    return Run(folder / "saliency"), message


def event_file(folder):
    return next((folder / "saliency").glob("*tfevents*"))


def test_without_a_fault_nothing_is_said_and_nothing_missing(tmp_path):
    assert watched(ks.SaliencyCallback(PROBES, tmp_path)) == []
    run = Run(tmp_path / "saliency")
    assert run.steps(NUMBER) == run.steps(PICTURE) == run.steps(STRIP) == ALL
    assert records(event_file(tmp_path))[1] == 0


def test_a_full_disk(tmp_path):
    with small_disk(tmp_path / "disk", 4096) as disk:
        run, message = faulty(
            disk,
            epoch_1=lambda: fill(disk),
            epoch_3=(disk / "ballast").unlink,
        )
        assert "incomplete since epoch 3" in message
        assert "No space left" in message
        assert run.steps(PICTURE) == [-1, 0, 1, 4]
        # Numbers are small: those of a set or two have room in the last page of the file.
        assert set(run.steps(NUMBER)) >= {-1, 0, 1, 4}
        assert records(event_file(disk))[1] == 0  # nothing is there by half
        assert run.steps(STRIP) == [-1, 0, 1, 4]


def test_a_quota(tmp_path):
    """A limit of the size of files, which a write meets half way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit():
        size = event_file(tmp_path).stat().st_size + 1000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    try:
        run, message = faulty(tmp_path, epoch_1=limit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "incomplete since epoch 3" in message
    assert "File too large" in message
    assert run.steps(PICTURE) == [-1, 0, 1]
    assert records(event_file(tmp_path))[1] == 0


def script_command(script, folder):
    """The command that runs a script with the names of this file, and `folder`."""
    head = f"""
        import pathlib, sys
        sys.path[:0] = {[os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]!r}
        from test_faults import *
        from helpers.watching import *
        folder = pathlib.Path({str(folder)!r})
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    return [sys.executable, "-W", "ignore", "-c", code]


def test_a_log_folder_that_is_deleted(tmp_path):
    kept = tmp_path / "kept"
    logs = tmp_path / "logs"

    def delete():
        shutil.copytree(logs, kept)
        shutil.rmtree(logs)

    watch = ks.SaliencyCallback(PROBES, logs, ["grad_cam"])
    (message,) = watched(watch, Then(watch, epoch_2=delete))
    assert "incomplete since epoch 4 (the event file was deleted" in message
    assert not logs.exists()  # another training run may begin there
    assert Run(kept / "saliency").steps(PICTURE) == [-1, 0, 1, 2]


@pytest.mark.slow
def test_a_log_folder_that_is_made_read_only(tmp_path):
    """For those whom modes concern: an open file stays writable, and no other can be made."""
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("modes do not concern root, and there is no setpriv to make them")
    alike = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []
    script = """
        def forbid():
            for place in (folder, folder / "saliency", folder / "saliency" / "film-strips"):
                place.chmod(0o555)
        run, message = faulty(folder, epoch_1=forbid)
        assert "incomplete since epoch 3" in message, message
        assert "Permission denied" in message, message
        assert run.steps(NUMBER) == run.steps(PICTURE) == ALL
    """
    command = [*alike, *script_command(script, tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_files_that_are_made_read_only_to_everybody(tmp_path):
    frozen = []

    def freeze():
        run = tmp_path / "saliency"
        frozen.append(immutable(event_file(tmp_path), run / "film-strips", run))
        frozen[0].__enter__()

    def thaw():
        frozen[0].__exit__(None, None, None)

    run, message = faulty(tmp_path, epoch_1=freeze, epoch_3=thaw)
    assert "incomplete since epoch 3" in message
    assert "not permitted" in message
    assert run.steps(NUMBER) == run.steps(PICTURE) == [-1, 0, 1, 4]
    assert records(event_file(tmp_path))[1] == 0


@pytest.mark.parametrize("share", [0, pytest.param(0.5, marks=pytest.mark.slow), 0.999])
def test_an_event_file_that_is_cut_short(share, tmp_path):
    def cut():
        path = event_file(tmp_path)
        os.truncate(path, int(share * path.stat().st_size))

    run, message = faulty(tmp_path, epoch_1=cut)
    assert "incomplete since epoch 3 (something else cut the event file" in message
    first, second = sorted(one.name for one in (tmp_path / "saliency").glob("*tfevents*"))
    assert first in message
    assert message.endswith(f"what follows is in {second}). The training goes on.")
    assert run.steps(NUMBER)[-3:] == run.steps(PICTURE)[-3:] == [2, 3, 4]
    assert run.steps("probes")[-1] == 2  # or the Saliency tab would have no images
    if share == 0.999:
        assert run.steps(PICTURE) == ALL


@pytest.mark.skipif(os.name == "nt", reason="an open file is not replaced there")
def test_an_event_file_that_is_replaced(tmp_path):
    def replace():
        path = event_file(tmp_path)
        shutil.copy(path, tmp_path / "copy")
        (tmp_path / "copy").replace(path)

    run, message = faulty(tmp_path, epoch_1=replace)
    assert "incomplete since epoch 3 (something else replaced the event file" in message
    assert len(list((tmp_path / "saliency").glob("*tfevents*"))) == 2
    assert run.steps(NUMBER) == run.steps(PICTURE) == run.steps(STRIP) == ALL


def test_a_disk_that_is_slow(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_saliency.recording.worker._PATIENCE_S", 0.05)
    watch = ks.SaliencyCallback(PROBES, tmp_path, ["grad_cam"])
    slow = []

    def slow_down():
        slow.append(SlowFile(watch.session.recorder.writer))

    class LetsGo(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == EPOCHS - 1:
                slow[0].let.set()

    (message,) = watched(watch, Then(watch, epoch_0=slow_down), LetsGo())
    assert "the pictures of epoch 4 are left out, as drawing cannot keep up" in message
    run = Run(tmp_path / "saliency")
    assert run.steps(NUMBER) == ALL
    assert run.steps(PICTURE) == [-1, 0, 1, 2]


DIES = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def end_worker(watch):
    """End the thread that draws as the interpreter ends one, wherever it is."""
    thread = watch.session.recorder.worker.thread
    exception = ctypes.py_object(SystemExit)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), exception) == 1


@DIES
def test_a_worker_that_dies_between_two_sets(tmp_path):
    watch = ks.SaliencyCallback(PROBES, tmp_path, ["grad_cam"])
    (message,) = watched(watch, Then(watch, epoch_1=lambda: end_worker(watch)))
    assert "ended the thread that draws, at epoch 2 or at what came next" in message
    run = Run(tmp_path / "saliency")
    assert set(run.steps(NUMBER)) >= {-1, 0, 1, 3, 4}
    assert set(run.steps(PICTURE)) >= {-1, 0, 1, 3, 4}


class EndsWorkerAtWork(keras.callbacks.Callback):
    """Ends the thread that draws in the midst of the third epoch's set."""

    def __init__(self, watch):
        super().__init__()
        self.watch = watch

    def on_epoch_end(self, epoch, logs=None):
        recorder = self.watch.session.recorder
        if epoch == 1:
            assert recorder.flush(60)
            self.slow = SlowFile(recorder.writer)
        if epoch == 2:
            assert self.slow.reached.wait(60)
            end_worker(self.watch)
            self.slow.let.set()
            recorder.worker.thread.join(60)


@DIES
def test_a_worker_that_dies_at_work(tmp_path):
    before = set(threading.enumerate())
    watch = ks.SaliencyCallback(PROBES, tmp_path, ["grad_cam"])
    (message,) = watched(watch, EndsWorkerAtWork(watch))
    assert "ended the thread that draws, at epoch 3 or" in message
    run = Run(tmp_path / "saliency")
    assert set(run.steps(PICTURE)) >= {-1, 0, 1, 3, 4}
    assert set(run.steps(NUMBER)) >= {-1, 0, 1, 3, 4}
    left = set(threading.enumerate()) - before
    assert not [one for one in left if one.name == "keras-saliency"]


def forked(job):
    """Run a job in a child that ends without any tidying; return what ended it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since 3.12: there are other threads
        child = os.fork()
    if child == 0:
        try:
            job()
        finally:
            os._exit(1)
    return -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def readable(folder, tag):
    return Run(folder / "saliency").steps(tag)


OFTEN = [pytest.param(share, marks=pytest.mark.slow) for share in (0.0, 0.17, 0.5, 0.77, 0.999)]


@pytest.mark.parametrize("share", [0.4, 0.93, *OFTEN])
def test_a_kill_within_a_write_costs_two_sets_at_most(share, tmp_path):
    whole = Board(tmp_path / "whole").write(*map(snapshot, range(8)))
    length = whole.recorder.writer.path.stat().st_size
    mine, theirs = os.pipe()

    def record():
        board = Board(tmp_path / "killed")
        DeadlyFile(board.recorder.writer, int(share * length))
        for step in range(8):
            board.recorder.record(snapshot(step))
            os.write(theirs, bytes([step]))
        board.recorder.close()

    assert forked(record) == signal.SIGKILL
    os.close(theirs)
    returned = list(os.read(mine, 100))
    os.close(mine)
    for tag in ("grad-cam/peak", "grad-cam/02_dog", "overview"):
        steps = readable(tmp_path / "killed", tag)
        assert steps == list(range(len(steps)))
        assert len(steps) >= len(returned) - 2
    (path,) = (tmp_path / "killed" / "saliency").glob("*tfevents*")
    assert path.stat().st_size == 40 + int(share * length)


def test_numbers_do_not_wait_behind_pictures_on_a_slow_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_saliency.recording.worker._PATIENCE_S", 0.05)

    def record():
        board = Board(tmp_path)
        LaggingFile(board.recorder.writer, seconds=0.4, size=4000)
        for step in range(12):
            verdict = Verdict("relies on the background", gaps={"background": (0.5, 0.25)})
            board.recorder.record_verdict(verdict, f"epoch {step}", step)
            board.recorder.record(snapshot(step))
            time.sleep(0.02)
        time.sleep(0.6)  # one write at a time: what it holds up is written after it
        os.kill(os.getpid(), signal.SIGKILL)

    assert forked(record) == signal.SIGKILL
    for tag in ("grad-cam/peak", "Verdict/reliance", "Verdict/background", "Verdict/in-words"):
        assert readable(tmp_path, tag) == list(range(12))
    assert len(readable(tmp_path, "overview")) < 3


def test_a_training_goes_on_behind_half_a_record(tmp_path):
    def record():
        board = Board(tmp_path)
        board.recorder.record(snapshot(0))
        assert board.recorder.flush(60)
        DeadlyFile(board.recorder.writer, 50)
        board.recorder.record(snapshot(1))
        board.recorder.flush(60)

    assert forked(record) == signal.SIGKILL
    (path,) = (tmp_path / "saliency").glob("*tfevents*")
    assert records(path)[1] == 50
    with_it = EventWriter(new_run(tmp_path, resume=True), continued_at=1)
    Board(tmp_path / "unused", writer=with_it).write(snapshot(1), snapshot(2))
    assert readable(tmp_path, "grad-cam/00_cat") == [0, 1, 2]
    assert readable(tmp_path, "grad-cam/peak") == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGTERM, which is an exit"])
def test_a_signal_ends_a_training(how, tmp_path):
    script = f"""
        import signal
        if {how.endswith("exit")}:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        class Tells(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                print(epoch, flush=True)
        fitted(built(), [ks.SaliencyCallback(PROBES, folder), Tells()], epochs=1000)
    """
    command = script_command(script, tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        returned = 0
        for line in child.stdout:
            returned = int(line) + 1
            if returned == 7:
                child.send_signal(signal.SIGKILL if how == "SIGKILL" else signal.SIGTERM)
        ended = child.wait(60)
    lost = 0 if how.endswith("exit") else 2
    assert ended == (0 if lost == 0 else -getattr(signal, how))
    for tag in (NUMBER, PICTURE):
        steps = readable(tmp_path, tag)
        assert steps == list(range(-1, len(steps) - 1))
        assert len(steps) >= 1 + returned - lost


class Forks(keras.utils.PyDataset):
    """Batches that forked processes make, which say who they are."""

    def __init__(self, folder):
        super().__init__(workers=2, use_multiprocessing=True)
        self.folder = folder

    def __len__(self):
        return 4

    def __getitem__(self, index):
        (self.folder / str(os.getpid())).touch()
        x, y = observed.pictures(16)
        return x[4 * index : 4 * index + 4], y[4 * index : 4 * index + 4]


def test_loaders_that_fork(tmp_path):
    def train(folder, *callbacks):
        folder.mkdir()
        model = built()
        model.fit(Forks(folder), epochs=3, verbose=0, callbacks=list(callbacks))
        loaders = {path.name for path in folder.iterdir()} - {str(os.getpid())}
        assert len(loaders) >= 2
        return values(model.variables)

    wanted = train(tmp_path / "alone")
    found = train(
        tmp_path / "watched", ks.SaliencyCallback(PROBES, tmp_path / "logs", ["grad_cam"])
    )
    assert found == wanted
    assert Run(tmp_path / "logs" / "saliency").steps(PICTURE) == [-1, 0, 1, 2]
    (path,) = (tmp_path / "logs" / "saliency").glob("*tfevents*")
    assert records(path)[1] == 0
