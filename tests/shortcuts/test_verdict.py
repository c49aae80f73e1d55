import dataclasses
import json
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_saliency.data.probes import Probes
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.nuisances import Nuisance
from keras_saliency.shortcuts.statistics import (
    Alarm,
    carry_coefficient,
    interval_of,
    is_confirmed,
)
from keras_saliency.shortcuts.verdict import Verdict

SIZE = (24, 40)
BOX = (slice(8, 16), slice(12, 22))  # The object of most pictures here.
EVERYTHING = ("background", "cast", "texture", "frame", "position", "mark", "object", "scale")


def flat_pictures(grounds, objects=None, per_class=110, seed=0):
    """Squares on flat grounds; `grounds` and `objects` give a colour per class."""
    labels = np.tile(np.arange(len(grounds)), per_class)
    images = np.empty((len(labels), *SIZE, 3), np.uint8)
    images[:] = np.array(grounds)[labels][:, None, None]
    objects = [(90, 90, 90)] * len(grounds) if objects is None else objects
    images[:, *BOX] = np.array(objects)[labels][:, None, None]
    masks = np.zeros((len(labels), *SIZE), np.float32)
    masks[:, *BOX] = 1
    return images, labels, masks


def two_classes(second):
    """Probabilities of two classes, given that of the second."""
    return np.stack([1 - second, second], axis=1)


def assess(data, model, nuisances=EVERYTHING, peaks=None, **options):
    assessor = Evaluator(Shortcuts(data, nuisances=nuisances, **options), model, peaks)
    assessor.evaluate(0)
    return assessor.evaluate(1)


def gaps_of(verdict):
    return {name: gap for name, (gap, _) in verdict.gaps.items()}


def test_a_model_of_the_grounds_colour_is_caught_with_its_gap():
    # The second class has probability 0.2 on the ground of the first, and 0.8 on its own.
    data = flat_pictures([(60, 51, 60), (60, 204, 60)])
    verdict = assess(data, lambda x: two_classes(x[:, 4, 20, 1] / 255))
    gaps = gaps_of(verdict)
    assert gaps.pop("background") == pytest.approx(0.6, abs=1e-6)
    assert verdict.gaps["background"][1] == pytest.approx(0, abs=1e-6)
    # The cast of the flat ground carries some of it along; nothing else does.
    cast = gaps.pop("cast")
    assert 0.2 < cast < 0.6
    assert max(map(abs, gaps.values())) < 0.02
    assert verdict.alarm
    assert verdict.reliance == pytest.approx(0.6, abs=1e-6)


def test_training_images_that_teach_and_contradict_are_listed_with_an_alarm():
    # The model follows the ground, which in a ninth of the images is that of the other class.
    images, labels, masks = flat_pictures([(60, 51, 60), (60, 204, 60)], per_class=150)
    wrong = np.arange(len(labels)) % 9 == 3
    images[wrong] = images[::-1][wrong]
    assert (labels[::-1][wrong] != labels[wrong]).all()
    shortcuts = Shortcuts((images, labels, masks), nuisances=["background"])
    assessor = Evaluator(shortcuts, lambda x: two_classes(x[:, 4, 20, 1] / 255))
    assert assessor.evaluate(0).examples == {}  # There is no alarm yet.
    examples = assessor.evaluate(1).examples
    for kind, probability in (("teaching", 0.8), ("contradicting", 0.2)):
        assert [example.label for example in examples[kind]] == [0] * 4 + [1] * 4
        for example in examples[kind]:
            index = int(example.name.removeprefix("image_"))
            assert example.probability == pytest.approx(probability)
            assert wrong[index] == (kind == "contradicting")
            assert example.label == labels[index]
            np.testing.assert_array_equal(example.image, images[index])
    assert assessor.evaluate(2).to_dict()["examples"]["teaching"][0][1] == pytest.approx(0.8)


def test_training_images_go_by_the_names_that_the_data_have():
    images, labels, masks = flat_pictures([(60, 51, 60), (60, 204, 60)])
    names = [f"photo {k} of {label}" for k, label in enumerate(labels)]
    probes = Probes(images, labels, masks=masks, names=names)
    verdict = assess(probes, lambda x: two_classes(x[:, 4, 20, 1] / 255), ["background"])
    assert {example.name for example in verdict.examples["teaching"]} < set(probes.names)
    assert verdict.examples["contradicting"] == []


