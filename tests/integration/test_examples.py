"""The examples, run in a short form as a user would, by what they print and write."""

import os
import pathlib
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util

from keras_saliency.data.synthetic import CLASS_NAMES, scenes

pytestmark = pytest.mark.integration

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
ORIENTATION = 0x0112


@pytest.fixture
def example(tmp_path):
    """Run an example in an empty folder; return what it printed."""

    def run(name, *options):
        command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, options)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


def read(run):
    """Read the steps and the last image or number of every tag."""
    accumulator = plugin_event_accumulator.EventAccumulator(
        str(run), tensor_size_guidance={"images": 0, "scalars": 0}
    )
    accumulator.Reload()
    found = {tag: accumulator.Tensors(tag) for tag in accumulator.Tags()["tensors"]}
    steps = {tag: [event.step for event in events] for tag, events in found.items()}
    last = {tag: tensor_util.make_ndarray(e[-1].tensor_proto) for tag, e in found.items()}
    return steps, last


def probe_tags(steps, method="grad-cam"):
    return sorted(tag for tag in steps if re.match(rf"{method}/\d\d_", tag))


def test_drawn_animals(example, tmp_path):
    said = example("elephants_and_penguins", "--images", 24, "--epochs", 2, "--log-dir", "there")
    assert "tensorboard --logdir there" in said
    assert "Grad-CAM" in said
    for correlation in ("0.95", "0.5"):
        steps, _ = read(tmp_path / "there" / f"correlation-{correlation}" / "saliency")
        assert len(probe_tags(steps)) == 16
        assert all(steps[tag] == [-1, 0, 1] for tag in probe_tags(steps))
        assert steps["epoch_loss"] == [0, 1]


@pytest.fixture
def animals(tmp_path):
    """Write drawn animals of mixed sizes as JPEGs; return their folder and how many there are.

    One is grey. All elephants lie on their side and say so in their EXIF data.
    """
    folder = tmp_path / "animals"
    drawn = {
        size: scenes(12, size=size, seed=i, correlation=1)
        for i, size in enumerate([(48, 80), (66, 54)])
    }
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by 90 degrees clockwise
    for (height, _), made in drawn.items():
        for i, (image, label, mask) in enumerate(
            zip(made.images, made.labels, made.masks, strict=True)
        ):
            place = folder / CLASS_NAMES[label]
            place.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(image)
            if label == 0:
                picture = picture.transpose(Image.Transpose.ROTATE_90)
            elif i < 2:
                picture = picture.convert("L")
            options = {"exif": exif} if label == 0 else {}
            picture.save(place / f"{height}_{i:02d}.jpg", quality=95, **options)
            Image.fromarray(np.rint(mask * 255).astype(np.uint8)).save(
                place / f"{height}_{i:02d}.mask.png"
            )
    return folder


