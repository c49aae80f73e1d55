"""Which layer is looked at, and that it is reached in every kind of model."""

import gc
import threading

import keras
import numpy as np
import pytest
from keras import layers as kl

from keras_saliency import explain
from keras_saliency.engine.feature_layout import Layout
from keras_saliency.engine.target_layer import TargetLayer, hooked


def forward(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def activations(model, images):
    """The mean over channels of what the layer gives: a method of our own."""
    return keras.ops.mean(model.activations(images), axis=-1)


def picked(model, images, layer=None):
    return explain(model, images, activations, target=0, layer=layer).layer


# What is picked when nothing is named.


def nested(backbone):
    size = backbone.input_shape[1:]
    pooled = [kl.GlobalAveragePooling2D(), kl.Dense(3, "softmax")]
    return keras.Sequential([keras.Input(size), backbone, *pooled])


def application(name, **options):
    return getattr(keras.applications, name)(weights=None, **options)


APPLICATIONS = {
    "VGG16": ("block5_conv3", lambda: application("VGG16", input_shape=(32, 48, 3), classes=3)),
    "VGG16 nested": (
        "vgg16/block5_conv3",
        lambda: nested(application("VGG16", input_shape=(32, 48, 3), include_top=False)),
    ),
    "MobileNetV2": (
        "out_relu",
        lambda: application("MobileNetV2", input_shape=(64, 96, 3), classes=3, alpha=0.35),
    ),
    "MobileNetV2 nested": (
        "mobilenetv2_0.35_96/out_relu",
        lambda: nested(
            application("MobileNetV2", input_shape=(96, 96, 3), include_top=False, alpha=0.35)
        ),
    ),
    "ResNet50": (
        "conv5_block3_out",
        lambda: application("ResNet50", input_shape=(32, 64, 3), classes=3),
    ),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_last_feature_map_of_known_models(photos, name):
    wanted, build = APPLICATIONS[name]
    model = build()
    found = explain(model, photos(1, model.input_shape[1:]), "grad_cam", target=0)
    assert found.layer == wanted


def chain(size, *layers):
    return keras.Sequential([keras.Input(size), *layers])


def unet():
    inputs = keras.Input((8, 12, 3))
    fine = kl.Conv2D(4, 3, padding="same", activation="relu", name="encoder")(inputs)
    x = kl.Conv2D(6, 3, padding="same", activation="relu", name="bottom")(kl.MaxPooling2D()(fine))
    x = kl.Concatenate(name="skip")([kl.UpSampling2D()(x), fine])
    x = kl.Conv2D(5, 3, padding="same", activation="relu", name="decoder")(x)
    x = kl.Conv2D(2, 1, name="projection")(x)
    return keras.Model(inputs, kl.Softmax(name="probabilities")(x))


def unet_with_fused_softmax():
    whole = unet()
    return keras.Model(
        whole.input, kl.Conv2D(2, 1, activation="softmax")(whole.get_layer("decoder").output)
    )


def squeeze():
    return chain(
        (8, 11, 3),
        kl.Conv2D(4, 3, activation="relu", name="fire"),
        kl.Dropout(0.5),
        kl.Conv2D(3, 1, name="classes"),
        kl.GlobalAveragePooling2D(),
        kl.Softmax(),
    )


def conv_bn_relu():
    return chain(
        (8, 11, 3),
        kl.Conv2D(4, 3, use_bias=False, name="conv"),
        kl.BatchNormalization(name="bn"),
        kl.ReLU(name="relu"),
        kl.GlobalAveragePooling2D(),
        kl.Dense(3, name="head"),
    )


def pooled_flattened():
    return chain(
        (9, 12, 3),
        kl.Rescaling(1 / 255),
        kl.Conv2D(4, 3, activation="relu", name="conv"),
        kl.MaxPooling2D(),
        kl.Dropout(0.3),
        kl.Flatten(),
        kl.Dense(4, activation="relu"),
        kl.Dense(4, activation="softmax"),
    )


def attention():
    inputs = keras.Input((6, 7, 3))
    x = kl.Conv2D(4, 3, name="stem")(inputs)
    attended = kl.MultiHeadAttention(2, 3, attention_axes=(1, 2), name="attention")(x, x)
    x = kl.Add(name="residual")([x, attended])
    return keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling2D()(x)))


