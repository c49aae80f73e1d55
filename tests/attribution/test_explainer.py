"""explain(): kinds of models, batches, that nothing is left behind, and what it refuses."""

import functools
import importlib
import random
import re

import keras
import numpy as np
import pytest
from keras import layers as kl

from keras_saliency import Probes, SaliencyCallback, Target, explain, methods
from keras_saliency.attribution.explainer import Explainer

from helpers.backends import next_random_numbers

SIZE = (9, 12, 3)
BY_GRADIENTS = (
    *("saliency", "gradient_x_input", "cam", "grad_cam", "hires_cam", "layer_cam"),
    *("xgrad_cam", "grad_cam_plus_plus"),
)


def forward(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def mean_activation(model, images):
    return keras.ops.mean(model.activations(images), axis=-1)


def wrapped(method):
    return lambda model, images: method(model, images)


def failing(model, images):
    model.input_gradients(images)
    raise RuntimeError("on purpose")


# Batches.


@pytest.mark.parametrize("method", ["saliency", "grad_cam", "hires_cam"])
def test_many_images_are_explained_as_one_by_one(classifier, photos, method):
    """33 images in batches of at most 8; what is predicted differs between them."""
    model = classifier(pooled=False)
    images = photos(33) * np.linspace(0, 1, 33, dtype="float32")[:, None, None, None]
    together = explain(model, images, method, batch_size=8)
    alone = [explain(model, image[None], method) for image in images[[0, 7, 8, 32]]]
    for index, single in zip((0, 7, 8, 32), alone, strict=True):
        peak = max(np.abs(single.maps).max(), 1e-6)
        np.testing.assert_allclose(together.maps[index], single.maps[0], atol=1e-6 * peak + 1e-7)
        np.testing.assert_allclose(together.scores[index], single.scores[0], rtol=1e-5)
        np.testing.assert_allclose(together.outputs[index], single.outputs[0], atol=1e-6)
        assert together.targets[index] == single.targets[0]
    assert together.maps.shape[0] == together.scores.shape[0] == 33


def test_no_batch_is_larger_than_asked_for(classifier, photos):
    sizes = []

    def noting(model, images):
        sizes.append(images.shape[0])
        return model.input_gradients(images)[..., 0]

    explain(classifier(), photos(11), noting, batch_size=4)
    assert max(sizes) == 4


def test_a_map_ignores_its_company(classifier, photos):
    """A neighbour with gradients a thousand times as large changes nothing."""
    model, images = classifier("linear", pooled=False), photos(2)
    weights = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    calm = explain(model, images, "saliency", target=weights).maps
    loud = explain(model, images, "saliency", target=weights * [[1], [1000]]).maps
    np.testing.assert_allclose(loud[0], calm[0], rtol=1e-6)
    np.testing.assert_allclose(loud[1], 1000 * calm[1], rtol=1e-5)


# Kinds of models, with the same weights.


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.low = kl.Conv2D(5, 3, activation="softplus")
        self.rest = Rest()

    def call(self, inputs):
        return self.rest(self.low(inputs))


class Rest(kl.Layer):
    def __init__(self):
        super().__init__()
        self.top = kl.Conv2D(6, 3, strides=2, activation="gelu", name="top")
        self.head = kl.Dense(4, activation="softmax")

    def call(self, inputs):
        return self.head(keras.ops.mean(self.top(inputs), axis=(1, 2)))


def sequential(functional):
    return keras.Sequential([keras.Input(SIZE), *functional.layers[1:]])


def sequential_around(functional):
    backbone = keras.Model(functional.input, functional.get_layer("top").output)
    return keras.Sequential([keras.Input(SIZE), backbone, *functional.layers[-2:]])


def subclassed(functional):
    model = Subclassed()
    model(np.zeros((1, *SIZE), "float32"))
    model.set_weights(functional.get_weights())
    return model


def eager(functional):
    functional.compile(loss="sparse_categorical_crossentropy", run_eagerly=True)
    return functional


def of_a_dictionary(functional):
    return keras.Model(functional.input, {"only": functional.output})


KINDS = [sequential, sequential_around, subclassed, eager, of_a_dictionary]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_gives_the_same_maps(classifier, photos, kind):
    images = photos(3)
    model = kind(classifier())
    for method in ("saliency", "layer_cam"):
        wanted = explain(classifier(), images, method, target=[0, 2, 3])
        found = explain(model, images, method, target=[0, 2, 3])
        np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-6 * wanted.maps.max())
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
        np.testing.assert_allclose(found.outputs, wanted.outputs, rtol=1e-5)


