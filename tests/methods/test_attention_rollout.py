"""Attention rollout against the attention layers themselves, in every kind of transformer."""

import functools

import keras
import numpy as np
import pytest
from keras import layers as kl

from keras_saliency import Probes, Target, explain, methods
from keras_saliency.attribution.explainer import Explainer

from helpers.transformers import KINDS, SIZE, TOKENS, WIDTH, Leading, functional, strong


def rollout(**options):
    return functools.partial(methods.get("attention_rollout"), **options)


def slow(model, images, leading, row, residual=0.5):
    """Work out the rollout in numpy, from the weights of a functional model.

    `row` is that of the class token, the mean over the patches, or a slice of rows.
    """
    conv, norms, attentions = (
        [layer for layer in model.layers if isinstance(layer, kind)]
        for kind in (kl.Conv2D, kl.LayerNormalization, kl.MultiHeadAttention)
    )
    x = keras.ops.convert_to_numpy(conv[0](images)).reshape(len(images), TOKENS, WIDTH)
    if leading:
        tokens = next(layer for layer in model.layers if isinstance(layer, Leading)).tokens
        tokens = np.tile(keras.ops.convert_to_numpy(tokens), (len(images), 1, 1))
        x = np.concatenate([tokens, x], axis=1)
    count = x.shape[1]
    rolled = np.tile(np.eye(count), (len(images), 1, 1))
    for norm, attention in zip(norms, attentions, strict=True):
        y = keras.ops.convert_to_numpy(norm(x))
        query, key = (
            np.einsum("ntc,chk->nhtk", y, keras.ops.convert_to_numpy(dense.kernel))
            + keras.ops.convert_to_numpy(dense.bias)[None, :, None]
            for dense in (attention.query_dense, attention.key_dense)
        )
        scores = np.exp(query @ key.swapaxes(2, 3) / 2)  # the root of a key's 4 values
        scores = (scores / scores.sum(axis=-1, keepdims=True)).mean(axis=1)
        rolled = (residual * np.eye(count) + (1 - residual) * scores) @ rolled
        x = x + keras.ops.convert_to_numpy(attention(y, y))
    chosen = {"class": slice(1), "mean": slice(leading, None)}.get(str(row), row)
    rows = rolled[:, chosen].mean(axis=1)
    return rows[:, leading:].reshape(-1, 2, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("leading", "row"), [(0, "mean"), (1, "class"), (2, "class")])
def test_rollout_of_every_kind_of_transformer(photos, kind, leading, row):
    images = photos(3, SIZE)
    wanted = slow(strong(functional(leading)), images, leading, row)
    assert np.ptp(wanted) > 0.1
    model = strong(KINDS[kind](leading))
    outputs = keras.ops.convert_to_numpy(model(images))
    found = explain(model, images, rollout(), batch_size=2)
    np.testing.assert_allclose(found.maps, wanted, atol=1e-5)
    np.testing.assert_allclose(found.outputs, outputs, atol=1e-5)
    after = keras.ops.convert_to_numpy(model(images))
    np.testing.assert_array_equal(after, outputs)


def test_the_row_of_the_class_token_or_the_mean_over_patches(photos):
    model, images = strong(functional(1)), photos(2, SIZE)
    for row in ("class", "mean"):
        found = explain(model, images, rollout(token=row)).maps
        np.testing.assert_allclose(found, slow(model, images, 1, row), atol=1e-5)


@pytest.mark.parametrize("residual", [0.0, 0.3])
def test_the_residual_is_what_passes_a_layer_by(photos, residual):
    model, images = strong(functional(1)), photos(2, SIZE)
    found = explain(model, images, rollout(residual=residual)).maps
    np.testing.assert_allclose(found, slow(model, images, 1, "class", residual), atol=1e-5)


def test_if_everything_passes_by_nothing_is_mixed(photos):
    model, images = strong(functional(1)), photos(2, SIZE)
    assert not explain(model, images, rollout(residual=1.0)).maps.any()
    mean = explain(model, images, rollout(residual=1.0, token="mean")).maps
    np.testing.assert_allclose(mean, 1 / TOKENS, rtol=1e-6)