def test_the_alarm_has_words():
    data = flat_pictures([(60, 51, 60), (60, 204, 60)])
    verdict = assess(data, lambda x: two_classes(x[:, 4, 20, 1] / 255), ["background", "frame"])
    assert verdict.text == (
        "relies on the background (gap 0.60 ± 0.00, between 0.53 and 0.67) since epoch 1"
    )
    assert (verdict.cause, verdict.since) == ("background", "epoch 1")
    assert verdict.per_class == pytest.approx({0: 0.6, 1: 0.6})


def test_a_model_that_looks_at_the_object_alone_is_left_in_peace():
    data = flat_pictures([(60, 51, 60), (60, 204, 60)], [(90, 51, 90), (90, 204, 90)])
    verdict = assess(
        data,
        lambda x: two_classes(x[:, 12, 16, 1] / 255),
        ("background", "texture", "frame", "position", "object"),
    )
    gaps = gaps_of(verdict)
    assert gaps.pop("object") == pytest.approx(0.6)
    assert gaps == pytest.approx(dict.fromkeys(gaps, 0), abs=0.01)
    assert not verdict.alarm
    assert verdict.text == "no evidence of background, texture, frame, position"


def test_a_cast_is_caught_and_named_and_not_the_background():
    # Grey objects and grounds under a reddish or bluish light, seen in the object alone.
    red, blue = np.array([1.6, 1, 0.625]), np.array([0.625, 1, 1.6])
    data = flat_pictures([100 * red, 100 * blue], [60 * red, 60 * blue])

    def model(x):
        ratio = np.log(x[:, 12, 16, 2] / x[:, 12, 16, 0])  # 2 log 1.6 in blue light.
        return two_classes(1 / (1 + np.exp(-2 * ratio)))

    verdict = assess(data, model, ("background", "cast", "texture", "frame"))
    gaps = gaps_of(verdict)
    odds = 1.6**4
    assert gaps.pop("cast") == pytest.approx((odds - 1) / (odds + 1), abs=0.01)
    assert gaps == pytest.approx(dict.fromkeys(gaps, 0), abs=0.01)
    assert verdict.cause == "cast"


def test_a_frame_is_named_although_the_background_carries_it_along():
    images, labels, masks = flat_pictures([(80, 80, 80)] * 2)
    images[:, 0] = (30 + 180 * labels)[:, None, None]
    verdict = assess(
        (images, labels, masks), lambda x: two_classes((x[:, 0, :, 0] > 100).mean(1) * 0.9)
    )
    assert gaps_of(verdict)["frame"] == pytest.approx(0.9)
    assert gaps_of(verdict)["background"] == pytest.approx(0.9)
    assert verdict.cause == "frame"


def test_a_texture_is_caught():
    images, labels, masks = flat_pictures([(128, 128, 128)] * 2)
    noise = np.random.default_rng(0).normal(0, 25, images.shape)
    noisy = (images + noise * labels[:, None, None, None]).clip(0, 255).astype(np.uint8)
    steps = lambda x: np.abs(np.diff(x[:, :, 24:], axis=2)).mean((1, 2, 3))  # noqa: E731
    verdict = assess(
        (noisy, labels, masks),
        lambda x: two_classes((steps(x) > 10).astype(float)),
        ("cast", "texture", "frame"),
    )
    assert gaps_of(verdict)["texture"] == pytest.approx(1)
    assert verdict.cause == "texture"


def test_a_place_is_caught():
    images, labels, masks = flat_pictures([(80, 80, 80)] * 2)
    right = labels == 1
    images[right], masks[right] = (np.roll(a[right], 15, axis=2) for a in (images, masks))

    def model(x):  # Where the bright columns are: 16.5 and 31.5 of 39.
        bright = np.maximum(x[..., 0] - 85, 0).sum(1)
        return two_classes((bright * np.arange(40)).sum(1) / bright.sum(1) / 40)

    verdict = assess((images, labels, masks), model)
    assert gaps_of(verdict)["position"] == pytest.approx(15 / 40, abs=0.01)
    assert gaps_of(verdict)["background"] == pytest.approx(0, abs=0.01)
    assert verdict.cause == "position"


def test_a_size_is_caught():
    images, labels, masks = flat_pictures([(80, 80, 80)] * 2, [(200, 200, 200)] * 2)
    small = labels == 0
    images[small], masks[small] = 80, 0
    images[small, 10:14, 14:19], masks[small, 10:14, 14:19] = 200, 1

    def model(x):  # How many pixels are bright: of the class's objects 20 and 80 or more.
        return two_classes(((x[..., 0] > 140).sum((1, 2)) > 45).astype(float))

    verdict = assess((images, labels, masks), model)
    assert gaps_of(verdict)["scale"] == pytest.approx(1)
    assert gaps_of(verdict)["background"] == pytest.approx(0)
    assert verdict.cause == "scale"


