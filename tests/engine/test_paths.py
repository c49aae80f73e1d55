"""Layers that run for several inputs, and layers that are not the only way to the score."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import keras_saliency as ks

SIZE = (8, 11, 3)
CAM_METHODS = ("grad_cam", "hires_cam", "layer_cam", "score_cam", "eigen_cam", "ablation_cam")


class Backbone(keras.Model):
    """A layer that is no graph."""

    def __init__(self):
        super().__init__(name="backbone")
        self.conv = kl.Conv2D(4, 3, activation="softplus", name="conv")
        self.pool = kl.GlobalAveragePooling2D()

    def call(self, images):
        return self.pool(self.conv(images))


def graph():
    conv = kl.Conv2D(4, 3, activation="softplus", name="conv")
    backbone = [keras.Input(SIZE), conv, kl.GlobalAveragePooling2D()]
    return keras.Sequential(backbone, name="backbone")


def bare_layers():
    conv, pool = kl.Conv2D(4, 3, activation="softplus", name="conv"), kl.GlobalAveragePooling2D()
    return lambda images: pool(conv(images))


class SubclassedPair(keras.Model):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = Backbone(), kl.Dense(2, name="head")

    def call(self, inputs):
        return self.head(self.backbone(inputs["a"]) - self.backbone(inputs["b"]))


def pair(build):
    """A network of the difference of two images' features."""
    inputs = {name: keras.Input(SIZE, name=name) for name in "ab"}
    if build is SubclassedPair:
        model = SubclassedPair()
        model({name: np.zeros((1, *SIZE), "float32") for name in "ab"})
        return model
    backbone = build()
    difference = kl.Subtract()([backbone(inputs["a"]), backbone(inputs["b"])])
    return keras.Model(inputs, kl.Dense(2, name="head")(difference))


def pair_within_a_model():
    inputs = {name: keras.Input(SIZE, name=name) for name in "ab"}
    whole = pair(graph)
    whole.name = "pair"
    return keras.Model(inputs, kl.Rescaling(1.0)(whole(inputs)))


PAIRS = {
    "a nested graph": lambda: pair(graph),
    "a layer that is no graph": lambda: pair(Backbone),
    "layers": lambda: pair(bare_layers),
    "a subclassed model": lambda: pair(SubclassedPair),
    "a pair within a model": pair_within_a_model,
}


def parts_of(model):
    """The convolution and the kernel of the head."""
    layers = {layer.name: layer for layer in model._flatten_layers()}
    return layers["conv"], ops.convert_to_numpy(layers["head"].kernel)


def of_one_image(conv, kernel):
    """The same network of one image alone."""
    alone = keras.Sequential(
        [
            keras.Input(SIZE),
            kl.Conv2D(4, 3, activation="softplus"),
            kl.GlobalAveragePooling2D(),
            kl.Dense(2),
        ]
    )
    weights = [ops.convert_to_numpy(weight) for weight in conv.weights]
    alone.set_weights([*weights, kernel, np.zeros(2, "float32")])
    return alone


@pytest.mark.parametrize("name", PAIRS)
def test_the_run_of_the_image_is_explained(photos, name):
    model, given = PAIRS[name](), {"a": photos(2, SIZE, 1), "b": photos(2, SIZE, 2)}
    conv, kernel = parts_of(model)
    for image, sign in (("a", 1.0), ("b", -1.0)):
        features = ops.convert_to_numpy(conv(given[image]))
        wanted = np.maximum((features * sign * kernel[:, 1]).sum(-1), 0) / features[0, ..., 0].size
        alone, probes = of_one_image(conv, sign * kernel), ks.Probes(given, image=image)
        for method in CAM_METHODS:
            same = ks.explain(alone, given[image], method, target=1).maps
            for layer in (None, "conv", conv) if method == "grad_cam" else (None,):
                found = ks.explain(model, probes, method, target=1, layer=layer).maps
                np.testing.assert_allclose(found, same, atol=1e-5 * np.abs(same).max())
                if method in ("grad_cam", "hires_cam"):
                    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())


