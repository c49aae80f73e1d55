"""What is explained, against logits worked out by hand, for every kind of head."""

import functools

import keras
import numpy as np
import pytest

from keras_saliency import Probes, Target, explain

LABELS = [2, 0, 3]


def gradient(model, images):
    """The signed gradient of the red channel: a method of our own."""
    return model.input_gradients(images)[..., 0]


def forward(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def logits_of(model, images):
    """Work the logits out from what enters the dense layer."""
    head = model.get_layer("head")
    kernel, bias = head.get_weights()
    return forward(keras.Model(model.input, head.input), images) @ kernel + bias


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rows(values, classes):
    return values[np.arange(len(values)), classes]


# Which score: one softmax model, every kind of target.


@pytest.fixture(scope="module")
def model(classifier):
    return classifier("softmax")


@pytest.fixture(scope="module")
def logits(model, photos):
    return logits_of(model, photos())


def scores_of(model, images, target, of="logits", labels=None):
    return explain(model, Probes(images, labels), gradient, target=target, of=of).scores


def lead(values, classes):
    others = values.copy()
    others[np.arange(len(values)), classes] = -np.inf
    return rows(values, classes) - others.max(axis=1)


def test_label_takes_the_probes_own_class(model, logits, photos):
    wanted = rows(logits, LABELS)
    for labels in (LABELS, np.eye(4)[LABELS]):
        found = explain(model, Probes(photos(), labels), gradient, target="label")
        np.testing.assert_allclose(found.scores, wanted, rtol=1e-5)
        assert found.targets.tolist() == LABELS


def test_predicted_takes_the_highest_output(model, logits, photos):
    found = explain(model, photos(), gradient, target="predicted")
    np.testing.assert_allclose(found.scores, logits.max(axis=1), rtol=1e-5)
    assert found.targets.tolist() == logits.argmax(axis=1).tolist()


def test_contrast_is_the_lead_over_the_runner_up(model, logits, photos):
    np.testing.assert_allclose(
        scores_of(model, photos(), "contrast", labels=LABELS), lead(logits, LABELS), atol=1e-5
    )
    np.testing.assert_allclose(
        scores_of(model, photos(), "contrast"), lead(logits, logits.argmax(axis=1)), atol=1e-5
    )


def test_contrast_has_the_gradient_of_both(model, logits, photos):
    best = [int(np.argsort(z)[-1]) for z in logits]
    second = [int(np.argsort(z)[-2]) for z in logits]
    first, runner_up, contrast = (
        explain(model, photos(), gradient, target=t).maps for t in (best, second, "contrast")
    )
    np.testing.assert_allclose(contrast, first - runner_up, atol=1e-6)


def test_a_class_index_and_one_per_image(model, logits, photos):
    np.testing.assert_allclose(scores_of(model, photos(), 1), logits[:, 1], rtol=1e-5)
    for chosen in ([3, 1, 0], np.array([3, 1, 0])):
        found = explain(model, photos(), gradient, target=chosen)
        np.testing.assert_allclose(found.scores, rows(logits, [3, 1, 0]), rtol=1e-5)
        assert found.targets.tolist() == [3, 1, 0]


def test_weights_of_outputs(model, logits, photos):
    weights = np.array([0.5, -1.0, 0.0, 2.0])
    found = explain(model, photos(), gradient, target=weights)
    np.testing.assert_allclose(found.scores, logits @ weights, atol=1e-5)
    assert found.targets.tolist() == [-1, -1, -1]
    own = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(
        scores_of(model, photos(), own), (logits * own).sum(axis=1), atol=1e-5
    )
    np.testing.assert_allclose(
        scores_of(model, photos(), weights, of="probability"), softmax(logits) @ weights, atol=1e-5
    )


def test_a_callable_gets_the_quantity_and_the_labels(model, logits, photos):
    def squared_minus_label(outputs, labels):
        return keras.ops.sum(outputs**2, axis=-1) - keras.ops.cast(labels, "float32")

    for of, quantity in (("logits", logits), ("probability", softmax(logits))):
        found = scores_of(model, photos(), squared_minus_label, of, LABELS)
        np.testing.assert_allclose(found, (quantity**2).sum(axis=1) - LABELS, rtol=1e-4)


def test_a_region_of_a_map_is_weighed_by_its_mask(photos):
    """A segmentation model with a softmax for each pixel."""
    model = keras.Sequential(
        [keras.Input((6, 9, 3)), keras.layers.Conv2D(2, 1, activation="softmax")]
    )
    images = photos(2, (6, 9, 3))
    kernel, bias = model.layers[-1].get_weights()
    logits = images @ kernel[0, 0] + bias
    mask = np.zeros((6, 9, 2), bool)
    mask[1:3, 4:8, 1] = True
    found = explain(model, images, gradient, target=mask)
    np.testing.assert_allclose(found.scores, logits[:, 1:3, 4:8, 1].sum(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.maps, [mask[..., 1] * kernel[0, 0, 0, 1]] * 2, rtol=1e-5)
    everywhere = explain(model, images, gradient, target=1)
    np.testing.assert_allclose(everywhere.scores, logits[..., 1].mean(axis=(1, 2)), rtol=1e-5)


# Of what: logits, probability, log probability.


def test_probability_and_log_probability_scores(model, logits, photos):
    p = softmax(logits)
    np.testing.assert_allclose(
        scores_of(model, photos(), LABELS, "probability"), rows(p, LABELS), rtol=1e-5
    )
    np.testing.assert_allclose(
        scores_of(model, photos(), LABELS, "log_probability"), np.log(rows(p, LABELS)), atol=1e-5
    )


def test_probability_gradients_follow_from_those_of_the_logits(model, logits, photos):
    p = softmax(logits)
    dz = np.stack([explain(model, photos(), gradient, target=c).maps for c in range(4)], axis=1)
    # dlog p_c = dz_c - sum_k p_k dz_k, and dp_c = p_c dlog p_c
    dlog = rows(dz, LABELS) - np.einsum("nk,nkij->nij", p, dz)
    found = explain(model, photos(), gradient, target=LABELS, of="log_probability").maps
    np.testing.assert_allclose(found, dlog, atol=1e-6)
    found = explain(model, photos(), gradient, target=Target(LABELS, of="probability")).maps
    np.testing.assert_allclose(found, rows(p, LABELS)[:, None, None] * dlog, atol=1e-6)


def test_sigmoid_probability_gradient_is_p_times_1_minus_p(classifier, photos):
    model, images = classifier("sigmoid", 1), photos()
    p = sigmoid(logits_of(model, images))[:, :, None]
    dz = explain(model, images, gradient, target=1).maps
    found = explain(model, images, gradient, target=1, of="probability").maps
    np.testing.assert_allclose(found, p * (1 - p) * dz, atol=1e-6)


def test_on_a_confident_model_the_logit_stays_alive(classifier, photos):
    model = classifier("softmax")
    kernel, _ = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel * 50, np.array([0, 200, 0, 0])])
    assert (forward(model, photos())[:, 1] == 1).all()
    assert np.abs(explain(model, photos(), gradient, target=1).maps).max() > 0.05
    dead = explain(model, photos(), gradient, target=1, of="probability").maps
    assert not dead.any()


