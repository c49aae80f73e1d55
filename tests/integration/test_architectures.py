"""Known architectures run unchanged, and the layer that is picked in each of them."""

import importlib
import os
from typing import NamedTuple

import keras
import numpy as np
import pytest

from keras_saliency import explain

from helpers.backends import BACKEND, double_precision

slow = pytest.mark.slow


class Known(NamedTuple):
    """An architecture, the size of the images that it is given, and what is picked in it."""

    name: str
    size: tuple[int, int]
    layer: str
    grid: tuple[int, int]


# The table: keras.applications with random weights, on small images that are not square.
APPLICATIONS = [
    Known("VGG16", (64, 96), "block5_conv3", (4, 6)),
    Known("VGG19", (64, 96), "block5_conv4", (4, 6)),
    Known("ResNet50", (64, 96), "conv5_block3_out", (2, 3)),
    Known("ResNet50V2", (64, 96), "post_relu", (2, 3)),
    Known("MobileNet", (64, 96), "conv_pw_13_relu", (2, 3)),
    Known("MobileNetV2", (64, 96), "out_relu", (2, 3)),
    Known("MobileNetV3Small", (64, 96), "activation_17", (2, 3)),
    Known("DenseNet121", (64, 96), "relu", (2, 3)),
    Known("EfficientNetB0", (64, 96), "top_activation", (2, 3)),
    Known("EfficientNetV2B0", (64, 96), "top_activation", (2, 3)),
    Known("Xception", (71, 103), "block14_sepconv2_act", (3, 4)),
    Known("InceptionV3", (107, 139), "mixed10", (2, 3)),
    Known("InceptionResNetV2", (107, 139), "conv_7b_ac", (2, 3)),
    Known("NASNetMobile", (64, 96), "activation_187", (2, 3)),
    Known("ConvNeXtTiny", (64, 96), "add_17", (2, 3)),
]
# What JAX compiles of an EfficientNet takes it longer than all else here.
QUICK = {"VGG16", "MobileNetV2"} | ({"EfficientNetB0"} if BACKEND != "jax" else set())


def res_net(backbones, size):
    return backbones.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=size,
    )


def mobile_net(backbones, size):
    return backbones.MobileNetBackbone(
        stackwise_expansion=[[40, 56], [64]],
        stackwise_num_blocks=[2, 1],
        stackwise_num_filters=[[16, 16], [24]],
        stackwise_kernel_size=[[3, 3], [5]],
        stackwise_num_strides=[[2, 1], [1]],
        stackwise_se_ratio=[[None, None], [0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish"]],
        stackwise_padding=[[1, 1], [2]],
        output_num_filters=32,
        input_activation="hard_swish",
        output_activation="hard_swish",
        input_num_filters=16,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=32,
        image_shape=size,
    )


def efficient_net(backbones, size):
    return backbones.EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 2],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 16],
        stackwise_expansion_ratios=[1, 4],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
        stackwise_strides=[1, 2],
        stackwise_block_types=["v1", "v1"],
        stackwise_force_input_filters=[0, 0],
        stackwise_nores_option=[False, False],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        stem_conv_padding="same",
        batch_norm_momentum=0.9,
        image_shape=size,
    )


def vision_transformer(backbones, size):
    return backbones.ViTBackbone(
        image_shape=size, patch_size=8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=24
    )


# KerasHub's classifiers, built by their constructors.
HUB = {
    Known("ResNet", (48, 64), "res_net_backbone/stack1_block0_out", (6, 8)): res_net,
    Known("MobileNet", (48, 64), "mobile_net_backbone/block_3_0/activation_7", (6, 8)): mobile_net,
    Known("EfficientNet", (48, 64), "efficient_net_backbone/top_activation", (13, 17)): (
        efficient_net
    ),
    Known("ViT", (32, 48), "vi_t_backbone/vit_encoder/transformer_block_2/ln_1", (4, 6)): (
        vision_transformer
    ),
}


def evidence(model, images):
    """Activation times gradient, a method of our own."""
    return keras.ops.sum(model.activations(images) * model.layer_gradients(images), axis=-1)


def check(known, model):
    """Explain with nothing named, and see what scaling the layer does, the more to the right."""
    images = np.random.default_rng(0).random((2, *known.size, 3), "float32")
    found = explain(model, images, evidence, target=1)
    assert (found.layer, found.of) == (known.layer, "logits")
    assert found.maps.shape == (2, *known.grid)
    # Keras's matmul and mean are in float32 on torch, as is its batch norm there and on JAX, which
    # leaves a small step too few digits. What follows the layer is linear or nearly so.
    normalised = any("BatchNorm" in type(one).__name__ for one in model._flatten_layers())
    coarse = BACKEND == "torch" or (BACKEND == "jax" and normalised)
    step, rtol = (1e-2, 1e-2 if BACKEND == "torch" else 1e-3) if coarse else (1e-7, 1e-3)
    up, down = (logits_with(model, known, images, one) for one in (step, -step))
    slope = (up - down)[:, 1] / (2 * step)
    ramp = np.linspace(0, 1, known.grid[1])
    np.testing.assert_allclose((found.maps * ramp).sum(axis=(1, 2)), slope, rtol=rtol)


def logits_with(model, known, images, step):
    """Compute logits by hand, the places of the picked layer's output scaled by a ramp."""
    layer = model
    for name in known.layer.split("/"):
        parts = getattr(layer, "operations", None) or layer._flatten_layers(include_self=False)
        layer = next(part for part in parts if part.name == name)
    original, (height, width) = layer.call, known.grid
    factors = np.tile(1 + step * np.linspace(0, 1, width), (height, 1))[..., None]
    factors = keras.ops.convert_to_tensor(factors, "float64")

    def scaled(*args, **kwargs):
        output = original(*args, **kwargs)
        if len(output.shape) == 4:
            return output * factors
        # The class token has no place.
        patches = output[:, 1:] * keras.ops.reshape(factors, (-1, 1))
        return keras.ops.concatenate([output[:, :1], patches], axis=1)

    layer.__dict__["call"] = scaled
    try:
        return keras.ops.convert_to_numpy(model(images, training=False))
    finally:
        del layer.__dict__["call"]


@pytest.fixture(autouse=True)
def doubles():
    """Differences of scores want more digits than float32 has."""
    keras.backend.clear_session()  # names are counted anew
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    with double_precision():
        yield
    keras.config.set_dtype_policy(before)


def hub():
    """Import KerasHub, without which the test is skipped, or fails with REQUIRE_PEERS=1."""
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        say = pytest.fail if os.environ.get("REQUIRE_PEERS") == "1" else pytest.skip
        say(f"no keras_hub, which `make ci-full` installs: {error}")


def rows(table):
    return [
        pytest.param(k, id=f"{k.name}: {k.layer}", marks=[] if k.name in QUICK else slow)
        for k in table
    ]


@pytest.mark.parametrize("known", rows(APPLICATIONS))
def test_architectures_of_keras(known):
    options = {"weights": None, "classes": 3, "classifier_activation": None}
    build = getattr(keras.applications, known.name)
    check(known, build(input_shape=(*known.size, 3), **options))


@pytest.mark.slow
@pytest.mark.parametrize("known", rows(HUB))
def test_architectures_of_keras_hub(known):
    models = hub().models
    backbone = HUB[known](models, (*known.size, 3))
    classifier = getattr(models, f"{known.name}ImageClassifier")
    check(known, classifier(backbone=backbone, num_classes=3))
