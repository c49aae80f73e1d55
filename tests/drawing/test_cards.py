"""The cards and film strips, by what can be read off their pixels."""

import numpy as np
import pytest

from keras_saliency.drawing import cards, heatmap

WORDS = {"title": "03 penguin", "subtitle": "epoch 4 · step 3"}
HEADER, FOOTER = 26, 50


def photo(height=90, width=120):
    """A coloured picture, so that its loss of colour is seen."""
    rows, columns = np.mgrid[:height, :width]
    red, green = 80 + 100 * rows / height, 120 + 80 * columns / width
    return np.stack([red, green, 40 + 0 * red], axis=-1).astype(np.uint8)


def heat():
    map_ = np.zeros((6, 8))
    map_[2, 3] = 0.0123
    return map_


def draw(display=None, map_=None, **changes):
    options = {**WORDS, "caption": "says elephant 97 %"} | changes
    display = photo() if display is None else display
    return cards.tile(display, heat() if map_ is None else map_, **options).astype(int)


def header(tile):
    return tile[:HEADER]


def picture(tile):
    return tile[HEADER:-FOOTER]


def caption(tile):
    return tile[-FOOTER:-22, :260]


def note(tile):
    return tile[-FOOTER:-22, 260:]


def bar(tile):
    return tile[-22:]


def ink(part):
    """Where something is written on the paper."""
    return (part < 200).any(axis=-1)


def coloured(part):
    return np.ptp(part, axis=-1).max()


class TestTile:
    @pytest.mark.parametrize("width", [350, 700])
    @pytest.mark.parametrize("size", [(90, 120), (28, 28), (401, 301), (20, 400)])
    def test_the_picture_fills_the_width_of_the_card(self, width, size):
        tile = draw(photo(*size), width=width)
        scale = width / 350
        assert tile.shape[1] == width
        height = max(round(width * size[0] / size[1]), 60 * scale)  # a label must fit on it
        assert tile.shape[0] == height + 76 * scale

    def test_a_tall_picture_is_made_narrower(self):
        tile = draw(photo(600, 60), np.zeros((3, 3)))
        assert tile.shape == (525 + HEADER + FOOTER, 350, 3)
        row = ink(picture(tile)[:40]).all(axis=0)
        assert abs(row.sum() - 52.5) <= 2
        assert abs(np.flatnonzero(row).mean() - 174.5) <= 1  # in the middle

    def test_a_check_has_a_line_of_its_own_and_chance_is_grey(self):
        plain = draw()
        empty, checked = draw(check=""), draw(check="hiding this costs 0.41")
        assert empty.shape[0] == checked.shape[0] == plain.shape[0] + 18
        np.testing.assert_array_equal(empty[:-18], plain)
        assert not ink(empty[-16:]).any()
        assert ink(checked[-16:]).any()
        assert cards.error_tile(photo(), "why", **WORDS, has_check=True).shape == checked.shape
        grey = draw(check="no better than chance", is_chance=True)[HEADER : -FOOTER - 18]
        assert coloured(grey) == 0
        assert coloured(picture(plain)) > 0
        assert np.ptp(grey) > 20  # The map is still to be seen.

    def test_the_overlay_is_where_the_map_is(self):
        tile = draw(np.full((90, 120, 3), 90, np.uint8))
        hot = picture(tile).sum(axis=-1) - 270
        hot[hot < 60] = 0
        rows, columns = np.indices(hot.shape) + 0.5
        centre = [(axis * hot).sum() / hot.sum() for axis in (rows, columns)]
        expected = [2.5 / 6 * hot.shape[0], 3.5 / 8 * hot.shape[1]]
        np.testing.assert_allclose(centre, expected, atol=1)

    @pytest.mark.parametrize("part", ["title", "subtitle", "caption"])
    def test_every_text_is_written_and_in_its_place(self, part):
        where = {"title": header, "subtitle": header, "caption": caption}[part]
        one, none = draw(**{part: "Größe"}), draw(**{part: ""})
        assert (where(one) != where(none)).any()
        np.testing.assert_array_equal(picture(one), picture(none))
        np.testing.assert_array_equal(bar(one), bar(none))

    @pytest.mark.parametrize("text", ["W" * 500, "Ελέφαντας " * 60, "one\ntwo\tthree " * 30])
    def test_no_text_runs_out_of_its_place(self, text):
        tile = draw(title=text, subtitle=text, caption=text)
        margins = np.concatenate([header(tile), tile[-FOOTER:-22]])
        assert not ink(margins[:, :4]).any()
        assert not ink(margins[:, -4:]).any()
        short = draw(caption="")
        np.testing.assert_array_equal(note(tile), note(short))  # the peak is not written over
        np.testing.assert_array_equal(picture(tile), picture(short))

    def test_title_and_subtitle_do_not_meet(self):
        rows = ink(header(draw(title="W" * 500, subtitle="m" * 500)))
        columns = rows.any(axis=0)
        gaps = np.diff(np.flatnonzero(columns))
        assert gaps.max() >= 6

    def test_right_and_wrong_differ_in_colour_and_in_shape(self):
        right, wrong, neither = (caption(draw(correct=c)) for c in (True, False, None))
        middle = [part[ink(part)].mean(axis=0) for part in (right, wrong, neither)]
        assert middle[0][1] > middle[0][0] + 20  # green
        assert middle[1][0] > middle[1][1] + 40  # red
        assert np.ptp(middle[2]) < 20  # neither
        glyphs = [ink(part[:, :18]) for part in (right, wrong)]
        assert (glyphs[0] != glyphs[1]).sum() > 10

    def test_the_scale_is_printed_and_the_picture_does_not_depend_on_it(self):
        small, large = draw(map_=heat()), draw(map_=heat() * 1e5)
        assert np.abs(picture(small) - picture(large)).max() <= 1
        assert (note(small) != note(large)).any()
        assert (bar(small) != bar(large)).any()

    def test_a_common_peak_dims_the_picture_and_changes_the_bar_alone(self):
        own, common = draw(), draw(peak=0.05)
        assert (picture(own) != picture(common)).any()
        assert (bar(own) != bar(common)).any()
        np.testing.assert_array_equal(note(own), note(common))  # the raw peak

    def test_the_bar_runs_from_zero_or_from_minus_the_peak(self):
        for signed, cmap in [(False, "viridis"), (True, "PuOr")]:
            drawn = bar(draw(signed=signed, cmap=cmap))[7]  # a row through the bar
            expected = heatmap.colour_bar((1, 200), signed, cmap)[0].astype(int)
            for end in (0, -1):
                distance = np.abs(drawn - expected[end]).max(axis=-1)
                middle = np.flatnonzero(distance[20:-20] <= 8) + 20
                assert middle.size
                assert (middle.min() < 80) if end == 0 else (middle.max() > 250)

    def test_signed_maps_show_both_signs(self):
        map_ = np.array([[-1.0, 0.0, 1.0]])
        shown = picture(draw(np.full((90, 120, 3), 128, np.uint8), map_, signed=True))
        assert shown[100, 10, 2] > shown[100, 10, 0] + 100  # blue
        assert shown[100, -10, 0] > shown[100, -10, 2] + 100  # red

    @pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
    def test_a_map_without_heat_is_a_labelled_grey_picture_of_the_same_size(self, bad):
        tile, alive = draw(map_=np.full((6, 8), bad)), draw()
        assert tile.shape == alive.shape
        assert coloured(picture(alive)) > 50
        assert coloured(picture(tile)) == 0
        assert not ink(bar(tile)).any()
        assert not ink(note(tile)).any()
        band = picture(tile)[131 - 16 : 131 + 16]
        assert (band > 200).any(axis=-1).sum() > 100  # the label
        np.testing.assert_array_equal(caption(tile), caption(alive))

    def test_the_labels_of_dead_and_nan_differ(self):
        dead, nan = (draw(map_=np.full((6, 8), bad)) for bad in (0.0, np.nan))
        assert (picture(dead) != picture(nan)).any()

    def test_wrong_pictures_are_refused(self):
        with pytest.raises(TypeError, match="float64"):
            draw(photo() / 255)
        with pytest.raises(ValueError, match="repeat a grey channel"):
            draw(photo()[..., 0])