def test_shares_of_all_tokens_sum_to_one(photos):
    found = explain(strong(functional(0)), photos(3, SIZE), "attention_rollout").maps
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1.0, rtol=1e-5)


def test_the_map_is_the_same_for_every_class_and_in_any_company(photos):
    model, images = strong(functional(1)), photos(5, SIZE)
    found = explain(model, images, rollout(), target=0, batch_size=2).maps
    other = explain(model, images[3:4], rollout(), target=2).maps
    np.testing.assert_allclose(other[0], found[3], atol=1e-6)


def test_a_grid_that_cannot_be_found_is_given(photos):
    """Each of 36 tokens is of pixels from everywhere, so that they have no places."""
    inputs = keras.Input(SIZE)
    x = kl.Reshape((36, 18))(kl.Dense(3 * 12 * 18)(kl.Flatten()(inputs)))
    x = kl.MultiHeadAttention(2, 4)(x, x)
    model = keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling1D()(x)))
    images = photos(2, SIZE)
    with pytest.raises(ValueError, match=r"no grid.*36 tokens for images of \(12, 18\)\. Give"):
        explain(model, images, rollout())
    square, wide = (explain(model, images, rollout(grid=g)).maps for g in ((6, 6), (3, 12)))
    assert square.shape == (2, 6, 6)
    np.testing.assert_array_equal(wide, square.reshape(2, 3, 12))


@pytest.mark.parametrize("registers", [3, 5])
def test_registers_beside_the_class_token_are_left_out(photos, registers):
    model, images = strong(functional(1 + registers)), photos(2, SIZE)
    found = explain(model, images, rollout()).maps
    np.testing.assert_allclose(found, slow(model, images, 1 + registers, "class"), atol=1e-5)


@pytest.mark.parametrize("leading", [1, 2])
def test_patches_may_leave_a_margin_of_the_image(photos, leading):
    """With two tokens before them, 8 could be 2 x 4 patches of 5 pixels, were 2 x 3 not met."""
    size = (13, 20, 3)
    model, images = strong(functional(leading, size)), photos(2, size)
    found = explain(model, images, rollout()).maps
    np.testing.assert_allclose(found, slow(model, images, leading, "class"), atol=1e-5)


def test_scores_that_a_model_asks_for_itself_still_reach_it(photos):
    class Asking(kl.Layer):
        def __init__(self):
            super().__init__()
            self.attention = kl.MultiHeadAttention(2, 4)

        def call(self, inputs):
            output, scores = self.attention(inputs, inputs, return_attention_scores=True)
            return output * keras.ops.mean(scores)

    inputs = keras.Input(SIZE)
    x = Asking()(kl.Reshape((TOKENS, WIDTH))(kl.Conv2D(WIDTH, 6, strides=6)(inputs)))
    model = keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling1D()(x)))
    assert explain(model, photos(2, SIZE), rollout()).maps.shape == (2, 2, 3)


def test_the_plain_attention_layer_is_met_too(photos):
    inputs = keras.Input(SIZE)
    x = kl.Reshape((TOKENS, WIDTH))(kl.Conv2D(WIDTH, 6, strides=6)(inputs))
    y = kl.Attention(name="attention")([x, x])
    model = strong(keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling1D()(y))))
    tokens = keras.ops.convert_to_numpy(model.layers[1](photos(1, SIZE))).reshape(TOKENS, WIDTH)
    scores = np.exp(tokens @ tokens.T - (tokens @ tokens.T).max(axis=1, keepdims=True))
    wanted = 0.5 / TOKENS + 0.5 * (scores / scores.sum(axis=1, keepdims=True)).mean(axis=0)
    found = explain(model, photos(1, SIZE), rollout()).maps
    np.testing.assert_allclose(found[0].ravel(), wanted, rtol=1e-4)


def windowed():
    """Build a model whose attention stays within two windows of three patches."""
    inputs = keras.Input(SIZE)
    x = kl.Conv2D(WIDTH, 6, strides=6)(inputs)
    x = keras.ops.reshape(x, (-1, 3, WIDTH))
    x = keras.ops.reshape(kl.MultiHeadAttention(2, 4)(x, x), (-1, TOKENS, WIDTH))
    return keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling1D()(x)))


