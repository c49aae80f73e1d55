"""The writers of docs/trackers.md, run with the packages they are for, offline."""

import importlib
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
from keras_saliency.shortcuts.verdict import Verdict

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
    kept = ks.SaliencyCallback(probes, Kept(), shortcuts=(x, y))
    names = {"ks": ks, "model": model, "probes": probes, "train": Train(), "kept": kept}
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = (one for one in found if one.startswith(f"import {name}\n"))
    last = "run.finish()\n"  # after which W&B tells nothing of the run
    block = block.removesuffix(last).replace("callbacks=[watch]", "callbacks=[watch, kept]")
    block = block.replace("shortcuts=train", "shortcuts=train[0]")  # too few for a verdict
    exec(compile(block, PAGE.name, "exec"), names)
    return names, kept.settings.log_dir


def is_report(text):
    """Whether a page is the report of the run, with the script of its slider."""
    return "<title>" in text and "keras_saliency" in text and "</script>" in text


RELIES = Verdict("relies on the cast", 0.5, {"cast": (0.5, 0.01)}, True, "cast")


class Kept:
    """Keeps what a writer is given, to be compared with what arrives."""

    def __init__(self):
        self.pictures, self.numbers, self.gifs, self.pages = {}, {}, {}, {}

    def images(self, pictures, step):
        self.pictures |= {(tag, step): picture.copy() for tag, picture in pictures.items()}

    def scalars(self, numbers, step):
        self.numbers |= {(tag, step): number for tag, number in numbers.items()}

    def animations(self, gifs, step):
        self.gifs |= {(tag, step): bytes(gif) for tag, gif in gifs.items()}

    def text(self, texts, step):
        self.pages |= {(tag, step): page for tag, page in texts.items()}

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
    assert arrived == pytest.approx(expected, nan_ok=True)
    for (tag, step), picture in sent.pictures.items():
        path = client.download_artifacts(run, f"{tag}/{step + 1:06d}.png", str(tmp_path))
        assert pixels(path) == picture.tobytes()
    for (tag, step), gif in sent.gifs.items():
        path = client.download_artifacts(run, f"{tag}/{step + 1:06d}.gif", str(tmp_path))
        assert Path(path).read_bytes() == gif
    assert {"about", "Verdict/in-words"} <= {tag for tag, _ in sent.pages}
    for tag, _ in sent.pages:
        assert Path(client.download_artifacts(run, f"{tag}.md", str(tmp_path))).is_file()
    path = client.download_artifacts(run, "saliency_report.html", str(tmp_path))
    assert is_report(Path(path).read_text(encoding="utf-8"))
    names["alert"](RELIES)
    assert client.get_run(run).data.tags["shortcut"] == "relies on the cast"
    assert Path(client.download_artifacts(run, "verdict.json", str(tmp_path))).is_file()


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
    numbers = sent.numbers.items()
    last = {tag: number for (tag, step), number in numbers if step == 1 and np.isfinite(number)}
    assert {tag: run.summary[tag] for tag in last} == pytest.approx(last)
    media = media.parent
    assert Counter(path.read_bytes() for path in media.rglob("*.gif")) == Counter(
        sent.gifs.values()
    )
    (report,) = media.glob("html/saliency_report_*.html")
    assert is_report(report.read_text(encoding="utf-8"))
    names["alert"](RELIES)
    run.finish()


@pytest.mark.trackers
@pytest.mark.filterwarnings("ignore")  # of theirs
def test_trackio_holds_all_that_is_written(trackio, tmp_path, monkeypatch):
    names, sent = run_block("trackio", tmp_path, monkeypatch)
    storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    media = importlib.import_module("trackio.utils").MEDIA_DIR
    project, run = "snow-or-penguin", names["run"].name
    arrived = {}
    for row in storage.get_logs(project, run):
        arrived |= {(tag, row["step"]): value for tag, value in row.items()}
    numbers = {place: arrived[place] for place in sent.numbers}
    assert numbers == pytest.approx(sent.numbers, nan_ok=True)
    for place, picture in sent.pictures.items():
        assert pixels(media / arrived[place]["file_path"]) == picture.tobytes()
    for place, gif in sent.gifs.items():
        assert (media / arrived[place]["file_path"]).read_bytes() == gif
    assert "shortcut" in "".join(tag for tag, _ in arrived)
    report = media / arrived["saliency_report", 1]["file_path"]
    assert is_report(report.read_text(encoding="utf-8"))
    names["run"].alert("Shortcut", RELIES.text)


@pytest.mark.trackers
@pytest.mark.filterwarnings("ignore")  # of theirs
def test_swanlab_holds_all_pictures(swanlab, tmp_path, monkeypatch):
    _, sent = run_block("swanlab", tmp_path, monkeypatch)
    arrived = Counter(pixels(path) for path in tmp_path.rglob("media/image/*.png"))
    assert set(arrived) == {picture.tobytes() for picture in sent.pictures.values()}
    assert list(tmp_path.rglob("*.swanlab"))


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