def attention_last():
    inputs = keras.Input((6, 7, 3))
    x = kl.Conv2D(4, 3, name="stem")(inputs)
    x = kl.MultiHeadAttention(2, 3, attention_axes=(1, 2), name="attention")(x, x)
    return keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling2D()(x)))


def squeezed_to_one_cell():
    return chain(
        (6, 8, 3),
        kl.Conv2D(4, 3, name="map"),
        kl.Conv2D(5, (4, 6), name="one_cell"),
        kl.Flatten(),
        kl.Dense(3),
    )


SMALL = {
    "decoder": unet,
    "decoder ": unet_with_fused_softmax,
    "fire": squeeze,
    "relu": conv_bn_relu,
    "conv": pooled_flattened,
    "residual": attention,
    "attention": attention_last,
    "map": squeezed_to_one_cell,
}


@pytest.mark.parametrize("wanted", SMALL)
def test_last_feature_map_of_small_models(photos, wanted):
    model = SMALL[wanted]()
    assert picked(model, photos(1, model.input_shape[1:])) == wanted.strip()


def test_an_inside_of_attention_is_not_offered(photos):
    with pytest.raises(ValueError, match=r"last ones: 'stem', 'attention', 'residual'\."):
        explain(attention(), photos(1, (6, 7, 3)), "grad_cam", layer="nowhere")


def test_after_the_relu_grad_cam_is_cam_and_before_it_is_not(photos):
    model, images = conv_bn_relu(), photos(2, (8, 11, 3)) - 0.5
    kernel = np.linspace(-1, 1, 12).reshape(4, 3)
    model.get_layer("head").set_weights([kernel, np.zeros(3)])
    after = forward(keras.Model(model.inputs[0], model.get_layer("relu").output), images)
    cam = np.maximum((after * kernel[:, 2]).sum(-1), 0) / after[0, ..., 0].size
    found = explain(model, images, "grad_cam", target=2).maps
    np.testing.assert_allclose(found, cam, atol=1e-6)
    before = explain(model, images, "grad_cam", target=2, layer="bn").maps
    assert np.abs(before - cam).max() > 0.1 * cam.max()


# Every kind of model: what the layer gives, against the model taken apart by hand.


class Block(kl.Layer):
    def __init__(self, filters, **options):
        super().__init__(**options)
        self.conv = kl.Conv2D(filters, 3, padding="same", name="conv")
        self.norm = kl.BatchNormalization(name="norm")

    def call(self, inputs, training=False):
        return keras.ops.tanh(self.norm(self.conv(inputs), training=training))


class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.first = Block(4, name="first")
        self.blocks = [Block(5, name="inner"), Block(6, name="last")]
        self.pool = kl.GlobalAveragePooling2D()
        self.head = kl.Dense(3, activation="softmax")

    def call(self, inputs, training=False):
        x = self.first(inputs, training=training)
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(self.pool(x))


def test_subclassed_model_with_nested_blocks(photos):
    model, images = Subclassed(), photos(2, (7, 10, 3))
    assert picked(model, images) == "last"
    x = model.blocks[0](model.first(images))
    wanted = {
        "inner": x,
        "inner/conv": model.blocks[0].conv(model.first(images)),
        "last": model.blocks[1](x),
    }
    for layer, value in wanted.items():
        found = explain(model, images, activations, target=0, layer=layer)
        mean = keras.ops.convert_to_numpy(value).mean(axis=-1)
        np.testing.assert_allclose(found.maps, mean, atol=1e-6)
        assert found.layer == layer
    cam = explain(model, images, "cam", target=1).maps
    kernel = model.head.get_weights()[0][:, 1]
    np.testing.assert_allclose(cam, forward(model.blocks[1], x) @ kernel, atol=1e-5)


