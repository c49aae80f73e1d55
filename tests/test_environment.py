"""What is said where a requirement is missing, shown with a broken one on the path."""

import os
import subprocess
import sys


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
    found = run("import keras_saliency.render", tmp_path)
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
