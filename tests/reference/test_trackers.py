"""The writers of docs/trackers.md, run with the packages they are for, offline."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_saliency as ks
from keras_saliency.recording.tensorboard import event_writer

PAGE = Path(__file__).parents[2] / "docs" / "trackers.md"
SIZE = (17, 26, 3)


def run_block(name, folder, monkeypatch):
    """Run the block of a page that begins with an import, as a reader with two probes would."""
    monkeypatch.chdir(folder)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(SIZE),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    metric = keras.metrics.SparseCategoricalAccuracy(name="hits(all)")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
    x, y = np.random.default_rng(1).random((8, *SIZE), "float32"), np.arange(8) % 2

    class Train(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return x, y

    probes = ks.Probes(x[:2], y[:2])
    kept = ks.SaliencyCallback(probes, Kept())
    names = {"ks": ks, "model": model, "probes": probes, "train": Train(), "kept": kept}
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = (one for one in found if one.startswith(f"import {name}\n"))
    last = "run.finish()\n"  # after which W&B tells nothing of the run
    block = block.removesuffix(last).replace("callbacks=[watch]", "callbacks=[watch, kept]")
    exec(compile(block, PAGE.name, "exec"), names)
    return names, kept.settings.log_dir


class Kept:
    """Keeps what a writer is given, to be compared with what arrives."""

    def __init__(self):
        self.pictures, self.numbers = {}, {}

    def images(self, pictures, step):
        self.pictures |= {(tag, step): picture.copy() for tag, picture in pictures.items()}

    def scalars(self, numbers, step):
        self.numbers |= {(tag, step): number for tag, number in numbers.items()}

    def close(self):
        assert {step for _, step in self.pictures} == {step for _, step in self.numbers}


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).tobytes()


@pytest.mark.trackers
@pytest.mark.filterwarnings("ignore")  # of theirs
def test_mlflow_holds_all_pictures_and_numbers(mlflow, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    names, sent = run_block("mlflow", tmp_path, monkeypatch)
    client, run = names["client"], names["run"].info.run_id
    arrived = {
        (name, one.step): one.value
        for name in client.get_run(run).data.metrics
        for one in client.get_metric_history(run, name)
    }
    expected = {(re.sub("[()]", "_", tag), step): n for (tag, step), n in sent.numbers.items()}
    assert ("epoch_hits_all_", 1) in arrived
    assert arrived == pytest.approx(expected)
    for (tag, step), picture in sent.pictures.items():
        path = client.download_artifacts(run, f"{tag}/{step + 1:06d}.png", str(tmp_path))
        assert pixels(path) == picture.tobytes()


@pytest.mark.trackers
@pytest.mark.filterwarnings("ignore")  # of theirs
def test_wandb_holds_all_pictures(wandb, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    names, sent = run_block("wandb", tmp_path, monkeypatch)
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media/images")
    arrived = Counter((path.parent.name, pixels(path)) for path in media.rglob("*.png"))
    expected = Counter(
        (tag.rpartition("/")[0] or "images", picture.tobytes())
        for (tag, _), picture in sent.pictures.items()
    )
    assert arrived == expected
    run = names["run"]
    last = {tag: number for (tag, step), number in sent.numbers.items() if step == 1}
    assert {tag: run.summary[tag] for tag in last} == pytest.approx(last)
    assert run.summary["set"] == 1
    run.finish()


@pytest.mark.trackers
@pytest.mark.filterwarnings("ignore")  # of theirs
def test_wandb_sync_reads_no_event_files(wandb, tmp_path, monkeypatch):
    event_writer.EventWriter(tmp_path).close()
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "No runs to sync" in done.stdout + done.stderr


@pytest.mark.trackers
@pytest.mark.filterwarnings("ignore")  # of theirs
def test_readers_get_what_the_page_says(tbparse, trackio, tmp_path, monkeypatch):
    writer, kept = event_writer.EventWriter(event_writer.new_run(tmp_path)), {}
    for step in (-1, 0, 1):
        writer.images({"overview": np.full((8, 9, 3), 60 + step, "uint8")}, step)
        numbers = {"probes/score": step / 3, "epoch_hits(all)": 2.0 * step}
        writer.scalars(numbers, step)
        kept |= {(tag, step): number for tag, number in numbers.items()}
    writer.close()
    reader = tbparse.SummaryReader(str(writer.folder), event_types={"scalars", "tensors"})
    rows = reader.tensors
    numbers = {(r.tag, r.step): float(r.value) for r in rows.itertuples() if r.tag != "overview"}
    assert numbers == pytest.approx(kept)
    assert reader.scalars.empty
    with pytest.raises(ValueError, match="No TensorFlow events data"):
        trackio.import_tf_events(tmp_path, "of-ours")
