"""Files that say things about the project say them in their format, and say what the code says."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from keras_saliency.version import __version__

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
# The first is in the sdist, the others are in the repository alone.
FILES = [
    ROOT / "CITATION.cff",
    *sorted([*ROOT.glob(".github/**/*.yml"), *ROOT.glob(".pre-commit-config.yaml")]),
]
FORMS = [path for path in FILES if path.parent.name == "ISSUE_TEMPLATE" and path.stem != "config"]


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_yaml_loads(path):
    assert isinstance(load(path), dict)


def test_a_citation_names_this_version_and_licence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = load(ROOT / "CITATION.cff")
    assert cited["version"] == __version__
    assert cited["title"] == project["name"]
    assert cited["license"] == project["license"]
    assert cited["authors"] == project["authors"]
    assert cited["repository-code"] == project["urls"]["Homepage"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_is_what_github_shows(path):
    form = load(path)
    assert {"name", "description", "body"} <= form.keys()
    kinds = {"textarea", "input", "dropdown", "checkboxes"}
    assert all(part["type"] in kinds and part["attributes"]["label"] for part in form["body"])
    names = [part["id"] for part in form["body"]]
    assert len(set(names)) == len(names)


def test_security_names_this_version():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert f"| {__version__.rpartition('.')[0]} | yes |" in text


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no repository, but an sdist")
def test_commits_that_blame_ignores_are_in_the_history_under_their_subjects():
    text = (ROOT / ".git-blame-ignore-revs").read_text(encoding="utf-8")
    listed = re.findall(r"# (.+)\n([0-9a-f]{40})\n", text)
    assert len(listed) == len(re.findall(r"^[0-9a-f]", text, flags=re.MULTILINE)) > 3
    for subject, commit in listed:
        command = ["git", "log", "-1", "--format=%s", commit]
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if shown.returncode:
            pytest.skip("a shallow clone")
        assert shown.stdout.strip() == subject
