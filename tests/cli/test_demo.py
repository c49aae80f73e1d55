import numpy as np
import pytest

from keras_saliency.cli.demo import Trained, accuracy_by_background, comparison
from keras_saliency.data.synthetic import (
    BACKGROUND_NAMES,
    CLASS_NAMES,
    Background,
    Layer,
    Light,
    compose,
    draw_animal,
    draw_background,
    draw_light,
    scenes,
)
from keras_saliency.shortcuts.verdict import Verdict

SIZES = [(64, 64), (33, 71), (90, 41), (32, 200)]
HALF_A_LEVEL = 0.5 / 255 + 1e-6


def _rng(*seed):
    return np.random.default_rng(seed)


def _flat(size, brightness):
    """Ground of one brightness, nothing in front."""
    ground = np.full((*size, 3), brightness, np.float32)
    return Background(ground, Layer(np.zeros_like(ground), np.zeros(size, np.float32)))


def _plain_light(size):
    return Light(np.ones((*size, 3), np.float32), np.zeros((*size, 3), np.float32))


def _nothing(size):
    return Layer(np.zeros((*size, 3), np.float32), np.zeros(size, np.float32))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", CLASS_NAMES)
def test_cover_is_what_difference_matting_finds(kind, size):
    # The ground is seen exactly where the animal is not: swap black for white and measure.
    for seed in range(4):
        animal = draw_animal(kind, _rng(seed), size)
        black, _ = compose(animal, _flat(size, 0.0), _plain_light(size))
        white, _ = compose(animal, _flat(size, 1.0), _plain_light(size))
        seen = (white.astype(int) - black).mean(axis=2) / 255
        np.testing.assert_allclose(1 - seen, animal.cover, atol=2 * HALF_A_LEVEL)


@pytest.mark.parametrize("kind", BACKGROUND_NAMES)
def test_mask_is_how_far_the_picture_follows_the_animal(kind):
    size = (57, 83)
    for seed in range(6):
        animal = draw_animal(CLASS_NAMES[seed % 2], _rng(seed), size)
        background = draw_background(kind, _rng(seed, 1), size, feet=40)
        black = Layer(np.zeros_like(animal.colour), animal.cover)
        white = Layer(np.repeat(animal.cover[..., None], 3, axis=2), animal.cover)
        dark, mask = compose(black, background, _plain_light(size))
        bright, _ = compose(white, background, _plain_light(size))
        follows = (bright.astype(int) - dark).mean(axis=2) / 255
        np.testing.assert_allclose(follows, mask, atol=2 * HALF_A_LEVEL)


@pytest.mark.parametrize("kind", BACKGROUND_NAMES)
def test_outside_the_animal_the_picture_is_its_background(kind):
    size = (45, 64)
    for seed in range(6):
        animal = draw_animal("elephant", _rng(seed), size)
        background = draw_background(kind, _rng(seed, 1), size, feet=30)
        light = draw_light(_rng(seed, 2), size)
        image, _ = compose(animal, background, light)
        empty, mask = compose(_nothing(size), background, light)
        np.testing.assert_array_equal(image[animal.cover == 0], empty[animal.cover == 0])
        assert not mask.any()
        assert (image != empty)[animal.cover > 0].any()


def test_twins_share_the_animal_and_nothing_else():
    drawn = scenes(40, correlation=0.5, size=(48, 65), seed=3)
    animal = (drawn.masks == 1) & (drawn.counterfactual_masks == 1)
    assert animal.any(axis=(1, 2)).all()
    np.testing.assert_array_equal(drawn.images[animal], drawn.counterfactuals[animal])
    neither = (drawn.masks == 0) & (drawn.counterfactual_masks == 0)
    differs = (drawn.images != drawn.counterfactuals).any(axis=3)
    assert differs[neither].mean() > 0.98


def test_backgrounds_say_what_is_seen():
    drawn = scenes(60, correlation=0.5, seed=4)
    around = (drawn.masks == 0)[..., None]
    red, green, blue = np.moveaxis(
        (drawn.images * around).sum(axis=(1, 2)) / around.sum(axis=(1, 2)), -1, 0
    )
    greenness = green / (red + green + blue)
    grass = drawn.backgrounds == BACKGROUND_NAMES.index("grass")
    assert np.median(greenness[grass]) > 0.4
    assert np.quantile(greenness[~grass], 0.9) < 0.37


