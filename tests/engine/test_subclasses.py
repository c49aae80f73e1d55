"""Subclasses of Keras's layers are read as their parents, and no name of a class decides."""

import keras
import numpy as np
import pytest
from keras import layers as kl

from keras_saliency import explain

SIZE = (9, 12, 3)


def renamed(kind, name="Mine"):
    """Make a subclass that changes nothing but the name."""
    return type(name, (kind,), {})


def network(**kinds):
    """Build a classifier of layers of these kinds, or of Keras's, with the same weights always."""
    kinds = {name: kinds.get(name, getattr(kl, name)) for name in KINDS}
    keras.utils.set_random_seed(1)
    inputs = keras.Input(SIZE)
    x = kl.Conv2D(4, 3, name="conv")(inputs)
    x = kinds["BatchNormalization"](name="norm")(x)
    x = kinds["Activation"]("softplus", name="act")(x)
    x = kinds["GlobalAveragePooling2D"](name="pool")(x)
    x = kinds["Dense"](3, name="dense")(x)
    return keras.Model(inputs, kinds["Softmax"](name="softmax")(x))


KINDS = ("BatchNormalization", "Activation", "GlobalAveragePooling2D", "Dense", "Softmax")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["saliency", "cam", "grad_cam"])
def test_a_subclass_is_explained_as_its_parent(photos, kind, method):
    images = photos(2, SIZE)
    wanted = explain(network(), images, method, target=1)
    found = explain(network(**{kind: renamed(getattr(kl, kind))}), images, method, target=1)
    assert (found.of, found.layer) == (wanted.of, wanted.layer)
    assert found.of == "logits"
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-6)
    np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-6 * np.abs(wanted.maps).max())


@pytest.mark.parametrize("last", [kl.Softmax, renamed(kl.Softmax)])
def test_logits_are_those_before_the_softmax(photos, last):
    model, images = network(Softmax=last), photos(2, SIZE)
    logits = keras.Model(model.input, model.get_layer("dense").output)(images)
    found = explain(model, images, "saliency", target=2)
    np.testing.assert_allclose(found.scores, keras.ops.convert_to_numpy(logits)[:, 2], rtol=1e-5)


def test_a_subclass_that_computes_something_else_is_not_read_as_its_parent(photos):
    """With a temperature, what comes in is not the logit of what goes out."""

    class Tempered(kl.Softmax):
        def call(self, inputs, mask=None):
            return super().call(inputs / 3.0, mask)

    class Scaled(kl.Dense):
        def call(self, inputs, training=None):
            return super().call(3.0 * inputs)

    model, images = network(Softmax=Tempered), photos(2, SIZE)
    outputs = keras.ops.convert_to_numpy(model(images, training=False))
    found = explain(model, images, "saliency", target=1)
    assert found.of == "log_probability"
    np.testing.assert_allclose(found.scores, np.log(outputs[:, 1]), rtol=1e-5)
    with pytest.raises(ValueError, match="'cam' needs a head of global average pooling"):
        explain(network(Dense=Scaled), images, "cam", target=1)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_function_of_the_name_of_an_activation_is_read_by_what_it_computes(
    photos, kind, temperature
):
    def activation(logits):
        return getattr(keras.activations, kind)(logits / temperature)

    activation.__name__ = kind
    inputs = keras.Input(SIZE)
    x = kl.GlobalAveragePooling2D()(kl.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, kl.Dense(3, activation=activation)(x))
    model.compile(loss=("categorical" if kind == "softmax" else "binary") + "_crossentropy")
    images = photos(2, SIZE)
    outputs = keras.ops.convert_to_numpy(model(images))[:, 1]
    found = explain(model, images, "saliency", target=1)
    if temperature == 1:
        assert found.of == "logits"
        kernel, bias = model.layers[-1].get_weights()
        logits = keras.ops.convert_to_numpy(keras.Model(inputs, x)(images)) @ kernel + bias
        np.testing.assert_allclose(found.scores, logits[:, 1], atol=1e-5)
    else:
        assert found.of == "log_probability"
        np.testing.assert_allclose(found.scores, np.log(outputs), rtol=1e-5)


@pytest.mark.parametrize("kind", ["MaxPooling2D", "Dropout", "ZeroPadding2D", "UpSampling2D"])
def test_a_subclass_that_passes_its_map_on_is_not_picked(photos, kind):
    for layer in (getattr(kl, kind), renamed(getattr(kl, kind))):
        options = (0.5,) if kind == "Dropout" else ()
        model = keras.Sequential(
            [
                keras.Input(SIZE),
                kl.Conv2D(4, 3, name="conv"),
                layer(*options),
                kl.Flatten(),
                kl.Dense(2),
            ]
        )
        assert explain(model, photos(1, SIZE), "grad_cam", target=0).layer == "conv"


