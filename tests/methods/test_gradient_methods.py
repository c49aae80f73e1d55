"""The methods against closed forms, hand-made networks, differences and plain re-derivations."""

import functools

import keras
import numpy as np
import pytest

from keras_saliency import Probes, Target, explain, methods
from keras_saliency.attribution.explainer import Explainer

from helpers.backends import derivatives
from helpers.transformers import ATTENTION


def gradient(model, images):
    """The signed gradient at the only channel: a method of our own."""
    return model.input_gradients(images)[..., 0]


def layer_gradient(channel):
    def layer_gradient(model, images):
        return model.layer_gradients(images)[..., channel]

    return layer_gradient


def forward(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def assert_close_to_peak(found, wanted, share):
    """Compare with a tolerance relative to the largest value."""
    peak = np.abs(wanted).max()
    assert peak > 0
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * peak)


# Linear models: the gradient is the weights.


def linear(size, units=3, seed=0):
    model = keras.Sequential(
        [keras.Input(size), keras.layers.Flatten(), keras.layers.Dense(units, use_bias=False)]
    )
    weights = np.random.default_rng(seed).normal(size=(*size, units)).astype("float32")
    model.layers[-1].kernel.assign(weights.reshape(-1, units))
    return model, weights


REDUCED = {
    "max": lambda w: np.abs(w).max(axis=-1),
    "sum": lambda w: np.abs(w).sum(axis=-1),
    "l2": lambda w: np.sqrt((w**2).sum(axis=-1)),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("size", [(5, 8, 1), (7, 4, 3)])
@pytest.mark.parametrize("channels", REDUCED)
def test_saliency_of_a_linear_model_is_its_weights(photos, channels, size, seed):
    model, weights = linear(size, seed=seed)
    method = functools.partial(methods.get("saliency"), channels=channels)
    found = explain(model, photos(2, size), method, target=[2, 0])
    wanted = np.stack([REDUCED[channels](weights[..., c]) for c in (2, 0)])
    np.testing.assert_allclose(found.maps, wanted, rtol=1e-6)


def test_saliency_takes_the_maximum_of_channels_by_default(photos):
    model, weights = linear((5, 8, 3))
    found = explain(model, photos(1, (5, 8, 3)), "saliency", target=1)
    np.testing.assert_allclose(found.maps[0], np.abs(weights[..., 1]).max(axis=-1), rtol=1e-6)


@pytest.mark.parametrize("channels", ["max", "sum"])
def test_saliency_reduces_however_many_channels_a_signal_has(photos, channels):
    model, weights = linear((9, 7))
    method = functools.partial(methods.get("saliency"), channels=channels)
    found = explain(model, Probes(photos(2, (9, 7)), kind="signal"), method, target=1)
    np.testing.assert_allclose(found.maps[0], REDUCED[channels](weights[..., 1]), rtol=1e-6)


def test_saliency_refuses_another_reduction(photos):
    model, _ = linear((5, 8, 3))
    method = functools.partial(methods.get("saliency"), channels="mean")
    with pytest.raises(ValueError, match=r"'max', 'sum', 'l2'\. Received: channels='mean'"):
        explain(model, photos(1, (5, 8, 3)), method)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradient_x_input_of_a_linear_model_sums_to_the_score(photos, seed):
    model, weights = linear((6, 9, 3), seed=seed)
    images = photos(4, (6, 9, 3), seed)
    found = explain(model, images, "gradient_x_input", target=2)
    np.testing.assert_allclose(found.maps, (images * weights[..., 2]).sum(-1), atol=1e-6)
    np.testing.assert_allclose(found.maps.sum(axis=(1, 2)), found.scores, atol=1e-5)


# A convolution: the gradient of one output position is the kernel, laid over its window.


def convolution(kernel, size):
    rows, columns, channels, filters = kernel.shape
    layer = keras.layers.Conv2D(filters, (rows, columns), use_bias=False)
    model = keras.Sequential([keras.Input((*size, channels)), layer])
    layer.kernel.assign(kernel)
    return model


def test_one_position_of_a_convolution_of_ones_lights_up_its_window(photos):
    model = convolution(np.ones((3, 3, 1, 1)), (6, 8))
    one_hot = np.zeros((4, 6, 1))
    one_hot[1, 1] = 1
    window = np.zeros((6, 8))
    window[1:4, 1:4] = 1
    images = photos(2, (6, 8, 1))
    for method in (gradient, "saliency"):
        np.testing.assert_array_equal(
            explain(model, images, method, target=one_hot).maps, [window, window]
        )


def test_weighed_outputs_of_a_convolution_give_the_transposed_convolution(photos):
    random = np.random.default_rng(3)
    kernel = random.normal(size=(3, 2, 1, 2))
    upstream = random.normal(size=(2, 5, 7, 2))  # one for each image
    wanted = np.zeros((2, 7, 8))
    for n, i, j, f in np.ndindex(upstream.shape):
        wanted[n, i : i + 3, j : j + 2] += upstream[n, i, j, f] * kernel[:, :, 0, f]
    model = convolution(kernel, (7, 8))
    found = explain(model, photos(2, (7, 8, 1)), gradient, target=upstream)
    np.testing.assert_allclose(found.maps, wanted, atol=1e-5)


# A network whose activations and gradients are known: features are the image, the head is linear.

ACTIVATIONS = np.array([[[1, 2, 0], [4, 0, 3]], [[1, 0, 0], [2, 1, 0]]], float)
GRADIENTS = np.array([[[3, 0, 0], [-1, 6, 1]], [[-1, 0, 0], [1, 2, 0]]], float)


def known(gradients):
    """Build a model whose layer "features" gives the image and has these gradients (h, w, k)."""
    channels = gradients.shape[-1]
    features = keras.layers.Conv2D(channels, 1, use_bias=False, name="features")
    head = keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input(gradients.shape), features, keras.layers.Flatten(), head])
    features.kernel.assign(np.eye(channels)[None, None])
    head.kernel.assign(np.stack([0 * gradients.ravel(), gradients.ravel()], axis=1))
    return model


