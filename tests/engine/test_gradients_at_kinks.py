"""The table of docs/backends.md: what the backends' own gradients are where there is a kink."""

from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

from keras_saliency import explain

from helpers.backends import BACKEND, derivatives

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
COLUMN = ["tensorflow", "jax", "torch"].index(BACKEND)
MEASURED = {"keras": "3.15", "tensorflow": "2.21", "jax": "0.10", "torch": "2.13"}
FUNCTIONS = {
    "`leaky_relu` at 0": (keras.activations.leaky_relu, 0.0),
    "`LeakyReLU()` at 0": (kl.LeakyReLU(), 0.0),
    "`selu` at 0": (keras.activations.selu, 0.0),
    "`celu` at 0": (keras.activations.celu, 0.0),
    "`hard_tanh` at -1 and 1": (keras.activations.hard_tanh, 1.0),
    "`ops.abs(x)` at 0": (ops.abs, 0.0),
    "`ops.maximum(x, 0)` at 0": (lambda x: ops.maximum(x, 0.0), 0.0),
    "`ops.maximum(0, x)` at 0": (lambda x: ops.maximum(ops.zeros_like(x), x), 0.0),
    "`ops.minimum(x, 0)` at 0": (lambda x: ops.minimum(x, 0.0), 0.0),
    "`ops.clip(x, 0, 1)` at 0": (lambda x: ops.clip(x, 0.0, 1.0), 0.0),
    "`ops.norm(x)` of zeros": (lambda x: ops.norm(x, axis=-1), 0.0),
    "`relu`, `relu6` at 0": (keras.activations.relu6, 0.0),
    "`elu` at 0": (keras.activations.elu, 0.0),
}


def table():
    """Read the rows of the page: what is differentiated, and the gradient on this backend."""
    _, part = PAGE.read_text().split("## Where a unit is at a kink")
    rows = [line.split("|")[1:-1] for line in part.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return {name: float(values[COLUMN]) for name, *values in cells}


def skip_other_versions():
    for package in ("keras", BACKEND):
        if not metadata.version(package).startswith(MEASURED[package]):
            pytest.skip(f"the table is of {package} {MEASURED[package]}")


def test_the_page_lists_all():
    assert table().keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_is_that_of_the_page(name):
    skip_other_versions()
    function, at = FUNCTIONS[name]
    (found,) = derivatives(lambda x: ops.sum(function(x)), np.full((1, 2), at, "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(found), table()[name], atol=1e-4)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n.endswith(" at 0")])
def test_maps_of_black_pixels_have_these_gradients(name):
    """Where an image is black and there is no bias, a unit is at 0 exactly."""
    skip_other_versions()
    function, _ = FUNCTIONS[name]
    inputs = keras.Input((4, 6, 1))
    x = kl.Lambda(function)(kl.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(inputs))
    model = keras.Model(inputs, kl.Dense(1, name="head")(kl.Flatten()(x)))
    weights = np.random.default_rng(0).normal(size=(24, 1)).astype("float32")
    model.get_layer("head").set_weights([weights, np.zeros(1, "float32")])
    maps = explain(model, np.zeros((1, 4, 6, 1), "float32"), "saliency").maps
    np.testing.assert_allclose(maps.ravel(), np.abs(weights[:, 0]) * table()[name], atol=1e-4)