class TestErrorTile:
    def test_it_says_why_on_a_grey_picture_of_the_usual_size(self):
        one = cards.error_tile(photo(), "layer 'a' did not run", **WORDS)
        other = cards.error_tile(photo(), "something else", **WORDS)
        assert one.shape == draw().shape
        assert coloured(picture(one.astype(int))) == 0
        assert (picture(one) != picture(other)).any()

    @pytest.mark.parametrize("size", [(90, 120), (20, 400), (600, 60)])
    def test_a_long_message_stays_within_the_picture(self, size):
        tile = cards.error_tile(photo(*size), "why " * 300 + "x" * 900, **WORDS)
        assert not ink(tile[-FOOTER:]).any()
        plain = cards.error_tile(photo(*size), "why", **WORDS)
        np.testing.assert_array_equal(header(tile), header(plain))


class TestCell:
    def test_a_drawable_map_is_its_overlay(self):
        map_ = heat() - 0.001
        for signed in (False, True):
            expected = heatmap.overlay(photo(), map_, signed=signed)
            np.testing.assert_array_equal(cards.cell(photo(), map_, signed=signed), expected)

    def test_what_is_missing_is_grey_and_marked(self):
        maps = [None, np.zeros((3, 3)), np.full((3, 3), np.nan)]
        drawn = [cards.cell(photo(), map_) for map_ in maps]
        assert all(np.ptp(cell, axis=-1).max() == 0 for cell in drawn)
        assert len({cell.tobytes() for cell in drawn}) == 3


