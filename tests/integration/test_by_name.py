"""The recipes that the README gives by name, run without downloaded weights."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pytest
from PIL import Image

import keras_saliency as ks
from keras_saliency.cli.main import main

from helpers.backends import derivatives

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def hopper():
    return matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)


def small(path):
    with Image.open(path) as photo:
        return np.asarray(photo.convert("RGB").resize((128, 96)))


@pytest.fixture(scope="module")
def resnet():
    keras.utils.set_random_seed(0)
    return keras.applications.ResNet50(weights=None, input_shape=(96, 128, 3), classes=7)


def test_the_gradient_of_a_probability_of_resnet50(resnet, hopper):
    """dP/dX plainly, and the three-panel figure of map, image and blend."""
    picture = small(hopper)
    probes = ks.Probes(picture[None], preprocess=keras.applications.resnet50.preprocess_input)
    found = ks.explain(resnet, probes, "saliency", target=3, of="probability")
    probability = resnet.predict(probes.images, verbose=0)[:, 3]
    (slope,) = derivatives(lambda x: keras.ops.sum(resnet(x, training=False)[:, 3]), probes.images)
    wanted = np.abs(keras.ops.convert_to_numpy(slope)).max(axis=-1)
    assert found.of == "probability"
    np.testing.assert_allclose(found.scores, probability, rtol=1e-4)
    np.testing.assert_allclose(found.maps, wanted, atol=1e-4 * wanted.max())
    panels = [axes.images[0].get_array() for axes in found.plot().axes if axes.images]
    assert any(np.array_equal(panel, picture) for panel in panels)
    assert any(np.array_equal(panel, found.maps[0]) for panel in panels)


def test_cam_and_grad_cam_of_resnet50_agree(resnet, hopper):
    """Its head is global average pooling and one dense layer."""
    picture = small(hopper)
    cam = ks.explain(resnet, picture[None], "cam", target=2)
    grad_cam = ks.explain(resnet, picture[None], "grad_cam", target=2)
    assert cam.layer == grad_cam.layer == "conv5_block3_out"
    cells = cam.maps[0].size
    wanted = np.maximum(cam.maps, 0) / cells
    np.testing.assert_allclose(grad_cam.maps, wanted, atol=1e-4 * wanted.max())


@pytest.mark.parametrize("method", ["cam", "saliency"])
def test_the_command_line_knows_resnet50(method, hopper, tmp_path, capsys):
    out = tmp_path / "panels.png"
    options = ["--of", "probability", "--panels"] if method == "saliency" else []
    command = ["explain", "ResNet50", hopper, "--weights", "none", "--method", method]
    assert main([*command, *options, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert ("conv5_block3_out" in said) == (method == "cam")
    with Image.open(out) as drawn, Image.open(hopper) as photo:
        assert (drawn.width > 1.5 * drawn.height) == (
            method == "saliency"
        )  # three beside each other
        assert (drawn.size == photo.size) == (method == "cam")


def test_the_gradient_of_a_chosen_element(tmp_path):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run(
        [sys.executable, EXAMPLES / "upstream_gradient.py"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    numbers = run.stdout.replace("[", " ").replace("]", " ")
    rows = [line.split() for line in numbers.splitlines()]
    numeric = [row for row in rows if len(row) == 5 and all(n.lstrip("-").isdigit() for n in row)]
    windows = np.array(numeric, int)
    ones = np.zeros((4, 5), int)
    ones[1:4, 1:4] = 1
    np.testing.assert_array_equal(windows[:4], ones)
    upstream, wanted = np.array([[1, 0, -2], [0, 3, 0]]), np.zeros((4, 5), int)
    for i in range(2):
        for j in range(3):
            wanted[i : i + 3, j : j + 3] += upstream[i, j]
    np.testing.assert_array_equal(windows[4:], wanted)
