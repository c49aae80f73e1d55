"""The table as a picture: every figure against its target."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from kept import Kept
from matplotlib.ticker import FuncFormatter

_MET, _MISSED = "tab:blue", "tab:red"


def plot(kept: Kept, path: Path) -> None:
    """Draw how each figure stands to its target, on a logarithmic axis, best to the left."""
    lines = [one for one in kept.lines() if one[0].target(one[1])][::-1]
    figure, ax = plt.subplots(figsize=(9, 1 + 0.24 * len(lines)), layout="constrained")
    ax.axvline(1, color="0.6", linewidth=1)
    for height, (row, model, found) in enumerate(lines):
        shares = [row.share(model, found[name]) for name in ("low", "value", "high")]
        colour = _MET if shares[1] <= 1 else _MISSED
        ax.plot([shares[0], shares[2]], [height, height], color=colour, linewidth=3, alpha=0.35)
        ax.plot(shares[1], height, "o", color=colour, markersize=4)
    ax.set_xscale("log")
    ax.set_yticks(range(len(lines)), [f"{row.words}, {model}" for row, model, _ in lines])
    ax.tick_params(axis="y", labelsize=8)
    ticks = [0.1, 0.2, 0.5, 1, 2]
    ax.set_xticks(ticks, minor=False)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}"))
    ax.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    ax.set_xlabel("measured / target, medians and quartiles; left of the line the target is met")
    figure.savefig(path, dpi=100)
    plt.close(figure)