def maps_of_known(method, activations, gradients, **options):
    chosen = functools.partial(methods.get(method), **options)
    images = np.asarray(activations, "float32")[None]
    return explain(known(gradients), images, chosen, target=1, layer="features").maps[0]


# Worked out by hand from the formulas: sums of A are 10 and 4, means of g are 3/2 and 1/3.
BY_HAND = {
    "grad_cam": [[1.5 + 1 / 3, 3, 0], [6 + 2 / 3, 1 / 3, 4.5]],
    "hires_cam": [[2, 0, 0], [0, 2, 3]],
    "layer_cam": [[3, 0, 0], [2, 2, 3]],
    "xgrad_cam": [[0.95, 0.4, 0], [2.3, 0.75, 0.6]],
}


@pytest.mark.filterwarnings("ignore:The images' values run from", "ignore:Images of 2 channels")
@pytest.mark.parametrize("method", BY_HAND)
def test_maps_worked_out_by_hand(method):
    found = maps_of_known(method, np.moveaxis(ACTIVATIONS, 0, -1), np.moveaxis(GRADIENTS, 0, -1))
    np.testing.assert_allclose(found, BY_HAND[method], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:The images' values run from", "ignore:Images of 2 channels")
def test_relu_false_keeps_the_evidence_against():
    activations, gradients = np.moveaxis(ACTIVATIONS, 0, -1), np.moveaxis(GRADIENTS, 0, -1)
    found = maps_of_known("hires_cam", activations, gradients, relu=False)
    np.testing.assert_allclose(found, [[2, 0, 0], [-2, 2, 3]], rtol=1e-6)
    for method in ("grad_cam", "xgrad_cam"):
        found = maps_of_known(method, activations, -gradients, relu=False)
        np.testing.assert_allclose(found, -np.array(BY_HAND[method]), rtol=1e-6)
        assert not maps_of_known(method, activations, -gradients).any()


def slow_layer_cam(a, g):
    rows, columns, channels = a.shape
    found = np.zeros((rows, columns))
    for i, j in np.ndindex(rows, columns):
        total = sum(max(g[i, j, k], 0.0) * a[i, j, k] for k in range(channels))
        found[i, j] = max(total, 0.0)
    return found


def slow_grad_cam_plus_plus(a, g):
    """Equations 5 and 10 of the paper for Y = exp(S), with each derivative of Y written out."""
    rows, columns, channels = a.shape
    score = (a * g).sum()
    found = np.zeros((rows, columns))
    for k in range(channels):
        weight = 0.0
        for i, j in np.ndindex(rows, columns):
            first, second, third = (np.exp(score) * g[i, j, k] ** n for n in (1, 2, 3))
            below = 2 * second + a[..., k].sum() * third
            alpha = second / below if below else 0.0
            weight += alpha * max(first, 0.0)
        found += weight * a[..., k]
    return np.maximum(found, 0.0) / np.exp(score)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("method", "slow"),
    [("layer_cam", slow_layer_cam), ("grad_cam_plus_plus", slow_grad_cam_plus_plus)],
)
def test_slow_re_derivation_from_the_paper(method, slow, seed):
    random = np.random.default_rng(seed)
    activations = np.maximum(random.uniform(-1, 1, size=(4, 7, 3)), 0)
    gradients = random.normal(size=(4, 7, 3)) * (random.random((4, 7, 3)) < 0.7)
    found = maps_of_known(method, activations, gradients)
    np.testing.assert_allclose(found, slow(activations, gradients), rtol=1e-4, atol=1e-6)