def test_a_model_that_was_never_called_is_built(photos):
    model = Subclassed()
    found = explain(model, photos(2), "grad_cam", target=1)
    assert found.layer == f"{model.rest.name}/top"
    assert model.built
    np.testing.assert_allclose(found.outputs, forward(model, photos(2)), rtol=1e-5)


@pytest.mark.parametrize("method", [m for m in BY_GRADIENTS if m != "cam"])
@pytest.mark.parametrize("strength", [1e-3, 1.0, 300.0])
def test_mixed_precision_gives_the_maps_of_float32(classifier, photos, method, strength):
    """Gradients would underflow or overflow float16 if the score were not scaled."""
    images, size = photos(2, (41, 47, 3)), (41, 47, 3)
    found, wanted = (
        explain(model, images, method, target=target, layer="low")
        for model in (
            scaled(classifier(size=size, dtype="mixed_float16"), strength),
            scaled(classifier(size=size), strength),
        )
        for target in ([1, 2],)
    )
    assert np.isfinite(found.maps).all()
    np.testing.assert_allclose(found.maps, wanted.maps, atol=0.05 * wanted.maps.max())


def scaled(model, strength):
    """Make the head's weights, and so all gradients of logits, larger or smaller."""
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([np.abs(kernel) * strength, bias])
    return model


def test_cam_of_mixed_precision_with_a_head_in_float32(photos):
    layers = [
        kl.Conv2D(4, 3, activation="relu", name="top", dtype="mixed_float16"),
        kl.GlobalAveragePooling2D(dtype="mixed_float16"),
        kl.Dense(3, activation="softmax", dtype="float32"),
    ]
    model = keras.Sequential([keras.Input(SIZE), *layers])
    found = explain(model, photos(2), "cam", target=2)
    features = forward(layers[0], photos(2)).astype("float32")
    wanted = features @ layers[2].get_weights()[0][:, 2]
    np.testing.assert_allclose(found.maps, wanted, atol=2e-3 * np.abs(wanted).max())


# Nothing is left behind.


class Restless(kl.Layer):
    """Draws and counts whenever it is called, at inference too."""

    def __init__(self):
        super().__init__()
        self.noise = keras.random.SeedGenerator(3)
        self.calls = 0

    def build(self, shape):
        self.counter = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls += 1
        self.counter.assign_add(1.0)
        random.random(), np.random.random()  # as augmentation written in Python does
        drawn = keras.random.normal(keras.ops.shape(inputs), seed=self.noise)
        self.add_loss(keras.ops.mean(drawn))
        return inputs + 0.1 * drawn


def restless_model():
    keras.utils.set_random_seed(0)
    layers = [
        kl.Conv2D(4, 3, name="conv"),
        kl.BatchNormalization(),
        kl.ReLU(name="relu"),
        Restless(),
        kl.Dropout(0.4),
        kl.GlobalAveragePooling2D(),
        kl.Dense(3, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input(SIZE), *layers])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(v.value).copy() for v in variables]


def explain_everything(model, images):
    for method in ("saliency", "grad_cam"):
        explain(model, images, method, target=0)
    with pytest.raises(RuntimeError, match="on purpose"):
        explain(model, images, failing, target=0)
    with pytest.raises(ValueError, match="not in the model"):
        explain(model, images, "grad_cam", layer="nowhere")


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_training_goes_on_as_if_nothing_had_been_explained(photos, run_eagerly):
    """Weights, statistics, optimizer, seeds and counters are the same bit for bit."""
    ended = []
    for explained in (False, True):
        model = restless_model()
        model.run_eagerly = run_eagerly
        images = photos(6)
        for step in range(4):
            model.train_on_batch(images, np.arange(6) % 3)
            if explained and step in (1, 3):
                before, calls = state(model), model.layers[3].calls
                explain_everything(model, images)
                after = state(model)
                assert all(np.array_equal(b, a) for b, a in zip(before, after, strict=True))
                assert model.layers[3].calls == calls
        ended.append(state(model))
    assert all(np.array_equal(a, b) for a, b in zip(*ended, strict=True))


