"""Few images: receivers are donors too, never with themselves."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.label_leakage import leakage_of
from keras_saliency.shortcuts.nuisances import Nuisance
from keras_saliency.shortcuts.statistics import carry_coefficient, interval_of, student_quantile
from keras_saliency.shortcuts.tasks.classification import Classification
from keras_saliency.shortcuts.tasks.multi_label import MultiLabel
from keras_saliency.shortcuts.tasks.regression import Regression

FOLDER = Path(__file__).parents[2] / "benchmarks" / "verdict_accuracy"
sys.path.insert(0, str(FOLDER))
try:
    from coverage import coverage
finally:
    sys.path.remove(str(FOLDER))

OBJECT = (slice(8, 16), slice(12, 22))


def pictures(per_class=20, agreeing=1.0, seed=0):
    """Squares on a ground whose green goes with the class; every picture is another."""
    rng = np.random.default_rng(seed)
    labels = np.arange(2 * per_class) % 2
    grounds = np.where(rng.random(len(labels)) < agreeing, labels, 1 - labels)
    images = np.full((len(labels), 24, 40, 3), 60, np.uint8)
    images[..., 1] = np.where(grounds, 200, 50)[:, None, None]
    images[:, *OBJECT] = np.where(labels, 220, 30)[:, None, None, None]
    images[:, 0, 0, 2] = np.arange(len(labels))
    masks = np.zeros((len(labels), 24, 40), np.float32)
    masks[:, *OBJECT] = 1
    return images, labels, masks


def of_ground(x):
    return np.clip(x[:, 4, 20, 1] / 255, 0, 1)


def of_object(x):
    return np.clip(x[:, 12, 16, 1] / 255, 0, 1)


def evaluated(data, model, **options):
    evaluator = Evaluator(Shortcuts(data, nuisances=["background", "frame"], **options), model)
    evaluator.evaluate(0)
    return evaluator.evaluate(1)


def test_twenty_pictures_a_class_tell_what_is_relied_on_and_what_is_not():
    caught = evaluated(pictures(), of_ground)
    assert (caught.alarm, caught.cause) == (True, "background")
    assert caught.gaps["background"][0] == pytest.approx(150 / 255, abs=0.01)
    assert "few pictures, with receivers as donors" in caught.text
    honest = evaluated(pictures(), of_object)
    assert not honest.alarm
    assert honest.text.startswith("no evidence of background, frame")


def test_nineteen_are_too_few_and_told_so():
    with pytest.warns(UserWarning, match="19 pictures a class, 20 needed"):
        few = Shortcuts(pictures(19))
    assert few.origins is None
    assert Evaluator(few, of_ground).evaluate(0).text == "can't say: 19 pictures a class, 20 needed"


def test_enough_pictures_are_shared_out_as_ever():
    assert Shortcuts(pictures(80)).origins is None
    own, theirs = Shortcuts(pictures(79)).origins
    assert (len(own), len(theirs)) == (64, 158)


def test_no_receiver_is_its_own_donor():
    seen = []

    def swap(receivers, donors, i, j):
        seen.append((receivers.pixels[i, 0, 0, 2], donors.pixels[j, 0, 0, 2]))
        return receivers.pixels[i].astype("float32")

    shortcuts = Shortcuts(pictures(), nuisances=[Nuisance("none", "nothing", swap)])
    seen.clear()  # What was tried out on one image.
    Evaluator(shortcuts, of_object).evaluate(0)
    own, theirs = map(np.concatenate, zip(*seen, strict=True))
    assert not (own == theirs).any()
    assert set(own) == set(range(40)) > set(theirs)


@pytest.mark.parametrize(
    ("task", "receivers", "donors"),
    [
        (Classification(2), [0] * 5, [0] * 5 + [1] * 5),
        (MultiLabel(1), [0] * 5, [0] * 5 + [1] * 5),
        (Regression(), np.arange(5.0), np.arange(10.0)),
    ],
)
def test_what_is_barred_is_not_drawn(task, receivers, donors):
    barred = np.zeros((5, 10), bool)
    barred[:, [0, 3, 6]] = True
    drawn = task.draw(np.array(receivers), np.array(donors), np.random.default_rng(0), barred)
    assert not np.isin(drawn, [0, 3, 6]).any()
    assert all(len(set(row)) == 4 for row in drawn.reshape(5, -1).tolist())


def test_an_alarm_asks_that_the_lower_end_passes_half_of_the_threshold():
    shortcuts = Shortcuts(pictures(agreeing=0.75, seed=1), nuisances=["background"])
    evaluator = Evaluator(shortcuts, lambda x: 0.5 + 0.9 * (of_ground(x) - 0.5))
    verdicts = [evaluator.evaluate(step) for step in range(4)]
    assert all(verdict.intervals["background"][0] < 0.1 for verdict in verdicts)
    assert all(verdict.gaps["background"][0] > 0.2 for verdict in verdicts)
    assert not any(verdict.alarm for verdict in verdicts)


def test_no_components_are_tested_and_no_image_tells_its_label_twice():
    shortcuts = Shortcuts(pictures(32))
    assert shortcuts.component_sets is None
    assert len(leakage_of(shortcuts).scores) > 0


def test_a_label_and_numbers_take_32_receivers():
    images, labels, masks = pictures(33)
    rows = np.stack([labels, np.ones_like(labels)], axis=1)
    assert Shortcuts((images, rows, masks)).obstacle is None
    values = np.linspace(0, 1, 66)
    assert Shortcuts((images[:33], values[:33], masks[:33])).obstacle is None
    with pytest.warns(UserWarning, match="31 pictures, 32 needed"):
        Shortcuts((images[:31], values[:31], masks[:31]))


@pytest.mark.parametrize("freedom", [10, 15, 19, 31, 63])
def test_the_quantile_is_students(freedom):
    assert student_quantile(freedom) == pytest.approx(student.ppf(0.975, freedom), abs=1e-3)


def test_the_error_sums_all_pairs_that_share_an_image():
    rng = np.random.default_rng(0)
    count, labels = 12, np.arange(12) % 2
    drawn = Classification(2).draw(labels, labels, rng, np.eye(count, dtype=bool))
    answers = rng.random(drawn.shape) + rng.normal(0, 2, count)[drawn]
    steps = np.broadcast_to(np.array([[0.5], [-0.5]]), drawn.shape)
    slope, error = carry_coefficient(answers, steps, drawn, np.arange(count))
    residuals = answers - answers.mean((1, 2), keepdims=True) - slope * steps
    excess = (steps * residuals / (steps**2).sum()).reshape(count, 4)
    donors, variance, larger = drawn.reshape(count, 4), 0.0, 4 / 3
    for i, a in np.ndindex(count, 4):
        for k, b in np.ndindex(count, 4):
            j, m = int(donors[i, a]), int(donors[k, b])
            shared = (i == k) + larger * ((i == m) + (j == k)) + larger**2 * (j == m)
            if {i, j} == {k, m}:  # The same two images: once, not twice.
                shared -= larger**2
            variance += shared * excess[i, a] * excess[k, b]
    assert error**2 == pytest.approx(variance * count / (count - 2))


@pytest.mark.parametrize(("agreeing", "quirks"), [(0.5, 0.1), (0.95, 0.0)])
def test_intervals_cover_the_truth_in_simulations(agreeing, quirks):
    student_alone, as_shown = coverage(20, agreeing, quirks, trials=600, seed=1)
    assert 0.92 <= student_alone <= 0.97
    assert as_shown >= 0.95


def test_the_interval_is_wider_of_few():
    assert interval_of((0.5, 0.1), 40)[0] == pytest.approx(0.5 - 0.2093 - 0.07, abs=1e-3)
    assert interval_of((0.5, 0.1))[0] == pytest.approx(0.5 - 0.2 - 0.07)
