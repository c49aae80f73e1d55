"""pytorch-grad-cam, on the same weights in torch.

It ends by setting negative values to zero, scaling each map to 0..1 and resizing it to the image.
What is compared is the map before that: signed, and of the layer's grid, as ours are.
"""

import functools

import numpy as np
import pytest
from keras import layers
from sklearn.decomposition import TruncatedSVD

from keras_saliency import explain, methods

pytestmark = pytest.mark.reference

SEEDS = (0, 1)
CLASSES = np.array([1, 3, 0, 2])


def ours(model, images, method, of="logits", **options):
    found = functools.partial(methods.get(method), **options) if options else method
    return explain(model, images, found, target=CLASSES, of=of, layer="top").maps


def centred():
    """Make a layer whose channels have mean zero and deviation one in each image."""
    return layers.GroupNormalization(groups=-1, center=False, scale=False, name="top")


@pytest.fixture(scope="module")
def theirs(pytorch_grad_cam, twin, tensor):
    """Compute what one of their classes makes of a network and images, as it is before scaling."""

    def compute(kind, model, images, of="logits"):
        module, batch = twin(model), tensor(images)
        ends = pytorch_grad_cam.utils.model_targets
        aim = {
            "logits": ends.ClassifierOutputTarget,
            "probability": ends.ClassifierOutputSoftmaxTarget,
        }[of]
        targets = [aim(int(target)) for target in CLASSES]
        with getattr(pytorch_grad_cam, kind)(module, [module.top]) as cam:
            cam(batch, targets)
            seen = cam.activations_and_grads
            values, slopes = (
                found[0].numpy() if found else None for found in (seen.activations, seen.gradients)
            )
            return cam.get_cam_image(batch, module.top, targets, values, slopes, False)

    return compute


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
@pytest.mark.parametrize(("top", "pooled"), [("relu", True), ("linear", False)])
@pytest.mark.parametrize(
    ("method", "kind"),
    [("grad_cam", "GradCAM"), ("hires_cam", "HiResCAM"), ("xgrad_cam", "XGradCAM")],
)
def test_signed_maps_of_one_pass(
    seed, of, top, pooled, method, kind, network, pictures, theirs, assert_agree
):
    model, images = network(seed, top=top, pooled=pooled, scale=0.05), pictures(seed=seed)
    found = ours(model, images, method, of=of, relu=False)
    assert_agree(found, theirs(kind, model, images, of))
    positive = ours(model, images, method, of=of)
    np.testing.assert_array_equal(positive, np.maximum(found, 0.0))


@pytest.mark.parametrize("seed", SEEDS)
def test_cam(seed, network, pictures, theirs, assert_agree):
    """Behind a pooled layer a class's weight is the average gradient times the grid's 15 places."""
    model, images = network(seed), pictures(seed=seed)
    assert_agree(ours(model, images, "cam"), 15 * theirs("GradCAM", model, images))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
def test_layer_cam(seed, of, network, pictures, theirs, assert_agree):
    model, images = network(seed, pooled=False), pictures(seed=seed)
    assert_agree(ours(model, images, "layer_cam", of=of), theirs("LayerCAM", model, images, of))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pooled", [True, False])
def test_grad_cam_plus_plus(seed, pooled, network, pictures, theirs, assert_agree):
    """Gradients around one: theirs adds 1e-6 to a denominator of their squares.

    With gradients of 1e-3, usual for a pooled layer, that makes their weights fall short by a
    third. The paper has no such term; ours divides the squares out instead.
    """
    model, images = network(seed, pooled=pooled, top="softplus", scale=20.0), pictures(seed=seed)
    found = ours(model, images, "grad_cam_plus_plus")
    assert_agree(found, np.maximum(theirs("GradCAMPlusPlus", model, images), 0.0))


@pytest.mark.parametrize("seed", SEEDS)
def test_score_cam_of_a_grid_as_fine_as_the_image(seed, network, pictures, theirs, assert_agree):
    """No resizing is needed here, in which the two differ.

    Nor is any channel silent here. Theirs takes one for a mask that hides everything, and adds 1e-8
    where it divides by a mask's range, which darkens masks of channels that hardly vary. In ours a
    channel without variation takes no part in the softmax, and any other is stretched to 0..1, as
    in the paper.
    """
    model, images = network(seed, top=centred(), pooled=False, coarse=False), pictures(seed=seed)
    given = theirs("ScoreCAM", model, images)
    assert_agree(ours(model, images, "score_cam"), np.maximum(given, 0.0))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
