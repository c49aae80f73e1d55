"""Masks by rembg, with a model file that the test writes: its own can't be downloaded in a test."""

import numpy as np
import pytest

import keras_saliency as ks
from keras_saliency.data.segmentation import segment

pytestmark = pytest.mark.reference


@pytest.fixture
def red_model(tmp_path, onnx, rembg):
    """A model with the input of U2-Net whose saliency is the red channel."""
    from onnx import TensorProto, helper

    node = helper.make_node("Slice", ["input", "start", "end", "axis"], ["output"])
    whole_numbers = {"start": [0], "end": [1], "axis": [1]}
    graph = helper.make_graph(
        [node],
        "red",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 320, 320])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 320, 320])],
        [helper.make_tensor(k, TensorProto.INT64, [1], v) for k, v in whole_numbers.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, path := tmp_path / "red.onnx")
    return path


@pytest.fixture
def images():
    """Two images of 40 x 60 px with a red square each."""
    images = np.full((2, 40, 60, 3), (20, 120, 120), np.uint8)
    images[0, 10:30, 10:30] = images[1, 20:40, 40:60] = (250, 0, 0)
    return images


def test_a_model_file_anywhere_makes_the_masks(red_model, images):
    masks, name = segment(f"rembg:{red_model}", images)
    assert name == "rembg, red.onnx"
    truth = images[..., 0] > 100
    assert masks.shape == truth.shape
    assert np.abs(masks - truth).mean() < 0.1  # its resizing overshoots at the edges
    np.testing.assert_array_equal(masks > 0.5, truth)
    np.testing.assert_array_equal(ks.Probes(images, masks=f"rembg:{red_model}").masks, masks)


def test_rembg_names_its_free_model_and_refuses_an_unknown_one(red_model, images, monkeypatch):
    # The model that is named by default is looked up where rembg keeps its files.
    home = red_model.parent / "home" / "models" / "u2net"
    home.mkdir(parents=True)
    (home / "u2net.onnx").write_bytes(red_model.read_bytes())
    monkeypatch.delenv("U2NET_HOME", raising=False)
    monkeypatch.setenv("REMBG_HOME", str(home.parents[1]))
    masks, name = segment("rembg", images)
    assert name == "rembg, u2net"
    np.testing.assert_array_equal(masks > 0.5, images[..., 0] > 100)
    with pytest.raises(ValueError, match="'nothing'"):
        segment("rembg:nothing", images)
    with pytest.raises(ValueError, match="must name a file"):
        segment("rembg:nowhere.onnx", images)
