"""`verdict.json`: what it holds, and that it is whole whatever the disk does."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from keras_saliency.data.probes import Probes
from keras_saliency.recording.recorder import Recorder
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run
from keras_saliency.recording.verdict_file import NAME, write_verdict
from keras_saliency.recording.writers import PictureFolder
from keras_saliency.shortcuts.verdict import Verdict
from keras_saliency.version import __version__

from helpers.disks import fill, small_disk

PAGE = Path(__file__).parents[2] / "docs" / "alarm.md"
RELIES = Verdict("relies on the cast", 0.5, {"cast": (0.5, 0.01)}, True, "cast", per_class={1: 0.5})


def test_it_holds_what_the_page_lists(tmp_path):
    write_verdict(tmp_path, RELIES, "epoch 3", 2, ["cat", "\udcff"])
    data = json.loads((tmp_path / NAME).read_bytes())
    first = {"schema": 1, "keras_saliency": __version__, "when": "epoch 3", "step": 2}
    assert data == first | RELIES.to_dict(["cat", "?"])
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(rows)) == [
        *("schema", "keras_saliency", "when", "step", "text", "alarm", "cause", "since"),
        *("reliance", "threshold", "gaps", "intervals", "receivers", "per_class", "masks_from"),
        *("components", "grounds"),
        "examples",
    ]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == data.keys()


@pytest.mark.parametrize("kind", ["event files", "a folder of pictures"])
def test_the_newest_verdict_is_beside_the_run(tmp_path, kind):
    if kind == "event files":
        writer = EventWriter(new_run(tmp_path))
    else:
        writer = PictureFolder(tmp_path / "pictures")
    probes = Probes(np.zeros((2, 5, 7, 3), "uint8"), class_names=["cat", "dog"])
    recorder = Recorder(writer, probes)
    recorder.record_verdict(Verdict("can't say: no masks"), "epoch 1", 0)
    recorder.record_verdict(RELIES, "epoch 2", 1)
    recorder.close()
    assert sorted(path.name for path in writer.folder.glob("verdict*")) == [NAME]
    data = json.loads((writer.folder / NAME).read_bytes())
    assert (data["when"], data["alarm"], data["per_class"]) == ("epoch 2", True, {"dog": 0.5})


def test_a_full_disk_leaves_the_last_one_and_says_so_once(tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        writer = PictureFolder(disk / "pictures")
        faults = []
        recorder = Recorder(writer, Probes(np.zeros((1, 5, 7, 3), "uint8")), on_fault=faults.append)
        recorder.record_verdict(RELIES, "epoch 1", 0)
        assert recorder.flush(30)
        before = (writer.folder / NAME).read_bytes()
        fill(disk)
        for step in (1, 2):
            recorder.record_verdict(RELIES, f"epoch {step + 1}", step)
        recorder.close()
        assert (writer.folder / NAME).read_bytes() == before
        assert not list(writer.folder.glob("*.part"))
    (told,) = faults
    assert "No space left" in told


def test_half_a_file_never_takes_its_place(tmp_path):
    write_verdict(tmp_path, RELIES, "epoch 1", 0, None)
    before = (tmp_path / NAME).read_bytes()
    (tmp_path / f"{NAME}.part").mkdir()  # so that it can't be written
    with pytest.raises(OSError, match=r"\.part"):
        write_verdict(tmp_path, RELIES, "epoch 2", 1, None)
    assert (tmp_path / NAME).read_bytes() == before
