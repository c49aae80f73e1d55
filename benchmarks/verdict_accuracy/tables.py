"""Tables and plots of what `run.py` measured.

    python benchmarks/verdict_accuracy/tables.py [--results FILE] [--errors] [--docs DIR]

Prints the tables. --docs writes them between their marks into DIR/shortcuts.md, and the plots
beside it; --errors lists every false alarm and every large shortcut that was missed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from errors import errors
from figures import Figure
from grid import KINDS
from measured import BY_PROBABILITY, TRUTHS, Measured, origin, read
from plots import draw_plots
from rules import RULES, Rule, judged, replayed
from scores import HARD, RIGHT_WORDS, SHORTCUT, Scores, Share, worst

RESULTS = Path(__file__).parent / "results" / "results.csv"
CLEAN = RESULTS.with_name("clean.csv")
DOCS = Path(__file__).parents[2] / "docs"
# What an alarm says about these is true: a place, a size or a small part rightly makes the class.
TRUE_WORDS = ("honest position", "honest size", "honest part")


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def views(measured: Measured) -> list[Scores]:
    """By both truths, and by both without the evaluations in which the verdict abstains."""
    return [Scores(part, truth) for part in (measured, measured.said) for truth in TRUTHS]


VIEWS = [*TRUTHS.values(), *(f"{words}, without “can't say”" for words in TRUTHS.values())]


def told_truly(measured: Measured) -> np.ndarray:
    """Training runs whose alarm would be true though nothing is planted, bool `(n,)`."""
    return np.isin(measured.run("control"), TRUE_WORDS)


def bounded(share: Share) -> str:
    """A share and its exact upper bound."""
    return f"{share}, at most {share.bound:.1%}" if share.asked else "-"


def overall(measured: Measured) -> str:
    """All figures of some training runs beside the goals."""
    scores = views(measured)
    others = [s.with_others_threshold() for s in scores]
    true_words = told_truly(measured)
    without = views(measured.where(~true_words))
    rows = {
        ("evaluations in which it can't say", ""): [s.abstained(0) for s in scores],
        ("... at R >= .3", ""): [s.abstained(0.3) for s in scores],
        ("AUROC, shortcut or not", ">= .98"): [s.auroc() for s in scores],
        ("AUROC without honest place, size, part", ""): [s.auroc() for s in without],
        ("AUROC, five off-object kinds", ">= .99"): [s.off_object().auroc() for s in scores],
        ("AUROC of the worst kind", ""): [
            worst({kind: own.auroc() for kind, own in s.of_kinds().items()}) for s in scores
        ],
        (f"AUROC where R is {HARD[0]:g} to {HARD[1]:g}", ""): [s.hard_auroc() for s in scores],
        ("rank correlation with R", ">= .95"): [s.rank_correlation() for s in scores],
        ("mean absolute error", "<= .05"): [s.error() for s in scores],
        ("evaluations found at R >= .3", ">= .97"): [s.found(0.3) for s in scores],
        ("evaluations found at R >= .5", "1.00"): [s.found(0.5) for s in scores],
        ("training runs with an alarm at R >= .3", ""): [s.trainings_found(0.3) for s in scores],
        ("training runs with an alarm at R >= .5", ""): [s.trainings_found(0.5) for s in scores],
        ("clean training runs with an alarm", "at most 2 % of >= 300"): [
            bounded(s.alarms(s.clean)) for s in scores
        ],
        ("... without honest place, size, part", ""): [
            bounded(s.alarms(s.clean & ~true_words)) for s in scores
        ],
        ("training runs of R .1 to .2 with an alarm", ""): [s.alarms(s.slight) for s in scores],
        ("threshold from other kinds: mean", ">= .95"): [
            Figure.of(np.mean(list(kinds.values()), axis=0)) if kinds else "-" for kinds in others
        ],
        ("threshold from other kinds: worst", ">= .92"): [
            worst({kind: Figure.of(draws) for kind, draws in kinds.items()}) for kinds in others
        ],
        ("alarm no later than the truth", "all"): [s.in_time() for s in scores],
        ("cause named", ""): [s.named() for s in scores],
        ("cause named, worst kind", ">= .95"): [
            worst({kind: own.named() for kind, own in s.of_kinds().items()}) for s in scores
        ],
        ("AUROC of the accuracy alone", ""): [s.auroc("accuracy") for s in scores],
        ("AUROC of the loss alone", ""): [s.auroc("loss", -1) for s in scores],
    }
    return (
        table(["", "goal", *VIEWS], [[*names, *cells] for names, cells in rows.items()])
        + f"\n\n{len(measured)} training runs, {measured.counted.sum()} evaluations."
    )


def by_kind(measured: Measured) -> str:
    """What is found, kind by kind."""
    asked = [dict(s.of_kinds()) for s in views(measured)]
    columns = {
        "AUROC": lambda s: s.auroc(),
        "evaluations found at R >= .5": lambda s: s.found(0.5),
        "training runs with an alarm at R >= .5": lambda s: s.trainings_found(0.5),
        "cause named": lambda s: s.named(),
    }
    parts = []
    for title, pick in columns.items():
        rows = [[kind, *(pick(own[kind]) for own in asked)] for kind in asked[0]]
        parts.append(f"**{title}**\n\n{table(['planted', *VIEWS], rows)}")
    return "\n\n".join(parts)


def groups(measured: Measured) -> str:
    """What is found, by what the training runs had in common besides the kind."""
    measured = measured.where(~told_truly(measured))
    made = measured.run("masks") == "border colours"
    warm, classes = measured.run("warm") > 0, measured.run("classes")
    chosen = {
        "masks given": ~made,
        "masks made by the program": made,
        "size planted, masks given": ~made & (measured.run("kind") == "size"),
        "size planted, masks made": made & (measured.run("kind") == "size"),
        "from scratch": ~warm,
        "from a backbone": warm,
        "two classes": classes == 2,
        "five classes": classes == 5,
    }
    rows = []
    for name, own in chosen.items():
        cells: list[object] = [name, own.sum()]
        for truth in TRUTHS:
            s = Scores(measured.where(own), truth)
            cells += [s.auroc(), s.found(0.3), bounded(s.alarms(s.clean))]
        rows.append(cells)
    head = ["", "training runs"]
    for said in TRUTHS.values():
        head += [f"AUROC {said}", "found at R >= .3", "alarm if clean"]
    return table(head, rows)


def words(measured: Measured) -> str:
    """Which causes count as right, and which were named."""
    plain = measured.plain
    shown = (plain["alarm"] > 0) & (plain.truth(BY_PROBABILITY) > SHORTCUT)
    rows = []
    for kind in KINDS:
        named = Counter(plain["cause"][shown & (plain["kind"] == kind)].tolist())
        listed = ", ".join(f"{cause} {number}" for cause, number in named.most_common())
        rows.append([kind, " or ".join(RIGHT_WORDS[kind]), listed])
    return table(["planted", "words that are right", "named, in so many evaluations"], rows)


def false_alarms(measured: Measured) -> str:
    """Alarms in clean training runs, by what is special about them."""
    origins = origin(measured)
    scores = views(measured)
    rows = []
    for name in [*sorted(set(origins)), None]:
        own = origins == name if name else np.ones(len(measured), bool)
        wrong = own & scores[1].clean & scores[1].alarmed
        causes = Counter(c for c in measured["cause"][wrong].ravel() if c)
        rows.append(
            [
                name or "all",
                own.sum(),
                *(s.alarms(own & s.clean) for s in scores),
                *(s.alarms(own & s.slight) for s in scores[:2]),
                ", ".join(f"{cause} {n}" for cause, n in causes.most_common()),
            ]
        )
    head = ["", "training runs", *(f"clean {words}" for words in VIEWS)]
    head += [f"R .1 to .2 {words}" for words in TRUTHS.values()]
    return table([*head, "named at how many evaluations"], rows)


def fresh(measured: Measured) -> str:
    """Alarms as the verdict gave them, network by network, where nothing was planted."""
    networks = measured.run("network")
    rows = []
    for name in [*sorted(set(networks)), None]:
        own = measured.where(networks == name) if name else measured
        scores = [Scores(own, truth) for truth in TRUTHS]
        named = Counter(own["cause"][own["alarm"] > 0].tolist())
        rows.append(
            [
                name or "both",
                len(own),
                *(bounded(s.alarms(s.clean)) for s in scores),
                *(s.alarms(~s.clean) for s in scores),
                ", ".join(f"{cause} {number}" for cause, number in named.most_common()),
            ]
        )
    head = [
        "network",
        "training runs",
        *(f"alarms where clean {words}" for words in TRUTHS.values()),
    ]
    head += [f"alarms in others {words}" for words in TRUTHS.values()]
    return table([*head, "named, in so many evaluations"], rows)


def curated(measured: Measured, with_curated: Measured) -> str:
    """The same training runs, with donors from their data and with donors picked by hand."""
    if not len(with_curated):
        return "none yet"
    same = measured.where(np.isin(measured.run("run"), with_curated.run("run")))
    sources = {"of the training data": same, "picked by hand, balanced": with_curated}
    rows = []
    for name, part in sources.items():
        scores = views(part)
        rows.append([name, *(f"{s.found(0.3)}; {s.trainings_found(0.3)}" for s in scores)])
    return table(["donors", *VIEWS], rows)


def what_ifs(measured: Measured, rules: dict[str, Rule]) -> str:
    """What other rules would make of the same gaps."""
    head = ["rule"]
    for words in TRUTHS.values():
        head += [f"AUROC {words}", "found at R >= .3", "alarm at R >= .5"]
        head += ["alarm if clean", "cause named"]
    rows = []
    for name, rule in rules.items():
        replay = replayed(measured, rule)
        cells: list[object] = [name]
        for truth in TRUTHS:
            s = Scores(replay, truth, rule.threshold)
            cells += [s.auroc(), s.found(0.3), s.trainings_found(0.5)]
            cells += [bounded(s.alarms(s.clean)), s.named()]
        rows.append(cells)
    return table(head, rows)


def all_tables(measured: Measured, with_curated: Measured) -> dict[str, str]:
    """Every table by the name of its mark."""
    parts = measured.parts()
    found = {"all": overall(measured)}
    for name, part in parts.items():
        found[name] = overall(part)
    return found | {
        "kinds": by_kind(measured),
        "groups": groups(measured),
        "words": words(measured),
        "false alarms": false_alarms(measured),
        "curated donors": curated(measured, with_curated),
        **{f"what if, {name}": what_ifs(part, RULES) for name, part in parts.items()},
    }


def fill(page: str, tables: dict[str, str]) -> str:
    """Put each table between its marks `<!-- name -->` and `<!-- end -->`."""
    for name, text in tables.items():
        marks = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
        page = re.sub(marks, lambda m, t=text: f"{m[1]}{t}\n{m[2]}", page, flags=re.DOTALL)
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the CSV")
    parser.add_argument("--docs", type=Path, help=f"write there, such as into {DOCS.name}/")
    parser.add_argument("--errors", action="store_true", help="list what went wrong instead")
    args = parser.parse_args()
    measured, with_curated = judged(args.results)
    if args.errors:
        print("\n".join(errors(measured)))
        return 0
    tables = all_tables(measured, with_curated)
    if CLEAN.exists():
        tables["fresh"] = fresh(read(CLEAN)[0])
    for name, text in tables.items():
        print(f"\n## {name}\n\n{text}")
    if args.docs:
        page = args.docs / "shortcuts.md"
        page.write_text(fill(page.read_text(), tables))
        draw_plots(measured, args.docs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
