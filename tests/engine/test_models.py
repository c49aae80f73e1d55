"""Every kind of model, inside `fit` and out of it, against derivatives taken by hand."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import keras_saliency as ks

from helpers.backends import derivatives

SIZE = (11, 16, 3)


@dataclass
class Row:
    """A model, what is to be picked in it, and the model in two parts, put together by hand.

    `front` gives the map of the picked layer for images, `back` the logits for that map. What a
    part needs to know besides (a class token) is handed from one to the other.
    """

    model: keras.Model
    layer: str
    front: Callable[..., Any]
    back: Callable[..., Any]
    size: tuple[int, ...] = SIZE
    scale: float = 1.0
    tolerance: float = 1e-5
    channels_first: bool = False
    log_probability: bool = False

    def images(self):
        drawn = np.random.default_rng(1).random((4, *self.size), "float32")
        return np.floor(drawn * 255).astype("float32") if self.scale > 1 else drawn


def reference(row, images, labels):
    """Work out scores, |gradient| at the images, and A dS/dA of the picked layer.

    The score is the logit of an image's class, or the logits weighed by what is given for labels.
    """
    images = ops.convert_to_tensor(images)
    chosen = np.eye(3)[labels] if labels.dtype.kind == "i" else labels
    chosen = ops.convert_to_tensor(chosen, "float32")

    def scores_of(logits):
        logits = ops.cast(logits, "float32")
        return ops.sum((ops.log_softmax(logits) if row.log_probability else logits) * chosen, -1)

    def total(logits):
        return ops.sum(scores_of(logits))

    features = row.front(images)
    (gradients,) = derivatives(lambda at: total(row.back(at, images)), features)
    (pixels,) = derivatives(lambda at: total(row.back(row.front(at), at)), images)
    scores = scores_of(row.back(features, images))
    evidence = ops.sum(ops.cast(features, "float32") * ops.cast(gradients, "float32"), -1)
    found = {"evidence": evidence, "saliency": ops.max(ops.abs(pixels), -1), "scores": scores}
    return {name: ops.convert_to_numpy(ops.cast(v, "float32")) for name, v in found.items()}


def evidence(model, images):
    """HiResCAM without its ReLU: a method of our own."""
    return ops.sum(model.activations(images) * model.layer_gradients(images), axis=-1)


def conv(filters, name, **options):
    return kl.Conv2D(filters, 3, activation="softplus", name=name, **options)


def chain(layers):
    return lambda x, *_: functools.reduce(lambda value, layer: layer(value), layers, x)


def sequential(*layers, size=SIZE, **options):
    if all(isinstance(layer, kl.Layer) for layer in layers):
        return keras.Sequential([keras.Input(size, **options), *layers])
    inputs = keras.Input(size, **options)
    return keras.Model(inputs, chain(layers)(inputs))


def tail(**options):
    return [kl.GlobalAveragePooling2D(**options), kl.Dense(3, name="head", **options)]


def nested_two_deep():
    low, top, rest = conv(4, "low"), conv(5, "top", strides=2), tail()
    inner = keras.Input(SIZE)
    inner = keras.Model(inner, top(low(inner)), name="inner")
    middle = keras.Input(SIZE)
    middle = keras.Model(middle, kl.Dropout(0.5)(inner(middle)), name="middle")
    return Row(sequential(middle, *rest), "middle/inner/top", chain([low, top]), chain(rest))


def a_sum_written_as_an_operation():
    """The residual sum is no layer, yet it is what is pooled."""
    first, branch, rest = conv(4, "first"), conv(4, "branch", padding="same"), tail()
    inputs = keras.Input(SIZE)
    x = first(inputs)
    total = x + branch(x)
    model = keras.Model(inputs, ops.softmax(chain(rest)(total)))
    front = lambda x: first(x) + branch(first(x))  # noqa: E731
    return Row(model, total._keras_history.operation.name, front, chain(rest))


def in_sequence(size=SIZE):
    layers, rest = [conv(4, "low"), conv(5, "top", strides=2)], tail()
    return Row(sequential(*layers, *rest, size=size), "top", chain(layers), chain(rest), size)


class Subclassed(keras.Model):
    """Layers in a list and alone, and an operation between them."""

    def __init__(self):
        super().__init__()
        self.features, self.head = [conv(4, "low"), conv(5, "top")], kl.Dense(3, "softmax")

    def call(self, images):
        return self.head(self.pooled(chain(self.features)(images)))

    def pooled(self, features):
        return ops.mean(features, axis=(1, 2))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, *SIZE), "float32"))
    head = lambda x: ops.matmul(model.pooled(x), model.head.kernel) + model.head.bias  # noqa: E731
    return Row(model, "top", chain(model.features), lambda x, *_: head(x))


class Residual(kl.Layer):
    """A block of layers and of operations between them."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.first = kl.Conv2D(filters, 3, padding="same")
        self.second = kl.Conv2D(filters, 3, padding="same")
        self.short = kl.Conv2D(filters, 1)

    def call(self, inputs):
        return ops.silu(self.second(ops.gelu(self.first(inputs))) + self.short(inputs))


