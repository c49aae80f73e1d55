"""Score-, Ablation-, Eigen- and Finer-CAM, against plain re-derivations."""

import functools

import keras
import numpy as np
import pytest

from keras_saliency import Target, explain, methods

pytestmark = pytest.mark.filterwarnings(
    "ignore:The images' values run from", "ignore:Images of . channels"
)


def with_options(method, **options):
    return functools.partial(methods.get(method), **options)


def assert_close(found, wanted, share=1e-5):
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * np.abs(wanted).max())


def parts(model, images, layer):
    """Return the layer's output and what follows it as a function, the model taken apart."""
    output = model.get_layer(layer).output
    features = keras.Model(model.input, output)(images, training=False)
    rest = keras.Model(output, model.output)
    return keras.ops.convert_to_numpy(features), lambda a: keras.ops.convert_to_numpy(rest(a))


def scored_by_channels(size, head):
    """Build a model that pools its image's channels and weighs them: logits = mean(x) @ head."""
    features = keras.layers.Conv2D(size[-1], 1, use_bias=False, name="features")
    dense = keras.layers.Dense(np.shape(head)[1], use_bias=False)
    inputs = keras.Input(size)
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(features(inputs))))
    features.kernel.assign(np.eye(size[-1])[None, None])
    dense.kernel.assign(head)
    return model


HEAD = np.array([[1.0, -2.0, 0.5], [3.0, 1.0, -1.0], [-1.0, 2.0, 2.5], [0.5, 0.0, 1.0]])


# Score-CAM.


def slow_score_cam(model, image, layer, target, channels=None):
    activations, _ = parts(model, image[None], layer)
    kept, scores = [], []
    for k in range(activations.shape[-1]) if channels is None else channels:
        channel = activations[..., k : k + 1]
        mask = keras.ops.image.resize(channel, image.shape[:2], interpolation="bilinear")
        mask = keras.ops.convert_to_numpy(mask)[0]
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        kept.append(activations[0, ..., k])
        scores.append(keras.ops.convert_to_numpy(model((image * mask)[None]))[0, target])
    weights = np.exp(scores - np.max(scores))
    return np.maximum(np.tensordot(weights / weights.sum(), kept, axes=1), 0)


@pytest.mark.parametrize("layer", ["low", "top"])
def test_score_cam_is_the_paper(classifier, photos, layer):
    model, images = classifier("linear", pooled=False), photos(2)
    found = explain(model, images, "score_cam", target=[3, 1], layer=layer).maps
    wanted = [slow_score_cam(model, images[n], layer, (3, 1)[n]) for n in range(2)]
    # A channel that hardly varies magnifies rounding when it is scaled to 0..1.
    assert_close(found, np.stack(wanted), 1e-4)


def test_top_k_takes_the_channels_that_vary_most(classifier, photos):
    model, images = classifier("linear", pooled=False), photos(2)
    varies = parts(model, images, "low")[0].std(axis=(1, 2))
    found = explain(model, images, with_options("score_cam", top_k=2), target=3, layer="low").maps
    for n in range(2):
        chosen = np.argsort(varies[n])[-2:]
        assert_close(found[n], slow_score_cam(model, images[n], "low", 3, chosen))


@pytest.mark.parametrize("top_k", [5, 99])
def test_top_k_of_all_channels_is_score_cam(classifier, photos, top_k):
    model, images = classifier("linear", pooled=False), photos(2)
    found = explain(model, images, with_options("score_cam", top_k=top_k), target=3, layer="low")
    assert_close(found.maps, explain(model, images, "score_cam", target=3, layer="low").maps)


def test_channels_that_hide_nothing_are_left_out_of_score_cam(photos):
    images = photos(2, (5, 8, 4))
    images[..., 1] = 0.7
    images[1] = 0.5
    found = explain(scored_by_channels((5, 8, 4), HEAD), images, "score_cam", target=1).maps
    model = scored_by_channels((5, 8, 4), HEAD)
    assert_close(found[0], slow_score_cam(model, images[0], "features", 1, [0, 2, 3]))
    assert not found[1].any()


def test_score_cam_refuses_a_bad_top_k(classifier, photos):
    with pytest.raises(ValueError, match=r"integer from 1\. Received: top_k=0"):
        explain(classifier(), photos(1), with_options("score_cam", top_k=0))


# Ablation-CAM.


@pytest.mark.parametrize("target", [0, 1])
def test_ablation_cam_of_a_pooled_head_by_hand(photos, target):
    """A channel's weight is what it adds to the logit: the class weight times its mean."""
    images = photos(2, (5, 8, 4)) - 0.3
    weights = HEAD[:, target] * images.mean(axis=(1, 2))
    wanted = np.einsum("nijk,nk->nij", images, weights)
    model = scored_by_channels((5, 8, 4), HEAD)
    found = explain(model, images, with_options("ablation_cam", relu=False), target=target).maps
    assert_close(found, wanted)
    assert_close(explain(model, images, "ablation_cam", target=target).maps, np.maximum(wanted, 0))