def swap_rim(receivers, donors, i, j):
    images = receivers.pixels[i].astype("float32")
    images[:, 0] = donors.pixels[j][:, 0]
    return images


@pytest.mark.parametrize(
    ("share", "cause", "words", "others"),
    [
        (0.95, "rim", "{rim}; the background without it 0.05)", ""),
        (0.7, "rim", "{ground}), above all the rim (0.70; 0.30 without it)", ""),
        (0.55, "rim", "{ground}), above all the rim (0.55; 0.45 without it)", ""),
        (0.45, "background", "{ground})", "; also on the rim (gap 0.45 ± 0.00)"),
        (0.15, "background", "{ground})", ""),
    ],
)
def test_the_cause_is_the_narrowest_without_which_little_is_left(share, cause, words, others):
    data = flat_pictures([(60, 60, 60), (120, 120, 120)])

    def model(x):  # The rim tells a share of what the whole ground tells.
        rim, inside = x[:, 0, 20, 0] > 90, x[:, 6, 20, 0] > 90
        return two_classes(share * rim + (1 - share) * inside)

    rim = Nuisance("rim", "the rim", swap_rim)
    verdict = assess(data, model, (rim, "background", "texture"))
    assert verdict.cause == cause
    named = words.format(
        rim="the rim (gap 0.95 ± 0.00, between 0.88 and 1.00",
        ground="the background (gap 1.00 ± 0.00, between 0.93 and 1.00",
    )
    assert verdict.text == f"relies on {named} since epoch 1{others}"


def test_what_is_meant_is_measured_and_never_alarms():
    data = flat_pictures([(60, 60, 60), (120, 120, 120)])

    def model(x):  # The rim tells 3 of 4 of what the whole ground tells.
        rim, inside = x[:, 0, 20, 0] > 90, x[:, 6, 20, 0] > 90
        return two_classes(0.75 * rim + 0.25 * inside)

    rim = Nuisance("rim", "the rim", swap_rim)
    verdict = assess(data, model, (rim, "background"), meant=["rim"])
    assert gaps_of(verdict) == pytest.approx({"rim": 0.75, "background": 0.25})
    assert (verdict.cause, verdict.reliance) == ("background", pytest.approx(0.25))
    assert verdict.text == (
        "relies on the background (gap 0.25 ± 0.00, between 0.18 and 0.32) since epoch 1; meant: "
        "the rim (0.75)"
    )
    only_rim = lambda x: two_classes(x[:, 0, 20, 0] > 90)  # noqa: E731
    verdict = assess(data, only_rim, (rim, "background"), meant=["rim"])
    assert not verdict.alarm
    assert verdict.text == "no evidence of background; meant: the rim (1.00)"


def test_a_place_that_is_meant_stays_where_the_background_is_swapped():
    data = flat_pictures([(60, 51, 60), (60, 204, 60)])
    model = lambda x: two_classes(x[:, 4, 20, 1] / 255)  # noqa: E731
    verdict = assess(data, model, ("position", "background"), meant=("position",))
    assert gaps_of(verdict)["background"] == pytest.approx(0.6)
    assert verdict.cause == "background"


@pytest.mark.parametrize("in_a_folder", [False, True])
def test_scenes_without_an_object_are_taken_for_classes(in_a_folder, tmp_path):
    data = flat_pictures([(60, 51, 60), (60, 204, 60)])
    empty = np.zeros((10, *SIZE, 3), np.uint8)
    empty[3:, :, :, 1] = 204
    for number, image in enumerate(empty if in_a_folder else ()):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    model = lambda x: two_classes(x[:, 4, 20, 1] * 1.0)  # noqa: E731
    verdict = assess(
        data,
        model,
        ["background"],
        preprocess=lambda x: x / 255,
        grounds=str(tmp_path) if in_a_folder else empty,
    )
    assert verdict.grounds == {0: 0.3, 1: 0.7}
    assert verdict.text.endswith(
        "since epoch 1; scenes without an object are taken for 1 (0.70), 0 (0.30)"
    )


