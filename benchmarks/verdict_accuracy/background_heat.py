"""How much heat lies on the ground, when ground and class go together and when they don't.

For each seed the same network is trained at correlation 0.95 and 0.5, and the share of heat on the
background, over the background's share of the area, is averaged over the 16 probes of the demo.

    python benchmarks/verdict_accuracy/background_heat.py [--seeds 5] [--out heat.json]
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import keras_saliency as ks
from keras_saliency.cli.demo import drawn_images, train
from keras_saliency.metrics.localization import enrichment

METHODS = ("grad_cam", "saliency")
CORRELATIONS = (0.95, 0.5)


def heat(correlation: float, seed: int) -> dict[str, float]:
    pictures = drawn_images(correlation, seed=seed)
    # Both models are evaluated on the demo's own probes, those of the correlated images.
    probes = drawn_images(max(CORRELATIONS), seed=seed).probes
    with tempfile.TemporaryDirectory() as logs:
        model, _ = train(pictures, logs, seed=seed, verbose=0)
    maps = {m: ks.explain(model, probes, m, target="label").maps for m in METHODS}
    found = {m: float(np.nanmean(enrichment(maps[m], 1 - probes.masks))) for m in METHODS}
    return found | {"most possible": float(np.mean(1 / (1 - probes.masks).mean(axis=(1, 2))))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for seed in range(args.seeds):
        for correlation in CORRELATIONS:
            rows.append({"seed": seed, "correlation": correlation, **heat(correlation, seed)})
            print("  ".join(f"{k} {v:.3g}" for k, v in rows[-1].items()), flush=True)
    for method in METHODS:
        high, low = ([r[method] for r in rows if r["correlation"] == c] for c in CORRELATIONS)
        higher = sum(a > b for a, b in zip(high, low, strict=True))
        print(
            f"{method}: {min(high):.2f} to {max(high):.2f} at 0.95, {min(low):.2f} to "
            f"{max(low):.2f} at 0.5; higher in {higher} of {args.seeds} seeds"
        )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