def composite_layers():
    blocks, rest = [Residual(4, name="a"), Residual(6, name="b")], tail()
    return Row(sequential(*blocks, *rest), "b", chain(blocks), chain(rest))


def a_layer_called_twice():
    shared, rest = conv(3, "shared", padding="same"), tail()
    inputs = keras.Input(SIZE)
    model = keras.Model(inputs, chain([shared, shared, *rest])(inputs))
    return Row(model, "shared", chain([shared, shared]), chain(rest))


def separate_softmax():
    layers, rest = [conv(4, "top")], tail()
    model = sequential(*layers, *rest, kl.Activation("softmax"))
    return Row(model, "top", chain(layers), chain(rest))


class ClassesByDistance(kl.Layer):
    """A head of our own that gives probabilities, and whose logits nobody sees."""

    def build(self, shape):
        self.centres = self.add_weight(shape=(3, shape[-1]), initializer="random_normal")

    def distances(self, inputs):
        return -ops.sum((inputs[:, None] - self.centres) ** 2, axis=-1)

    def call(self, inputs):
        return ops.softmax(self.distances(inputs))


def a_head_that_hides_its_logits():
    layers, pool, head = [conv(4, "top")], kl.GlobalAveragePooling2D(), ClassesByDistance()
    model = sequential(*layers, pool, head)
    back = lambda x, *_: head.distances(pool(x))  # noqa: E731
    return Row(model, "top", chain(layers), back, log_probability=True, tolerance=1e-4)


def in_mixed_precision(policy):
    layers, rest = [conv(4, "low", dtype=policy), conv(5, "top", dtype=policy)], tail(dtype=policy)
    model = sequential(*layers, *rest)

    def plain(layers):
        """Apply the float32 weights in float32."""
        copies = [type(one).from_config(one.get_config() | {"dtype": "float32"}) for one in layers]

        def run(x, *_):
            for copy, layer in zip(copies, layers, strict=True):
                if not copy.built:
                    copy.build(x.shape)
                copy.set_weights(layer.get_weights())
                x = copy(x)
            return x

        return run

    return Row(model, "top", plain(layers), plain(rest), tolerance=0.03)


def channels_first():
    options = {"data_format": "channels_first"}
    layers = [conv(4, "low", **options), kl.BatchNormalization(axis=1, name="norm")]
    pool, head = kl.GlobalAveragePooling2D(**options), kl.Dense(3)
    model = sequential(*layers, pool, head, size=(3, 11, 16))
    front = lambda x: ops.moveaxis(chain(layers)(ops.moveaxis(x, -1, 1)), 1, -1)  # noqa: E731
    back = lambda x, *_: head(ops.mean(x, axis=(1, 2)))  # noqa: E731
    return Row(model, "norm", front, back, channels_first=True)


def variable_size():
    layers, rest = [conv(4, "low"), conv(5, "top")], tail()
    return Row(sequential(*layers, *rest, size=(None, None, 3)), "top", chain(layers), chain(rest))


class Prefix(kl.Layer):
    """Puts tokens of its own before the patches, and adds a position to each."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def build(self, shape):
        self.tokens = self.add_weight(shape=(1, self.count, shape[-1]), initializer="random_normal")
        places = (1, self.count + shape[1], shape[-1])
        self.places = self.add_weight(shape=places, initializer="random_normal")

    def call(self, patches):
        tokens = ops.repeat(self.tokens, ops.shape(patches)[0], axis=0)
        return ops.concatenate([tokens, patches], axis=1) + self.places


class Attending(kl.Layer):
    """A block of a transformer."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm, self.norm_2 = kl.LayerNormalization(name="norm"), kl.LayerNormalization()
        self.attention = kl.MultiHeadAttention(2, 3, name="attention")
        self.mix = kl.Dense(6, activation="gelu", name="mix")

    def call(self, tokens):
        normed = self.norm(tokens)
        return self.after_norm(normed, tokens)

    def after_norm(self, normed, tokens):
        tokens = tokens + self.attention(normed, normed)
        return tokens + self.mix(self.norm_2(tokens))


