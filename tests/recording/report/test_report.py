"""A training read from its event files alone, and judged."""

import base64
import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from keras_saliency.cli.main import main
from keras_saliency.data.probes import Probes
from keras_saliency.recording.report import images
from keras_saliency.recording.report.metadata import summary_of
from keras_saliency.recording.report.page import page
from keras_saliency.recording.report.script import bundled
from keras_saliency.recording.tensorboard.event_reader import newest
from keras_saliency.recording.tensorboard.event_writer import EventWriter, encode_jpeg, new_run
from keras_saliency.recording.tensorboard.plugin_data import PluginData
from keras_saliency.recording.tensorboard.tfrecord import frame, records
from keras_saliency.shortcuts.components import ComponentGap
from keras_saliency.shortcuts.verdict import Verdict

from helpers.made_logs import train
from helpers.made_training import (
    CHANCE,
    CHECKED,
    CHECKS,
    CLOSING,
    HOSTILE,
    NAMES,
    Training,
    hot_cell,
)

EPOCHS = 2


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The log folder of a training that learns the ground, its callback and Keras's history."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.warns(UserWarning, match="relies on"):
        watch, history = train(folder, 0.95, epochs=EPOCHS)
    return folder, watch, history


def written(folder, *verdicts, name="saliency"):
    """A log folder with verdicts and nothing else."""
    writer = EventWriter(new_run(folder, name))
    tab = PluginData(writer, Probes(np.zeros((1, 5, 7, 3), np.uint8)), [0])
    for step, verdict in enumerate(verdicts):
        tab.add_verdict(verdict, {}, f"epoch {step + 1}", step)
        writer.scalars({"focus/a": 1.5 + step, "focus/b": 0.5, "probes/score": np.nan}, step)
    writer.close()
    return folder


def verdict(gap, *, alarm=False, text="no evidence of cast"):
    return Verdict(text, gap, {"cast": (gap, 0.01), "frame": (-0.1, 0.01)}, alarm, threshold=0.2)


# --- reading -------------------------------------------------------------------------------------


def test_a_training_is_read_as_it_was(trained):
    folder, watch, history = trained
    training, older = newest(folder)
    assert (training.name, older, training.faults) == ("saliency", [], [])
    assert training.probes.data["names"][::3] == ["00_elephant", "03_penguin"]
    assert len(training.probes.images) == 12  # and a mask each
    last = training.verdicts[-1]
    assert (last.text, last.alarm, last.cause) == (watch.verdict.text, True, watch.verdict.cause)
    assert last.threshold == 0.2
    for name, (gap, error) in watch.verdict.gaps.items():
        assert last.gaps[name] == pytest.approx((gap, error), rel=1e-5)
        assert last.sheets[name].startswith(b"\xff\xd8")
    steps = training.methods["grad-cam"]
    assert [seen.when for seen in steps] == ["before training", "epoch 1", "epoch 2"]
    assert all(len(seen.images) == 1 for seen in steps)
    assert list(training.methods) == ["grad-cam", "saliency"]
    for metric in ("loss", "accuracy"):
        found = training.curves[metric]
        assert list(found["training"]) == list(found["validation"]) == [0, 1]
        assert list(found["training"].values()) == pytest.approx(history[metric], rel=1e-5)
        assert list(found["validation"].values()) == pytest.approx(history[f"val_{metric}"])


def test_evaluations_that_have_no_pictures_are_counted_as_such(tmp_path):
    made = Training(tmp_path / "saliency")
    for step in range(5):
        made.writer.scalars({"probes/score": np.nan}, step)
        if step in (0, 3):
            made.add(step)
    made.writer.close()
    words = newest(tmp_path)[0].span_words
    assert words == "2 evaluations, from epoch 1 to epoch 4 (3 more have numbers alone)"


def test_numbers_are_those_that_tensorboard_reads(trained):
    folder = trained[0]
    theirs = EventAccumulator(str(folder / "saliency"), size_guidance={"tensors": 0}).Reload()
    ours = newest(folder, maps=False)[0].scalars
    listed = theirs.summary_metadata
    tags = [tag for tag, one in listed.items() if one.plugin_data.plugin_name == "scalars"]
    assert sorted(ours) == sorted(tags)
    for tag in tags:
        events = theirs.Tensors(tag)
        assert list(ours[tag]) == [event.step for event in events]
        values = [event.tensor_proto.float_val[0] for event in events]
        np.testing.assert_array_equal(list(ours[tag].values()), values)


