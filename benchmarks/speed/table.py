"""The table in words."""

from __future__ import annotations

from collections.abc import Iterator

from kept import Kept

_HEADINGS = ("row", "model", "target", "measured", "quartiles", "met")


def print_table(kept: Kept) -> None:
    """Print what is known as a table in Markdown, and on what machines it was measured."""
    for line in (_HEADINGS, ["---"] * len(_HEADINGS), *_cells(kept)):
        print(f"| {' | '.join(line)} |")
    for place in dict.fromkeys(figures["where"] for _, _, figures in kept.lines()):
        print(f"\nMeasured on {place}.")


def _cells(kept: Kept) -> Iterator[tuple[str, ...]]:
    for row, model, figures in kept.lines():
        target, met = row.target(model), row.is_met(model, figures["value"])
        bound = "at most" if row.most else "at least"
        yield (
            row.words,
            model,
            "" if target is None else f"{bound} {target:.2f}",
            f"{figures['value']:.2f}",
            f"{figures['low']:.2f} to {figures['high']:.2f}",
            {None: "", True: "yes", False: "no"}[met],
        )
