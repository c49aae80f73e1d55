"""What the background's gap is worth by the quality of the masks, on photographs.

Heads on cached features of EfficientNet-Lite0, with and without planted grounds. After training the
background is swapped with masks of several kinds: true ones, true ones spoilt on purpose to an IoU
of .9 to .3, made ones, and made ones where two makers agree. The truth R is the probability that
unseen images lose where true masks put their objects on other backgrounds.

    python benchmarks/verdict_accuracy/mask_quality.py --photos DIR --weights FILE [--count N]

The folders and the weights are those of `photographs.py`. It goes on where it was interrupted, and
ends with the table (alone, with --count 0), which --docs writes into DIR/real_pictures.md.
"""

import argparse
import csv
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from figures import auroc
from photo_plan import Run

from keras_saliency.common.opencv import cv2

CSV = Path(__file__).parent / "results" / "mask_quality.csv"
BEGIN, END = "<!-- masks -->\n", "<!-- end of masks -->"
IOUS = 0.9, 0.7, 0.5, 0.3
DRAWS = 2  # evaluations, whose gaps are averaged
AGREEING = 0.5  # the IoU of two makers from which they agree
RELIES = 0.2
# What is planted, and how often it goes with the class; without a cue the photographs are as they
# are.
CUES = ("none", 0.5), ("ground", 0.5), ("ground", 0.8), ("ground", 0.95), ("ground", 1.0)
RUNS = [
    Run(pair, cue, correlation, network, "made", seed)
    for seed, network in enumerate(("pool", "conv"), start=500)
    for cue, correlation in CUES
    for pair in ("two animals", "two dogs")
]
KINDS = {
    "true": "true masks",
    **{f"eroded {iou}": f"eroded to an IoU of {iou}" for iou in IOUS},
    **{f"dilated {iou}": f"dilated to an IoU of {iou}" for iou in IOUS},
    **{f"shifted {iou}": f"shifted to an IoU of {iou}" for iou in IOUS},
    "made": "made by the program, as the verdict uses them",
    "made, given": "the same, as if they were true",
    "made, placebo": "... with the donor's hole filled from the receiver",
    "grabcut": "made by GrabCut, as if they were true",
    "agreeing": f"made twice, where the two have an IoU of {AGREEING}, as if they were true",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("photos"), metavar="DIR")
    parser.add_argument("--weights", type=Path, default=Path("weights.pth"), metavar="FILE")
    parser.add_argument("--csv", type=Path, default=CSV, metavar="FILE")
    parser.add_argument("--count", type=int, default=len(RUNS), help="of training runs in all")
    parser.add_argument("--docs", type=Path, metavar="DIR")
    args = parser.parse_args()
    due = RUNS[len(read(args.csv)) : args.count]
    if due and not ((args.photos / "elephant").is_dir() and args.weights.is_file()):
        print(f"skipped: no photographs in {args.photos}, or no weights at {args.weights}")
        due = []
    for run in due:
        rows = list(_measured(run, args.photos, args.weights))
        _append(args.csv, rows)
        print(run.key, {row["masks"]: row["gap"] for row in rows}, f"R={rows[0]['R']}", flush=True)
    if rows := [row for of_run in read(args.csv).values() for row in of_run]:
        print(table(rows))
        if args.docs:
            page = args.docs / "real_pictures.md"
            text = page.read_text()
            before, rest = text.split(BEGIN, 1)
            page.write_text(f"{before}{BEGIN}{table(rows)}\n{END}{rest.split(END, 1)[1]}")


def read(path: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of each training run."""
    found: dict[str, list[dict[str, str]]] = {}
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["run"], []).append(row)
    return found


def table(rows: list[dict[str, str]]) -> str:
    """How far the gaps with each kind of masks are from R, as Markdown."""
    lines = [
        "| masks | IoU | training runs | mean distance of the gap from R | the gap less R, R < .2 "
        "| the same, R >= .2 | AUROC for R > .2 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, words in KINDS.items():
        mine = [row for row in rows if row["masks"] == kind and row["gap"] != "nan"]
        if not mine:
            continue
        iou, gap, truth = (np.array([float(row[k]) for row in mine]) for k in ("iou", "gap", "R"))
        relied = truth > RELIES
        off = gap - truth
        area = auroc(gap, relied, np.ones((1, len(gap))))[0]
        means = [f"{off[part].mean():+.2f}" if part.any() else "-" for part in (~relied, relied)]
        lines.append(
            f"| {words} | {iou.mean():.2f} | {len(mine)} | {np.abs(off).mean():.2f} "
            f"| {means[0]} | {means[1]} | {area:.2f} |"
        )
    return "\n".join(lines)


def _append(path: Path, rows: list[dict[str, object]]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def _measured(run: Run, photos: Path, weights: Path) -> Iterator[dict[str, object]]:
    """Train, and give a row for each kind of masks."""
    from photo_trainings import Training

    training = Training(run, photos, weights)
    training.train()
    planted = run.cue == "ground"
    reliance = training.planted_reliance() if planted else training.own_reliance("background")
    seen = (training.sample.masks > 0.5).any(axis=(1, 2))
    images, labels, true = (part[seen] for part in training.sample.parts)
    for kind, (masks, kept) in _kinds(images, true).items():
        gap = _gap(training.answers, images[kept], labels[kept], masks, kind)
        covered = iou(masks, true[kept])
        row = {"run": run.key, "masks": kind, "R": reliance[1], "gap": gap, "iou": covered.mean()}
        yield {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()}


def _kinds(images: np.ndarray, true: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Masks of each kind, and which of the images they are of."""
    from keras_saliency.data.masks import make_masks

    rng = np.random.default_rng(0)
    everything = np.ones(len(images), bool)
    made = make_masks(images)
    cut = np.stack([grabcut(image) for image in images])
    agree = iou(made, cut) >= AGREEING
    spoilt: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
        "eroded": _eroded,
        "dilated": _dilated,
        "shifted": lambda mask, wanted: _shifted(mask, wanted, rng),
    }
    kinds = {"true": (true, everything)}
    for name, spoil in spoilt.items():
        for wanted in IOUS:
            worse = np.stack([spoil(mask, wanted) for mask in true])
            kinds[f"{name} {wanted}"] = worse, everything
    kinds |= dict.fromkeys(("made", "made, given", "made, placebo"), (made, everything))
    kinds["grabcut"] = cut, everything
    kinds["agreeing"] = made[agree], agree
    return kinds


