"""The benchmark on photographs: what it does without any, and its table."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "verdict_accuracy"
sys.path.insert(0, str(FOLDER))
try:
    import photo_plan
    import photo_sets
    import photo_table
    import photographs
finally:
    sys.path.remove(str(FOLDER))

RUNS = photo_plan.runs()
FACTORS = ("background", "frame", "compression", "cast", "mark")


def _row(run, **values):
    """A row as the benchmark writes it, of a verdict without any evidence."""
    gaps = {f"{part}_{name}": "nan" for name in FACTORS for part in ("low", "high")}
    gaps |= {f"gap_{name}": "0" for name in FACTORS}
    truths = {"R": 0, "R_background": 0, "R_named": "nan"}
    truths |= {f"{name}_probability": value for name, value in truths.items()}
    return run.row() | gaps | truths | {"alarm": 0, "cause": "", "text": "no evidence"} | values


def _run(cue, masks="made", seed=0):
    return photo_plan.Run("four", cue, 1.0, "pool", masks, seed)


def _write(path, rows):
    for row in rows:
        photographs.append(path, row)
    return photo_table.read(path)


def _cells(table):
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {line[0]: line[2:] for line in lines[2:]}


def test_without_photographs_it_says_so_and_succeeds(tmp_path):
    command = [sys.executable, FOLDER / "photographs.py", "--photos", tmp_path, "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"skipped: no photographs in {tmp_path}")
    assert not list(tmp_path.iterdir())


def test_training_runs_in_the_csv_are_not_done_again(tmp_path, capsys):
    photos, weights, path = tmp_path / "photos", tmp_path / "weights", tmp_path / "kept.csv"
    assert photographs.due(path, 3) == RUNS[:3]
    (photos / "elephant").mkdir(parents=True)
    weights.touch()
    kept = _write(path, [_row(run) for run in (RUNS[0], RUNS[2])])
    assert photographs.due(path, 4) == [RUNS[1], RUNS[3]]
    assert [row["run"] for row in kept] == [RUNS[0].key, RUNS[2].key]
    photographs.append(path, _row(RUNS[1]))
    photographs.train(photos, weights, path, 3)
    assert capsys.readouterr().out == ""
    assert photo_table.read(path)[:2] == kept


def test_each_six_training_runs_have_each_cue_and_half_are_tuned():
    assert len({run.key for run in RUNS}) == len(RUNS) >= 150
    for k in range(0, len(RUNS), 6):
        six = RUNS[k : k + 6]
        assert {run.cue for run in six} == set(photo_plan.FACTORS)
        assert Counter(run.network == "tuned" for run in six) == {True: 3, False: 3}
        assert Counter(run.masks for run in six) == {"made": 4, "eroded": 2}
    assert {run.correlation for run in RUNS} == {0.5, 0.8, 0.95, 1.0}


def test_the_table_counts_what_the_goals_are_about(tmp_path):
    rows = [
        # The cause is the cue, and R within the interval of width .3.
        _row(
            _run("border"), R=0.6, alarm=1, cause="frame", R_named=0.6,
            gap_frame=0.5, low_frame=0.4, high_frame=0.7,
        ),
        # Another factor is named, on which nothing relies; the interval, of width .1, fails.
        _row(
            _run("border", seed=1), R=0.5, alarm=1, cause="cast", R_named=0.1,
            gap_frame=0.1, low_frame=0.1, high_frame=0.2,
        ),
        # It is missed.
        _row(_run("border", seed=2), R=0.7, gap_frame=0.3),
        # There is nothing, and nothing is said; the gap of the background has the border in it.
        _row(_run("border", seed=3), R=0.1, gap_frame=0.2, gap_background=0.2),
        # The same of a tag; the gap of the background errs by .2.
        _row(_run("tag"), gap_background=0.2),
        # The cue is named beside the cause.
        _row(
            _run("tint"), R=0.3, alarm=1, cause="background", R_named=0.2,
            text="relies on the background since epoch 1; also on the colour cast (gap 0.30); more",
        ),
        # It can't say, though the background is relied on.
        _row(_run("none"), R_background=0.3, text="can't say yet", gap_background="nan"),
        # True masks: the background is named rightly, by accuracy alone.
        _row(
            _run("none", "eroded"), R_background=0.5, alarm=1, cause="background", R_named=0.5,
            gap_background=0.4, low_background=0.3, high_background=0.55,
        ),
    ]  # fmt: skip
    cells = _cells(photo_table.table(_write(tmp_path / "rows.csv", rows)))
    assert cells["training runs"] == ["7", "7", "1", "1"]
    assert cells["alarms that name a factor of R <= .1"] == ["1 of 7", "0 of 7", "0 of 1", "0 of 1"]
    assert cells['"can\'t say" at R > .2'][:3] == ["1 of 7", "0 of 7", "0 of 1"]
    assert cells["alarm at R >= .5"] == ["2 of 3", "0 of 0", "1 of 1", "0 of 0"]
    assert cells["... that names a factor of R >= .5"] == ["1 of 2", "0 of 0", "1 of 1", "0 of 0"]
    assert cells["what is planted is named, at its R > .2"] == ["2 of 4", *["0 of 0"] * 3]
    assert cells["R within the interval"] == ["1 of 2", "0 of 2", "1 of 1", "0 of 1"]
    assert cells["median width of the interval"][::2] == ["0.20", "0.25"]
    # Gaps .5, .1, .3 at a large R and .2 at none: two of three pairs are in order.
    name = "... of the gap of what is planted: border"
    assert cells[name][0] == "0.67 (3 of 4)"
    assert cells["mean distance of the background's gap from R"][::2] == ["0.20", "0.10"]


def test_the_page_shows_the_figures_that_are_kept(tmp_path):
    page = FOLDER.parents[1] / "docs" / "real_pictures.md"
    copy = tmp_path / page.name
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    photographs.show(
        photo_table.table(photo_table.read(FOLDER / "results" / "photographs.csv")), copy
    )
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


def _sample(count=40):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 64, 64, 3), np.uint8)
    return photo_sets.Sample(images, np.arange(count) % 2, np.ones((count, 64, 64), np.float32))


@pytest.mark.parametrize("cue", ["tag", "tint", "border", "jpeg"])
def test_twins_differ_in_the_cue_alone(cue):
    sample = _sample()
    again = [photo_sets.plant(sample, cue, sample.labels, Path(), seed=3) for _ in range(2)]
    other = photo_sets.plant(sample, cue, 1 - sample.labels, Path(), seed=3)
    np.testing.assert_array_equal(again[0].images, again[1].images)
    changed = (again[0].images != other.images).any(axis=-1)
    assert changed.any(axis=(1, 2)).all()
    if cue == "border":
        assert not changed[:, 3:-3, 3:-3].any()
    if cue == "tag":  # both at one place
        assert changed.sum(axis=(1, 2)).max() == 36


def test_variants_agree_with_the_class_as_often_as_is_asked():
    labels, rng = np.arange(4000) % 4, np.random.default_rng(0)
    agree = photo_sets.agreeing(labels, 0.8, rng) == labels
    assert agree.mean() == pytest.approx(0.8, abs=0.03)
    assert (photo_sets.others(labels, rng) != labels).all()


def test_eroded_masks_are_smaller_and_shifted():
    masks = np.zeros((2, 64, 64), np.float32)
    masks[0, 20:40, 20:40] = 1
    masks[1, 5, 5] = 1  # too small to be eroded
    found = photo_sets.eroded(masks)
    expected = np.zeros((64, 64))
    expected[24:40, 20:36] = 1
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], masks[1])
