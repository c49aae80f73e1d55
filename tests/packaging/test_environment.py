"""What is imported where, and what is said where a requirement is missing."""

import ast
import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import keras_saliency

# Which modules of ours import a backend: in `engine/backend` each has its own; `data.tf_dataset`
# is imported where one of TensorFlow's datasets is given.
BACKENDS = {
    "tensorflow": {"engine/backend/tensorflow.py", "data/tf_dataset.py"},
    "jax": {"engine/backend/jax.py"},
    "torch": {"engine/backend/torch.py"},
    "data.tf_dataset": {"data/dataset_reader.py"},
}


def run(code, folder):
    environment = os.environ | {"PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )


def test_opencv_without_libgl_names_both_mends(tmp_path):
    (tmp_path / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file')"
    )
    found = run("from keras_saliency import SaliencyCallback", tmp_path)
    assert found.returncode == 1
    last = found.stderr.strip().splitlines()[-1]
    assert "libGL.so.1" in last
    assert "libgl1" in last
    assert "opencv-python-headless" in last


def test_another_fault_of_opencv_is_left_as_it_is(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('numpy is too old')")
    found = run("import keras_saliency.drawing.heatmap", tmp_path)
    assert found.stderr.strip().splitlines()[-1] == "ImportError: numpy is too old"


def test_a_missing_tensorboard_is_told(tmp_path):
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "import keras_saliency as ks\n"
        "ks.Probes, ks.explain\n"
        "ks.SaliencyCallback"
    )
    found = run(code, tmp_path)
    assert "pip install tensorboard" in found.stderr.strip().splitlines()[-1]
    assert "line 4" in found.stderr  # what needs no TensorBoard works without it


def test_importing_the_package_is_quick(tmp_path):
    code = (
        "import sys, keras_saliency\n"
        "heavy = {'keras', 'tensorflow', 'tensorboard', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert run(code, tmp_path).returncode == 0


def test_dir_shows_the_public_names_alone(tmp_path):
    code = (
        "import sys, keras_saliency as ks\n"
        "print(*dir(ks))\n"
        "print(*dir(ks.methods))\n"
        "assert not {'keras', 'numpy'} & set(sys.modules)"
    )
    found = run(code, tmp_path)
    of_package, of_methods = found.stdout.splitlines()
    assert of_package.split() == sorted([*keras_saliency.__all__, "__version__"])
    listed = {"Method", "available", "get", "name_of"}
    assert set(of_methods.split()) == listed | set(keras_saliency.methods.available())


def test_methods_are_functions_under_their_names():
    for name in keras_saliency.methods.available():
        assert getattr(keras_saliency.methods, name) is keras_saliency.methods.get(name)
        assert inspect.isfunction(getattr(keras_saliency.methods, name))
    with pytest.raises(AttributeError, match="no attribute 'guided_backprop'"):
        keras_saliency.methods.guided_backprop  # noqa: B018


def imported_by(path):
    """Name what a file imports: the first part, and the last where it is ours."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            yield rest if first == "keras_saliency" else first


def test_only_one_module_imports_a_backend_and_one_reads_tf_data():
    folder = Path(keras_saliency.__file__).parent
    found = {name: set() for name in BACKENDS}
    for path in folder.rglob("*.py"):
        for name in BACKENDS.keys() & set(imported_by(path)):
            found[name].add(path.relative_to(folder).as_posix())
    assert found == BACKENDS


def test_of_the_backends_modules_only_that_in_use_is_imported(tmp_path):
    code = (
        "import sys, keras, keras_saliency.engine.backend as backend\n"
        "prefix, names = 'keras_saliency.engine.backend.', ('tensorflow', 'jax', 'torch')\n"
        "assert not [name for name in names if prefix + name in sys.modules]\n"
        "backend.is_out_of_memory(ValueError())\n"
        "loaded = [name for name in names if prefix + name in sys.modules]\n"
        "assert loaded == [keras.backend.backend()], loaded"
    )
    found = run(code, tmp_path)
    assert found.returncode == 0, found.stderr[-3000:]


# What Keras keeps to itself, of which versions may differ.
PRIVATE = {
    *("_flatten_layers", "_layers", "_inputs_struct", "_outputs_struct", "_functional"),
    *("_inbound_nodes", "_outbound_nodes", "_keras_history", "_nodes", "_operations"),
    *("_convert_inputs_to_tensors", "_convert_input_args", "_fn_kwargs", "_tracker"),
    *("_get_seed_generator", "_backend", "_backend_generators", "_self_tracked_trackables"),
}


def private_names(path):
    """Name what a file takes from Keras's private API: attributes, their names, and modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in PRIVATE:
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in PRIVATE or node.value.startswith("keras.src"):
                yield node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras.src"):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("keras.src"))


def test_only_one_module_touches_what_is_private_in_keras():
    folder = Path(keras_saliency.__file__).parent
    found = {p.relative_to(folder).as_posix(): set(private_names(p)) for p in folder.rglob("*.py")}
    assert {name for name, used in found.items() if used} == {"engine/keras_private.py"}
    used = found["engine/keras_private.py"]
    assert {"_flatten_layers", "_inbound_nodes", "_inputs_struct", "keras.src.ops.numpy"} <= used


@pytest.mark.needs(backend="jax or torch", why="TensorFlow can't be done without there")
def test_everything_runs_where_tensorflow_is_not_installed(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError('tensorflow')")
    script = Path(__file__).parents[1] / "helpers" / "everything.py"
    found = run(
        f"import runpy, sys; sys.argv[1:] = [{str(tmp_path)!r}]; runpy.run_path({str(script)!r})",
        tmp_path,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert found.stdout.endswith("without TensorFlow\n")


def test_the_lowest_versions_tested_are_the_lowest_allowed():
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (root / "constraints-min.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    for wanted in project["dependencies"]:
        name, lowest = wanted.split(">=")
        assert (tested[name] + ".").startswith(lowest + "."), wanted