def test_a_user_layer_called_pooling_is_picked_if_it_makes_the_last_map(photos):
    class PoolingPyramid(kl.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.conv = kl.Conv2D(5, 3, name="inner")

        def call(self, inputs):
            return self.conv(inputs) * 2.0

    parts = [kl.Conv2D(4, 3), PoolingPyramid(name="pyramid"), kl.Flatten(), kl.Dense(2)]
    model = keras.Sequential([keras.Input(SIZE), *parts])
    assert explain(model, photos(1, SIZE), "grad_cam", target=0).layer == "pyramid"


class Gate(kl.Layer):
    """The spatial gate of CBAM: where to attend, from the channels' mean and maximum."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv = kl.Conv2D(1, 3, padding="same", activation="sigmoid", name="where")

    def call(self, inputs):
        mean = keras.ops.mean(inputs, axis=-1, keepdims=True)
        highest = keras.ops.max(inputs, axis=-1, keepdims=True)
        return self.conv(keras.ops.concatenate([mean, highest], axis=-1))


class Refined(kl.Layer):
    """A block that ends in what its convolution gives."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv = kl.Conv2D(4, 3, name="inner")

    def call(self, inputs):
        return self.conv(inputs)


@pytest.mark.parametrize("kind", [Gate, Refined])
def test_a_block_called_attention_does_not_change_the_layer(photos, kind):
    picked = []
    for block in (kind, renamed(kind, "SpatialAttention")):
        inputs = keras.Input(SIZE)
        x = kl.Conv2D(4, 3, name="conv")(inputs)
        y = block(name="block")(x)
        x = kl.Multiply(name="gated")([x, y]) if kind is Gate else y
        x = kl.Dense(2)(kl.GlobalAveragePooling2D()(x))
        found = explain(keras.Model(inputs, x), photos(1, SIZE), "grad_cam", target=0)
        picked.append((found.layer, found.maps.shape))
    assert picked[0] == picked[1]
    assert picked[0][0] == ("gated" if kind is Gate else "block/inner")


def test_a_subclass_of_attention_by_any_name_is_attention(photos):
    found = []
    for attention in (kl.MultiHeadAttention, renamed(kl.MultiHeadAttention, "Mixer")):
        keras.utils.set_random_seed(2)
        pixels = keras.Input((8, 12, 3))
        x = kl.Reshape((6, 5))(kl.Conv2D(5, 4, strides=4, name="patches")(pixels))
        x = attention(2, 4, name="mix")(x, x)
        model = keras.Model(pixels, kl.Dense(2)(kl.GlobalAveragePooling1D()(x)))
        found.append(explain(model, photos(1, (8, 12, 3)), "grad_cam", target=0))
    assert found[0].layer == found[1].layer == "mix"
    np.testing.assert_allclose(found[1].maps, found[0].maps, rtol=1e-5)


@pytest.mark.needs(backend="torch or jax", why="convolutions of channels first run there on a CPU")
def test_a_subclass_of_permute_moves_channels_as_its_parent(photos):
    for permute in (kl.Permute, renamed(kl.Permute)):
        model = keras.Sequential(
            [
                keras.Input((8, 12, 3)),
                permute((3, 1, 2)),
                kl.Conv2D(4, 3, data_format="channels_first", name="conv"),
                kl.Flatten(),
                kl.Dense(2),
            ]
        )
        found = explain(model, photos(1, (8, 12, 3)), "grad_cam", target=0)
        assert found.maps.shape == (1, 6, 10)


def test_a_softmax_and_attention_between_layers_are_read_as_the_layers(photos):
    """Operations of a functional model are no layers, and have classes of their own."""
    inputs = keras.Input((8, 12, 3))
    x = kl.Reshape((6, 5))(kl.Conv2D(5, 4, strides=4, name="patches")(inputs))
    x = kl.Concatenate(axis=1)([kl.Cropping1D((0, 5))(x), x])  # a token before the patches
    x = kl.Dense(5, name="before")(x)
    heads = keras.ops.reshape(x, (-1, 7, 5, 1))
    x = keras.ops.reshape(keras.ops.dot_product_attention(heads, heads, heads), (-1, 7, 5))
    x = kl.Dense(5, name="after")(x)
    logits = kl.Dense(2, name="logits")(kl.GlobalAveragePooling1D()(x))
    images = photos(2, (8, 12, 3))
    model = keras.Model(inputs, keras.ops.softmax(logits))
    found = explain(model, images, "grad_cam", target=1)
    assert (found.of, found.layer, found.maps.shape) == ("logits", "before", (2, 2, 3))
    wanted = keras.ops.convert_to_numpy(keras.Model(inputs, logits)(images))[:, 1]
    np.testing.assert_allclose(found.scores, wanted, rtol=1e-5)
