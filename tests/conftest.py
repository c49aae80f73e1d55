"""What several test files share: a quiet TensorFlow, what a test needs, photos, a classifier."""

import importlib.util
import os
from importlib import metadata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# JAX would compile most of the time, for models that run but a few times.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if os.environ.get("KERAS_BACKEND") == "jax" and metadata.version("jaxlib").startswith("0.10."):
    # A quarter of the time to compile; a release that does not know a flag would end the process.
    FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ.setdefault("XLA_FLAGS", FLAGS)
if os.environ.get("KERAS_BACKEND") == "torch":  # models are small, and processes several
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import keras
import numpy as np
import pytest

SIZE = (9, 12, 3)


@pytest.fixture(scope="session")
def photos():
    """Build random images `(count, *size)` float32 in [0, 1]."""

    def build(count=3, size=SIZE, seed=0):
        return np.random.default_rng(seed).random((count, *size), "float32")

    return build


@pytest.fixture(scope="session")
def classifier():
    """Build a smooth network: "low" (positive) and "top", then pooling (or not) and "head"."""

    def build(head="softmax", units=4, seed=0, size=SIZE, pooled=True, **layer_options):
        inputs = keras.Input(size)
        x = keras.layers.Conv2D(5, 3, activation="softplus", name="low", **layer_options)(inputs)
        x = keras.layers.Conv2D(6, 3, strides=2, activation="gelu", name="top", **layer_options)(x)
        pool = keras.layers.GlobalAveragePooling2D if pooled else keras.layers.Flatten
        x = pool(name="pool", **layer_options)(x)
        x = keras.layers.Dense(units, activation=head, name="head", **layer_options)(x)
        model = keras.Model(inputs, x)
        random = np.random.default_rng(seed)  # the same weights on every backend
        for weight in model.weights:
            fan_in = np.prod(weight.shape[:-1])
            weight.assign(random.normal(size=weight.shape) / np.sqrt(fan_in))
        return model

    return build


def pytest_configure(config):
    if keras.backend.backend() != "tensorflow":
        # Keras hands its variables to numpy in the way of numpy 1.
        config.addinivalue_line("filterwarnings", "ignore:__array__ implementation doesn't")
    if keras.backend.backend() == "jax":  # whose threads the children of these tests do without
        config.addinivalue_line("filterwarnings", "ignore:os.fork.. was called:RuntimeWarning")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        skip_without(**mark.kwargs)


def skip_without(*, why, backend=None, package=None):
    """Skip a test on another backend than those named, or where a package is not installed."""
    if backend is not None and keras.backend.backend() not in backend.split(" or "):
        pytest.skip(f"only on {backend}: {why}")
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"without {package}: {why}")
