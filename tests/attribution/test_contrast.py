"""Contrast maps of what is classified wrongly, against closed forms and weighted targets."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency as ks
from keras_saliency.attribution.contrast import contrast_of_wrong
from keras_saliency.attribution.explainer import Explainer
from keras_saliency.engine.targets import Target

SIZE = (8, 10, 3)
X = np.random.default_rng(0).random((6, *SIZE), "float32")


def model_of(head, units):
    x = inputs = keras.Input(SIZE)
    x = layers.Conv2D(4, 3, activation="tanh")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(units, activation=head)(x))


def explainer_of(model, labels, methods, target="label", batch_size=32):
    return Explainer(model, ks.Probes(X, labels), methods, Target(target), None, batch_size)


def wrong_labels(model, classes):
    """Labels of which the first two are what the model predicts, and the others are not."""
    outputs = keras.ops.convert_to_numpy(model(X))
    by_class = np.concatenate([1 - outputs, outputs], 1) if outputs.shape[1] == 1 else outputs
    predicted = by_class.argmax(1)
    return predicted, np.where(np.arange(6) < 2, predicted, (predicted + 1) % classes)


@pytest.mark.parametrize("target", ["label", "predicted"])
@pytest.mark.parametrize("batch_size", [32, 4])
@pytest.mark.parametrize("method", ["grad_cam", "gradient_x_input", "saliency"])
def test_it_is_the_map_of_the_difference_of_two_scores(method, batch_size, target):
    model = model_of("softmax", 3)
    predicted, labels = wrong_labels(model, 3)
    explainer = explainer_of(model, labels, ["occlusion", method], target, batch_size)
    found = contrast_of_wrong(explainer, explainer.evaluate())
    weights = (np.eye(3)[predicted] - np.eye(3)[labels]).astype("float32")
    expected = ks.explain(model, X, method, target=weights).maps[2:]
    assert found.method == method
    assert found.index.tolist() == [2, 3, 4, 5]
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found.maps, expected, atol=1e-6 * np.abs(expected).max() + 1e-9)


def test_of_a_linear_model_it_is_the_difference_of_its_weights():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(np.prod(SIZE), 3)).astype("float32")
    inputs = keras.Input(SIZE)
    dense = layers.Dense(3, activation="softmax")
    model = keras.Model(inputs, dense(layers.Flatten()(inputs)))
    dense.set_weights([weights, np.zeros(3, "float32")])
    predicted, labels = wrong_labels(model, 3)
    explainer = explainer_of(model, labels, ["saliency"])
    found = contrast_of_wrong(explainer, explainer.evaluate())
    apart = (weights[:, predicted[2:]] - weights[:, labels[2:]]).T.reshape(-1, *SIZE)
    np.testing.assert_allclose(found.maps, np.abs(apart).max(-1), rtol=1e-4)


def test_of_one_sigmoid_it_is_the_map_of_the_predicted_class():
    """Its logit is the lead of one class over the other already."""
    model = model_of("sigmoid", 1)
    predicted, labels = wrong_labels(model, 2)
    explainer = explainer_of(model, labels, ["gradient_x_input"])
    found = contrast_of_wrong(explainer, explainer.evaluate())
    expected = ks.explain(model, X, "gradient_x_input", target=predicted).maps[2:]
    np.testing.assert_allclose(found.maps, expected, rtol=1e-4, atol=1e-8)


def test_an_evaluation_after_it_is_what_it_was_before():
    model = model_of("softmax", 3)
    _, labels = wrong_labels(model, 3)
    explainer = explainer_of(model, labels, ["grad_cam", "saliency"])
    before = explainer.evaluate()
    contrast_of_wrong(explainer, before)
    after = explainer.evaluate()
    for name, maps in before.maps.items():
        np.testing.assert_array_equal(maps, after.maps[name])
    np.testing.assert_array_equal(before.classes, after.classes)


def test_it_needs_wrong_predictions_one_label_a_probe_and_a_gradient_method():
    model = model_of("softmax", 3)
    predicted, labels = wrong_labels(model, 3)
    for given, methods, target in (
        (predicted, ["saliency"], "label"),
        (labels, ["occlusion", "eigen_cam"], "label"),
        (labels, ["saliency"], "contrast"),
        (None, ["saliency"], "predicted"),
    ):
        explainer = explainer_of(model, given, methods, target)
        assert contrast_of_wrong(explainer, explainer.evaluate()) is None
    values = keras.Sequential([keras.Input(SIZE), layers.Flatten(), layers.Dense(1)])
    explainer = explainer_of(values, np.linspace(0, 1, 6), ["saliency"])
    assert contrast_of_wrong(explainer, explainer.evaluate()) is None


def test_what_it_cannot_contrast_is_refused():
    explainer = explainer_of(model_of("softmax", 3), np.arange(6) % 3, ["saliency", "occlusion"])
    with pytest.raises(ValueError, match="Received: method='occlusion'"):
        explainer.contrast("occlusion", np.array([0]), np.array([1]), np.array([2]))
