"""Small transformers of every kind, whose attention is far from even."""

import keras
import numpy as np
from keras import layers as kl

# Methods that ask for a transformer.
ATTENTION = frozenset({"attention_grad", "attention_rollout"})

SIZE = (12, 18, 3)  # patches of 6: a grid of 2 x 3
TOKENS, WIDTH = 6, 8


class Leading(kl.Layer):
    """Puts learnt tokens before the patches."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def build(self, shape):
        self.tokens = self.add_weight(shape=(1, self.count, shape[-1]), initializer="normal")

    def call(self, inputs):
        shape = (keras.ops.shape(inputs)[0], self.count, inputs.shape[-1])
        return keras.ops.concatenate([keras.ops.broadcast_to(self.tokens, shape), inputs], axis=1)


class Block(kl.Layer):
    def __init__(self, attention, **options):
        super().__init__(**options)
        self.norm = kl.LayerNormalization()
        self.attention = attention

    def call(self, inputs):
        x = self.norm(inputs)
        return inputs + self.attention(x, x)


class Subclassed(keras.Model):
    """Its head reads the class token, where there is one, or averages the patches."""

    def __init__(self, leading):
        super().__init__()
        self.by_class = leading > 0
        self.patches = kl.Conv2D(WIDTH, 6, strides=6)
        self.leading = Leading(leading) if leading else kl.Identity()
        self.blocks = [Block(kl.MultiHeadAttention(2, 4)) for _ in range(2)]
        self.head = kl.Dense(3)

    def call(self, images):
        x = self.patches(images)
        x = self.leading(keras.ops.reshape(x, (-1, TOKENS, WIDTH)))
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0] if self.by_class else keras.ops.mean(x, axis=1))


def functional(leading, size=SIZE, pooled=None, heads=2, depth=2):
    """Build a transformer whose head reads the class token or, pooled, the mean over some tokens.

    Without a class token it averages the patches.
    """
    inputs = keras.Input(size)
    x = kl.Reshape((TOKENS, WIDTH))(kl.Conv2D(WIDTH, 6, strides=6)(inputs))
    x = Leading(leading)(x) if leading else x
    for _ in range(depth):
        y = kl.LayerNormalization()(x)
        x = kl.Add()([x, kl.MultiHeadAttention(heads, WIDTH // heads)(y, y)])
    pooled = pooled or (slice(1) if leading else slice(None))
    return keras.Model(inputs, kl.Dense(3)(kl.GlobalAveragePooling1D()(x[:, pooled])))


def nested(leading):
    inputs = keras.Input(SIZE)
    return keras.Model(inputs, functional(leading)(kl.Rescaling(1.0)(inputs)))


def subclassed(leading):
    model = Subclassed(leading)
    model(np.zeros((1, *SIZE), "float32"))
    return model


def strong(model):
    """Give a model weights that make its attention far from even, the same for every kind."""
    random = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape) * 0.8)
    return model


KINDS = {"functional": functional, "nested": nested, "subclassed": subclassed}
