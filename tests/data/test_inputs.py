"""Models of several inputs and outputs, of other channels, and of none."""

import functools

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import keras_saliency as ks
from keras_saliency import metrics

METHODS = ["saliency", "grad_cam", "layer_cam", "occlusion", "ablation_cam"]
rng = np.random.default_rng(0)
META = rng.normal(size=(3, 2)).astype("float32")


def seeded(model):
    random = np.random.default_rng(1)
    for weight in model.weights:
        fan_in = np.prod(weight.shape[:-1]) or 1
        weight.assign(random.normal(size=weight.shape) / np.sqrt(fan_in))
    return model


def backbone(image):
    x = kl.Conv2D(4, 3, activation="softplus", name="conv")(image)
    return kl.GlobalAveragePooling2D()(x)


def two_inputs(struct):
    """The meta data decide, image by image, what the image's features are worth."""
    image, meta = keras.Input((9, 12, 3), name="image"), keras.Input((2,), name="meta")
    gate = kl.Dense(4, activation="sigmoid")(meta)
    scores = kl.Dense(3, activation="softmax", name="scores")(
        kl.Multiply()([backbone(image), gate])
    )
    return seeded(keras.Model(struct(image, meta), scores))


def with_meta_held(model, meta):
    """The equivalent model of a single input."""
    image = keras.Input((9, 12, 3))
    fixed = kl.Lambda(
        lambda x: ops.zeros_like(x[:, 0, 0, :1]) + ops.convert_to_tensor(meta), output_shape=(2,)
    )(image)
    return keras.Model(image, model({"image": image, "meta": fixed}))


class Subclassed(keras.Model):
    """The same as `two_inputs`, called with a pair."""

    def __init__(self, model):
        super().__init__()
        self.inside = model

    def call(self, inputs):
        image, meta = inputs
        return self.inside({"image": image, "meta": meta})


STRUCTS = {"dict": lambda i, m: {"image": i, "meta": m}, "list": lambda i, m: [i, m]}


@pytest.mark.parametrize("struct", STRUCTS)
@pytest.mark.parametrize("method", METHODS)
def test_the_other_inputs_are_held_with_their_probes(struct, method, photos):
    model = two_inputs(STRUCTS[struct])
    found = ks.explain(
        model, {"meta": META, "image": photos()}, method, target=1, layer="conv", batch_size=2
    )
    for i in range(3):
        alone = with_meta_held(model, META[i : i + 1])
        wanted = ks.explain(alone, photos()[i : i + 1], method, target=1, layer="conv")
        np.testing.assert_allclose(found.scores[i], wanted.scores[0], rtol=1e-5)
        peak = np.abs(wanted.maps).max()
        np.testing.assert_allclose(found.maps[i], wanted.maps[0], atol=1e-4 * peak + 1e-6)


# How faithful their maps are.


def test_a_scorer_holds_the_other_inputs_with_their_originals(photos):
    model = two_inputs(STRUCTS["dict"])
    inputs, copies = {"image": photos(), "meta": META}, photos(seed=5)
    outputs = ops.convert_to_numpy(model(inputs | {"image": copies}))
    for given in (inputs, ks.Probes(inputs)):
        scores = metrics.scorer(model, given, target=[2, 0, 1], batch_size=2)
        np.testing.assert_allclose(scores(copies), outputs[range(3), [2, 0, 1]], rtol=1e-5)


@pytest.mark.parametrize("measure", ["insertion", "deletion"])
def test_curves_of_several_inputs_are_those_with_the_others_held(measure, photos):
    model, images = two_inputs(STRUCTS["list"]), photos()
    inputs, maps = {"image": images, "meta": META}, images[..., 0]
    scores = metrics.scorer(model, inputs, target=1)
    found = getattr(metrics, measure)(scores, images, maps, steps=5)
    for i in range(3):
        alone = metrics.scorer(with_meta_held(model, META[i : i + 1]), images[[i]], target=1)
        wanted = getattr(metrics, measure)(alone, images[[i]], maps[[i]], steps=5)
        np.testing.assert_allclose(found.areas[i], wanted.areas[0], atol=1e-5)