def test_ablation_cam_sets_channels_to_zero_in_place(classifier, photos):
    model, images = classifier("linear", pooled=False), photos(2)
    features, rest = parts(model, images, "low")
    wanted = np.zeros(features.shape[:3])
    for k in range(features.shape[-1]):
        without = features.copy()
        without[..., k] = 0
        falls = (rest(features) - rest(without))[[0, 1], [2, 0]]
        wanted += falls[:, None, None] * features[..., k]
    options = {"target": [2, 0], "layer": "low", "batch_size": 3}
    found = explain(model, images, with_options("ablation_cam", relu=False), **options)
    assert_close(found.maps, wanted)
    assert found.layer == "low"


# Eigen-CAM.


def test_eigen_cam_of_one_pattern_is_the_pattern(photos):
    """Also where the channels disagree in sign: the mean channel decides which is up."""
    pattern = photos(1, (5, 8))[0]
    strengths = np.array([3.0, -1.0, 0.5])
    images = np.stack([pattern[..., None] * strengths, -pattern[..., None] * strengths])
    found = explain(scored_by_channels((5, 8, 3), HEAD[:3]), images, "eigen_cam").maps
    length = np.linalg.norm(strengths)
    assert_close(found, np.stack([pattern * length, -pattern * length]))


@pytest.mark.parametrize("layer", ["low", "features"])
def test_of_a_single_channel_the_component_is_the_channel(photos, layer):
    """And that of its shares is HiResCAM with its sign."""
    inputs = keras.Input((5, 8, 1))
    x = keras.layers.Conv2D(1, 3, activation="tanh", name="low")(inputs)
    x = keras.layers.Conv2D(1, 1, activation="softplus", name="features")(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    images = photos(2, (5, 8, 1))
    wanted, _ = parts(model, images, layer)
    found = explain(model, images, "eigen_cam", layer=layer).maps
    assert_close(found, wanted[..., 0])
    shares = explain(model, images, with_options("hires_cam", relu=False), layer=layer, target=1)
    found = explain(model, images, "eigen_grad_cam", layer=layer, target=1).maps
    assert_close(found, shares.maps)


def first_component(table):
    """Find the direction by power iteration, and project on it."""
    direction = np.ones(table.shape[-1])
    for _ in range(3000):
        direction = table.T @ (table @ direction)
        direction /= np.linalg.norm(direction)
    return table @ direction


@pytest.mark.parametrize("layer", ["low", "top"])
def test_eigen_cam_is_the_first_component_without_centring(classifier, photos, layer):
    model, images = classifier(pooled=False), photos(3)
    features, _ = parts(model, images, layer)
    found = explain(model, images, "eigen_cam", layer=layer).maps
    for map_, one in zip(found, features.astype("float64"), strict=True):
        wanted = first_component(one.reshape(-1, one.shape[-1])).reshape(map_.shape)
        wanted *= np.sign((wanted * one.mean(axis=-1)).sum())
        assert_close(map_, wanted, 1e-4)
    other = explain(model, images, "eigen_cam", layer=layer, target=3).maps
    np.testing.assert_array_equal(found, other)


def test_eigen_grad_cam_is_the_first_component_of_the_shares(classifier, photos):
    """Evidence against the class stays below zero, since HiResCAM decides which is up."""
    model, images = classifier(pooled=False), photos(3)
    features, _ = parts(model, images, "low")
    gradients = np.stack([explain(model, images, at(k), target=2).maps for k in range(5)], axis=-1)
    shares = (features * gradients).astype("float64")
    found = explain(model, images, "eigen_grad_cam", target=2, layer="low").maps
    for map_, one in zip(found, shares, strict=True):
        wanted = first_component(one.reshape(-1, 5)).reshape(map_.shape)
        wanted *= np.sign((wanted * one.sum(axis=-1)).sum())
        assert_close(map_, wanted, 1e-4)
    minus = explain(model, images, "eigen_grad_cam", target=-np.eye(4)[2], layer="low").maps
    assert_close(minus, -found, 1e-4)


def at(channel):
    def layer_gradient(model, images):
        return model.at("low").layer_gradients(images)[..., channel]

    return layer_gradient


# Finer-CAM.


def test_finer_cam_shows_what_a_class_has_alone():
    """Both classes need a shared feature; only the first has its own, elsewhere."""
    image = np.zeros((1, 5, 8, 3))
    image[0, 1, 1, 0] = 1.0  # what both classes look at
    image[0, 3, 6, 1] = 0.4  # what tells them apart
    image[0, 0, 7, 2] = 0.4
    head = [[2.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    model = scored_by_channels((5, 8, 3), head)
    plain = explain(model, image, "grad_cam", target=0).maps[0]
    assert np.unravel_index(plain.argmax(), plain.shape) == (1, 1)
    finer = with_options("finer_cam", similar=1, strength=1.0)
    found = explain(model, image, finer, target=0).maps[0]
    assert np.argwhere(found > 1e-7).tolist() == [[3, 6]]


@pytest.mark.parametrize(("similar", "strength"), [(1, 0.6), (2, 0.6), (3, 1.0), (9, 0.3)])
def test_finer_cam_of_a_pooled_head(photos, similar, strength):
    """The classes compared with are those whose logits are nearest, above or below."""
    head = np.random.default_rng(1).normal(size=(4, 5))
    images, target = photos(3, (5, 8, 4)), [1, 4, 0]
    logits = images.mean(axis=(1, 2)) @ head
    wanted = np.zeros((3, 5, 8))
    for n, c in enumerate(target):
        nearest = [d for d in np.argsort(np.abs(logits[n] - logits[n, c])) if d != c][:similar]
        weights = head[:, c] - strength * head[:, nearest].mean(axis=1)
        wanted[n] = images[n] @ weights / 40
    method = with_options("finer_cam", similar=similar, strength=strength, relu=False)
    model = scored_by_channels((5, 8, 4), head)
    found = explain(model, images, method, target=target)
    assert_close(found.maps, wanted)
    assert found.layer == "features"
    clipped = with_options("finer_cam", similar=similar, strength=strength)
    assert_close(explain(model, images, clipped, target=target).maps, np.maximum(wanted, 0))


def test_by_default_finer_cam_takes_three_classes_and_a_strength_of_six_tenths(classifier, photos):
    model, images = classifier("softmax", units=6), photos(2)
    given = with_options("finer_cam", similar=3, strength=0.6, relu=True)
    np.testing.assert_array_equal(
        explain(model, images, "finer_cam").maps, explain(model, images, given).maps
    )


def test_finer_cam_without_strength_is_grad_cam(classifier, photos):
    model, images = classifier(pooled=False), photos(3)
    found = explain(model, images, with_options("finer_cam", strength=0.0)).maps
    assert_close(found, explain(model, images, "grad_cam").maps)


def test_finer_cam_with_the_runner_up_is_the_contrast(classifier, photos):
    model, images = classifier(pooled=False), photos(3)
    method = with_options("finer_cam", similar=1, strength=1.0)
    wanted = explain(model, images, "grad_cam", target="contrast").maps
    assert_close(explain(model, images, method).maps, wanted)


@pytest.mark.parametrize(
    ("target", "units", "options", "said"),
    [
        (np.ones(4), 4, {}, "'finer_cam' compares classes"),
        (lambda outputs, labels: outputs[:, 0], 4, {}, "'finer_cam' compares classes"),
        (1, 4, {"similar": 0}, "similar must be an integer from 1"),
        (1, 4, {"strength": 1.5}, "strength must be a number from 0 to 1"),
    ],
)
def test_what_finer_cam_cannot_compare(classifier, photos, target, units, options, said):
    model = classifier("softmax", units=units)
    with pytest.raises(ValueError, match=said):
        explain(model, photos(1), with_options("finer_cam", **options), target=target)


def test_finer_cam_of_one_sigmoid_unit_is_grad_cam(classifier, photos):
    """Its logit is the lead over the other class; there is nothing to take off, at any strength."""
    model, images = classifier("sigmoid", 1, pooled=False), photos(2)
    model.compile(loss="binary_crossentropy")
    for target in (0, 1):
        plain = explain(model, images, with_options("grad_cam", relu=False), target=target).maps
        for strength in (0.0, 0.6, 1.0):
            method = with_options("finer_cam", relu=False, strength=strength)
            assert_close(explain(model, images, method, target=target).maps, plain)


# What holds for all of them.

ALL = {
    "score_cam": {},
    "ablation_cam": {"relu": False},
    "eigen_cam": {},
    "eigen_grad_cam": {},
    "finer_cam": {"relu": False},
    "layer_cam": {},
}


@pytest.mark.parametrize("method", ALL)
def test_a_map_does_not_depend_on_its_company_or_the_batch_size(classifier, photos, method):
    model, images = classifier(pooled=False), photos(5)
    chosen = with_options(method, **ALL[method])
    together = explain(model, images, chosen, batch_size=2).maps
    assert_close(explain(model, images, chosen).maps, together)
    assert_close(explain(model, images[3:4], chosen).maps[0], together[3])


@pytest.mark.parametrize("method", ALL)
def test_the_probability_is_explained_if_it_is_asked_for(classifier, photos, method):
    model, images = classifier(pooled=False), photos(2)
    chosen = with_options(method, **ALL[method])
    found = [
        explain(model, images, chosen, target=Target(1, of=of)).maps
        for of in ("logits", "probability")
    ]
    if method == "eigen_cam":
        np.testing.assert_array_equal(*found)
    else:
        assert np.abs(found[0] - found[1]).max() > 1e-6