def transformer(extra, by_class):
    """Patches of 4 x 4 of 12 x 20 pixels, and `extra` tokens before them."""
    size, cells = (12, 20, 3), 3 * 5
    patches = [kl.Conv2D(6, 4, strides=4, name="patches"), kl.Reshape((cells, 6))]
    patches += [Prefix(extra)] if extra else []
    first, last, head = Attending(name="first"), Attending(name="last"), kl.Dense(3)
    pool = kl.Lambda(lambda x: x[:, 0]) if by_class else kl.GlobalAveragePooling1D()
    model = sequential(*patches, first, last, pool, head, size=size)
    tokens = chain([*patches, first])

    def grid(all_tokens):
        return ops.reshape(all_tokens[:, extra:], (-1, 3, 5, 6))

    def back_from_the_end(features, images):
        return head(ops.mean(ops.reshape(features, (-1, cells, 6)), axis=1))

    def back_from_the_norm(features, images):
        before = tokens(images)
        normed = ops.reshape(features, (-1, cells, 6))
        normed = ops.concatenate([last.norm(before)[:, :extra], normed], axis=1)
        return head(pool(last.after_norm(normed, before)))

    if not extra:
        return Row(model, "last", lambda x: grid(last(tokens(x))), back_from_the_end, size)
    front = lambda x: grid(last.norm(tokens(x)))  # noqa: E731
    return Row(model, "last/norm", front, back_from_the_norm, size, tolerance=1e-4)


def preprocessing_inside():
    """At inference, augmentation does nothing, and the rest is arithmetic."""
    first = [kl.Rescaling(1 / 127.5, offset=-1.0), kl.RandomFlip(), kl.RandomRotation(0.2)]
    first += [kl.RandomContrast(0.3), kl.GaussianNoise(0.1)]
    layers, rest = [conv(4, "top")], tail()
    front = lambda x: chain(layers)(x / 127.5 - 1.0)  # noqa: E731
    return Row(sequential(*first, *layers, *rest), "top", front, chain(rest), scale=255.0)


def bytes_in(nested):
    """The input is declared as uint8; the model's first act is to rescale it."""
    scale, layers, rest = kl.Rescaling(1 / 255), [conv(4, "top")], tail()
    model = sequential(scale, *layers, *rest, dtype="uint8")
    if nested:
        model.name = "body"
        model = sequential(model, dtype="uint8")
    front = lambda x: chain(layers)(x / 255.0)  # noqa: E731
    return Row(model, "body/top" if nested else "top", front, chain(rest), scale=255.0)


def bytes_cast_by_an_operation():
    inputs, layers, rest = keras.Input(SIZE, dtype="uint8"), [conv(4, "top")], tail()
    model = keras.Model(inputs, chain([*layers, *rest])(ops.cast(inputs, "float32") / 255.0))
    front = lambda x: chain(layers)(x / 255.0)  # noqa: E731
    return Row(model, "top", front, chain(rest), scale=255.0)


def frozen_backbone():
    low, top, rest = conv(4, "low"), conv(5, "top"), tail()
    backbone = sequential(low, top)
    backbone.name, backbone.trainable = "backbone", False
    return Row(sequential(backbone, *rest), "backbone/top", chain([low, top]), chain(rest))


def low_rank_adapters():
    """Computed from the weights that LoRA stands for, merged by hand."""
    top, pool, head = conv(5, "top"), kl.GlobalAveragePooling2D(), kl.Dense(3, name="head")
    model = sequential(top, pool, head)
    for layer in (top, head):
        layer.enable_lora(2, lora_alpha=3)
        layer.lora_kernel_b.assign(np.random.default_rng(0).normal(size=layer.lora_kernel_b.shape))

    def merged(layer):
        return layer._kernel + 1.5 * ops.matmul(layer.lora_kernel_a, layer.lora_kernel_b)

    front = lambda x: ops.softplus(ops.conv(x, merged(top)) + top.bias)  # noqa: E731
    back = lambda x, *_: ops.matmul(ops.mean(x, axis=(1, 2)), merged(head)) + head.bias  # noqa: E731
    return Row(model, "top", front, back)


def int8_with_adapters():
    """Quantised by Keras; what trains is LoRA."""
    layers, rest = [kl.Dense(6, activation="softplus", name="mix")], tail()
    model = sequential(*layers, *rest)
    layers[0].enable_lora(2)
    rest[1].enable_lora(2)
    for layer in (layers[0], rest[1]):
        layer.quantize("int8")
    return Row(model, "mix", chain(layers), chain(rest), tolerance=1e-4)