@pytest.mark.parametrize("name", ["a nested graph", "a subclassed model"])
def test_the_run_of_the_image_is_explained_while_a_model_trains(photos, tmp_path, name):
    model, given = PAIRS[name](), {"a": photos(4, SIZE, 1), "b": photos(4, SIZE, 2)}
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.array([0, 1, 1, 1])
    probes = ks.Probes(given, labels, image="a")
    callback = ks.SaliencyCallback(probes, tmp_path, ["grad_cam"], strict=True)
    model.fit(given, labels, epochs=1, verbose=0, callbacks=[callback])
    conv, kernel = parts_of(model)
    features = ops.convert_to_numpy(conv(given["a"]))
    wanted = np.maximum(np.einsum("nhwc,cn->nhw", features, kernel[:, labels]), 0) / 54
    found = callback.session.newest.maps["grad_cam"]
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())


def test_a_run_for_another_input_is_refused(photos):
    model, given = pair(graph), {"a": photos(1, SIZE, 1), "b": photos(1, SIZE, 2)}
    conv, _ = parts_of(model)
    found = ks.explain(model, ks.Probes(given, image="b"), "eigen_cam", layer=("conv", 1))
    own = ops.convert_to_numpy(conv(given["b"]))
    spread = np.linalg.svd(own.reshape(-1, 4), full_matrices=False)[2][0]
    np.testing.assert_allclose(np.abs(found.maps[0]), np.abs(own[0] @ spread), rtol=1e-4)
    with pytest.raises(ValueError, match=r"run 0 of 'backbone/conv', whose runs .* are 1\. Runs"):
        ks.explain(model, ks.Probes(given, image="b"), "grad_cam", layer=("conv", 0))


def test_a_branch_that_the_output_does_not_use(photos):
    """A nested pyramid, of whose levels the finer one is used."""
    inputs = keras.Input(SIZE)
    fine = kl.Conv2D(4, 3, name="fine")(inputs)
    coarse = kl.Conv2D(5, 3, name="coarse")(fine)
    pyramid = keras.Model(inputs, [fine, coarse], name="pyramid")
    outer = keras.Input(SIZE)
    model = keras.Model(outer, kl.Dense(2)(kl.GlobalAveragePooling2D()(pyramid(outer)[0])))
    for method in ("grad_cam", "eigen_cam"):
        assert ks.explain(model, photos(1, SIZE), method).layer == "pyramid/fine"


def test_runs_of_different_sizes(photos):
    """A backbone that sees an image and the half of it: each run has the grid of its own."""
    conv = kl.Conv2D(4, 3, activation="softplus", name="conv")
    pool, inputs = kl.GlobalAveragePooling2D(), keras.Input(SIZE)
    features = [pool(conv(inputs)), pool(conv(kl.AveragePooling2D(2)(inputs)))]
    model = keras.Model(inputs, kl.Dense(2, name="head")(kl.Concatenate()(features)))
    images, kernel = photos(2, SIZE), ops.convert_to_numpy(model.get_layer("head").kernel)
    half = ops.convert_to_numpy(kl.AveragePooling2D(2)(ops.convert_to_tensor(images)))
    parts = {(2, 6, 9): (images, kernel[:4]), (2, 2, 3): (half, kernel[4:])}
    for run in (0, 1):  # the graph says which is first
        with pytest.warns(UserWarning, match=f"through layer 'conv' in its run {run}"):
            found = ks.explain(model, images, "hires_cam", target=1, layer=("conv", run)).maps
        own, part = parts.pop(found.shape)
        seen = ops.convert_to_numpy(conv(own))
        wanted = np.maximum(seen @ part[:, 1], 0) / seen[0, ..., 0].size
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_cam_refuses_a_run_that_is_not_pooled(photos):
    shared, inputs = kl.Conv2D(3, 3, padding="same", name="shared"), keras.Input(SIZE)
    x = kl.GlobalAveragePooling2D()(shared(shared(inputs)))
    model = keras.Model(inputs, kl.Dense(2)(x))
    ks.explain(model, photos(1, SIZE), "cam", target=0)
    with pytest.raises(ValueError, match="'cam' reads the layer that is pooled"):
        ks.explain(model, photos(1, SIZE), "cam", target=0, layer=("shared", 0))