def test_labels_say_what_is_drawn():
    # Elephants are as wide as high or wider, penguins upright, unless they lean or lift a flipper.
    drawn = scenes(200, seed=9)
    widths = np.array([np.ptp(np.flatnonzero(mask.any(axis=0))) for mask in drawn.masks])
    heights = np.array([np.ptp(np.flatnonzero(mask.any(axis=1))) for mask in drawn.masks])
    elephant = drawn.labels == CLASS_NAMES.index("elephant")
    assert np.mean((widths > heights)[elephant]) > 0.8
    assert np.mean((widths < heights)[~elephant]) > 0.8


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5, 0.95, 1.0])
def test_correlation_is_the_share_of_matching_backgrounds(correlation):
    count = 600
    drawn = scenes(count, correlation=correlation, size=(32, 32), seed=1)
    share = np.mean(drawn.labels == drawn.backgrounds)
    four_sigma = 4 * np.sqrt(correlation * (1 - correlation) / count)
    assert abs(share - correlation) <= four_sigma
    # Neither class is left out of it.
    for label in (0, 1):
        share = np.mean(drawn.backgrounds[drawn.labels == label] == label)
        assert abs(share - correlation) <= 1.5 * four_sigma


def test_correlation_only_swaps_images_with_their_twins():
    size = (32, 47)
    always = scenes(12, correlation=1.0, size=size, seed=5)
    never = scenes(12, correlation=0.0, size=size, seed=5)
    np.testing.assert_array_equal(always.images, never.counterfactuals)
    np.testing.assert_array_equal(always.counterfactuals, never.images)
    np.testing.assert_array_equal(always.masks, never.counterfactual_masks)
    np.testing.assert_array_equal(always.labels, never.labels)


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_labels_are_balanced_in_random_order(count):
    labels = scenes(count, size=(32, 32), seed=2).labels
    assert abs(2 * labels.sum() - count) <= 1
    if count == 50:
        assert 0 < labels[::2].sum() < 25  # Not simply in turn.


def test_an_image_depends_on_seed_and_index_alone():
    few, many = scenes(3, size=(40, 33), seed=8), scenes(9, size=(40, 33), seed=8)
    for name in (
        "images",
        "labels",
        "masks",
        "backgrounds",
        "counterfactuals",
        "counterfactual_masks",
    ):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:3])
    other = scenes(9, size=(40, 33), seed=7)
    assert not any(np.array_equal(a, b) for a in many.images for b in other.images)
    assert len(np.unique(many.images.reshape(9, -1), axis=0)) == 9


@pytest.mark.parametrize("size", SIZES)
def test_any_size_fills_the_picture_and_keeps_the_animal_inside(size):
    drawn = scenes(16, correlation=0.5, size=size, seed=6)
    assert drawn.images.shape == drawn.counterfactuals.shape == (16, *size, 3)
    assert drawn.masks.shape == drawn.counterfactual_masks.shape == (16, *size)
    assert (drawn.images.dtype, drawn.masks.dtype) == (np.uint8, np.float32)
    assert (drawn.labels.dtype, drawn.backgrounds.dtype) == (np.int64, np.int64)
    assert drawn.masks.min() >= 0
    assert drawn.masks.max() == 1
    # No side of the picture is left black.
    for edge in (drawn.images[:, 0], drawn.images[:, -1], drawn.images[:, :, 0]):
        assert edge.mean() > 30


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", CLASS_NAMES)
def test_the_animal_does_not_leave_the_picture(kind, size):
    for seed in range(40):
        cover = draw_animal(kind, _rng(seed), size).cover
        border = [cover[0], cover[-1], cover[:, 0], cover[:, -1]]
        assert not np.concatenate(border).any()
        assert cover.sum() > 0.03 * min(size) ** 2


def test_animals_are_everywhere_of_many_sizes_and_look_both_ways():
    size = (50, 90)
    y, x = np.mgrid[:50, :90]
    covers = np.array([draw_animal("penguin", _rng(seed), size).cover for seed in range(120)])
    areas = covers.sum(axis=(1, 2))
    assert areas.max() > 2.5 * areas.min()
    for place, side in ((y, 50), (x, 90)):
        centres = (covers * place).sum(axis=(1, 2)) / areas / side
        assert centres.min() < 0.35
        assert centres.max() > 0.65


def test_coats_do_not_tell_the_classes_apart():
    def brightness(kind):
        animals = [draw_animal(kind, _rng(seed), (32, 32)) for seed in range(150)]
        return np.array([a.colour.sum() / 3 / a.cover.sum() for a in animals])

    elephants, penguins = brightness("elephant"), brightness("penguin")
    spread = np.std(np.concatenate([elephants, penguins]))
    assert abs(elephants.mean() - penguins.mean()) < 0.5 * spread


@pytest.mark.parametrize("kind", BACKGROUND_NAMES)
def test_more_stands_in_front_of_an_animal_that_is_farther_away(kind):
    def hidden(feet):
        fronts = [draw_background(kind, _rng(seed), (60, 48), feet).front for seed in range(30)]
        return np.mean([front.cover.mean() for front in fronts])

    assert hidden(feet=15) > hidden(feet=50) + 0.05


