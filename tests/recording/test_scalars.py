"""The numbers of a set, against closed forms."""

import numpy as np
import pytest

from keras_saliency.recording.scalars import MapMeasure


def masked(n=2, height=6, width=10):
    """The left half is the object."""
    masks = np.zeros((n, height, width), np.float32)
    masks[:, :, : width // 2] = 1
    return masks


def left(n=2, height=3, width=4, inside=3.0, outside=1.0):
    maps = np.full((n, height, width), outside, np.float32)
    maps[:, :, : width // 2] = inside
    return maps


def test_focus_is_how_much_denser_a_map_is_on_the_object():
    focus = MapMeasure(masked()).localization({"cam": left(), "saliency": left(2, 5, 6, 0.0)})
    np.testing.assert_allclose(focus["cam"], [1.5, 1.5])  # three quarters on half of the area
    np.testing.assert_allclose(focus["saliency"], 0)


def test_without_masks_or_life_there_is_no_focus():
    assert np.isnan(MapMeasure(None)({"cam": left()}).localization["cam"]).all()
    assert np.isnan(MapMeasure(masked()).localization({"cam": 0 * left()})["cam"]).all()


def test_similarity_is_to_the_set_before():
    measure = MapMeasure(None)
    ramp = np.arange(12.0).reshape(1, 3, 4)
    other = ramp[:, ::-1, ::-1]
    found = [measure({"cam": maps}).similarity["cam"] for maps in (ramp, 2 * ramp, other)]
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:], [[1], [-1]])


def test_there_is_no_similarity_across_a_gap_or_a_change_of_size():
    measure = MapMeasure(None)
    measure({"cam": left()})
    measure({})
    assert np.isnan(measure({"cam": left()}).similarity["cam"]).all()
    assert np.isnan(measure({"cam": left(2, 5, 6)}).similarity["cam"]).all()


def test_signals_are_read_along_time():
    masks = np.array([[1, 1, 0, 0, 0, 0]], np.float32)
    focus = MapMeasure(masks).localization({"saliency": np.array([[2.0, 1.0, 1.0]])})
    np.testing.assert_allclose(focus["saliency"], [1.5])  # half on a third


@pytest.mark.parametrize("frames", [4, 3, 2])
def test_volumes_are_read_frame_by_frame(frames):
    masks = np.zeros((1, 4, 6, 10), np.float32)
    masks[:, :2] = 1  # the first half of the time
    maps = np.zeros((1, frames, 3, 5))
    maps[:, 0] = 1
    focus = MapMeasure(masks).localization({"cam": maps})["cam"]
    np.testing.assert_allclose(focus, [2.0])  # all of it on half
