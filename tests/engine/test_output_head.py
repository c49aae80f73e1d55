"""What a model's outputs are: stated, found by loss, labels and shape, or assumed aloud."""

import logging

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import keras_saliency as ks
from keras_saliency.attribution.explainer import Explainer
from keras_saliency.data.probes import Probes
from keras_saliency.engine.predictions import read_predictions
from keras_saliency.shortcuts.experiment import Shortcuts

from helpers.backends import derivatives

SEVERAL = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 1]])
VALUES = np.array([[0.3, 0.4], [0.5, 0.55], [0.62, 0.4]])


def focal(y_true, y_pred):
    p = ops.sigmoid(y_pred)
    return -ops.mean(y_true * (1 - p) ** 2 * ops.log(p + 1e-7), axis=-1)


def triplet_loss(y_true, y_pred):
    return ops.mean(y_pred, axis=-1)


class Asymmetric(keras.losses.Loss):
    """Named as in the paper on several labels."""

    def call(self, y_true, y_pred):
        return focal(y_true, y_pred)


def forward(model, images):
    return ops.convert_to_numpy(model(images, training=False))


def red(model, images):
    """The gradient at the red channel: a method of our own."""
    return model.input_gradients(images)[..., 0]


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


def head_of(model, images, labels=None, head=None):
    """Resolve the head as the callback does."""
    probes = Probes(images, labels)
    target = ks.Target("label" if labels is not None else "predicted", head=head)
    return Explainer(model, probes, ["saliency"], target, None, 8).head


def lines(model, images, labels, folder, caplog, target="label", y=None):
    """Train for an epoch, and return the lines that say what is assumed."""
    watch = ks.SaliencyCallback(
        Probes(images, labels), folder, ["saliency"], target=target, strict=True
    )
    caplog.clear()
    with caplog.at_level(logging.INFO, "keras_saliency"):
        model.fit(images, labels if y is None else y, epochs=2, verbose=0, callbacks=[watch])
    return [line for line in caplog.messages if "assumes" in line]


# What tells the kind of a head.


@pytest.mark.parametrize(
    ("activation", "loss", "labels", "kind", "is_guess"),
    [
        (None, focal, SEVERAL, "sigmoid", False),
        (None, None, SEVERAL * 0.9 + 0.05, "sigmoid", False),
        (None, Asymmetric(), None, "sigmoid", False),
        (None, triplet_loss, [0, 1, 1], "values", False),
        (None, focal, [7, 900, 41], "values", False),
        (None, focal, np.full((3, 4), [0.3, 4, -1, 0.5]), "values", False),
        (None, focal, [0, 1, 3], "softmax", True),
        (None, None, None, "softmax", True),
        (None, "sparse_categorical_crossentropy", [0, 1, 3], "softmax", False),
        (None, "mse", [0, 1, 3], "values", False),
        ("sigmoid", focal, None, "sigmoid", False),
        ("sigmoid", focal, np.full((3, 4), 0.4), "values", True),
        ("sigmoid", "mse", np.full((3, 4), 0.4), "values", False),
        ("sigmoid", "mse", None, "values", False),
        ("sigmoid", "mse", SEVERAL, "sigmoid", True),
        ("sigmoid", "binary_crossentropy", SEVERAL, "sigmoid", False),
        ("softmax", "mse", [0, 1, 3], "softmax", False),
    ],
)
def test_what_decides(classifier, photos, activation, loss, labels, kind, is_guess):
    model = classifier(activation, 4)
    if loss is not None:
        model.compile(loss=loss)
    head = head_of(model, photos(), labels)
    assert (head.kind, head.is_guess) == (kind, is_guess)


@pytest.mark.parametrize(
    ("activation", "loss", "labels", "kind", "is_guess"),
    [
        ("sigmoid", "mse", [0.2, 0.7, 0.5], "values", False),
        ("sigmoid", "mse", [0, 1, 1], "sigmoid", True),
        ("sigmoid", focal, [0.2, 0.7, 0.5], "values", True),
        (None, focal, [0, 1, 1], "sigmoid", True),
        (None, focal, None, "values", True),
        (None, "binary_crossentropy", None, "sigmoid", False),
    ],
)
def test_what_decides_of_one_unit(classifier, photos, activation, loss, labels, kind, is_guess):
    model = classifier(activation, 1)
    model.compile(loss=loss)
    head = head_of(model, photos(), labels)
    assert (head.kind, head.is_guess) == (kind, is_guess)


