"""State that layers hold outside of Keras's variables is that of a training run without us."""

import functools
import random

import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency as ks

from helpers.observed import BACKEND, SIZE, pictures, values


class Counts:
    """A helper object that counts."""

    def __init__(self):
        self.count, self.by_kind = 0, {"draws": [0]}

    def draw(self):
        self.count += 1
        self.by_kind["draws"][0] += 1
        return self.count / 64


class CountsInSlot:
    __slots__ = ("__count",)

    def __init__(self):
        self.__count = 0

    def draw(self):
        self.__count += 1
        return self.__count / 64

    def state(self):
        return self.__count


def of_python():
    """Python objects, each as (what draws from it, what tells its state)."""
    numpy, old, python = np.random.default_rng(5), np.random.RandomState(5), random.Random(5)
    bits, partial = np.random.PCG64(6), np.random.default_rng(7)
    counts, slot, array, count = Counts(), CountsInSlot(), np.zeros(2), 0

    def count_in_closure():
        nonlocal count
        count += 1
        return count / 64

    def count_in_array():
        array[0] += 1
        return array[0] / 64

    return {
        "Generator": (numpy.random, lambda: repr(numpy.bit_generator.state)),
        "BitGenerator": (lambda: bits.random_raw() / 2**64, lambda: repr(bits.state)),
        "RandomState": (lambda: old.random_sample(), lambda: repr(old.get_state())),
        "random.Random": (python.random, python.getstate),
        "partial": (
            functools.partial(np.random.Generator.random, partial),
            lambda: repr(partial.bit_generator.state),
        ),
        "helper": (counts.draw, lambda: (counts.count, counts.by_kind["draws"][0])),
        "slot": (slot.draw, slot.state),
        "closure": (count_in_closure, lambda: count),
        "array": (count_in_array, array.tolist),
    }


def of_tensorflow():
    import tensorflow as tf

    variable, generator = tf.Variable(0.0), tf.random.Generator.from_seed(3)
    behind = np.random.default_rng(8)

    def call_back():
        drawn = tf.numpy_function(lambda: np.float32(behind.random()), [], tf.float32)
        return tf.ensure_shape(drawn, ())

    return {
        "tf.Variable": (lambda: variable.assign_add(1.0) / 64, lambda: float(variable)),
        "tf.random.Generator": (
            lambda: generator.uniform(()),
            lambda: generator.state.numpy().tolist(),
        ),
        "numpy_function": (call_back, lambda: repr(behind.bit_generator.state)),
    }


def of_torch():
    import torch

    generator, tensor = torch.Generator().manual_seed(4), torch.zeros(2)
    return {
        "torch.Generator": (
            lambda: torch.rand((), generator=generator),
            lambda: generator.get_state().tolist(),
        ),
        "tensor": (lambda: tensor.add_(1.0)[0].clone() / 64, tensor.tolist),
    }


class Draws:
    """Scales a little by whatever is drawn, each time that it is called."""

    def __init__(self):
        own = {"tensorflow": of_tensorflow, "torch": of_torch, "jax": dict}[BACKEND]
        self.kinds = of_python() | own()
        self.draws = {name: draw for name, (draw, _) in self.kinds.items()}

    def __call__(self, inputs):
        total = 0.0
        for draw in self.draws.values():
            total = total + keras.ops.cast(draw(), "float32")
        return inputs * (1 + 0.01 * total)

    def state(self):
        return {name: state() for name, (_, state) in self.kinds.items()}


class Scales(layers.Layer):
    """A layer of the user's, which holds what draws."""

    def __init__(self, draws):
        super().__init__()
        self.draws = draws

    def call(self, inputs):
        return self.draws(inputs)


PLACES = {
    "layer": lambda draws: [layers.Conv2D(4, 3), Scales(draws)],
    "activation": lambda draws: [layers.Conv2D(4, 3, activation=draws)],
    "function": lambda draws: [layers.Conv2D(4, 3), layers.Lambda(lambda x: draws(x))],
}


def trained(place, eager, *callbacks):
    """Train; return the weights, and what every kind of state is then."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    draws = Draws()
    top = [layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input(SIZE), *PLACES[place](draws), *top])
    options = {"run_eagerly": eager, "jit_compile": "auto" if BACKEND == "jax" else False}
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", **options)
    data = pictures(8)
    model.fit(*data, batch_size=4, epochs=3, verbose=0, callbacks=list(callbacks), shuffle=False)
    return draws.state() | {"weights": values(model.variables)}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("eager", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_layers_hold_is_as_without_us(place, eager, tmp_path):
    if eager and BACKEND == "jax":
        pytest.skip("layers of JAX are compiled")
    alone = trained(place, eager)
    methods = ["saliency", "grad_cam", "occlusion"]
    watch = ks.SaliencyCallback(pictures(2, seed=2), tmp_path, methods, strict=True)
    found = trained(place, eager, watch)
    assert [name for name in alone if alone[name] != found[name]] == []
    moved = [name for name, state in Draws().state().items() if state != alone[name]]
    assert moved == [*Draws().kinds]  # or nothing would have been shown


@pytest.mark.needs(backend="tensorflow", why="elsewhere no state of a layer is a variable")
def test_layers_of_keras_cost_no_walk_once_they_are_traced():
    from keras_saliency.engine import state_guard

    model = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    entered = [part for part in model._flatten_layers() if not state_guard._is_inert(part)]
    assert entered == []
