"""Models that compute spectrograms of signals inside: what the message names does work."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_saliency as ks

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(4, 256, 1)).astype("float32"), np.arange(4) % 2
STFT = {"frame_length": 32, "frame_step": 16, "fft_length": 32}


class Stft(layers.Layer):
    def call(self, signals):
        real, imaginary = ops.stft(signals[..., 0], 32, 16, 32)
        return ops.sqrt(real**2 + imaginary**2 + 1e-6)[..., None]


FIRST = {
    "STFTSpectrogram": lambda: layers.STFTSpectrogram(expand_dims=True, **STFT),
    "ops.stft": Stft,
}


def network(first):
    model = keras.Sequential(
        [
            keras.Input(X.shape[1:]),
            first,
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("layer", [None, "conv"])
def test_the_methods_that_are_named_give_maps_over_time(name, layer):
    model, signals = network(FIRST[name]()), ks.Probes(X, Y, kind="signal")
    with pytest.raises(ValueError, match="other axes than the input") as e:
        ks.explain(model, signals, "grad_cam", layer=layer)
    named = re.findall(r"'(\w+)'", re.search(r"need no layer \((.*?)\)", str(e.value))[1])
    assert len(named) == 5
    for method in named:
        maps = ks.explain(model, signals, method).maps
        assert maps.shape == X.shape[:2]
        assert maps.any()


@pytest.mark.filterwarnings("ignore:The images' values run from")  # as they are no photographs
@pytest.mark.parametrize("name", FIRST)
def test_the_layers_behind_give_maps_over_time_and_frequency(name, tmp_path):
    model = network(FIRST[name]())
    spectrograms = ops.convert_to_numpy(model.layers[0](X))
    model.optimizer.learning_rate = 0.0
    watch = ks.SaliencyCallback(
        (spectrograms, Y),
        tmp_path,
        ["grad_cam"],
        model=lambda m: keras.Sequential(m.layers[1:]),
    )
    model.fit(X, Y, verbose=0, callbacks=[watch])
    # With a head of global average pooling, Grad-CAM weighs by the dense kernel over the cells.
    features = ops.convert_to_numpy(model.get_layer("conv")(spectrograms))
    weights = ops.convert_to_numpy(model.layers[-1].kernel).T[Y] / features[0, ..., 0].size
    wanted = np.maximum(np.einsum("nhwc,nc->nhw", features, weights), 0)
    assert wanted.any()
    np.testing.assert_allclose(watch.session.newest.maps["grad_cam"], wanted, rtol=1e-3, atol=1e-6)
