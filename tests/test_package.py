"""What would be published: built, looked into, and used from where it was installed."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def run(*command, **options):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def kept(*folders):
    """What git keeps of folders, as names with slashes."""
    listed = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", out, ROOT)
    return out


def test_the_wheel_holds_the_package_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    described = {name for name in names if ".dist-info/" in name}
    assert names - described == kept("keras_saliency")
    statics = ("board/static/index.js", "report/static/report.js", "report/static/report.css")
    assert {f"keras_saliency/{name}" for name in ("py.typed", *statics)} <= names
    ends = {name.split(".dist-info/")[1] for name in described}
    assert ends == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_sdist_holds_what_is_needed_to_test_it(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert kept("keras_saliency", "tests", "examples", "docs") <= names
    beside = names - kept()
    assert beside == {"PKG-INFO"}


def test_an_index_would_take_both(built):
    said = run("-m", "twine", "check", "--strict", *built.iterdir())
    assert said.count("PASSED") == 2


def test_demo_and_readme_work_from_the_installed_wheel(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    there = tmp_path / "site"
    run("-m", "pip", "install", "--no-deps", "--target", there, wheel)
    environment = os.environ | {"PYTHONPATH": str(there)}
    said = run("-c", "import keras_saliency as k; print(k.__file__)", env=environment, cwd=tmp_path)
    assert Path(said.strip()).is_relative_to(there)
    demo = ["demo", "--images", "24", "--epochs", "1", "--log-dir", "logs"]
    said = run(there / "bin" / "keras-saliency", *demo, env=environment, cwd=tmp_path)
    assert "tensorboard --logdir logs" in said
    pages = ["-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "tests" / "test_pages.py"]
    run(*pages, env=environment, cwd=tmp_path)
