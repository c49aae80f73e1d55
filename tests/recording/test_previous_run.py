"""What a training run that is resumed takes over from the run before."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_saliency.data.probes import Probes
from keras_saliency.recording.resuming import PreviousRun
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run
from keras_saliency.recording.tensorboard.plugin_data import PluginData, probe_blobs
from keras_saliency.shortcuts.verdict import Verdict

HIGH, LOW = (0.5, 0.01), (0.02, 0.01)
MAY = Verdict("may rely on the cast (gap 0.50 ± 0.01); the next evaluation will tell", 0.5)
RELIES = Verdict("relies on the cast since epoch 1", 0.5, alarm=True, since="epoch 1")
BESIDE = replace(RELIES, cause="component")  # an alarm of components, not of a nuisance
CLEAR = Verdict("no evidence of cast", 0.02)
NOTHING = Verdict("can't say: the model's outputs are not finite")
SETTINGS = {
    "model": "net, 1,234 parameters",
    "layer": "conv2d_3",
    "target": "label",
    "explained": "logits",
    "methods": "saliency, grad_cam",
    "looks every": "epoch",
    "grid": "7 x 7",
    "probes": "64",
    "verdict": "cast; threshold 0.2; every epoch",
}


def pictures(n=2):
    rows, columns = np.mgrid[:30, :40]
    return np.stack([np.stack([5 * rows, 6 * columns, 9 * i + rows], -1) for i in range(n)])


def probes(n=2, **options):
    return Probes(pictures(n).astype(np.uint8), **{"labels": [0, 1, 0][:n]} | options)


def described(settings=SETTINGS, known=None):
    known = known or probes()
    return probe_blobs(known, range(len(known)), "logits", settings)


def write(tmp_path, *parts, settings=SETTINGS):
    """A run of several files, each with its verdicts from a step on."""
    folder = new_run(tmp_path)
    for start, verdicts in parts:
        writer = EventWriter(folder, start or None)
        writer.blobs("probes", described(settings), start)
        tab = PluginData(writer, probes(), [0, 1])
        for step, verdict in enumerate(verdicts, start):
            tab.add_verdict(verdict, {}, f"epoch {step + 1}", step)
        writer.close()
    return folder


@pytest.mark.parametrize(
    ("parts", "step", "since", "after_high", "after_low"),
    [
        ([], 1, None, (False, "now"), (False, None)),
        ([(0, [MAY])], 1, "epoch 1", (True, "epoch 1"), (False, None)),
        ([(0, [CLEAR, MAY])], 2, "epoch 2", (True, "epoch 2"), (False, None)),
        ([(0, [RELIES])], 1, "epoch 1", (True, "epoch 1"), (False, None)),
        ([(0, [BESIDE])], 1, None, (False, "now"), (False, None)),
        ([(0, [RELIES, NOTHING])], 2, "epoch 1", (True, "epoch 1"), (False, None)),
        ([(0, [RELIES, CLEAR])], 2, None, (False, "now"), (False, None)),
        ([(0, [CLEAR, RELIES])], 1, None, (False, "now"), (False, None)),  # those are lost
        ([(0, [RELIES]), (1, [CLEAR])], 2, None, (False, "now"), (False, None)),
        ([(0, [RELIES]), (1, [NOTHING])], 2, "epoch 1", (True, "epoch 1"), (False, None)),
        ([(0, [CLEAR] * 3), (1, [RELIES])], 2, "epoch 1", (True, "epoch 1"), (False, None)),
        ([(0, [CLEAR, RELIES]), (1, [CLEAR])], 1, None, (False, "now"), (False, None)),
    ],
)
def test_the_alarm_goes_on_as_it_was(tmp_path, parts, step, since, after_high, after_low):
    folder = write(tmp_path, *parts)
    for gap, wanted in ((HIGH, after_high), (LOW, after_low)):
        alarm = PreviousRun.read(folder, step, described()).alarm(0.2)
        assert alarm.since == since
        alarm.update([gap], "now")
        assert (alarm.is_on, alarm.since) == wanted


@pytest.mark.parametrize(
    ("settings", "differences"),
    [
        ({}, ()),
        ({"model": "net_1, 1,234 parameters", "layer": "conv2d_12"}, ()),
        ({"methods": "grad_cam, saliency"}, ()),
        ({"model": "net, 999 parameters"}, ("model",)),
        ({"layer": "block5_conv3"}, ("layer",)),
        ({"grid": "14 x 14"}, ("grid",)),
        ({"methods": "saliency", "target": "1"}, ("target", "methods")),
        ({"probes": "65"}, ("number of probes",)),
        ({"verdict": "cast; threshold 0.3; every epoch"}, ("verdict",)),
        ({"keras": "4.0", "keras_saliency": "9"}, ()),
    ],
)
def test_settings_are_those_of_before_or_named(tmp_path, settings, differences):
    folder = write(tmp_path, (0, [RELIES]))
    found = PreviousRun.read(folder, 1, described(SETTINGS | settings))
    assert found.differences == differences
    assert (found.verdict is None) == ("verdict" in differences)


def test_what_an_earlier_version_did_not_write_is_not_compared(tmp_path):
    old = {
        name: text for name, text in SETTINGS.items() if name not in ("grid", "probes", "verdict")
    }
    found = PreviousRun.read(write(tmp_path, (0, [RELIES]), settings=old), 1, described())
    assert found.differences == ()
    assert found.verdict.alarm


def test_pictures_may_be_encoded_by_another_version(tmp_path):
    """As by another library, with tables of its own; those of another picture are none of these."""
    folder, known = write(tmp_path), described()
    for change, wanted in ((0, ()), (40, ("pictures or masks",))):
        blobs, path = [known[0]], tmp_path / "picture.jpg"
        for picture in pictures().astype(np.uint8):
            picture[10:14, 10:14] += np.uint8(change)
            Image.fromarray(picture).save(path, quality=95, subsampling=0)
            blobs.append(path.read_bytes())
        writer = EventWriter(folder, 1)
        writer.blobs("probes", blobs, 1)
        writer.close()
        assert PreviousRun.read(folder, 2, known).differences == wanted
