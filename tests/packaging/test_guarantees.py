"""What the page of guarantees names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ")[-1] for line in PAGE.splitlines() if line.startswith("| ")]
NAMED = sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row)})


def test_every_promise_names_what_holds_it():
    promises = [row for row in ROWS if row.strip(" |") not in ("held by", "---")]
    assert len(promises) > 20
    assert all("`" in row for row in promises)


@pytest.mark.parametrize("name", NAMED)
def test_what_is_named_is_there(name):
    path, _, test = name.partition("::")
    place = ROOT / (path if path.startswith("benchmarks/") else f"tests/{path}")
    assert place.exists()
    assert not test or f"def {test}(" in place.read_text(encoding="utf-8")