@pytest.mark.needs(backend="tensorflow", why="py_function is TensorFlow's")
def test_what_a_compiled_layer_does_in_python_is_undone_at_every_look(photos):
    import tensorflow as tf

    ran = []

    class Counting(kl.Layer):
        def __init__(self):
            super().__init__()
            self.count, self.seen = 0, {"names": []}

        def call(self, inputs):
            def note(values):
                ran.append(np.random.random())
                self.count += 1
                self.seen["names"].append("one")
                return values

            noted = tf.py_function(note, [inputs], inputs.dtype)
            return tf.ensure_shape(noted, inputs.shape)

    model = keras.Sequential([keras.Input((5, 7, 1)), Counting(), kl.Flatten(), kl.Dense(2)])
    watch = explainer(model, photos(3, (5, 7, 1)), ["saliency"], target=1)
    layer = model.layers[0]
    layer.count, layer.seen["names"] = 7, ["before"]
    ran.clear()
    np.random.seed(3)
    for _ in range(3):
        watch.evaluate()
    assert len(ran) == 3
    assert len(set(ran)) == 1  # the stream is where it was
    assert (layer.count, layer.seen) == (7, {"names": ["before"]})


def test_random_streams_go_on_as_if_nothing_had_been_explained(photos):
    def draw(explained):
        model = restless_model()
        if explained:
            explain_everything(model, photos(2))
        return next_random_numbers()

    assert draw(True) == draw(False)


def test_what_is_not_our_doing_stays_readable(photos):
    """The losses that the last training step collected are still there."""
    model = restless_model()
    model(photos(1), training=True)
    before = [float(loss) for loss in model.losses]
    explain(model, photos(1), "grad_cam")
    assert [float(loss) for loss in model.losses] == before


# Looking again.


def explainer(model, images, chosen, target=0, layer=None):
    return Explainer(model, Probes(images), chosen, Target(target), layer, 32)


def test_a_method_may_write_into_its_array_again(classifier, photos):
    maps = np.zeros((3, 2, 2), "float32")

    def counting(model, images):
        maps[:] += 1
        return maps

    watch = explainer(classifier(), photos(3), [counting])
    maps[:] = 0
    first, second = watch.evaluate(), watch.evaluate()
    assert (first.maps["counting"] == 1).all()
    assert (second.maps["counting"] == 2).all()


def test_all_that_a_look_finds_comes_from_the_device_in_one_copy(classifier, photos, monkeypatch):
    watch = explainer(classifier(), photos(3), ["saliency", "grad_cam", "layer_cam"])
    watch.evaluate()
    copied = []
    convert = keras.ops.convert_to_numpy

    def noting(tensor):
        copied.append(keras.ops.is_tensor(tensor))
        return convert(tensor)

    monkeypatch.setattr(keras.ops, "convert_to_numpy", noting)
    look = watch.evaluate()
    assert sum(copied) == 1
    assert set(look.maps) == {"saliency", "grad_cam", "layer_cam"}


@pytest.mark.needs(backend="tensorflow or jax", why="torch traces nothing")
def test_the_second_look_traces_nothing_and_sees_the_new_weights(photos):
    traces = []

    class Noting(kl.Layer):
        def call(self, inputs):
            traces.append(1)
            return 1.0 * inputs

    model = keras.Sequential(
        [keras.Input((5, 7, 1)), Noting(), kl.Flatten(), kl.Dense(2, use_bias=False)]
    )
    watch = explainer(model, photos(5, (5, 7, 1)), ["saliency", "gradient_x_input"], target=1)
    counts = []
    for seed in range(4):
        weights = np.random.default_rng(seed).normal(size=(35, 2)).astype("float32")
        model.layers[-1].kernel.assign(weights)
        found = watch.evaluate().maps["saliency"]
        counts.append(len(traces))
        wanted = np.abs(weights[:, 1]).reshape(5, 7)
        np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), rtol=1e-5)
    assert counts == [counts[0]] * 4