def test_a_mark_is_caught_where_the_maps_point_at_it():
    images, labels, masks = flat_pictures([(80, 80, 80)] * 2)
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(9, 15, len(images)), rng.integers(13, 21, len(images))
    images[np.arange(len(images)), rows, columns] = np.where(labels, 255, 90)[:, None]
    data = images, labels, masks

    def model(x):
        return two_classes((x[..., 0].max((1, 2)) > 200).astype(float))

    verdict = assess(data, model, peaks=lambda x, y: x[..., 0])
    assert gaps_of(verdict)["mark"] == pytest.approx(1)
    assert gaps_of(verdict)["background"] == pytest.approx(0)
    assert verdict.cause == "mark"
    assert "relies on spots of 0.6 % of the picture (gap 1.00" in verdict.text
    assert verdict.reliance == pytest.approx(1)
    # The intervention says whether; it is the map that says where.
    elsewhere = assess(data, model, ("mark", "frame"), peaks=lambda x, y: -x[..., 0] % 80)
    assert abs(gaps_of(elsewhere)["mark"]) < 0.6
    without = assess(data, model, ("mark", "frame"))
    assert without.text == "no evidence of frame; not tested: mark (no maps)"


def test_gaps_below_zero_are_no_evidence():
    data = flat_pictures([(60, 51, 60), (60, 204, 60)])
    turns = iter([1] + [-1] * 1000)  # The donors are asked first, then the twins.

    def model(x):
        return two_classes(0.5 + next(turns) * (x[:, 4, 20, 1] / 255 - 0.5))

    assessor = Evaluator(Shortcuts(data, nuisances=["background"]), model)
    verdict = assessor.evaluate(0)
    assert verdict.reliance == pytest.approx(-0.6, abs=1e-6)
    assert verdict.text == "no evidence of background"


def test_the_object_is_measured_but_never_alarms():
    grounds, objects = [(60, 60, 60)] * 2, [(30, 30, 30), (220, 220, 220)]
    data = flat_pictures(grounds, objects)
    verdict = assess(
        data,
        lambda x: two_classes((x[:, 12, 16, 1] > 100).astype(float)),
        ("object", "scale", "frame"),
    )
    assert gaps_of(verdict) == pytest.approx({"object": 1, "scale": 0, "frame": 0})
    assert verdict.reliance == 0
    assert verdict.text == "no evidence of scale, frame"


def test_peaks_are_asked_for_the_pictures_own_labels():
    images, labels, masks = flat_pictures([(30, 30, 30), (150, 150, 150)])
    asked = []

    def peaks(x, y):
        asked.extend(zip(x[:, 0, 0, 0], y, strict=True))
        return x[..., 0]

    assess((images, labels, masks), lambda x: two_classes(x[:, 0, 0, 0] / 255), ["mark"], peaks)
    assert set(asked) == {(30, 0), (150, 1)}


def half_of_the_grounds(plain, telling):
    """Every other image of each class has a ground of its class, and the others a plain one."""
    data = flat_pictures(telling, per_class=400)
    data[0][np.arange(len(data[1])) // 2 % 2 == 0] = plain
    data[0][:, *BOX] = 90
    return data


def test_donors_are_the_confident_half_of_each_class_until_a_gap_is_in_doubt():
    """The model is unsure of the plain ones: a tenth of what it loses by the others is told."""
    data = half_of_the_grounds((60, 125, 60), [(60, 0, 60), (60, 250, 60)])
    for strength, expected in ((0.09, 0.09), (0.8, 0.4)):
        model = lambda x, s=strength: two_classes(0.5 + s * (x[:, 4, 20, 1] / 250 - 0.5))  # noqa: E731
        verdict = assess(data, model, ["background"])
        assert gaps_of(verdict)["background"] == pytest.approx(expected, abs=0.1 * strength + 1e-9)


def test_what_only_the_choice_of_donors_brings_about_is_no_reliance():
    """Grounds of both classes are the same; the donors that the model is surest of are not."""
    data = half_of_the_grounds((60, 51, 60), [(60, 204, 60), (60, 204, 60)])
    verdict = assess(data, lambda x: two_classes(x[:, 4, 20, 1] / 255), ["background"])
    gap, error = verdict.gaps["background"]
    assert abs(gap) < 2 * error  # No more than the luck of the draw.
    assert verdict.intervals["background"] == interval_of((gap, error))
    assert verdict.reliance == gap
    assert not verdict.alarm
    assert verdict.text.startswith("can't say yet: the model hardly tells the classes apart")


def test_a_gap_is_that_with_random_donors_and_the_alarm_that_of_confident_ones():
    # Any donor has the class's ground in one of two cases: exact twins lose half.
    data = half_of_the_grounds((60, 125, 60), [(60, 0, 60), (60, 250, 60)])
    verdict = assess(
        data,
        lambda x: two_classes(0.5 + 0.35 * (x[:, 4, 20, 1] / 250 - 0.5)),
        ["background", "scale"],
    )
    low, high = verdict.intervals["background"]
    gap, error = verdict.gaps["background"]
    assert set(verdict.intervals) == {"background"}
    assert gap == pytest.approx(0.175, abs=2.5 * error)
    assert gap < verdict.threshold
    assert verdict.alarm
    assert (low, high) == interval_of((gap, error))
    assert verdict.text == (
        f"relies on the background (gap {gap:.2f} ± {error:.2f}, between {low:.2f} and "
        f"{high:.2f}) since epoch 1"
    )


@pytest.mark.parametrize(
    ("gap", "expected"),
    [((0.6, 0.1), (0.33, 0.87)), ((0.95, 0.1), (0.68, 1)), ((-0.95, 0.1), (-1, -0.68))],
)
def test_an_interval_holds_two_errors_and_what_images_change(gap, expected):
    assert interval_of(gap) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("confident", "random", "expected"),
    [
        ((0.5, 0.01), (0.11, 0.03), True),
        ((0.5, 0.01), (0.11, 0.04), False),  # 2.75 standard errors
        ((0.5, 0.01), (0.09, 0.01), False),  # less than a fifth
        ((0.5, 0.01), (-0.5, 0.01), False),
    ],
)
def test_random_donors_must_bear_out_a_gap(confident, random, expected):
    assert is_confirmed(confident, random) == expected


