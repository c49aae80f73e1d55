"""The goals and figures of the training runs on photographs."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import numpy as np
from figures import auroc
from photo_plan import FACTORS

USED, RELIES, LARGE = 0.1, 0.2, 0.5  # of R: not above the first a factor is not relied on
# The cues that a swap of the background does not carry along: R of the background leaves cues out.
APART = ("none", "ground", "tag")
WORDS = {"frame": "the frame", "compression": "the compression", "cast": "the colour cast"}
MASKS = {"made": "masks made by the program", "eroded": "true masks, eroded and shifted"}
UNITS = {"": "accuracy", "_probability": "probability"}

Row = dict[str, str]


class Figures:
    """The figures of some training runs, the truth by accuracy or by probability.

    Args:
        rows: Rows of the CSV.
        unit: The end of the names of the truth's columns.
    """

    def __init__(self, rows: list[Row], unit: str) -> None:
        self._rows, self._unit = rows, unit

    def trainings(self) -> str:
        return str(len(self._rows))

    def false_alarms(self) -> str:
        """Alarms that name a factor which is not relied on."""
        return _share(_alarm(r) and self._truth(r, "R_named") <= USED for r in self._rows)

    def abstained(self) -> str:
        """Training runs without a verdict though something is relied on."""
        return _share("can't say" in r["text"] and self._largest(r) > RELIES for r in self._rows)

    def found(self) -> str:
        return _share(_alarm(r) for r in self._large())

    def named(self) -> str:
        """Alarms that name a factor with a large R, of those where there is one."""
        return _share(self._is_right(r) for r in self._large() if _alarm(r))

    def planted(self) -> str:
        """Alarms that name what is planted, alone or beside the cause, where it has R > .2."""
        used = [r for r in self._rows if self._truth(r, "R") > RELIES]
        return _share(any(_names(r, factor) for factor in FACTORS[r["cue"]]) for r in used)

    def order(self, cue: str) -> str:
        """The AUROC of a cue's gap for its own R, over the training runs that have the cue."""
        if cue == "background":
            pairs = [(_gap(r, (cue,)), self._truth(r, "R_background")) for r in self._apart()]
        else:
            mine = [r for r in self._rows if r["cue"] == cue]
            pairs = [(_gap(r, FACTORS[cue]), self._truth(r, "R")) for r in mine]
        gaps, truths = np.nan_to_num(np.reshape(pairs, (-1, 2))).T  # no gap where it can't say
        relied, counted = truths > RELIES, f"({(truths > RELIES).sum()} of {len(gaps)})"
        value = auroc(gaps, relied, np.ones((1, len(gaps))))[0]
        return f"- {counted}" if np.isnan(value) else f"{value:.2f} {counted}"

    def covered(self) -> str:
        return _share(low <= truth <= high for low, high, truth in self._intervals())

    def width(self) -> str:
        widths = [high - low for low, high, _ in self._intervals()]
        return f"{median(widths):.2f}" if widths else "-"

    def error(self) -> str:
        """Mean distance from R of the gap of the background."""
        pairs = [(_gap(r, ("background",)), self._truth(r, "R_background")) for r in self._apart()]
        errors = [abs(gap - truth) for gap, truth in pairs if not np.isnan(gap)]
        return f"{np.mean(errors):.2f}" if errors else "-"

    def _intervals(self) -> list[tuple[float, float, float]]:
        """The intervals of the background and of what is planted, and the truths."""
        asked = [(r, "background", "R_background") for r in self._apart()]
        asked += [
            (r, factor, "R")
            for r in self._rows
            for factor in FACTORS[r["cue"]]
            if len(FACTORS[r["cue"]]) == 1 and factor != "background"
        ]
        ends = [
            (float(r[f"low_{factor}"]), float(r[f"high_{factor}"]), self._truth(r, column))
            for r, factor, column in asked
        ]
        return [triple for triple in ends if not np.isnan(triple[0])]

    def _apart(self) -> list[Row]:
        """The training runs in which the gap of the background is that of the background alone."""
        return [r for r in self._rows if r["cue"] in APART]

    def _truth(self, row: Row, column: str) -> float:
        return float(row[column + self._unit])

    def _largest(self, row: Row) -> float:
        return max(self._truth(row, "R"), self._truth(row, "R_background"))

    def _large(self) -> list[Row]:
        return [r for r in self._rows if self._largest(r) >= LARGE]

    def _is_right(self, row: Row) -> bool:
        planted = self._truth(row, "R") >= LARGE and row["cause"] in FACTORS[row["cue"]]
        background = self._truth(row, "R_background") >= LARGE and row["cause"] == "background"
        return planted or background


FIGURES: dict[tuple[str, str], Callable[[Figures], str]] = {
    ("training runs", "150"): Figures.trainings,
    ("alarms that name a factor of R <= .1", "at most 5 %"): Figures.false_alarms,
    ('"can\'t say" at R > .2', "at most 10 %"): Figures.abstained,
    ("alarm at R >= .5", "at least 97 %"): Figures.found,
    ("... that names a factor of R >= .5", "at least 90 %"): Figures.named,
    ("what is planted is named, at its R > .2", ""): Figures.planted,
    ("R within the interval", "at least 90 %"): Figures.covered,
    ("median width of the interval", "at most .25"): Figures.width,
    ("AUROC of the background's gap for R > .2", ">= .97"): lambda f: f.order("background"),
    **{
        (f"... of the gap of what is planted: {cue}", ">= .97"): lambda f, cue=cue: f.order(cue)
        for cue in FACTORS
        if cue not in ("none", "ground")
    },
    ("mean distance of the background's gap from R", ""): Figures.error,
}


def read(path: Path) -> list[Row]:
    """The rows of the CSV, none where there is none."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(rows: list[Row]) -> str:
    """A table in Markdown, a column for each kind of masks and unit of R."""
    columns = {
        f"{words}, R by {unit}": Figures([r for r in rows if r["masks"] == masks], suffix)
        for masks, words in MASKS.items()
        for suffix, unit in UNITS.items()
    }
    lines = [["", "goal", *columns], ["---"] * (2 + len(columns))]
    lines += [[*names, *map(figure, columns.values())] for names, figure in FIGURES.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _alarm(row: Row) -> bool:
    return row["alarm"] == "1"


def _names(row: Row, factor: str) -> bool:
    """Whether a verdict relies on a factor, as the cause or beside it."""
    beside = row["text"].partition("also on ")[2].partition(";")[0]
    return _alarm(row) and (row["cause"] == factor or WORDS.get(factor, factor) in beside)


def _gap(row: Row, factors: tuple[str, ...]) -> float:
    return max(float(row[f"gap_{factor}"]) for factor in factors)


def _share(answers: Iterable[bool]) -> str:
    listed = list(answers)
    return f"{sum(listed)} of {len(listed)}"