def test_many_methods_at_once_give_what_each_gives_alone(classifier, photos):
    model, images = classifier(), photos(3)
    look = explainer(model, images, BY_GRADIENTS, target=2).evaluate()
    assert not look.errors
    for name in BY_GRADIENTS:
        alone = explain(model, images, name, target=2).maps
        np.testing.assert_allclose(look.maps[name], alone, atol=1e-6 * max(1, alone.max()))


def test_a_method_of_ones_own_runs_at_every_look_beside_those_in_the_pass(classifier, photos):
    """Built-in methods become a part of the compiled pass, whose Python code runs but once."""
    ran = []

    def own(model, images):
        ran.append(1)
        return len(ran) * keras.ops.max(keras.ops.abs(model.input_gradients(images)), axis=-1)

    model, images = classifier(), photos(5)
    watch = explainer(model, images, ["grad_cam", own, "saliency", "eigen_cam"], target=1)
    rehearsed = len(ran)
    for turn in (1, 2):
        maps = watch.evaluate().maps
        assert list(maps) == ["grad_cam", "own", "saliency", "eigen_cam"]
        np.testing.assert_allclose(maps["own"], (rehearsed + turn) * maps["saliency"], rtol=1e-5)
    for name in ("grad_cam", "eigen_cam"):
        alone = explain(model, images, wrapped(methods.get(name)), target=1)
        np.testing.assert_allclose(maps[name], alone.maps, atol=1e-6 * np.abs(alone.maps).max())


def test_a_method_that_fails_leaves_the_others_alone(classifier, photos):
    calls = []

    def fails_later(model, images):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("on purpose")
        return model.input_gradients(images)[..., 0]

    look = explainer(classifier(), photos(3), ["saliency", fails_later]).evaluate()
    assert list(look.maps) == ["saliency"]
    assert str(look.errors["fails_later"]) == "on purpose"


def test_layer_is_named_only_if_it_is_asked_for(classifier, photos):
    assert explain(classifier(), photos(1), "saliency").layer is None
    assert explain(classifier(), photos(1), "grad_cam").layer == "top"
    assert explain(classifier(), photos(1), "grad_cam", layer="low").layer == "low"


def test_own_methods_go_by_their_names(classifier, photos):
    model, images = classifier(), photos(2)
    norm = functools.partial(methods.get("saliency"), channels="l2")
    found = explain(model, images, norm, target=1)
    assert found.method == "saliency"
    assert (found.maps >= explain(model, images, "saliency", target=1).maps).all()
    found = explain(model, images, mean_activation, layer="low")
    assert found.method == "mean_activation"
    low = forward(keras.Model(model.input, model.get_layer("low").output), images)
    np.testing.assert_allclose(found.maps, low.mean(axis=-1), rtol=1e-5)


# What does not fit.


def test_images_of_another_size(classifier, photos):
    with pytest.raises(
        ValueError, match=r"\(None, 9, 12, 3\)\. Received: images\.shape=\(2, 12, 9, 3\)\. Resize"
    ):
        explain(classifier(), photos(2, (12, 9, 3)))
    with pytest.raises(ValueError, match=r"Received: images\.shape=\(2, 9, 12, 1\)"):
        explain(classifier(), photos(2, (9, 12, 1)))


def test_unknown_method(classifier, photos):
    with pytest.raises(ValueError, match=r"Unknown method 'gradcam'\. Did you mean 'grad_cam'"):
        explain(classifier(), photos(1), "gradcam")
    with pytest.raises(TypeError, match="Received: None"):
        explain(classifier(), photos(1), None)


@pytest.mark.parametrize(
    ("wrong", "shape"),
    [
        (lambda model, images: model.input_gradients(images), r"\(3, 9, 12, 3\)"),
        (lambda model, images: model.input_gradients(images)[:2, ..., 0], r"\(2, 9, 12\)"),
        (lambda model, images: model.scores(images), r"\(3,\)"),
    ],
)
def test_a_method_that_returns_no_maps(classifier, photos, wrong, shape):
    with pytest.raises(ValueError, match=rf"one map per image, \(3, h, w\)\. Received: .*{shape}"):
        explain(classifier(), photos(3), wrong)


