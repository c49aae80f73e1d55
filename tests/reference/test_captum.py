"""Captum, on the same weights in torch.

SmoothGrad and its relatives get the same noise: `torch.normal` gives what our method drew, in
place of its own. Otherwise nothing of Captum is touched.
"""

import functools

import numpy as np
import pytest

from keras_saliency import explain, methods

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients"),
]

SEEDS = (0, 1)
CLASSES = np.array([1, 3, 0, 2])


def ours(model, images, method, target=CLASSES, of="logits", **options):
    found = functools.partial(methods.get(method), **options) if options else method
    return explain(model, images, found, target=target, of=of, layer="top", batch_size=32).maps


@pytest.fixture(scope="module")
def scored(torch, twin):
    """Build the torch module that ends in what is explained."""
    ends = {
        "logits": torch.nn.Identity,
        "probability": functools.partial(torch.nn.Softmax, dim=1),
        "log_probability": functools.partial(torch.nn.LogSoftmax, dim=1),
    }
    return lambda model, of="logits": torch.nn.Sequential(twin(model), ends[of]())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("of", ["logits", "probability", "log_probability"])
def test_the_gradient(
    seed, pooled, of, network, pictures, scored, captum, tensor, channels_last, assert_agree
):
    model, images = network(seed, pooled=pooled), pictures(seed=seed)
    peer = captum.Saliency(scored(model, of))
    theirs = channels_last(peer.attribute(tensor(images), target=CLASSES.tolist()))
    for channels, reduced in (
        ("max", theirs.max(axis=-1)),
        ("sum", theirs.sum(axis=-1)),
        ("l2", np.linalg.norm(theirs, axis=-1)),
    ):
        assert_agree(ours(model, images, "saliency", of=of, channels=channels), reduced)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
def test_gradient_x_input(
    seed, of, network, pictures, scored, captum, tensor, channels_last, assert_agree
):
    model, images = network(seed), pictures(seed=seed)
    peer = captum.InputXGradient(scored(model, of))
    theirs = channels_last(peer.attribute(tensor(images), target=CLASSES.tolist()))
    assert_agree(ours(model, images, "gradient_x_input", of=of), theirs.sum(axis=-1))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
@pytest.mark.parametrize(
    ("method", "kind"),
    [("smooth_grad", "smoothgrad"), ("square_grad", "smoothgrad_sq"), ("var_grad", "vargrad")],
)
def test_gradients_under_given_noise(
    seed,
    of,
    method,
    kind,
    network,
    pictures,
    scored,
    captum,
    torch,
    tensor,
    channels_last,
    unit_noise,
    monkeypatch,
    assert_agree,
):
    model, images, samples, level = network(seed), pictures(seed=seed), 6, 0.2
    noise = tensor(unit_noise(samples, seed))
    monkeypatch.setattr(torch, "normal", lambda mean, deviations: mean + deviations * noise)
    peer = captum.NoiseTunnel(captum.Saliency(scored(model, of)))
    theirs = [
        peer.attribute(
            tensor(image[None]),
            nt_type=kind,
            nt_samples=samples,
            stdevs=float(level * np.ptp(image)),
            target=int(target),
            abs=False,
        )
        for image, target in zip(images, CLASSES, strict=True)
    ]
    theirs = np.abs(channels_last(torch.cat(theirs))).max(axis=-1)
    found = ours(model, images, method, of=of, samples=samples, noise=level, seed=seed)
    assert_agree(found, theirs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("of", ["logits", "probability"])
@pytest.mark.parametrize("baseline", [0.0, 0.3])
def test_integrated_gradients(
    seed, of, baseline, network, pictures, scored, captum, tensor, channels_last, assert_agree
):
    model, images = network(seed), pictures(seed=seed)
    theirs = captum.IntegratedGradients(scored(model, of)).attribute(
        tensor(images), baseline, CLASSES.tolist(), n_steps=20, method="gausslegendre"
    )
    found = ours(model, images, "integrated_gradients", of=of, baseline=baseline, steps=20)
    assert_agree(found, channels_last(theirs).sum(axis=-1))


@pytest.mark.parametrize("seed", SEEDS)
def test_expected_gradients_from_one_image(
    seed, network, pictures, scored, captum, tensor, channels_last, assert_agree
):
    """With one image to begin from, the expectation is an integral that Captum can solve.

    Its own GradientShap draws points at random, and comes no nearer than their number allows.
    """
    model, images, begin = network(seed, top="softplus"), pictures(seed=seed), pictures(1, seed=9)
    theirs = captum.IntegratedGradients(scored(model)).attribute(
        tensor(images), tensor(begin), CLASSES.tolist(), n_steps=50
    )
    found = ours(model, images, "expected_gradients", baselines=begin, samples=1000)
    assert_agree(found, channels_last(theirs).sum(axis=-1), share=5e-4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("patch", "stride", "cover"),
    [((3, 5), (2, 3), 0.0), ((3, 3), (2, 2), 0.25), ((4, 2), (3, 1), -1.0)],
)
def test_occlusion(
    seed,
    patch,
    stride,
    cover,
    network,
    pictures,
    scored,
    captum,
    tensor,
    channels_last,
    assert_agree,
):
    """Patches and strides that tile the image: 13 and 17 are both patch + n * stride.

    Where they don't, Captum lets the last patch hang over the edge, so that less is covered
    there; ours ends with the image, and all patches are of one size. Zeiler and Fergus are silent.
    """
    model, images = network(seed), pictures(seed=seed)
    theirs = captum.Occlusion(scored(model)).attribute(
        tensor(images), (3, *patch), (3, *stride), cover, CLASSES.tolist()
    )
    found = ours(model, images, "occlusion", patch=patch, stride=stride, baseline=cover)
    assert_agree(found, channels_last(theirs)[..., 0])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("of", "relu"), [("logits", True), ("logits", False), ("probability", False)]
)
@pytest.mark.parametrize("pooled", [True, False])
def test_grad_cam(
    seed, of, relu, pooled, network, pictures, scored, captum, tensor, channels_last, assert_agree
):
    model, images = network(seed, pooled=pooled, top="softplus"), pictures(seed=seed)
    module = scored(model, of)
    theirs = captum.LayerGradCam(module, module[0].top).attribute(
        tensor(images), CLASSES.tolist(), relu_attributions=relu
    )
    theirs = channels_last(theirs)[..., 0]
    alive = np.abs(theirs).max(axis=(1, 2)) > 0
    assert alive.any()
    found = ours(model, images, "grad_cam", of=of, relu=relu)
    assert_agree(found[alive], theirs[alive])
    assert not found[~alive].any()


@pytest.mark.parametrize("seed", SEEDS)
def test_ablation_cam_of_a_layer_with_negative_values(
    seed, network, pictures, scored, captum, torch, tensor, channels_last, assert_agree
):
    """Captum gives each channel's fall of the score; the map is the channels, so weighted."""
    model, images = network(seed, top="linear", pooled=False), pictures(seed=seed)
    module = scored(model)
    layer, batch = module[0].top, tensor(images)
    one_a_channel = torch.arange(6)[None, :, None, None].expand(1, 6, 3, 5)
    falls = captum.LayerFeatureAblation(module, layer).attribute(
        batch, 0.0, CLASSES.tolist(), layer_mask=one_a_channel
    )
    values = captum.LayerActivation(module, layer).attribute(batch)
    assert (values < 0).any()
    theirs = channels_last(falls * values).sum(axis=-1)
    assert_agree(ours(model, images, "ablation_cam", relu=False), theirs)