def test_the_folder_of_the_run_will_do(trained):
    folder = trained[0]
    training, older = newest(folder / "saliency")
    assert (training.name, older) == ("saliency", [])
    assert set(training.curves) == {"accuracy", "loss"}


def test_of_several_the_newest_is_read(tmp_path):
    written(tmp_path, verdict(0.1))
    written(tmp_path, verdict(0.4))
    written(tmp_path / "deep", verdict(0.5), name="other")
    training, older = newest(tmp_path)
    assert (training.name, older) == ("deep/other", ["saliency", "saliency_2"])
    assert newest(tmp_path / "saliency")[0].verdicts[-1].reliance == 0.1


@pytest.mark.parametrize("numbers", [2, 11])
def test_a_clock_that_is_set_back_does_not_change_which_is_newest(tmp_path, monkeypatch, numbers):
    """The clock is set back before each run, and the copies of their files bear one time."""
    for number in range(numbers):
        clock = 2e9 - 1e6 * number
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        written(tmp_path, verdict(number / 100))
    for file in tmp_path.rglob("*tfevents*"):
        os.utime(file, (1e9, 1e9))
    training, older = newest(tmp_path)
    assert training.verdicts[-1].reliance == (numbers - 1) / 100
    assert training.name == f"saliency_{numbers}"
    assert older == ["saliency", *(f"saliency_{n}" for n in range(2, numbers))]


def test_runs_that_are_not_numbered_go_by_the_time_in_their_files(tmp_path, monkeypatch):
    for clock, folder in ((1.9e9, "b"), (1.7e9, "c"), (1.8e9, "a"), (1.6e9, "b")):
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        written(tmp_path / folder, verdict(0.1))
    training, older = newest(tmp_path)
    assert training.name == "b/saliency_2"  # though the clock was set back before it
    assert older == ["c/saliency", "a/saliency", "b/saliency"]


def test_what_the_model_relies_on_beside_the_object_is_shown(tmp_path):
    red = np.full((30, 40, 3), (200, 30, 30), np.uint8)
    tags = {
        "cast": "Verdict/counterfactuals-cast",
        "off the object": "Verdict/feature-components-off",
    }
    found = ComponentGap("off the object", (0.5, 0.06), True, (), "epoch 1")
    writer = EventWriter(new_run(tmp_path, "saliency"))
    tab = PluginData(writer, Probes(np.zeros((1, 5, 7, 3), np.uint8)), [0])
    judged = Verdict("relies on something", 0.5, {"cast": (0.1, 0.01)}, True, "component")
    judged = dataclasses.replace(judged, components=(found,))
    writer.images(dict.fromkeys(tags.values(), red), 0)
    tab.add_verdict(judged, tags, "epoch 1", 0)
    writer.close()
    training, _ = newest(tmp_path)
    assert training.verdicts[-1].components == ("off the object",)
    text = page({"a": training}).decode()
    words = "relies on something off the object, at epoch 1"
    assert text.count(words) == 2  # caption and description
    assert "off the object swapped" not in text
    assert "cast swapped" in text


def test_what_was_continued_counts_from_there_on(tmp_path):
    written(tmp_path, verdict(0.1), verdict(0.2), verdict(0.3))
    folder = tmp_path / "saliency"
    writer = EventWriter(folder, continued_at=1)
    tab = PluginData(writer, Probes(np.zeros((1, 5, 7, 3), np.uint8)), [0])
    tab.add_verdict(verdict(0.7), {}, "epoch 2", 1)
    writer.close()
    training, _ = newest(tmp_path)
    assert [one.reliance for one in training.verdicts] == [0.1, 0.7]
    assert list(training.scalars["focus/a"]) == [0]


def test_without_kerass_callback_the_curves_are_our_own(tmp_path):
    written(tmp_path, verdict(0.1))
    writer = EventWriter(tmp_path / "saliency")
    writer.scalars({"epoch_loss": 0.75, "epoch_val_loss": 0.5, "epoch_learning_rate": 1.0}, 0)
    writer.close()
    assert newest(tmp_path)[0].curves == {
        "loss": {"training": {0: 0.75}, "validation": {0: 0.5}},
    }