ROWS = {
    "Sequential": in_sequence,
    "greyscale": lambda: in_sequence((11, 16, 1)),
    "subclassed": subclassed,
    "nested two deep": nested_two_deep,
    "composite layers": composite_layers,
    "operations between layers": a_sum_written_as_an_operation,
    "a layer called twice": a_layer_called_twice,
    "separate softmax": separate_softmax,
    "logits hidden in a head": a_head_that_hides_its_logits,
    "mixed_float16": lambda: in_mixed_precision("mixed_float16"),
    "mixed_bfloat16": lambda: in_mixed_precision("mixed_bfloat16"),
    "channels_first": channels_first,
    "variable size": variable_size,
    "transformer, mean of patches": lambda: transformer(0, by_class=False),
    "transformer, class token": lambda: transformer(1, by_class=True),
    "transformer, class token and registers": lambda: transformer(5, by_class=True),
    "preprocessing inside": preprocessing_inside,
    "uint8": lambda: bytes_in(nested=False),
    "uint8, nested": lambda: bytes_in(nested=True),
    "uint8, cast by an operation": bytes_cast_by_an_operation,
    "frozen backbone": frozen_backbone,
    "LoRA": low_rank_adapters,
    "int8": int8_with_adapters,
}


@pytest.mark.parametrize("name", ROWS)
def test_maps_are_the_derivatives_outside_of_training_and_inside(name, tmp_path):
    keras.utils.set_random_seed(0)
    row = ROWS[name]()
    images, labels = row.images(), np.array([0, 2, 1, 2])
    wanted = reference(row, images, labels)
    found = {
        method: ks.explain(row.model, images, chosen, target=labels)
        for method, chosen in (("evidence", evidence), ("saliency", "saliency"))
    }
    assert found["evidence"].layer == row.layer
    for method, one in found.items():
        close(one.maps, wanted[method], row)
        close(one.scores, wanted["scores"], row)
    last = fitted(row, images, labels, tmp_path)
    now = reference(row, images, labels)
    assert not np.allclose(now["scores"], wanted["scores"], rtol=1e-3)
    for method in found:
        close(last[method], now[method], row)


def close(found, wanted, row):
    np.testing.assert_allclose(found, wanted, atol=row.tolerance * np.abs(wanted).max())


def fitted(row, images, labels, tmp_path, loss=None):
    """Train for an epoch, and return the maps that the callback saw at its end."""
    seen = {}

    def noting(name, method):
        def noted(model, images):
            maps = method(model, images)
            seen[name] = ops.convert_to_numpy(maps)
            return maps

        noted.__name__ = name
        return noted

    methods = [noting("evidence", evidence), noting("saliency", ks.methods.get("saliency"))]
    given = np.moveaxis(images, -1, 1) if row.channels_first else images
    outputs = ops.convert_to_numpy(row.model(given))
    from_logits = not np.allclose(outputs.sum(axis=-1), 1.0, atol=1e-3)
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    row.model.compile(keras.optimizers.SGD(0.3), loss, jit_compile=False)
    watch = ks.SaliencyCallback((images, labels), tmp_path, methods, strict=True)
    row.model.fit(given, labels, epochs=1, verbose=0, callbacks=[watch])
    return seen


# Heads: labels, and what the score of each image is of the logits of its units.

CLASSES, TWO = np.array([0, 2, 1, 2]), np.array([0, 1, 1, 0])
SEVERAL = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]])
VALUES = np.array([[0.5, 1.0], [2.0, 0.0], [-1.0, 0.25], [0.0, 3.0]], "float32")
HEADS = {
    "softmax": ("softmax", None, CLASSES, np.eye(3)[CLASSES]),
    "logits": (None, None, CLASSES, np.eye(3)[CLASSES]),
    "one-hot labels": ("softmax", "categorical_crossentropy", np.eye(3)[CLASSES], None),
    "one sigmoid unit": ("sigmoid", "binary_crossentropy", TWO, 2.0 * TWO[:, None] - 1),
    "one unit of logits": (
        None,
        functools.partial(keras.losses.binary_crossentropy, from_logits=True),
        TWO,
        2.0 * TWO[:, None] - 1,
    ),
    "several labels": ("sigmoid", "binary_crossentropy", SEVERAL, SEVERAL.astype("float32")),
    "regression": (None, "mse", VALUES[:, 0], np.ones((4, 1))),
    "regression of two values": (None, "mae", VALUES, np.full((4, 2), 0.5)),
}


