import cv2
import numpy as np
import pytest

from keras_saliency.common.resampling import average_masks
from keras_saliency.metrics import localization

RNG = np.random.default_rng(0)
SCORES_WITH_MASK = (localization.mass_in_mask, localization.enrichment, localization.pointing_hit)


def test_a_map_of_one_cell_over_its_own_mask_is_perfect():
    masks = np.zeros((1, 224, 160))
    masks[0, 64:96, 80:100] = 1  # Row 2 and column 4 of a grid of 7 x 8.
    maps = np.zeros((1, 7, 8))
    maps[0, 2, 4] = 0.003
    assert localization.mass_in_mask(maps, masks) == pytest.approx([1])
    assert localization.enrichment(maps, masks) == pytest.approx([7 * 8])
    assert localization.pointing_hit(maps, masks) == pytest.approx([1])
    assert localization.entropy(maps) == pytest.approx([0])


def test_area_average_counts_fractions_of_pixels():
    masks = RNG.random((2, 9, 11))
    fine = masks.repeat(5, axis=1).repeat(4, axis=2)  # 45 x 44: divisible by 5 and by 4.
    plain = fine.reshape(2, 5, 9, 4, 11).mean((2, 4))
    np.testing.assert_allclose(average_masks(masks, (5, 4)), plain)


def test_area_average_agrees_with_opencv_when_shrinking():
    masks = RNG.random((3, 37, 53)).astype(np.float32)
    expected = [cv2.resize(m, (7, 5), interpolation=cv2.INTER_AREA) for m in masks]
    np.testing.assert_allclose(average_masks(masks, (5, 7)), expected, atol=1e-5)


def test_area_average_keeps_the_area_where_cells_are_finer_than_the_mask():
    masks = np.array([[[1.0, 0.0, 1.0]]])
    np.testing.assert_allclose(
        average_masks(masks, (2, 6)), [[[1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1]]]
    )


def test_mass_is_the_plain_sum_of_magnitudes():
    maps, masks = RNG.normal(size=(4, 5, 7)), RNG.random((4, 5, 7))
    expected = [
        sum(abs(m) * a for m, a in zip(map_.flat, mask.flat, strict=True))
        / sum(abs(m) for m in map_.flat)
        for map_, mask in zip(maps, masks, strict=True)
    ]
    np.testing.assert_allclose(localization.mass_in_mask(maps, masks), expected)
    np.testing.assert_allclose(
        localization.enrichment(maps, masks), np.array(expected) / masks.mean((1, 2))
    )


def test_an_even_map_is_at_chance_whatever_the_size_of_the_object():
    masks = np.zeros((2, 12, 10))
    masks[0, :2], masks[1, :9] = 1, 1
    maps = np.full((2, 12, 10), -2.0)
    np.testing.assert_allclose(localization.mass_in_mask(maps, masks), [2 / 12, 9 / 12])
    np.testing.assert_allclose(localization.enrichment(maps, masks), 1)
    np.testing.assert_allclose(localization.entropy(maps), 1)


def test_pointing_takes_the_largest_magnitude_the_cells_share_and_the_average_of_ties():
    masks = np.tile([[1.0, 1.0, 0.0, 0.5]], (4, 1, 1))
    maps = np.array([[[1, 2, -3, 0]], [[1, 5, -3, 0]], [[1, 0, -1, 0]], [[0, 0, 0, 1]]])
    np.testing.assert_allclose(localization.pointing_hit(maps, masks), [0, 1, 0.5, 0.5])


def test_entropy_of_evenly_filled_cells_is_their_share_on_a_log_scale():
    maps = np.zeros((1, 4, 8))
    maps[0, 1, 2:6] = -7
    assert localization.entropy(maps) == pytest.approx([np.log(4) / np.log(32)])


def test_similarity_is_the_correlation_and_ignores_scale():
    maps, others = RNG.normal(size=(2, 3, 5, 4))
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps, others, strict=True)]
    np.testing.assert_allclose(localization.similarity(maps, others), expected)
    np.testing.assert_allclose(localization.similarity(maps, 1e3 * maps + 5), 1)
    np.testing.assert_allclose(localization.similarity(maps, -maps), -1)


@pytest.mark.parametrize("dead", [0.0, np.nan, np.inf])
def test_a_dead_map_has_no_focus_and_leaves_its_neighbours_alone(dead):
    maps = np.stack([np.full((3, 5), dead), RNG.random((3, 5))])
    masks = np.zeros((2, 3, 5))
    masks[:, 1] = 1
    scores = [score(maps, masks) for score in SCORES_WITH_MASK]
    scores += [localization.entropy(maps), localization.similarity(maps, RNG.random((2, 3, 5)))]
    for score in scores:
        np.testing.assert_array_equal(np.isnan(score), [True, False])


@pytest.mark.parametrize("cover", [0, 1])
@pytest.mark.parametrize("score", SCORES_WITH_MASK)
def test_a_mask_that_is_empty_or_covers_everything_gives_no_score(score, cover):
    masks = np.full((1, 11, 13), cover)
    assert np.isnan(score(RNG.random((1, 3, 4)), masks)).all()


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_tiny_and_huge_values_do_not_matter(scale):
    maps, masks = RNG.normal(size=(2, 3, 5)), RNG.random((2, 6, 9))
    for score in SCORES_WITH_MASK:
        np.testing.assert_allclose(score(maps * scale, masks), score(maps, masks))
    np.testing.assert_allclose(localization.entropy(maps * scale), localization.entropy(maps))
    np.testing.assert_allclose(localization.similarity(maps * scale, maps), 1)


def test_constant_and_single_cell_maps_have_no_similarity_and_no_entropy():
    assert np.isnan(localization.similarity(np.full((1, 3, 4), 0.1), RNG.random((1, 3, 4)))).all()
    assert np.isnan(localization.entropy(np.ones((1, 1, 1)))).all()


@pytest.mark.parametrize(
    ("call", "received"),
    [
        (lambda: localization.entropy(np.ones((3, 4))), r"maps\.shape=\(3, 4\)"),
        (lambda: average_masks(np.ones((3, 4)), (1, 2)), r"masks\.shape=\(3, 4\)"),
        (
            lambda: localization.mass_in_mask(np.ones((2, 3, 4)), np.ones((1, 3, 4))),
            r"shape=\(1, 3, 4\)",
        ),
        (
            lambda: localization.similarity(np.ones((2, 3, 4)), np.ones((2, 4, 3))),
            r"shape=\(2, 4, 3\)",
        ),
    ],
)
def test_wrong_shapes_are_named(call, received):
    with pytest.raises(ValueError, match=received):
        call()
