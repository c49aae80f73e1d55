"""Plots of what was measured, for the docs."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from figures import curve
from grid import KINDS, SET_ASIDE_KINDS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from measured import BY_PROBABILITY, TRUTHS, Measured
from results import EPOCHS
from scores import SHORTCUT, THRESHOLD

_DPI = 100
_COLOURS = dict(zip(KINDS, plt.get_cmap("tab10").colors, strict=False))


def draw_plots(measured: Measured, folder: Path) -> None:
    """Draw all plots into a folder, as `shortcuts_*.png`."""
    drawn = {
        "gap_against_truth": _gaps_against_truth(measured),
        "found_and_false": _found_and_false(measured),
        "unlearnt": _unlearnt(measured),
    }
    for name, figure in drawn.items():
        figure.savefig(folder / f"shortcuts_{name}.png", dpi=_DPI)
        plt.close(figure)


def _gaps_against_truth(measured: Measured) -> Figure:
    """What was measured against both truths, kind by kind."""
    figure, axes = plt.subplots(
        3, 3, figsize=(9, 9.4), sharex=True, sharey=True, layout="constrained"
    )
    plain = measured.plain
    for kind, ax in zip(KINDS, axes.flat, strict=True):
        own = plain.where(plain.run("kind") == kind)
        ax.plot([0, 1], [0, 1], color="0.8", linewidth=1)
        ax.axhline(THRESHOLD, color="0.6", linewidth=0.8, linestyle="--")
        ax.axvline(SHORTCUT, color="0.6", linewidth=0.8, linestyle=":")
        for truth, marker, colour in zip(TRUTHS, "xo", ("0.65", _COLOURS[kind]), strict=True):
            sizes, found = own.truth(truth).ravel(), own["reliance"].ravel()
            ax.plot(sizes, found, marker, color=colour, ms=3, alpha=0.6, label=TRUTHS[truth])
        ax.set_title(f"{kind} (set aside)" if kind in SET_ASIDE_KINDS else kind, fontsize=10)
        ax.set(xlim=(-0.03, 1.03), ylim=(-0.08, 1.03))
    axes[0, 0].legend(loc="upper left", fontsize=7, frameon=False)
    figure.supxlabel("true reliance |R| of the epoch")
    figure.supylabel("measured: the largest gap that counts")
    return figure


def _found_and_false(measured: Measured) -> Figure:
    """For every threshold: evaluations with a shortcut that are found, and others that are not."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.4), sharey=True, layout="constrained")
    plain = measured.plain
    for ax, (truth, words) in zip(axes, TRUTHS.items(), strict=True):
        for kind in KINDS:
            own = plain.where(plain.run("kind") == kind)
            _curve(ax, own, truth, "reliance", color=_COLOURS[kind], label=kind, linewidth=1)
        _curve(ax, measured, truth, "reliance", color="k", label="all, with controls", linewidth=2)
        _curve(ax, measured, truth, "accuracy", color="0.6", label="accuracy alone", linestyle="--")
        ax.set(xlabel="false, of evaluations with |R| <= 0.2", xlim=(-0.01, 0.6), ylim=(0.4, 1.01))
        ax.set_title(f"truth {words}", fontsize=10)
    axes[0].set_ylabel("found, of evaluations with |R| > 0.2")
    axes[1].legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def _curve(ax: Axes, measured: Measured, truth: str, column: str, **style: object) -> None:
    positive = measured.truth(truth).ravel() > SHORTCUT
    if positive.any() and not positive.all():
        ax.plot(*curve(measured[column].ravel(), positive), **style)


def _unlearnt(measured: Measured) -> Figure:
    """A training run that learns its shortcut and then unlearns it, and one that keeps it."""
    measured = measured.plain
    size = measured.truth(BY_PROBABILITY)
    # One that ends without a shortcut, if there is any.
    dropped = size.max(axis=1) - size[:, -1] - (size[:, -1] > SHORTCUT)
    kept = np.where(size[:, -1] == size.max(axis=1), size[:, -1] - size[:, 0], -1)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for ax, run in zip(axes, (int(dropped.argmax()), int(kept.argmax())), strict=True):
        _time_course(ax, measured, run)
    axes[0].legend(loc="upper right", fontsize=8, frameon=False)
    axes[0].set_ylabel("reliance")
    return figure


def _time_course(ax: Axes, measured: Measured, run: int) -> None:
    epochs = np.arange(1, EPOCHS + 1)
    for truth, words in TRUTHS.items():
        style = "-" if truth == BY_PROBABILITY else ":"
        ax.plot(epochs, measured[truth][run], f"k{style}", label=f"true, {words}")
    ax.plot(epochs, measured["reliance"][run], "o-", color="C0", label="measured")
    on = measured["alarm"][run] > 0
    ax.plot(epochs[on], measured["reliance"][run][on], "o", color="C3", ms=9, label="alarm")
    ax.axhline(THRESHOLD, color="0.6", linewidth=0.8, linestyle="--")
    ax.set(xlabel="epoch", ylim=(-0.1, 1.05))
    ax.set_title(str(measured["run"][run, 0]), fontsize=9)
