"""Models that stop the gradient: the methods that the message names do work, and fit goes on."""

import functools
import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_saliency as ks
from keras_saliency import methods

SIZE = (8, 10, 3)
X, Y = np.random.default_rng(0).random((6, *SIZE), "float32"), np.arange(6) % 2
QUICK = {"rise": {"samples": 6}, "occlusion": {"patch": 4}}


def network(stop):
    """A network with or without a stop of the gradient "before" or "behind" its layer "conv"."""
    stopped = layers.Lambda(ops.stop_gradient, name="stop")
    model = keras.Sequential(
        [
            keras.Input(SIZE),
            *([stopped] if stop == "before" else []),
            layers.Conv2D(4, 3, activation="softplus", name="conv"),
            *([stopped] if stop == "behind" else []),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    random = np.random.default_rng(1)
    model.set_weights([random.normal(size=weight.shape) / 3 for weight in model.weights])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize(("stop", "fails"), [("before", "saliency"), ("behind", "grad_cam")])
def test_the_methods_that_are_named_give_the_maps_of_a_model_that_stops_nothing(stop, fails):
    stopping, free = network(stop), network(None)
    with pytest.raises(ValueError, match="method without gradients") as e:
        ks.explain(stopping, X[:2], fails, layer="conv")
    named = re.search(r"without gradients, (.*? or '\w+')", str(e.value))[1]
    names = re.findall(r"'(\w+)'", named)
    assert {"occlusion", "score_cam", "eigen_cam"} <= set(names)
    for name in names:
        method = functools.partial(methods.get(name), **QUICK.get(name, {}))
        found, wanted = (
            ks.explain(one, X[:2], method, target=1, layer="conv").maps for one in (stopping, free)
        )
        assert wanted.any()
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)


def test_a_method_that_fails_at_once_is_named_once_and_the_others_go_on(tmp_path):
    model = network("before")
    watch = ks.SaliencyCallback((X[:2], Y[:2]), tmp_path, ["saliency", "grad_cam"])
    with pytest.warns(UserWarning, match="keras_saliency") as told:
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[watch])
    (message,) = [str(one.message) for one in told if one.category is UserWarning]
    for part in ("'saliency'", "before training", "left out", "'occlusion'", "goes on"):
        assert part in message
    newest = watch.session.newest
    assert newest.step == 1
    assert list(newest.maps) == ["grad_cam"]
    wanted = ks.explain(model, ks.Probes(X[:2], Y[:2]), "grad_cam", target="label").maps
    np.testing.assert_allclose(newest.maps["grad_cam"], wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("options", [{"strict": True}, {"methods": ["saliency"]}])
def test_where_no_method_works_or_faults_are_strict_nothing_is_trained(options, tmp_path):
    model = network("before")
    before = model.get_weights()
    with pytest.raises(ValueError, match="no gradient at the images"):
        model.fit(X, Y, verbose=0, callbacks=[ks.SaliencyCallback(X[:2], tmp_path, **options)])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