def test_cam_needs_its_head_layer_and_target(classifier, photos):
    with pytest.raises(ValueError, match=r"pooling and one dense layer.*'grad_cam' or 'hires_cam'"):
        explain(classifier(pooled=False), photos(1), "cam")
    with pytest.raises(ValueError, match=r"layer='top'\. Received: layer='low'"):
        explain(classifier(), photos(1), "cam", layer="low")
    for target in ({"target": np.ones(4)}, {"of": "probability"}):
        with pytest.raises(ValueError, match=r"'cam' explains the logit of one class"):
            explain(classifier(), photos(1), "cam", **target)


def test_what_is_explained_is_said_in_one_place(classifier, photos):
    model, images = classifier(), photos(2)
    chance = Target(1, of="probability")
    for of in ("logits", "log_probability"):
        with pytest.raises(ValueError, match=rf"of='{of}' beside Target\(.*of='probability'\)"):
            explain(model, images, "saliency", target=chance, of=of)
    found = [
        explain(model, images, "saliency", target=chance, of="probability"),
        explain(model, images, "saliency", target=1, of="probability"),
        explain(model, images, "saliency", target=chance),
    ]
    for one in found:
        np.testing.assert_allclose(one.scores, forward(model, images)[:, 1], rtol=1e-5)
    assert explain(model, images, "saliency", target=1).of == "logits"


# Combinations of method, model and target that can't work, and what does instead.


def model_with(*head, loss="sparse_categorical_crossentropy"):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input(SIZE), *head])
    model.compile("sgd", loss)
    return model


def conv():
    return kl.Conv2D(4, 3, padding="same", name="conv")


MODELS = {
    "pooled": lambda: model_with(
        conv(), kl.GlobalAveragePooling2D(), kl.Dense(3, activation="softmax")
    ),
    "flat": lambda: model_with(conv(), kl.Flatten(), kl.Dense(3, activation="softmax")),
    "without layers": lambda: model_with(kl.Flatten(), kl.Dense(3, activation="softmax")),
    "regression": lambda: model_with(conv(), kl.GlobalAveragePooling2D(), kl.Dense(1), loss="mse"),
    "segmentation": lambda: model_with(conv(), kl.Conv2D(3, 1, activation="softmax")),
}
CHANCE = Target("label", of="probability")
CAMS = ("eigen_cam", "eigen_grad_cam", "finer_cam", "grad_cam", "grad_cam_plus_plus", "hires_cam")
CAMS += ("ablation_cam", "layer_cam", "score_cam", "xgrad_cam")
# What is asked, and words of the answer: what was received, and what would do.
IMPOSSIBLE = {
    **{(m, "without layers", "label"): ("(324,)", "'saliency'") for m in ("cam", *CAMS)},
    ("cam", "flat", "label"): ("another head", "'grad_cam' or 'hires_cam'"),
    ("cam", "segmentation", "label"): ("another head", "'grad_cam' or 'hires_cam'"),
    ("cam", "regression", "label"): ("of='value'", "'hires_cam'"),
    ("cam", "pooled", "contrast"): ("one class", "'hires_cam'"),
    ("cam", "pooled", CHANCE): ("of='probability'", "'hires_cam'"),
    ("finer_cam", "regression", "label"): ("(1,)", "'grad_cam'"),
    ("finer_cam", "pooled", "contrast"): ("'contrast'", "'grad_cam'"),
    ("attention_rollout", "pooled", "label"): ("no such layer runs", "'grad_cam' or 'saliency'"),
    ("attention_rollout", "without layers", "label"): ("no such layer", "'saliency'"),
    ("saliency", "regression", "contrast"): ("(1,)", "'predicted'"),
    ("saliency", "regression", CHANCE): ("of='probability'", "Leave `of` out"),
    ("saliency", "regression", 1): ("1", "from 0 to 0"),
    ("saliency", "pooled", 3): ("3", "from 0 to 2"),
    ("saliency", "pooled", (0, 1, 2)): ("length 3", "2 in all"),
    ("saliency", "pooled", (0.5, 0.5)): ("(2,)", "(3,)"),
    ("saliency", "pooled", Target(1, region="predicted")): ("(3,)", "Leave `region` out"),
    ("saliency", "regression", Target(0, region="predicted")): ("(1,)", "Leave `region` out"),
    ("saliency", "segmentation", Target("predicted", region="predicted")): (
        "'predicted'",
        "a class index",
    ),
    ("saliency", "pooled", Target("label", output="species")): ("'species'", "place among them"),
}


