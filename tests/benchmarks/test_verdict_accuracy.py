"""The benchmark of the verdict: its statistics, its counterfactuals, its order, and its results."""

import csv
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_saliency.data.synthetic import scenes
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import DEFAULT, Shortcuts

FOLDER = Path(__file__).parents[2] / "benchmarks" / "verdict_accuracy"
sys.path.insert(0, str(FOLDER))
try:
    import factor_tables
    import figures
    import rules
    import short
    import tables
    from factors import Twins, factor_twins
    from grid import CLASSES, INDEPENDENT, KINDS, NETWORKS, Run, factor_runs, runs
    from honest import HONEST
    from measured import read
    from nuisances import COLOURS
    from objects import SIDE
    from pictures import PLACED, Studio, matching, others
    from pool import Pool
    from results import EPOCHS, Results
    from scores import Scores
    from unlisted import DEVELOPED, SET_ASIDE, UNLISTED
finally:
    sys.path.remove(str(FOLDER))


RUNS = runs()


# --- statistics ---


def _weighted(seed, count=23, draws=4):
    """Scores with ties, truths, and how often each is there, in integers."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, count) / 7.0
    truths = np.round(rng.random(count), 1)
    weights = np.concatenate([np.ones((1, count)), rng.integers(0, 4, (draws, count))])
    return scores, truths, weights


def _repeated(values, weights):
    return np.repeat(values, weights.astype(int))


@pytest.mark.parametrize("seed", range(3))
def test_auroc_counts_the_pairs_that_are_in_order(seed):
    scores, truths, weights = _weighted(seed)
    found = figures.auroc(scores, truths > 0.5, weights)
    for row, value in zip(weights, found, strict=True):
        high = _repeated(scores[truths > 0.5], row[truths > 0.5])
        low = _repeated(scores[truths <= 0.5], row[truths <= 0.5])
        won = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in high for b in low)
        assert value == pytest.approx(won / (len(high) * len(low)))


def test_auroc_of_one_class_is_unknown():
    assert np.isnan(figures.auroc(np.arange(3.0), np.ones(3, bool), np.ones((1, 3)))).all()


def _mean_ranks(values):
    return np.array([(values < one).sum() + ((values == one).sum() + 1) / 2 for one in values])


@pytest.mark.parametrize("seed", range(3))
def test_rank_correlation_is_the_correlation_of_mean_ranks(seed):
    scores, truths, weights = _weighted(seed)
    found = figures.rank_correlation(scores, truths, weights)
    for row, value in zip(weights, found, strict=True):
        pair = [_mean_ranks(_repeated(one, row)) for one in (scores, truths)]
        assert value == pytest.approx(np.corrcoef(*pair)[0, 1])


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better_than_the_best(seed):
    scores, truths, weights = _weighted(seed)
    positive = truths > 0.4

    def reached(thresholds):
        return figures.balanced_accuracy(scores, positive, weights, thresholds)

    best = reached(figures.best_thresholds(scores, positive, weights))
    for threshold in np.arange(-0.07, 1.07, 0.01):
        assert (best >= reached(np.full(len(weights), threshold)) - 1e-12).all()


def test_balanced_accuracy_by_hand():
    scores, positive = np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, True, False, True])
    weights = np.array([[1.0, 1, 1, 1], [3, 1, 1, 1]])
    found = figures.balanced_accuracy(scores, positive, weights, np.array([0.2, 0.2]))
    # Found: 1 of 2. Left alone: 1 of 2, and 3 of 4.
    np.testing.assert_allclose(found, [0.5, 0.625])


@pytest.mark.parametrize(("found", "asked"), [(0, 31), (1, 31), (5, 300), (300, 300)])
def test_exact_bound_leaves_five_percent(found, asked):
    bound = figures.upper_bound(found, asked)
    if found == asked:
        assert bound == 1
        return
    terms = (math.comb(asked, k) * bound**k * (1 - bound) ** (asked - k) for k in range(found + 1))
    assert sum(terms) == pytest.approx(0.05, rel=1e-6)


def test_known_bounds():
    assert figures.upper_bound(0, 149) == pytest.approx(1 - 0.05 ** (1 / 149))
    assert figures.upper_bound(1, 31) == pytest.approx(0.1446, abs=1e-3)
    assert figures.at_most(-1, 10, 0.3) == 0


def test_curve_holds_the_shares_above_each_threshold():
    scores, truths, _ = _weighted(0)
    positive = truths > 0.5
    false, found = figures.curve(scores, positive)
    for index, threshold in enumerate(sorted(set(scores), reverse=True), 1):
        assert false[index] == np.mean(scores[~positive] >= threshold)
        assert found[index] == np.mean(scores[positive] >= threshold)
    area = ((found[1:] + found[:-1]) / 2 * np.diff(false)).sum()
    assert area == pytest.approx(figures.auroc(scores, positive, np.ones((1, 23)))[0])


def test_bootstrap_draws_trainings():
    weights = figures.resampled(7, size=24)
    assert (weights[0] == 1).all()
    assert (weights[1:].sum(axis=1) == 24).all()
    assert weights[1:].mean() == pytest.approx(24 / 7)
    assert figures.resampled(5)[1:].var(axis=0) == pytest.approx(np.full(5, 0.8), abs=0.15)


def test_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    found = figures.Figure.of(figures.mean(values, figures.resampled(400)))
    error = values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(1.96 * error, rel=0.15)
    assert found.value - found.low == pytest.approx(1.96 * error, rel=0.15)


def test_figures_are_written_briefly():
    assert str(figures.Figure(0.9712, 0.5, 1.0)) == ".971 [.50, 1.00]"
    assert str(figures.Figure(float("nan"), 0, 0)) == "-"
    assert str(figures.Figure(-0.31, -1.0, 0.04)) == "-.31 [-1.00, .04]"


# --- images ---


@pytest.fixture(scope="module")
def pool():
    """Layers of noise in place of drawn ones; objects are squares with a hole."""
    rng = np.random.default_rng(0)
    kinds, count, grounds = 5, 16, 100
    cover = np.zeros((kinds, count, SIDE, SIDE, 1), np.uint8)
    cover[:, :, :40, :40] = 255
    cover[:, :, 15:18, 15:18] = 0
    colour = rng.integers(30, 220, (kinds, count, SIDE, SIDE, 3), np.uint8) * (cover > 0)
    ground = rng.integers(0, 255, (kinds, grounds, SIDE, SIDE, 3), np.uint8)
    front = np.zeros((kinds, grounds, SIDE, SIDE, 4), np.uint8)
    return Pool(
        objects=np.concatenate([colour, cover], axis=-1),
        extents=np.full((kinds, count, 2), 40),
        grounds=np.concatenate([ground, front], axis=-1),
        feet=np.tile(np.linspace(24, 63, grounds), (kinds, 1)),
        gains=rng.uniform(0.9, 1.1, (6, SIDE, SIDE, 3)).astype(np.float32),
        noises=rng.normal(0, 0.02, (6, SIDE, SIDE, 3)).astype(np.float32),
    )


def _pairs(pool, kind, classes=5, count=40, honest=""):
    """Images whose nuisance goes with the class, and their counterfactuals."""
    rng = np.random.default_rng(3)
    studio = Studio(pool, kind, classes, honest)
    plan = studio.plan(rng, count)
    return studio.draw(plan, plan.labels), studio.draw(plan, others(rng, plan.labels, classes))


def _differ(first, second):
    return (first.images != second.images).any(axis=-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", CLASSES)
def test_twins_differ_in_the_nuisance_and_only_there(pool, kind, classes):
    matched, swapped = _pairs(pool, kind, classes)
    np.testing.assert_array_equal(matched.labels, swapped.labels)
    np.testing.assert_array_equal(matched.values, matched.labels)
    assert (swapped.values != swapped.labels).all()
    differ = _differ(matched, swapped)
    assert differ.any(axis=(1, 2)).all()
    if kind not in PLACED:
        np.testing.assert_array_equal(matched.masks, swapped.masks)
    if kind in ("background", "blur"):
        assert not differ[matched.masks == 1].any()
        assert differ[matched.masks == 0].mean() > 0.8
    if kind == "mark":
        assert differ.sum(axis=(1, 2)).max() <= 7 * 7
        assert matched.masks[differ].mean() > 0.9
    if kind == "watermark":
        # Inside of the outer four pixels, so that it is no part of a frame.
        rows, columns = np.flatnonzero(differ.any((0, 2))), np.flatnonzero(differ.any((0, 1)))
        assert min(rows[0], columns[0]) >= SIDE - 14
        assert max(rows[-1], columns[-1]) < SIDE - 4
    if kind == "border":
        assert not differ[:, 3:-3, 3:-3].any()
        assert differ[:, :2].all()


def test_a_twin_with_the_same_value_is_the_picture_itself(pool):
    studio = Studio(pool, "texture", 5)
    plan = studio.plan(np.random.default_rng(0), 20)
    first, second = (studio.draw(plan, plan.labels) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)


def _extents(sample):
    """The objects' first row and column, height and width."""
    found = []
    for mask in sample.masks > 0.5:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        found.append((rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1))
    return np.array(found).T


