"""What would be published: built, looked into, and used from where it was installed."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


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
    statics = (
        "recording/tensorboard/static/index.js",
        "recording/report/static/report.js",
        "recording/report/static/report.css",
    )
    assert {f"keras_saliency/{name}" for name in ("py.typed", *statics)} <= names
    ends = {name.split(".dist-info/")[1] for name in described}
    assert ends == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_sdist_holds_what_is_needed_to_test_it(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    beside = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md", "Makefile")
    assert kept("keras_saliency", "tests", "examples", "benchmarks", "docs", *beside) <= names
    assert names - kept() == {"PKG-INFO"}


def test_an_index_would_take_both(built):
    said = run("-m", "twine", "check", "--strict", *built.iterdir())
    assert said.count("PASSED") == 2


def test_an_index_shows_the_readme_with_its_pictures(built):
    """Where no file lies beside it: at this version's tag, as files that are kept."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        said = message_from_bytes(archive.read(name))
    shown = said.get_payload()
    home = dict(line.split(", ") for line in said.get_all("Project-URL"))["Homepage"]
    raw, tag = home.replace("//github.com", "//raw.githubusercontent.com"), f"v{said['Version']}"
    places = {"!": f"{raw}/{tag}/", "": f"{home}/blob/{tag}/"}
    link = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
    given = link.findall((ROOT / "README.md").read_text("utf-8"))
    beside = [(mark, to) for mark, to in given if not to.startswith("https://")]
    assert {mark for mark, _ in beside} == {"", "!"}
    for mark, to in beside:
        assert to.split("#")[0] in kept()
        assert f"]({places[mark]}{to})" in shown
    assert all(to.startswith("https://") for _, to in link.findall(shown))


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
    pages = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        ROOT / "tests" / "packaging" / "test_pages.py",
    ]
    run(*pages, env=environment, cwd=tmp_path)
