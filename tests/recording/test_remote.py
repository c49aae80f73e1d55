"""Training runs in remote storage: fsspec's memory and files, and storage that fails or is slow."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from typing import ClassVar

import keras
import numpy as np
import pytest
from keras import layers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_saliency as ks
from keras_saliency.cli.main import main
from keras_saliency.recording.remote import Mirror, RemoteFolder, is_address, local_copy
from keras_saliency.recording.tensorboard.event_reader import newest, trainings
from keras_saliency.recording.writers import remote as opening

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402

SIZE = (16, 20, 3)
X = np.random.default_rng(0).random((8, *SIZE), "float32")
Y = np.arange(8) % 2


class Faulty(MemoryFileSystem):
    """Storage that fails one call in so many, or takes its time."""

    protocol = "faulty"
    store: ClassVar[dict] = {}
    threads: ClassVar[set] = set()
    fails_every, calls, seconds, is_down = 0, 0, 0.0, False

    def pipe_file(self, path, value, **kwargs):
        cls = type(self)
        cls.calls += 1
        cls.threads.add(threading.current_thread().name)
        time.sleep(cls.seconds)
        if cls.is_down or (cls.fails_every and cls.calls % cls.fails_every == 0):
            raise ConnectionError("the storage is busy")
        return super().pipe_file(path, value, **kwargs)


fsspec.register_implementation("faulty", Faulty, clobber=True)
fsspec.register_implementation(
    "lacking", "no_such_package.FileSystem", clobber=True, errtxt="Install lackingfs for this"
)


@pytest.fixture(autouse=True)
def empty():
    Faulty.fails_every, Faulty.calls, Faulty.seconds, Faulty.is_down = 0, 0, 0.0, False
    Faulty.threads = set()
    for kind in (MemoryFileSystem, Faulty):
        kind.store.clear()
        kind.pseudo_dirs[:] = [""]


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(SIZE),
            layers.Conv2D(3, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def fit(address, epochs=2, begin=0, **options):
    watch = ks.SaliencyCallback((X[:4], Y[:4]), address, ["saliency"], **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network().fit(X, Y, initial_epoch=begin, epochs=epochs, verbose=0, callbacks=[watch])
    return [str(one.message) for one in caught if "keras_saliency" in str(one.message)]


def runs(address):
    return sorted({path.split("/")[0] for path in RemoteFolder(address).files()})


def events(address, run):
    names = RemoteFolder(f"{address}/{run}").files()
    return [name for name in names if "tfevents" in name]


def steps(address):
    """The steps of each tag, as TensorBoard's loader finds them in a copy."""
    folder = next(local_copy(address).iterdir())
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: [event.step for event in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }


def test_what_is_an_address():
    assert all(map(is_address, ("s3://b", "gs://b/logs", "memory://x", "file:///tmp")))
    assert not any(map(is_address, ("logs", "C:\\logs", "c:/logs", "s3:/b", "://x", 5, None)))


