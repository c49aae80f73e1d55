"""Does the check of maps tell good maps from bad ones? On cues whose place is known.

Networks learn a watermark, a border or the background that goes with the class at every training
image. A map is good where its strongest tenth shares at least half of its pixels with the cue, or
half of the cue's, if that is smaller; it is bad below a tenth. The score of a map is the gain of
its strongest tenth over a random one: how many more log-odds of the right class hiding it costs,
and how many more it alone leaves.

    python benchmarks/verdict_accuracy/map_check.py [--out DIR] [--docs docs]

Each network adds its rows to DIR/map_check.csv when it is finished, and is not done again. It ends
with the table, which --docs writes between its marks into DIR/reading.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import csv
import io
import itertools
from pathlib import Path

import cv2
import keras
import numpy as np
from figures import auroc
from networks import Network, network
from photographs import show
from pictures import Sample, Studio, others
from pool import load_pool

import keras_saliency as ks
from keras_saliency.metrics.map_check import fill_holes, moved_away, no_better, strongest

CUES = {"watermark": "a sign in a corner", "border": "a border", "background": "the background"}
NETWORKS, CLASSES = ("pooling", "flat", "residual"), (2, 5)
TRAINED, TESTED, EPOCHS = 1000, 16, 5
METHODS = (
    *("saliency", "smooth_grad", "gradient_x_input", "integrated_gradients", "grad_cam"),
    *("grad_cam_plus_plus", "hires_cam", "layer_cam", "eigen_cam", "occlusion"),
)
UNTRAINED = ("saliency", "grad_cam")
GOOD, BAD, RELIES = 0.5, 0.1, 0.5
_DIFFERS, _SMALLEST = 12, 1e-6

Row = dict[str, str]


def measure(cue: str, kind: str, classes: int) -> list[dict[str, object]]:
    """Train a network, and tell a row for each map of each image."""
    seed = [*cue.encode(), *kind.encode(), classes]
    rng = np.random.default_rng(seed)
    studio, net = Studio(load_pool(), cue, classes), network(kind, classes)
    plan = studio.plan(rng, TRAINED)
    training = studio.draw(plan, plan.labels)
    plan = studio.plan(rng, TESTED, held_out=True)
    test = studio.draw(plan, plan.labels)
    swapped = studio.draw(plan, others(rng, plan.labels, classes))
    batch = net.start(0, None)
    keras.utils.set_random_seed(0)
    maps = {f"{name}, untrained": explained(net, test, name) for name in UNTRAINED}
    net.model.fit(training.images, training.labels, batch, EPOCHS, verbose=0)
    maps |= {name: explained(net, test, name) for name in METHODS}
    maps["the object"] = np.stack([cv2.GaussianBlur(m, (0, 0), 2) for m in test.masks])
    noise = rng.standard_normal(test.masks.shape)
    maps["noise"] = np.stack([cv2.GaussianBlur(m, (0, 0), 5) for m in noise])
    right = known(net, test.images, test)
    reliance = right.mean() - known(net, swapped.images, test).mean()
    shared = {"run": f"{cue}-{kind}-{classes}", "reliance": f"{reliance:.2f}"}
    place = place_of(cue, test, swapped)
    return [shared | row for name in maps for row in rows(net, test, maps[name], name, place, rng)]


def explained(net: Network, sample: Sample, name: str) -> np.ndarray:
    probes = ks.Probes(sample.images.astype("float32"), sample.labels)
    return np.nan_to_num(ks.explain(net.model, probes, name, target="label").maps)


def known(net: Network, images: np.ndarray, sample: Sample) -> np.ndarray:
    """The probability of the right class."""
    found = net.probabilities(images.astype("float32"))
    return found[np.arange(len(found)), sample.labels]


def place_of(cue: str, test: Sample, swapped: Sample) -> np.ndarray:
    """Where the cue is, bool `(n, height, width)`: where exact counterfactuals differ."""
    if cue == "background":
        return test.masks < 0.5
    differs = np.abs(test.images.astype(int) - swapped.images).max(axis=-1) > _DIFFERS
    square = np.ones((3, 3), np.uint8)
    return np.stack(
        [cv2.morphologyEx(np.uint8(one), cv2.MORPH_CLOSE, square) > 0 for one in differs]
    )


def rows(
    net: Network,
    test: Sample,
    maps: np.ndarray,
    name: str,
    place: np.ndarray,
    rng: np.random.Generator,
) -> list[dict[str, object]]:
    """Hide the strongest tenth of each map and a random tenth, and all but these."""
    holes = strongest(maps, test.masks.shape[1:])
    moved = np.stack([moved_away(hole, rng) for hole in holes])
    images = test.images.astype("float32")
    found = {"before": log_odds(known(net, images, test))}
    for kind, some in (("", holes), ("_by_chance", moved)):
        found[f"hidden{kind}"] = log_odds(known(net, fill_holes(images, some), test))
        found[f"alone{kind}"] = log_odds(known(net, fill_holes(images, ~some), test))
    pixels = np.minimum(holes.sum((1, 2)), np.maximum(place.sum((1, 2)), 1))
    overlap = (holes & place).sum((1, 2)) / pixels
    return [
        {"map": name, "overlap": f"{overlap[i]:.2f}"}
        | {kind: f"{values[i]:.4g}" for kind, values in found.items()}
        for i in range(len(holes))
    ]


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    clipped = probabilities.clip(_SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(clipped / (1 - clipped)))


def judged(table: list[Row]) -> list[Row]:
    """Maps that are good or bad, of images that a network with the shortcut classifies rightly."""
    return [
        row
        for row in table
        if float(row["reliance"]) >= RELIES
        and float(row["before"]) > 0
        and not BAD <= float(row["overlap"]) < GOOD
    ]


def line(table: list[Row]) -> list[str]:
    """Maps, the AUROC with hiding alone and with both, and which are greyed, of one cue."""
    good = np.array([float(row["overlap"]) >= GOOD for row in table])
    hiding, alone = (
        np.array([float(row[more]) - float(row[less]) for row in table])
        for more, less in (("hidden_by_chance", "hidden"), ("alone", "alone_by_chance"))
    )
    areas = (auroc(s, good, np.ones((1, len(s))))[0] for s in (hiding, hiding + alone))
    names = ("before", "hidden", "hidden_by_chance", "alone", "alone_by_chance")
    before, *parts = (1 / (1 + np.exp([-float(row[name]) for row in table])) for name in names)
    greyed = no_better(before, parts[:2], parts[2:], is_probability=True)
    return [
        f"{good.sum()}, {(~good).sum()}",
        *(f"{area:.2f}" for area in areas),
        f"{greyed[good].mean():.0%}",
        f"{greyed[~good].mean():.0%}",
    ]


def report(table: list[Row]) -> str:
    """A table in Markdown: a line for each cue, and for all of them."""
    heads = ["cue", "good, bad maps", "AUROC of hiding alone", "AUROC of the check"]
    heads += ["good ones greyed", "bad ones greyed"]
    lines, known = [heads, ["---"] * len(heads)], judged(table)
    for cue, words in CUES.items():
        lines.append([words, *line([row for row in known if row["run"].startswith(f"{cue}-")])])
    lines.append(["all", *line(known)])
    return "\n".join(f"| {' | '.join(one)} |" for one in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--count", type=int, help="of networks, those in the CSV included")
    parser.add_argument("--docs", type=Path)
    args = parser.parse_args()
    keras.config.disable_interactive_logging()
    path = args.out / "map_check.csv"
    planned = list(itertools.product(CUES, NETWORKS, CLASSES))[: args.count]
    done = {row["run"] for row in read(path)}
    for cue, kind, classes in planned:
        if f"{cue}-{kind}-{classes}" not in done:
            append(path, measure(cue, kind, classes))
            print(f"{cue}, {kind}, {classes} classes", flush=True)
    table = report(read(path))
    print(table)
    if args.docs:
        show(table, args.docs / "reading.md")


def append(path: Path, table: list[dict[str, object]]) -> None:
    """Add all rows of a network at once, below the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerows(table)
    with path.open("a", newline="") as file:
        file.write(text.getvalue())


def read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