def test_kerass_curves_are_of_the_same_training(tmp_path):
    """Two trainings in one log folder share the folders of Keras's callback."""
    for value, other in ((0.75, "a"), (0.5, "b")):
        written(tmp_path, verdict(0.1))
        (tmp_path / "train").mkdir(exist_ok=True)
        keras_own = EventWriter(tmp_path / "train")
        keras_own.scalars({"epoch_loss": value, f"epoch_{other}": value}, 0)
        keras_own.close()
    first, second = (newest(tmp_path / name)[0].curves for name in ("saliency", "saliency_2"))
    assert first == {"loss": {"training": {0: 0.75}}, "a": {"training": {0: 0.75}}}
    assert second == {"loss": {"training": {0: 0.5}}, "b": {"training": {0: 0.5}}}


# --- files that are broken, or of others ---------------------------------------------------------


def copied(trained, tmp_path):
    """A copy of a training's run, and its event file."""
    folder = tmp_path / "copy"
    shutil.copytree(trained[0] / "saliency", folder)
    (file,) = folder.glob("*tfevents*")
    return folder, file


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_file_that_is_cut_off_is_read_up_to_there(trained, tmp_path, share):
    folder, file = copied(trained, tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    training, _ = newest(folder)
    assert training.faults == []  # as it may still be written to
    assert training.methods["grad-cam"][0].when == "before training"


def test_a_changed_byte_is_noticed_and_said(trained, tmp_path):
    folder, file = copied(trained, tmp_path)
    content = bytearray(file.read_bytes())
    place = content.index(b'"reliance"')  # of the first verdict
    content[place + 1] ^= 1
    file.write_bytes(content)
    training, _ = newest(folder)
    assert training.verdicts == []
    assert training.methods["grad-cam"][0].when == "before training"
    (fault,) = training.faults
    assert file.name in fault
    assert "checksum" in fault


def test_a_length_that_cannot_be_reserves_no_memory(tmp_path):
    written(tmp_path, verdict(0.1))
    (file,) = (tmp_path / "saliency").glob("*tfevents*")
    sound = len(list(records(file)))
    head = bytearray(frame(b"12345678")[:8])
    head[:] = (2**62).to_bytes(8, "little")
    checksum = int(masked_crc32c(bytes(head))).to_bytes(4, "little")
    file.write_bytes(file.read_bytes() + bytes(head) + checksum + b"rest")
    assert len(list(records(file))) == sound


@pytest.mark.parametrize(
    "said",
    [
        {"text": 7, "gaps": [1], "reliance": 10**400, "sheets": {"a": 1}, "alarm": "yes"},
        {"gaps": {"cast": [0.1], "frame": None, "mark": [0.1, "x"]}, "per_class": [], "when": 3},
        {},
    ],
)
def test_a_verdict_of_another_make_is_no_verdict(tmp_path, said):
    writer = EventWriter(new_run(tmp_path))
    writer.blobs("verdict", [json.dumps({"version": 2} | said).encode()], 0)
    writer.blobs("maps/a", [b"no json"], 0)
    writer.blobs("probes", [b"[1]"], 0)
    writer.close()
    training, _ = newest(tmp_path)
    (last,) = training.verdicts
    assert last.abstains
    assert (last.gaps, last.alarm, last.sheets) == ({}, False, {})
    assert training.probes is None
    assert main(["check", str(tmp_path)]) == 1


@pytest.mark.parametrize("wall_time", [np.nan, np.inf, -np.inf, 1e300, -1.0])
def test_a_time_that_is_none_is_left_out(tmp_path, wall_time):
    training = Training(tmp_path / "logs" / "saliency")
    training.add(9)
    training.writer.close()
    events = [event_pb2.Event.FromString(one.data) for one in records(training.writer.path)]
    for event in events:
        event.wall_time = wall_time
    training.writer.path.write_bytes(b"".join(frame(one.SerializeToString()) for one in events))
    assert main(["check", str(tmp_path / "logs")]) == 0
    out = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "logs"), "--out", str(out)]) == 0
    text = Found(out.read_bytes()).text
    assert "1970-01-01 00:00 UTC" in text
    assert "Relies on <b>9</b>." in text


@pytest.mark.parametrize("deep", [500, 900, 1000])
def test_json_that_is_nested_too_deep_is_left_out(tmp_path, deep):
    written(tmp_path, verdict(0.1))
    writer = EventWriter(tmp_path / "saliency", continued_at=1)
    for tag in ("verdict", "maps/a"):
        data = b'{"version": 2, "gaps": %s}' % (b"[" * deep + b"]" * deep)
        writer.blobs(tag, [data, encode_jpeg(np.zeros((5, 7, 3), np.uint8))], 1)
    writer.close()
    (training, _), out = newest(tmp_path), tmp_path / "page.html"
    assert (len(training.verdicts), training.methods) == (1, {})
    assert main(["report", str(tmp_path), "--out", str(out)]) == 0


