"""torch-cam's LeGrad, on the same weights in torch.

LeGrad takes the gradient at attention alone, and `attention_grad` its product with attention: they
are compared where attention is even, and before the product by what each layer's gradient is.
"""

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

from keras_saliency import explain

from helpers.transformers import SIZE, TOKENS, functional, strong

pytestmark = pytest.mark.reference

CLASS = 1
GRID = (2, 3)


def pictures(count=3):
    return np.random.default_rng(0).random((count, *SIZE), "float32")


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.fixture
def blocks(torch):
    """Build torch modules with the weights of a model's layers of attention."""

    class Block(torch.nn.Module):
        def __init__(self, norm, attention):
            super().__init__()
            kernels = [attention.query_dense, attention.key_dense, attention.value_dense]
            width = norm.gamma.shape[0]
            self.norm = torch.nn.LayerNorm(width, eps=norm.epsilon)
            self.norm.weight.data, self.norm.bias.data = map(tensor, (norm.gamma, norm.beta))
            heads = attention.num_heads
            self.self_attention = torch.nn.MultiheadAttention(width, heads, batch_first=True)
            own = self.self_attention
            flat = [tensor(dense.kernel).reshape(width, -1).T for dense in kernels]
            own.in_proj_weight.data = torch.cat(flat)
            own.in_proj_bias.data = torch.cat([tensor(d.bias).reshape(-1) for d in kernels])
            own.out_proj.weight.data = tensor(attention.output_dense.kernel).reshape(-1, width).T
            own.out_proj.bias.data = tensor(attention.output_dense.bias)

        def forward(self, x):
            y = self.norm(x)
            return x + self.self_attention(y, y, y)[0]

    def tensor(value):
        return torch.from_numpy(ops.convert_to_numpy(value).copy())

    def build(model):
        pairs = zip(
            of_kind(model, kl.LayerNormalization),
            of_kind(model, kl.MultiHeadAttention),
            strict=True,
        )
        head = [tensor(weight) for weight in model.layers[-1].weights]
        patches = tensor(of_kind(model, kl.Conv2D)[0](pictures()))
        tokens = patches.reshape(len(patches), TOKENS, -1)
        return [Block(*pair) for pair in pairs], lambda x: x.mean(1) @ head[0] + head[1], tokens

    return build


@pytest.fixture
def legrad(torch, torchcam):
    """Compute the LeGrad maps of one block, whose score is that of the whole network."""

    def compute(blocks, head, tokens, number):
        def score(x):
            for block in blocks[number + 1 :]:
                x = block(x)
            return head(x)

        net = torch.nn.Sequential(*blocks)
        options = {"score_projection": score, "prefix_tokens": 0, "grid_shape": GRID}
        with torchcam.LeGrad(net, [blocks[number]], **options) as cam:
            scores = head(net(tokens))
            return cam(CLASS, scores, normalized=False)[0].detach().numpy()

    return compute


@pytest.mark.parametrize("number", [0, 1])
def test_gradients_at_the_attention_of_each_layer(blocks, legrad, assert_agree, number):
    """With a single head, the product is divided by the attention that it was multiplied with."""
    model = strong(functional(0, heads=1))

    def gradients(scored, images):
        products = scored.attention_x_gradient(images) / scored.attentions(images)
        return ops.reshape(ops.mean(products[:, number], axis=1), (-1, *GRID))

    found = explain(model, pictures(), gradients, target=CLASS).maps
    assert_agree(found, legrad(*blocks(model), number))


def test_maps_where_attention_is_even(blocks, legrad, assert_agree):
    """Each of the weights is then 1 / tokens, also where there are several heads."""
    model = strong(functional(0, depth=1))
    for layer in of_kind(model, kl.MultiHeadAttention):
        for weight in layer.query_dense.weights:
            weight.assign(keras.ops.zeros_like(weight))
    found = explain(model, pictures(), "attention_grad", target=CLASS).maps
    assert_agree(found, legrad(*blocks(model), 0) / TOKENS)