@pytest.mark.parametrize("name", HEADS)
def test_every_head_outside_of_training_and_inside(name, tmp_path):
    keras.utils.set_random_seed(0)
    activation, loss, labels, weights = HEADS[name]
    weights = labels if weights is None else weights
    low, pool, head = conv(4, "low"), kl.GlobalAveragePooling2D(), kl.Dense(weights.shape[1])
    model = sequential(low, pool, head, *([kl.Activation(activation)] if activation else []))
    row = Row(model, "low", low, chain([pool, head]))
    if loss is not None:
        model.compile(loss=loss)
    images = row.images()
    wanted = reference(row, images, weights)
    for method, one in (("evidence", evidence), ("saliency", "saliency")):
        found = ks.explain(model, ks.Probes(images, labels), one, target="label")
        close(found.maps, wanted[method], row)
        close(found.scores, wanted["scores"], row)
    last = fitted(row, images, labels, tmp_path, loss)
    now = reference(row, images, weights)
    assert not np.allclose(now["evidence"], wanted["evidence"], rtol=1e-3)
    for method in last:
        close(last[method], now[method], row)


def test_cam_reads_the_kernel_that_an_int8_head_applies():
    """And not the integers that it stores."""
    keras.utils.set_random_seed(0)
    layers = [conv(4, "top"), kl.GlobalAveragePooling2D(), kl.Dense(3, name="head")]
    model = sequential(*layers)
    images = np.random.default_rng(0).random((2, *SIZE), "float32")
    exact = ks.explain(model, images, "cam", target=1).maps
    layers[2].enable_lora(2)
    layers[2].lora_kernel_b.assign(ops.ones((2, 3)))
    merged = ops.convert_to_numpy(layers[2].lora_kernel_a) @ np.ones((2, 3))
    added = ops.convert_to_numpy(layers[0](images)) @ merged[:, 1]
    layers[2].quantize("int8")
    found = ks.explain(model, images, "cam", target=1).maps
    np.testing.assert_allclose(found, exact + added, atol=0.02 * np.abs(exact + added).max())


def test_operations_have_no_weights_to_randomise():
    row = a_sum_written_as_an_operation()

    def maps(model, images, target):
        return ks.explain(model, images, "saliency", target=target).maps

    found = ks.metrics.model_randomisation(maps, row.model, row.images(), 1)
    assert found.layers == ("head", "branch", "first")


# Axes that are moved on the way.


def moved_after_the_convolution(move):
    """Channels first, and then last for a layer that mixes them."""
    options = {"data_format": "channels_first"}
    low, mix, rest = conv(4, "low", **options), kl.Dense(5, activation="gelu", name="mix"), tail()
    model = sequential(low, move(2, 3, 1), mix, *rest, size=(3, 11, 16))
    front = lambda x: mix(ops.moveaxis(low(ops.moveaxis(x, -1, 1)), 1, -1))  # noqa: E731
    return Row(model, "mix", front, chain(rest), channels_first=True)


def moved_before_the_convolution(move):
    """Images come with their channels last, whatever the convolutions want."""
    options = {"data_format": "channels_first"}
    low, pool, head = conv(4, "low", **options), kl.GlobalAveragePooling2D(**options), kl.Dense(3)
    model = sequential(move(3, 1, 2), low, pool, head)
    front = lambda x: ops.moveaxis(low(ops.moveaxis(x, -1, 1)), 1, -1)  # noqa: E731
    return Row(model, "low", front, lambda x, *_: head(ops.mean(x, axis=(1, 2))))


def height_and_width_swapped(move):
    """The channels stay where they are; the map lies as its layer does."""
    low, gate, rest = conv(4, "low"), kl.LayerNormalization(name="norm"), tail()
    model = sequential(low, move(2, 1, 3), gate, *rest)
    front = lambda x: gate(ops.transpose(low(x), (0, 2, 1, 3)))  # noqa: E731
    return Row(model, "norm", front, chain(rest), tolerance=1e-4)


class Moved:
    """Moves axes by an operation, as a Permute layer does."""

    def __init__(self, *order):
        self.order = order

    def __call__(self, x):
        if self.order == (2, 1, 3):
            return ops.swapaxes(x, 1, 2)
        if self.order == (2, 3, 1):
            return ops.moveaxis(x, 1, -1)
        return ops.transpose(x, (0, *self.order))


MOVED = (moved_after_the_convolution, moved_before_the_convolution, height_and_width_swapped)