# How a head is read: the same logits behind every kind of head.


class HiddenSoftmax(keras.layers.Layer):
    """Gives probabilities without any activation that could be met."""

    def call(self, inputs):
        return keras.ops.softmax(inputs)


def native_softmax():
    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        return tf.nn.softmax
    if name == "jax":
        import jax

        return jax.nn.softmax
    return keras.activations.softmax


HEADS = {
    "fused": lambda units: [keras.layers.Dense(units, "softmax", name="head")],
    "layer": lambda units: [keras.layers.Dense(units, name="head"), keras.layers.Softmax()],
    "activation": lambda units: [
        keras.layers.Dense(units, name="head"),
        keras.layers.Activation("softmax"),
    ],
    "native": lambda units: [keras.layers.Dense(units, native_softmax(), name="head")],
    "linear": lambda units: [keras.layers.Dense(units, name="head")],
    "hidden": lambda units: [keras.layers.Dense(units, name="head"), HiddenSoftmax()],
}


def with_head(classifier, layers, units):
    """Put other layers behind the pooling of the shared network, with the same weights."""
    trunk = classifier("linear", units)
    x = trunk.get_layer("pool").output
    for layer in layers:
        x = layer(x)
    model = keras.Model(trunk.input, x)
    model.get_layer("head").set_weights(trunk.get_layer("head").get_weights())
    return model


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("head", ["fused", "layer", "activation", "native", "linear"])
def test_logits_are_reached_in_every_softmax_head(classifier, photos, logits, head, nested):
    model = with_head(classifier, HEADS[head](4), 4)
    if nested:
        model = keras.Sequential([keras.Input((9, 12, 3)), model])
    for of, wanted in (("logits", logits), ("probability", softmax(logits))):
        found = explain(model, photos(), gradient, target=LABELS, of=of)
        np.testing.assert_allclose(found.scores, rows(wanted, LABELS), rtol=1e-5)
        assert found.of == of
        np.testing.assert_allclose(found.outputs, forward(model, photos()), atol=1e-6)