def plain():
    """Build a model without any attention."""
    x = kl.Flatten()(inputs := keras.Input(SIZE))
    return keras.Model(inputs, kl.Dense(3)(x))


def across():
    """Build a model in which one learnt query looks at all patches."""
    inputs = keras.Input(SIZE)
    x = kl.Reshape((TOKENS, WIDTH))(kl.Conv2D(WIDTH, 6, strides=6)(inputs))
    x = kl.MultiHeadAttention(2, 4)(kl.Cropping1D((0, TOKENS - 1))(x), x)
    return keras.Model(inputs, kl.Dense(3)(kl.Flatten()(x)))


@pytest.mark.parametrize(
    ("build", "options", "said"),
    [
        (plain, {}, r"need self-attention in keras\.layers.*no such layer runs.*Use 'grad_cam'"),
        (across, {}, "attention only runs between two sequences"),
        (windowed, {}, "within windows"),
        (functional, {"token": "first"}, "token must be one of 'class', 'mean', None"),
        (functional, {"token": "class"}, "needs a token before the patches"),
        (functional, {"residual": 1.2}, "residual must be a number from 0 to 1"),
        (functional, {"grid": (3, 3)}, "grid must hold the patches"),
        (functional, {"grid": 6}, "grid must hold the patches"),
    ],
)
def test_what_cannot_be_rolled_out_is_said_before_anything_is_computed(
    photos, build, options, said
):
    model = build(0) if build is functional else build()
    with pytest.raises(ValueError, match=said):
        Explainer(model, Probes(photos(2, SIZE)), [rollout(**options)], Target(1), None, 32)


# Which rows are read.


@pytest.mark.parametrize(
    ("leading", "pooled", "row"),
    [
        (1, slice(None), "mean"),  # pooling="gap", as a vision transformer may have it
        (1, slice(1, None), "mean"),
        (2, slice(0, 1), "class"),
        (2, slice(0, 2), slice(0, 2)),  # of a class token and a distilled one
        (0, slice(5, 6), slice(5, 6)),  # the last token alone
    ],
)
def test_the_rows_are_those_that_the_head_reads(photos, leading, pooled, row):
    model, images = strong(functional(leading, pooled=pooled)), photos(2, SIZE)
    found = explain(model, images, rollout()).maps
    np.testing.assert_allclose(found, slow(model, images, leading, row), atol=1e-5)


def test_a_softmax_that_is_sure_does_not_hide_what_the_head_reads(photos):
    inner, images = strong(functional(1)), photos(2, SIZE)
    model = keras.Model(inner.input, kl.Softmax()(kl.Rescaling(1e4)(inner.output)))
    found = explain(model, images, rollout()).maps
    np.testing.assert_allclose(found, slow(inner, images, 1, "class"), atol=1e-5)


# Attention over several axes.


def over_axes(size=SIZE, axes=None, layer=kl.MultiHeadAttention):
    """Build a model whose attention gets a map of patches, `(batch, 2, 3, channels)`."""
    inputs = keras.Input(size)
    x = kl.Conv2D(WIDTH, 6, strides=6, name="patches")(inputs)
    if layer is kl.Attention:
        y = kl.Attention(name="mix")([x, x])
    else:
        y = layer(2, 4, attention_axes=axes, name="mix")(x, x)
    return keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling2D()(kl.Add()([x, y]))))


