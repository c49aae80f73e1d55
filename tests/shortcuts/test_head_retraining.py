"""A head that is trained anew: what changes, and that it relies less on the shortcut."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency as ks
from keras_saliency.shortcuts.nuisances import Nuisance

SIZE = (16, 20, 3)
SHORTCUT, OBJECT = (slice(0, 4), slice(0, 4)), (slice(8, 12), slice(10, 14))


def pictures(count=400, seed=0):
    """Squares of an object and of a shortcut, bright in class 1; the object is fainter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(0, 60, (count, *SIZE)).astype(np.uint8)
    images[:, *SHORTCUT] += (150 * labels[:, None, None, None]).astype(np.uint8)
    images[:, *OBJECT] += (70 * labels[:, None, None, None]).astype(np.uint8)
    return images, labels


def swap(receivers, donors, i, j):
    images = receivers.pixels[i].astype(np.float32)
    images[:, *SHORTCUT] = donors.pixels[j][:, *SHORTCUT]
    return images


NUISANCE = Nuisance("corner", "the corner", swap)


def features():
    """Two features, the shortcut and the object, by weights of hand."""
    pooled = layers.Flatten(name="flat")
    dense = layers.Dense(3, name="features")
    model = keras.Sequential([keras.Input(SIZE), layers.Rescaling(1 / 255), pooled, dense])
    kernel = np.zeros((*SIZE, 3), np.float32)
    kernel[(*SHORTCUT, slice(None), 0)] = 1 / 48
    kernel[(*OBJECT, slice(None), 1)] = 1 / 48
    dense.set_weights([kernel.reshape(-1, 3), np.array([0.0, 0.0, 0.5], np.float32)])
    return model


def biased(build="softmax"):
    """A model that reads the shortcut alone."""
    inputs, below = keras.Input(SIZE), features()
    kernel = np.array([[-20.0, 20.0], [0, 0], [0, 0]], np.float32)
    bias = np.array([8.0, -8.0], np.float32)
    if build == "sigmoid":
        head, kernel, bias = layers.Dense(1, activation="sigmoid"), 2 * kernel[:, 1:], 2 * bias[1:]
    else:
        head = layers.Dense(2, activation="softmax" if build == "softmax" else None)
    outputs = head(below(inputs))
    if build == "activation":
        outputs = layers.Activation("softmax")(outputs)
    model = keras.Model(inputs, outputs)
    if build == "nested":
        model = keras.Sequential([keras.Input(SIZE), model])
    head.set_weights([kernel, bias])
    loss = "binary_crossentropy" if build == "sigmoid" else "sparse_categorical_crossentropy"
    if build in ("nested", "logits"):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    return model, head


@pytest.fixture(scope="module")
def shortcuts():
    return ks.Shortcuts(pictures(), masks=None, nuisances=[NUISANCE])


def accuracy(model, images, labels):
    outputs = keras.ops.convert_to_numpy(model(images.astype("float32")))
    predicted = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return (predicted == labels).mean()


@pytest.mark.parametrize("build", ["softmax", "sigmoid", "activation", "nested", "logits"])
def test_the_object_counts_afterwards_and_nothing_else_changes(shortcuts, build):
    model, head = biased(build)
    others = [v for v in model.variables if not any(v is own for own in head.variables)]
    before = [keras.ops.convert_to_numpy(v).copy() for v in others]
    optimizer, random = model.optimizer, np.random.get_state()[1].copy()
    images, labels = pictures(200, seed=5)
    contradicting = images.copy()
    contradicting[:, *SHORTCUT] = images[::-1][:, *SHORTCUT]  # every other one is of each class
    assert accuracy(model, contradicting, labels) == 0

    result = ks.retrain_head(model, shortcuts)

    assert accuracy(model, contradicting, labels) > 0.95
    assert accuracy(model, images, labels) > 0.95
    for variable, value in zip(others, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert model.optimizer is optimizer
    np.testing.assert_array_equal(np.random.get_state()[1], random)
    assert result.nuisances == ("corner",)
    assert result.worst[0] == 0
    assert result.worst[1] > 0.9


def test_groups_are_of_class_and_agreement_and_those_tested_are_receivers(shortcuts):
    result = ks.retrain_head(biased()[0], shortcuts)
    expected = [(0, "aligned"), (0, "contradicting"), (1, "aligned"), (1, "contradicting")]
    assert sorted(result.counts) == sorted(result.before) == sorted(result.after) == expected
    assert set(result.counts.values()) == {2 * 128}
    assert [result.before[group] for group in expected] == [1, 0, 1, 0]


def test_the_kernel_is_that_of_a_logistic_regression(shortcuts):
    """The weight of the object stands out, as scikit-learn's on the same kind of groups does."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    model, head = biased("sigmoid")
    ks.retrain_head(model, shortcuts)
    kernel = keras.ops.convert_to_numpy(head.kernel)[:, 0]
    images, labels = pictures(400)
    mixed = np.concatenate([images, images])
    mixed[400:][:, *SHORTCUT] = images[::-1][:, *SHORTCUT]
    values = keras.ops.convert_to_numpy(features()(mixed.astype("float32")))
    scale = np.maximum(values.std(axis=0), 1e-6)
    reference = linear_model.LogisticRegression(C=1.0).fit(values / scale, np.tile(labels, 2))
    ratio = reference.coef_[0] / np.abs(reference.coef_[0]).max()
    np.testing.assert_allclose(kernel * scale / np.abs(kernel * scale).max(), ratio, atol=0.1)


def test_a_model_without_such_a_shortcut_is_left_alone(shortcuts):
    model, head = biased()
    head.set_weights([np.array([[0, 0], [-30, 30], [0, 0]], np.float32), np.array([8.0, -8.0])])
    before = head.get_weights()
    with pytest.raises(ValueError, match=r"Expected a model that relies on.*Received: largest gap"):
        ks.retrain_head(model, shortcuts)
    for value, kept in zip(head.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, kept)


def test_a_class_without_images_is_not_forgotten(shortcuts):
    model = keras.Sequential([keras.Input(SIZE), features(), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"each of the model's 3 classes.*Received: 2 classes"):
        ks.retrain_head(model, shortcuts)


def test_other_heads_and_labels_are_refused(shortcuts):
    convolution = keras.Sequential(
        [keras.Input(SIZE), layers.Conv2D(2, 1), layers.GlobalAveragePooling2D(), layers.Softmax()]
    )
    with pytest.raises(ValueError, match=r"keras\.layers\.Dense.*Received: model='sequential"):
        ks.retrain_head(convolution, shortcuts)
    images, _ = pictures()
    rows = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 100)
    several = ks.Shortcuts((images, rows), masks=None, nuisances=[NUISANCE])
    with pytest.raises(ValueError, match=r"one class each.*Received: "):
        ks.retrain_head(biased()[0], several)