def test_grad_cam_plus_plus_counts_places_alike_and_silent_channels_not_at_all():
    """One place or many of a pattern: Grad-CAM's weight grows with the area, ++'s does not."""
    gradients, activations = np.zeros((5, 6, 3)), np.zeros((5, 6, 3))
    activations[0, 0, 0] = gradients[0, 0, 0] = 1.0  # a small object, a large one, and nothing
    activations[2:4, 2:4, 1] = 1.0
    gradients[2:4, 2:4, 1] = 1.0
    small_and_large = maps_of_known("grad_cam", activations, gradients)
    assert small_and_large[2, 2] == pytest.approx(4 * small_and_large[0, 0])
    found = maps_of_known("grad_cam_plus_plus", activations, gradients)
    np.testing.assert_allclose(found[0, 0], 1 / 3, rtol=1e-6)  # 1 / (2 + 1)
    np.testing.assert_allclose(found[2, 2], 4 / 6, rtol=1e-6)  # 4 places of 1 / (2 + 4)


@pytest.mark.parametrize("seed", [0, 1])
def test_xgrad_cam_sums_to_hires_cam(seed):
    random = np.random.default_rng(seed)
    activations, gradients = random.random((6, 5, 3)), random.normal(size=(6, 5, 3))
    activations[..., 2] = 0  # a silent channel has nothing to share out
    sums = [
        maps_of_known(method, activations, gradients, relu=False).sum()
        for method in ("xgrad_cam", "hires_cam")
    ]
    assert sums[0] == pytest.approx(sums[1], rel=1e-4)


# Global average pooling and one dense layer: where CAM, Grad-CAM and HiResCAM are one.


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("head", "units"), [("softmax", 4), ("linear", 3), ("sigmoid", 1)])
def test_grad_cam_of_a_pooled_head_is_cam_over_the_area(classifier, photos, head, units, seed):
    model, images = classifier(head, units, seed), photos(3, seed=seed)
    if units == 1:
        model.compile(loss="binary_crossentropy")
    features = forward(keras.Model(model.input, model.get_layer("top").output), images)
    kernel = model.get_layer("head").get_weights()[0]
    weights = np.concatenate([-kernel, kernel], axis=1) if units == 1 else kernel
    wanted = np.einsum("nijk,kc->ncij", features, weights)
    classes = wanted.max(axis=(2, 3)).argmax(axis=1)  # for the others all evidence may be against
    cam = explain(model, images, "cam", target=classes).maps
    assert_close_to_peak(cam, wanted[range(3), classes], 1e-6)
    area = cam[0].size
    for method in ("grad_cam", "hires_cam"):
        found = explain(model, images, method, target=classes).maps
        assert_close_to_peak(found, np.maximum(cam, 0) / area, 1e-5)


def test_cam_of_class_0_of_one_sigmoid_unit_is_that_of_class_1_with_the_other_sign(
    classifier, photos
):
    model, images = classifier("sigmoid", 1), photos()
    ones, zeros = (explain(model, images, "cam", target=c).maps for c in (1, 0))
    np.testing.assert_array_equal(zeros, -ones)


def test_mean_of_cam_and_bias_is_the_logit(classifier, photos):
    model = classifier("softmax")
    model.get_layer("head").bias.assign([0.5, -1.0, 2.0, 0.25])
    found = explain(model, photos(), "cam", target=2)
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)) + 2.0, found.scores, atol=1e-5)


# Differences: the derivative without any differentiation.


def differences(function, at, step):
    """Central differences of `function` (batch -> scores) at one array, element by element."""
    moved = np.repeat(at[None], 2 * at.size, axis=0)
    flat = moved.reshape(2, at.size, at.size)
    flat[0][np.diag_indices(at.size)] += step
    flat[1][np.diag_indices(at.size)] -= step
    up, down = function(moved).reshape(2, at.size)
    return ((up.astype("float64") - down) / (2 * step)).reshape(at.shape)


# Rounding of float32 scores of about 1 gives an error of 1e-7 / 1e-2, the step's square 1e-4.
STEP = 1e-2


