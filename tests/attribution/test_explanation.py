"""What an `Explanation` draws of its maps."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from keras_saliency.attribution.explanation import Explanation
from keras_saliency.drawing import heatmap


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
        wanted = heatmap.overlay(found.display[i], found.maps[i], **options)
        np.testing.assert_array_equal(overlays[i], wanted)


def test_options_of_the_overlay_are_not_ignored(found):
    plain = found.overlay()
    assert (plain != found.overlay(cmap="jet")).any()
    assert (plain != found.overlay(opacity=0.4)).any()


def test_signed_maps_are_drawn_as_signed(found):
    found.maps[0, 0, 0] = -1.0
    assert found.signed
    wanted = heatmap.overlay(found.display[1], found.maps[1], signed=True)
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


def picture(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_a_notebook_shows_the_panels_and_what_they_are_of(found):
    page = dataclasses.replace(found, layer="<b>a</b>")._repr_html_()
    words = "grad_cam of logits at &lt;b&gt;a&lt;/b&gt;"
    assert f"<figcaption>{words}</figcaption>" in page
    assert f'alt="{words}"' in page
    data = base64.b64decode(re.search(r"base64,([^\"]*)", page)[1])
    wanted = io.BytesIO()
    found.plot().savefig(wanted, format="png", dpi=80)
    np.testing.assert_array_equal(picture(data), picture(wanted.getvalue()))
    np.testing.assert_array_equal(picture(found._repr_png_()), picture(data))


def test_a_notebook_shows_the_first_of_many(found):
    rows = np.arange(20) % 2
    fields = ("maps", "scores", "targets", "outputs", "display")
    many = dataclasses.replace(found, **{name: getattr(found, name)[rows] for name in fields})
    assert "; 8 of 20<" in many._repr_html_()
    first = dataclasses.replace(found, **{name: getattr(found, name)[rows[:8]] for name in fields})
    np.testing.assert_array_equal(picture(many._repr_png_()), picture(first._repr_png_()))


def test_saved_as_png_it_is_what_plot_draws(found, tmp_path):
    found.save(tmp_path / "all.png", cmap="viridis")
    found.save(tmp_path / "last.PNG", row=-1, opacity=0.4)
    every, last = ((tmp_path / name).read_bytes() for name in ("all.png", "last.PNG"))
    assert np.array_equal(picture(every), picture(heatmap_png(found.plot(cmap="viridis"))))
    alone = dataclasses.replace(
        found,
        **{name: getattr(found, name)[1:] for name in ("maps", "scores", "targets", "display")},
    )
    assert np.array_equal(picture(last), picture(heatmap_png(alone.plot(opacity=0.4))))


def heatmap_png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.jpg", "a.gif", "a"])
def test_images_are_saved_as_nothing_but_png(found, name, tmp_path):
    with pytest.raises(ValueError, match=rf"as a PNG, .*path='.*{name}'"):
        found.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_its_repr_says_of_what_it_is(found):
    assert repr(found) == "Explanation(grad_cam of logits at block5_conv3, maps 2 x 3 x 5)"