def transformer_of_a_pair():
    tokens, attention = kl.Conv2D(4, 4, strides=4), kl.MultiHeadAttention(2, 4)
    pool = kl.GlobalAveragePooling1D()

    def features(images):
        x = kl.Reshape((4, 4))(tokens(images))
        return pool(attention(x, x))

    return tokens, attention, features


def test_rollout_follows_the_attention_over_one_image(photos):
    inputs = {name: keras.Input((8, 8, 3), name=name) for name in "ab"}
    tokens, attention, features = transformer_of_a_pair()
    outputs = kl.Dense(2)(kl.Subtract()([features(inputs["a"]), features(inputs["b"])]))
    model = keras.Model(inputs, outputs)
    given = {"a": photos(2, (8, 8, 3), 1), "b": photos(2, (8, 8, 3), 2)}
    for image in "ab":
        found = ks.explain(model, ks.Probes(given, image=image), "attention_rollout").maps
        x = ops.reshape(tokens(given[image]), (2, 4, 4))
        _, scores = attention(x, x, return_attention_scores=True)
        mixed = 0.5 * np.eye(4) + 0.5 * ops.convert_to_numpy(scores).mean(axis=1)
        np.testing.assert_allclose(found, mixed.mean(axis=1).reshape(2, 2, 2), atol=1e-6)


# Layers through which only a part of the score passes.