@pytest.mark.parametrize("form", ["dict", "probes"])
def test_a_model_of_several_inputs_is_randomised_from_the_top(form, photos):
    model = two_inputs(STRUCTS["list"])
    inputs = {"image": photos(), "meta": META}
    given = inputs if form == "dict" else ks.Probes(inputs)
    explain = functools.partial(ks.explain, method="hires_cam")
    before = model.get_weights()
    found = metrics.model_randomisation(explain, model, given, 1)
    gate = next(layer.name for layer in model.layers if isinstance(layer, kl.Dense))
    assert set(found.layers) == {"scores", gate, "conv"}
    assert (found.layers[0], found.layers[-1]) == ("scores", "conv")
    for weight, held in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, held)
    original = explain(model, inputs, target=1).maps
    head, random = model.get_layer("scores"), np.random.default_rng(0)
    head.set_weights([random.permutation(w.ravel()).reshape(w.shape) for w in head.get_weights()])
    changed = explain(model, inputs, target=1).maps
    wanted = metrics.rank_correlation(original, changed)
    np.testing.assert_allclose(found.correlations[0], wanted, atol=1e-6)


def test_class_sensitivity_with_the_other_inputs_held(photos):
    model = two_inputs(STRUCTS["dict"])
    inputs = {"image": photos(), "meta": META}
    explain = functools.partial(ks.explain, method="gradient_x_input")
    for given in (inputs, ks.Probes(inputs)):
        found = metrics.class_sensitivity(explain, model, given, [0, 1, 2], range(3))
        for i in range(3):
            alone = with_meta_held(model, META[i : i + 1])
            wanted = metrics.class_sensitivity(explain, alone, photos()[[i]], i, range(3))
            np.testing.assert_allclose(found[i], wanted[0], atol=0.02)


def test_a_tuple_gives_inputs_in_the_order_of_the_model(photos):
    model = two_inputs(STRUCTS["list"])
    named = ks.explain(model, {"image": photos(), "meta": META}, "saliency", target=2)
    placed = ks.explain(model, ks.Probes((photos(), META)), "saliency", target=2)
    unnamed = ks.explain(Subclassed(model), ks.Probes((photos(), META)), "saliency", target=2)
    np.testing.assert_allclose(placed.maps, named.maps)
    np.testing.assert_allclose(unnamed.maps, named.maps, rtol=1e-5)


def test_image_says_which_of_two_images_is_looked_at(photos):
    left, right = (keras.Input((9, 12, 3), name=name) for name in ("left", "right"))
    features = [kl.Conv2D(4, 3, name=f"conv_{i.name}")(i) for i in (left, right)]
    pooled = [kl.GlobalAveragePooling2D()(one) for one in features]
    weights = kl.Dense(2, name="head")
    model = seeded(keras.Model([left, right], weights(kl.Concatenate()(pooled))))
    pair = {"left": photos(), "right": photos(seed=7)}
    kernel = ops.convert_to_numpy(model.get_layer("head").kernel)
    for side, rows in (("left", kernel[:4]), ("right", kernel[4:])):
        found = ks.explain(model, ks.Probes(pair, image=side), "hires_cam", target=0)
        assert found.layer == f"conv_{side}"
        conv = model.get_layer(f"conv_{side}")
        grid = ops.convert_to_numpy(conv(pair[side]))
        wanted = np.maximum(grid @ rows[:, 0] / np.prod(grid.shape[1:3]), 0)
        np.testing.assert_allclose(found.maps, wanted, atol=1e-6)


def test_other_inputs_of_integers_stay_integers(photos):
    image, word = keras.Input((9, 12, 3), name="image"), keras.Input((), dtype="int32", name="word")
    gate = kl.Embedding(5, 4)(word)
    model = seeded(keras.Model([image, word], kl.Dense(2)(kl.Multiply()([backbone(image), gate]))))
    words = np.array([4, 0, 2])
    scores = ks.explain(model, {"image": photos(), "word": words}, "saliency", target=0).scores
    outputs = ops.convert_to_numpy(model([photos(), words]))
    np.testing.assert_allclose(scores, outputs[:, 0], rtol=1e-5)


def two_outputs(struct):
    """A head of species on the features, and a decoder that runs after it."""
    image = keras.Input((9, 12, 3))
    conv = kl.Conv2D(4, 3, activation="softplus", name="conv")(image)
    species = kl.GlobalAveragePooling2D()(conv)
    species = kl.Dense(3, activation="softmax", name="species")(species)
    decoded = kl.Conv2DTranspose(4, 3, activation="softplus", name="up")(conv)
    mask = kl.Conv2D(1, 1, activation="sigmoid", name="mask")(decoded)
    return seeded(keras.Model(image, struct(species, mask)))