@pytest.fixture(scope="module")
def models():
    return {name: build() for name, build in MODELS.items()}


def explain_once(model, images, method, target, folder):
    explain(model, Probes(images, [0, 0]), method, target=target)


def fit_watched(model, images, method, target, folder):
    watch = SaliencyCallback((images, [0, 0]), folder, [method], target=target)
    labels = np.zeros((2, *model.output_shape[1:-1]))
    model.fit(images, labels, verbose=0, callbacks=[watch])


@pytest.mark.parametrize("way", [explain_once, fit_watched])
@pytest.mark.parametrize("case", IMPOSSIBLE, ids=lambda case: "-".join(map(str, case)))
def test_what_can_not_work_is_said_with_what_does(models, photos, tmp_path, case, way):
    method, name, target = case
    target = np.array(target) if isinstance(target, tuple) else target
    model, (received, instead) = models[name], IMPOSSIBLE[case]
    before = model.get_weights()
    with pytest.raises(ValueError, match=re.escape(received)) as told:
        way(model, photos(2), method, target, tmp_path)
    assert instead in str(told.value)
    assert list(tmp_path.iterdir()) == []  # nothing was begun
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore:You are using a softmax")
def test_one_class_has_no_contrast(photos):
    model = model_with(conv(), kl.Flatten(), kl.Dense(1, activation="softmax"))
    with pytest.raises(ValueError, match=r"only one\. Received: .*\(1,\)\. Use 'predicted'"):
        explain(model, photos(1), "saliency", target="contrast")


def test_methods_that_are_none(photos):
    grad_cam = importlib.import_module("keras_saliency.methods.grad_cam")
    for wrong, words in ((None, "methods=None"), (7, "methods=7"), ([None], "None")):
        with pytest.raises(TypeError, match=words):
            SaliencyCallback(photos(1), methods=wrong)
    for wrong in (grad_cam, [grad_cam]):
        with pytest.raises(TypeError, match=r"module keras_saliency\.methods\.grad_cam\. Give .*'"):
            SaliencyCallback(photos(1), methods=wrong)
    with pytest.raises(TypeError, match="Give the name, 'grad_cam'"):
        explain(MODELS["flat"](), photos(1), grad_cam)


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_batch_size_is_a_whole_number_from_1(classifier, photos, size):
    with pytest.raises(ValueError, match=f"from 1. Received: batch_size={size}"):
        explain(classifier(), photos(1), batch_size=size)


def test_methods_need_names_of_their_own(classifier, photos):
    norm = functools.partial(methods.get("saliency"), channels="l2")
    with pytest.raises(ValueError, match="Received: saliency more than once"):
        explainer(classifier(), photos(1), ["saliency", norm])
    with pytest.raises(ValueError, match="at least one method"):
        explainer(classifier(), photos(1), [])


def test_several_outputs_or_inputs(classifier, photos):
    one = classifier()
    several = keras.Model(one.input, {"a": one.output, "b": one.get_layer("pool").output})
    with pytest.raises(
        ValueError, match=r"several outputs, 'a', 'b'\. Name .*Target\('predicted', output='a'\)"
    ):
        explain(several, photos(1))
    other = keras.Input((2,))
    several = keras.Model([one.input, other], kl.Concatenate()([one.output, other]))
    with pytest.raises(
        ValueError, match=r"several inputs\. Give them all.*: \.\.\., .*Received: images alone"
    ):
        explain(several, photos(1))


def test_images_without_a_gradient(photos):
    layers = [kl.Lambda(keras.ops.stop_gradient), kl.Conv2D(2, 3, name="conv")]
    model = keras.Sequential([keras.Input(SIZE), *layers, kl.Flatten(), kl.Dense(2)])
    with pytest.raises(ValueError, match=r"no gradient at the images.*'grad_cam'"):
        explain(model, photos(1), "saliency")
    assert explain(model, photos(1), "hires_cam").maps.shape == (1, 7, 10)
