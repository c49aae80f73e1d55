"""The benchmark of poor masks: how they are spoilt, and that it needs photographs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "verdict_accuracy"


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import mask_quality

    return mask_quality


def disc(radius):
    y, x = np.mgrid[:64, :64] - 31.5
    return (np.hypot(y, x) < radius).astype(np.float32)


@pytest.mark.parametrize("wanted", [0.9, 0.7, 0.5, 0.3])
def test_masks_are_spoilt_to_the_iou_that_is_wanted(quality, wanted):
    mask = disc(14)
    small, large = quality._eroded(mask, wanted), quality._dilated(mask, wanted)
    assert (small <= mask).all()
    assert (large >= mask).all()
    moved = quality._shifted(mask, wanted, np.random.default_rng(0))
    for spoilt, tolerance in ((small, 0.01), (large, 0.01), (moved, 0.09)):
        assert quality.iou(spoilt[None], mask[None])[0] == pytest.approx(wanted, abs=tolerance)


def test_the_table_compares_gaps_with_the_truth(quality):
    gaps, truths = (0.1, 0.4, 0.9), (0.0, 0.3, 0.6)
    rows = [
        {"masks": "true", "iou": "1", "gap": str(gap), "R": str(truth)}
        for gap, truth in zip(gaps, truths, strict=True)
    ]
    rows.append(rows[0] | {"gap": "nan"})
    line = quality.table(rows).splitlines()[-1]
    assert line == "| true masks | 1.00 | 3 | 0.17 | +0.10 | +0.20 | 1.00 |"


def test_it_is_skipped_with_a_message_where_there_are_no_photographs(tmp_path):
    command = [sys.executable, FOLDER / "mask_quality.py", "--photos", tmp_path]
    done = subprocess.run(
        [*command, "--csv", tmp_path / "none.csv"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("skipped: no photographs in")
