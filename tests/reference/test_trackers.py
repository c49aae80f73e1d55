"""The writers of docs/trackers.md, run with the packages they are for, offline."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_saliency as ks

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
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(1).random((8, *SIZE), "float32"), np.arange(8) % 2

    class Train(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return x, y

    names = {"ks": ks, "model": model, "probes": ks.Probes(x[:2], y[:2]), "train": Train()}
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = (one for one in found if one.startswith(f"import {name}\n"))
    last = "run.finish()\n"  # after which W&B tells nothing of the run
    exec(compile(block.removesuffix(last), PAGE.name, "exec"), names)
    return names


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")  # of theirs
def test_mlflow_holds_all_pictures_and_numbers(mlflow, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    names = run_block("mlflow", tmp_path, monkeypatch)
    client, run = names["client"], names["run"].info.run_id
    steps = [each.step for each in client.get_metric_history(run, "probes/score")]
    assert steps == [-1, 0, 1]
    cards = [one.path for one in client.list_artifacts(run, "grad-cam/00_0")]
    assert cards == [f"grad-cam/00_0/{step:06d}.png" for step in range(3)]
    assert {one.path for one in client.list_artifacts(run)} >= {"overview", "film-strip"}


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")  # of theirs
def test_wandb_holds_all_pictures(wandb, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    names = run_block("wandb", tmp_path, monkeypatch)
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media/images")
    for method in ("grad-cam", "saliency"):
        for probe in ("00_0", "01_1"):
            assert len(list((media / method).glob(f"{probe}_*.png"))) == 3
    assert list((media / "film-strip").glob("grad-cam_*.png"))
    assert len(list(media.glob("overview_*.png"))) == 3
    run = names["run"]
    assert 0 <= run.summary["probes/accuracy"] <= 1
    assert run.summary["set"] == 1
    run.finish()