def test_one_sigmoid_output_is_two_classes():
    data = flat_pictures([(60, 51, 60), (60, 204, 60)])
    for shape in ((-1, 1), (-1,)):
        verdict = assess(data, lambda x, s=shape: (x[:, 4, 20, 1] / 255).reshape(s))
        assert gaps_of(verdict)["background"] == pytest.approx(0.6, abs=1e-6)


def test_of_several_labels_the_one_that_follows_the_ground_is_found():
    """Red is on when the first label is, blue when the second; the model follows red alone."""
    rows = np.random.default_rng(0).integers(0, 2, (500, 2))
    images = np.full((500, *SIZE, 3), 50, np.uint8)
    images[..., 0] += (150 * rows[:, 0, None, None]).astype(np.uint8)
    images[..., 2] += (150 * rows[:, 1, None, None]).astype(np.uint8)
    images[:, *BOX] = 90
    images[:, 12, 16] = np.where(rows[:, 1], 255, 0)[:, None]  # the second label's own feature
    masks = np.zeros((500, *SIZE), np.float32)
    masks[:, *BOX] = 1

    def model(x):
        return np.stack(
            [0.1 + 0.8 * (x[:, 4, 20, 0] > 100), 0.2 + 0.6 * (x[:, 12, 16, 0] > 100)], 1
        )

    verdict = assess((images, rows, masks), model, ["background", "frame"])
    assert verdict.per_class == pytest.approx({0: 0.8, 1: 0.0})
    assert verdict.gaps["background"][0] == pytest.approx(0.4)
    assert (verdict.alarm, verdict.cause) == (True, "background")
    nothing = assess((images, rows, masks), lambda x: np.full((len(x), 2), 0.5), ["background"])
    assert nothing.text.startswith("can't say yet")
    assert "probability of the right one 0.50, by chance 0.50" in nothing.text


@pytest.mark.filterwarnings("ignore:The verdict tests 10 of")
def test_of_many_classes_chance_is_told_as_the_model_has_it():
    images, labels, masks = flat_pictures([(k, 60, 60) for k in range(250)], per_class=3)
    few = labels < 12
    more = [np.concatenate([of, *[of[few]] * 28]) for of in (images, labels, masks)]
    nothing = assess(tuple(more), lambda x: np.full((len(x), 250), 1 / 250), ["background"])
    assert "probability of the right one 0.004, by chance 0.004)" in nothing.text
    # A tenth of the way from there to 1 is enough to be heard of.
    assert (
        "no evidence"
        in assess(tuple(more), lambda x: np.full((len(x), 250), 0.11), ["background"]).text
    )