@pytest.mark.parametrize("seed", [0, 1])
def test_differences_at_the_input(classifier, photos, seed):
    size = (7, 9, 2)
    model = classifier("linear", seed=seed, size=size, pooled=False)
    image = photos(1, size, seed)[0]
    wanted = differences(lambda x: forward(model, x)[:, 3], image, STEP)
    with pytest.warns(UserWarning, match="2 channels"):
        found = explain(model, image[None], "gradient_x_input", target=3).maps[0]
    assert_close_to_peak(found, (image * wanted).sum(axis=-1), 2e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_differences_at_the_layer(classifier, photos, seed):
    model, image = classifier("linear", seed=seed, pooled=False), photos(1, seed=seed)
    low = model.get_layer("low")
    rest = keras.Model(low.output, model.output)
    features = forward(keras.Model(model.input, low.output), image)[0]
    wanted = differences(lambda a: forward(rest, a)[:, 3], features, STEP)
    for channel in (0, 4):
        found = explain(model, image, layer_gradient(channel), target=3, layer="low").maps[0]
        assert_close_to_peak(found, wanted[..., channel], 2e-3)
    found = explain(model, image, "hires_cam", target=3, layer="low").maps[0]
    assert_close_to_peak(found, np.maximum((features * wanted).sum(axis=-1), 0), 2e-3)


# Every method, from activations and gradients of a plain tape over a two-output model.


def plus_plus(a, g):
    alpha = 1 / (2 + g * a.sum(axis=(1, 2), keepdims=True))
    weights = (alpha * np.maximum(g, 0)).sum(axis=(1, 2), keepdims=True)
    return np.maximum((weights * a).sum(-1), 0)


PLAIN = {
    "saliency": lambda x, dx, a, g, w: np.abs(dx).max(-1),
    "gradient_x_input": lambda x, dx, a, g, w: (x * dx).sum(-1),
    "grad_cam": lambda x, dx, a, g, w: np.maximum((g.mean((1, 2), keepdims=True) * a).sum(-1), 0),
    "hires_cam": lambda x, dx, a, g, w: np.maximum((g * a).sum(-1), 0),
    "layer_cam": lambda x, dx, a, g, w: np.maximum((np.maximum(g, 0) * a).sum(-1), 0),
    "xgrad_cam": lambda x, dx, a, g, w: np.maximum(
        ((a * g).sum((1, 2), keepdims=True) / a.sum((1, 2), keepdims=True) * a).sum(-1), 0
    ),
    "grad_cam_plus_plus": lambda x, dx, a, g, w: plus_plus(a, g),
    "cam": lambda x, dx, a, g, w: (a * w).sum(-1),
}


def taped(model, images, layer):
    """Derive activations and gradients plainly, the model taken apart; image n has class n."""
    head, seen = model.get_layer("head"), model.get_layer(layer).output
    front, back = keras.Model(model.input, seen), keras.Model(seen, head.input)

    def score(a):
        pooled = back(a, training=False)
        return keras.ops.trace(pooled @ head.kernel + head.bias)

    a = front(images, training=False)
    (dx,) = derivatives(lambda x: score(front(x, training=False)), images)
    (g,) = derivatives(score, a)
    weights = keras.ops.transpose(head.kernel)[:, None, None]
    found = [keras.ops.convert_to_numpy(value) for value in (images, dx, a, g, weights)]
    return [value.astype("float64") for value in found]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("method", PLAIN)
def test_plain_derivatives_agree(classifier, photos, method, seed):
    pooled = method == "cam"
    model, images = classifier("softmax", seed=seed, pooled=pooled), photos(4, seed=seed)
    layer = "top" if pooled else "low"
    found = explain(model, images, method, target=[0, 1, 2, 3], layer=layer)
    assert_close_to_peak(found.maps, PLAIN[method](*taped(model, images, layer)), 1e-5)


# What holds for every method; for those that ask about many copies it is tested with these.

ONE_PASS = [
    *("saliency", "gradient_x_input", "cam", "grad_cam", "grad_cam_plus_plus", "hires_cam"),
    *("xgrad_cam", "layer_cam", "eigen_cam", "eigen_grad_cam", "finer_cam"),
    *sorted(ATTENTION),
]
MANY_COPIES = [
    *("smooth_grad", "square_grad", "var_grad", "integrated_gradients", "expected_gradients"),
    *("blur_integrated_gradients", "occlusion", "rise", "score_cam", "ablation_cam"),
]


def transformer():
    inputs = keras.Input((9, 12, 3))
    x = keras.layers.Reshape((12, 4))(keras.layers.Conv2D(4, 3, strides=3)(inputs))
    x = keras.layers.MultiHeadAttention(2, 4)(x, x)
    return keras.Model(inputs, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling1D()(x)))


