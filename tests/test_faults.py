"""Faults made in earnest: the training ends as without the callback, what was written is readable,
and one warning says what is missing.
"""

import functools
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import warnings

import keras
import observed
import pytest
from disks import Run, SlowFile, fill, immutable, records, small_disk
from keras import layers
from observed import after, same

import keras_saliency as ks

PROBES = observed.pictures(2, seed=2)
EPOCHS = 5
NUMBER, PICTURE, STRIP = "probes/score", "grad-cam/00_0", "film-strip/grad-cam"
ALL = [-1, *range(EPOCHS)]


def built(rate=0.01):
    """A small network, the same at every call; eager, so that nothing has to be traced."""
    keras.utils.clear_session()  # so that names are the same again
    keras.utils.set_random_seed(7)
    parts = [layers.Conv2D(4, 3, activation="relu"), layers.Dropout(0.4, seed=6)]
    top = [layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input(observed.SIZE), *parts, *top])
    model.compile(keras.optimizers.Adam(rate), observed.CountsLosses(), run_eagerly=True)
    return model


def fitted(model, callbacks=(), **options):
    x, y = observed.pictures(16)
    options = {"epochs": EPOCHS, "batch_size": 8, "verbose": 0} | options
    return model.fit(x, y, callbacks=list(callbacks), **options).history


@functools.cache
def alone():
    """What the training leaves behind that nobody watches."""
    model = built()
    return after(model, fitted(model))


class Then(keras.callbacks.Callback):
    """Does something at the end of some epochs, when all that was seen has been written."""

    def __init__(self, watch, **actions):
        super().__init__()
        self.watch = watch
        self.actions = {int(when.removeprefix("epoch_")): do for when, do in actions.items()}

    def on_epoch_end(self, epoch, logs=None):
        if epoch in self.actions:
            assert self.watch._recorder.flush(60)
            self.actions[epoch]()


def watched(watch, *callbacks):
    """Train with the callback; assert that the training is the same, and return what was said."""
    model = built()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        history = fitted(model, [watch, *callbacks])
    found = after(model, history)
    same(alone(), found)
    return [str(one.message) for one in told if "keras_saliency" in str(one.message)]


def faulty(folder, methods=("saliency", "grad_cam"), **actions):
    """Train, and let something happen after some epochs; return the run and the one warning."""
    watch = ks.SaliencyCallback(PROBES, folder, methods)
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
        assert run.steps(NUMBER) == run.steps(PICTURE) == [-1, 0, 1, 4]
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


def in_a_process_of_its_own(script, folder, *before):
    """Run a script with the names of this file, and `folder`; what it says must be nothing bad."""
    head = f"""
        import pathlib, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_faults import *
        folder = pathlib.Path({str(folder)!r})
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    done = subprocess.run(
        [*before, sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_a_log_folder_that_is_deleted(tmp_path):
    kept = tmp_path / "kept"
    logs = tmp_path / "logs"

    def delete():
        shutil.copytree(logs, kept)
        shutil.rmtree(logs)

    watch = ks.SaliencyCallback(PROBES, logs)
    (message,) = watched(watch, Then(watch, epoch_2=delete))
    assert "incomplete since epoch 4 (the event file was deleted" in message
    assert not logs.exists()  # another training may begin there
    assert Run(kept / "saliency").steps(PICTURE) == [-1, 0, 1, 2]


@pytest.mark.slow
def test_a_log_folder_that_is_made_read_only(tmp_path):
    """For those whom modes concern: an open file stays writable, and no other can be made."""
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("modes do not concern root, and there is no setpriv to make them")
    alike = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []
    in_a_process_of_its_own(
        """
        def forbid():
            for place in (folder, folder / "saliency", folder / "saliency" / "film-strips"):
                place.chmod(0o555)
        run, message = faulty(folder, epoch_1=forbid)
        assert "incomplete since epoch 3" in message, message
        assert "Permission denied" in message, message
        assert run.steps(NUMBER) == run.steps(PICTURE) == ALL
        """,
        tmp_path,
        *alike,
    )


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
    assert run.steps("probes")[-1] == 2  # or the Saliency tab would have no pictures
    if share == 0.999:
        assert run.steps(PICTURE) == ALL


def test_a_disk_that_is_slow(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_saliency.recorder._PATIENCE_S", 0.05)
    watch = ks.SaliencyCallback(PROBES, tmp_path)
    slow = []

    def slow_down():
        slow.append(SlowFile(watch._recorder._writer))

    class LetsGo(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == EPOCHS - 1:
                slow[0].let.set()

    (message,) = watched(watch, Then(watch, epoch_0=slow_down), LetsGo())
    assert "the pictures of epoch 4 are left out, as drawing cannot keep up" in message
    run = Run(tmp_path / "saliency")
    assert run.steps(NUMBER) == ALL
    assert run.steps(PICTURE) == [-1, 0, 1, 2]