@pytest.mark.parametrize("build", MOVED)
@pytest.mark.parametrize("by", ["layer", "operation"])
def test_moved_axes_are_followed(build, by, tmp_path):
    keras.utils.set_random_seed(0)
    row = build(lambda *order: kl.Permute(order) if by == "layer" else Moved(*order))
    images, labels = row.images(), np.array([0, 2, 1, 2])
    wanted = reference(row, images, labels)
    found = ks.explain(row.model, images, evidence, target=labels)
    assert found.layer == row.layer
    close(found.maps, wanted["evidence"], row)
    last = fitted(row, images, labels, tmp_path)
    close(last["evidence"], reference(row, images, labels)["evidence"], row)


def test_channels_in_the_middle_make_no_map():
    low, flat = conv(4, "low"), kl.Flatten()
    model = sequential(low, kl.Permute((1, 3, 2)), kl.ReLU(name="middle"), flat, kl.Dense(3))
    images = np.ones((1, *SIZE), "float32")
    assert ks.explain(model, images, evidence).layer == "low"
    with pytest.raises(ValueError, match=r"layer='middle' gives no map.*\(1, 9, 4, 14\).*'low'"):
        ks.explain(model, images, evidence, layer="middle")


# Frames.


def test_a_backbone_of_each_frame_stacks_its_runs(tmp_path):
    """(batch, frames, h, w), against the backbone applied to each frame by hand."""
    keras.utils.set_random_seed(0)
    low, top, pool = conv(4, "low"), conv(4, "top", strides=2), kl.GlobalAveragePooling2D()
    backbone = sequential(low, top, pool)
    backbone.name = "backbone"
    recurrent, head = kl.LSTM(5), kl.Dense(3, name="head")
    model = sequential(kl.TimeDistributed(backbone), recurrent, head, size=(4, *SIZE))

    def front(videos, *_):
        return ops.stack([top(low(videos[:, frame])) for frame in range(4)], axis=1)

    row = Row(model, "time_distributed/backbone/top", front, None, (4, *SIZE))
    row.layer = f"{model.layers[0].name}/backbone/top"
    row.back = lambda features, *_: head(recurrent(ops.mean(features, axis=(2, 3))))
    images, labels = row.images(), np.array([0, 2, 1, 2])
    wanted = reference(row, images, labels)
    found = ks.explain(model, images, evidence, target=labels)
    assert found.layer == row.layer
    assert found.maps.shape == (4, 4, 4, 6)
    close(found.maps, wanted["evidence"], row)
    close(ks.explain(model, images, "saliency", target=labels).maps, wanted["saliency"], row)
    last = fitted(row, images, labels, tmp_path)
    now = reference(row, images, labels)
    close(last["evidence"], now["evidence"], row)
    close(last["saliency"], now["saliency"], row)


def test_a_layer_that_runs_twice_a_frame():
    shared = kl.Conv2D(3, 1, use_bias=False, name="shared")
    inputs = keras.Input((3, 5, 3))
    twice = keras.Model(inputs, kl.GlobalAveragePooling2D()(shared(shared(inputs))), name="twice")
    model = sequential(kl.TimeDistributed(twice), kl.Flatten(), kl.Dense(2), size=(4, 3, 5, 3))
    videos = np.random.default_rng(0).random((2, 4, 3, 5, 3), "float32")

    def mean(model, images):
        return ops.mean(model.activations(images), axis=-1)

    kernel = ops.convert_to_numpy(shared.kernel)[0, 0]
    for run, product in ((0, kernel), (1, kernel @ kernel), (-2, kernel)):
        found = ks.explain(model, videos, mean, target=0, layer=("shared", run)).maps
        np.testing.assert_allclose(found, (videos @ product).mean(axis=-1), atol=1e-6)
    with pytest.raises(ValueError, match=r"run 2 of '.*shared', whose runs .* are 0, 1\."):
        ks.explain(model, videos, mean, target=0, layer=("shared", 2))


# Tokens.


def test_tokens_lie_as_they_are_said_to():
    """Mixed patches without attention, whose grid nothing tells."""
    cut, mix = kl.Reshape((6, 48)), kl.Dense(4, name="mix")
    model = sequential(cut, mix, kl.GlobalAveragePooling1D(), kl.Dense(2), size=(8, 12, 3))
    images = np.random.default_rng(0).random((2, 8, 12, 3), "float32")

    def first(model, images):
        return model.activations(images)[..., 0]

    wanted = ops.convert_to_numpy(mix(cut(images)))[..., 0]
    for grid, left_out in (((2, 3), 0), ((3, 2), 0), ((2, 2), 2), ((5, 1), 1)):
        found = ks.explain(model, images, first, layer=ks.Tokens("mix", grid)).maps
        np.testing.assert_allclose(found, wanted[:, left_out:].reshape(2, *grid), rtol=1e-6)
    with pytest.raises(ValueError, match=r"'mix' gives no map: .*\(1, 6, 4\).*ks\.Tokens"):
        ks.explain(model, images, first, layer="mix")
    with pytest.raises(ValueError, match="'mix' gives no map"):
        ks.explain(model, images, first, layer=ks.Tokens("mix", (7, 1)))