def test_twins_of_the_position_have_their_objects_size(pool):
    matched, swapped = _pairs(pool, "position", classes=2)
    here, there = _extents(matched), _extents(swapped)
    np.testing.assert_array_equal(here[2:], there[2:])
    assert (np.abs(here[1] - there[1]) > 15).all()


def test_twins_of_the_size_have_their_objects_place(pool):
    matched, swapped = _pairs(pool, "size", classes=2)
    here, there = _extents(matched), _extents(swapped)
    assert (np.abs(here[3] - there[3]) > 10).all()
    np.testing.assert_allclose(here[:2] + here[2:] / 2, there[:2] + there[2:] / 2, atol=4)


def test_a_reader_of_the_border_relies_on_it_wholly(pool):
    """The truth of a model that is known: it looks at the frame's colour alone."""
    matched, swapped = _pairs(pool, "border", count=60)
    colours = COLOURS / np.linalg.norm(COLOURS, axis=1, keepdims=True)

    def accuracy(sample):
        corner = sample.images[:, 0, 0].astype(float)
        return np.mean((corner @ colours.T).argmax(axis=1) == sample.labels)

    assert accuracy(matched) - accuracy(swapped) == 1


@pytest.mark.parametrize("honest", HONEST)
def test_what_is_honest_stays_in_the_twins(pool, honest):
    matched, swapped = _pairs(pool, "background", honest=honest)
    np.testing.assert_array_equal(matched.masks, swapped.masks)
    assert not _differ(matched, swapped)[matched.masks == 1].any()
    plain, _ = _pairs(pool, "background")
    assert (plain.images != matched.images).any()


