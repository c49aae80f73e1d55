"""tf-keras-vis, on the same Keras model.

It runs on Keras 3, on TensorFlow alone, and hands models their one input in a list, of which Keras
warns. Logits it gets by a copy of the model without the softmax. Its maps are compared before it
resizes them to the image and scales them to 0..1.

Left out is its Score-CAM: it weights a channel by the probability of the class, a softmax over the
classes; in the paper, and here, it is a softmax over the channels of their scores.
"""

import functools

import numpy as np
import pytest

from keras_saliency import explain, methods

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match"),
]

SEEDS = (0, 1)
CLASSES = np.array([1, 3, 0, 2])
RAW = {"expand_cam": False, "normalize_cam": False}


def ours(model, images, method, of="logits", **options):
    found = functools.partial(methods.get(method), **options) if options else method
    return explain(model, images, found, target=CLASSES, of=of, layer="top").maps


@pytest.fixture(scope="module")
def theirs(tf_keras_vis):
    """Compute what one of their classes makes of a model and images."""

    def compute(kind, model, images, of="logits", **options):
        linear = tf_keras_vis.utils.model_modifiers.ReplaceToLinear()
        peer = kind(model, model_modifier=linear if of == "logits" else None)
        score = tf_keras_vis.utils.scores.CategoricalScore(CLASSES.tolist())
        return np.asarray(peer(score, images, **options))

    return compute


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
def test_the_gradient(seed, of, network, pictures, tf_keras_vis, theirs, assert_agree):
    model, images = network(seed), pictures(seed=seed)
    given = theirs(tf_keras_vis.saliency.Saliency, model, images, of, normalize_map=False)
    assert_agree(ours(model, images, "saliency", of=of), given)


@pytest.mark.parametrize("seed", SEEDS)
def test_smooth_grad_with_given_noise(
    seed, network, pictures, tf_keras_vis, theirs, unit_noise, monkeypatch, assert_agree
):
    """Signed gradients are averaged, as in the paper and in the other libraries.

    Theirs averages absolute values unless told not to, as it is here, so that what noise turns
    around does not cancel out.
    """
    model, images, samples, level = network(seed), pictures(seed=seed), 5, 0.2
    noise = unit_noise(samples, seed)[:, None]
    monkeypatch.setattr(
        np.random, "normal", lambda mean, deviations, shape: mean + deviations * noise
    )
    given = theirs(
        tf_keras_vis.saliency.Saliency,
        model,
        images,
        smooth_samples=samples,
        smooth_noise=level,
        gradient_modifier=None,
        keepdims=True,
        normalize_map=False,
    )
    found = ours(model, images, "smooth_grad", samples=samples, noise=level, seed=seed)
    assert_agree(found, np.abs(given).max(axis=-1))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
@pytest.mark.parametrize("pooled", [True, False])
def test_grad_cam(seed, of, pooled, network, pictures, tf_keras_vis, theirs, assert_agree):
    model, images = network(seed, pooled=pooled), pictures(seed=seed)
    at_top = {"penultimate_layer": "top", "seek_penultimate_conv_layer": False}
    peer = tf_keras_vis.gradcam.Gradcam
    given = theirs(peer, model, images, of, activation_modifier=None, **at_top, **RAW)
    assert_agree(ours(model, images, "grad_cam", of=of, relu=False), given)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
def test_layer_cam(seed, of, network, pictures, tf_keras_vis, theirs, assert_agree):
    model, images = network(seed, pooled=False), pictures(seed=seed)
    at_top = {"penultimate_layer": "top", "seek_penultimate_conv_layer": False}
    given = theirs(tf_keras_vis.layercam.Layercam, model, images, of, **at_top, **RAW)
    assert_agree(ours(model, images, "layer_cam", of=of), given)


@pytest.mark.parametrize("seed", SEEDS)
def test_grad_cam_plus_plus_of_one_channel(
    seed, network, pictures, tf_keras_vis, theirs, assert_agree
):
    """A layer of one channel, each map divided by its peak.

    Theirs divides each channel's a_kij by their sum, as the code of the paper's authors does but
    no formula of the paper, and multiplies all by exp(S). For one channel both are factors of the
    whole map; positive ones as long as gradients are small, else the sum may be negative.
    """
    model, images = (
        network(seed, pooled=False, top="softplus", channels=1, scale=0.01),
        pictures(seed=seed),
    )
    at_top = {"penultimate_layer": "top", "seek_penultimate_conv_layer": False}
    peer = tf_keras_vis.gradcam_plus_plus.GradcamPlusPlus
    given = theirs(peer, model, images, **at_top, **RAW)
    found = ours(model, images, "grad_cam_plus_plus")
    assert_agree(by_peak(found), by_peak(given))


def by_peak(maps):
    return maps / np.abs(maps).max(axis=(1, 2), keepdims=True)
