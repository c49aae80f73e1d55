"""Methods that ask about changed copies of an image, against closed forms and axioms."""

import functools

import keras
import numpy as np
import pytest

from keras_saliency import Probes, Target, explain, methods
from keras_saliency.attribution import explainer, progress

from helpers.backends import uncompiled

SIZE = (5, 8, 3)
pytestmark = pytest.mark.filterwarnings("ignore:The images' values run from")


def with_options(method, **options):
    return functools.partial(methods.get(method), **options)


def linear(size=SIZE, seed=0):
    """Build a model whose score of class 1 is sum(weights * image)."""
    model = keras.Sequential(
        [keras.Input(size), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    )
    weights = np.random.default_rng(seed).normal(size=(*size, 2)).astype("float32")
    model.layers[-1].kernel.assign(weights.reshape(-1, 2))
    return model, weights[..., 1]


class SumOfSquares(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.sum(keras.ops.square(inputs), axis=tuple(range(1, len(inputs.shape))))


def quadratic(size=SIZE):
    """Build a model whose score is the sum of the squared values, with the gradient 2 x."""
    square = keras.layers.Reshape((1,))
    return keras.Sequential([keras.Input(size), SumOfSquares(), square])


def scores(model, images, target):
    return explain(model, images, "saliency", target=target).scores


# What holds for all of them.

FEW = {
    "smooth_grad": {"samples": 5},
    "square_grad": {"samples": 5},
    "var_grad": {"samples": 5},
    "integrated_gradients": {"steps": 5},
    "blur_integrated_gradients": {"steps": 5},
    "expected_gradients": {"samples": 5},
    "occlusion": {"patch": 5},
    "rise": {"samples": 7, "cells": 3},
    "score_cam": {},
    "ablation_cam": {},
}


@pytest.fixture(scope="module")
def found(classifier, photos):
    """Explain three images by each method with three models, once for all tests."""

    @functools.cache
    def build(method, batch_size=32):
        chosen = with_options(method, **FEW[method])
        return explain(classifier(pooled=False), photos(3), chosen, batch_size=batch_size).maps

    return build


def assert_close(one, other, share=1e-5):
    np.testing.assert_allclose(one, other, rtol=0, atol=share * np.abs(other).max() + 1e-9)


@pytest.mark.parametrize("method", FEW)
def test_maps_do_not_depend_on_the_batch_size(found, method):
    assert np.abs(found(method)).max() > 0
    assert_close(found(method, batch_size=4), found(method))


@pytest.mark.parametrize("method", FEW)
def test_a_batch_is_explained_as_one_by_one(classifier, photos, found, method):
    """One alone is in other company, too: its noise and masks must be the same."""
    model, chosen = classifier(pooled=False), with_options(method, **FEW[method])
    alone = explain(model, photos(3)[1:2], chosen, batch_size=1).maps[0]
    # Score-CAM scales the faintest channel to 0..1, and with it what torch rounds otherwise there.
    assert_close(alone, found(method)[1], share=1e-4 if method == "score_cam" else 1e-5)


@pytest.mark.parametrize("method", FEW)
def test_the_same_weights_give_the_same_map_at_every_look(classifier, photos, method):
    chosen = with_options(method, **FEW[method])
    before = np.random.get_state()[1].copy()
    probes, target = Probes(photos(2)), Target(1)
    watch = explainer.Explainer(classifier(), probes, [chosen], target, None, 32)
    first, second = (watch.evaluate().maps[method] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("method", FEW)
def test_no_pass_is_larger_than_the_batch_size(photos, method):
    """Where passes are traced, whole chunks of copies are traced once, however many there are."""
    sizes = []

    class Noting(keras.layers.Layer):
        def call(self, inputs):
            sizes.append(inputs.shape[0])
            return 1.0 * inputs

    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((9, 12, 3)), Noting(), *layers, keras.layers.Dense(2)])
    sizes.clear()
    explain(model, photos(3), with_options(method, **FEW[method]), target=1, batch_size=4)
    assert max(size for size in sizes if size is not None) <= 4
    assert 4 in sizes
    if keras.backend.backend() != "torch":
        assert sizes.count(4) == 1


@pytest.mark.parametrize(
    ("method", "option", "value", "said"),
    [
        ("smooth_grad", "samples", 0, "samples must be an integer from 1. Received: samples=0"),
        ("square_grad", "noise", -0.1, "noise must be a number from 0. Received: noise=-0.1"),
        ("var_grad", "seed", 0.5, "seed must be an integer from 0. Received: seed=0.5"),
        ("smooth_grad", "base", "grad_kam", "Unknown method 'grad_kam'"),
        ("integrated_gradients", "steps", 1.5, "steps must be an integer from 1"),
        ("integrated_gradients", "baseline", "grey", "one of 'zeros', 'mean', 'blur', a number"),
        ("integrated_gradients", "baseline", np.ones((8, 5, 3)), r"shape \(8, 5, 3\)"),
        ("blur_integrated_gradients", "sigma", np.nan, "sigma must be a number from 0"),
        ("expected_gradients", "samples", True, "samples must be an integer"),
        ("expected_gradients", "baselines", np.ones((5, 8, 3)), r"shape \(n, 5, 8, 3\)"),
        ("occlusion", "patch", (2, 9), r"patch must be.*size \(5, 8\).*patch=\(2, 9\)"),
        ("occlusion", "stride", 0, "stride must be"),
        ("rise", "share", 1.5, "share must be a number from 0 to 1. Received: share=1.5"),
        ("rise", "cells", 6, "cells must be"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_computed(photos, method, option, value, said):
    model, _ = linear()
    chosen = with_options(method, **{option: value})
    with pytest.raises(ValueError, match=said):
        explainer.Explainer(model, Probes(photos(1, SIZE)), [chosen], Target(1), None, 32)


def test_how_many_copies_a_method_asks_about_is_known_beforehand(photos):
    chosen = [
        "saliency",
        with_options("smooth_grad", samples=7),
        with_options("occlusion", patch=(3, 2), stride=(2, 3)),
    ]
    model, _ = linear()
    watch = explainer.Explainer(model, Probes(photos(2, SIZE)), chosen, Target(1), None, 32)
    assert watch.perturbed == {"saliency": 0, "smooth_grad": 7, "occlusion": 2 * 3}


@pytest.mark.parametrize("interactive", [True, False])
def test_a_bar_is_shown_for_what_lasts_if_keras_may_talk(photos, capsys, monkeypatch, interactive):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    asked = keras.config.is_interactive_logging_enabled
    monkeypatch.setattr(keras.config, "is_interactive_logging_enabled", lambda: interactive)
    model, _ = linear()
    method = with_options("smooth_grad", samples=6)
    explain(model, photos(3, SIZE), method, target=1, batch_size=2)
    monkeypatch.setattr(keras.config, "is_interactive_logging_enabled", asked)
    shown = capsys.readouterr().out
    # Two batches of two images, each of 6 passes over two copies.
    assert ("12/12" in shown) == interactive
    assert bool(shown) == interactive


def test_nothing_is_shown_for_what_is_quick_or_asked_by_the_callback(photos, capsys, monkeypatch):
    model, _ = linear()
    method = with_options("smooth_grad", samples=6)
    explain(model, photos(3, SIZE), method, target=1)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    probes = Probes(photos(3, SIZE))
    explainer.Explainer(model, probes, [method], Target(1), None, 32).evaluate()
    assert capsys.readouterr().out == ""


# SmoothGrad and its relatives.


def test_noise_changes_nothing_about_a_linear_model(photos):
    model, weights = linear()
    images = photos(2, SIZE)
    size = np.abs(weights).max(axis=-1)
    wanted = {"smooth_grad": size, "square_grad": size**2, "var_grad": 0 * size}
    for method, one in wanted.items():
        maps = explain(model, images, with_options(method, samples=4), target=1).maps
        np.testing.assert_allclose(maps, [one, one], rtol=1e-5, atol=1e-9)


def test_without_noise_smooth_grad_is_saliency(classifier, photos):
    model, images = classifier(pooled=False), photos(2)
    plain = explain(model, images, "saliency").maps
    for method, wanted in {"smooth_grad": plain, "square_grad": plain**2}.items():
        maps = explain(model, images, with_options(method, samples=3, noise=0.0)).maps
        assert_close(maps, wanted)
    maps = explain(model, images, with_options("var_grad", samples=3, noise=0.0)).maps
    assert maps.max() < 1e-9 * plain.max()


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_noise_is_relative_to_each_images_own_range(photos, noise):
    """The gradient of the sum of squares is 2 x, so its variance is that of the noise, times 4."""
    images = photos(2, SIZE) * np.array([1.0, 255.0], "float32").reshape(-1, 1, 1, 1)
    method = with_options("var_grad", samples=400, noise=noise)
    maps = explain(quadratic(), images, method).maps
    spans = np.ptp(images.reshape(2, -1), axis=1)
    # The largest of three channels lies above the mean; the sample deviation is 7 %.
    ratio = maps.mean(axis=(1, 2)) / (2 * noise * spans) ** 2
    np.testing.assert_allclose(ratio, 1.06, atol=0.06)
    assert_close(maps[1] / spans[1] ** 2, maps[0] / spans[0] ** 2, 1e-4)


def test_averages_over_noise_are_those_of_its_moments(photos):
    image = photos(1, SIZE)
    noise = 0.1 * np.ptp(image)
    mean, square = (
        explain(quadratic(), image, with_options(m, samples=600, noise=0.1)).maps[0]
        for m in ("smooth_grad", "square_grad")
    )
    np.testing.assert_allclose(mean, 2 * image[0].max(-1), atol=5 * 2 * noise / np.sqrt(600))
    wanted = (4 * (image[0] ** 2 + noise**2)).max(-1)
    np.testing.assert_allclose(square, wanted, rtol=0.15)


def test_signs_cancel_before_channels_are_reduced(photos):
    """Around zero the gradient 2 x has the sign of the noise: averages fade, sizes would not."""
    image = photos(1, SIZE) - 0.5
    image[0, 2, 3] = 0.0
    maps = explain(quadratic(), image, with_options("smooth_grad", samples=400)).maps
    noise = 0.15 * np.ptp(image)
    assert maps[0, 2, 3] < 0.3 * 2 * noise


@pytest.mark.parametrize("base", ["gradient_x_input", "grad_cam"])
def test_a_base_is_asked_about_the_noisy_copies(classifier, photos, base):
    """Re-derived from the copies that the method sends through the model."""
    seen = []

    def noting(model, images):
        seen.append(keras.ops.convert_to_numpy(images))
        return methods.get(base)(model, images)

    model, images = classifier(pooled=False), photos(2)
    options = {"samples": 4, "noise": 0.3, "base": noting}
    maps = {
        method: explain(model, images, with_options(method, **options), target=[3, 0]).maps
        for method in ("smooth_grad", "square_grad", "var_grad")
    }
    copies = np.concatenate(seen[:1]).reshape(4, 2, *images.shape[1:])
    assert np.abs(copies[0] - copies[1]).max() > 0.1
    each = np.stack([explain(model, one, base, target=[3, 0]).maps for one in copies])
    assert_close(maps["smooth_grad"], each.mean(axis=0))
    assert_close(maps["square_grad"], (each**2).mean(axis=0))
    assert_close(maps["var_grad"], each.var(axis=0), 1e-4)


def test_another_seed_draws_other_noise_and_more_samples_go_on_from_fewer(photos):
    model = quadratic()
    by_seed = [
        explain(model, photos(1, SIZE), with_options("smooth_grad", samples=3, seed=seed)).maps
        for seed in (0, 1)
    ]
    assert np.abs(by_seed[0] - by_seed[1]).max() > 1e-3
    samples = [
        explain(model, photos(1, SIZE), with_options("smooth_grad", samples=n)).maps for n in (3, 9)
    ]
    assert np.abs(samples[0] - samples[1]).max() > 1e-3


def test_copies_are_scored_for_what_was_predicted_for_their_image(classifier, photos):
    """Noise this strong changes the prediction; the question stays the same."""
    model, images = classifier("linear", pooled=False), photos(6)
    predicted = explain(model, images, "saliency").targets
    method = with_options("smooth_grad", samples=6, noise=3.0)
    assert_close(
        explain(model, images, method).maps, explain(model, images, method, target=predicted).maps
    )


# Paths from a baseline.

IMAGE = np.random.default_rng(9).random(SIZE)
BASELINES = {
    "zeros": ("zeros", lambda images: 0 * images),
    "mean": ("mean", lambda images: images.mean(axis=(1, 2), keepdims=True)),
    "number": (0.25, lambda images: 0.25),
    "colour": ([0.1, 0.2, 0.3], lambda images: [0.1, 0.2, 0.3]),
    "image": (IMAGE, lambda images: IMAGE),
}


@pytest.mark.parametrize("baseline", BASELINES)
def test_integrated_gradients_of_a_linear_model(photos, baseline):
    model, weights = linear()
    images = photos(2, SIZE)
    given, derived = BASELINES[baseline]
    wanted = ((images - derived(images)) * weights).sum(axis=-1)
    method = with_options("integrated_gradients", baseline=given)
    np.testing.assert_allclose(explain(model, images, method, target=1).maps, wanted, atol=1e-5)


def test_the_blurred_baseline_keeps_colours_and_loses_details(photos):
    model, weights = linear((21, 34, 3))
    images = photos(1, (21, 34, 3))
    images[0, :, :17] += 2.0
    method = with_options("integrated_gradients", baseline="blur")
    lost = explain(model, images, method, target=1).maps[0] / weights.sum(axis=-1)
    grey = np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)
    gone = explain(model, grey, method, target=1).maps[0] / weights.sum(axis=-1)
    # Each plain half, far from its edge, has become its own mean; the noise is what was lost.
    assert np.abs(gone[:, :4].mean()) < 0.05
    assert np.abs(gone[:, -4:].mean()) < 0.05
    assert np.isfinite(lost).all()
    assert np.corrcoef(gone[:, -4:].ravel(), grey[0, :, -4:, 0].ravel())[0, 1] > 0.9


def test_one_step_is_the_gradient_halfway(classifier, photos):
    model, images = classifier(pooled=False), photos(2)
    halfway = explain(model, 0.5 * images, "gradient_x_input", target=2).maps
    method = with_options("integrated_gradients", steps=1)
    assert_close(explain(model, images, method, target=2).maps, 2 * halfway)


def relu_network(size):
    random = np.random.default_rng(4)
    layers = [
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential([keras.Input(size), *layers])
    for weight in model.weights:
        fan_in = np.prod(weight.shape[:-1])
        weight.assign(random.normal(size=weight.shape) * np.sqrt(2 / fan_in))
    return model


@pytest.mark.parametrize("kind", ["smooth", "relu"])
@pytest.mark.parametrize("baseline", ["zeros", "mean", "blur"])
def test_integrated_gradients_are_complete(classifier, photos, kind, baseline):
    """With the default steps, to a thousandth: where gradients jump, of all that is shared out."""
    images = photos(3, (23, 30, 3))
    size = images.shape[1:]
    model = (
        classifier("linear", pooled=False, size=size) if kind == "smooth" else relu_network(size)
    )
    found = explain(
        model, images, with_options("integrated_gradients", baseline=baseline), target=1
    )
    base = {
        "zeros": 0 * images,
        "mean": 0 * images + images.mean(axis=(1, 2), keepdims=True),
        "blur": np.stack([gaussian(image, (2.3, 3.0)) for image in images]),
    }[baseline]
    wanted = found.scores - scores(model, base, 1)
    whole = np.abs(wanted) if kind == "smooth" else np.abs(found.maps).sum(axis=(1, 2))
    assert (np.abs(found.maps.sum(axis=(1, 2)) - wanted) < 1e-3 * whole).all()


def gaussian(image, sigmas):
    """Blur slowly: each pixel the weighted mean of all pixels of its row, then of its column."""
    for axis, sigma in enumerate(sigmas):
        places = np.arange(image.shape[axis])
        blurred = np.empty_like(image)
        for place in places:
            weights = np.exp(-((places - place) ** 2) / (2 * sigma**2))
            mean = np.average(image, axis=axis, weights=weights)
            blurred[(slice(None),) * axis + (place,)] = mean
        image = blurred
    return image


@pytest.mark.parametrize("sigma", [1.5, 50.0])
def test_blur_integrated_gradients_of_a_linear_model(photos, sigma):
    model, weights = linear((7, 10, 3))
    images = photos(2, (7, 10, 3))
    soft = np.stack([gaussian(image, (sigma, sigma)) for image in images])
    wanted = ((images - soft) * weights).sum(axis=-1)
    for steps in (1, 9):
        method = with_options("blur_integrated_gradients", sigma=sigma, steps=steps)
        np.testing.assert_allclose(explain(model, images, method, target=1).maps, wanted, atol=1e-5)


def test_without_blur_there_is_no_way_to_go(classifier, photos):
    method = with_options("blur_integrated_gradients", sigma=0.0, steps=3)
    assert not explain(classifier(pooled=False), photos(2), method).maps.any()


def test_from_an_image_to_itself_there_is_no_way_to_go(classifier, photos):
    image = photos(1)
    method = with_options("integrated_gradients", baseline=image[0], steps=3)
    assert not explain(classifier(pooled=False), image, method).maps.any()


def test_blur_integrated_gradients_are_complete(classifier, photos):
    images = photos(2, (23, 30, 3))
    model = relu_network((23, 30, 3))
    found = explain(model, images, "blur_integrated_gradients", target=1)
    soft = np.stack([gaussian(image, (50.0, 50.0)) for image in images])
    wanted = found.scores - scores(model, soft, 1)
    whole = np.abs(found.maps).sum(axis=(1, 2))
    assert (np.abs(found.maps.sum(axis=(1, 2)) - wanted) < 1e-2 * whole).all()
    coarse = explain(model, images, with_options("blur_integrated_gradients", steps=2), target=1)
    assert np.abs(coarse.maps - found.maps).max() > 0.05 * np.abs(found.maps).max()


def test_expected_gradients_of_a_linear_model_are_the_mean_over_baselines(photos):
    model, weights = linear()
    images, given = photos(2, SIZE), photos(5, SIZE, seed=3)
    method = with_options("expected_gradients", baselines=given, samples=15)
    wanted = ((images - given.mean(axis=0)) * weights).sum(axis=-1)
    np.testing.assert_allclose(explain(model, images, method, target=1).maps, wanted, atol=1e-5)


def test_plain_baselines_have_the_colours_of_the_image_itself(photos):
    """Every pixel once: the mean baseline is the mean colour."""
    model, weights = linear()
    images = photos(2, SIZE)
    method = with_options("expected_gradients", samples=40)
    wanted = ((images - images.mean(axis=(1, 2), keepdims=True)) * weights).sum(axis=-1)
    np.testing.assert_allclose(explain(model, images, method, target=1).maps, wanted, atol=1e-5)


def test_one_baseline_gives_integrated_gradients(classifier, photos):
    model, images, given = classifier(pooled=False), photos(2), photos(1, seed=5)
    wanted = explain(model, images, with_options("integrated_gradients", baseline=given[0])).maps
    for seed in (0, 1):
        method = with_options("expected_gradients", baselines=given, samples=200, seed=seed)
        assert_close(explain(model, images, method).maps, wanted, 1e-3)
    few = [
        explain(model, images, with_options("expected_gradients", samples=4, seed=seed)).maps
        for seed in (0, 1)
    ]
    assert np.abs(few[0] - few[1]).max() > 1e-2 * np.abs(wanted).max()


# Occlusion.


@pytest.mark.parametrize("size", [(5, 8, 3), (9, 4, 1)])
def test_occlusion_of_a_linear_model_is_the_sum_over_the_patch(photos, size):
    model, weights = linear(size)
    images = photos(2, size)
    shares = ((images - images.mean(axis=(1, 2), keepdims=True)) * weights).sum(axis=-1)
    single = explain(model, images, with_options("occlusion", patch=1), target=1).maps
    np.testing.assert_allclose(single, shares, atol=1e-4)
    patches = with_options("occlusion", patch=(3, 2), stride=(2, 2))
    found = explain(model, images, patches, target=1).maps
    np.testing.assert_allclose(found, slow_occlusion(shares, (3, 2), (2, 2)), atol=1e-4)


def slow_occlusion(shares, patch, stride):
    """Average, for each pixel, the sums of the patches that hold it."""
    count, rows, columns = shares.shape
    tops = sorted({min(i, rows - patch[0]) for i in range(0, rows, stride[0])})
    lefts = sorted({min(j, columns - patch[1]) for j in range(0, columns, stride[1])})
    found = np.zeros_like(shares)
    for n, i, j in np.ndindex(count, rows, columns):
        sums = [
            shares[n, top : top + patch[0], left : left + patch[1]].sum()
            for top in tops
            for left in lefts
            if top <= i < top + patch[0] and left <= j < left + patch[1]
        ]
        found[n, i, j] = np.mean(sums)
    return found


@pytest.mark.parametrize("pixel", [(0, 0), (4, 10), (0, 10), (4, 0), (2, 7)])
def test_occlusion_reaches_every_corner_of_a_wide_image(pixel):
    size = (5, 11, 1)
    model, _ = linear(size)
    kernel = np.zeros((*size, 2), "float32")
    kernel[pixel] = [-1.0, 1.0]
    model.layers[-1].kernel.assign(kernel.reshape(-1, 2))
    method = with_options("occlusion", patch=2, stride=2, baseline="zeros")
    found = explain(model, np.ones((1, *size)), method, target=1).maps[0]
    assert np.unravel_index(found.argmax(), found.shape)[0] in (pixel[0], pixel[0] - 1)
    assert found[pixel] == found.max() == pytest.approx(1.0)
    rows, columns = np.nonzero(found)
    assert np.ptp(rows) <= 2
    assert np.ptp(columns) <= 2


def test_a_patch_of_the_whole_image_gives_the_whole_fall(classifier, photos):
    model, images = classifier("linear", pooled=False), photos(2)
    method = with_options("occlusion", patch=(9, 12), baseline="zeros")
    found = explain(model, images, method, target=1)
    fall = found.scores - scores(model, 0 * images, 1)
    np.testing.assert_allclose(found.maps, np.tile(fall[:, None, None], (9, 12)), rtol=1e-4)


def test_by_default_a_patch_is_an_eighth_and_moves_by_half(photos):
    model, images = linear((16, 33, 1))[0], photos(1, (16, 33, 1))
    found = explain(model, images, "occlusion", target=1).maps
    given = with_options("occlusion", patch=(2, 4), stride=(1, 2), baseline="mean")
    np.testing.assert_array_equal(found, explain(model, images, given, target=1).maps)


def test_what_no_patch_covers_gets_nothing(photos):
    model, _ = linear((5, 8, 1))
    method = with_options("occlusion", patch=1, stride=(2, 3), baseline=0.0)
    found = explain(model, photos(1, (5, 8, 1)), method, target=1).maps[0]
    assert found[::2][:, [0, 3, 6, 7]].all()
    assert np.count_nonzero(found) == 3 * 4


# RISE.


def reads_one_pixel(size, pixel):
    model, _ = linear(size)
    kernel = np.zeros((*size, 2), "float32")
    kernel[pixel] = [-1.0, 1.0]
    model.layers[-1].kernel.assign(kernel.reshape(-1, 2))
    return model


@pytest.mark.parametrize("pixel", [(2, 9), (6, 3)])
def test_rise_points_at_the_one_pixel_that_is_read(pixel):
    size = (8, 13, 1)
    method = with_options("rise", samples=600, cells=(4, 6))
    model = reads_one_pixel(size, pixel)
    found = explain(model, np.ones((1, *size)), method, target=1).maps[0]
    top = np.unravel_index(found.argmax(), found.shape)
    assert max(abs(top[0] - pixel[0]), abs(top[1] - pixel[1])) <= 1
    far = found[:, 13 - 1 - pixel[1] if pixel[1] > 6 else 12]
    # Far away masks know nothing of the pixel, and the mean of what they show is one half.
    np.testing.assert_allclose(far, 0.5, atol=0.1)
    assert found[pixel] > 0.65


def test_rise_of_a_score_that_never_changes_is_flat_up_to_the_border(photos):
    model = keras.Sequential(
        [keras.Input(SIZE), keras.layers.Flatten(), keras.layers.Dense(2, bias_initializer="ones")]
    )
    model.layers[-1].kernel.assign(np.zeros((120, 2)))
    method = with_options("rise", samples=40, cells=3)
    np.testing.assert_allclose(explain(model, photos(1, SIZE), method).maps, 1.0, rtol=1e-6)


def test_rise_weighs_the_masks_by_their_scores(photos):
    """Re-derived from the masks, which are seen as the copies of an image of ones."""
    seen = []

    class Noting(keras.layers.Layer):
        def call(self, inputs):
            if inputs.shape[0] == 9:
                seen.append(keras.ops.convert_to_numpy(inputs))
            return 1.0 * inputs

    model, weights = linear()
    noting = keras.Sequential([keras.Input(SIZE), Noting(), *model.layers])
    noting.compile(run_eagerly=True)
    image, options = 1.0 + photos(1, SIZE), {"samples": 9, "cells": (2, 3), "share": 0.6}
    method = with_options("rise", **options)
    with uncompiled():
        explain(noting, np.ones((1, *SIZE)), method, target=1)
    masks = seen[0][..., 0].astype("float64")
    assert len(seen) == 1
    assert masks.min() >= 0
    assert masks.max() <= 1
    scored = [(mask[..., None] * image[0] * weights).sum() for mask in masks]
    wanted = np.einsum("k,kij->ij", scored, masks) / masks.sum(axis=0)
    found = explain(model, image, method, target=1).maps[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"seed": 1}, {"share": 0.2}, {"cells": 2}, {"baseline": "mean"}, {"samples": 21}]
)
def test_every_option_of_rise_counts(photos, options):
    model, images = quadratic(), photos(1, SIZE)
    usual = {"samples": 20, "cells": 4}
    plain = explain(model, images, with_options("rise", **usual)).maps
    other = explain(model, images, with_options("rise", **usual | options)).maps
    assert np.abs(plain - other).max() > 1e-3 * np.abs(plain).max()


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 0.0), (1.0, 1.0)])
def test_masks_that_hide_nothing_or_everything(photos, share, wanted):
    model, images = linear()[0], photos(1, SIZE)
    method = with_options("rise", samples=5, cells=2, share=share)
    found = explain(model, images, method, target=1)
    np.testing.assert_allclose(found.maps, wanted * found.scores[0], rtol=1e-5)