def test_more_classes_name_the_one_that_follows_most():
    data = flat_pictures([(0, 60, 60), (100, 60, 60), (200, 60, 60)])

    def model(x):  # Classes 1 and 2 follow the ground, 1 only by half.
        red = np.rint(x[:, 4, 20, 0] / 100).astype(int)
        return np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]])[red]

    shortcuts = Shortcuts(data, nuisances=["background"])
    assessor = Evaluator(shortcuts, model, class_names=["cat", "dog", "emu"])
    assessor.evaluate(0)
    verdict = assessor.evaluate(1)
    assert verdict.per_class[2] == pytest.approx(1)
    assert verdict.per_class[1] == pytest.approx(0.5)
    assert 0.5 < verdict.per_class[0] < 1
    assert "most in emu (1.00), then cat (0." in verdict.text


@pytest.mark.parametrize(
    ("steps", "threshold", "expected"),
    [
        ([0.3, 0.3, 0.3], 0.2, [None, 0, 0]),
        ([0.3, 0.1, 0.3], 0.2, [None, None, None]),
        ([0.0, 0.3, 0.3, 0.15, 0.11, 0.09, 0.3], 0.2, [None, None, 1, 1, 1, None, None]),
        ([0.3, 0.3, 0.05, 0.3, 0.3], 0.2, [None, 0, None, None, 3]),
        ([0.3, 0.3, 0.3], 0.4, [None, None, None]),
        ([0.5, 0.5, 0.21, 0.19], 0.4, [None, 0, 0, None]),
    ],
)
def test_alarms_start_after_two_evaluations_and_end_at_half(steps, threshold, expected):
    alarm = Alarm(threshold)
    found = []
    for step, gap in enumerate(steps):
        alarm.update([(0.0, 0.0), (gap, 0.01)], f"{step}")
        found.append(int(alarm.since) if alarm.is_on else None)
    assert found == expected


@pytest.mark.parametrize(
    ("error", "others", "rings"), [(0.11, 0, True), (0.14, 0, False), (0.11, 5, False)]
)
def test_an_alarm_needs_a_gap_beyond_its_error_and_more_so_among_several(error, others, rings):
    alarm = Alarm(0.2)
    for step in range(3):
        alarm.update([(0.25, error), *[(0.0, 0.01)] * others], f"{step}")
    assert alarm.is_on == rings


def test_the_first_evaluation_above_and_weak_signs_have_words_of_their_own():
    data = flat_pictures([(60, 51, 60), (60, 204, 60)])
    strength = {"of": 1.0}

    def model(x):
        return two_classes(0.5 + strength["of"] * (x[:, 4, 20, 1] / 255 - 0.5))

    assessor = Evaluator(Shortcuts(data, nuisances=["background"]), model)
    first = assessor.evaluate(0, "batch 200")
    assert first.text.startswith("may rely on the background (gap 0.60")
    assert (first.alarm, first.cause, first.since) == (False, None, None)
    assert assessor.evaluate(1).since == "batch 200"
    strength["of"] = 0.25
    assert assessor.evaluate(2).alarm
    strength["of"] = 0.1
    assert assessor.evaluate(3).text == (
        "can't say yet: the model hardly tells the classes apart (probability of the right one "
        "0.53, by chance 0.50)"
    )
    strength["of"] = 0.25
    weak = assessor.evaluate(4)
    assert weak.text == (
        "weak signs of reliance on the background (gap 0.15 ± 0.00, between 0.08 and 0.22), too "
        "weak for an alarm"
    )


def simulated(rng, receivers, donors, spread):
    """Probabilities whose parts belong to receivers, to shared donors, and to pairs."""
    of_receiver, of_donor, of_pair = spread
    drawn = np.stack(
        [
            [rng.choice(donors, 4, replace=False) + side * donors for side in (0, 1)]
            for _ in range(receivers)
        ]
    )
    found = 0.5 + rng.normal(0, 0.1, (receivers, 1, 1)) + np.zeros(drawn.shape)
    found[:, 0] += 0.3 + rng.normal(0, of_receiver, (receivers, 1))
    found += rng.normal(0, of_donor, 2 * donors)[drawn]
    return found + rng.normal(0, of_pair, drawn.shape), drawn


@pytest.mark.parametrize(
    "spread", [(0.3, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, 0.3), (0.2, 0.2, 0.2)]
)
@pytest.mark.parametrize("donors", [16, 64])
def test_the_standard_error_is_the_spread_of_the_gap(spread, donors):
    rng = np.random.default_rng(0)
    results = []
    for _ in range(300):
        found, drawn = simulated(rng, 64, donors, spread)
        differences = np.broadcast_to([[0.0], [-1.0]], found.shape)
        results.append(carry_coefficient(found, differences, drawn))
    gaps, errors = np.array(results).T
    assert gaps.mean() == pytest.approx(0.3, abs=0.02)
    assert np.sqrt((errors**2).mean()) == pytest.approx(gaps.std(), rel=0.2)