@pytest.mark.parametrize(
    ("size", "expected"), [((224, 160), (96, 69)), ((28, 28), (96, 96)), ((50, 400), (12, 96))]
)
def test_thumbnails_keep_the_shape_of_the_picture(size, expected):
    display = np.stack([photo(*size), 255 - photo(*size)])
    small = cards.thumbnails(display)
    assert small.shape == (2, *expected, 3)
    assert np.abs(small.mean(axis=(1, 2)) - display.mean(axis=(1, 2))).max() < 2
    assert max(cards.thumbnails(display, side=40).shape[1:3]) == 40


class TestFilmStrip:
    @pytest.mark.parametrize("size", [(72, 96), (96, 19), (8, 96)])
    def test_rows_are_probes_and_columns_are_epochs(self, size):
        def plain(*colour):
            return np.full((*size, 3), colour, np.uint8)

        clean = np.stack([plain(200, 0, 10 + i) for i in range(3)])
        columns = [
            (f"epoch {e}", np.stack([plain(0, 150 + e, 10 + i) for i in range(3)]))
            for e in range(4)
        ]
        strip = cards.film_strip(clean, list("abc"), columns, title="grad-cam")
        where = np.array(
            [
                [
                    np.argwhere((strip == cells[i, 0, 0]).all(axis=-1)).mean(axis=0)
                    for cells in [clean, *(cells for _, cells in columns)]
                ]
                for i in range(3)
            ]
        )
        for i, cells in enumerate([clean, *(cells for _, cells in columns)]):
            for cell in cells:
                assert (strip == cell[0, 0]).all(axis=-1).sum() == size[0] * size[1], i
        rows, lefts = where[..., 0], where[..., 1]
        assert np.ptp(rows, axis=1).max() == 0
        assert np.ptp(lefts, axis=0).max() == 0
        assert (np.diff(rows[:, 0]) > size[0]).all()
        assert (np.diff(lefts[0]) > size[1]).all()

    def strip(self, names=("ab", "cd"), label="epoch 1", title="grad-cam"):
        cells = np.zeros((2, 72, 96, 3), np.uint8)
        return cards.film_strip(cells, names, [(label, cells)], title=title)

    def test_names_labels_and_title_are_written_in_their_places(self):
        plain = self.strip()
        for change, rows, columns in [
            ({"names": ("xy", "cd")}, slice(46, 118), slice(0, 120)),
            ({"label": "batch 400"}, slice(26, 46), slice(220, None)),
            ({"title": "saliency"}, slice(0, 26), slice(None)),
        ]:
            changed = (self.strip(**change) != plain).any(axis=-1)
            assert changed[rows, columns].any()
            changed[rows, columns] = False
            assert not changed.any()

    def test_long_texts_stay_in_their_places(self):
        long = "ώ" * 400
        strip = self.strip((long, long), long, long)
        assert strip.shape == self.strip().shape
        assert not ink(strip[:, :4].astype(int)).any()
        assert not ink(strip[:26, -4:].astype(int)).any()
        assert ((strip[46:118, 124:220] == 0).all(axis=-1)).all()  # not over the pictures


class TestCounterfactualSheet:
    IMAGES = np.full((2, 3, 54, 72, 3), 90, np.uint8)
    SHARES = np.array([[0.99, 0.98, 0.1], [1.0, 0.97, 0.2]])

    def drawn(self, nuisance="background", when="epoch 5 (step 4)", shares=SHARES):
        captions = [[f"p = {share:.2f}" for share in row] for row in shares]
        columns = "original", "the same class", "another class"
        options = {"note": "p = probability", "nuisance": nuisance, "when": when}
        return cards.counterfactual_sheet(self.IMAGES, captions, columns, **options)

    def test_it_is_as_wide_as_a_card_which_tensorboard_shows_as_it_is(self):
        assert self.drawn().shape[1] == 350
        assert self.drawn().shape == self.drawn("cast").shape

    def test_all_words_show_each_in_its_place(self):
        sheet = self.drawn()
        header, headings = slice(26), slice(26, 62)
        assert (sheet[header] != self.drawn(when="epoch 6 (step 5)")[header]).any()
        differ = (sheet[headings] != self.drawn("cast")[headings]).any(axis=(0, 2))
        columns = [differ[start : start + 116].any() for start in (0, 117, 232)]
        assert columns == [False, True, True]  # the original has nothing of another image

    def test_each_probability_stands_below_its_image(self):
        sheet = self.drawn()
        for k in range(6):
            shares = self.SHARES.copy()
            shares.flat[k] = 0.5
            rows, columns = np.nonzero((sheet != self.drawn(shares=shares)).any(axis=2))
            row, column = divmod(k, 3)
            assert 64 + row * 105 + 81 <= rows.min() <= rows.max() <= 64 + row * 105 + 105
            assert 6 + column * 115 <= columns.min() <= columns.max() <= 6 + column * 115 + 108
