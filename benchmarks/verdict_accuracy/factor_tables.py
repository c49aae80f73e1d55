"""Tables of what `run.py --factors` measured.

    python benchmarks/verdict_accuracy/factor_tables.py [--results FILE] [--docs DIR]

Each gap is scored against the factors that its own swap exchanges, whatever was planted. --docs
writes the tables between their marks into DIR/shortcuts.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from figures import Figure, auroc, resampled
from grid import KINDS
from results import EPOCHS, whole_rows
from scores import CLEAN, SHORTCUT, Share
from tables import DOCS, bounded, fill, table
from unlisted import DEVELOPED, SET_ASIDE

RESULTS = Path(__file__).parent / "results" / "factors.csv"
_LARGE = 0.5
_LOCAL = ("watermark", "logo", "band", "ball")  # painted beside the object
# What the swap of each gap exchanges, and what it exchanges in part, or carries along weakly.
CARRIED = {
    "background": ("background", "border", "blur", "stripes", *_LOCAL),
    "off": ("background", "stripes", *_LOCAL),
    "cast": ("tint",),
    "texture": ("texture",),
    "frame": ("border",),
    "position": ("position",),
    "scale": ("size",),
    "mark": ("mark", "part"),
    "light": ("vignette",),
    "exposure": ("light",),
}
_OBJECTS = {"colour": "the object's colour", "texture": "the object's texture"}  # honest
_GLOBAL = ("tint", "texture", "vignette", "contrast", "light")
PARTLY = {
    "background": _GLOBAL,
    "off": (*_GLOBAL, "border", "blur"),
    "cast": ("background", "border", *_LOCAL),
    "texture": (_OBJECTS["texture"], "background", "blur", "stripes", "contrast", *_LOCAL),
    "frame": ("background", "vignette", "stripes", *_LOCAL),
    "position": ("size",),
    "scale": ("position",),
    "mark": (_OBJECTS["colour"], *_LOCAL),
    "light": ("light", "background", "border", "contrast", *_LOCAL),
    "exposure": ("background", "vignette", "border", "contrast", "tint", *_LOCAL),
}
_NAMES = {"ground": "background", "place": "position", "extent": "size", "light": "light"}


class Evaluations:
    """Evaluations of training runs, `n` in all.

    Attributes:
        rows: The rows of the CSV, those of a training run together.
        truths: `{factor: float64 (n,)}`, the size of the reliance; 0 where there is no such factor.
    """

    def __init__(self, path: Path) -> None:
        rows, _ = whole_rows(path)
        self.rows = sorted(rows, key=lambda row: (row["run"], int(row["epoch"])))
        self.truths: dict[str, np.ndarray] = {}
        for number, row in enumerate(self.rows):
            named = {name: row[f"truth_{key}"] for key, name in _NAMES.items()}
            named[row["kind"]] = row["truth_planted"]
            if row["control"]:
                honest = row["control"].removeprefix("honest ")
                named[_OBJECTS.get(honest, honest)] = row["truth_honest"]
            for name, value in named.items():
                column = self.truths.setdefault(name, np.zeros(len(self.rows)))
                column[number] = np.nan_to_num(abs(float(value)))

    def most(self, factors: tuple[str, ...]) -> np.ndarray:
        """The largest reliance on any of these factors, `(n,)`."""
        none = np.zeros(len(self.rows))
        return np.max([none, *(self.truths[k] for k in factors if k in self.truths)], axis=0)

    def column(self, name: str) -> np.ndarray:
        """A column of numbers, `(n,)`."""
        return np.array([float(row[name]) for row in self.rows])

    def by_run(self, values: np.ndarray) -> np.ndarray:
        """Values of each training run, `(runs, EPOCHS)`."""
        return values.reshape(-1, EPOCHS)


def per_factor(found: Evaluations) -> str:
    """How well each gap tells whether the model follows what its own swap exchanges."""
    runs = np.arange(len(found.rows)) // EPOCHS
    weights = resampled(int(runs.max()) + 1)[:, runs]
    rows = []
    for gap, carried in CARRIED.items():
        score, size = found.column(f"gap_{gap}"), found.most(carried)
        positive = size > SHORTCUT
        kept = np.isfinite(score) & (positive | (found.most(PARTLY[gap]) <= CLEAN))
        figure = Figure.of(auroc(score[kept], positive[kept], weights[:, kept]))
        above = Share(int((score[kept & positive] > SHORTCUT).sum()), int((kept & positive).sum()))
        wrong = kept & (size <= CLEAN)
        false = Share(int((score[wrong] > SHORTCUT).sum()), int(wrong.sum()))
        name = "components off the object" if gap == "off" else gap
        rows.append([name, ", ".join(carried), above.asked, figure, above, false])
    head = ["gap", "factors that it swaps", "evaluations with a shortcut (R > .2)", "AUROC"]
    return table([*head, "gap above .2 at R > .2", "at R <= .1"], rows)


def causes(found: Evaluations) -> str:
    """What was named in evaluations with an alarm, by what was planted."""
    named: dict[str, Counter[str]] = {}
    for row in found.rows:
        if float(row["alarm"]) and abs(float(row["truth_planted"])) > SHORTCUT:
            named.setdefault(row["kind"], Counter())[row["cause"]] += 1
    columns = sorted({cause for counts in named.values() for cause in counts})
    order = [kind for kind in (*KINDS, *DEVELOPED, *SET_ASIDE) if kind in named]
    return table(["planted", *columns], [[k, *(named[k][c] or "" for c in columns)] for k in order])


def kinds(found: Evaluations) -> str:
    """Training runs with a large reliance that had an alarm, and clean ones that had."""
    runs = [rows[0] for rows in np.array(found.rows, object).reshape(-1, EPOCHS)]
    alarm = found.by_run(found.column("alarm")).any(axis=1)
    off = found.by_run(found.column("passes_off")).any(axis=1)
    planted = np.abs(found.by_run(found.column("truth_planted")))
    large = (np.minimum(planted[:, 1:], planted[:, :-1]) >= _LARGE).any(axis=1)
    kind = np.array([row["kind"] for row in runs])
    groups = {
        "listed": KINDS,
        "not listed, for making rules with": DEVELOPED,
        "not listed, set aside": SET_ASIDE,
        **{f"... {name}": (name,) for name in SET_ASIDE},
    }
    rows = []
    for title, names in groups.items():
        asked = large & np.isin(kind, names)
        shares = [Share(int((one & asked).sum()), int(asked.sum())) for one in (alarm, off)]
        rows.append([title, *shares])
    swapped = tuple(name for name in found.truths if name not in _OBJECTS.values())
    clean = (found.by_run(found.most(swapped)) <= CLEAN).all(axis=1)
    false = [Share(int((one & clean).sum()), int(clean.sum())) for one in (alarm, off)]
    rows.append(["**clean of all factors**", *map(bounded, false)])
    head = ["planted, R >= .5 at two evaluations running", "training runs with an alarm"]
    return table([*head, "components off the object passed"], rows) + (
        f"\n\n{len(runs)} training runs, {len(found.rows)} evaluations."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the CSV")
    parser.add_argument("--docs", type=Path, help=f"write there, such as into {DOCS.name}/")
    args = parser.parse_args()
    found = Evaluations(args.results)
    parts = {"factors": per_factor(found), "unlisted": kinds(found), "causes": causes(found)}
    for name, text in parts.items():
        print(f"\n## {name}\n\n{text}")
    if args.docs:
        page = args.docs / "shortcuts.md"
        page.write_text(fill(page.read_text(), parts))


if __name__ == "__main__":
    main()
