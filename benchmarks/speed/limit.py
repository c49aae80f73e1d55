"""The least that an evaluation must compute, written by hand for each backend.

It is one compiled forward and backward pass, to the images and to the layer, and what it found on
the host. On torch it is not compiled, as nothing is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from networks import Subject


def limit(given: Subject) -> Callable[[], list[np.ndarray]]:
    """Write the pass for the backend in use."""
    run = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()](given)
    return lambda: [keras.ops.convert_to_numpy(found) for found in run()]


def _tensorflow(given: Subject) -> Callable[[], Any]:
    import tensorflow as tf

    head = given.model.layers[-1]
    both = keras.Model(given.model.inputs, [given.model.get_layer(given.layer).output, head.input])
    batch, classes = tf.constant(given.images), tf.constant(given.labels)

    @tf.function
    def run() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(batch)
            features, pooled = both(batch, training=False)
            logits = tf.gather(pooled @ head.kernel + head.bias, classes, batch_dims=1)
        return tape.gradient(logits, [batch, features])

    return run


def _jax(given: Subject) -> Callable[[], Any]:
    import jax

    head, body, neck = given.model.layers[-1], *_halves(given)
    batch, classes = jax.numpy.asarray(given.images), jax.numpy.asarray(given.labels)
    parts = (body, neck, head)

    def values() -> list[Any]:
        return [
            [
                [v.value for v in one]
                for one in (part.trainable_variables, part.non_trainable_variables)
            ]
            for part in parts
        ]

    @jax.jit
    def run(weights: list[Any], batch: Any) -> tuple[Any, Any]:
        def features_of(images: Any) -> Any:
            return body.stateless_call(*weights[0], images, training=False)[0]

        def score(features: Any) -> Any:
            pooled = neck.stateless_call(*weights[1], features, training=False)[0]
            kernel, bias = weights[2][0]
            return (pooled @ kernel + bias)[jax.numpy.arange(len(classes)), classes].sum()

        features, back = jax.vjp(features_of, batch)
        gradient = jax.grad(score)(features)
        return back(gradient)[0], gradient

    return lambda: run(values(), batch)


def _torch(given: Subject) -> Callable[[], Any]:
    import torch

    head, body, neck = given.model.layers[-1], *_halves(given)
    batch = keras.ops.convert_to_tensor(given.images)
    classes = keras.ops.convert_to_tensor(given.labels, "int64")

    def run() -> Any:
        images = batch.detach().requires_grad_()
        features = body(images, training=False)
        logits = neck(features, training=False) @ head.kernel.value + head.bias.value
        score = logits.gather(1, classes[:, None]).sum()
        return torch.autograd.grad(score, [images, features])

    return run


def _halves(given: Subject) -> tuple[keras.Model, keras.Model]:
    """Split the network at its layer: up to there, and from there to what its head takes."""
    features = given.model.get_layer(given.layer).output
    neck = keras.Model(features, given.model.layers[-1].input)
    return keras.Model(given.model.inputs, features), neck