@pytest.mark.parametrize("struct", STRUCTS)
@pytest.mark.parametrize(("output", "layer"), [("species", "conv"), ("mask", "up")])
@pytest.mark.parametrize("method", ["saliency", "grad_cam", "ablation_cam"])
def test_an_output_is_explained_like_a_model_of_it_alone(struct, output, layer, method, photos):
    model = two_outputs(
        (lambda s, m: {"species": s, "mask": m}) if struct == "dict" else (lambda s, m: [s, m])
    )
    target = ks.Target("predicted", output=output)
    found = ks.explain(model, photos(), method, target=target)
    alone = keras.Model(model.input, model.get_layer(output).output)
    wanted = ks.explain(alone, photos(), method)
    assert (found.layer, found.of) == (wanted.layer, "logits")
    assert found.layer in (layer, None)
    np.testing.assert_allclose(found.outputs, wanted.outputs, rtol=1e-5)
    np.testing.assert_allclose(found.maps, wanted.maps, rtol=1e-4, atol=1e-7)


def test_an_output_can_be_given_by_its_place(photos):
    model = two_outputs(lambda s, m: [s, m])
    by_place = ks.explain(model, photos(), target=ks.Target("predicted", output=1))
    by_name = ks.explain(model, photos(), target=ks.Target("predicted", output="mask"))
    np.testing.assert_array_equal(by_place.maps, by_name.maps)


class Branches(keras.Model):
    """Two images and two outputs, without a graph: what runs last is on another way."""

    def __init__(self, as_dict):
        super().__init__()
        self.left = kl.Conv2D(4, 3, activation="softplus", name="left")
        self.right = kl.Conv2D(4, 3, activation="softplus", name="right")
        self.up = kl.Conv2DTranspose(4, 3, activation="softplus", name="up")
        self.species, self.mask = kl.Dense(3, name="species"), kl.Conv2D(2, 1, name="mask")
        self.as_dict = as_dict

    def call(self, inputs):
        left, right = self.left(inputs["a"]), self.right(inputs["b"])
        pooled = ops.concatenate([ops.mean(x, axis=(1, 2)) for x in (left, right)], axis=-1)
        species, mask = self.species(pooled), self.mask(self.up(left))
        return {"species": species, "mask": mask} if self.as_dict else (species, mask)


@pytest.mark.parametrize("as_dict", [True, False])
@pytest.mark.parametrize(
    ("image", "output", "layer"), [("a", 0, "left"), ("b", 0, "right"), ("a", 1, "up")]
)
def test_the_layer_of_a_subclassed_model_lies_on_the_way(as_dict, image, output, layer, photos):
    model = Branches(as_dict)
    pair = ks.Probes({"a": photos(), "b": photos(seed=7)}, image=image)
    target = ks.Target(1, output=("species", "mask")[output] if as_dict else output)
    found = ks.explain(model, pair, "hires_cam", target=target)
    assert found.layer == layer
    if output == 0:
        grid = ops.convert_to_numpy(getattr(model, layer)(pair.images))
        rows = slice(None, 4) if layer == "left" else slice(4, None)
        kernel = ops.convert_to_numpy(model.species.kernel)[rows, 1]
        wanted = np.maximum(grid @ kernel / np.prod(grid.shape[1:3]), 0)
        np.testing.assert_allclose(found.maps, wanted, atol=1e-6)


def test_a_subclassed_model_with_no_layer_on_the_way(photos):
    class Flat(Branches):
        def call(self, inputs):
            other = self.up(self.left(inputs["b"]) + self.right(inputs["b"]))
            return self.species(ops.mean(inputs["a"], axis=(1, 2))), self.mask(other)

    pair = ks.Probes({"a": photos(), "b": photos()}, image="a")
    with pytest.raises(ValueError, match="No spatial layer was found"):
        ks.explain(Flat(as_dict=False), pair, "grad_cam", target=ks.Target(1, output=0))


