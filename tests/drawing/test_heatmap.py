"""Maps as pictures, against closed forms, matplotlib's own colours and plain loops."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from keras_saliency.common.resampling import resize_maps
from keras_saliency.drawing import heatmap

GRIDS = [(1, 7), (7, 1), (5, 3), (4, 4), (1, 1)]
SIZES = [(35, 63), (64, 48), (101, 77)]


def photo(height=45, width=61, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def one_cell(grid, cell):
    map_ = np.zeros(grid, np.float32)
    map_[cell] = 1
    return map_


def bilinear(map_, height, width):
    """Half-pixel bilinear resizing with repeated edges, pixel by pixel."""
    h, w = map_.shape
    result = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            v, u = y - top, x - left
            result[i, j] = (1 - v) * ((1 - u) * map_[top, left] + u * map_[top, right])
            result[i, j] += v * ((1 - u) * map_[bottom, left] + u * map_[bottom, right])
    return result


def colour(name, position):
    return np.rint(255 * np.array(matplotlib.colormaps[name](position)[:3]))


class TestResize:
    @pytest.mark.parametrize("grid", GRIDS)
    @pytest.mark.parametrize("size", SIZES)
    def test_growing_is_bilinear_with_half_pixel_centres(self, grid, size):
        map_ = np.random.default_rng(1).normal(size=grid)
        np.testing.assert_allclose(resize_maps(map_, size), bilinear(map_, *size), atol=2e-4)

    @pytest.mark.parametrize("size", SIZES)
    def test_the_centroid_of_a_cell_stays_in_its_middle(self, size):
        for cell in [(2, 3), (1, 1), (3, 5)]:  # away from the edges, which are repeated
            resized = resize_maps(one_cell((6, 8), cell), size)
            rows, columns = np.indices(size) + 0.5
            centre = [(axis * resized).sum() / resized.sum() for axis in (rows, columns)]
            expected = [(cell[0] + 0.5) * size[0] / 6, (cell[1] + 0.5) * size[1] / 8]
            np.testing.assert_allclose(centre, expected, atol=0.05)

    @pytest.mark.parametrize("grid", GRIDS)
    def test_the_mirror_image_stays_a_mirror_image(self, grid):
        map_ = np.random.default_rng(2).normal(size=grid)
        there = resize_maps(map_[::-1, ::-1], (37, 53))
        np.testing.assert_allclose(there[::-1, ::-1], resize_maps(map_, (37, 53)), atol=1e-5)

    def test_shrinking_averages(self):
        map_ = np.random.default_rng(3).normal(size=(12, 20))
        blocks = map_.reshape(4, 3, 4, 5).mean(axis=(1, 3))
        np.testing.assert_allclose(resize_maps(map_, (4, 4)), blocks, atol=1e-6)

    def test_one_axis_may_grow_while_the_other_shrinks(self):
        map_ = np.random.default_rng(4).normal(size=(3, 20))
        blocks = bilinear(map_.reshape(3, 4, 5).mean(axis=2), 33, 4)
        np.testing.assert_allclose(resize_maps(map_, (33, 4)), blocks, atol=2e-4)

    @pytest.mark.parametrize("size", [(50, 31), (5, 4)])
    def test_nothing_overshoots(self, size):
        resized = resize_maps(one_cell((9, 9), (4, 4)), size)
        assert resized.min() >= 0
        assert resized.max() <= 1

    def test_leading_axes_are_kept_apart(self):
        maps = np.random.default_rng(5).normal(size=(2, 3, 4, 6))
        resized = resize_maps(maps, (21, 13))
        assert resized.dtype == np.float32
        for i in range(2):
            for j in range(3):
                np.testing.assert_array_equal(resized[i, j], resize_maps(maps[i, j], (21, 13)))


class TestOverlay:
    def test_no_evidence_leaves_the_photo_clean(self):
        display = photo(40, 60)
        drawn = heatmap.overlay(display, one_cell((4, 6), (0, 0)))
        np.testing.assert_array_equal(drawn[20:], display[20:])
        np.testing.assert_array_equal(drawn[:, 20:], display[:, 20:])
        assert (drawn[:8, :8] != display[:8, :8]).any()

    def test_the_opacity_grows_with_the_magnitude(self):
        display = np.zeros((11, 256, 3), np.uint8)
        drawn = heatmap.overlay(display, np.linspace(0, 1, 256)[None], cmap="Greys_r")
        brightness = drawn[5, :, 0].astype(int)
        assert (np.diff(brightness) >= 0).all()
        assert brightness[0] == 0
        assert 200 < brightness[-1] < 235  # the photo shows through even at the peak

    def test_a_constant_opacity_blends_as_stated(self):
        display = photo()
        drawn = heatmap.overlay(display, np.ones((3, 3)), cmap="jet", opacity=0.4)
        expected = 0.6 * display + 0.4 * colour("jet", 1.0)
        assert np.abs(drawn - expected).max() <= 1

    @pytest.mark.parametrize(("opacity", "name"), [(1.0, "inferno"), (1.0, "viridis")])
    def test_the_peak_gets_the_last_colour_and_zero_the_first(self, opacity, name):
        display = photo(20, 40)
        drawn = heatmap.overlay(display, np.array([[0.0, 7.0]]), cmap=name, opacity=opacity)
        assert np.abs(drawn[:, 0] - colour(name, 0.0)).max() <= 1
        assert np.abs(drawn[:, -1] - colour(name, 1.0)).max() <= 1

    def test_the_default_colours(self):
        display, map_ = photo(), np.random.default_rng(0).normal(size=(5, 7))
        for signed, name in [(False, "inferno"), (True, "bwr")]:
            default = heatmap.overlay(display, map_, signed=signed)
            named = heatmap.overlay(display, map_, signed=signed, cmap=name)
            np.testing.assert_array_equal(default, named)

    def test_signed_maps_are_symmetric_about_a_clean_zero(self):
        display = photo(30, 93)  # the middle cell's centre is column 46
        map_ = np.array([[-2.0, 0.0, 1.0]])
        drawn = heatmap.overlay(display, map_, signed=True)
        np.testing.assert_array_equal(drawn[:, 46], display[:, 46])
        solid = heatmap.overlay(display, map_, signed=True, opacity=1.0)
        assert np.abs(solid[:, 0] - colour("bwr", 0.0)).max() <= 1
        assert np.abs(solid[:, -1] - colour("bwr", 0.75)).max() <= 2

    def test_negative_values_count_as_zero_where_unsigned(self):
        display = photo()
        map_ = np.array([[-5.0, -3.0, 1.0, 2.0]])
        drawn = heatmap.overlay(display, map_)
        np.testing.assert_array_equal(drawn, heatmap.overlay(display, np.maximum(map_, 0)))

    @pytest.mark.parametrize("factor", [1e-40, 1e-7, 1e3, 1e38])
    @pytest.mark.parametrize("signed", [False, True])
    def test_a_map_is_drawn_on_its_own_scale(self, factor, signed):
        display = photo()
        map_ = np.array([[0.0, 1.0, 0.5], [-1.0, 2.0, 0.0]], np.float32)
        drawn = heatmap.overlay(display, map_ * np.float32(factor), signed=signed)
        assert np.abs(drawn.astype(int) - heatmap.overlay(display, map_, signed=signed)).max() <= 1

    def test_a_common_peak_keeps_maps_comparable(self):
        display = photo()
        map_ = np.random.default_rng(6).uniform(0, 1, (4, 5))
        half = heatmap.overlay(display, map_ / 2, peak=1.0, opacity=1.0, cmap="gray")
        full = heatmap.overlay(display, map_, peak=1.0, opacity=1.0, cmap="gray")
        assert np.abs(half.astype(int) - full / 2).max() <= 1.5
        clipped = heatmap.overlay(display, np.full((2, 2), 9.0), peak=1.0, opacity=1.0)
        assert np.abs(clipped - colour("inferno", 1.0)).max() <= 1

    @pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("signed", [False, True])
    def test_what_cannot_be_drawn_is_never_drawn_as_heat(self, bad, signed):
        display = photo()
        map_ = np.zeros((4, 4)) if bad == 0 else one_cell((4, 4), (1, 2)) * 3 + bad
        drawn = heatmap.overlay(display, map_, signed=signed)
        red, green, blue = (display[..., i].astype(float) for i in range(3))
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        assert np.abs(drawn - luma[..., None]).max() <= 1

    def test_only_negative_values_are_drawn_only_where_signed(self):
        display, map_ = photo(), -np.ones((3, 3))
        assert heatmap.fault(map_) == "no value above 0"
        assert heatmap.fault(map_, signed=True) is None
        assert np.ptp(heatmap.overlay(display, map_), axis=-1).max() == 0
        assert np.ptp(heatmap.overlay(display, map_, signed=True), axis=-1).max() > 0

    def test_the_photo_is_not_written_to(self):
        display = photo()
        before = display.copy()
        heatmap.overlay(display, np.eye(5))
        np.testing.assert_array_equal(display, before)

    @pytest.mark.parametrize(
        ("change", "error", "match"),
        [
            ({"display": photo() / 255}, TypeError, "display.dtype=float64"),
            ({"display": photo()[..., 0]}, ValueError, r"display.shape=\(45, 61\)"),
            ({"map_": np.zeros((2, 3, 3))}, ValueError, r"map_.shape=\(2, 3, 3\)"),
            ({"map_": np.zeros((0, 3))}, ValueError, r"map_.shape=\(0, 3\)"),
            ({"peak": 0.0}, ValueError, "peak=0.0"),
            ({"peak": np.nan}, ValueError, "peak=nan"),
            ({"opacity": 1.5}, ValueError, "opacity=1.5"),
            ({"cmap": "virdis"}, ValueError, "Did you mean 'viridis'"),
            ({"cmap": "?"}, ValueError, "Try 'viridis'"),
            ({"cmap": "virdis", "map_": np.zeros((3, 3))}, ValueError, "cmap='virdis'"),
        ],
    )
    def test_wrong_input_is_refused(self, change, error, match):
        arguments = {"display": photo(), "map_": np.eye(3)} | change
        with pytest.raises(error, match=match):
            heatmap.overlay(arguments.pop("display"), arguments.pop("map_"), **arguments)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("cmap", [None, "viridis"])
def test_the_colour_bar_has_the_colours_of_the_overlay(signed, cmap):
    white = np.full((9, 201, 3), 255, np.uint8)
    map_ = np.linspace(-1 if signed else 0, 1, 201)[None]
    drawn = heatmap.overlay(white, map_, signed=signed, cmap=cmap)
    bar = heatmap.colour_bar((9, 201), signed, cmap)
    assert np.abs(bar.astype(int) - drawn).max() <= 2  # the colours are 256


class TestFigure:
    def axes(self, maps, **options):
        displays = np.stack([photo(seed=i) for i in range(len(maps))])
        titles = [f"probe {i}" for i in range(len(maps))]
        figure = heatmap.figure(displays, maps, titles, **options)
        return displays, np.reshape(figure.axes, (len(maps), 3))

    def test_a_row_shows_the_image_its_map_and_the_overlay(self):
        maps = np.random.default_rng(0).uniform(0.5, 3, (2, 4, 7))
        displays, axes = self.axes(maps)
        for i in range(2):
            image, map_, over = (axis.get_images()[0] for axis in axes[i])
            np.testing.assert_array_equal(image.get_array(), displays[i])
            np.testing.assert_allclose(map_.get_array(), maps[i])
            assert map_.get_clim() == (0, maps[i].max())
            assert map_.get_cmap().name == "inferno"
            assert map_.get_extent() == [0, 61, 45, 0]
            np.testing.assert_array_equal(over.get_array(), heatmap.overlay(displays[i], maps[i]))
            assert map_.colorbar is not None
            assert axes[i, 0].get_title() == f"probe {i}"

    def test_the_options_reach_the_panels(self):
        maps = np.random.default_rng(0).normal(size=(1, 4, 7))
        displays, axes = self.axes(maps, signed=True, cmap="PuOr", opacity=0.3)
        map_, over = (axis.get_images()[0] for axis in axes[0, 1:])
        peak = np.abs(maps).max()
        assert map_.get_clim() == (-peak, peak)
        assert map_.get_cmap().name == "PuOr"
        expected = heatmap.overlay(displays[0], maps[0], signed=True, cmap="PuOr", opacity=0.3)
        np.testing.assert_array_equal(over.get_array(), expected)

    def test_a_dead_map_is_labelled_and_has_no_colour_bar(self):
        _, axes = self.axes(np.zeros((1, 4, 7)))
        assert [text.get_text() for text in axes[0, 1].texts] == ["dead map: every value is 0"]
        assert axes[0, 1].get_images()[0].colorbar is None

    def test_it_can_be_saved(self, tmp_path):
        displays = np.stack([photo()])
        figure = heatmap.figure(displays, np.ones((1, 2, 2)), ["größe"])
        figure.savefig(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 5000

    def test_unequal_numbers_are_refused(self):
        with pytest.raises(ValueError, match="1 displays, 2 maps, 1 titles"):
            heatmap.figure(np.stack([photo()]), np.ones((2, 2, 2)), ["a"])

    def test_pyplot_keras_and_tensorflow_stay_unloaded(self):
        code = (
            "import sys, numpy as np; from keras_saliency.drawing import heatmap;"
            "loaded = 'matplotlib.figure' in sys.modules;"
            "heatmap.figure(np.zeros((1, 9, 9, 3), np.uint8), np.ones((1, 2, 2)), ['a']);"
            "names = ('matplotlib.pyplot', 'keras', 'tensorflow');"
            "print(loaded, [name for name in names if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "False []", done.stderr