def test_own_pictures_with_masks_arrive_upright(example, animals, tmp_path):
    options = ["--data", animals, "--size", 40, 56, "--epochs", 1]
    said = example("elephants_and_penguins", *options)
    assert "Grad-CAM" in said
    steps, last = read(tmp_path / "logs" / "saliency")
    tags = probe_tags(steps)
    assert len(tags) == 6  # a quarter of each class
    assert {tag.split("_")[-1] for tag in tags} == set(CLASS_NAMES)
    # The column of probes in the film strip shows the images as they were drawn.
    strip = cv2.imdecode(np.frombuffer(last["film-strip/grad-cam"][2], np.uint8), 1)
    upright = [
        cv2.resize(image, (56, 40), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
        for seed, size in enumerate([(48, 80), (66, 54)])
        for image in elephants(size, seed)
    ]
    assert sum(is_shown(image, strip) for image in upright) == 3


def elephants(size, seed):
    made = scenes(12, size=size, seed=seed, correlation=1)
    return made.images[made.labels == 0]


def is_shown(image, strip):
    """Look for an image in a film strip, whose tiles are 96 pixels wide."""
    tile = cv2.resize(image, (96, round(96 * 40 / 56)))
    return cv2.matchTemplate(strip, tile, cv2.TM_CCOEFF_NORMED).max() > 0.9


def test_own_pictures_without_masks(example, animals, tmp_path):
    for mask in animals.rglob("*.mask.png"):
        mask.unlink()
    said = example("elephants_and_penguins", "--data", animals, "--epochs", 1, "--log-dir", "new")
    assert "Grad-CAM" not in said
    assert "tensorboard --logdir new" in said
    steps, _ = read(tmp_path / "new" / "saliency")
    assert len(probe_tags(steps)) == 6


def test_digits_with_a_tag(example, tmp_path):
    pytest.importorskip("sklearn")
    telling = example("digits_with_a_tag", "--epochs", 4, "--log-dir", "told")
    blind = example("digits_with_a_tag", "--epochs", 4, "--tag", 0.1, "--log-dir", "blind")
    right, lured = accuracies(telling)
    assert right > 80 > 20 > lured
    assert heat(telling, "grad_cam") > 4 * heat(blind, "grad_cam")
    right, lured = accuracies(blind)
    assert abs(right - lured) < 15
    steps, _ = read(tmp_path / "told" / "saliency")
    assert all(steps[tag] == [-1, 0, 1, 2, 3] for tag in probe_tags(steps))
    assert (tmp_path / "blind" / "saliency").is_dir()


def test_digits_tell_which_package_they_need(tmp_path):
    (tmp_path / "sklearn.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "digits_with_a_tag.py")],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install scikit-learn" in done.stderr
    assert "Traceback" not in done.stderr


def accuracies(said):
    found = re.search(r"digits (\S+) % are read right.*\nand (\S+) %", said)
    return float(found[1]), float(found[2])


def heat(said, method):
    return float(next(line for line in said.splitlines() if f"% of {method}" in line).split()[0])


def test_mitigation_brings_the_gap_down_in_the_same_chart(example, tmp_path):
    said = example("mitigate_a_shortcut", "--count", 240, "--epochs", 2, "--log-dir", "there")
    assert "tensorboard --logdir there" in said
    before, after = (
        float(re.search(rf"{stage} +(-?[\d.]+) +\d+ %", said)[1])
        for stage in ("as drawn", "mitigated")
    )
    assert before > 0.5
    assert after < before - 0.3
    assert [run.name for run in (tmp_path / "there").iterdir()] == ["saliency"]
    steps, last = read(tmp_path / "there" / "saliency")
    assert steps["Verdict/background"] == list(range(6))
    assert last["Verdict/background"] == pytest.approx(after, abs=0.006)


def test_retraining_the_head(example):
    said = example("retrain_the_head", "--count", 300, "--epochs", 6, "--correlation", 1)
    assert "Relied on: " in said
    rows = {
        name: [float(number) for number in re.findall(rf"^{name} +(\d+) % +(\d+) %", said, re.M)[0]]
        for name in ("as trained", "head retrained")
    }
    assert rows["head retrained"][1] > rows["as trained"][1]  # on the other animal's ground


def test_transfer_learning_is_one_run(example, tmp_path):
    options = ["--weights", "none", "--images", 32, "--epochs", 1, "--tuning", 1]
    said = example("transfer_learning", *options)
    assert "Epoch 2/2" in said
    assert [run.name for run in (tmp_path / "logs").iterdir()] == ["saliency"]
    steps, _ = read(tmp_path / "logs" / "saliency")
    assert len(probe_tags(steps)) == 16
    assert all(steps[tag] == [-1, 0, 1] for tag in probe_tags(steps))
    assert steps["epoch_val_accuracy"] == [0, 1]


def test_tiles_show_the_pen(example, tmp_path):
    options = ["--slides", 2, "--size", 12, 16, "--epochs", 6]
    said = example("tiles", *options)
    with_pen, without = (
        float(re.search(rf"{where} +called tumour with p = ([\d.]+)", said)[1])
        for where in ("with pen", "without")
    )
    assert with_pen > without + 0.3
    steps, last = read(tmp_path / "logs" / "saliency")
    assert steps["tiles-accuracy/00_slide-to-be-read"] == list(range(-1, 6))
    for tag in ("tile-map/00_slide-to-be-read", "tile-mosaic/00_slide-to-be-read_grad-cam"):
        assert steps[tag][0] == -1  # later ones are left out where the machine is too busy
    assert last["tiles-accuracy/00_slide-to-be-read"] < 0.95


@pytest.mark.slow
def test_what_moves_and_what_is_looked_at(example, tmp_path):
    said = example("motion", "--log-dir", "there")
    assert "no evidence of background" in next(x for x in said.splitlines() if "independent" in x)
    assert "relies on the" in next(x for x in said.splitlines() if "the same way" in x)
    for run in ("independent", "the-same-way"):
        with Image.open(tmp_path / f"looks-at-{run}.gif") as gif:
            assert (gif.n_frames, gif.width) == (6, 240)
        steps, _ = read(tmp_path / "there" / run / "saliency")
        assert {
            "video/grad-cam",
            "Verdict/counterfactuals-background",
            "focus/grad-cam",
        } <= steps.keys()
    with Image.open(tmp_path / "moves.gif") as gif:
        assert gif.n_frames == 6
