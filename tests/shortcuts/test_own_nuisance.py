"""A nuisance of the user's own."""

import numpy as np
import pytest

import keras_saliency as ks
from keras_saliency.shortcuts.evaluator import Evaluator

LOGO = (slice(2, 5), slice(30, 34))


def swap_logo(receivers, donors, i, j):
    twins = receivers.pixels[i].astype(np.float32)
    twins[:, *LOGO] = donors.pixels[j][:, *LOGO]
    return twins


def pictures():
    """Grey pictures of 24 x 40 with a logo that is 51 or 204 bright, by class."""
    labels = np.arange(220) % 2
    images = np.random.default_rng(0).integers(80, 120, (220, 24, 40, 3), np.uint8)
    images[:, *LOGO] = np.array([51, 204])[labels][:, None, None, None]
    masks = np.zeros((220, 24, 40), np.float32)
    masks[:, 10:20, 5:15] = 1
    return images, labels, masks


def brightness_of_logo(images):
    second = images[:, *LOGO].mean((1, 2, 3)) / 255
    return np.stack([1 - second, second], axis=1)


def judged(nuisances):
    assessor = Evaluator(ks.Shortcuts(pictures(), nuisances=nuisances), brightness_of_logo)
    assessor.evaluate(0)
    return assessor.evaluate(1)


def test_its_gap_is_measured_and_named():
    verdict = judged(["frame", ks.Nuisance("logo", "the logo", swap_logo)])
    assert verdict.gaps["logo"] == pytest.approx((0.6, 0), abs=1e-6)
    assert verdict.text == (
        "relies on the logo (gap 0.60 ± 0.00, between 0.53 and 0.67) since epoch 1"
    )


def test_it_is_narrower_than_what_carries_it_along():
    verdict = judged(["background", ks.Nuisance("logo", "the logo", swap_logo)])
    assert verdict.gaps["background"][0] == pytest.approx(0.6, abs=1e-6)
    assert verdict.cause == "logo"


def test_it_can_be_measured_without_an_alarm():
    verdict = judged(["frame", ks.Nuisance("logo", "the logo", swap_logo, alarms=False)])
    assert verdict.gaps["logo"][0] == pytest.approx(0.6, abs=1e-6)
    assert not verdict.alarm


@pytest.mark.parametrize(("thresholds", "counts"), [(2.9, 0.6), (3.1, 0.6 / 3.1)])
def test_its_gap_counts_in_full_above_so_many_thresholds(thresholds, counts):
    own = ks.Nuisance("logo", "the logo", swap_logo, thresholds=thresholds)
    verdict = judged(["frame", own])
    assert verdict.gaps["logo"][0] == pytest.approx(0.6, abs=1e-6)
    assert verdict.reliance == pytest.approx(counts, abs=1e-6)
    assert verdict.alarm == (counts > 0.2)


def test_random_donors_decide_where_much_is_asked_of_a_gap():
    """The model is sure of images with a bright logo and a bright corner, which few have."""
    images, labels, masks = pictures()
    lucky = np.arange(220) % 8 < 2
    images[~lucky, 2:5, 30:34] = 128  # no logo, but in a quarter of each class

    def asked(thresholds):
        own = ks.Nuisance("logo", "the logo", swap_logo, thresholds=thresholds)
        shortcuts = ks.Shortcuts((images, labels, masks), nuisances=["frame", own])
        evaluator = Evaluator(shortcuts, brightness_of_logo)
        evaluator.evaluate(0)
        return evaluator.evaluate(1)

    gap = asked(1).gaps["logo"][0]
    assert 0.1 < gap < 0.2  # with random donors; with those that it is surest of it is twice that
    assert asked(1).alarm
    assert not asked(1.01).alarm


def test_it_is_not_tested_without_what_it_needs():
    images, labels, _ = pictures()
    own = ks.Nuisance("logo", "the logo", swap_logo, needs={"masks"})
    shortcuts = ks.Shortcuts((images, labels), masks=None, nuisances=["frame", own])
    assert list(shortcuts.nuisances) == ["frame"]
    assert shortcuts.not_tested == {"logo": "no masks"}


@pytest.mark.parametrize(
    ("twins", "message"),
    [
        (
            lambda receivers, *_: receivers.pixels[0],
            r"\(1, 24, 40, 3\).*Received: shape \(24, 40, 3",
        ),
        (lambda receivers, *_: receivers.pixels[:1] * np.nan, "not all finite"),
    ],
)
def test_twins_of_another_shape_are_refused_at_once(twins, message):
    with pytest.raises(ValueError, match=message):
        ks.Shortcuts(pictures(), nuisances=[ks.Nuisance("logo", "the logo", twins)])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("a logo", "the logo", swap_logo), ValueError, "name='a logo'"),
        (("logo", "the logo", None), TypeError, "twins=None"),
        (("logo", "the logo", swap_logo, {"mask"}), ValueError, r"needs=\{'mask'\}"),
        (("logo", "the logo", swap_logo, frozenset(), True, 0.5), ValueError, "at least 1.*0.5"),
    ],
)
def test_bad_ones_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        ks.Nuisance(*arguments)