@pytest.mark.parametrize("grid", [(), (2, 0), (2.0, 3), [2, 3], (True, 2), 6])
def test_a_grid_is_a_tuple_of_whole_numbers(grid):
    with pytest.raises(ValueError, match=r"grid must hold the tokens along each axis.*Received"):
        ks.Tokens("mix", grid)


@pytest.mark.parametrize(("size", "tokens"), [((12, 20), 15), ((9, 14), 7)])
def test_the_grid_is_that_of_the_pixels_that_the_tokens_are_made_of(size, tokens):
    """No layer gives a grid: each token is a pixel of the first row, and no square patch."""

    class Cut(kl.Layer):
        def call(self, images):
            flat = ops.reshape(images, (-1, size[0] * size[1] * 3))
            return ops.reshape(flat[:, : tokens * 3], (-1, tokens, 3))

    cut, attention = Cut(), kl.MultiHeadAttention(1, 3, name="attention")
    inputs = keras.Input((*size, 3))
    x = attention(cut(inputs), cut(inputs))
    model = keras.Model(inputs, kl.Dense(2)(kl.GlobalAveragePooling1D()(x)))
    images = np.random.default_rng(0).random((2, *size, 3), "float32")
    found = ks.explain(model, images, lambda m, i: m.activations(i)[..., 0], layer=attention).maps
    wanted = ops.convert_to_numpy(attention(cut(images), cut(images)))[..., 0]
    laid = np.zeros((2, *size), "float32")
    laid[:, 0, :tokens] = wanted
    np.testing.assert_allclose(found, laid, atol=1e-6)


# What enters.


def test_images_with_their_channels_first_are_told_from_others():
    model = channels_first().model
    images = np.zeros((2, 3, 11, 16), "float32")
    with (
        pytest.warns(UserWarning, match="can't be shown in colour"),
        pytest.raises(ValueError, match=r"\(None, 11, 16, 3\), channels last.*np\.moveaxis"),
    ):
        ks.explain(model, images)


def test_a_model_of_bytes_refuses_fractions():
    model = bytes_in(nested=False).model
    with pytest.raises(ValueError, match=r"whole numbers.*values such as 0\.5\. Give raw"):
        ks.explain(model, np.full((1, *SIZE), 0.5, "float32"))


# Segmentation.


def segmenter(activation, units=3):
    low = conv(4, "low", padding="same")
    return low, kl.Conv2D(units, 1, activation=activation, name="classes")


def region_of(kind, logits, label):
    """Where the class is predicted, worked out from logits."""
    if kind == "softmax":
        return logits.argmax(axis=-1) == label
    return logits[..., label] > 0 if logits.shape[-1] > 1 else (logits[..., 0] > 0) == label


@pytest.mark.parametrize(("kind", "units"), [("softmax", 3), ("sigmoid", 3), ("sigmoid", 1)])
def test_a_class_is_explained_over_the_predicted_region(kind, units, tmp_path):
    """The score is the mean logit where the class is seen; its gradient stays there (1 x 1)."""
    keras.utils.set_random_seed(3)
    low, head = segmenter(kind, units)
    model = sequential(low, head)
    images = np.random.default_rng(0).random((2, *SIZE), "float32") - 0.5
    # Logits around zero, so that each class is seen in a part of the picture.
    kernel = np.random.default_rng(1).normal(size=head.kernel.shape)
    middle = ops.convert_to_numpy(low(images)).mean(axis=(0, 1, 2))
    head.set_weights([kernel, -(middle @ kernel[0, 0])])
    labels, target = np.array([1, 0]), ks.Target("label", region="predicted")

    def wanted():
        kernel, bias = (ops.convert_to_numpy(v) for v in (head.kernel, head.bias))
        features = ops.convert_to_numpy(low(images))
        logits = features @ kernel[0, 0] + bias
        scores, maps = [], []
        for row, label in enumerate(labels):
            region = region_of(kind, logits[row], label)
            assert 0 < region.mean() < 1
            sign, column = (1, label) if units > 1 else (2 * label - 1, 0)
            scores.append(sign * logits[row, region, column].mean())
            weight = sign * kernel[0, 0, :, column] / region.sum()
            maps.append(region * (features[row] @ weight))
        return np.array(scores), np.array(maps)

    scores, maps = wanted()
    probes = ks.Probes((images + 0.5), labels, preprocess=lambda raw: raw - 0.5)
    found = ks.explain(model, probes, evidence, target=target, layer="low")
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4)
    np.testing.assert_allclose(found.maps, maps, atol=1e-6)
    assert found.targets.tolist() == labels.tolist()
    seen = []

    def noted(model, images):
        seen.append(ops.convert_to_numpy(evidence(model, images)))
        return model.layer_gradients(images)[..., 0]

    loss = "categorical_crossentropy" if kind == "softmax" else "binary_crossentropy"
    truth = np.eye(units)[np.zeros((2, *SIZE[:2]), int)]
    model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
    watch = ks.SaliencyCallback(probes, tmp_path, [noted], target=target, layer="low", strict=True)
    model.fit(images, truth, epochs=1, verbose=0, callbacks=[watch])
    np.testing.assert_allclose(seen[-1], wanted()[1], atol=1e-6)


