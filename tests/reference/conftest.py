"""What the comparisons share: networks, the same networks in torch, and the peers themselves.

`make test-reference` installs the peers. Without one its tests are skipped; with REQUIRE_PEERS=1
they fail.
"""

import collections
import functools
import importlib
import importlib.util
import os
import sys
import types
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_saliency import explain, methods

SIZE = (13, 17, 3)


@pytest.fixture(scope="session")
def pictures():
    """Build random images (count, *SIZE) float32 in [-1, 1]."""

    def build(count=4, seed=0):
        images = np.random.default_rng(seed).uniform(-1.0, 1.0, (count, *SIZE))
        return images.astype("float32")

    return build


@pytest.fixture(scope="session")
def network():
    """Build a classifier of four classes with a layer "top" of some channels.

    `top` is an activation, or a layer of that name. Its grid is 3 x 5, or, unless `coarse`, that
    of the image. `scale` multiplies the logits.
    """

    def build(seed=0, top="relu", pooled=True, coarse=True, channels=6, scale=0.2):
        padding = "valid" if coarse else "same"
        inputs = keras.Input(SIZE)
        x = layers.Conv2D(5, 3, padding=padding, name="low")(inputs)
        x = layers.BatchNormalization(name="norm")(x)
        x = layers.Activation("softplus", name="smooth")(x)
        x = layers.AveragePooling2D(2 if coarse else 1, name="mean")(x)
        x = layers.Conv2D(channels, 3, padding=padding, name="high")(x)
        x = (layers.Activation(top, name="top") if isinstance(top, str) else top)(x)
        pool = layers.GlobalAveragePooling2D if pooled else layers.Flatten
        x = pool(name="pool")(x)
        model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(x))
        random = np.random.default_rng(seed)
        for weight in model.weights:
            spread = 3.0 / np.sqrt(np.prod(weight.shape[:-1]))
            weight.assign(random.normal(scale=spread, size=weight.shape))
        model.get_layer("norm").moving_variance.assign(random.uniform(0.5, 2.0, size=5))
        for weight in model.get_layer("head").weights:
            weight.assign(scale * weight)
        return model

    return build


@pytest.fixture(scope="session")
def unit_noise():
    """Read the noise of deviation one that SmoothGrad draws, (samples, *SIZE), off its copies."""

    def read(samples, seed=0):
        ramp = np.linspace(0.0, 1.0, int(np.prod(SIZE)), dtype="float32").reshape(1, *SIZE)
        seen = []

        def look(model, images):
            seen.append(ops.convert_to_numpy(images))
            return images[..., 0]

        smooth = functools.partial(
            methods.get("smooth_grad"), base=look, samples=samples, noise=1.0, seed=seed
        )
        flat = keras.Sequential([keras.Input(SIZE), layers.Flatten(), layers.Dense(2)])
        explain(flat, ramp, smooth, batch_size=samples)
        return np.concatenate(seen) - ramp

    return read


@pytest.fixture(scope="session")
def assert_agree():
    """Compare maps (batch, ...), image by image, to 1e-4 of the peak of each."""

    def compare(ours, theirs, share=1e-4):
        theirs = np.asarray(theirs)
        assert ours.shape == theirs.shape
        axes = tuple(range(1, theirs.ndim))
        peaks = np.abs(theirs).max(axis=axes)
        assert (peaks > 0).all()
        assert (np.abs(ours - theirs).max(axis=axes) / peaks).max() <= share

    return compare


# The same network in torch.


@pytest.fixture(scope="session")
def twin(torch):
    """Put a network's weights into a torch module that ends in logits.

    Its children have the names of the layers.
    """

    def build(model):
        parts = collections.OrderedDict(
            (layer.name, _in_torch(torch, layer)) for layer in model.layers[1:]
        )
        return torch.nn.Sequential(parts).eval()

    return build


@pytest.fixture(scope="session")
def tensor(torch):
    """Turn images (batch, height, width, channels) into a tensor, channels first."""
    return lambda images: torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.fixture(scope="session")