def test_score_cam(seed, of, network, pictures, theirs, torch, monkeypatch, assert_agree):
    """Masks resized with half-pixel centres, also in theirs, by one exchanged layer.

    Of its own it aligns the corners of grid and image, which moves a mask of a coarse grid by up
    to half a cell from what its cells have seen.
    """
    half_pixel = functools.partial(torch.nn.Upsample, mode="bilinear", align_corners=False)
    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", half_pixel)
    model, images = network(seed, top=centred(), pooled=False), pictures(seed=seed)
    given = theirs("ScoreCAM", model, images, of)
    assert_agree(ours(model, images, "score_cam", of=of), np.maximum(given, 0.0))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
@pytest.mark.parametrize("pooled", [True, False])
def test_ablation_cam(seed, of, pooled, network, pictures, theirs, assert_agree):
    """A layer behind a ReLU: where some value is negative, theirs sets channels to -1e7, not zero.

    It divides the fall by the score, as the paper does, which turns a map around where the score
    is negative; ours does not. Multiplied by the score, the two are the same.
    """
    model, images = network(seed, pooled=pooled), pictures(seed=seed)
    scores = explain(model, images, "saliency", target=CLASSES, of=of).scores
    fall = theirs("AblationCAM", model, images, of) * scores[:, None, None]
    assert_agree(ours(model, images, "ablation_cam", of=of, relu=False), fall)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("method", "kind"), [("eigen_cam", "EigenCAM"), ("eigen_grad_cam", "EigenGradCAM")]
)
def test_components_of_centred_channels(
    seed, method, kind, network, pictures, theirs, assert_agree
):
    """A layer whose channels have the mean zero: theirs subtracts it, the paper does not.

    A component's sign is open; ours settles it, theirs takes what the decomposition gives.
    """
    model, images = network(seed, top=centred()), pictures(seed=seed)
    found, given = ours(model, images, method), theirs(kind, model, images)
    signs = np.sign((found * given).sum(axis=(1, 2), keepdims=True))
    assert_agree(found, signs * given)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_component_of_channels_as_they_are(seed, network, pictures, twin, tensor, assert_agree):
    """The same decomposition by scikit-learn, without centring."""
    model, images = network(seed), pictures(seed=seed)
    channels = twin(model)[:6](tensor(images)).detach().numpy()
    table = channels.reshape(len(images), 6, -1).transpose(0, 2, 1).astype("float64")
    solver = TruncatedSVD(1, algorithm="arpack", random_state=0)
    given = np.stack([solver.fit_transform(one).reshape(3, 5) for one in table])
    assert_agree(ours(model, images, "eigen_cam"), np.abs(given))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_finer_cam_against_the_nearest_class(
    seed, strength, network, pictures, pytorch_grad_cam, twin, tensor, assert_agree
):
    """One class to compare with, as in the paper's formula.

    Of several, theirs weighs each by its probability, through which it differentiates as well; ours
    takes their mean. Its 1e-9 in a denominator shows where such a probability is small.
    """
    model, images = network(seed, pooled=False, scale=0.05), pictures(seed=seed)
    module = twin(model)
    nearest = []
    for logits, target in zip(module(tensor(images)).detach().numpy(), CLASSES, strict=True):
        nearest.append(int(np.argsort(np.abs(logits - logits[target]))[1]))
    kind = pytorch_grad_cam.utils.model_targets.FinerWeightedTarget
    targets = [kind(int(c), [d], strength) for c, d in zip(CLASSES, nearest, strict=True)]
    with pytorch_grad_cam.FinerCAM(module, [module.top]) as finer:
        finer(tensor(images), targets)
        seen = finer.base_cam.activations_and_grads
        values, slopes = seen.activations[0].numpy(), seen.gradients[0].numpy()
        given = finer.base_cam.get_cam_image(
            tensor(images), module.top, targets, values, slopes, False
        )
    assert_agree(ours(model, images, "finer_cam", similar=1, strength=strength, relu=False), given)
