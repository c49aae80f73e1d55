"""What tests ask the backend itself, so that one test runs on all of them."""

import random
from contextlib import nullcontext

import keras
import numpy as np

BACKEND = keras.backend.backend()


def derivatives(function, *points):
    """Differentiate a scalar function at several tensors by the backend's own means."""
    points = [keras.ops.convert_to_tensor(point) for point in points]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(points)
            value = function(*points)
        return tape.gradient(value, points)
    if BACKEND == "jax":
        import jax

        return jax.grad(function, tuple(range(len(points))))(*points)
    import torch

    leaves = [point.detach().requires_grad_() for point in points]
    return torch.autograd.grad(function(*leaves), leaves)


def next_random_numbers():
    """Draw from every stream that is shared by all code, the backend's own among them."""
    drawn = [
        random.random(),
        np.random.random(),
        keras.ops.convert_to_numpy(keras.random.normal((2,))),
    ]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        drawn.append(tf.random.uniform((2,)).numpy())
    if BACKEND == "torch":
        import torch

        drawn.append(torch.rand(2).numpy())
    return np.concatenate([np.ravel(one) for one in drawn]).tolist()


def double_precision():
    """Let JAX compute in float64 where it is asked to, as the others do."""
    if BACKEND != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def uncompiled():
    """Let JAX run Python at every call, as a model that is compiled to run eagerly does."""
    if BACKEND != "jax":
        return nullcontext()
    import jax

    return jax.disable_jit()
