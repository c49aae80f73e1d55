"""A model has the same maps on every backend: saved by one, loaded by the others, maps compared."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_saliency import methods

from helpers.agreement import BACKEND, MODELS, drawn, explained
from helpers.transformers import ATTENTION

BACKENDS = [
    one for one in ("tensorflow", "jax", "torch") if importlib.util.find_spec(one) is not None
]
TESTS = Path(__file__).parents[1]
TOLERANCE = 1e-4  # of a map's peak


def elsewhere(backend, act, folder, *names):
    """Save models, or explain saved ones, in a process of another backend."""
    script = TESTS / "helpers" / "agreement.py"
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
        "PYTHONPATH": str(TESTS),
    }
    done = subprocess.run(
        [sys.executable, str(script), act, str(folder), *names],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def differences(one, other):
    """The largest difference of each kind of maps, as a share of the peak."""
    assert one.keys() == other.keys()
    found = {}
    for name, maps in one.items():
        assert maps.shape == other[name].shape
        peak = np.abs(maps).max()
        assert peak > 0, name
        found[name] = np.abs(maps - other[name]).max() / peak
    return found


def beyond(one, other):
    return {name: far for name, far in differences(one, other).items() if not far <= TOLERANCE}


@pytest.mark.skipif(len(BACKENDS) < 2, reason="of one backend nothing can be compared")
def test_a_model_saved_here_looks_the_same_on_the_next_backend(tmp_path):
    name, follower = "batch_norm", BACKENDS[(BACKENDS.index(BACKEND) + 1) % len(BACKENDS)]
    model = drawn(name)
    model.save(tmp_path / f"{name}.keras")
    elsewhere(follower, "explain", tmp_path, name)
    found = np.load(tmp_path / f"{name}-{follower}.npz")
    assert {*found} >= {*methods.available()} - ATTENTION
    assert beyond(explained(model), found) == {}


def test_a_difference_is_seen(photos):
    maps = photos(2)[..., 0]
    moved = maps.copy()
    moved[1, 2, 3] += 2e-4
    assert list(beyond({"a": maps, "b": maps}, {"a": moved, "b": maps})) == ["a"]


@pytest.mark.slow
@pytest.mark.needs(package="jax", why="it is one of the three")
@pytest.mark.needs(package="torch", why="it is one of the three")
def test_all_methods_agree_on_all_kinds_of_models_however_they_were_saved(tmp_path):
    names = list(MODELS)
    for number, backend in enumerate(BACKENDS):  # each saves a third, and loads what others saved
        elsewhere(backend, "save", tmp_path, *names[number::3])
    for backend in BACKENDS:
        elsewhere(backend, "explain", tmp_path, *names)
    covered, far = set(), {}
    for name in names:
        first, *others = (np.load(tmp_path / f"{name}-{backend}.npz") for backend in BACKENDS)
        covered |= {*first}
        for backend, other in zip(BACKENDS[1:], others, strict=True):
            far |= {(name, backend, m): v for m, v in beyond(first, other).items()}
    assert covered >= {*methods.available()}
    assert far == {}