def test_a_run_is_the_same_as_in_a_local_folder(tmp_path):
    assert fit(tmp_path / "logs", 3) == []
    assert fit("memory://bucket/logs", 3) == []
    (run,) = runs("memory://bucket/logs")
    assert run.startswith("saliency_20")
    found = steps("memory://bucket/logs")
    accumulator = EventAccumulator(str(tmp_path / "logs/saliency"), size_guidance={"tensors": 0})
    accumulator.Reload()
    local = {
        tag: [event.step for event in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }
    assert found == local
    assert found["saliency/peak"] == [-1, 0, 1, 2]


def test_evaluations_are_in_files_of_their_own_and_there_while_it_trains():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            time.sleep(1.5)  # Training takes longer than a transfer.
            seen.append(len(events("memory://b", runs("memory://b")[0])))

    watch = ks.SaliencyCallback((X[:4], Y[:4]), "memory://b", ["saliency"], strict=True)
    network().fit(X, Y, epochs=3, verbose=0, callbacks=[watch, Look()])
    assert seen[0] < seen[1] < seen[2]
    assert seen[2] <= 8


def test_commands_read_it(capsys, tmp_path):
    from keras_saliency.data.synthetic import scenes

    drawn = scenes(128, correlation=0.95, size=(32, 40))
    model = keras.Sequential(
        [
            keras.Input((32, 40, 3)),
            layers.Rescaling(1 / 255),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    watch = ks.SaliencyCallback(
        (drawn.images[:4], drawn.labels[:4]),
        "memory://team/logs",
        ["saliency"],
        shortcuts=(drawn.images, drawn.labels, drawn.masks),
    )
    model.fit(drawn.images, drawn.labels, epochs=1, verbose=0, callbacks=[watch])
    (run,) = runs("memory://team/logs")
    files = RemoteFolder("memory://team/logs").files()
    assert f"{run}/verdict.json" in files
    stored = fsspec.open(f"memory://team/logs/{run}/verdict.json").open().read()
    assert json.loads(stored)["text"] == watch.verdict.text
    out = tmp_path / "report.html"
    main(["report", "memory://team/logs", "--out", str(out)])
    assert "What the model relies on" in out.read_text()
    main(["rank", "memory://team/logs", "--format", "json"])
    assert f'"run": "{run}"' in capsys.readouterr().out
    main(["check", f"memory://team/logs/{run}", "--json"])
    (judged,) = json.loads(capsys.readouterr().out)["runs"]
    assert judged["verdict"]["text"] == watch.verdict.text


def test_a_named_run_is_continued_from_an_empty_disk(monkeypatch):
    monkeypatch.setenv("KERAS_SALIENCY_RUN", "job-7")
    fit("memory://logs", 2)
    assert runs("memory://logs") == ["job-7"]
    fit("memory://logs", 4, begin=2)
    assert runs("memory://logs") == ["job-7"]
    found = steps("memory://logs")
    assert found["saliency/peak"] == [-1, 0, 1, 2, 3]
    training, older = newest("memory://logs")
    assert older == []
    assert list(training.moments.values()) == [
        "before training",
        *(f"epoch {number}" for number in (1, 2, 3, 4)),
    ]
    fit("memory://logs", 1)  # from the beginning again: a run of its own
    assert runs("memory://logs") == ["job-7", "job-7_2"]


def test_a_named_run_is_continued_in_a_local_folder_too(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_SALIENCY_RUN", "job")
    fit(tmp_path, 1)
    fit(tmp_path, 2, begin=1)
    assert [path.name for path in tmp_path.iterdir()] == ["job"]
    monkeypatch.setenv("KERAS_SALIENCY_RUN", "../elsewhere")
    with pytest.raises(ValueError, match=r"KERAS_SALIENCY_RUN='../elsewhere'"):
        fit(tmp_path, 1)


def test_without_a_name_only_a_run_that_has_been_still_is_continued(monkeypatch):
    fit("memory://logs", 1)
    (first,) = runs("memory://logs")
    fit("memory://logs", 2, begin=1)
    assert len(runs("memory://logs")) == 2  # the first may still be written elsewhere
    monkeypatch.setattr(opening, "STILL_S", -10.0)
    fit("memory://logs", 3, begin=2)
    assert len(runs("memory://logs")) == 2
    assert runs("memory://logs")[0] == first
    assert trainings("memory://logs")[-1].moments.keys() >= {2}


def test_other_probes_get_a_run_of_their_own(monkeypatch, capsys):
    monkeypatch.setenv("KERAS_SALIENCY_RUN", "job")
    fit("memory://logs", 1)
    watch = ks.SaliencyCallback((X[:3], Y[:3]), "memory://logs", ["saliency"])
    network().fit(X, Y, initial_epoch=1, epochs=2, verbose=2, callbacks=[watch])
    assert runs("memory://logs") == ["job", "job_2"]
    said = capsys.readouterr().out
    assert "a run of its own, memory://logs/job_2, since memory://logs/job has other" in said


def test_a_storage_that_fails_now_and_then_gets_everything(capsys):
    Faulty.fails_every = 3
    said = fit("faulty://logs", 3)
    assert len(said) <= 1  # none where only the last transfers failed, which were tried again
    assert all("faulty://logs/saliency_" in one for one in said)
    assert steps("faulty://logs")["saliency/peak"] == [-1, 0, 1, 2]


def test_a_transfer_that_failed_is_told_of_at_the_next_write(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a").write_bytes(b"x")
    mirror = Mirror(tmp_path / "run", RemoteFolder("faulty://b"))
    (tmp_path / "run" / "b").write_bytes(b"y")
    Faulty.is_down = True
    calls = Faulty.calls
    mirror.wake()
    deadline = time.monotonic() + 60
    while Faulty.calls == calls and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    with pytest.raises(OSError, match=r"faulty://b did not .* tried again .the storage is busy"):
        mirror.wake()
    Faulty.is_down = False
    mirror.close()
    assert RemoteFolder("faulty://b").files() == ["b"]  # what was there before is there
    assert not (tmp_path / "run").exists()


def test_a_slow_storage_is_waited_for_by_neither_training_nor_drawing():
    Faulty.seconds = 0.3
    assert fit("faulty://logs", 3) == []
    assert steps("faulty://logs")["saliency/peak"] == [-1, 0, 1, 2]
    assert "MainThread" in Faulty.threads  # the check before training, and the rest at the end
    assert len(Faulty.threads) == 2


def test_what_a_storage_does_not_take_stays_in_a_local_folder(monkeypatch):
    from keras_saliency.recording import remote

    monkeypatch.setattr(remote, "_FIRST_WAIT_S", 0.01)

    class Down(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            Faulty.is_down = epoch == 1

    watch = ks.SaliencyCallback((X[:4], Y[:4]), "faulty://logs", ["saliency"])
    with pytest.warns(UserWarning, match="training run is in"):
        network().fit(X, Y, epochs=2, verbose=0, callbacks=[watch, Down()])
    local = watch.session.recorder.writer.folder
    assert list(local.glob("*tfevents*"))


def test_a_storage_that_cannot_be_written_is_an_error_before_training():
    Faulty.is_down = True
    model, before = network(), network().get_weights()
    watch = ks.SaliencyCallback((X[:4], Y[:4]), "faulty://logs")
    with pytest.raises(OSError, match=r"credentials.*log_dir='faulty://logs' .ConnectionError"):
        model.fit(X, Y, verbose=0, callbacks=[watch])
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_missing_library_and_an_unknown_scheme_are_errors_at_once():
    with pytest.raises(ImportError, match=r"keras-saliency.remote.*Install lackingfs"):
        ks.SaliencyCallback((X, Y), "lacking://bucket/logs")
    with pytest.raises(ValueError, match="log_dir='unheard-of://x'"):
        ks.SaliencyCallback((X, Y), "unheard-of://x/")
    with pytest.raises(ValueError, match="There are no runs in memory://nothing"):
        newest("memory://nothing")


def test_a_picture_folder_may_be_remote():
    for _ in range(2):
        watch = ks.SaliencyCallback(
            (X[:2], Y[:2]), ks.PictureFolder("memory://b/maps"), ["saliency"]
        )
        network().fit(X, Y, epochs=2, verbose=0, callbacks=[watch])
    folders = runs("memory://b")
    assert len(folders) == 2
    for folder in folders:
        names = RemoteFolder(f"memory://b/{folder}").files()
        assert "saliency/00-0/000001.png" in names
        assert "scalars.csv" in names


KILLED = """
import sys, time
import keras, numpy as np
import keras_saliency as ks
x, y = np.random.default_rng(0).random((8, 16, 20, 3), "float32"), np.arange(8) % 2
model = keras.Sequential([keras.Input((16, 20, 3)), keras.layers.Conv2D(3, 3),
                          keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
class Wait(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        time.sleep(1.5)
        print("epoch", epoch, flush=True)
watch = ks.SaliencyCallback((x[:4], y[:4]), sys.argv[1], ["saliency"])
model.fit(x, y, epochs=50, verbose=0, callbacks=[watch, Wait()])
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of other systems")
def test_what_was_finished_before_a_kill_is_readable(tmp_path):
    address = f"file://{tmp_path}/logs"
    command = [sys.executable, "-c", KILLED, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("epoch 2"):
                break
        process.send_signal(signal.SIGKILL)
    (training,) = trainings(address)
    assert training.faults == []
    assert set(training.moments) >= {-1, 0, 1, 2}
