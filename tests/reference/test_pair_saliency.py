"""The `saliency` package of PAIR, asking the same Keras model by a plain gradient tape.

SmoothGrad gets the same noise: `np.random.normal` gives what our method drew, in place of its own.
"""

import functools

import keras
import numpy as np
import pytest

from keras_saliency import explain, methods

pytestmark = pytest.mark.reference

SEEDS = (0, 1)
CLASSES = np.array([1, 3, 0, 2])


def ours(model, images, method, of="logits", **options):
    found = functools.partial(methods.get(method), **options) if options else method
    return explain(model, images, found, target=CLASSES, of=of, layer="top").maps


@pytest.fixture(scope="module")
def theirs(pair_saliency):
    """Compute what one of their classes makes of each image, (batch, ...)."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the model is asked by TensorFlow's gradient tape")

    def compute(kind, model, images, of="logits", call="GetMask", **options):
        ask = asker(pair_saliency, model, of)
        peer = getattr(getattr(pair_saliency, kind)(), call)
        masks = [
            peer(image, ask, int(target), **options)
            for image, target in zip(images, CLASSES, strict=True)
        ]
        return np.stack(masks)

    return compute


def asker(pair_saliency, model, of):
    """Build the function by which they ask a model: its answers under the names they expect."""
    import tensorflow as tf

    head = model.get_layer("head")
    seen = [model.get_layer(name).output for name in ("top", "pool")]
    probe = keras.Model(model.input, seen)

    @tf.function(reduce_retracing=True)
    def answers(batch, target):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(batch)
            values, pooled = probe(batch)
            logits = tf.matmul(pooled, head.kernel) + head.bias
            scores = (logits if of == "logits" else tf.nn.softmax(logits))[:, target]
        return {
            pair_saliency.INPUT_OUTPUT_GRADIENTS: tape.gradient(scores, batch),
            pair_saliency.CONVOLUTION_LAYER_VALUES: values,
            pair_saliency.CONVOLUTION_OUTPUT_GRADIENTS: tape.gradient(scores, values),
            pair_saliency.OUTPUT_LAYER_VALUES: scores,
        }

    def ask(batch, call_model_args, expected_keys):
        known = answers(tf.constant(batch, "float32"), tf.constant(call_model_args))
        return {key: known[key].numpy() for key in expected_keys}

    return ask


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
def test_the_gradient(seed, of, network, pictures, theirs, assert_agree):
    model, images = network(seed), pictures(seed=seed)
    given = theirs("GradientSaliency", model, images, of)
    assert_agree(ours(model, images, "saliency", of=of), np.abs(given).max(axis=-1))
    assert_agree(ours(model, images, "gradient_x_input", of=of), (images * given).sum(axis=-1))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("method", "squared"), [("smooth_grad", False), ("square_grad", True)])
def test_gradients_under_given_noise(
    seed, method, squared, network, pictures, theirs, unit_noise, monkeypatch, assert_agree
):
    model, images, samples, level = network(seed), pictures(seed=seed), 5, 0.2
    noise = [*unit_noise(samples, seed)] * len(images)
    monkeypatch.setattr(
        np.random, "normal", lambda mean, deviation, shape: mean + deviation * noise.pop(0)
    )
    given = theirs(
        "GradientSaliency",
        model,
        images,
        call="GetSmoothedMask",
        stdev_spread=level,
        nsamples=samples,
        magnitude=squared,
    )
    found = ours(model, images, method, samples=samples, noise=level, seed=seed)
    assert_agree(found, np.abs(given).max(axis=-1))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
def test_integrated_gradients(seed, of, network, pictures, theirs, assert_agree):
    """Their sum, taken to its limit: it counts both ends of the way in full.

    Twice the sum of twice the steps, less the sum, is rid of that. With 25 steps, their default,
    their maps miss completeness by some thousandths; ours, a Gauss-Legendre sum, by rounding.
    """
    model, images = network(seed, top="softplus"), pictures(seed=seed)
    begin = pictures(1, seed=9)[0]
    few, many = (
        theirs(
            "IntegratedGradients",
            model,
            images,
            of,
            x_baseline=begin,
            x_steps=steps,
            batch_size=steps,
        )
        for steps in (400, 800)
    )
    found = ours(model, images, "integrated_gradients", of=of, baseline=begin)
    assert_agree(found, (2 * many - few).sum(axis=-1))


@pytest.mark.parametrize("seed", SEEDS)
def test_blur_integrated_gradients(seed, network, pictures, theirs, assert_agree):
    """Images with a black margin, wider than the blur: at the border of the image they differ.

    Theirs goes on in black there, so that a blurred white image has dark edges, which no part of
    it had; ours takes the mean of what there is. Their sum is taken to its limit as above, since
    it counts the sharp end of each step; ours takes its middle. Their Gaussian ends at four
    deviations, ours does not, which is what the two still differ by.
    """
    model = network(seed, top="softplus")
    images = np.zeros_like(pictures())
    images[:, 5:8, 5:12] = pictures(seed=seed)[:, 5:8, 5:12]
    few, many = (
        theirs(
            "BlurIG",
            model,
            images,
            max_sigma=1.2,
            steps=steps,
            grad_step=1.2 / steps,
            batch_size=steps,
        )
        for steps in (100, 200)
    )
    found = ours(model, images, "blur_integrated_gradients", sigma=1.2, steps=200)
    assert_agree(found, (2 * many - few).sum(axis=-1), share=5e-4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("size", "cover"), [(4, 0.0), (7, 0.5)])
def test_occlusion(seed, size, cover, network, pictures, theirs, assert_agree):
    """A step of one pixel, the only one that theirs has.

    Theirs sums over the patches that hold a pixel, so that pixels near the border, which fewer
    patches reach, look unimportant; ours takes the mean. So their sum is divided by how many do.
    """
    model, images = network(seed), pictures(seed=seed)
    patches = np.zeros(images.shape[1:3])
    for row in range(images.shape[1] - size + 1):
        for column in range(images.shape[2] - size + 1):
            patches[row : row + size, column : column + size] += 1
    given = theirs("Occlusion", model, images, size=size, value=cover)[..., 0] / patches
    assert_agree(ours(model, images, "occlusion", patch=size, stride=1, baseline=cover), given)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
@pytest.mark.parametrize("pooled", [True, False])
def test_grad_cam(seed, of, pooled, network, pictures, theirs, assert_agree):
    model, images = network(seed, top="softplus", pooled=pooled), pictures(seed=seed)
    given = theirs("GradCam", model, images, of, should_resize=False, three_dims=False)
    alive = given.max(axis=(1, 2)) > 0
    assert alive.any()
    found = ours(model, images, "grad_cam", of=of)
    assert_agree(found[alive], given[alive])
    assert not found[~alive].any()