def test_names_paths_layers_and_runs(photos):
    """One convolution runs twice: the last run counts unless told otherwise."""
    shared = kl.Conv2D(3, 3, padding="same", name="shared")
    inputs = keras.Input((7, 10, 3))
    body = keras.Model(inputs, kl.ReLU(name="between")(shared(inputs)), name="body")
    outer = keras.Input((7, 10, 3))
    x = shared(body(outer))
    model = keras.Model(outer, kl.Dense(2)(kl.Flatten()(x)))
    images = photos(2, (7, 10, 3))
    once = forward(shared, images)
    twice = forward(shared, np.maximum(once, 0))
    wanted = {
        "shared": twice,
        ("shared", 0): once,
        ("shared", 1): twice,
        ("shared", -2): once,
        shared: twice,
        "body/between": np.maximum(once, 0),
        ("body", "between"): np.maximum(once, 0),
        "body": np.maximum(once, 0),
        "between": np.maximum(once, 0),
    }
    for layer, value in wanted.items():
        found = explain(model, images, activations, target=0, layer=layer).maps
        np.testing.assert_allclose(found, value.mean(axis=-1), atol=1e-6)


def test_gradients_of_each_run_of_a_shared_layer(photos):
    """A scalar network x -> (2x) -> (2(2x)): the gradient at the first run is 2, at the last 1."""
    shared = kl.Conv2D(1, 1, use_bias=False, name="shared")
    inputs = keras.Input((3, 4, 1))
    model = keras.Model(inputs, kl.GlobalAveragePooling2D()(shared(shared(inputs))))
    shared.set_weights([np.full((1, 1, 1, 1), 2.0)])

    def gradients(model, images):
        return 12 * model.layer_gradients(images)[..., 0]

    for run, slope in ((0, 2), (1, 1)):
        found = explain(
            model, photos(1, (3, 4, 1)), gradients, target=np.ones(1), layer=("shared", run)
        )
        np.testing.assert_allclose(found.maps, np.full((1, 3, 4), slope), rtol=1e-6)


def test_interception_is_bound_to_its_thread(photos):
    """Another thread that calls the layer meanwhile is neither met nor changed."""
    layer = kl.Conv2D(2, 1, name="conv")
    images = photos(1, (3, 4, 3))
    plain = forward(layer, images)
    place = TargetLayer(layer, "conv", (0,), plain.shape, "float32", Layout())
    theirs = []
    with hooked(place, None, lambda output, frame: output + 1) as seen:
        thread = threading.Thread(target=lambda: theirs.append(forward(layer, images)))
        thread.start()
        thread.join()
        assert not seen.outputs
        ours = forward(layer, images)
    np.testing.assert_allclose(theirs[0], plain)
    np.testing.assert_allclose(ours, plain + 1, rtol=1e-6)
    assert len(seen.outputs) == 1
    assert "call" not in layer.__dict__


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_in_any_layer(photos, fails):
    model, images = Subclassed(), photos(1, (7, 10, 3))
    model(images)
    before = [(layer, dict(layer.__dict__)) for layer in model._flatten_layers()]

    def failing(model, images):
        if fails:
            raise RuntimeError("on purpose")
        return activations(model, images)

    for method in (failing, "grad_cam"):
        try:
            explain(model, images, method, target=0)
        except RuntimeError as error:
            assert str(error) == "on purpose"  # noqa: PT017
    for layer, attributes in before:
        assert layer.__dict__.keys() == attributes.keys()
        assert all(layer.__dict__[name] is attributes[name] for name in attributes)


def test_tensors_of_the_recording_are_let_go(photos):
    model = conv_bn_relu()
    gc.collect()
    explain(model, photos(1, (8, 11, 3)), "grad_cam")
    gc.collect()
    held = [type(o).__name__ for o in gc.get_objects() if type(o).__name__ == "Seen"]
    assert not held


# What does not fit.


