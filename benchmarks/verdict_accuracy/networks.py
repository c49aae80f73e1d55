"""Small networks, each built once a process and given other weights for every training run.

Building a model anew would trace all its functions anew, which takes longer than a training run. A
training run starts from scratch, or warm: from a backbone that knows objects and nuisances alike.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import keras
import numpy as np
from grid import INDEPENDENT, KINDS
from objects import OBJECTS, SIDE
from pictures import Studio, matching
from pool import Pool

from keras_saliency.attribution.explainer import Explainer
from keras_saliency.data.probes import Probes
from keras_saliency.engine.targets import Target
from keras_saliency.shortcuts.classifier import Classifier

_BATCH = {False: 16, True: 32}  # by whether the start is warm
_RATE = 2e-3
_AT_ONCE = 64  # images in one pass with gradients
_BACKBONE_IMAGES, _BACKBONE_EPOCHS = 500, 12  # images of each nuisance


class Network:
    """A compiled model, and what the verdict asks it."""

    def __init__(self, kind: str, classes: int) -> None:
        self.kind = kind
        self.model = _build(kind, classes)
        optimizer = keras.optimizers.Adam(_RATE)
        self.model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        optimizer.build(self.model.trainable_variables)
        self._fresh = [_value(variable) for variable in self.model.variables]
        self._optimizer = [_value(variable) for variable in optimizer.variables]
        blank = Probes(np.zeros((classes, SIDE, SIDE, 3), np.float32), np.arange(classes))
        settled = Explainer(self.model, blank, ["saliency"], Target("label"), None, _AT_ONCE)
        asked = Classifier(settled.context, _AT_ONCE)
        self.probabilities, self.spots = asked.answers, asked.saliency_maps
        self.evidence = asked.evidence

    def start(self, seed: int, backbone: list[np.ndarray] | None) -> int:
        """Forget all training, and take the weights to start from.

        Args:
            seed: Of the kernels that are drawn (He et al. 2015), which are all or the head's.
            backbone: What comes before the head, for a warm start; or `None`.

        Returns:
            The size of the batches.
        """
        for variable, fresh in zip(self.model.optimizer.variables, self._optimizer, strict=True):
            variable.assign(fresh)
        _assign(self.model, _drawn(self._fresh, seed))
        if backbone is not None:
            _assign(self.model, backbone)
        return _BATCH[backbone is not None]


@cache
def network(kind: str, classes: int) -> Network:
    """The network of a kind, built at the first call."""
    return Network(kind, classes)


@cache
def backbone(kind: str, pool: Pool, folder: Path) -> list[np.ndarray]:
    """All weights before the head, trained to tell objects and nuisances; made once and kept.

    Args:
        kind: Of the network.
        pool: What images are composed of.
        folder: Where it is kept.
    """
    path = folder / f"backbone-{kind}.npz"
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(draft, *_backbone(kind, pool))
        draft.replace(path)
    with np.load(path) as kept:
        return [kept[name] for name in kept.files]


def _backbone(kind: str, pool: Pool) -> list[np.ndarray]:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    classes = len(OBJECTS)
    images, objects, planted = [], [], []
    for number, nuisance in enumerate(KINDS):
        studio = Studio(pool, nuisance, classes)
        plan = studio.plan(rng, _BACKBONE_IMAGES)
        drawn = studio.draw(plan, matching(rng, plan.labels, classes, INDEPENDENT))
        images.append(drawn.images)
        objects.append(drawn.labels)
        planted.append(number * classes + drawn.values)
    inputs, features = _features(kind)
    tasks = [
        keras.layers.Dense(count, activation="softmax")(features)
        for count in (classes, classes * len(KINDS))
    ]
    model = keras.Model(inputs, tasks)
    model.compile(keras.optimizers.Adam(_RATE), ["sparse_categorical_crossentropy"] * 2)
    answers = [np.concatenate(objects), np.concatenate(planted)]
    model.fit(np.concatenate(images), answers, epochs=_BACKBONE_EPOCHS, verbose=0)
    return [_value(variable) for variable in keras.Model(inputs, features).variables]


def _build(kind: str, classes: int) -> keras.Model:
    images, features = _features(kind)
    head = keras.layers.Dense(classes, activation="softmax")(features)
    return keras.Model(images, head, name=kind)


def _features(kind: str) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Images, and what the head gets of them."""
    layers = keras.layers
    images = keras.Input((SIDE, SIDE, 3))
    features = layers.Rescaling(1 / 127.5, offset=-1)(images)
    features = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(features)
    if kind in _FRESH:
        return images, layers.GlobalAveragePooling2D()(_FRESH[kind](features))
    if kind == "residual":
        for width in (16, 32):
            features = _block(features, width)
    else:
        features = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(features)
        features = layers.Conv2D(48, 3, strides=2, padding="same", activation="relu")(features)
    if kind == "flat":
        features = layers.Conv2D(16, 1, activation="relu")(features)
        features = layers.Flatten()(features)
        features = layers.Dense(48, activation="relu")(features)
    else:
        features = layers.GlobalAveragePooling2D()(features)
    return images, features


def _block(below: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """A residual block that halves the grid."""
    layers = keras.layers
    path = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(below)
    path = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(path))
    path = layers.Conv2D(width, 3, padding="same", use_bias=False)(path)
    path = layers.BatchNormalization(momentum=0.9)(path)
    across = layers.Conv2D(width, 1, strides=2, padding="same")(below)
    return layers.ReLU()(layers.Add()([path, across]))


def _fire(features: keras.KerasTensor) -> keras.KerasTensor:
    """Few channels, then many of 1 x 1 and of 3 x 3, after Iandola et al. 2016."""
    layers = keras.layers
    for width in (8, 16):
        few = layers.Conv2D(width, 1, activation="relu")(features)
        many = [
            layers.Conv2D(2 * width, side, padding="same", activation="relu")(few)
            for side in (1, 3)
        ]
        features = layers.MaxPooling2D()(layers.Concatenate()(many))
    return features


def _dense(features: keras.KerasTensor) -> keras.KerasTensor:
    """Each layer gets all before it in its block, after Huang et al. 2017."""
    layers = keras.layers
    for _ in range(2):
        for _ in range(2):
            normal = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(features))
            more = layers.Conv2D(12, 3, padding="same", use_bias=False)(normal)
            features = layers.Concatenate()([features, more])
        features = layers.AveragePooling2D(2)(layers.Conv2D(32, 1, activation="relu")(features))
    return features


_FRESH = {"fire": _fire, "dense": _dense}


def _drawn(fresh: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Weights as built, but kernels drawn anew."""
    rng = np.random.default_rng(seed)
    drawn = []
    for value in fresh:
        if value.ndim > 1:
            deviation = np.sqrt(2 / np.prod(value.shape[:-1]))
            value = deviation * rng.standard_normal(value.shape)
        drawn.append(value)
    return drawn


def _assign(model: keras.Model, values: list[np.ndarray]) -> None:
    """Give a model the first of its weights, or all."""
    for variable, value in zip(model.variables, values, strict=False):
        variable.assign(value)


def _value(variable: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).copy()