@pytest.mark.parametrize("loss", [None, "sparse_categorical_crossentropy"])
def test_a_hidden_softmax_is_explained_as_log_probability_and_says_so(
    classifier, photos, logits, loss
):
    model = with_head(classifier, HEADS["hidden"](4), 4)
    if loss:
        model.compile(loss=loss)
    found = explain(model, photos(), gradient, target=LABELS)
    assert found.of == "log_probability"
    np.testing.assert_allclose(found.scores, np.log(rows(softmax(logits), LABELS)), atol=1e-5)
    found = explain(model, photos(), gradient, target=LABELS, of="probability")
    assert found.of == "probability"
    np.testing.assert_allclose(found.scores, rows(softmax(logits), LABELS), atol=1e-5)


class Gate(keras.layers.Layer):
    """Uses its `activation` on the way, not for what it gives."""

    def __init__(self, **options):
        super().__init__(**options)
        self.activation = keras.activations.sigmoid

    def call(self, inputs):
        return 3.0 * inputs * self.activation(inputs)


def test_an_activation_on_the_way_is_no_head(classifier, photos):
    model = with_head(classifier, [*HEADS["linear"](4), Gate()], 4)
    outputs = forward(model, photos())
    np.testing.assert_allclose(scores_of(model, photos(), 1), outputs[:, 1], rtol=1e-5)


@pytest.mark.parametrize("from_logits", [False, True])
def test_a_linear_head_with_a_crossentropy_from_logits(classifier, photos, logits, from_logits):
    model = with_head(classifier, HEADS["linear"](4), 4)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(loss=loss)
    found = explain(model, photos(), gradient, target=2, of="probability")
    np.testing.assert_allclose(found.scores, softmax(logits)[:, 2], rtol=1e-5)


BINARY = {
    "fused": lambda: ([keras.layers.Dense(1, "sigmoid", name="head")], None),
    "activation": lambda: (
        [keras.layers.Dense(1, name="head"), keras.layers.Activation("sigmoid")],
        None,
    ),
    "from logits": lambda: (
        [keras.layers.Dense(1, name="head")],
        keras.losses.BinaryCrossentropy(from_logits=True),
    ),
    "focal from logits": lambda: (
        [keras.layers.Dense(1, name="head")],
        {"only": keras.losses.BinaryFocalCrossentropy(from_logits=True)},
    ),
}


@pytest.mark.parametrize("kind", BINARY)
def test_one_unit_for_two_classes_changes_sign_with_the_class(classifier, photos, kind):
    layers, loss = BINARY[kind]()
    layers[-1].name = "only" if len(layers) > 1 else "head"
    model = with_head(classifier, layers, 1)
    if loss is not None:
        model.compile(loss=list(loss.values()) if isinstance(loss, dict) else loss)
    z = logits_of(model, photos())[:, 0]
    sign = np.array([1, -1, 1])
    found = explain(model, Probes(photos(), [1, 0, 1]), gradient, target="label")
    np.testing.assert_allclose(found.scores, sign * z, rtol=1e-5)
    ones = explain(model, photos(), gradient, target=1).maps
    np.testing.assert_allclose(found.maps, sign[:, None, None] * ones, atol=1e-7)
    chance = explain(model, photos(), gradient, target=[1, 0, 1], of="probability")
    np.testing.assert_allclose(chance.scores, sigmoid(sign * z), rtol=1e-5)
    predicted = explain(model, photos(), gradient, target="predicted")
    np.testing.assert_allclose(predicted.scores, np.abs(z), rtol=1e-5)
    assert predicted.targets.tolist() == (z > 0).astype(int).tolist()