@pytest.mark.parametrize(("height", "drawn"), [(2**19 - 3, 5), (2**19 + 2, 0)])
def test_maps_with_too_many_pixels_are_not_unpacked(tmp_path, height, drawn):
    training = Training(tmp_path / "saliency")
    said = {"peak": [1.0] * 5, "dead": [False] * 5, "signed": False}
    picture = cv2.imencode(".png", np.ones((height, 8), np.uint8))[1].tobytes()  # five maps
    training._write("maps/a", said, [picture], 0)
    training.writer.close()
    assert len(images.stills(newest(tmp_path)[0], "a")) == drawn


def test_files_of_others_are_passed_over(tmp_path, capsys):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "events.out.tfevents.1.x").write_bytes(b"no records at all")
    (tmp_path / "train" / "events.out.tfevents.2.x").mkdir()
    assert main(["check", str(tmp_path)]) == 2
    assert "no training" in capsys.readouterr().err
    written(tmp_path, verdict(0.1))
    assert main(["check", str(tmp_path)]) == 0


# --- checking ------------------------------------------------------------------------------------


def answer(capsys, *arguments):
    """The exit status of `check`, and its line."""
    status = main(["check", *map(str, arguments)])
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    assert len(lines) == 1
    return status, lines[0]


ALARM = verdict(0.9, alarm=True, text="relies on the cast (gap 0.90)")
CANNOT = Verdict("can't say: no masks")


@pytest.mark.parametrize(
    ("last", "words", "status"),
    [
        ([verdict(0.1), verdict(0.2)], ["passed", "passed"], 0),
        ([ALARM, verdict(0.1)], ["FAILED", "passed"], 1),
        ([verdict(0.1), ALARM], ["passed", "FAILED"], 1),
        ([CANNOT, verdict(0.1), verdict(0.1)], ["FAILED", "passed", "passed"], 1),
    ],
)
def test_every_training_of_a_folder_is_judged(tmp_path, capsys, last, words, status):
    for one in last:
        written(tmp_path, one)
    assert main(["check", str(tmp_path)]) == status
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == words
    for number, line in enumerate(lines, 1):
        assert f"({tmp_path / 'saliency'}{f'_{number}' if number > 1 else ''})" in line
    limits = ["--max", "reliance=0.5"]
    assert main(["check", str(tmp_path), *limits]) == status
    assert main(["check", str(tmp_path / f"saliency_{len(last)}"), *limits]) == (
        words[-1] != "passed"
    )


def test_a_training_without_a_verdict_is_no_training_that_passed(tmp_path, capsys):
    written(tmp_path, verdict(0.1))
    Training(tmp_path / "saliency_2").writer.close()
    assert main(["check", str(tmp_path)]) == 2
    passed, other = capsys.readouterr().out.splitlines()
    assert passed.startswith("passed: ")
    assert other.startswith("not judged: saliency_2 holds no verdict")
    written(tmp_path, ALARM)
    assert main(["check", str(tmp_path)]) == 1


def test_a_gap_that_waits_for_a_second_evaluation_does_not_pass(tmp_path, capsys):
    text = "may rely on the cast (gap 0.94 ± 0.01); the next evaluation will tell"
    written(tmp_path, verdict(0.94, text=text))
    status, line = answer(capsys, tmp_path)
    assert (status, line.split(" (")[0]) == (1, "FAILED: at epoch 1 may rely on the cast")
    assert answer(capsys, tmp_path, "--max", "reliance=0.95")[0] == 0


def test_a_training_that_leans_on_the_ground_fails(trained, capsys):
    status, line = answer(capsys, trained[0])
    assert status == 1
    assert line.startswith("FAILED: at epoch 2 relies on")
    status, line = answer(capsys, trained[0], "--max", "reliance=0.2")
    gap = trained[1].verdict.reliance
    assert status == 1
    assert f"reliance {gap:.3g} > 0.2 at epoch 2" in line
    assert answer(capsys, trained[0], "--max", "reliance=1")[0] == 0


