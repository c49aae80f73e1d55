"""The results: a CSV of a row an epoch, in which a training run stands whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from pathlib import Path
from typing import Any

EPOCHS = 6


class Results:
    """What is known so far, and where more is added."""

    def __init__(self, path: Path) -> None:
        """Read what is there; what a run that was killed left in part is taken out.

        Args:
            path: Of the CSV; it need not exist.
        """
        self.path = path
        rows, more = whole_rows(path)
        self.done = {row["run"] for row in rows}
        if more:
            draft = path.with_suffix(".draft")
            draft.write_text(_as_text(rows, self._columns(), header=True))
            draft.replace(path)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Append all rows of one training run at once, and see to it that they are on the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        columns = self._columns()
        text = _as_text([_brief(row) for row in rows], columns or list(rows[0]), not columns)
        with self.path.open("a", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self.done |= {row["run"] for row in rows}

    def _columns(self) -> list[str]:
        """The columns that are there, to whose order later rows keep."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return next(csv.reader(file), [])


def whole_rows(path: Path) -> tuple[list[dict[str, str]], bool]:
    """Read the rows of training runs that stand there whole.

    Args:
        path: Of the CSV; it need not exist.

    Returns:
        The rows, and whether there is more: what a run that was killed left in part.
    """
    if not path.exists():
        return [], False
    text = path.read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    intact = [row for row in rows if None not in row.values() and None not in row]
    counts = Counter((row["run"], row["donors"]) for row in intact if row["epoch"].isdigit())
    cut = {run for (run, _), count in counts.items() if count != EPOCHS}
    kept = [row for row in intact if row["run"] not in cut]
    return kept, len(kept) < len(rows) or not text.endswith("\n")


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers with the digits that mean something."""
    return {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()}


def _as_text(rows: list[dict[str, Any]], columns: list[str], header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
