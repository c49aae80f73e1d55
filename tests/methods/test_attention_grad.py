"""Attention times gradient against NumPy, in which each attention weight is moved by itself."""

import functools

import keras
import numpy as np
import pytest
from keras import layers as kl

from keras_saliency import Probes, Target, explain, methods
from keras_saliency.attribution.explainer import Explainer

from helpers.transformers import KINDS, SIZE, TOKENS, WIDTH, Leading, functional, strong

STEP = 1e-5


def grads(**options):
    return functools.partial(methods.get("attention_grad"), **options)


def as_numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def softmax(values):
    raised = np.exp(values - values.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


class Plain:
    """The forward pass of a functional model of one image in float64."""

    def __init__(self, model, image, pooled):
        self.norms = of_kind(model, kl.LayerNormalization)
        self.attentions = [
            [(as_numpy(d.kernel), as_numpy(d.bias)) for d in denses]
            for a in of_kind(model, kl.MultiHeadAttention)
            for denses in [(a.query_dense, a.key_dense, a.value_dense, a.output_dense)]
        ]
        self.head = [as_numpy(weight) for weight in of_kind(model, kl.Dense)[-1].weights]
        self.pooled = pooled
        tokens = as_numpy(of_kind(model, kl.Conv2D)[0](image[None])).reshape(TOKENS, WIDTH)
        leading = [as_numpy(layer.tokens)[0] for layer in of_kind(model, Leading)]
        self.tokens = np.concatenate([*leading, tokens])

    def __call__(self, added):
        """Return logits `(n, 3)`, and the attention of each layer, to which `added` is added."""
        x, attention = self.tokens, []
        for number, (norm, denses) in enumerate(zip(self.norms, self.attentions, strict=True)):
            gamma, beta = map(as_numpy, (norm.gamma, norm.beta))
            deviation = np.sqrt(x.var(axis=-1, keepdims=True) + norm.epsilon)
            y = gamma * (x - x.mean(axis=-1, keepdims=True)) / deviation + beta
            query, key, value = (
                np.einsum("...tc,chk->...htk", y, k) + b[:, None] for k, b in denses[:3]
            )
            weights = softmax(query @ key.swapaxes(-1, -2) / np.sqrt(key.shape[-1]))
            attention.append(weights)
            mixed = (weights + added[number]) @ value
            x = x + np.einsum("...htv,hvc->...tc", mixed, denses[3][0]) + denses[3][1]
        kernel, bias = self.head
        return x[..., self.pooled, :].mean(axis=-2) @ kernel + bias, attention

    def products(self, target):
        """Differentiate one logit at every attention weight, by central differences."""
        _, attention = self(np.zeros(2))
        slopes = []
        for layer, weights in enumerate(attention):
            moved = [np.zeros(1), np.zeros(1)]
            moved[layer] = STEP * np.eye(weights.size).reshape(-1, *weights.shape)
            up, down = (self([sign * m for m in moved])[0][:, target] for sign in (1, -1))
            slopes.append((up - down).reshape(weights.shape) / (2 * STEP))
        return [np.maximum(a * s, 0).mean(axis=0) for a, s in zip(attention, slopes, strict=True)]


def slow(model, images, leading, target, row=None, pooled=None):
    """Work out the maps of one class by finite differences."""
    pooled = pooled or (slice(1) if leading else slice(None))
    maps = []
    for image in images:
        first, second = Plain(model, image, pooled).products(target)
        relevance = first + second + second @ first
        rows = relevance[pooled if row is None else row]
        maps.append(rows.mean(axis=0)[leading:].reshape(2, 3))
    return np.stack(maps)


@pytest.mark.parametrize(("kind", "leading"), [("functional", 0), ("nested", 1), ("subclassed", 2)])
def test_maps_of_every_kind_of_transformer(photos, kind, leading):
    images = photos(2, SIZE)
    wanted = slow(strong(functional(leading)), images, leading, 1)
    assert np.ptp(wanted, axis=(1, 2)).min() > 1e-3
    found = explain(strong(KINDS[kind](leading)), images, grads(), target=1, batch_size=1)
    np.testing.assert_allclose(found.maps, wanted, atol=1e-4 * wanted.max())


def test_each_class_has_a_map_of_its_own(photos):
    model, images = strong(functional(1)), photos(3, SIZE)
    found = explain(model, images, "attention_grad", target=[0, 1, 2]).maps
    for target in range(3):
        wanted = slow(model, images[target : target + 1], 1, target)[0]
        np.testing.assert_allclose(found[target], wanted, atol=1e-4 * wanted.max())
    rolled = explain(model, images, "attention_rollout", target=[0, 1, 2]).maps
    again = explain(model, images, "attention_rollout", target=[1, 2, 0]).maps
    np.testing.assert_array_equal(rolled, again)


@pytest.mark.parametrize(("token", "row"), [("class", slice(1)), ("mean", slice(1, None))])
def test_the_row_of_the_class_token_or_the_mean_over_patches(photos, token, row):
    model, images = strong(functional(1, pooled=slice(None))), photos(1, SIZE)
    wanted = slow(model, images, 1, 2, row, slice(None))
    found = explain(model, images, grads(token=token), target=2).maps
    np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.max())


