"""In an environment into which TensorFlow was never put, all of it runs, on JAX and on torch."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BACKENDS = {"jax": "jax>=0.4.38", "torch": "torch==2.13.0"}


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_everything_runs_where_tensorflow_was_never_installed(backend, tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [one for one in project["dependencies"] if not one.startswith("tensorflow")]
    assert len(wanted) == len(project["dependencies"]) - 1
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-cache-dir", *wanted, BACKENDS[backend])
    run(python, "-m", "pip", "install", "--no-cache-dir", "--no-deps", ROOT)

    environment = os.environ | {"KERAS_BACKEND": backend}
    for name in ("PYTHONPATH", "XLA_FLAGS"):  # which another release of JAX may not know
        environment.pop(name, None)
    inside = {"env": environment, "cwd": tmp_path}
    looked = "import importlib.util as i; print(*map(i.find_spec, ['tensorflow', 'tf_keras']))"
    assert run(python, "-c", looked, **inside) == "None None\n"
    where = run(python, "-c", "import keras_saliency; print(keras_saliency.__file__)", **inside)
    assert Path(where.strip()).is_relative_to(tmp_path)
    said = run(python, ROOT / "tests" / "helpers" / "everything.py", tmp_path, **inside)
    assert said.endswith(f"ran on {backend}, without TensorFlow\n")