def test_vectors_of_unit_length_are_no_classes(classifier, photos):
    trunk = classifier("linear", 5)
    model = keras.Model(trunk.input, kl.UnitNormalization()(trunk.output))
    head = head_of(model, photos())
    assert (head.kind, head.is_guess) == ("values", True)
    found = ks.explain(model, photos(), red)
    np.testing.assert_allclose(found.scores, forward(model, photos()).mean(axis=1), atol=1e-6)


# Right values: several labels, embeddings, pixels, bounded values.


def test_several_labels_with_a_loss_of_ones_own(classifier, photos):
    model, images = classifier("linear", 4), photos()
    model.compile(loss=focal)
    z = forward(model, images)
    head = head_of(model, images, SEVERAL)
    said = read_predictions(head, z, z.argmax(axis=1), SEVERAL.astype("float32"), None)
    np.testing.assert_allclose(said.confidence, sigmoid(z).max(axis=1), rtol=1e-5)
    wanted = [sigmoid(z)[i, row > 0].mean() for i, row in enumerate(SEVERAL)]
    np.testing.assert_allclose(said.probability, wanted, rtol=1e-5)
    probes, target = Probes(images, SEVERAL), ks.Target(2, of="probability")
    chance = ks.explain(model, probes, red, target=target)
    np.testing.assert_allclose(chance.scores, sigmoid(z)[:, 2], rtol=1e-5)


@pytest.mark.parametrize("units", [3, 1])
def test_what_is_stated_holds(classifier, photos, units):
    """The same linear outputs, read in each way, and their gradients by hand."""
    model, images = classifier("linear", units), photos()
    z = forward(model, images)
    (slopes,) = derivatives(lambda x: ops.sum(model(x)[:, 0]), images)
    slopes = ops.convert_to_numpy(slopes)[..., 0]
    exps = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    wanted = {"softmax": exps, "sigmoid": sigmoid(z)} if units > 1 else {"sigmoid": sigmoid(-z)}
    for kind, probability in wanted.items():
        target = ks.Target(0, of="probability", head=kind)
        found = ks.explain(model, images, red, target=target)
        np.testing.assert_allclose(found.scores, probability[:, 0], rtol=1e-5)
    values = ks.explain(model, images, red, target=ks.Target(0, head="values"))
    assert values.of == "value"
    np.testing.assert_allclose(values.scores, z[:, 0], rtol=1e-5)
    np.testing.assert_allclose(values.maps, slopes, atol=1e-6)


class HiddenSigmoid(kl.Layer):
    def call(self, inputs):
        return ops.sigmoid(inputs)


def test_stated_sigmoids_are_read_as_probabilities_where_they_are_some(classifier, photos):
    trunk = classifier("linear", 3)
    hidden = keras.Model(trunk.input, HiddenSigmoid()(trunk.output))
    operation = keras.Model(trunk.input, ops.sigmoid(trunk.output))
    z = forward(trunk, photos())
    target = ks.Target(1, head="sigmoid")
    found = ks.explain(hidden, photos(), red, target=target)
    assert found.of == "log_probability"
    np.testing.assert_allclose(found.scores, np.log(sigmoid(z[:, 1])), atol=1e-5)
    found = ks.explain(operation, photos(), red, target=target)
    assert found.of == "logits"
    np.testing.assert_allclose(found.scores, z[:, 1], atol=1e-5)


def test_what_is_stated_does_not_contradict_the_last_layer(classifier, photos):
    for activation, stated in (("sigmoid", "softmax"), ("softmax", "sigmoid")):
        with pytest.raises(ValueError, match=f"head='{stated}' contradicts.* a {activation}"):
            head_of(classifier(activation, 3), photos(), head=stated)
    with pytest.raises(ValueError, match=r"head='softmax' contradicts.* one unit"):
        head_of(classifier("linear", 1), photos(), head="softmax")
    assert head_of(classifier("softmax", 3), photos(), head="values").kind == "values"
    with pytest.raises(ValueError, match="head must be one of 'softmax', 'sigmoid', 'values'"):
        ks.Target(head="multilabel")


def test_a_bounded_regression_takes_its_labels_and_explains_its_values(
    classifier, photos, tmp_path, caplog
):
    model, images = classifier("sigmoid", 1), photos()
    model.compile(loss="mse")
    outputs = forward(model, images)
    found = ks.explain(model, Probes(images, [0.2, 0.7, 0.5]), red, target="label")
    assert found.of == "value"
    np.testing.assert_allclose(found.scores, outputs[:, 0], rtol=1e-5)
    assert not lines(model, images, np.array([0.2, 0.7, 0.5]), tmp_path, caplog)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("flat", [False, True])