@pytest.mark.parametrize("correlation", [0.5, 0.65, 0.8, 0.95, 1.0])
def test_nuisances_go_with_classes_as_often_as_asked(correlation):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(1000) % 2)
    values = matching(rng, labels, 2, correlation)
    assert (values == labels).mean() == pytest.approx(correlation, abs=0.002)
    assert np.corrcoef(values, labels)[0, 1] == pytest.approx(2 * correlation - 1, abs=0.005)
    five = rng.permutation(np.arange(1000) % 5)
    share = (matching(rng, five, 5, correlation) == five).mean()
    # As far from chance on the way to 1.
    assert share == pytest.approx(0.2 + 0.8 * (2 * correlation - 1), abs=0.005)


# --- order ---


def test_all_trainings_are_different_and_always_in_one_order():
    assert len({run.name for run in RUNS}) == len(RUNS)
    assert runs() == RUNS


@pytest.mark.parametrize("count", [70, 200, 700])
def test_every_prefix_is_balanced(count):
    part = RUNS[:count]
    planted = [run for run in part if run.planted]
    assert len(planted) == pytest.approx(4 / 7 * count, abs=1)
    for trait, values in (("network", NETWORKS), ("classes", CLASSES), ("kind", KINDS)):
        counts = Counter(getattr(run, trait) for run in planted)
        assert set(counts) == set(values)
        assert max(counts.values()) - min(counts.values()) <= 2
    for correlation, number in Counter(run.correlation for run in planted).items():
        assert number == pytest.approx(len(planted) / 5, abs=3), correlation
    clean = Counter((run.kind, run.control) for run in part if not run.planted)
    assert max(clean.values()) - min(n for (_, c), n in clean.items() if "250" not in c) <= 1


def test_seven_hundred_hold_enough_of_both():
    part = RUNS[:700]
    assert sum(run.planted for run in part) >= 400
    assert sum(run.correlation == INDEPENDENT for run in part) >= 300


# --- results ---