def test_the_grid_may_be_given(photos):
    model, images = strong(functional(0)), photos(1, SIZE)
    found = explain(model, images, grads(), target=0).maps
    tall = explain(model, images, grads(grid=(3, 2)), target=0).maps
    np.testing.assert_array_equal(tall, found.reshape(1, 3, 2))


def test_what_does_not_raise_the_score_is_nothing(photos):
    """Two classes whose logits are each other's negatives: what raises the one lowers the other."""
    inner = strong(functional(0))
    kernel, bias = map(keras.ops.convert_to_numpy, inner.layers[-1].weights)
    inner.layers[-1].set_weights([kernel * [1, -1, 0], bias * 0])
    found = explain(inner, photos(1, SIZE), "attention_grad", target=2).maps
    np.testing.assert_array_equal(found, 0.0)


def test_small_probabilities_keep_their_maps(photos):
    """Of a score that is 1e-9 as large the map is, and not lost beside the identity."""
    inner, images = strong(functional(0)), photos(1, SIZE)
    model = keras.Model(inner.input, kl.Rescaling(1e-9)(inner.output))
    first, second = Plain(inner, images[0], slice(None)).products(1)
    wanted = 1e-9 * (first + second).mean(axis=0).reshape(2, 3)
    found = explain(model, images, "attention_grad", target=1).maps[0]
    np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.max())


def attending(layer):
    """Build a model of one layer of attention whose head reads the mean over tokens."""
    inputs = keras.Input(SIZE)
    x = kl.Reshape((TOKENS, WIDTH))(kl.Conv2D(WIDTH, 6, strides=6)(inputs))
    y = layer([x, x]) if isinstance(layer, kl.Attention) else layer(x, x)
    return strong(keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling1D()(y))))


def test_the_plain_attention_layer_by_hand(photos):
    """Each token's mean value, of which the head is linear, is the slope of its attention."""
    model, images = attending(kl.Attention()), photos(1, SIZE)
    x = as_numpy(of_kind(model, kl.Conv2D)[0](images)).reshape(TOKENS, WIDTH)
    slope = x @ as_numpy(model.layers[-1].kernel)[:, 1] / TOKENS
    wanted = (softmax(x @ x.T) * np.maximum(slope, 0)).mean(axis=0).reshape(2, 3)
    assert np.count_nonzero(wanted) > 0
    found = explain(model, images, "attention_grad", target=1).maps[0]
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())


def test_heads_that_share_keys(photos):
    """Of grouped queries the same as of heads with equal keys and values each."""
    model, images = attending(kl.GroupQueryAttention(4, 4, 2)), photos(1, SIZE)
    twin = attending(kl.MultiHeadAttention(4, 4))
    grouped, whole = (
        next(
            x
            for x in m.layers
            if hasattr(x, "num_query_heads") or isinstance(x, kl.MultiHeadAttention)
        )
        for m in (model, twin)
    )
    weights = [keras.ops.convert_to_numpy(w) for w in grouped.weights]
    names = [w.path.split("/")[-2:] for w in grouped.weights]
    whole.set_weights(
        [
            np.repeat(w, 2, axis=-2) if name[0] in ("key", "value") else w
            for w, name in zip(weights, names, strict=True)
        ]
    )
    for one, other in zip(model.layers, twin.layers, strict=True):
        if one is not grouped:
            other.set_weights(one.get_weights())
    found, wanted = (explain(m, images, "attention_grad", target=1).maps for m in (model, twin))
    assert wanted.any()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())


@pytest.mark.needs(backend="tensorflow or torch", why="JAX has no float16 on a CPU")
def test_half_precision(photos):
    images = photos(2, SIZE)
    wanted = explain(strong(functional(1)), images, "attention_grad", target=1).maps
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = strong(functional(1))
    finally:
        keras.config.set_dtype_policy("float32")
    found = explain(model, images, "attention_grad", target=1).maps
    np.testing.assert_allclose(found, wanted, atol=0.03 * wanted.max())


def apart():
    """Build a model whose output does not depend on its attention."""
    inputs = keras.Input(SIZE)
    x = kl.Reshape((TOKENS, WIDTH))(kl.Conv2D(WIDTH, 6, strides=6)(inputs))
    y = kl.Lambda(keras.ops.stop_gradient)(kl.MultiHeadAttention(2, 4)(x, x))
    x = kl.Add()([x, y])
    return keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling1D()(x)))


def test_a_score_that_does_not_depend_on_attention(photos):
    with pytest.raises(ValueError, match=r"no gradient at the model's attention.*rollout'"):
        explain(apart(), photos(1, SIZE), "attention_grad")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"token": "first"}, "token must be one of 'class', 'mean', None"),
        ({"token": "class"}, "needs a token before the patches"),
        ({"grid": (3, 3)}, "grid must hold the patches"),
    ],
)
def test_options_are_refused_before_anything_is_computed(photos, options, said):
    model = functional(0)
    with pytest.raises(ValueError, match=said):
        Explainer(model, Probes(photos(2, SIZE)), [grads(**options)], Target(1), None, 32)


def test_models_without_attention_are_refused(photos):
    inputs = keras.Input(SIZE)
    model = keras.Model(inputs, kl.Dense(3)(kl.Flatten()(inputs)))
    with pytest.raises(ValueError, match=r"need self-attention in keras.*no such layer runs"):
        Explainer(model, Probes(photos(2, SIZE)), ["attention_grad"], Target(1), None, 32)