def _gap(
    answers: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    masks: np.ndarray,
    kind: str,
) -> float:
    """The background's gap as the verdict gives it, of several draws."""
    import keras_saliency as ks
    from keras_saliency.shortcuts.evaluator import Evaluator

    hole = ks.Nuisance("placebo", "the place of the donor's object", _placebo, needs={"masks"})
    name = "placebo" if "placebo" in kind else "background"
    nuisance = hole if name == "placebo" else name
    kept = masks.any(axis=(1, 2))
    parts = (images, labels) if kind == "made" else (images[kept], labels[kept], masks[kept])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shortcuts = ks.Shortcuts(parts, nuisances=[nuisance], components=None)
        evaluator = Evaluator(shortcuts, answers)
        verdicts = [evaluator.evaluate(step) for step in range(DRAWS)]
    gaps = [verdict.gaps[name][0] for verdict in verdicts if name in verdict.gaps]
    return float(np.mean(gaps)) if gaps else float("nan")


def _placebo(receivers, donors, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """The donor's background, with the receiver's own in the place of the donor's object."""
    hole = donors.hidden[j][..., None]
    below = np.where(hole, receivers.backgrounds[i], donors.pixels[j])
    above = receivers.masks[i][..., None]
    return (above * receivers.pixels[i] + (1 - above) * below).astype(np.float32)


def iou(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of pairs of masks, `(n,)`."""
    a, b = masks > 0.5, others > 0.5
    union = (a | b).sum((1, 2))
    return (a & b).sum((1, 2)) / np.maximum(union, 1)


def _eroded(mask: np.ndarray, wanted: float) -> np.ndarray:
    """The innermost part of a mask."""
    inside = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return _largest(inside, round(wanted * (mask > 0.5).sum()))


def _dilated(mask: np.ndarray, wanted: float) -> np.ndarray:
    """A mask with what is next to it, or all of the image where that is too little."""
    outside = cv2.distanceTransform((mask <= 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return _largest(-outside, min(round((mask > 0.5).sum() / wanted), mask.size))


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """A mask of the largest values."""
    chosen = np.zeros(values.size, np.float32)
    chosen[np.argsort(-values, axis=None, kind="stable")[:count]] = 1
    return chosen.reshape(values.shape)


def _shifted(mask: np.ndarray, wanted: float, rng: np.random.Generator) -> np.ndarray:
    """A mask moved in a random direction, and cut off where it leaves the image."""
    angle = rng.uniform(0, 2 * np.pi)
    moved = mask
    for step in range(1, mask.shape[0]):
        move = np.array([[1, 0, step * np.cos(angle)], [0, 1, step * np.sin(angle)]], np.float32)
        moved = cv2.warpAffine(mask, move, mask.shape[::-1])
        if iou(moved[None], mask[None])[0] <= wanted:
            break
    return moved


def grabcut(image: np.ndarray) -> np.ndarray:
    """A mask by GrabCut (Rother et al. 2004): the middle is object, and the rim is none.

    From a rectangle alone nothing is left of most of these photographs.
    """
    height, width = image.shape[:2]
    state = np.full((height, width), cv2.GC_BGD, np.uint8)
    centre = width // 2, height // 2
    for radius, value in ((0.45, cv2.GC_PR_FGD), (0.2, cv2.GC_FGD)):
        axes = round(radius * width), round(radius * height)
        cv2.ellipse(state, centre, axes, 0, 0, 360, value, cv2.FILLED)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(image, state, None, *models, 5, cv2.GC_INIT_WITH_MASK)
    return np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)


if __name__ == "__main__":
    main()