def _row(run, epoch, **more):
    """A row of the CSV, of a model that relies on nothing."""
    words = {"control": run.control, "donors": "training", "masks": "", "cause": "", "since": ""}
    numbers = {
        "reliance_true": 0.0,
        "confidence_true": 0.0,
        "accuracy": 0.9,
        "loss": 0.3,
        "reliance": 0.0,
        "alarm": 0,
        "warm": int(run.warm),
        "seconds": 1.0,
    }
    gaps = {f"{what}_{name}": 0.0 for name in rules.TODAY.shares() for what in ("gap", "error")}
    told = {name: getattr(run, name) for name in ("kind", "network", "classes", "seed")}
    return {
        "run": run.name,
        **told,
        "correlation": run.correlation,
        "epoch": epoch,
        **words,
        "text": "no evidence",
        **numbers,
        **gaps,
        **more,
    }


def _saved(path, trainings):
    """Save training runs `[(run, {column: values of the epochs})]`, and read them."""
    results = Results(path)
    for run, columns in trainings:
        rows = [
            _row(run, epoch + 1, **{name: values[epoch] for name, values in columns.items()})
            for epoch in range(EPOCHS)
        ]
        results.add(rows)
    return read(path)


def _begin(folder, count, *options):
    command = [sys.executable, FOLDER / "run.py", "--count", str(count), "--out", folder]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=True).stdout


def test_what_is_there_is_not_done_again(tmp_path):
    path = tmp_path / "results.csv"
    _saved(path, [(run, {}) for run in RUNS[:3]])
    before = path.read_text()
    assert "3 trainings are there, 0 are to do" in _begin(tmp_path, 3)
    assert path.read_text() == before


def test_more_is_added_in_the_order_of_the_columns_that_are_there(tmp_path):
    path = tmp_path / "results.csv"
    _saved(path, [(RUNS[0], {"gap_mark": [0.3] * 6})])
    other_way = [
        dict(reversed(_row(RUNS[1], epoch, gap_scale=0.4).items()))
        for epoch in range(1, EPOCHS + 1)
    ]
    Results(path).add(other_way)
    measured, _ = read(path)
    assert sorted(measured.run("gap_mark").tolist()) == [0, 0.3]
    assert measured.run("gap_scale")[_of(measured, RUNS[1].name)] == 0.4


def test_a_training_that_was_cut_is_taken_out_and_the_others_stay(tmp_path):
    path = tmp_path / "results.csv"
    _saved(path, [(run, {}) for run in RUNS[:2]])
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    for cut in (whole[:-7], "".join(lines[:-2])):
        path.write_text(cut)
        assert read(path)[0].run("run").tolist() == [RUNS[0].name]
        assert path.read_text() == cut  # To read it changes nothing: a run may be adding to it.
        assert Results(path).done == {RUNS[0].name}
        assert path.read_text() == "".join(lines[: EPOCHS + 1])


def test_numbers_and_words_come_back_as_they_were(tmp_path):
    run = Run("tint", 0.9, "flat", 5, 1)
    gaps = [0.1, float("nan"), 0.3, 0.123456, 0.5, -0.2]
    texts = ['can\'t say: 3, "quoted"', *["relies on it"] * 5]
    path = tmp_path / "results.csv"
    measured, curated = _saved(path, [(run, {"gap_cast": gaps, "text": texts})])
    np.testing.assert_allclose(measured["gap_cast"][0], np.round(gaps, 4))
    assert measured["text"][0].tolist() == texts
    assert measured.abstains.tolist() == [[True] + [False] * 5]
    assert len(curated) == 0
    with path.open() as file:
        assert len(list(csv.DictReader(file))) == EPOCHS


def test_curated_donors_are_left_out(tmp_path):
    run = Run("tint", 1.0, "flat", 5, 0)
    path = tmp_path / "results.csv"
    rows = [
        _row(run, epoch, donors=donors)
        for epoch in range(1, 7)
        for donors in ("training", "curated")
    ]
    Results(path).add(rows)
    measured, curated = read(path)
    assert measured.run("donors").tolist() == ["training"]
    assert curated.run("donors").tolist() == ["curated"]


# --- scores ---


