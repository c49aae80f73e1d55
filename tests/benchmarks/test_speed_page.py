"""The page on speed shows the figures that are kept, and the benchmark says what it left out."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_on_speed_shows_the_figures_that_are_kept():
    command = [sys.executable, ROOT / "benchmarks" / "speed" / "run.py", "--rows"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert table.count("\n| ") > 20
    assert f"<!-- table -->\n{table}\n\n<!-- end -->" in page