@pytest.mark.parametrize("of", ["logits", "log_probability", "probability"])
def test_contrast_of_one_unit_is_that_of_the_softmax_of_two_that_is_the_same(
    classifier, photos, of
):
    """Of its logits 0 and z, and so of what the two probabilities differ by."""
    model, images, labels = classifier("sigmoid", 1), photos(), [1, 0, 1]
    kernel, bias = model.get_layer("head").get_weights()
    double = classifier("softmax", 2)
    both = [np.concatenate([0 * one, one], axis=-1) for one in (kernel, bias)]
    double.set_weights([*model.get_weights()[:-2], *both])
    one, two = (
        explain(net, Probes(images, labels), gradient, target="contrast", of=of)
        for net in (model, double)
    )
    np.testing.assert_allclose(one.scores, two.scores, rtol=1e-5)
    np.testing.assert_allclose(one.maps, two.maps, atol=1e-6)
    if of == "logits":
        z = logits_of(model, images)[:, 0]
        np.testing.assert_allclose(one.scores, z * [1, -1, 1], rtol=1e-5)


class HiddenSigmoid(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.sigmoid(inputs)


class Named(keras.losses.Loss):
    """A loss of one's own, which keeps `from_logits` as Keras's own do."""

    def __init__(self, from_logits):
        super().__init__()
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        return keras.losses.binary_crossentropy(y_true, y_pred, self.from_logits)


Named.__name__ = "WeighedBinaryCrossentropy"
FROM_LOGITS = {
    "class": lambda flag: keras.losses.BinaryCrossentropy(from_logits=flag),
    "partial": lambda flag: functools.partial(keras.losses.binary_crossentropy, from_logits=flag),
    "partial of a partial": lambda flag: functools.partial(
        functools.partial(keras.losses.binary_crossentropy, from_logits=not flag),
        from_logits=flag,
        label_smoothing=0.1,
    ),
    "own": Named,
}


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("kind", FROM_LOGITS)
def test_from_logits_is_read_however_it_is_given(classifier, photos, kind, flag):
    """Probabilities that nobody sees the making of, or logits; the loss alone knows which."""
    hidden = [] if flag else [HiddenSigmoid()]
    model = with_head(classifier, [*HEADS["linear"](1), *hidden], 1)
    model.compile(loss=FROM_LOGITS[kind](flag))
    z = logits_of(model, photos())[:, 0]
    found = explain(model, photos(), gradient, target=0)
    assert found.of == ("logits" if flag else "log_probability")
    np.testing.assert_allclose(found.scores, -z if flag else np.log(sigmoid(-z)), atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "units"),
    [("crossentropy", 1), ("ce", 1), ("crossentropy", 3), ("sparse_categorical_crossentropy", 3)],
)
def test_a_loss_by_a_name_that_keras_settles_by_the_outputs(classifier, photos, loss, units):
    hidden = HiddenSigmoid() if units == 1 else HiddenSoftmax()
    model = with_head(classifier, [*HEADS["linear"](units), hidden], units)
    model.compile(loss=loss)
    outputs = forward(model, photos())
    chance = 1 - outputs[:, 0] if units == 1 else outputs[:, 0]
    found = explain(model, photos(), gradient, target=0)
    assert found.of == "log_probability"
    np.testing.assert_allclose(found.scores, np.log(chance), atol=1e-5)


@pytest.mark.parametrize("loss", ["bce", "binary_crossentropy"])
def test_a_hidden_sigmoid_of_one_unit(classifier, photos, loss):
    model = with_head(classifier, [*HEADS["linear"](1), HiddenSigmoid()], 1)
    model.compile(loss=loss)
    z = logits_of(model, photos())[:, 0]
    found = explain(model, photos(), gradient, target=[1, 0, 1])
    assert found.of == "log_probability"
    np.testing.assert_allclose(found.scores, np.log(sigmoid(z * [1, -1, 1])), atol=1e-5)


def test_one_linear_unit_is_binary_if_the_labels_are(classifier, photos):
    model = classifier("linear", 1)
    z = logits_of(model, photos())[:, 0]
    np.testing.assert_allclose(
        scores_of(model, photos(), "label", labels=[0, 1, 0]), z * [-1, 1, -1], rtol=1e-5
    )


@pytest.mark.parametrize("fused", [True, False])
def test_several_labels_an_image(classifier, photos, fused):
    model = classifier("sigmoid" if fused else "linear", 4)
    if not fused:
        model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    z = logits_of(model, photos())
    present = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1]])
    found = scores_of(model, photos(), "label", labels=present)
    np.testing.assert_allclose(found, (z * present).sum(axis=1), atol=1e-5)
    np.testing.assert_allclose(
        scores_of(model, photos(), 2, "probability"), sigmoid(z)[:, 2], rtol=1e-5
    )
    np.testing.assert_allclose(
        scores_of(model, photos(), 2, "log_probability"), np.log(sigmoid(z)[:, 2]), atol=1e-5
    )


