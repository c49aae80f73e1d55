"""The benchmark of regressions: its scenes, its truth and its table."""

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "verdict_accuracy"
sys.path.insert(0, str(FOLDER))
try:
    from regression import KINDS, RUNS, Run, Sample, Twins, table
finally:
    sys.path.remove(str(FOLDER))


def test_each_training_run_is_planned_once():
    assert len(set(RUNS)) == len(RUNS) >= 60


@pytest.mark.parametrize("kind", KINDS)
def test_twins_differ_in_the_nuisance_alone(kind):
    run = Run("size", kind, 0.7, "flat")
    sample = Sample.draw(run, 3, 0)
    (images, masks), (twins, same) = (sample.images(run, n) for n in (None, -sample.nuisance))
    np.testing.assert_array_equal(masks, same)
    changed = (images != twins).any(axis=-1)
    assert changed.any((1, 2)).all()
    if kind == "brightness":
        assert not changed[masks == 1].any()
    if kind == "border":
        assert not changed[:, 2:-2, 2:-2].any()
    np.testing.assert_array_equal(images, sample.images(run)[0])


def test_the_label_is_the_size_or_the_tint():
    for label, sign in (("size", 1), ("tint", 0)):
        run = Run(label, "border", 0.0, "flat")
        low, high = (Sample(0, np.full(4, v), np.zeros(4)).images(run) for v in (-1.5, 1.5))
        assert ((high[1].sum((1, 2)) > low[1].sum((1, 2))) == sign).all()
        reds = [
            (images[..., 0] / images[..., 2].clip(1))[masks > 0.9].mean()
            for images, masks in (low, high)
        ]
        assert (reds[1] > 1.5 * reds[0]) == (sign == 0)


@pytest.mark.parametrize("correlation", [0.3, 0.95])
def test_the_truth_of_a_model_of_the_border_is_the_correlation(correlation):
    run = Run("tint", "border", correlation, "flat")
    sample = Sample.draw(run, 200, 0)
    border = lambda images: (images[:, 0, 0, 0] - 128.0) / 45  # noqa: E731
    twins = Twins(run, sample, np.random.default_rng(0))
    truth = twins.carry(border)
    inside = lambda images: images[:, 24, 24, 0] / 255.0  # noqa: E731
    assert truth == pytest.approx(np.corrcoef(sample.labels, sample.nuisance)[0, 1], abs=0.08)
    assert twins.carry(inside) == pytest.approx(0)
    perfect = lambda images: sample.labels / 2  # noqa: E731
    assert twins.explained(perfect) == pytest.approx(0.75, abs=0.01)


def test_the_table_ranks_and_names():
    rows = [
        Run("size", "border", 0.5, "flat")._asdict()
        | {"epoch": "2", "truth": truth, "reliance": found, "largest": largest}
        for truth, found, largest in [
            ("0.1", "0.2", "texture"), ("0.4", "0.3", "texture"), ("0.9", "0.8", "frame")
        ]
    ]  # fmt: skip
    first = table(rows).splitlines()[2]
    assert first == "| all | 3 | 1.000 | 0.100 | 0.47 | 0.43 | 1 of 2 |"
