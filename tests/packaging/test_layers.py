"""The contracts on imports, which `make lint` checks, hold, and fail on what they forbid."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("importlinter")
ROOT = Path(__file__).parents[2]


def lint(folder):
    """Check the package in a folder against the contracts of pyproject.toml."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo", str(ROOT / "pyproject.toml")],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_imports_only_downwards():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def test_the_page_on_architecture_lists_the_same_layers():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    contracts = {one["id"]: one for one in settings["importlinter"]["contracts"]}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == contracts["layers"]["layers"]


IN_AN_ANNOTATION = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("module", "code", "broken"),
    [
        ("common/types.py", "from keras_saliency.data import labels\n", "imports only downwards"),
        (
            "metrics/road.py",
            f"{IN_AN_ANNOTATION}from keras_saliency.callback.callback import SaliencyCallback\n",
            "imports only downwards",
        ),
        ("colours.py", "", "imports only downwards"),
        (
            "recording/tensorboard/tfrecord.py",
            "import keras_saliency.recording.report.html\n",
            "knows nothing of reports",
        ),
        (
            "common/types.py",
            "from keras_saliency.common import arrays\n",
            "imports itself by way of another",
        ),
    ],
    ids=["upwards", "upwards in an annotation", "no layer", "within recording", "a cycle"],
)
def test_a_forbidden_import_is_found(module, code, broken, tmp_path):
    shutil.copytree(ROOT / "keras_saliency", tmp_path / "keras_saliency")
    with open(tmp_path / "keras_saliency" / module, "a", encoding="utf-8") as file:
        file.write(code)
    done = lint(tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert broken in "".join(lines)
