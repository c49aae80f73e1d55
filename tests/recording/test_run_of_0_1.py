"""A run that the first layout of the package wrote is resumed, read, checked and shown.

Commit 7f34587 trained a small network for three epochs on squares and ellipses whose ground goes
with the class in 95 of 100 images. All images but the first of each tag were then taken out of its
event file, to keep it small.
"""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pytest
import werkzeug.test
from keras import layers
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

import keras_saliency as ks
from keras_saliency.cli.main import main
from keras_saliency.recording.tensorboard.event_reader import newest
from keras_saliency.recording.tensorboard.plugin import SaliencyLoader

from helpers.disks import Run

DATA = Path(__file__).parent / "data" / "run_0.1"
OLD = [-1, 0, 1, 2]
METHODS = ["grad-cam", "hires-cam"]
VERDICT = "elies on the background (gap 0.88 {} 0.00) since epoch 1"


@pytest.fixture
def log_dir(tmp_path):
    shutil.copytree(DATA / "saliency", tmp_path / "logs" / "saliency")
    return tmp_path / "logs"


def resume(log_dir):
    """Go on for two epochs with a network of the same build, whose weights are its own."""
    with np.load(DATA / "probes.npz", allow_pickle=False) as stored:
        images, labels, masks = (stored[name] for name in ("images", "labels", "masks"))
    probes = ks.Probes(images, labels, masks=masks, class_names=["round", "square"])
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((24, 30, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="top"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ],
        name="small",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    noise = np.random.default_rng(0).integers(0, 40, (160, 24, 30, 3))
    data = np.tile(images, (80, 1, 1, 1)) // 2 + noise, np.tile(labels, 80)
    shortcuts = ks.Shortcuts((*data, np.tile(masks, (80, 1, 1))), nuisances=["background"])
    watch = ks.SaliencyCallback(
        probes, log_dir, ["grad_cam", "hires_cam"], shortcuts=shortcuts, strict=True
    )
    model.fit(*data, initial_epoch=3, epochs=5, callbacks=[watch], verbose=0)


@pytest.mark.filterwarnings("ignore:.*relies on the background")
def test_training_goes_on_in_the_same_run(log_dir):
    before = Run(log_dir / "saliency")
    resume(log_dir)
    assert [run.name for run in log_dir.iterdir()] == ["saliency"]
    after = Run(log_dir / "saliency")
    assert set(before.tags) < set(after.tags)
    written_once = {"custom_scalars__config__", "probes", "about", "animation/grad-cam"}
    for tag in set(before.tags) - written_once:
        now = renamed(tag)
        known = before.steps(tag) if now == tag else []
        assert after.steps(now) == [*known, 3, 4], tag
    for tag in ("probes/score", "epoch_loss", "focus/grad-cam", "shortcut/background"):
        values = before.values(tag)
        assert {step: after.values(tag)[step] for step in values} == values


def renamed(tag):
    """The tag of today, which TensorBoard sorts first (the verdict) or last (single probes)."""
    group, _, name = tag.partition("/")
    if group in ("score", "probability") or re.match("(peak|focus)-", group):
        return f"your-probes/{tag}"
    new = {"shortcut": "Verdict/", "shortcut-twins": "Verdict/counterfactuals-"}
    return new[group] + name.replace("verdict", "in-words") if group in new else tag


@pytest.mark.filterwarnings("ignore:.*relies on the background")
def test_the_film_strip_still_begins_with_the_old_epochs(log_dir):
    old = strip(Run(log_dir / "saliency"), -1)
    resume(log_dir)
    new = strip(Run(log_dir / "saliency"), 4)
    column = 98  # pixels, below a header of 44; a margin is left out on the right
    assert new.shape == (old.shape[0], old.shape[1] + 5 * column, 3)
    first = slice(44, None), slice(old.shape[1] - 8)
    assert np.abs(new[first].astype(int) - old[first]).mean() < 0.5


@pytest.mark.filterwarnings("ignore:.*relies on the background")
def test_the_verdict_remembers_since_when(log_dir, capsys):
    resume(log_dir)
    training, _ = newest(log_dir)
    # A network that has just begun may be clear of it; what the old one relied on ends the alarm.
    third = training.verdicts[3]
    assert third.alarm == (third.reliance >= third.threshold / 2)
    assert not third.alarm or third.since == "epoch 1"


def strip(run, step):
    picture = run.pictures("film-strip/grad-cam")[step]
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)


def test_it_is_reported(log_dir, tmp_path, capsys):
    assert main(["report", str(log_dir), "--out", str(tmp_path / "page.html")]) == 0
    assert "logs/saliency" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert VERDICT.format("±") in page
    assert all(shown in page for shown in ("00_round", "01_square", "epoch 3", *METHODS))


@pytest.mark.parametrize(
    ("limits", "status", "words"),
    [
        ([], 1, "FAILED"),
        (["--max", "background=0.9"], 0, "passed"),
        (["--max", "reliance=0.5"], 1, "reliance 0.877 > 0.5 at epoch 3"),
        (["--min", "focus=99"], 1, "focus"),
    ],
)
def test_it_is_checked(log_dir, limits, status, words, capsys):
    assert main(["check", str(log_dir), *limits]) == status
    assert words in capsys.readouterr().out


def test_the_tab_shows_its_steps(log_dir):
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(log_dir))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(log_dir))
    apps = SaliencyLoader().load(SimpleNamespace(data_provider=provider)).get_plugin_apps()

    def ask(route, **parameters):
        answer = werkzeug.test.Client(apps[route]).get(route, query_string=parameters)
        assert answer.status_code == 200
        return answer

    def described(route, **parameters):
        return json.loads(ask(route, run="saliency", **parameters).get_data())

    methods = dict.fromkeys(METHODS, OLD)
    assert described("/runs")["runs"] == {"saliency": {"methods": methods, "verdict": [0, 1, 2]}}
    probes = described("/probes")
    assert probes["names"] == ["00_round", "01_square"]
    for method in METHODS:
        steps = described("/maps", method=method)["steps"]
        assert [step["step"] for step in steps] == OLD
        assert all(len(step["peak"]) == len(step["focus"]) == 2 for step in steps)
    verdicts = described("/verdicts")["steps"]
    assert verdicts[-1]["text"] == "r" + VERDICT.format("+-")
    keys = [*probes["pictures"], *probes["mask_pictures"], steps[0]["key"]]
    for key in [*keys, *verdicts[-1]["sheet_keys"]]:
        picture = np.frombuffer(ask("/blob", key=key).get_data(), np.uint8)
        assert cv2.imdecode(picture, cv2.IMREAD_UNCHANGED) is not None