@pytest.mark.parametrize("kind", BACKGROUND_NAMES)
def test_occluders_hide_feet_but_leave_most_of_the_animal(kind):
    drawn = scenes(80, correlation=0.5, seed=11)
    first = drawn.backgrounds == BACKGROUND_NAMES.index(kind)
    masks = np.where(first[:, None, None], drawn.masks, drawn.counterfactual_masks)
    whole = np.array(
        [
            np.maximum(a, b).sum()
            for a, b in zip(drawn.masks, drawn.counterfactual_masks, strict=True)
        ]
    )
    visible = masks.sum(axis=(1, 2)) / whole
    assert np.mean(visible < 0.97) > 0.2
    assert visible.min() > 0.5


def test_light_is_of_many_kinds_and_does_not_know_the_background():
    lights = [draw_light(_rng(seed), (40, 61)) for seed in range(60)]
    means = [light.gain.mean() for light in lights]
    assert max(means) > 1.25 * min(means)
    corners = [light.gain[20, 30].mean() - light.gain[[0, -1], [0, -1]].mean() for light in lights]
    assert max(corners) > 0.15  # A vignette.
    assert np.mean(np.abs(corners) < 0.01) > 0.2  # And none.
    noise = [light.noise.std() for light in lights]
    assert max(noise) > 3 * min(noise)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count=0"),
        ({"count": 2.5}, "count=2.5"),
        ({"correlation": 1.2}, "correlation=1.2"),
        ({"correlation": float("nan")}, "correlation=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"size": (31, 64)}, r"size=\(31, 64\)"),
        ({"size": (64, 64, 3)}, r"size=\(64, 64, 3\)"),
        ({"size": 64}, "size=64"),
        ({"size": (64.0, 64)}, r"size=\(64.0, 64\)"),
    ],
)
def test_wrong_arguments_are_refused_with_what_was_received(wrong, message):
    with pytest.raises(ValueError, match=message):
        scenes(**{"count": 1, **wrong})


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match=r"'elephant', 'penguin'.*kind='grass'"):
        draw_animal("grass", _rng(0), (64, 64))
    with pytest.raises(ValueError, match=r"'grass', 'snow'.*kind='sand'"):
        draw_background("sand", _rng(0), (64, 64), feet=40)


def trained(correlation, verdict, accuracy=0.954, on_background=1.1, usual=0.98, other=0.21):
    run = f"correlation-{correlation}/saliency"
    return Trained(correlation, run, accuracy, usual, other, on_background, verdict)


def test_the_verdicts_of_two_trainings_stand_beside_each_other():
    text = "relies on the background (gap 0.92 +- 0.01) since epoch 1; masks made by a program"
    lured = Verdict(text, alarm=True, cause="background")
    fine = Verdict("no evidence of background, cast, texture, frame, position, mark")
    sound = trained(0.5, fine, 0.86, float("nan"), 0.9, 0.88)
    said = comparison([trained(0.95, lured), sound], "there")
    table, _, rest = said.partition("* Attribution")
    lines = [line for line in table.splitlines() if line]
    left, right = (lines[0].index(f"in {share} of 100") for share in (95, 50))
    first = " ".join(" ".join(line[left:right] for line in lines).split())
    second = " ".join(" ".join(line[right:] for line in lines).split())
    numbers = "in 95 of 100 95 of 100 98 of 100 21 of 100 1.10"
    assert first == f"{numbers} ALARM {text} correlation-0.95/saliency"
    numbers = "in 50 of 100 86 of 100 90 of 100 88 of 100 nan"
    assert second == f"{numbers} no alarm {fine.text} correlation-0.5/saliency"
    assert all(len(line) <= 100 for line in said.splitlines())
    lines = " ".join(rest.split())
    assert "correlation 0.95 classifies 98 of 100 new images correctly where" in lines
    assert "21 of 100 where the same animals change places: it has learnt the background." in lines
    assert "88 of 100 where the same animals change places: it has learnt the animal." in lines
    assert "tensorboard --logdir there" in rest
    assert "http://localhost:6006/#keras_saliency" in rest


def test_the_accuracy_is_that_on_each_background():
    """A model that answers by the colour of the corners is right on the usual background alone."""

    class ByTheGround:
        input_shape = (None, 64, 64, 3)

        def predict(self, images, verbose):
            red, green, _ = np.moveaxis(images[:, -8:].astype(float).mean((1, 2)), -1, 0)
            return np.stack([green > 1.05 * red, green <= 1.05 * red], axis=1).astype(float)

    usual, other = accuracy_by_background(ByTheGround())
    assert usual > 0.75
    assert other < 0.25
