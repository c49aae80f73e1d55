import cv2
import numpy as np
import pytest

from keras_saliency.data import masks
from keras_saliency.data.synthetic import scenes


def overlap(made, true):
    """Intersection over union, per picture."""
    made, true = made > 0.5, true > 0.5
    return (made & true).sum((1, 2)) / (made | true).sum((1, 2))


def spot_pictures(size=(48, 80), centres=((40, 24), (20, 30), (62, 18)), colour=(180, 60, 40)):
    """Noisy green pictures with an ellipse of another colour but of the same brightness."""
    rng = np.random.default_rng(0)
    pictures, true = [], []
    for centre in centres:
        mask = cv2.ellipse(np.zeros(size, np.uint8), centre, (13, 10), 0, 0, 360, 1, -1)
        plain = np.where(mask[..., None], colour, (60, 110, 60))
        pictures.append((plain + rng.normal(0, 12, plain.shape)).clip(0, 255).astype(np.uint8))
        true.append(mask)
    return np.stack(pictures), np.stack(true)


def test_an_object_of_another_colour_is_found_wherever_it_is():
    pictures, true = spot_pictures()
    made = masks.make_masks(pictures)
    assert made.dtype == np.float32
    assert set(np.unique(made)) == {0, 1}
    assert overlap(made, true).min() > 0.8
    assert not masks.find_objects(pictures).wrong.any()


def test_a_small_object_has_a_tight_mask_and_one_that_covers_it():
    rng = np.random.default_rng(0)
    true = cv2.circle(np.zeros((48, 80), np.uint8), (30, 20), 8, 1, -1)  # 5 % of the picture
    plain = np.where(true[..., None], (180, 60, 40), (60, 110, 60))
    picture = (plain + rng.normal(0, 12, plain.shape)).clip(0, 255).astype(np.uint8)[None]
    found = masks.find_objects(picture)
    assert found.tight.sum() == pytest.approx(true.sum(), rel=0.25)
    assert overlap(found.tight, true[None]).item() > 0.8
    assert found.masks.mean() == pytest.approx(0.1, abs=0.01)
    assert (found.masks >= np.maximum(found.tight, true)).all()


def test_masks_grow_with_the_picture():
    pictures, _ = spot_pictures()
    large = np.stack([cv2.resize(p, None, fx=3, fy=3) for p in pictures])
    shrunk = np.stack([m[1::3, 1::3] for m in masks.make_masks(large)])
    assert overlap(shrunk, masks.make_masks(pictures)).min() > 0.75


def test_drawn_animals_are_found():
    drawn = scenes(40, correlation=0.8, size=(64, 80), seed=3)
    made = masks.make_masks(drawn.images)
    assert overlap(made, drawn.masks).mean() > 0.7
    missed = 1 - (masks.dilate(made) * drawn.masks).sum((1, 2)) / drawn.masks.sum((1, 2))
    assert missed.mean() < 0.06


def test_pictures_without_an_object_look_wrong():
    plain = np.full((48, 80, 3), 90, np.uint8)
    slope = np.broadcast_to(np.linspace(0, 255, 80).astype(np.uint8)[:, None], (48, 80, 3))
    several = np.full((48, 80, 3), (60, 110, 60), np.uint8)
    for x in (14, 40, 66):
        cv2.circle(several, (x, 24), 6, (200, 60, 40), -1)
    pictures = np.stack([plain, slope, several])
    assert masks.find_objects(pictures).wrong.all()


def test_boxes_cover_fractions_of_pixels_and_end_at_the_picture():
    made = masks.masks_of_boxes(np.array([[1, 0.25, 2.5, 1], [-3, 1, 99, 2]]), (3, 4))
    np.testing.assert_allclose(made[0], [[0, 0.75, 0.375, 0], [0] * 4, [0] * 4])
    np.testing.assert_allclose(made[1], [[0] * 4, [1] * 4, [0] * 4])


@pytest.mark.parametrize("box", [(5, 2, 5, 4), (3, 4, 2, 5), (10, 1, 14, 3)])
def test_a_box_without_area_is_named(box):
    with pytest.raises(ValueError, match=r"boxes\[1\]"):
        masks.masks_of_boxes(np.array([(0, 0, 2, 2), box]), (7, 9))


def test_dilation_is_two_pixels_of_64():
    mask = np.zeros((1, 64, 90), np.float32)
    mask[0, 30, 40] = 0.5
    assert masks.dilate(mask)[0, 28:33, 38:43].min() == 0.5
    assert masks.dilate(mask).sum() == 0.5 * 25


def test_a_mask_with_the_centre_covers_both():
    given = np.zeros((2, 40, 60), np.float32)
    given[0, :4, :6] = 0.5
    both = masks.with_centre(given)
    np.testing.assert_array_equal(both[0, :4, :6], 0.5)
    assert both[1].mean() == pytest.approx(np.pi * 0.45**2, abs=0.01)
    assert both[1, 20].tolist() == [0] * 3 + [1] * 54 + [0] * 3
    assert both[1, :, 30].tolist() == [0] * 2 + [1] * 36 + [0] * 2


@pytest.mark.parametrize("make", [masks.make_masks, masks.find_objects])
def test_pictures_must_be_uint8_rgb(make):
    with pytest.raises(TypeError, match="float64"):
        make(np.zeros((1, 8, 9, 3)))
    with pytest.raises(ValueError, match=r"\(1, 8, 9, 1\)"):
        make(np.zeros((1, 8, 9, 1), np.uint8))
