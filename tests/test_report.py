"""A training read from its event files alone, and judged."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from made_logs import train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_saliency.board.events import EventWriter, new_run
from keras_saliency.board.records import records
from keras_saliency.cli import main
from keras_saliency.probes import Probes
from keras_saliency.report.reading import newest
from keras_saliency.tab import Tab
from keras_saliency.verdict import Verdict

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
    tab = Tab(writer, Probes(np.zeros((1, 5, 7, 3), np.uint8)), [0])
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
    assert training.probes.said["names"][::3] == ["00_elephant", "03_penguin"]
    assert len(training.probes.pictures) == 12  # and a mask each
    last = training.verdicts[-1]
    assert (last.text, last.alarm, last.cause) == (watch.verdict.text, True, watch.verdict.cause)
    assert last.threshold == 0.2
    for name, (gap, error) in watch.verdict.gaps.items():
        assert last.gaps[name] == pytest.approx((gap, error), rel=1e-5)
        assert last.sheets[name].startswith(b"\xff\xd8")
    steps = training.methods["grad-cam"]
    assert [seen.when for seen in steps] == ["before training", "epoch 1", "epoch 2"]
    assert all(len(seen.pictures) == 1 for seen in steps)
    assert list(training.methods) == ["grad-cam", "saliency"]
    for metric in ("loss", "accuracy"):
        found = training.curves[metric]
        assert list(found["training"]) == list(found["validation"]) == [0, 1]
        assert list(found["training"].values()) == pytest.approx(history[metric], rel=1e-5)
        assert list(found["validation"].values()) == pytest.approx(history[f"val_{metric}"])


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


def test_what_was_continued_counts_from_there_on(tmp_path):
    written(tmp_path, verdict(0.1), verdict(0.2), verdict(0.3))
    folder = tmp_path / "saliency"
    writer = EventWriter(folder, continued_at=1)
    tab = Tab(writer, Probes(np.zeros((1, 5, 7, 3), np.uint8)), [0])
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
    from keras_saliency.board.records import frame

    written(tmp_path, verdict(0.1))
    (file,) = (tmp_path / "saliency").glob("*tfevents*")
    sound = len(list(records(file)))
    head = bytearray(frame(b"12345678")[:8])
    head[:] = (2**62).to_bytes(8, "little")
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    checksum = int(masked_crc32c(bytes(head))).to_bytes(4, "little")
    file.write_bytes(file.read_bytes() + bytes(head) + checksum + b"rest")
    assert len(list(records(file))) == sound


@pytest.mark.parametrize(
    "said",
    [
        {"text": 7, "gaps": [1], "reliance": "much", "sheets": {"a": 1}, "alarm": "yes"},
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


HEAVY = {"keras", "tensorflow", "jax", "torch"}


def test_neither_keras_nor_tensorflow_is_imported(trained):
    code = (
        "import sys; from keras_saliency.cli import main; status = main(sys.argv[1:]);"
        f"print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "check", str(trained[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED")
    assert done.stderr == "[]\n"
