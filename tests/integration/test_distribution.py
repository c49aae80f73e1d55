"""Training on several devices and in several processes: real strategies, processes and ports."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "helpers" / "trained_together.py"
PATIENCE_S = 1200  # of which a quiet machine needs 60; a deadlock would last for ever


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [str(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def train(kind, folder, processes=1, backend="tensorflow", **environment):
    """Train in so many processes, and return what each of them found."""
    environment = os.environ | {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"} | environment
    ports = free_ports(processes) if processes > 1 else []
    command = [sys.executable, str(SCRIPT), kind, str(folder)]
    running = []
    for index in range(processes):
        with open(folder / f"{index}.txt", "w") as said:
            running.append(
                subprocess.Popen(
                    [*command, str(index), *ports], env=environment, stdout=said, stderr=said
                )
            )
    try:
        codes = [one.wait(PATIENCE_S) for one in running]
    finally:
        for one in running:
            one.kill()
    said = "\n".join((folder / f"{index}.txt").read_text()[-3000:] for index in range(processes))
    assert codes == [0] * processes, said
    found = []
    for index in range(processes):
        with np.load(folder / f"{index}.npz") as kept:
            found.append(dict(kept))
    return found


def assert_seen_as_on_one_device(found, way, alone=False, devices=2, gaps=None):
    assert found[f"{way}/devices"] == devices
    assert found[f"{way}/alone"] == alone
    for method in ("saliency", "grad_cam"):
        seen, single = (found[f"{way}/{side}/{method}"] for side in ("seen", "single"))
        peak = np.abs(single).max()
        assert peak > 0
        np.testing.assert_allclose(seen, single, rtol=0, atol=1e-4 * peak)
    gaps = found[f"{way}/single/gaps"] if gaps is None else gaps
    assert len(gaps) == 2
    assert np.abs(gaps).max() > 1e-3
    np.testing.assert_allclose(found[f"{way}/seen/gaps"], gaps, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(found[f"{way}/with"], found[f"{way}/without"])


def assert_agreed(found, way):
    """Numbers in `logs`, words and the end of training are the same in all processes."""
    chief, *others = found
    logged = chief[f"{way}/logged"]
    assert np.isfinite(logged).any()
    assert len(logged) >= 3  # so that the pace of the chief is followed as well
    for other in others:
        np.testing.assert_array_equal(other[f"{way}/logged"], logged)
        for name in ("verdict", "stopped"):
            assert other[f"{way}/{name}"] == chief[f"{way}/{name}"]


def assert_written_once(folder, way, pid):
    """One run with one event file, of the process of this id."""
    assert [run.name for run in (folder / way).iterdir()] == ["saliency"]
    (events,) = (folder / way).rglob("*tfevents*")
    assert events.name.split(".")[-3] == str(pid)
    assert events.stat().st_size > 10_000


@pytest.mark.needs(package="tensorflow", why="MirroredStrategy is TensorFlow's")
def test_two_replicas_of_a_mirrored_strategy(tmp_path):
    (found,) = train("mirrored", tmp_path)
    assert_seen_as_on_one_device(found, "fit", alone=True)
    assert_written_once(tmp_path, "fit", found["pid"])


@pytest.mark.slow
@pytest.mark.needs(package="tensorflow", why="MultiWorkerMirroredStrategy is TensorFlow's")
def test_two_workers(tmp_path):
    chief, other = train("workers", tmp_path, processes=2)
    for way in ("fit", "loop"):
        for found in (chief, other):
            # The moving averages of batch norm differ between workers, and the chief's count.
            assert_seen_as_on_one_device(found, way, gaps=chief[f"{way}/single/gaps"])
        assert_agreed((chief, other), way)
        assert_written_once(tmp_path, way, chief["pid"])


@pytest.mark.slow
@pytest.mark.needs(package="jax", why="it trains there")
def test_two_devices_of_jax(tmp_path):
    flags = "--xla_force_host_platform_device_count=2"
    (found,) = train("data-parallel", tmp_path, backend="jax", XLA_FLAGS=flags)
    assert_seen_as_on_one_device(found, "fit", alone=True)
    assert_written_once(tmp_path, "fit", found["pid"])


@pytest.mark.slow
@pytest.mark.needs(package="jax", why="it trains there")
def test_model_parallelism_on_four_devices_of_jax(tmp_path):
    """The script checks that the layouts of the weights are as before."""
    flags = "--xla_force_host_platform_device_count=4"
    (found,) = train("model-parallel", tmp_path, backend="jax", XLA_FLAGS=flags)
    assert_seen_as_on_one_device(found, "fit", alone=True, devices=4)
    assert_written_once(tmp_path, "fit", found["pid"])


@pytest.mark.slow
@pytest.mark.needs(package="jax", why="it trains there")
def test_two_processes_of_jax(tmp_path):
    chief, other = train("processes", tmp_path, processes=2, backend="jax")
    for found in (chief, other):
        assert_seen_as_on_one_device(found, "fit")
    assert_agreed((chief, other), "fit")
    assert_written_once(tmp_path, "fit", chief["pid"])


@pytest.mark.slow
@pytest.mark.needs(package="torch", why="it trains there")
def test_two_ranks_of_torch(tmp_path):
    chief, other = train("ranks", tmp_path, processes=2, backend="torch")
    for found in (chief, other):
        assert_seen_as_on_one_device(found, "loop")
    assert_agreed((chief, other), "loop")
    assert_written_once(tmp_path, "loop", chief["pid"])
