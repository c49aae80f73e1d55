"""The Saliency tab after a real training run of 50 epochs that learns the ground."""

import json
import re
import urllib.parse
import urllib.request

import keras
import numpy as np
import pytest

import keras_saliency as ks
from keras_saliency.data.synthetic import CLASS_NAMES, scenes

pytestmark = pytest.mark.browser

EPOCHS, PROBES = 50, 4


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    drawn = scenes(240, size=(32, 44))
    data = drawn.images[PROBES:], drawn.labels[PROBES:]
    probes = ks.Probes(
        drawn.images[:PROBES],
        drawn.labels[:PROBES],
        masks=drawn.masks[:PROBES],
        class_names=CLASS_NAMES,
    )
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 44, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    watch = ks.SaliencyCallback(probes, root, shortcuts=ks.Shortcuts(data, every=10))
    with pytest.warns(UserWarning, match="relies on"):
        model.fit(*data, epochs=EPOCHS, verbose=0, callbacks=[watch])
    return root, watch, probes


@pytest.fixture(scope="session")
def logdir(trained):
    return trained[0]


def asked(address, route, **query):
    path = f"{address}/data/plugin/keras_saliency/{route}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(path) as answer:
        return json.load(answer)


def test_every_epoch_of_the_training_is_there(tab, trained):
    _, watch, probes = trained
    tab.open()
    assert tab.find(".top .count").text == f"(step {EPOCHS - 1}), {EPOCHS + 1} of {EPOCHS + 1}"
    assert tab.when() == f"epoch {EPOCHS}"
    names = sorted(tile.text.splitlines()[0] for tile in tab.find_all(".tile"))
    assert names == sorted(probes.names)
    assert watch.verdict.text in tab.find(".verdict").text
    tab.go_to(0)
    assert tab.when() == "before training"


def test_the_tiles_are_the_maps_of_their_epoch(tab, trained):
    name = trained[2].names[0]
    tab.open()
    seen = []
    for index in (1, 5, EPOCHS):
        tab.go_to(index)
        assert tab.when() == f"epoch {index}"
        seen.append(tab.picture(name))
    for one, other in ((0, 1), (1, 2)):
        assert np.abs(seen[one] - seen[other]).max() > 10


def test_the_numbers_are_those_of_the_model(address, trained):
    _, watch, probes = trained
    run, method = "saliency", "grad-cam"
    *_, newest = asked(address, "maps", run=run, method=method)["steps"]
    found = ks.explain(watch.model, probes, "grad_cam", target="label")
    np.testing.assert_allclose(newest["peak"], found.maps.max((1, 2)), rtol=1e-4)
    *_, said = asked(address, "verdicts", run=run)["steps"]
    assert said["text"] == watch.verdict.text
    assert re.match(r"relies on", said["text"])