def channels_last():
    """Turn a tensor (batch, channels, height, width) into an array, channels last."""
    return lambda found: found.detach().numpy().transpose(0, 2, 3, 1)


def _in_torch(torch, layer):
    nn = torch.nn
    weights = [torch.from_numpy(ops.convert_to_numpy(w).copy()) for w in layer.weights]
    match type(layer).__name__:
        case "Conv2D":
            kernel, bias = weights
            part = nn.Conv2d(
                *kernel.shape[2:], kernel.shape[:2], layer.strides, padding=layer.padding
            )
            state = {"weight": kernel.permute(3, 2, 0, 1), "bias": bias}
        case "BatchNormalization":
            part = nn.BatchNorm2d(len(weights[0]), eps=layer.epsilon)
            names = ("weight", "bias", "running_mean", "running_var")
            state = dict(zip(names, weights, strict=True))
        case "Dense":
            part = nn.Linear(*weights[0].shape)
            state = {"weight": weights[0].T, "bias": weights[1]}
        case "Activation":
            kinds = {"relu": nn.ReLU, "softplus": nn.Softplus, "linear": nn.Identity}
            return kinds[layer.activation.__name__]()
        case "GroupNormalization":
            groups = layer.input.shape[-1]
            return nn.GroupNorm(groups, groups, eps=layer.epsilon, affine=False)
        case "AveragePooling2D":
            return nn.AvgPool2d(layer.pool_size)
        case "GlobalAveragePooling2D":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case "Flatten":
            return _flat_channels_last(torch)
    part.load_state_dict(state, strict=False)  # batch norm also counts its batches
    return part


def _flat_channels_last(torch):
    """Return a layer that flattens as Keras does: row by row, channels last."""

    class Flat(torch.nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    return Flat()


# The peers.


@pytest.fixture(scope="session")
def torch():
    return _peer("torch")


@pytest.fixture(scope="session")
def captum(torch):
    return _peer("captum.attr")


@pytest.fixture(scope="session")
def pair_saliency():
    return _peer("saliency.core")


@pytest.fixture(scope="session")
def tf_keras_vis():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf-keras-vis explains models on TensorFlow only")
    # The package itself imports none of these.
    for name in ("saliency", "gradcam", "layercam", "utils.model_modifiers", "utils.scores"):
        _peer(f"tf_keras_vis.{name}")
    return _peer("tf_keras_vis")


@pytest.fixture(scope="session")
def pytorch_grad_cam(torch):
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("torchvision") is None:
            _stand_in_for_torchvision(patch)
        return _peer("pytorch_grad_cam")


@pytest.fixture(scope="session")
def torchcam(torch):
    return _peer("torchcam.methods")


@pytest.fixture(scope="session")
def mlflow():
    return _peer("mlflow")


@pytest.fixture(scope="session")
def wandb():
    return _peer("wandb")


@pytest.fixture(scope="session")
def swanlab():
    return _peer("swanlab")


@pytest.fixture(scope="session")
def onnx():
    return _peer("onnx")


@pytest.fixture(scope="session")
def rembg():
    return _peer("rembg")


@pytest.fixture(scope="session")
def tbparse():
    return _peer("tbparse")


@pytest.fixture(scope="session")
def trackio(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))
        return _peer("trackio")


def _peer(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old names in scipy, which are theirs to mend
        try:
            return importlib.import_module(name)
        except ImportError as error:
            say = pytest.fail if os.environ.get("REQUIRE_PEERS") == "1" else pytest.skip
            say(f"no {name}, which `make test-reference` or `make test-trackers` installs: {error}")


def _stand_in_for_torchvision(patch):
    """Let pytorch-grad-cam import its helpers for files and boxes, which no test here calls."""
    names = {
        "torchvision": (),
        "torchvision.transforms": ("Compose", "Normalize", "ToTensor"),
        "torchvision.transforms.functional": ("resize",),
    }
    for name, attributes in names.items():
        module = types.ModuleType(name)
        vars(module).update(dict.fromkeys(attributes))
        patch.setitem(sys.modules, name, module)
