"""The table of training runs, from event files."""

import csv
import json

import numpy as np
import pytest

from keras_saliency.cli.main import main
from keras_saliency.data.probes import Probes
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run
from keras_saliency.recording.tensorboard.plugin_data import PluginData
from keras_saliency.shortcuts.verdict import Verdict

COLUMNS = ["run", "reliance", "alarm", "cause", "since", "accuracy", "verdict"]


def written(folder, gaps, accuracies=(), **further):
    """A run that ends in a verdict, with the accuracy of each epoch."""
    writer = EventWriter(new_run(folder, "saliency"))
    tab = PluginData(writer, Probes(np.zeros((1, 5, 7, 3), np.uint8)), [0])
    for step, gap in enumerate(gaps):
        tab.add_verdict(
            Verdict("words", gap, {"cast": (gap, 0.01)}, threshold=0.2, **further),
            {},
            f"epoch {step + 1}",
            step,
        )
    for step, pair in enumerate(accuracies):
        names = ("epoch_accuracy", "epoch_val_accuracy")
        writer.scalars(dict(zip(names, pair, strict=False)), step)
    writer.close()


@pytest.fixture
def logs(tmp_path):
    written(tmp_path / "a", [0.5, 0.1], [(0.9, 0.6), (0.95, np.nan)])
    written(tmp_path / "b", [0.9], [(0.75,)], alarm=True, cause="cast", since="epoch 1")
    written(tmp_path / "nested" / "c", [np.nan])
    return tmp_path


def test_the_largest_reliance_comes_first(logs, capsys):
    assert main(["rank", str(logs)]) == 0
    first, *rest = (line.split() for line in capsys.readouterr().out.splitlines())
    assert first == COLUMNS[:-1]
    assert rest[0] == ["b/saliency", "0.90", "ALARM", "cast", "epoch", "1", "0.75"]
    assert rest[1] == ["a/saliency", "0.10", "-", "-", "-", "0.60"]  # Its last, by the last number.
    assert rest[2:] == [["nested/c/saliency", *["-"] * 5]]


def test_programs_read_it(logs, capsys):
    assert main(["rank", str(logs), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert rows[0] == {
        "run": "b/saliency",
        "reliance": 0.9,
        "alarm": True,
        "cause": "cast",
        "since": "epoch 1",
        "accuracy": 0.75,
        "verdict": "words",
    }
    assert [row["reliance"] for row in rows[1:]] == [0.1, None]
    assert main(["rank", str(logs), "--format", "csv"]) == 0
    table = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert list(table[0]) == COLUMNS
    for row, other in zip(table, rows, strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in other.items()}


def test_a_folder_without_runs_is_told(tmp_path, capsys):
    assert main(["rank", str(tmp_path)]) == 2
    assert "holds no training that a SaliencyCallback has watched" in capsys.readouterr().err