@pytest.mark.parametrize("place", [1, -1])
def test_the_loss_of_an_output_given_by_its_place(place, photos):
    image = keras.Input((9, 12, 3))
    x = backbone(image)
    model = keras.Model(image, [kl.Dense(1, name="kind")(x), kl.Dense(2, name="size")(x)])
    model.compile("sgd", {"kind": "bce", "size": "mse"})
    assert ks.explain(model, photos(), target=ks.Target("predicted", output=place)).of == "value"
    model.compile("sgd", {"kind": "mse", "size": "mse"})
    assert ks.explain(model, photos(), target=ks.Target("predicted", output=0)).of == "value"


@pytest.mark.parametrize("as_list", [True, False])
def test_the_loss_of_the_output_tells_how_it_is_read(as_list, photos):
    image = keras.Input((9, 12, 3))
    x = backbone(image)
    model = keras.Model(image, [kl.Dense(2, name="species")(x), kl.Dense(2, name="size")(x)])
    losses = {
        "species": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "size": "mse",
    }
    model.compile("sgd", list(losses.values()) if as_list else losses)
    of = {
        name: ks.explain(model, photos(), target=ks.Target("predicted", output=name)).of
        for name in losses
    }
    assert of == {"species": "logits", "size": "value"}


def test_fit_watches_a_model_of_several_inputs_and_outputs(photos, tmp_path):
    image, meta = keras.Input((9, 12, 3), name="image"), keras.Input((2,), name="meta")
    both = kl.Concatenate()([backbone(image), meta])
    heads = {"species": kl.Dense(2, activation="softmax")(both), "size": kl.Dense(1)(both)}
    model = seeded(keras.Model({"image": image, "meta": meta}, heads))
    model.compile("sgd", {"species": "sparse_categorical_crossentropy", "size": "mse"})
    inputs, species = {"image": photos(), "meta": META}, np.array([0, 1, 1])
    seen = {}

    def recorded(scored, images):
        seen["scores"] = ops.convert_to_numpy(scored.scores(images))
        return ops.sum(ops.abs(scored.input_gradients(images)), axis=-1)

    watch = ks.SaliencyCallback(
        (inputs, species),
        tmp_path,
        [recorded],
        target=ks.Target("label", output="species"),
        strict=True,
    )
    model.fit(inputs, {"species": species, "size": META[:, 0]}, verbose=0, callbacks=[watch])
    chances = ops.convert_to_numpy(model(inputs)["species"])
    logits = np.log(chances)
    lead = logits[range(3), species] - logits[range(3), 1 - species]
    other = ks.explain(
        model,
        ks.Probes(inputs, 1 - species),
        "saliency",
        target=ks.Target("label", output="species"),
    ).scores
    np.testing.assert_allclose(seen["scores"] - other, lead, atol=1e-4)


def test_probes_are_drawn_from_a_dataset_of_several_inputs(photos):
    batches = [({"image": photos(6), "meta": np.arange(12.0).reshape(6, 2)}, np.arange(6) % 3)]
    probes = ks.Probes.from_dataset(batches, per_class=1)
    rows = (probes.extras["meta"][:, 0] / 2).astype(int)
    assert probes.labels.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(probes.images, photos(6)[rows])
    singles = [((image, np.array([i, 0.5])), i % 3) for i, image in enumerate(photos(6))]
    drawn = ks.Probes.from_dataset(singles, per_class=1)
    np.testing.assert_array_equal(drawn.images, photos(6)[drawn.extras[1][:, 0].astype(int)])


@pytest.mark.parametrize("rank", [2, 3])
def test_images_without_channels_give_maps_of_their_size(rank, photos):
    images = photos(size=(9, 12)) if rank == 2 else photos(size=(9, 12, 1))
    model = keras.Sequential([keras.Input((9, 12)), kl.Flatten(), kl.Dense(3, name="head")])
    found = ks.explain(seeded(model), images, "gradient_x_input", target=2)
    kernel = ops.convert_to_numpy(model.get_layer("head").kernel)[:, 2]
    np.testing.assert_allclose(
        found.maps, images.reshape(3, 9, 12) * kernel.reshape(9, 12), rtol=1e-5
    )


