"""The table in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kept import Kept

_HEADINGS = ("what is measured", "model", "target", "measured", "quartiles", "met")


def table(kept: Kept) -> str:
    """Write what is known as a table in Markdown, and on what machines it was measured."""
    lines = (_HEADINGS, ["---"] * len(_HEADINGS), *_cells(kept))
    found = ["\n".join(f"| {' | '.join(line)} |" for line in lines)]
    for place in dict.fromkeys(figures["where"] for _, _, figures in kept.lines()):
        found.append(f"Measured on {place}.")
    if not any(row.on_gpu for row, _, _ in kept.lines()):
        found.append("What is measured on a GPU was skipped, since there was none.")
    return "\n\n".join(found)


def filled(page: str, text: str) -> str:
    """Put the table between its marks `<!-- table -->` and `<!-- end -->`."""
    marks = r"(<!-- table -->\n).*?(<!-- end -->)"
    return re.sub(marks, lambda mark: f"{mark[1]}{text}\n\n{mark[2]}", page, flags=re.DOTALL)


def _cells(kept: Kept) -> Iterator[tuple[str, ...]]:
    said = ""
    for row, model, figures in kept.lines():
        target, met = row.target(model), row.is_met(model, figures["value"])
        bound = "at most" if row.most else "at least"
        yield (
            "" if row.words == said else row.words,
            model,
            "" if target is None else f"{bound} {target:.2f}",
            f"{figures['value']:.2f}",
            f"{figures['low']:.2f} to {figures['high']:.2f}",
            {None: "", True: "yes", False: "**no**"}[met],
        )
        said = row.words
