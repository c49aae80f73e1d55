"""Outputs at the ends of their range: gradients in float16, and the class that is predicted."""

import keras
import numpy as np
import pytest
from keras import layers as kl

from keras_saliency import Probes, Target, explain
from keras_saliency.attribution.explainer import Explainer
from keras_saliency.engine.predictions import read_predictions

SIZE = (9, 12, 3)


class Hidden(kl.Layer):
    """A head of its own, behind which no logits can be had."""

    def __init__(self, units, activation, **options):
        super().__init__(**options)
        self.dense, self.probabilities = kl.Dense(units, dtype=self.dtype_policy), activation

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        return self.probabilities(self.dense(inputs))


def network(head, biases, scale=0.3, dtype="float32"):
    """Build a classifier whose logits are near these biases."""
    inputs = keras.Input(SIZE)
    x = kl.Conv2D(4, 3, activation="softplus", name="conv", dtype=dtype)(inputs)
    x = head(kl.GlobalAveragePooling2D(dtype=dtype)(x))
    model = keras.Model(inputs, x)
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape) * scale)
    model.weights[-1].assign(biases)
    return model


FLOAT16 = pytest.mark.needs(backend="tensorflow or torch", why="JAX has no float16 on a CPU")


def layer_evidence(model, images):
    """Multiply a layer's output by its gradient, and keep the sign."""
    return keras.ops.sum(model.activations(images) * model.layer_gradients(images), axis=-1)


@FLOAT16
@pytest.mark.parametrize("method", ["saliency", layer_evidence, "integrated_gradients"])
def test_small_probabilities_in_float16_have_the_gradients_of_float32(photos, method):
    """The gradient of log p goes with 1 / p, above float16's range where p is below 1.5e-5."""
    biases, images = (0.0, 0.5, -11.5, -12.5), photos(4, SIZE)
    found, wanted = (
        explain(network(Hidden(4, keras.ops.softmax, dtype=d), biases, dtype=d), images, method,
                target=[0, 1, 2, 3])
        for d in ("mixed_float16", "float32")
    )  # fmt: skip
    assert (found.of, wanted.of) == ("log_probability",) * 2
    assert wanted.scores.min() < np.log(1.5e-5) < np.log(0.1) < wanted.scores.max()
    assert np.isfinite(found.maps).all()
    # The smallest probability has five bits in float16.
    peaks = np.abs(wanted.maps).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.maps / peaks, wanted.maps / peaks, atol=0.04)


@FLOAT16
def test_images_of_a_batch_do_not_share_a_factor(photos):
    """With the factor that the smallest probability needs, the others' gradients would vanish."""
    biases, images = (0.0, 0.5, -11.5, -13.5), photos(4, SIZE)
    head = Hidden(4, keras.ops.softmax, dtype="mixed_float16")
    model = network(head, biases, scale=0.02, dtype="mixed_float16")
    together = explain(model, images, "saliency", target=[0, 1, 2, 3])
    for row, target in enumerate(range(4)):
        alone = explain(model, images[row : row + 1], "saliency", target=target)
        peak = alone.maps.max()
        assert peak > 0
        np.testing.assert_allclose(together.maps[row] / peak, alone.maps[0] / peak, atol=0.01)


@FLOAT16
def test_a_probability_of_exactly_zero_is_dead_and_not_nan(photos):
    head = Hidden(3, keras.ops.softmax, dtype="mixed_float16")
    model = network(head, (0.0, 1.0, -40.0), dtype="mixed_float16")
    found = explain(model, photos(2, SIZE), "saliency", target=[2, 0])
    assert not found.maps[0].any()
    assert found.maps[1].any()
    assert np.isfinite(found.maps).all()


@FLOAT16
def test_gradients_below_float16_are_raised(photos):
    """A probability p of another class has the gradient p (1 - p): 1e-10 here, zero in float16."""
    found, wanted = (
        explain(network(kl.Dense(3, "softmax", dtype=d), (0.0, 1.0, -22.0), dtype=d),
                photos(2, SIZE), "saliency", target=2, of="probability")
        for d in ("mixed_float16", "float32")
    )  # fmt: skip
    assert 0 < wanted.maps.max() < 1e-8
    np.testing.assert_allclose(found.maps, wanted.maps, atol=0.05 * wanted.maps.max())


def hidden_logits(units, activation):
    return kl.Dense(units, activation=activation)


def with_activation_layer(units, activation):
    return keras.Sequential([kl.Dense(units), kl.Activation(activation)])


@pytest.mark.parametrize("head", [hidden_logits, with_activation_layer])
@pytest.mark.parametrize(
    ("activation", "logits"),
    [
        ("sigmoid", (20.0, 30.0, 25.0)),
        ("sigmoid", (60.0, 90.0, 75.0)),
        ("sigmoid", (-200.0, -110.0, -150.0)),
        ("softmax", (-300.0, 30.0, -200.0)),
    ],
)
@pytest.mark.parametrize("of", ["logits", "probability", "log_probability"])
def test_the_class_named_is_the_class_explained(photos, head, activation, logits, of):
    """Probabilities that are rounded to 1, or to 0, do not tell the classes apart."""
    model, images = network(head(3, activation), logits), photos(3, SIZE)
    found = explain(model, images, "saliency", target="predicted", of=of)
    assert found.targets.tolist() == [1, 1, 1]
    explainer = Explainer(model, Probes(images), ["saliency"], Target(0), None, 2)
    evaluation = explainer.evaluate()
    named = read_predictions(
        explainer.head, evaluation.outputs, evaluation.predicted, np.array([1, 0, 1]), None
    )
    assert named.texts == ["class 1"] * 3
    assert named.correct == [True, False, True]


def test_of_several_labels_that_named_is_the_one_of_the_highest_logit(photos):
    model = network(kl.Dense(3, "sigmoid"), (20.0, 30.0, 25.0))
    labels = np.array([[0, 1, 1], [1, 0, 1]])
    explainer = Explainer(model, Probes(photos(2, SIZE), labels), ["saliency"], Target(), None, 2)
    seen = explainer.evaluate()
    assert seen.predicted.tolist() == [1, 1]
    named = read_predictions(explainer.head, seen.outputs, seen.predicted, labels, None)
    assert named.correct == [True, False]


def test_positions_are_named_as_they_are_explained(photos):
    """Of sigmoids at every position the mean of the logits decides, as for the score."""
    inputs = keras.Input(SIZE)
    model = keras.Model(inputs, kl.Conv2D(2, 1, activation="sigmoid")(inputs))
    kernel = np.zeros((1, 1, 3, 2), "float32")
    kernel[0, 0, 0] = [80.0, 20.0]  # class 0 is strong at few positions, and 1 just at more
    model.layers[-1].set_weights([kernel, np.array([-10.0, -5.0], "float32")])
    images = np.zeros((1, *SIZE), "float32")
    images[:, :5] = 0.3
    images[:, 5:] = 0.1
    logits = np.stack([80 * images[..., 0] - 10, 20 * images[..., 0] - 5], -1)
    means = logits.mean(axis=(1, 2))
    found = explain(model, images, "saliency", target="predicted")
    evaluation = Explainer(model, Probes(images), ["saliency"], Target(0), None, 1).evaluate()
    assert found.targets[0] == evaluation.predicted[0] == means.argmax()