def test_the_last_verdict_counts(tmp_path, capsys):
    written(tmp_path, verdict(0.6, alarm=True, text="relies on"), verdict(0.05))
    status, line = answer(capsys, tmp_path)
    assert status == 0
    assert line == f"passed: at epoch 2 no evidence of cast ({tmp_path / 'saliency'})"
    status, line = answer(capsys, tmp_path, "--max", "reliance=0.05")
    assert (status, line.split(" (")[0]) == (0, "passed: reliance 0.05 <= 0.05 at epoch 2")


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (["--max", "cast=0.1"], 0),
        (["--max", "cast=0.04"], 1),
        (["--max", "cast=0.1", "--max", "frame=-0.2"], 1),
        (["--max", "frame=0", "--min", "frame=-0.2"], 0),
        (["--min", "focus/a=2"], 0),  # 2.5 at the last step
        (["--max", "focus/a=2"], 1),
        (["--min", "focus=1"], 1),  # of the other method it is 0.5
        (["--min", "focus=0.5"], 0),
        (["--max", "probes/score=9"], 1),  # is NaN
        (["--max", "reliance=0.1", "--min", "focus=9"], 1),
    ],
)
def test_each_limit_must_be_kept(tmp_path, capsys, limits, status):
    written(tmp_path, verdict(0.6), verdict(0.05))
    found, line = answer(capsys, tmp_path, *limits)
    assert found == status
    assert line.startswith("FAILED: " if status else "passed: ")


@pytest.mark.parametrize("limits", [[], ["--max", "reliance=0.5"], ["--max", "cast=0.5"]])
@pytest.mark.parametrize(
    "last", [Verdict("can't say: no masks"), verdict(0.01, text="can't say yet: it has not learnt")]
)
def test_who_cannot_say_does_not_pass(tmp_path, capsys, last, limits):
    written(tmp_path, verdict(0.01), last)
    status, line = answer(capsys, tmp_path, *limits)
    assert status == 1
    assert last.text in line
    assert answer(capsys, tmp_path, "--min", "focus/a=1")[0] == 0  # needs no verdict


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max", "relianc=0.1"], "There are: reliance, cast, frame, focus/a, focus/b"),
        (["--max", "reliance"], "must be NAME=VALUE"),
        (["--max", "=1"], "must be NAME=VALUE"),
        (["--max", "cast=nan"], "must be NAME=VALUE"),
    ],
)
def test_wrong_use_is_told_from_a_failure(tmp_path, capsys, arguments, said):
    written(tmp_path, verdict(0.01))
    try:
        status = main(["check", str(tmp_path), *arguments])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    assert said in capsys.readouterr().err


def test_nothing_to_judge_is_told_from_a_failure(tmp_path, capsys):
    status, line = answer(capsys, tmp_path / "missing")
    assert status == 2
    assert "There is no folder" in line
    EventWriter(new_run(tmp_path)).close()
    assert answer(capsys, tmp_path)[0] == 2
    writer = EventWriter(new_run(tmp_path))
    writer.blobs("probes", [b"{}"], 0)
    writer.close()
    status, line = answer(capsys, tmp_path)
    assert status == 2
    assert "shortcuts=" in line


# --- the page ------------------------------------------------------------------------------------