def test_each_evaluation_draws_anew_but_the_same_every_time():
    rng = np.random.default_rng(0)
    images, labels, masks = flat_pictures([(60, 51, 60), (60, 204, 60)])
    images[..., 1] = rng.integers(0, 256, len(images))[:, None, None]
    images[:, *BOX] = 90
    shortcuts = Shortcuts((images, labels, masks), nuisances=["background"])

    def gap(step):
        assessor = Evaluator(shortcuts, lambda x: two_classes(x[:, 4, 20, 1] / 255))
        return gaps_of(assessor.evaluate(step))["background"]

    assert gap(3) == gap(3)
    assert len({gap(step) for step in (-1, 0, 1, 2)}) == 4


def test_sheets_show_the_same_receivers_and_what_the_model_says_of_them():
    data = flat_pictures([(60, 51, 60), (60, 204, 60)])
    shortcuts = Shortcuts(data, nuisances=["background", "object"])
    assessor = Evaluator(shortcuts, lambda x: two_classes(x[:, 4, 20, 1] / 255))
    first, second = assessor.evaluate(0).sheets, assessor.evaluate(1).sheets
    assert set(first) == {"background", "object"}
    sheet = first["background"]
    assert sheet.images.dtype == np.uint8
    assert sheet.images.shape == (4, 3, *SIZE, 3)
    np.testing.assert_array_equal(sheet.images[:, 0], second["background"].images[:, 0])
    assert sheet.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(sheet.watched, [[0.8, 0.8, 0.2]] * 4, atol=1e-6)
    shown = two_classes(sheet.images[:, :, 4, 20, 1].reshape(-1) / 255)
    own = shown[np.arange(12), np.repeat(sheet.labels, 3)].reshape(4, 3)
    np.testing.assert_allclose(sheet.watched, own, atol=1e-6)


def test_grey_pictures_and_preprocess_reach_the_model_as_in_training():
    images, labels, masks = flat_pictures([(51, 51, 51), (204, 204, 204)])
    seen = []

    def model(x):
        seen.append(x.shape[1:])
        return two_classes(x[:, 4, 20, 0] + 0.5)

    verdict = assess((images[..., :1], labels, masks), model, preprocess=lambda x: x / 255 - 0.5)
    assert set(seen) == {(*SIZE, 1)}
    assert gaps_of(verdict)["background"] == pytest.approx(0.6, abs=1e-6)
    assert "not tested: cast (1 channels instead of three), mark (no maps)" in verdict.text
    assert verdict.sheets["background"].images.shape[-1] == 3


def test_made_masks_are_said():
    images, labels, _ = flat_pictures([(60, 51, 60), (60, 204, 60)])
    verdict = assess((images, labels), lambda x: two_classes(x[:, 4, 20, 1] / 255), ["background"])
    assert verdict.masks_from == "border colours"
    assert verdict.text.endswith("since epoch 1; masks made by a program")


def test_what_made_masks_miss_of_an_object_is_no_background():
    """A part of the object has nearly the ground's colour, and the model sees it alone."""
    images, labels, _ = flat_pictures([(120, 120, 120)] * 2)
    images[:, 7:17, 10:24] = (220, 60, 60)
    images[:, 9:15, 27:30] = (110 + 20 * labels)[:, None, None, None]
    shortcuts = Shortcuts((images, labels), nuisances=["background"])
    assert shortcuts.donors.masks[:, 9:15, 27:30].max() == 0
    verdict = Evaluator(shortcuts, lambda x: two_classes((x[:, 12, 28, 0] > 120) * 1.0)).evaluate(0)
    assert verdict.gaps["background"] == (0, 0)


@pytest.mark.parametrize(("column", "expected"), [(23, 0), (24, 0), (25, 0.8)])
def test_a_given_mask_may_miss_a_little_of_the_object(column, expected):
    """By a sixteenth of the shorter side, 2 px here, besides the margin of 1 px of any mask."""
    images, labels, masks = flat_pictures([(120, 120, 120)] * 2)
    images[:, 11:13, column] = (20 + 200 * labels)[:, None, None]  # The mask ends before 22.
    model = lambda x: two_classes(0.1 + 0.8 * (x[:, 12, column, 0] > 121))  # noqa: E731
    shortcuts = Shortcuts((images, labels, masks), nuisances=["background"])
    verdict = Evaluator(shortcuts, model).evaluate(0)
    assert verdict.gaps["background"][0] == pytest.approx(expected, abs=1e-6)


