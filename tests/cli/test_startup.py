"""What the commands show of the start of Keras and TensorFlow: nothing, unless it fails."""

import os
import subprocess
import sys

import pytest

CODE = "from keras_saliency.cli.startup import import_keras; import_keras(); print('started')"


def started(**environment):
    command, known = [sys.executable, "-c", CODE], os.environ | environment
    known.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.run(command, env=known, capture_output=True, text=True, check=False)


@pytest.mark.integration
@pytest.mark.needs(backend="tensorflow", why="it is TensorFlow that writes")
def test_tensorflow_starts_without_a_word():
    done = started()
    assert (done.stdout, done.stderr, done.returncode) == ("started\n", "", 0)


def test_what_stops_keras_is_shown(tmp_path):
    broken = "import os; os.write(2, b'no such library\\n'); raise ImportError('broken')"
    (tmp_path / "keras.py").write_text(broken)
    done = started(PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert done.stderr.startswith("no such library\n")
    assert done.stderr.strip().endswith("ImportError: broken")
    assert done.returncode == 1