class Found(HTMLParser):
    """The elements of a page, its scripts' texts, and the ids that are given."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.text = [], [], [], ""
        self.feed(content.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem is None:
            self.text += data

    @property
    def data(self):
        return json.loads(self.scripts[0])


def made(tmp_path, arguments=(), *, steps=12, name="logs"):
    """The page of a made training, whose names are markup."""
    training = Training(tmp_path / name / "saliency")
    for step in range(steps):
        training.add(step)
    training.writer.close()
    out = tmp_path / "page.html"
    assert main(["report", str(tmp_path / name), "--out", str(out), *arguments]) == 0
    return Found(out.read_bytes())


def test_names_are_texts_and_never_markup(tmp_path):
    found = made(tmp_path)
    assert found.tags.count("script") == 2
    assert not [one for one in found.attributes if "onerror" in one[1]]
    assert "b" not in found.tags  # of the verdict's text
    assert {HOSTILE, CLOSING} <= {
        *found.data["probes"]["logs/saliency"]["names"],
        *found.data["probes"]["logs/saliency"]["settings"],
    }
    assert HOSTILE in found.text
    assert CLOSING in found.text
    assert "Relies on <b>9</b>." in found.text
    assert "<!--" in found.text


def test_the_policy_lets_nothing_else_in(tmp_path):
    found = made(tmp_path)
    policy = next(one["content"] for tag, one in found.attributes if "http-equiv" in one)
    script = base64.b64encode(hashlib.sha256(found.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{script}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    addresses = [
        one[name] for _, one in found.attributes for name in ("src", "href") if name in one
    ]
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses)


def test_all_that_is_seen_stands_in_the_page(trained, tmp_path):
    folder, watch, history = trained
    out = tmp_path / "page.html"
    assert main(["report", str(folder), "--out", str(out)]) == 0
    found = Found(out.read_bytes())
    text = watch.verdict.text.replace("+-", "±")
    assert f"{text[0].upper()}{text[1:]}." in found.text
    gap, error = watch.verdict.gaps["background"]
    assert f"{gap:.2f} ± {error:.2f}" in found.text
    for word in ("small", "conv2d", "keras_saliency", "logits", "border colours"):
        assert word in found.text
    (run,) = found.data["runs"]
    charts = {chart["title"]: chart for chart in found.data["charts"]["curves"]}
    lines = {line["name"]: line["points"] for line in charts["Loss"]["lines"]}
    assert [value for _, value in lines["training"]] == pytest.approx(history["loss"], rel=1e-5)
    assert charts["Mean focus on the object, × chance"]["chance"]
    (gaps,) = found.data["charts"]["gaps-0"]
    assert gaps["threshold"] == 0.2
    assert [len(line["points"]) for line in gaps["lines"]] == [EPOCHS, EPOCHS]
    images = [one for tag, one in found.attributes if tag == "img"]
    # Two nuisances, two lists of training images, and a still of each probe.
    assert len(images) == 2 + 2 + 6
    names = [example.name for example in watch.verdict.examples["teaching"]]
    words = f"Training images that teach the shortcut, at epoch {EPOCHS}"
    assert words in found.text
    assert f"{words}: {', '.join(names)}" in [one["alt"] for one in images]
    assert all(one["alt"] for one in images)
    assert found.data["maps"][run]["saliency"][0]["when"] == "before training"


def test_an_alarm_says_why_and_what_to_do(tmp_path):
    found = made(tmp_path, steps=31)  # with an alarm of the background from step 29 on
    assert "At epoch 30 (step 29)." in found.text
    assert "What to do next" in found.text
    links = [one["href"] for tag, one in found.attributes if tag == "a"]
    assert len(links) == 3
    assert all(link.partition("#")[0].endswith("/what_to_do/") for link in links)
    assert "What to do next" not in made(tmp_path / "clean").text


def test_the_head_says_which_model_when_and_how_well(tmp_path):
    training = Training(tmp_path / "logs" / "saliency")
    for step in range(3):
        training.add(step)
        numbers = {"epoch_accuracy": 0.5 + step / 10, "epoch_val_accuracy": 0.5, "epoch_loss": 1.0}
        training.writer.scalars(numbers | {"probes/accuracy": float("nan")}, step)
    training.writer.close()
    newest_one, _ = newest(tmp_path / "logs")
    facts = summary_of(newest_one)
    assert list(facts) == ["date", "accuracy", "classes"]  # the file names no model
    assert facts["accuracy"] == "0.70 in training, 0.50 in validation"
    assert facts["classes"] == "owl, fox"
    assert facts["date"].endswith("UTC; 3 evaluations, from epoch 1 to epoch 3")


def test_a_page_lists_the_verdicts_of_the_other_trainings(tmp_path, capsys):
    awaits = verdict(0.94, text="may rely on <b>the cast</b>; the next evaluation will tell")
    written(tmp_path / "logs", ALARM)
    written(tmp_path / "logs", CANNOT)
    written(tmp_path / "logs", awaits)
    made(tmp_path / "logs" / "deep", name="run")
    written(tmp_path / "logs", verdict(0.05))
    out = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "logs"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "The newest of 5 training runs" in said
    found = Found(out.read_bytes())
    alarms = [one["data-alarm"] for _, one in found.attributes if one.get("class") == "mark"]
    assert alarms[0] == "false"  # of the newest, whose maps are shown
    assert sorted(alarms[1:]) == ["false", "maybe", "none", "true"]
    for words in ("relies on the cast (gap 0.90)", "may rely on <b>the cast</b>", "no masks"):
        assert words in found.text
    for name in ("saliency", "saliency_2", "saliency_3", "deep/run/saliency"):
        assert name in said
        assert name in found.text
    assert "b" not in found.tags


def test_maps_of_other_probes_are_not_drawn_on_the_newest(tmp_path):
    writer = EventWriter(new_run(tmp_path))
    picture = encode_jpeg(np.zeros((5, 7, 3), np.uint8))
    for start, names in ((0, ["a", "b"]), (2, ["a", "b", "c", "d"])):
        said = json.dumps({"version": 2, "names": names, "labels": names}).encode()
        writer.blobs("probes", [said, *[picture] * len(names)], start)
        for step in (start, start + 1):
            maps = cv2.imencode(".png", np.ones((4 * len(names), 4), np.uint8))[1].tobytes()
            said = {"version": 2, "peak": [1.0] * len(names), "dead": [False] * len(names)}
            writer.blobs("maps/a", [json.dumps(said).encode(), maps], step)
    writer.close()
    training, _ = newest(tmp_path)
    steps = Found(page({"a": training})).data["maps"]["a"]["a"]
    assert [step.get("error") for step in steps] == ["the probes were others then"] * 2 + [None] * 2
    assert [len(step.get("peak", [])) for step in steps] == [0, 0, 4, 4]
    assert len(images.stills(training, "a")) == 4


def test_the_same_picture_is_kept_once(tmp_path):
    found = made(tmp_path)
    (run,) = found.data["runs"]
    assert len(set(found.data["probes"][run]["mask_pictures"])) == 1
    assert len(set(found.data["pictures"])) == len(found.data["pictures"])


def test_stills_are_the_last_maps_as_the_stock_pictures_draw_them(tmp_path):
    made(tmp_path, steps=4)
    training, _ = newest(tmp_path / "logs")
    for method, signed in (("grad-cam", False), ("gradient-x-input", True)):
        drawn = dict(images.stills(training, method))
        assert list(drawn) == list(range(len(NAMES)))
        for probe, blob in drawn.items():
            picture = np.asarray(Image.open(io.BytesIO(blob))).astype(int)
            assert picture.shape == (150, 200, 3)
            grey = 90 + 20 * probe
            row, column = hot_cell(probe, 3)
            hot = picture[25 * row + 12, 25 * column + 12]  # the middle of the cell
            assert abs(hot - grey).max() > 60
            assert (hot[2] > hot[0]) == signed  # bwr's blue is below zero, inferno's end is yellow
            far = picture[25 * ((row + 3) % 6) + 12, 25 * ((column + 4) % 8) + 12]
            assert abs(far - grey).max() <= 3


def test_a_still_that_is_no_better_than_chance_is_grey_and_says_so(tmp_path):
    found = made(tmp_path, steps=CHECKED + 1)
    training, _ = newest(tmp_path / "logs")
    for probe, blob in images.stills(training, "grad-cam"):
        colour = np.ptp(np.asarray(Image.open(io.BytesIO(blob))).astype(int), axis=2).max()
        assert (colour < 16) == (probe == CHANCE)
    assert found.text.count(CHECKS[True]) == 1
    assert found.text.count(CHECKS[False]) == len(NAMES) - 1


def test_more_steps_than_there_is_room_for_are_chosen_evenly(tmp_path):
    made(tmp_path, steps=30)
    training, _ = newest(tmp_path / "logs")
    every = {method: list(range(30)) for method in training.methods}
    assert images.steps_with_room([training]) == every
    sizes = {
        method: [4 * -(-len(seen.images[0]) // 3) for seen in steps]
        for method, steps in training.methods.items()
    }
    small, large = sorted(sizes, key=lambda method: sum(sizes[method]))
    assert sum(sizes[small]) < 0.99 * sum(sizes[large])
    room = 2 * sum(sizes[small])
    chosen = images.steps_with_room([training], room)
    assert chosen[small] == list(range(30))  # has all that it needs
    assert (chosen[large][0], chosen[large][-1]) == (0, 29)
    taken = sum(sizes[method][step] for method, steps in chosen.items() for step in steps)
    assert room - max(sizes[large]) < taken <= room
    assert set(np.diff(chosen[large])) <= {1, 2}
    found = Found(page({"a": training}, room=room))
    assert f"of {large} {len(chosen[large])} of 30 steps, evenly" in found.text
    maps = found.data["maps"]["a"]
    assert {method: [one["step"] for one in maps[method]] for method in maps} == chosen
    assert set(map(tuple, images.steps_with_room([training], 1).values())) == {(0, 29)}


def test_two_trainings_stand_side_by_side(tmp_path):
    first = verdict(0.75, alarm=True, text="relies on the cast (gap 0.75 +- 0.01)")
    written(tmp_path / "before", first)
    written(tmp_path / "after", verdict(0.05))
    out = tmp_path / "page.html"
    folders = [str(tmp_path / name) for name in ("before", "after")]
    assert main(["compare", *folders, "--out", str(out)]) == 0
    found = Found(out.read_bytes())
    assert "The largest gap falls from 0.75 to 0.05." in found.text
    assert "−0.70 ± 0.01" in found.text
    assert "Relies on the cast (gap 0.75 ± 0.01)." in found.text
    assert "No evidence of cast." in found.text
    held = [found.data["charts"][f"gaps-{i}"][0]["held"] for i in (0, 1)]
    assert held == [[0, -0.1, 0.75]] * 2  # one scale for both
    focus = {line["name"] for line in found.data["charts"]["curves"][0]["lines"]}
    assert focus == {"before a", "before b", "after a", "after b"}


@pytest.mark.parametrize("last", [None, Verdict("can't say: no masks"), verdict(0.1)])
def test_what_cannot_be_said_is_not_compared(tmp_path, last):
    written(tmp_path / "a", verdict(0.5))
    written(tmp_path / "b", *([] if last is None else [last]))
    if last is None:
        Training(tmp_path / "b" / "saliency_2").writer.close()
    out = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]) == 0
    text = Found(out.read_bytes()).text
    known = last is not None and not np.isnan(last.reliance)
    assert ("The largest gap falls from 0.50 to 0.10." in text) == known
    assert ("can’t be compared" in text) != known


def test_a_page_is_made_of_whatever_can_be_read(trained, tmp_path):
    folder, file = copied(trained, tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    for share in (1.0, 0.6, 0.3, 0.1):
        file.write_bytes(content[: int(share * len(content))])
        try:
            training, _ = newest(folder)
        except ValueError:
            continue
        found = Found(page({"a": training}))
        assert "What these maps can’t tell" in found.text
        assert all(fault in found.text for fault in training.faults)


@pytest.mark.parametrize(
    "said",
    [
        {"names": ["a", 3], "labels": 7, "classes": {}, "size": "x", "settings": [1]},
        {"names": ["a", "b"], "labels": ["x"], "classes": [1, None], "size": [0, 0]},
    ],
)
def test_probes_and_maps_of_another_make_stop_nothing(tmp_path, said):
    picture = encode_jpeg(np.zeros((5, 7, 3), np.uint8))
    writer = EventWriter(new_run(tmp_path))
    for step, blobs in enumerate(([picture, b"no picture"], [picture, picture])):
        writer.blobs("probes", [json.dumps({"version": 2} | said).encode(), *blobs], step)
    for step, blobs in enumerate(([], [b"no picture"], [picture], [picture[:200]])):
        maps = {"version": 2, "predicted": 5, "confidence": ["x"], "focus": [None], "signed": 1}
        writer.blobs("maps/a", [json.dumps(maps).encode(), *blobs], step)
        writer.flush()
        training, _ = newest(tmp_path)
        assert Found(page({"a": training})).data["runs"]
    writer.close()


def test_a_page_goes_where_it_can(tmp_path, capsys):
    written(tmp_path / "logs", verdict(0.1))
    for out, said in (
        ("page.txt", "must end in .html"),
        ("missing/page.html", "create the folder"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["report", str(tmp_path / "logs"), "--out", str(tmp_path / out)])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
    folder = str(tmp_path / "logs")
    assert main(["compare", folder, folder, "--out", str(tmp_path / "page.html")]) == 2
    assert "Give two folders" in capsys.readouterr().err


def test_a_module_that_cannot_be_joined_is_refused(tmp_path):
    (tmp_path / "other.js").write_text("export const one = 1;\n")
    first = tmp_path / "first.js"
    first.write_text("import {\n  one,\n} from './other.js';\nexport const two = 2 * one;\n")
    script = bundled(first)
    assert script.index("one = 1") < script.index("two = 2")
    assert "import" not in script
    for wrong in ("import one from './other.js';", "export default 1;", "'</script>';"):
        first.write_text(wrong + "\n")
        with pytest.raises(ValueError, match=r"first\.js can't be joined"):
            bundled(first)


HEAVY = {"keras", "tensorflow", "jax", "torch"}


@pytest.mark.parametrize("command", ["check", "report", "compare"])
def test_neither_keras_nor_tensorflow_is_imported(trained, tmp_path, command):
    written(tmp_path, verdict(0.1))
    code = (
        "import sys; from keras_saliency.cli.main import main; status = main(sys.argv[1:]);"
        f"print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    folders = [str(trained[0]), str(tmp_path)][: 2 if command == "compare" else 1]
    done = subprocess.run(
        [sys.executable, "-c", code, command, *folders],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.stderr == "[]\n"
    assert done.returncode == (1 if command == "check" else 0)
    assert command == "check" or (tmp_path / f"{command}.html").stat().st_size > 100_000