@pytest.mark.parametrize("loss", ["mse", "mean_absolute_error", keras.losses.Huber()])
def test_a_regression_explains_its_values(classifier, photos, loss):
    model = classifier("linear", 1)
    model.compile(loss=loss)
    outputs = forward(model, photos())
    found = explain(model, Probes(photos(), [0.5, 1.5, 2.0]), gradient, target="label")
    assert found.of == "value"
    assert found.targets.tolist() == [-1, -1, -1]
    np.testing.assert_allclose(found.scores, outputs[:, 0], rtol=1e-5)


def test_a_regression_of_several_values(classifier, photos):
    model = classifier("linear", 3)
    model.compile(loss="mse")
    outputs = forward(model, photos())
    np.testing.assert_allclose(scores_of(model, photos(), 2), outputs[:, 2], rtol=1e-5)
    np.testing.assert_allclose(
        scores_of(model, photos(), "predicted"), outputs.mean(axis=1), atol=1e-6
    )


# What does not fit.


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (4, r"from 0 to 3, for a model whose output has shape \(4,\)\. Received: 4"),
        ([0, -1, 2], r"target must be class indices from 0 to 3.*Received: -1"),
        ([0, 1], r"one class index per image, 3 in all.*Received: target of length 2"),
        (np.ones(5), r"shape of the output, \(4,\).*\(3, 4\)\. Received: target\.shape=\(5,\)"),
        (lambda outputs, labels: outputs, r"one score per image, shape \(3,\).*shape \(3, 4\)"),
    ],
)
def test_targets_that_do_not_fit_the_model(model, photos, target, message):
    with pytest.raises(ValueError, match=message):
        explain(model, photos(), gradient, target=target)


def test_indices_of_the_length_of_the_output_are_told_from_weights(model, photos):
    with pytest.raises(ValueError, match=r"length 4.*weights of outputs, give them as floats"):
        explain(model, photos(), gradient, target=[0, 0, 1, 0])


def test_labels_that_do_not_fit_the_model(model, photos):
    with pytest.raises(ValueError, match=r"labels must be class indices from 0 to 3.*Received: 5"):
        scores_of(model, photos(), "label", labels=[0, 5, 1])
    with pytest.raises(ValueError, match=r"each of the model's 4 outputs.*labels\.shape=\(3, 2\)"):
        scores_of(model, photos(), "label", labels=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"'contrast' needs one class.*labels\.shape=\(3, 4\)"):
        scores_of(model, photos(), "contrast", labels=np.ones((3, 4)))


def test_several_labels_do_not_fit_one_unit(classifier, photos):
    with pytest.raises(ValueError, match=r"labels\.shape=\(3, 2\)"):
        scores_of(classifier("sigmoid", 1), photos(), "label", labels=np.ones((3, 2)))


def test_a_label_needs_labels(model, photos):
    with pytest.raises(ValueError, match=r"needs labels.*ks\.Probes\(images, labels\)"):
        explain(model, photos(), gradient, target="label")


def test_a_regression_has_no_probability_and_no_contrast(classifier, photos):
    model = classifier("linear", 3)
    model.compile(loss="mse")
    with pytest.raises(ValueError, match=r"of='probability' needs a model that gives prob"):
        explain(model, photos(), gradient, target=1, of="probability")
    with pytest.raises(ValueError, match=r"'contrast' compares classes.*regression"):
        explain(model, photos(), gradient, target="contrast")


def test_unknown_words_and_kinds():
    with pytest.raises(ValueError, match=r"label, predicted, contrast.*target='labels'"):
        Target("labels")
    with pytest.raises(ValueError, match=r"of must be one of 'logits'.*Received: of='logit'"):
        Target("label", of="logit")
    for wrong in (True, None, {"a": 1}, 1j):
        with pytest.raises(TypeError, match="target must be one of the names"):
            Target(wrong)


def test_a_target_is_taken_as_it_is_and_brings_its_own_of():
    target = Target(1, of="probability")
    assert Target.of_any(target) is target
    assert Target.of_any("label", "log_probability") == Target("label", "log_probability")