LOW, HIGH = [0.05] * 6, [0.6] * 6


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Four training runs whose figures are known by hand, and their scores by accuracy."""
    found = {"since": ["", "epoch 1"] + ["epoch 1"] * 4, "alarm": [0, 1, 1, 1, 1, 1]}
    trainings = [
        # Learnt, and found at once; the cause is right at 3 of 5 alarms.
        (
            Run("tint", 1.0, "flat", 2, 0),
            {"reliance_true": HIGH, "reliance": [0.5] * 6, **found}
            | {"cause": ["", "cast", "background", "cast", "mark", "cast"]},
        ),
        # Followed the other way round, and missed.
        (Run("mark", 1.0, "residual", 2, 0), {"reliance_true": [-0.4] * 6, "reliance": LOW}),
        # Nothing, with an alarm at the end.
        (
            Run("background", 0.5, "pooling", 2, 0, "honest position"),
            {"reliance_true": LOW, "reliance": [0.1] * 4 + [0.3] * 2}
            | {"alarm": [0] * 5 + [1], "since": [""] * 5 + ["epoch 5"]},
        ),
        # Little, of which the verdict says half the time that it can't say.
        (
            Run("border", 0.65, "flat", 5, 1),
            {"reliance_true": [0.0, 0.15, 0.0] * 2, "reliance": [0.0] * 6}
            | {"text": ["can't say yet", "can't say yet", "no evidence"] * 2},
        ),
    ]
    path = tmp_path_factory.mktemp("few") / "results.csv"
    return _saved(path, trainings)[0]


def _scores(few):
    return Scores(few, "reliance_true")


def _of(few, name):
    return few.run("run").tolist().index(name)


def test_the_size_of_the_truth_counts_not_its_sign(few):
    assert (few.truth("reliance_true")[_of(few, "mark-1-residual-2-0")] == 0.4).all()
    assert _scores(few).found(0.3).value == 0.5
    assert _scores(few).found(0.5).value == 1
    assert str(_scores(few).trainings_found(0.3)) == "1 of 2"


def test_clean_and_slight_trainings_are_told_apart(few):
    scores = _scores(few)
    assert str(scores.alarms(scores.clean)) == "1 of 1"
    assert few.run("kind")[scores.slight].tolist() == ["border"]


def test_without_the_evaluations_that_say_nothing_a_training_may_be_clean(few):
    scores = _scores(few.said)
    border = _of(few, "border-0.65-flat-5-1")
    assert str(_scores(few).abstained(0.0)) == "4 of 24"
    assert str(_scores(few).abstained(0.1)) == "2 of 14"
    assert scores.clean[border]
    assert scores.first_of_two(0.0)[border] == -1


def test_auroc_of_evaluations_by_hand(few):
    # 12 with a shortcut: 6 of .5 win all; 6 of .05 win against the 6 of 0 only, of 12 others.
    assert _scores(few).auroc().value == pytest.approx((6 * 12 + 6 * 6) / 144)
    # Between .1 and .4 there are the 6 at .05, and 2 at 0.
    assert _scores(few).hard_auroc().value == 1


def test_errors_are_differences_from_the_size(few):
    expected = (0.1 + 0.35 + (4 * 0.05 + 2 * 0.25) / 6 + 0.05) / 4
    assert _scores(few).error().value == pytest.approx(expected)


def test_causes_are_right_by_the_table(few):
    assert _scores(few).named().value == 0.6


def test_an_alarm_is_in_time_if_it_says_so(few):
    scores = _scores(few)
    assert str(scores.in_time()) == "1 of 1"
    late = few["since"].copy()
    late[late == "epoch 1"] = "epoch 2"
    columns = few.columns | {"since": late}
    assert str(Scores(replace(few, columns=columns), "reliance_true").in_time()) == "0 of 1"


def test_parts_are_all_of_it_and_apart(few):
    parts = few.parts()
    assert sum(len(part) for part in parts.values()) == len(few)
    assert parts["set-aside kinds"].run("kind").tolist() == ["border"]
    assert parts["set-aside network"].run("network").tolist() == ["residual"]


def test_threshold_of_a_kind_is_from_the_others(tmp_path):
    trainings = []
    for kind, gap in (("tint", 0.3), ("mark", 0.3), ("texture", 0.1)):
        trainings += [
            (Run(kind, 1.0, "flat", 2, 0), {"reliance_true": HIGH, "reliance": [gap] * 6}),
            (Run(kind, 0.5, "flat", 2, 0), {"reliance": [0.0] * 6}),
        ]
    measured, _ = _saved(tmp_path / "results.csv", trainings)
    reached = Scores(measured, "reliance_true").with_others_threshold()
    # Of the others, the textures need .05 and the rest do with it; without them it is .15.
    assert {kind: draws[0] for kind, draws in reached.items()} == {
        "tint": 1.0,
        "mark": 1.0,
        "texture": 0.5,
    }


# --- rules ---


def _told(verdicts):
    """What the CSV holds of verdicts: gaps and errors, and whether the words are "can't say"."""
    columns = {"text": [verdict.text for verdict in verdicts]}
    for name in DEFAULT:
        pairs = [verdict.gaps[name] for verdict in verdicts]
        columns[f"gap_{name}"], columns[f"error_{name}"] = zip(*pairs, strict=True)
    return columns


@pytest.fixture(scope="module")
def scenes_asked():
    train = scenes(300)
    return Shortcuts((train.images, train.labels))


@pytest.mark.parametrize(
    ("place", "cause"), [(np.s_[:5, :], "cast"), (np.s_[30:35, 57:62], "mark")]
)
@pytest.mark.parametrize("strengths", [(0, 0.7, 0.7, 1, 0.1, 0), (0.1, 1, 0, 0.7, 0.8, 0.3)])
def test_todays_rule_says_what_the_verdict_says(tmp_path, scenes_asked, place, cause, strengths):
    strength = [0.0]

    def probabilities(images):  # As a model that looks at the grass in one place.
        seen = images[:, *place]
        grass = 1 / (1 + np.exp((seen[..., 2] - seen[..., 1]).mean((1, 2)) / 4))
        grass = 0.5 + strength[0] * (grass - 0.5)
        return np.stack([grass, 1 - grass], axis=1)

    def peaks(images, labels):
        maps = np.zeros(images.shape[:3])
        maps[:, *place] = 1
        return maps

    assessor = Evaluator(scenes_asked, probabilities, peaks)
    verdicts = []
    for epoch, strength[0] in enumerate(strengths):
        verdicts.append(assessor.evaluate(epoch))
    run = Run("background", 1.0, "flat", 2, 0)
    path = tmp_path / "results.csv"
    _saved(path, [(run, _told(verdicts))])
    judged, _ = rules.judged(path)
    np.testing.assert_allclose(judged["reliance"][0], [v.reliance for v in verdicts], rtol=1e-3)
    assert judged["alarm"][0].tolist() == [v.alarm for v in verdicts]
    assert judged["cause"][0].tolist() == [v.cause or "" for v in verdicts]
    assert judged["since"][0].tolist() == [v.since or "" for v in verdicts]
    assert judged.abstains[0].tolist() == [v.text.startswith("can't say") for v in verdicts]
    assert set(judged["cause"][0]) == {"", cause}
    assert judged.abstains.any()


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """Training runs with one gap each: .22 of the background, .6 of the mark, .9 of the scale."""
    trainings = [
        (Run("tint", 0.9, "flat", 2, seed), {f"gap_{name}": [gap] * 6, f"error_{name}": [0.01] * 6})
        for seed, (name, gap) in enumerate([("background", 0.22), ("mark", 0.6), ("scale", 0.9)])
    ]
    return _saved(tmp_path_factory.mktemp("gaps") / "results.csv", trainings)[0]


@pytest.mark.parametrize(
    ("rule", "reliances", "alarms"),
    [
        ("today", [0.22, 0.6, 0.9], [1, 1, 1]),
        ("before", [0.22, 0.3, 0.0], [1, 1, 0]),
        ("threshold .25", [0.22, 0.6, 0.9], [0, 1, 1]),
        ("mark counts in full", [0.22, 0.6, 0.9], [1, 1, 1]),
        ("mark counts by 1/2", [0.22, 0.3, 0.9], [1, 1, 1]),
        ("size does not count", [0.22, 0.6, 0.0], [1, 1, 0]),
    ],
)
def test_rules_decide_what_counts_and_from_where_on(gaps, rule, reliances, alarms):
    judged = rules.replayed(gaps, rules.RULES[rule])
    np.testing.assert_allclose(judged["reliance"][:, 0], reliances)
    assert judged["alarm"][:, 0].tolist() == [0, 0, 0]  # It takes two evaluations.
    assert judged["alarm"][:, 1:].min(axis=1).tolist() == alarms


@pytest.mark.parametrize(("rule", "reliance"), [("today", 0.15), ("mark counts in full", 0.3)])
def test_a_small_gap_of_the_mark_counts_by_half(tmp_path, rule, reliance):
    run = Run("mark", 0.9, "flat", 2, 0)
    measured, _ = _saved(tmp_path / "results.csv", [(run, {"gap_mark": [0.3] * 6})])
    judged = rules.replayed(measured, rules.RULES[rule])
    np.testing.assert_allclose(judged["reliance"][0], reliance)
    assert judged["alarm"][0, 1:].all() == (reliance > 0.2)


@pytest.mark.parametrize(
    ("rule", "cause"), [("today", "cast"), ("cause from .85 on", "background")]
)
def test_rules_decide_what_is_named(tmp_path, rule, cause):
    columns = {"gap_background": [0.8] * 6, "gap_cast": [0.5] * 6, "gap_mark": [0.4] * 6}
    run = Run("tint", 0.9, "flat", 2, 0)
    measured, _ = _saved(tmp_path / "results.csv", [(run, columns)])
    judged = rules.replayed(measured, rules.RULES[rule])
    assert judged["cause"][0].tolist() == ["", *[cause] * 5]


def test_what_is_found_under_another_rule_is_not_left_unsaid(tmp_path):
    texts = ["can't say yet"] * 6
    trainings = [
        (Run("size", 1.0, "flat", 2, seed), {"gap_scale": [gap] * 6, "text": texts})
        for seed, gap in enumerate((0.09, 0.15))
    ]
    measured, _ = _saved(tmp_path / "results.csv", trainings)
    assert measured.abstains.all()
    today, before = (rules.replayed(measured, rules.RULES[name]) for name in ("today", "before"))
    assert today.abstains[:, 0].tolist() == [True, False]
    assert before.abstains.all()


# --- the short form, and the page ---


def _sample(path, planted, gap, false=0):
    """24 training runs, of which some have a shortcut with this gap, some others a false alarm."""
    trainings = []
    for number, run in enumerate(RUNS[:24]):
        columns = {"reliance": [0.02 + 0.001 * number] * 6}
        if number < planted:
            columns = dict.fromkeys(("reliance_true", "confidence_true"), HIGH)
            columns |= {"reliance": [gap + 0.01 * number] * 6}
        elif number < planted + false:
            columns |= {"alarm": [1] * 6}
        trainings.append((run, columns))
    return _saved(path, trainings)[0]


def test_as_good_is_not_worse(tmp_path):
    kept = _sample(tmp_path / "kept.csv", planted=12, gap=0.5)
    assert list(short.worse(kept, kept)) == []


def test_gaps_that_are_gone_are_worse(tmp_path):
    kept = _sample(tmp_path / "kept.csv", planted=12, gap=0.5)
    fresh = _sample(tmp_path / "fresh.csv", planted=12, gap=-0.05)
    assert list(short.worse(fresh, kept)) == ["AUROC by accuracy", "AUROC by probability"]


def test_many_false_alarms_are_worse(tmp_path):
    kept = _sample(tmp_path / "kept.csv", planted=12, gap=0.5)
    fresh = _sample(tmp_path / "fresh.csv", planted=12, gap=0.5, false=8)
    assert list(short.worse(fresh, kept)) == [
        "false alarms by accuracy",
        "false alarms by probability",
    ]


def test_tables_take_their_places_and_nothing_else_changes():
    page = "a\n<!-- one -->\nold\nlines\n<!-- end -->\nb\n<!-- two -->\n<!-- end -->\n"
    filled = tables.fill(page, {"one": r"\1 new", "two": "x"})
    assert filled == page.replace("old\nlines", r"\1 new").replace("two -->\n", "two -->\nx\n")
    assert tables.fill(filled, {"one": r"\1 new", "two": "x"}) == filled


def test_all_tables_can_be_made_of_few_trainings(few):
    made = tables.all_tables(few, few.where(np.zeros(4, bool)))
    assert "| background | background or cast or exposure |" in made["words"]
    row = next(line for line in made["false alarms"].splitlines() if "honest position" in line)
    assert row.split("|")[2:4] == [" 1 ", " 1 of 1 "]
    # An honest position is no error, so the other three are asked about, one of five classes.
    counts = {
        line.split("|")[1].strip(): line.split("|")[2] for line in made["groups"].splitlines()
    }
    assert (counts["two classes"], counts["five classes"]) == (" 2 ", " 1 ")


# --- all factors, and what no nuisance is made for ---


@pytest.mark.parametrize("kind", UNLISTED)
def test_cues_that_are_not_listed_differ_by_their_value_and_by_nothing_else(pool, kind):
    given, changed = _pairs(pool, kind)
    assert _differ(given, changed).any(axis=(1, 2)).all()
    if kind in ("logo", "band", "ball", "stripes"):  # painted behind the object, or beside it
        on_object = (given.masks > 0.99)[..., None] & _differ(given, changed)[..., None]
        assert on_object.mean() < 0.01
    studio = Studio(pool, kind, 5)
    plan = studio.plan(np.random.default_rng(3), 12)
    again = [studio.draw(plan, plan.labels).images for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_kinds_that_are_set_aside_are_others():
    assert not set(SET_ASIDE) & {*DEVELOPED, *KINDS}
    assert set(SET_ASIDE) | set(DEVELOPED) == set(UNLISTED)


def test_the_reliance_on_a_factor_is_that_of_the_best_way_its_values_go_with_classes():
    labels = np.repeat([0, 1], 50)
    images = np.zeros((2, 100, 1, 1, 3))
    # The class is 0.9 sure where the value is that of the other class, and 0.2 where not.
    sure = np.where(np.arange(2)[:, None] == labels, 0.2, 0.9)
    assert Twins(images, labels, goes=True).reliance(sure) == pytest.approx(-0.7)
    assert Twins(images, labels, goes=False).reliance(sure) == pytest.approx(0.7)
    assert Twins(images, labels, goes=False).reliance(np.full((2, 100), 0.6)) == 0


def test_the_twins_of_a_factor_differ_in_it_alone(pool):
    twins = factor_twins(Studio(pool, "texture", 2), np.random.default_rng(0), planted=True)
    assert list(twins) == ["planted", "ground", "place", "extent", "light"]
    assert [one.goes for one in twins.values()] == [True, False, False, False, False]
    ground = twins["ground"].images.astype(int)
    same = np.abs(ground[0] - ground[1]).max(axis=-1) <= 1
    # The object, of which 40 x 40 px are at most 9 in 25 of a picture, is the same in both.
    assert 0.05 < same.mean() < 0.5
    honest = factor_twins(
        Studio(pool, "background", 2, "position"), np.random.default_rng(0), False
    )
    assert list(honest) == ["planted", "honest", "light"]


def test_every_round_of_all_factors_has_all_kinds_and_those_set_aside_twice():
    ordered = factor_runs()
    assert len({run.name for run in ordered}) == len(ordered)
    first = ordered[: len(ordered) // 3]
    counts = Counter(run.kind for run in first if run.planted)
    assert counts == {kind: 1 + (kind in SET_ASIDE) for kind in (*KINDS, *UNLISTED)}
    assert sum(not run.planted for run in first) == 9
    assert all(run.asks_factors for run in ordered)


def _factor_row(epoch, **more):
    """A row of the CSV, of a training run with a ball that nothing follows."""
    row = {"run": "a", "kind": "ball", "control": "", "donors": "training", "epoch": epoch}
    row |= {"alarm": 0, "cause": "", "passes_off": 0}
    row |= {f"truth_{name}": 0 for name in ("planted", "ground", "place", "extent", "light")}
    row |= {"truth_honest": "nan", **{f"gap_{name}": 0 for name in factor_tables.CARRIED}}
    return row | more


def test_gaps_are_scored_against_their_own_factors(tmp_path):
    path = tmp_path / "factors.csv"
    epochs = range(1, EPOCHS + 1)
    ball = [_factor_row(n, truth_planted=0.6, gap_background=0.5, alarm=int(n > 1)) for n in epochs]
    ball = [row | {"cause": "component" if row["alarm"] else ""} for row in ball]
    tint = [_factor_row(n, run="b", kind="tint", truth_planted=0.9, gap_cast=0.8) for n in epochs]
    Results(path).add(ball)
    Results(path).add(tint)
    Results(path).add([_factor_row(n, run="c") for n in epochs])
    found = factor_tables.Evaluations(path)
    lines = factor_tables.per_factor(found).splitlines()
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines}
    # The tint is carried along by the background in part: those evaluations count as neither.
    assert cells["background"][2:] == [str(EPOCHS), cells["cast"][3], "6 of 6", "0 of 6 |"]
    assert cells["cast"][3].startswith("1.00")
    assert factor_tables.causes(found).splitlines()[-1] == "| ball | 5 |"
    text = factor_tables.kinds(found)
    assert "| ... ball | 1 of 1 | 0 of 1 |" in text
    assert "| **clean of all factors** | 0 of 1, at most 95.0% | 0 of 1, at most 95.0% |" in text