def test_every_method_is_held_to_this():
    assert sorted(ONE_PASS + MANY_COPIES) == methods.available()


@pytest.mark.filterwarnings("ignore:The images' values run from")
@pytest.mark.parametrize("method", ONE_PASS)
def test_a_map_is_that_of_its_image_alone_at_every_look(classifier, photos, method):
    """In any batch, beside an image a hundred times as bright, and as often as it is asked."""
    model = transformer() if method in ATTENTION else classifier()
    images = photos(3) * np.array([1.0, 100.0, 1.0], "float32")[:, None, None, None]
    watch = Explainer(model, Probes(images), [method], Target([2, 0, 3]), None, 2)
    first, second = (watch.evaluate().maps[method] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.any()
    for index, target in enumerate((2, 0, 3)):
        alone = explain(model, images[index : index + 1], method, target=target).maps[0]
        np.testing.assert_allclose(first[index], alone, atol=1e-4 * np.abs(alone).max() + 1e-9)


# What is a method.


def test_available_methods_are_named_as_their_functions():
    assert {"saliency", "grad_cam", "cam"} <= set(methods.available())
    for name in methods.available():
        assert methods.get(name).__name__ == name


def test_get_returns_a_callable_as_it_is():
    assert methods.get(gradient) is gradient


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown method 'Grad-CAM'\. Did you mean 'grad_cam'"):
        methods.get("Grad-CAM")
    with pytest.raises(ValueError, match=r"Unknown method 'zzz'\. Available: .*cam, .*grad_cam"):
        methods.get("zzz")


def test_a_method_is_a_name_or_a_callable():
    with pytest.raises(TypeError, match="Received: 3"):
        methods.get(3)


def test_a_partial_goes_by_the_name_of_its_function():
    assert methods.name_of(functools.partial(gradient)) == "gradient"


def test_own_method_asks_about_other_images(classifier, photos):
    """The gradient halfway to black; the target of each image is its own."""

    def halfway(model, images):
        return model.input_gradients(0.5 * images)[..., 0]

    def here(model, images):
        return model.input_gradients(images)[..., 0]

    model, images, classes = classifier(pooled=False), photos(3), [2, 0, 3]
    found = explain(model, images, halfway, target=classes, batch_size=2).maps
    wanted = explain(model, 0.5 * images, here, target=classes).maps
    assert_close_to_peak(found, wanted, 1e-5)


def test_own_method_asks_about_more_copies_than_go_through_at_once(classifier, photos):
    """Three copies of each of two images, four at a time, scored for the class of their image."""

    def three(images):
        return np.repeat(np.asarray(images), 3, axis=0)

    brightness = np.array([1.0, 0.5, 0.2], "float32")[:, None, None, None]

    def copies(model, images):
        count = images.shape[0]
        darker = keras.ops.repeat(images, 3, axis=0) * keras.ops.tile(brightness, (count, 1, 1, 1))
        found = model.input_gradients(darker, three(range(count)))[..., 0]
        return keras.ops.sum(keras.ops.reshape(found, (count, 3, *found.shape[1:])), axis=1)

    model, images, classes = classifier(pooled=False), photos(2), [3, 1]
    found = explain(model, images, copies, target=classes, batch_size=4).maps
    given = three(images) * np.tile(brightness, (2, 1, 1, 1))
    each = explain(model, given, gradient, target=three(classes)).maps
    assert_close_to_peak(found, each.reshape(2, 3, *each.shape[1:]).sum(axis=1), 1e-5)


def test_own_method_sees_scores_and_classes(classifier, photos):
    def told(model, images):
        ones = keras.ops.ones(images.shape[:3])
        classes = keras.ops.cast(model.classes(images), "float32")
        return ones * (model.scores(images) + 100 * classes)[:, None, None]

    model, images = classifier("linear"), photos(2)
    found = explain(model, images, told, target=[3, 1])
    logits = forward(model, images)
    wanted = logits[[0, 1], [3, 1]] + [300, 100]
    np.testing.assert_allclose(found.maps[:, 4, 7], wanted, rtol=1e-5)


def test_gradient_of_a_probability_is_another_map(classifier, photos):
    """A method explains what the target says, not always the logit."""
    model, images = classifier(pooled=False), photos(1)
    logit = explain(model, images, gradient, target=1).maps
    chance = explain(model, images, gradient, target=Target(1, of="probability")).maps
    assert np.abs(logit - chance).max() > 0.1 * np.abs(logit).max()
