"""A model with the layer inside, saved by the first layout of the package, loads and does the same.

Commit 7f34587 saved it with the TensorFlow backend, and beside it two images, their masks, and what
the layer and the network made of them.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import keras_saliency as ks

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def stored():
    with np.load(DATA / "background_swap_0.1.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def model():
    assert ks.BackgroundSwap  # whoever loads a file with the layer in it has it registered
    return keras.saving.load_model(DATA / "background_swap_0.1.keras")


def outputs(model, stored, training):
    given = [stored["images"].astype("float32"), stored["masks"].astype("float32")]
    return [ops.convert_to_numpy(value) for value in model(given, training=training)]


def test_the_layer_is_set_as_it_was(model):
    layer = model.get_layer("swap")
    assert type(layer) is ks.BackgroundSwap
    assert (layer.factor, layer.seed) == (1.0, 3)


def test_it_computes_the_same(model, stored):
    images, scores = outputs(model, stored, training=False)
    np.testing.assert_array_equal(images, stored["images"])
    np.testing.assert_allclose(scores, stored["scores"], atol=1e-5)


def test_it_swaps_the_same_backgrounds(model, stored):
    """Of two images each is the other's donor, whatever the backend draws."""
    images, scores = outputs(model, stored, training=True)
    np.testing.assert_allclose(images, stored["swapped"], atol=1e-3)
    np.testing.assert_allclose(scores, stored["swapped_scores"], atol=1e-5)