@pytest.fixture(scope="module")
def twins():
    """Two nested blocks, each with a layer "conv"."""
    blocks = []
    for name in ("left", "right"):
        inputs = keras.Input((7, 10, 3))
        blocks.append(keras.Model(inputs, kl.Conv2D(3, 1, name="conv")(inputs), name=name))
    inputs = keras.Input((7, 10, 3))
    x = kl.Add(name="sum")([block(inputs) for block in blocks])
    x = kl.Dense(2, name="head")(kl.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, x, name="twins")


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        (
            "con",
            ValueError,
            r"layer='con' is not in the model 'twins'\. .*'left/conv', 'right/conv', 'sum'",
        ),
        (("left", "nope"), ValueError, r"layer=\('left', 'nope'\) is not in the model"),
        (
            "conv",
            ValueError,
            r"layer='conv' fits several layers: 'left/conv', 'right/conv'\. Give one",
        ),
        ("pool", ValueError, r"'pool' gives no map: its output has shape \(1, 3\).*'left/conv'"),
        (("sum", 3), ValueError, r"asks for run 3 of 'sum', whose runs .* are 0\. Runs"),
        (0, TypeError, r"layer must be .*Received: layer=0"),
        ((), TypeError, r"layer must be .*Received: layer=\(\)"),
        ((0,), TypeError, r"layer must be .*Received: layer=\(0,\)"),
    ],
)
def test_a_layer_that_does_not_fit(twins, photos, layer, kind, message):
    with pytest.raises(kind, match=message):
        explain(twins, photos(1, (7, 10, 3)), "grad_cam", layer=layer)


def test_a_layer_of_another_model(twins, photos):
    with pytest.raises(ValueError, match=r"layer='stranger' is not in the model 'twins'"):
        explain(twins, photos(1, (7, 10, 3)), "grad_cam", layer=kl.Conv2D(2, 1, name="stranger"))


def test_a_layer_that_does_not_run(photos):
    class Unused(Subclassed):
        def __init__(self):
            super().__init__()
            self.spare = kl.Conv2D(2, 1, name="spare")
            self.spare.build((None, 7, 10, 3))

    model = Unused()
    for layer in ("spare", model.spare):
        with pytest.raises(ValueError, match="part of the model but did not run by itself"):
            explain(model, photos(1, (7, 10, 3)), "grad_cam", layer=layer)


def test_a_layer_off_the_way_to_the_score(photos):
    inputs = keras.Input((7, 10, 3))
    x = kl.Conv2D(2, 3, name="on")(inputs)
    aside = kl.Conv2D(2, 3, name="off")(inputs)
    x = kl.GlobalAveragePooling2D()(x)
    x = kl.Dense(2)(kl.Lambda(lambda both: both[0])([x, aside]))
    model = keras.Model(inputs, x)
    with pytest.raises(ValueError, match=r"does not depend on layer 'off'"):
        explain(model, photos(1, (7, 10, 3)), "grad_cam", layer="off")


def test_a_model_without_any_map(photos):
    model = chain((4, 6, 3), kl.Flatten(), kl.Dense(3))
    with pytest.raises(ValueError, match=r"No spatial layer was found.*'saliency'"):
        explain(model, photos(1, (4, 6, 3)), "grad_cam")
    found = explain(model, photos(1, (4, 6, 3)), "saliency")
    assert found.maps.any()
    assert found.layer is None


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_an_int8_layer_is_reached_by_what_it_runs(photos):
    layers = [kl.Dense(5, activation="relu", name="mixed"), kl.Flatten(), kl.Dense(3, "softmax")]
    model, images = chain((6, 9, 3), *layers), photos(2, (6, 9, 3))
    exact = explain(model, images, "hires_cam", target=1)
    model.quantize("int8")
    found = explain(model, images, "hires_cam", target=1)
    assert (found.layer, found.of) == ("mixed", "logits")
    np.testing.assert_allclose(found.maps, exact.maps, atol=0.05 * exact.maps.max())
    assert (found.maps != exact.maps).any()
