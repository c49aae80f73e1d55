"""The table as an image: every figure against its target."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from kept import Kept
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from targets import MODELS

_COLOURS = dict(zip(MODELS, ("#0072b2", "#e69f00", "#009e73"), strict=True))
_MISSED = "#c62828"
_APART = 0.24  # of the models within a row


def plot(kept: Kept, path: Path) -> None:
    """Draw how each figure stands to its target, on a logarithmic axis, best to the left."""
    lines = [one for one in kept.lines() if one[0].target(one[1])]
    rows = list(dict.fromkeys(_row_of(row.words, model) for row, model, _ in lines))
    figure, ax = plt.subplots(figsize=(9, 1.3 + 0.44 * len(rows)), layout="constrained")
    for i in range(0, len(rows), 2):
        ax.axhspan(i - 0.5, i + 0.5, color="0.96", linewidth=0, zorder=0)
    ax.axvline(1, color="0.25", linewidth=1.2, zorder=1)
    for row, model, found in lines:
        shares = [row.share(model, found[name]) for name in ("low", "value", "high")]
        name, height = model.partition(", ")[0], rows.index(_row_of(row.words, model))
        height += _APART * (MODELS.index(name) - 1)
        ax.plot([shares[0], shares[2]], [height] * 2, color=_COLOURS[name], lw=3, alpha=0.4)
        edge = {"mec": _MISSED, "mew": 2.2, "ms": 8} if shares[1] > 1 else {"mew": 0, "ms": 6}
        ax.plot(shares[1], height, "o", color=_COLOURS[name], zorder=3, **edge)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0, labelsize=9)
    _scale(ax)
    _explain(ax)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _row_of(words: str, model: str) -> str:
    """Name a row; those on a GPU are told apart by backend."""
    _, comma, backend = model.partition(", ")
    return f"{words}{comma}{backend}"


def _scale(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.set_xlim(0.11, 1.6)
    ax.set_xticks([0.125, 0.25, 0.5, 0.75, 1, 1.25], minor=False)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}"))
    ax.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    ax.tick_params(axis="x", which="minor", length=0)
    ax.grid(axis="x", which="major", color="0.85", linewidth=0.6, zorder=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_xlabel(
        "measured / target, or target / measured of what is to be large\n"
        "medians, with quartiles as bars"
    )
    ax.text(0.98, 1.01, "met \N{LEFTWARDS ARROW}", transform=ax.get_xaxis_transform(), ha="right")
    ax.text(1.02, 1.01, "\N{RIGHTWARDS ARROW} missed", transform=ax.get_xaxis_transform())


def _explain(ax: Axes) -> None:
    for name, colour in _COLOURS.items():
        ax.plot([], [], "o", color=colour, mew=0, ms=6, label=name)
    ax.plot([], [], "o", color="none", mec=_MISSED, mew=2.2, ms=8, label="target missed")
    ax.figure.legend(loc="outside upper left", ncols=len(_COLOURS) + 1, frameon=False)