class SubclassedAverage(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second = kl.Conv2D(1, 1, name="first"), kl.Conv2D(1, 1, name="second")
        self.pool = kl.GlobalAveragePooling2D()

    def call(self, images):
        return (self.pool(self.first(images)) + self.pool(self.second(images))) / 2


def average_of_graphs():
    inputs, pool = keras.Input(SIZE), kl.GlobalAveragePooling2D()
    branches = [pool(kl.Conv2D(1, 1, name=name)(inputs)) for name in ("first", "second")]
    return keras.Model(inputs, kl.Average()(branches))


def with_kernels(model, kernels):
    model(np.zeros((1, *SIZE), "float32"))
    layers = {layer.name: layer for layer in model._flatten_layers()}
    for name, kernel in kernels.items():
        weights = [np.reshape(np.asarray(kernel, "float32"), (1, 1, 3, 1)), np.zeros(1, "float32")]
        layers[name].set_weights(weights)
    return model


@pytest.mark.parametrize("build", [average_of_graphs, SubclassedAverage])
def test_the_share_of_the_score_around_a_layer_is_reported(photos, build):
    """Of a linear ensemble, gradient times image is each kernel times the image."""
    kernels = {"first": [3.0, -1.0, 2.0], "second": [0.5, 1.0, -1.0]}
    model, images = with_kernels(build(), kernels), photos(3, SIZE)
    weights = np.ones((1,), "float32")
    magnitudes = {name: np.abs(images * kernel).sum() for name, kernel in kernels.items()}
    total = sum(magnitudes.values())
    for layer, other in (("first", "second"), ("second", "first"), (None, "second")):
        share, name = round(100 * magnitudes[other] / total), layer or "first"
        with pytest.warns(UserWarning, match=rf"{share} % of the score .* through layer '{name}'"):
            ks.explain(model, images, "hires_cam", target=weights, layer=layer)


def test_an_image_compared_with_its_mirror_image(photos):
    """Where both ways cancel in the gradient, each is a half all the same."""
    conv, pool, inputs = (
        kl.Conv2D(2, 3, name="conv"),
        kl.GlobalAveragePooling2D(),
        keras.Input(SIZE),
    )
    both = [pool(conv(inputs)), pool(conv(kl.Rescaling(1.0)(inputs)))]
    model = keras.Model(inputs, kl.Dense(2)(kl.Subtract()(both)))
    for run in (0, 1):
        with pytest.warns(UserWarning, match=rf"50 % of the score .* 'conv' in its run {run}"):
            ks.explain(model, photos(2, SIZE), "hires_cam", target=1, layer=("conv", run))


def test_a_layer_through_which_all_passes_is_no_matter(photos):
    """Warnings are errors here."""
    inputs = keras.Input(SIZE)
    split = [kl.Conv2D(2, 3, name=name)(inputs) for name in ("left", "right")]
    joined = kl.Concatenate(name="joined")(split)
    model = keras.Model(inputs, kl.Dense(2)(kl.GlobalAveragePooling2D()(joined)))
    assert ks.explain(model, photos(1, SIZE), "grad_cam").layer == "joined"
    ks.explain(model, photos(1, SIZE), "saliency", layer="left")  # which reads no layer


def with_a_class_token(name, reads_patches=False):
    """A transformer of two blocks, whose head reads the class token, or the patches as well."""
    inputs = keras.Input((8, 12, 1))
    x = kl.Reshape((6, 5))(kl.Conv2D(5, 4, strides=4)(inputs))
    x = ops.concatenate([ops.zeros_like(x[:, :1]), x], axis=1)
    for block in ("low", name):
        normed = kl.LayerNormalization(name=block)(x)
        x = x + kl.MultiHeadAttention(2, 3)(normed, normed)
    read = ops.mean(x, axis=1) if reads_patches else x[:, 0]
    return keras.Model(inputs, kl.Dense(2)(read))


def test_what_a_class_token_carries_past_a_layer_is_in_no_map(photos):
    """Of it there is no word, for no layer shows it; warnings are errors here."""
    model, images = with_a_class_token("norm"), photos(2, (8, 12, 1))
    assert ks.explain(model, images, "grad_cam").layer == "norm"
    for given, layer in ((model, "low"), (with_a_class_token("norm", True), "norm")):
        with pytest.warns(UserWarning, match=rf"% of the score .* through layer '{layer}'"):
            ks.explain(given, images, "grad_cam", layer=layer)


def test_another_network_beside_a_class_token_is_reported(photos):
    one, other = (with_a_class_token(name) for name in ("one", "other"))
    inputs, images = keras.Input((8, 12, 1)), photos(2, (8, 12, 1))
    model = keras.Model(inputs, kl.Average()([one(inputs), other(inputs)]))
    parts = [ks.explain(net, images, "gradient_x_input", target=1).maps for net in (one, other)]
    through, around = (np.abs(part).sum() for part in parts)
    share = round(100 * around / (through + around))
    with pytest.warns(UserWarning, match=rf"{share} % of the score .* through layer '.*/one'"):
        ks.explain(model, images, "grad_cam", target=1, layer="one")


def test_a_training_run_says_so_before_its_first_batch(photos, tmp_path, capsys):
    kernels = {"first": [1.0, 1.0, 1.0], "second": [3.0, 3.0, 3.0]}
    model, images = with_kernels(average_of_graphs(), kernels), photos(4, SIZE)
    model.compile("sgd", "mse")
    callback = ks.SaliencyCallback((images, np.ones(4)), tmp_path, ["grad_cam"], layer="first")
    model.fit(images, np.ones((4, 1)), verbose=2, callbacks=[callback])
    printed = capsys.readouterr().out
    note = "75 % of the score (gradient times image) does not pass through layer 'first'"
    assert printed.count(note) == 1
    assert printed.index(note) < printed.index("loss")