def test_without_enough_donors_or_anything_to_test_there_is_no_verdict():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        few = Shortcuts(flat_pictures([(60, 51, 60), (60, 204, 60)], per_class=19))
    verdict = Evaluator(few, lambda x: 1 / 0).evaluate(0)
    assert verdict.to_dict() == Verdict("can't say: 19 pictures a class, 20 needed").to_dict()
    assert np.isnan(verdict.reliance)
    enough = Shortcuts(flat_pictures([(60, 51, 60), (60, 204, 60)]), nuisances=["mark"])
    assert Evaluator(enough, lambda x: 1 / 0).evaluate(0).text == (
        "can't say: not tested: mark (no maps)"
    )


def test_a_model_that_diverged_has_no_verdict():
    data = flat_pictures([(60, 51, 60), (60, 204, 60)])
    verdict = assess(data, lambda x: np.full((len(x), 2), np.nan))
    assert verdict.text == "can't say: the model's outputs are not finite"


@pytest.mark.parametrize(
    "outputs", [lambda x: np.full((len(x), 2), 3.0), lambda x: np.ones((len(x), 2)) * -1]
)
def test_logits_are_refused(outputs):
    with pytest.raises(ValueError, match="needs probabilities"):
        assess(flat_pictures([(60, 51, 60), (60, 204, 60)]), outputs)


def test_labels_beyond_the_outputs_are_refused():
    with pytest.raises(ValueError, match="classes 0 to 2"):
        assess(flat_pictures([(60, 51, 60)] * 3), lambda x: np.full((len(x), 2), 0.5))


SAID = Verdict(
    "relies on <b> the background " + "and much more " * 20,
    np.float32(0.4),
    {"background": (0.4, 0.05), "mark": (0.0, float("nan"))},
    alarm=np.bool_(True),
    per_class={0: 0.3, 1: float("nan")},
    intervals={"background": (0.1, 0.45)},
    grounds={1: 0.75},
)


def test_a_verdict_as_json():
    made = json.loads(json.dumps(SAID.to_dict(["cat", "dog"]), allow_nan=False))
    assert made.keys() == {field.name for field in dataclasses.fields(SAID)} - {"sheets"}
    assert made["gaps"] == {"background": [0.4, 0.05], "mark": [0, None]}
    assert (made["reliance"], made["threshold"], made["alarm"]) == (0.4, None, True)
    assert made["intervals"] == {"background": [0.1, 0.45]}
    assert (made["per_class"], made["grounds"]) == ({"cat": 0.3, "dog": None}, {"dog": 0.75})
    assert SAID.to_dict()["per_class"] == {"0": 0.3, "1": None}


def test_the_repr_of_a_verdict_fits_two_lines():
    start = "Verdict('relies on <b> the background and much more"
    assert repr(SAID).startswith(start)
    assert repr(SAID).endswith("...', alarm=True, reliance=0.40)")
    assert len(repr(SAID)) < 2 * 79


def test_a_notebook_shows_a_verdict_and_its_gaps():
    page = SAID._repr_html_()
    assert "<figcaption>Alarm: the model relies on &lt;b&gt; the background" in page
    assert "<td>background</td><td>0.40 ± 0.05, between 0.10 and 0.45</td>" in page
    assert "<table>" not in Verdict("can't say: no masks")._repr_html_()


def test_the_repr_of_shortcuts_says_what_is_compared():
    images, labels, masks = flat_pictures([(60, 51, 60), (60, 204, 60)])
    shortcuts = Shortcuts((images, labels, masks), nuisances=["background", "cast"])
    expected = "Shortcuts(64 receivers, 156 donors, masks: given, background, cast)"
    assert repr(shortcuts) == expected


def test_a_verdict_tells_how_far_it_is():
    told = []
    shortcuts = Shortcuts(
        flat_pictures([(60, 51, 60), (60, 204, 60)]), nuisances=["cast", "texture", "frame"]
    )
    evaluator = Evaluator(shortcuts, lambda x: two_classes(x[:, 4, 20, 1] / 255))
    evaluator.evaluate(0, progress=lambda done, total: told.append((done, total)))
    # The cast of the ground carries some of it along, and is in doubt; texture and frame are clear.
    assert told == [(0, 3), (2, 3)]