def as_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_attention_over_height_and_width_is_over_all_patches(photos):
    model, images = strong(over_axes()), photos(3, SIZE)
    tokens = as_numpy(model.get_layer("patches")(images)).reshape(3, TOKENS, WIDTH)
    mix, attention = model.get_layer("mix"), np.zeros((3, TOKENS, TOKENS))
    for head in range(2):
        query, key = (
            tokens @ as_numpy(dense.kernel)[:, head] + as_numpy(dense.bias)[head]
            for dense in (mix.query_dense, mix.key_dense)
        )
        scores = query @ key.swapaxes(1, 2) / 2  # the root of a key's 4 values
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attention += scores / scores.sum(axis=-1, keepdims=True) / 2
    wanted = (0.5 * np.eye(TOKENS) + 0.5 * attention).mean(axis=1).reshape(3, 2, 3)
    found = explain(model, images, rollout()).maps
    assert np.ptp(wanted) > 0.05
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "axes", "layer"),
    [
        (SIZE, (1,), kl.MultiHeadAttention),
        (SIZE, (2,), kl.MultiHeadAttention),
        ((12, 12, 3), (2, 1), kl.MultiHeadAttention),  # tokens in another order than the map's
        (SIZE, None, kl.Attention),  # which attends within rows
    ],
)
def test_axial_attention_is_refused_by_name(photos, size, axes, layer):
    model = over_axes(size, axes, layer)
    with pytest.raises(ValueError, match=r"layer 'mix' attends along some.*axial.*'grad_cam'"):
        Explainer(model, Probes(photos(2, size)), [rollout()], Target(1), None, 32)


# Tokens whose grid no layer tells.


class Patches(kl.Layer):
    """Cuts an image into patches and flattens them, as Keras's example of a transformer does."""

    def call(self, images):
        patches = keras.ops.image.extract_patches(images, (4, 4))
        return keras.ops.reshape(patches, (-1, patches.shape[1] * patches.shape[2], 48))


def of_tokens(size, *layers, leading=0):
    """Build a transformer of the tokens that some layers make of an image."""
    inputs = x = keras.Input(size)
    for layer in layers:
        x = layer(x)
    x = kl.Dense(WIDTH, name="embedding")(x)
    x = Leading(leading)(x) if leading else x
    y = kl.LayerNormalization()(x)
    x = kl.Add(name="sum")([x, kl.MultiHeadAttention(2, 4)(y, y)])
    x = kl.LayerNormalization(name="last")(x)
    return keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling1D()(x)))


# The size, what makes tokens, how many stand before them, and the grid.
TOKENS_OF = {
    "rows of a digit": ((28, 28, 1), [kl.Reshape((28, 28))], 0, (28, 1)),
    "rows, and a class token": ((16, 16, 1), [kl.Reshape((16, 16))], 1, (16, 1)),
    "columns": ((20, 28, 1), [kl.Permute((2, 1, 3)), kl.Reshape((28, 20))], 0, (1, 28)),
    "patches": ((12, 20, 3), [Patches()], 0, (3, 5)),
    "patches, and four tokens": ((12, 20, 3), [Patches()], 4, (3, 5)),
    "parts of rows": ((12, 18, 3), [kl.Reshape((36, 18))], 0, (12, 3)),
    "rows of a map": (
        (14, 18, 3),
        [kl.Conv2D(2, 3, strides=2, padding="same"), kl.Reshape((7, 18))],
        0,
        (7, 1),
    ),
}


@pytest.mark.parametrize("case", TOKENS_OF)
def test_the_grid_is_where_the_tokens_come_from(photos, case):
    size, layers, leading, grid = TOKENS_OF[case]
    model, images = of_tokens(size, *layers, leading=leading), photos(2, size)
    found = explain(model, images, rollout()).maps
    assert found.shape == (2, *grid)
    # The read tokens are the patches, of which a token's own share is largest.
    strong_one = explain(model, images, rollout(residual=1.0)).maps
    np.testing.assert_allclose(strong_one, 1 / np.prod(grid), rtol=1e-5)
    by_layer = explain(model, images, "grad_cam", target=1, layer="last")
    assert by_layer.maps.shape == (2, *grid)


@pytest.mark.parametrize("layers", [[kl.Permute((2, 1, 3)), Patches()], [kl.Reshape((15, 48))]])
def test_tokens_that_lie_in_no_grid_are_refused_before_the_first_batch(photos, layers):
    """Patches that go down the columns first, and tokens that begin within a row of pixels."""
    size = (12, 20, 3)
    model = of_tokens(size, *layers)
    with pytest.raises(ValueError, match=r"no grid.*15 tokens for images of \(12, 20\)\. Give"):
        Explainer(model, Probes(photos(2, size)), [rollout()], Target(1), None, 32)