def test_an_autoencoder_gives_pixels_and_no_classes(photos, channels, flat, tmp_path, caplog):
    size = (6, 8, channels)
    images, inputs = photos(3, size), keras.Input(size)
    code = kl.Dense(5, "relu")(kl.Flatten()(inputs))
    pixels = kl.Dense(int(np.prod(size)), "sigmoid")(code)
    model = keras.Model(inputs, pixels if flat else kl.Reshape(size)(pixels))
    model.compile("sgd", "binary_crossentropy")
    outputs = forward(model, images)
    found = ks.explain(model, images, red)
    assert found.of == "value"
    np.testing.assert_allclose(found.scores, outputs.reshape(3, -1).mean(axis=1), rtol=1e-5)
    said = lines(model, images, None, tmp_path, caplog, y=images.reshape(3, -1) if flat else images)
    assert len(said) == 1
    assert "values and no classes" in said[0]
    assert "head='softmax' or 'sigmoid'" in said[0]
    if not flat:
        unknown = np.full(3, -1)
        (text, *_) = read_predictions(head_of(model, images), outputs, unknown, None, None).texts
        means = outputs[0].reshape(-1, channels).mean(axis=0)
        assert text == "mean " + " ".join(f"{mean:.3g}" for mean in means)


def test_an_output_like_the_images_is_of_classes_where_that_is_stated(photos):
    model = keras.Sequential([keras.Input((6, 8, 1)), kl.Conv2D(1, 3, padding="same")])
    images = photos(3, (6, 8, 1))
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 1))
    model.set_weights([kernel - kernel.mean(), np.zeros(1)])  # logits of both signs
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    assert head_of(model, images).kind == "values"
    assert head_of(model, images, head="sigmoid").logits == "outputs"
    logits = forward(model, images)[..., 0]
    asked = [
        (1, logits.mean(axis=(1, 2))),
        (ks.Target(1, of="probability"), sigmoid(logits).mean(axis=(1, 2))),
        (ks.Target(1, region="predicted"), [z[z > 0].mean() for z in logits]),
    ]
    for target, wanted in asked:
        found = ks.explain(model, images, red, target=target)
        np.testing.assert_allclose(found.scores, wanted, rtol=1e-4)
    model.compile(loss=keras.losses.Dice())
    assert head_of(model, images).kind == "sigmoid"


# What is assumed is said once, and only where it is assumed.


@pytest.mark.parametrize("target", ["label", ks.Target(head="softmax")])
def test_an_assumption_is_printed_once_before_the_first_batch(
    classifier, photos, tmp_path, caplog, target
):
    model = classifier("linear", 3)
    model.compile("sgd", lambda y, z: ops.sum(z**2, axis=-1))
    said = lines(model, photos(), np.array([0, 1, 2]), tmp_path, caplog, target)
    assert len(said) == (target == "label")
    for line in said:
        assert "logits of classes that exclude each other" in line
        assert "ks.Target(head='sigmoid' or 'values')" in line


# Shortcuts of logits that only a statement tells apart.


def test_shortcuts_of_several_labels_take_logits_that_are_stated(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (320, 8, 9, 3), np.uint8)
    rows = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 80)
    images[..., 0] = np.where(rows[:, :1, None] > 0, 220, 30)
    model = keras.Sequential([keras.Input((8, 9, 3)), kl.Flatten(), kl.Dense(2)])
    model.compile("sgd", lambda y, z: ops.mean(ops.abs(z), axis=-1))
    shortcuts = Shortcuts((images, rows), masks=None, nuisances=["cast", "mark"])

    def watch(**options):
        return ks.SaliencyCallback(
            images[1:3], tmp_path, ["saliency"], shortcuts=shortcuts, strict=True, **options
        )

    with pytest.raises(ValueError, match=r"state it: target=ks\.Target\(head='sigmoid'\)"):
        model.fit(images, rows, verbose=0, callbacks=[watch()])
    stated = watch(target=ks.Target("predicted", head="sigmoid"))
    model.fit(images, rows, epochs=1, verbose=0, callbacks=[stated])
    sheet = stated.verdict.sheets["cast"]
    receivers = shortcuts.receivers
    order = np.argsort(receivers.labels, kind="stable")
    shown = order[np.linspace(0, len(order) - 1, len(sheet.labels)).astype(int)]
    inputs = shortcuts.to_input(receivers.pixels[shown])
    wanted = sigmoid(forward(model, inputs).astype("float64"))
    wanted = wanted[np.arange(len(shown)), receivers.labels[shown]]
    np.testing.assert_allclose(sheet.watched[:, 0], wanted, rtol=1e-4)


