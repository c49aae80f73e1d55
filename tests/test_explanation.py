"""What an `Explanation` draws of its maps."""

import numpy as np
import pytest

from keras_saliency import render
from keras_saliency.explainer import Explanation


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    return Explanation(
        maps=rng.random((2, 3, 5), "float32"),
        scores=np.array([1.5, -2.25], "float32"),
        targets=np.array([4, -1]),
        outputs=np.zeros((2, 6), "float32"),
        method="grad_cam",
        of="logits",
        layer="block5_conv3",
        display=rng.integers(0, 256, (2, 21, 33, 3), "uint8"),
    )


@pytest.mark.parametrize(
    "options", [{}, {"cmap": "jet"}, {"opacity": 0.4}, {"cmap": "jet", "opacity": 0.4}]
)
def test_overlay_lays_each_map_over_its_own_picture(found, options):
    overlays = found.overlay(**options)
    for i in range(2):
        wanted = render.overlay(found.display[i], found.maps[i], **options)
        np.testing.assert_array_equal(overlays[i], wanted)


def test_options_of_the_overlay_are_not_ignored(found):
    plain = found.overlay()
    assert (plain != found.overlay(cmap="jet")).any()
    assert (plain != found.overlay(opacity=0.4)).any()


def test_signed_maps_are_drawn_as_signed(found):
    found.maps[0, 0, 0] = -1.0
    assert found.signed
    wanted = render.overlay(found.display[1], found.maps[1], signed=True)
    np.testing.assert_array_equal(found.overlay()[1], wanted)


def test_plot_shows_image_map_and_overlay_with_numbers(found):
    figure = found.plot()
    panels = [axes for axes in figure.axes if axes.images]
    images = [axes.images[0].get_array() for axes in panels]
    np.testing.assert_array_equal(images[0], found.display[0])
    np.testing.assert_allclose(images[1], found.maps[0])
    np.testing.assert_array_equal(images[2], found.overlay()[0])
    words = " ".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))
    assert "grad_cam: class 4, logits 1.5" in words
    assert "grad_cam: logits -2.25" in words


def test_plot_takes_titles(found):
    words = [
        t.get_text() for t in found.plot(["one", "two"]).findobj(lambda a: hasattr(a, "get_text"))
    ]
    assert {"one", "two"} <= set(words)