def test_fit_watches_a_model_without_channels(photos, tmp_path):
    model = keras.Sequential(
        [keras.Input((9, 12)), kl.Reshape((9, 12, 1)), kl.Conv2D(2, 3), kl.Flatten(), kl.Dense(2)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = photos(size=(9, 12)), np.array([0, 1, 0])
    shapes = {}

    def watched(scored, images):
        maps = ops.sum(ops.abs(scored.input_gradients(images)), axis=-1)
        shapes.update(maps=maps.shape, grid=scored.activations(images).shape)
        return maps

    model.fit(
        x, y, verbose=0, callbacks=[ks.SaliencyCallback((x, y), tmp_path, [watched], strict=True)]
    )
    assert tuple(shapes["maps"]) == (3, 9, 12)
    assert tuple(shapes["grid"])[1:3] == (7, 10)


def test_more_channels_than_colours(photos):
    images, shown = photos(size=(9, 12, 7)), photos()
    model = keras.Sequential([keras.Input((9, 12, 7)), kl.Flatten(), kl.Dense(2, name="head")])
    found = ks.explain(seeded(model), ks.Probes(images, display=shown), "saliency", target=0)
    kernel = np.abs(ops.convert_to_numpy(model.get_layer("head").kernel)[:, 0])
    np.testing.assert_allclose(found.maps[1], kernel.reshape(9, 12, 7).max(-1), rtol=1e-5)
    np.testing.assert_array_equal(found.display, np.rint(shown * 255))


def test_fit_watches_a_model_of_more_channels_than_colours(photos, tmp_path):
    images, labels = photos(size=(9, 12, 7)), np.array([0, 1, 0])
    model = keras.Sequential([keras.Input((9, 12, 7)), kl.Flatten(), kl.Dense(2, name="head")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    seeded(model).compile("sgd", loss)
    seen = []

    def noted(scored, batch):
        seen.append(ops.convert_to_numpy(ops.sum(scored.input_gradients(batch), axis=-1)))
        return seen[-1]

    probes = ks.Probes(images, labels, display=photos())
    watch = ks.SaliencyCallback(probes, tmp_path, [noted], strict=True)
    model.fit(images, labels, verbose=0, callbacks=[watch])
    kernel = ops.convert_to_numpy(model.get_layer("head").kernel)[:, labels]
    wanted = kernel.T.reshape(3, 9, 12, 7).sum(axis=-1)
    np.testing.assert_allclose(seen[-1], wanted, rtol=1e-5, atol=1e-6)


WRONG = {
    "alone": (lambda p: p, "several inputs.*'image': ..., 'meta': ..."),
    "missing": (lambda p: {"image": p, "other": META}, "'image', 'meta'.*Received.*'other'"),
    "rows": (lambda p: {"image": p, "meta": META[:2]}, r"a row for each of the 3 images"),
    "nan": (lambda p: {"image": p, "meta": META * np.nan}, "NaN"),
    "places": (lambda p: (p, META, META), "by name.*tuple of 3"),
    "two": (lambda p: {"image": p, "meta": p}, "`image` must name the input"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_inputs_that_do_not_fit_are_refused(wrong, photos):
    build, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        ks.explain(two_inputs(STRUCTS["dict"]), ks.Probes(build(photos())))


@pytest.mark.parametrize(
    ("image", "message"), [("x", "one of the inputs, 'a'"), (0, "Received: image=0")]
)
def test_image_must_be_one_of_the_inputs(image, message, photos):
    with pytest.raises(ValueError, match=message):
        ks.Probes({"a": photos()}, image=image)


def test_image_is_for_several_inputs(photos):
    with pytest.raises(ValueError, match="several inputs, which are given as a dict"):
        ks.Probes(photos(), image="a")


@pytest.mark.parametrize(
    ("output", "message"), [(None, "'species', 'mask'"), ("mas", "output='mas'")]
)
def test_an_unknown_output_is_refused(output, message, photos):
    with pytest.raises(ValueError, match=message):
        ks.explain(two_outputs(lambda s, m: [s, m]), photos(), target=ks.Target(1, output=output))


def test_the_verdict_refuses_what_lacks_an_input(photos, tmp_path):
    model = two_inputs(STRUCTS["dict"])
    model.compile("sgd", "sparse_categorical_crossentropy")
    inputs, labels = {"image": photos(), "meta": META}, np.array([0, 1, 2])
    with pytest.warns(UserWarning, match="no verdict"):
        donors = ks.Shortcuts((photos(), labels))
    watch = ks.SaliencyCallback((inputs, labels), tmp_path, shortcuts=donors)
    with pytest.raises(ValueError, match="nothing beside the images of shortcuts=, 'meta'"):
        model.fit(inputs, labels, verbose=0, callbacks=[watch])