# Outputs without an axis of units.


def without_units(model, how):
    output = {
        "item": lambda x: x[..., 0],
        "squeeze": lambda x: ops.squeeze(x, -1),
        "reshape": lambda x: kl.Reshape(x.shape[1:-1])(x),
    }[how](model.outputs[0])
    return keras.Model(model.inputs[0], output)


BINARY = "binary_crossentropy"
RANK_1 = [("item", a, loss) for a in ("sigmoid", "linear") for loss in (BINARY, "mse", None)]


@pytest.mark.parametrize(
    ("how", "activation", "loss"),
    [*RANK_1, *((h, "sigmoid", BINARY) for h in ("squeeze", "reshape"))],
)
def test_an_output_of_rank_1_is_that_of_one_unit(classifier, photos, how, activation, loss):
    if loss == BINARY and activation == "linear":
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    one, images, labels = classifier(activation, 1), photos(), [1, 0, 1]
    bare = without_units(one, how)
    for model in (one, bare):
        model.compile(loss=loss)
    assert bare.output.shape == (None,)
    pairs = [("label", red), ("label", "grad_cam"), ("predicted", red), (0, red)]
    pairs.append((np.array([2.0]), red))
    if loss != "mse":
        pairs += [("label", "cam"), (ks.Target("label", of="probability"), red)]
    for target, method in pairs if (loss, activation) != ("mse", "sigmoid") else ():
        wanted = ks.explain(one, Probes(images, labels), method, target=target)
        found = ks.explain(bare, Probes(images, labels), method, target=target)
        np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-6)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
        assert found.targets.tolist() == wanted.targets.tolist()
        assert (found.of, found.layer) == (wanted.of, wanted.layer)
        np.testing.assert_allclose(found.outputs, wanted.outputs[:, 0], rtol=1e-5)
    said, meant = (
        read_predictions(
            head_of(net, images, labels),
            forward(net, images),
            ks.explain(net, Probes(images, labels), red, target="predicted").targets,
            np.array(labels),
            None,
        )
        for net in (bare, one)
    )
    assert said.texts == meant.texts
    np.testing.assert_allclose(said.probability, meant.probability, rtol=1e-5)


class Squeezing(keras.Model):
    """Takes the axis away where no layer sees it."""

    def __init__(self):
        super().__init__()
        self.low, self.pool = kl.Conv2D(3, 3, activation="gelu"), kl.GlobalAveragePooling2D()
        self.unit = kl.Dense(1, "sigmoid")

    def call(self, images):
        return self.unit(self.pool(self.low(images)))[:, 0]


def test_a_subclassed_model_of_rank_1_trains_with_the_callback(photos, tmp_path):
    model, images, labels = Squeezing(), photos(8), np.arange(8) % 2
    model.compile("sgd", "binary_crossentropy")
    watch = ks.SaliencyCallback((images, labels), tmp_path, ["saliency", "grad_cam"], strict=True)
    model.fit(images, labels, epochs=1, verbose=0, callbacks=[watch])
    p = forward(model, images)
    own = np.where(labels == 1, p, 1 - p)
    np.testing.assert_allclose(watch.session.newest.probability, own, rtol=1e-5)
    found = ks.explain(model, images, red, target=labels)
    np.testing.assert_allclose(found.scores, np.log(own), atol=1e-5)


@pytest.mark.parametrize("loss", [None, keras.losses.BinaryCrossentropy(from_logits=True)])
def test_a_mask_without_an_axis_of_units_is_that_of_one_unit(photos, loss):
    low = kl.Conv2D(4, 3, padding="same", activation="softplus", name="low")
    one = keras.Sequential([keras.Input((6, 9, 3)), low, kl.Conv2D(1, 1)])
    images, labels = photos(3, (6, 9, 3)), [1, 0, 1]
    bare = without_units(one, "item")
    for model in (one, bare):
        model.compile(loss=loss)
    weights = np.random.default_rng(0).random((6, 9))
    for target in ("label", ks.Target("label", region="predicted"), weights[..., None]):
        wanted = ks.explain(one, Probes(images, labels), "grad_cam", target=target)
        found = ks.explain(bare, Probes(images, labels), "grad_cam", target=target)
        np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-6)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
        assert (found.layer, found.targets.tolist()) == ("low", wanted.targets.tolist())
    given = ks.explain(bare, images, red, target=weights)
    z = forward(bare, images)
    np.testing.assert_allclose(given.scores, (z * weights).sum(axis=(1, 2)), rtol=1e-4)
