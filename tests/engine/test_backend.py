"""No weight is baked in, and looking leaves no trace, no gradient and no graph behind."""

import gc

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

from keras_saliency import Probes, Target
from keras_saliency.attribution.explainer import Explainer
from keras_saliency.engine.backend import compiled

METHODS = ["saliency", "grad_cam", "layer_cam", "cam", "smooth_grad", "eigen_cam"]


def model_with_everything():
    """Weights that train and that don't, statistics, seeds: one way through all of them."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((9, 13, 3)),
            kl.RandomFlip(seed=1),
            kl.Conv2D(4, 3, activation="softplus", name="conv"),
            kl.BatchNormalization(),
            kl.Dropout(0.3, seed=2),
            kl.Conv2D(4, 3, trainable=False),
            kl.GlobalAveragePooling2D(),
            kl.Dense(3),
        ]
    )


def explainer(model, chosen=METHODS):
    images = np.random.default_rng(0).random((3, 9, 13, 3), "float32")
    return Explainer(model, Probes(images), chosen, Target([2, 0, 1]), None, 2)


def test_every_variable_is_read_anew_at_each_call():
    """Of each variable in turn: what is computed follows it, as a fresh compilation does."""
    model = model_with_everything()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(np.random.rand(8, 9, 13, 3), np.arange(8) % 3, verbose=0)
    watch = explainer(model, ["gradient_x_input", "hires_cam"])
    watch.evaluate()
    moved = 0
    for variable in model.weights:
        before = watch.evaluate()
        drawn = np.random.default_rng(3).random(variable.shape).astype("float32")
        variable.assign(ops.convert_to_numpy(variable) + 0.3 * drawn)
        after, fresh = (
            watch.evaluate(),
            explainer(model, ["gradient_x_input", "hires_cam"]).evaluate(),
        )
        np.testing.assert_allclose(after.scores, fresh.scores, rtol=1e-5)
        for name, maps in after.maps.items():
            np.testing.assert_allclose(maps, fresh.maps[name], atol=1e-5 * np.abs(maps).max())
        moved += not np.allclose(after.scores, before.scores, rtol=1e-4)
    assert moved == len(model.weights) == 10


@pytest.mark.needs(backend="jax", why="it tells of every compilation")
def test_jax_compiles_nothing_after_the_first_look():
    from jax import monitoring

    compilations = []

    def note(event, seconds, **_):
        if "compile" in event:
            compilations.append(event)

    monitoring.register_event_duration_secs_listener(note)
    model = model_with_everything()
    watch = explainer(model)
    watch.evaluate()
    assert compilations
    for scale in (0.5, 2.0):
        for variable in model.weights:
            variable.assign(scale * variable)
        ops.convert_to_numpy(variable)
        compilations.clear()
        watch.evaluate()
        assert compilations == []


def constants(jaxpr):
    """The arrays that a program of JAX holds besides its arguments."""
    import jax
    from jax.extend.core import ClosedJaxpr, Literal

    held = list(jaxpr.consts)
    for step in jaxpr.jaxpr.eqns:
        held += [one.val for one in step.invars if isinstance(one, Literal)]
        inner = jax.tree.leaves(step.params, is_leaf=lambda one: isinstance(one, ClosedJaxpr))
        for one in inner:
            held += constants(one) if isinstance(one, ClosedJaxpr) else []
    return held


@pytest.mark.needs(backend="jax", why="it tells what it compiles")
def test_what_jax_compiles_holds_no_weight(monkeypatch):
    import jax

    sizes, jit = [], jax.jit

    def noting(function, **options):
        jitted = jit(function, **options)

        def call(*arguments):
            held = constants(jax.make_jaxpr(function)(*arguments))
            sizes.append(max(map(np.size, held), default=0))
            return jitted(*arguments)

        return call

    model = model_with_everything()
    kernel = np.size(model.get_layer("conv").kernel)
    with keras.StatelessScope():
        baked_in = jax.make_jaxpr(lambda images: model(images))(np.zeros((1, 9, 13, 3), "float32"))
    assert max(map(np.size, constants(baked_in))) >= kernel
    monkeypatch.setattr(jax, "jit", noting)
    found = explainer(model, [*METHODS, "rise", "ablation_cam"]).evaluate()
    assert not found.errors
    assert len(sizes) > 3
    assert max(sizes) < 9


@pytest.mark.needs(backend="torch", why="its tensors hold gradients and graphs")
def test_torch_keeps_no_graph_and_leaves_gradients_alone():
    import torch

    def graphs():
        gc.collect()
        return [
            one
            for one in gc.get_objects()
            if issubclass(type(one), torch.Tensor) and one.grad_fn is not None
        ]

    def without_graph(model, images):
        for tensor in (images, model.activations(images), model.layer_gradients(images)):
            assert not tensor.requires_grad
        return model.input_gradients(images)[..., 0]

    model = model_with_everything()
    parameters = list(model.parameters())
    held = [torch.full_like(one, 3.0) if i % 2 else None for i, one in enumerate(parameters)]
    for parameter, gradient in zip(parameters, held, strict=True):
        if parameter.requires_grad:
            parameter.grad = gradient
    grads = [one.grad for one in parameters]
    wanting = [one.requires_grad for one in parameters]
    assert any(wanting)
    assert not all(wanting)
    before = len(graphs())
    found = explainer(model, [*METHODS, "occlusion", without_graph]).evaluate()
    assert not found.errors
    assert len(graphs()) == before
    assert [one.requires_grad for one in parameters] == wanting
    for parameter, gradient in zip(parameters, grads, strict=True):
        assert parameter.grad is gradient
        assert gradient is None or (gradient == 3.0).all()
    assert torch.is_grad_enabled()


def test_what_a_pass_assigns_is_dropped():
    class Counts(kl.Layer):
        def build(self, shape):
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.count.assign_add(1.0)
            return inputs + self.count

    model = keras.Sequential([keras.Input((2,)), Counts()])
    count = compiled(lambda x: model(x), model)
    for _ in range(3):
        found = ops.convert_to_numpy(count(ops.zeros((1, 2))))
        np.testing.assert_array_equal(found, [[1, 1]])
    assert float(model.layers[0].count) == 0
