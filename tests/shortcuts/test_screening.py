"""What a small trial settles, and what it leaves to a full one: models whose reliance is known."""

from dataclasses import replace

import numpy as np
import pytest

from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.nuisances import NUISANCES
from keras_saliency.shortcuts.screening import is_clear, some_donors, some_receivers
from keras_saliency.shortcuts.statistics import Alarm
from keras_saliency.shortcuts.tasks import Classification, MultiLabel, Regression

SIZE = (24, 40)
BOX = (slice(8, 16), slice(12, 22))
TWO = Classification(2)


def numbered_pictures(per_class=200, classes=2):
    """Objects that show their class and a number of 0 to 250, on grounds of the class's green."""
    labels = np.tile(np.arange(classes), per_class)
    numbers = np.random.default_rng(0).integers(0, 251, len(labels))
    images = np.full((len(labels), *SIZE, 3), 60, np.uint8)
    images[..., 1] = (20 + 200 * labels // (classes - 1))[:, None, None]
    images[:, *BOX] = 90
    images[:, 10, 14, 0], images[:, 10, 16, 0] = 250 * labels // (classes - 1), numbers
    masks = np.zeros((len(labels), *SIZE), np.float32)
    masks[:, *BOX] = 1
    return images, labels, masks


def number_of(images):
    return images[:, 10, 16, 0]


class Relying:
    """Follows the ground in a share of the objects, and in all others the object itself.

    The share is the reliance: the probability of the class that is lost on other grounds.
    """

    def __init__(self, share):
        self.share, self.asked = share, 0

    def __call__(self, images):
        self.asked += len(images)
        ground, own = images[:, 4, 20, 1] > 120, images[:, 10, 14, 0] > 120
        second = np.where(number_of(images) < 251 * self.share, ground, own).astype(float)
        return np.stack([1 - second, second], axis=1)


def evaluations(model, count=30, nuisances=("background", "texture"), **options):
    """Verdicts of evaluators that know nothing of each other."""
    shortcuts = Shortcuts(numbered_pictures(), nuisances=nuisances)
    return shortcuts, [Evaluator(shortcuts, model, **options).evaluate(k) for k in range(count)]


@pytest.mark.parametrize("share", [0.5, 0.7, 1.0])
def test_a_large_reliance_is_always_measured_in_full(share):
    _, verdicts = evaluations(Relying(share))
    assert {verdict.receivers["background"] for verdict in verdicts} == {64}
    assert min(verdict.gaps["background"][0] for verdict in verdicts) > 0.2


def test_where_nothing_is_relied_on_a_few_receivers_tell():
    model = Relying(0)
    _, verdicts = evaluations(model)
    for verdict in verdicts:
        assert verdict.receivers == {"background": 16, "texture": 16}
        assert verdict.gaps == {"background": (0, 0), "texture": (0, 0)}
        assert verdict.text == "no evidence of background, texture"
    # 60 donors, the 4 receivers that are shown, and 2 pairs a receiver and nuisance.
    assert model.asked == len(verdicts) * (64 + 2 * 2 * 16)


def test_a_gap_that_was_noticed_by_chance_is_not_enlarged():
    """A full trial has draws of its own: where all donors agree, the share of all receivers."""
    shortcuts, verdicts = evaluations(Relying(0.12), count=60)
    numbers = number_of(shortcuts.to_input(shortcuts.receivers.pixels))
    share = float((numbers < 251 * 0.12).mean())
    full = [v.gaps["background"][0] for v in verdicts if v.receivers["background"] == 64]
    small = [v.gaps["background"][0] for v in verdicts if v.receivers["background"] == 16]
    assert len(full) > 10
    assert len(small) > 10
    assert full == pytest.approx([share] * len(full))
    assert max(small) < 0.1


def test_the_error_of_a_small_trial_is_the_spread_of_its_gap():
    def model(images):  # A receiver loses or gains up to .15, depending on its number.
        strength = (number_of(images) - 125) / 125 * 0.15
        own = np.where(images[:, 10, 14, 0] > 120, 1, -1)
        ground = np.where(images[:, 4, 20, 1] > 120, 1, -1)
        second = 0.5 + 0.3 * own + strength * ground / 2
        return np.stack([1 - second, second], axis=1)

    _, verdicts = evaluations(model, count=150, nuisances=["background"])
    assert {verdict.receivers["background"] for verdict in verdicts} == {16}
    gaps, errors = np.array([verdict.gaps["background"] for verdict in verdicts]).T
    # It is for new receivers; a part of these is the same every time, and none comes twice.
    assert 0.6 < gaps.std() / np.sqrt((errors**2).mean()) < 1.1


def test_an_alarm_that_stands_ends_below_half_of_the_threshold_and_not_before():
    model = Relying(0.6)
    shortcuts = Shortcuts(numbered_pictures(), nuisances=["background", "texture"])
    evaluator = Evaluator(shortcuts, model)
    assert [evaluator.evaluate(k).alarm for k in range(3)] == [False, True, True]
    model.share = 0.17
    assert all(evaluator.evaluate(k).alarm for k in range(3, 8))
    verdict = evaluator.evaluate(8)
    assert verdict.receivers == {"background": 64, "texture": 16}
    assert set(verdict.intervals) == {"background"}
    model.share = 0
    assert not evaluator.evaluate(9).alarm


def test_what_an_alarm_of_before_was_about_is_measured_in_full():
    shortcuts = Shortcuts(numbered_pictures(), nuisances=["background", "texture"])
    alarm = Alarm(0.2, since="epoch 1", is_on=True)
    evaluator = Evaluator(shortcuts, Relying(0.12), alarm=alarm)
    assert evaluator.evaluate(2).receivers == {"background": 64, "texture": 64}
    assert evaluator.evaluate(3).receivers == {"background": 64, "texture": 16}


def test_only_patches_of_images_that_are_drawn_are_located():
    located = []

    def maps(images, labels):
        located.append(len(images))
        return np.broadcast_to(np.arange(SIZE[1]), images.shape[:3])  # the outermost column

    model = Relying(0)
    shortcuts = Shortcuts(numbered_pictures(), nuisances=["mark", "texture"])
    evaluator = Evaluator(shortcuts, model, maps)
    for step in range(5):
        evaluator.evaluate(step)
    assert len(located) == 5
    assert max(located) <= 16 + 16


def test_a_patch_is_located_anew_in_every_evaluation():
    at = {"column": 5}

    def maps(images, labels):
        result = np.zeros(images.shape[:3])
        result[:, 12, at["column"]] = 1
        return result

    seen = []

    def spots_of(receivers, donors, i, j):
        seen.append((receivers.spots[i][:, 0], donors.spots[j][:, 0]))
        return receivers.pixels[i].astype(np.float32)

    mark = replace(NUISANCES["mark"], name="my_mark", twins=spots_of)
    evaluator = Evaluator(Shortcuts(numbered_pictures(), nuisances=[mark]), Relying(0), maps)
    for column in (5, 30):
        at["column"] = column
        seen.clear()
        evaluator.evaluate(0)
        for own, theirs in seen:
            assert (own == (12, column)).all()
            assert (theirs == (12, column)).all()


def test_receivers_are_balanced_drawn_anew_and_hold_those_that_are_shown():
    labels = np.repeat(np.arange(2), 32)
    shown = np.array([0, 20, 40, 63])
    rng = np.random.default_rng(0)
    drawn = [some_receivers(TWO, labels, shown, rng) for _ in range(40)]
    for index in drawn:
        assert len(np.unique(index)) == 16
        assert np.bincount(labels[index]).tolist() == [8, 8]
        assert set(shown) <= set(index)
    counts = np.bincount(np.concatenate(drawn), minlength=64)
    others = np.delete(counts, shown)
    assert others.min() > 0
    assert others.mean() == pytest.approx(40 * 12 / 60)


@pytest.mark.parametrize(
    ("task", "labels", "counts"),
    [
        (Classification(10), np.tile(np.arange(10), 64), [8] * 10),
        (MultiLabel(2), np.tile(np.arange(4), 64), [15] * 4),
        (Regression(), np.linspace(0, 1, 128), None),
    ],
)
def test_donors_are_balanced_whatever_the_task(task, labels, counts):
    drawn = some_donors(task, labels, np.random.default_rng(0))
    assert len(np.unique(drawn)) == sum(counts or [60])
    if counts is not None:
        assert np.bincount(labels[drawn]).tolist() == counts
    assert len(some_donors(task, labels[:12], np.random.default_rng(0))) == 12


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        ((0.0, 0.0), True),
        ((0.09, 0.05), True),
        ((0.09, 0.056), False),  # .202 is two errors away
        ((0.1, 0.0), False),
        ((-0.5, 0.3), True),
        ((float("nan"), 0.0), False),
    ],
)
def test_a_gap_is_clear_where_it_cant_be_large(gap, expected):
    assert is_clear(gap, Alarm(0.2)) == expected
    twice = gap[0] * 2, gap[1] * 2
    assert is_clear(twice, Alarm(0.4)) == expected


def test_regression_and_few_receivers_are_evaluated_too():
    images, labels, masks = numbered_pictures()
    values = labels * 2.0 + np.linspace(0, 0.1, len(labels))
    nothing = lambda x: x[:, 10, 14, 0] / 125  # noqa: E731
    verdict = Evaluator(Shortcuts((images, values, masks), nuisances=["background"]), nothing)
    found = verdict.evaluate(0)
    assert found.receivers == {"background": 16}
    assert found.gaps["background"][0] == pytest.approx(0, abs=1e-9)
    ground = lambda x: x[:, 4, 20, 1] / 100  # noqa: E731
    verdict = Evaluator(Shortcuts((images, values, masks), nuisances=["background"]), ground)
    assert verdict.evaluate(0).receivers == {"background": 64}
    chosen = (images[:24], labels[:24], masks[:24])
    rest = (images[24:], labels[24:], masks[24:])
    with pytest.warns(UserWarning, match="24 receivers are few"):
        few = Shortcuts(rest, receivers=chosen, nuisances=["background"])
    assert Evaluator(few, Relying(0)).evaluate(0).receivers == {"background": 24}