def test_a_class_is_explained_over_a_given_region():
    low, head = segmenter("softmax")
    model = sequential(low, head)
    images = np.random.default_rng(0).random((2, *SIZE), "float32")
    kernel, bias = (ops.convert_to_numpy(v) for v in (head.kernel, head.bias))
    logits = ops.convert_to_numpy(low(images)) @ kernel[0, 0] + bias
    regions = np.random.default_rng(1).random((2, *SIZE[:2]))
    for region in (regions > 0.6, regions[0] > 0.6, regions):
        weights = np.broadcast_to(region, regions.shape).astype("float64")
        scores = ks.explain(
            model, images, "saliency", target=ks.Target([2, 1], region=region)
        ).scores
        own = np.stack([logits[0, ..., 2], logits[1, ..., 1]])
        wanted = (own * weights).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)


def test_copies_are_scored_over_the_region_of_their_image():
    """A black copy would be seen as another class, and its own region would be empty."""
    head = kl.Conv2D(2, 1, use_bias=False)
    model = sequential(head, size=(2, 3, 1))
    head.set_weights([np.array([1.0, -1.0], "float32").reshape(1, 1, 1, 2)])
    images = np.array([[3, -1, 2], [-4, 5, -6]], "float32").reshape(1, 2, 3, 1)

    def negative(model, images):
        score = model.scores(-images, rows=np.array([0]))
        return ops.ones((1, 2, 3)) * score[:, None, None]

    probes = ks.Probes(images, display=np.zeros((1, 2, 3, 3), "uint8"), preprocess=lambda raw: raw)
    found = ks.explain(model, probes, negative, target=ks.Target(0, region="predicted"))
    np.testing.assert_allclose(found.scores, (3 + 2 + 5) / 3, rtol=1e-6)
    np.testing.assert_allclose(found.maps, -(3 + 2 + 5) / 3, rtol=1e-6)


def test_a_class_that_is_seen_nowhere_has_a_score_of_zero_and_no_map():
    head = kl.Conv2D(2, 1)
    model = sequential(head)
    head.set_weights([np.zeros((1, 1, 3, 2)), np.array([1.0, 0.0])])
    found = ks.explain(
        model, np.ones((1, *SIZE)), "saliency", target=ks.Target(1, region="predicted")
    )
    assert found.scores.tolist() == [0.0]
    assert not found.maps.any()


def test_regions_that_do_not_fit():
    model = sequential(*segmenter("softmax"))
    images = np.ones((2, *SIZE), "float32")
    positions = SIZE[:2]
    for target, message in (
        (ks.Target(1, region=np.ones((5, 5))), r"\(11, 16\).*Received: region of shape \(5, 5\)"),
        (ks.Target(1, region=-np.ones(positions)), r"weights from 0.*values from -1\.0 to -1\.0"),
        (ks.Target(1, region=np.zeros(positions)), r"some above it\. Received: values from 0"),
        (ks.Target("predicted", region="predicted"), "explains one class an image.*'predicted'"),
        (ks.Target([1, 2, 0], region="predicted"), "2 in all. Received: target of length 3"),
        (ks.Target(3, region="predicted"), "from 0 to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            ks.explain(model, images, "saliency", target=target)
    flat = sequential(conv(4, "top"), *tail())
    with pytest.raises(ValueError, match=r"each position.*shape \(3,\)\. Leave `region` out"):
        ks.explain(flat, images, "saliency", target=ks.Target(1, region="predicted"))
    with pytest.raises(ValueError, match=r"region must be 'predicted'.*Received: region='seen'"):
        ks.Target(1, region="seen")
