"""Pictures of slides, against a plain re-derivation pixel by pixel."""

import cv2
import matplotlib
import numpy as np
import pytest

from keras_saliency.drawing import heatmap
from keras_saliency.tiles import Thumbnail, tile_map, tile_mosaic, tile_sheet
from keras_saliency.tiles.geometry import Frame, averaged, frame_of, spacing, window

EMPTY = (208, 208, 208)
PAPER = (250, 250, 250)
HEADER, FOOTER = 26, 46  # of a sheet one card wide
TILE = 20.0


def tissue(x, y):
    """Whether there is tumour at a place of the made slide: a disc right of the middle."""
    return (np.hypot(x - 150, y - 60) < 55).astype(float)


def made_slide(jitter=0.0, missing=0.25, columns=12, rows=7):
    """Return places of tiles, some of them missing, and what they are."""
    rng = np.random.default_rng(4)
    x, y = (TILE * axis.reshape(-1) for axis in np.meshgrid(np.arange(columns), np.arange(rows)))
    x, y = (axis + jitter * rng.uniform(-1, 1, axis.shape) for axis in (x, y))
    kept = rng.random(x.shape) >= missing
    kept[[0, -1]] = True  # the corners, so that the slide's size is known
    x, y = x[kept], y[kept]
    return x, y, tissue(x, y)


def slowly(values, x, y, frame, size, every=1):
    """The mean value at every so many pixels, by asking each tile whether it lies there."""
    left, top = x - frame.left, y - frame.top
    edges = np.rint(frame.scale * np.stack([left, left + TILE, top, top + TILE]))
    known = ~np.isnan(values)
    found = np.full(size, np.nan)[::every, ::every]
    for place in np.ndindex(found.shape):
        row, column = every * place[0], every * place[1]
        across = (edges[0] <= column) & (column < edges[1])
        here = values[known & across & (edges[2] <= row) & (row < edges[3])]
        if here.size:
            found[place] = here.mean()
    return found


def colours(name, shares):
    """Matplotlib's colours of shares, uint8."""
    found = matplotlib.colormaps[name](np.rint(np.atleast_1d(shares) * 255) / 255)
    return np.rint(255 * found[..., :3])


def maps_on(sheet, px=1):
    """Cut the maps out of a sheet: runs of rows and columns that are not paper."""
    body = sheet[HEADER * px : len(sheet) - FOOTER * px]
    solid = (body != PAPER).any(-1)

    def runs(line, least):
        edges = np.flatnonzero(np.diff(np.r_[0, line.astype(int), 0])).reshape(-1, 2)
        return [(a, b) for a, b in edges if b - a >= least]

    found = []
    for top, bottom in runs(solid.mean(axis=1) > 0.35, 25 * px):
        for left, right in runs(solid[top:bottom].mean(axis=0) > 0.8, 40 * px):
            found.append(body[top:bottom, left:right])
    return found


@pytest.mark.parametrize("jitter", [0.0, 7.0], ids=["regular", "uneven, overlapping"])
def test_values_lie_where_their_tiles_do(jitter):
    x, y, _ = made_slide(jitter)
    values = np.random.default_rng(1).normal(size=x.shape)
    values[5] = np.nan
    whole = frame_of(x, y, (TILE, TILE))
    frame = Frame(whole.left, whole.top, whole.width, whole.height, 0.31)
    found = averaged(values, frame.boxes(x, y, (TILE, TILE)), frame.size)
    expected = slowly(values, x, y, frame, frame.size)
    assert np.isnan(expected).any()
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_map_has_the_colours_of_its_values_and_is_empty_elsewhere():
    x, y, _ = made_slide()
    values = 0.5 + 3 * np.random.default_rng(1).random(x.shape)
    (found,) = maps_on(tile_map(x, y, values, tile=TILE))
    scale = found.shape[1] / (12 * TILE)
    frame = Frame(0, 0, 12 * TILE, 7 * TILE, scale)
    assert frame.size == found.shape[:2]
    found = found[::3, ::3]
    expected = slowly(values, x, y, frame, frame.size, every=3)
    empty = np.isnan(expected)
    assert 0.1 < empty.mean() < 0.4
    assert (found[empty] == EMPTY).all()
    shades = colours("viridis", expected[~empty] / values.max())
    assert np.abs(found[~empty] - shades).max() <= 1


def test_a_sheet_shows_labels_probabilities_and_what_lies_between_them():
    x, y, labels = made_slide()
    chances = np.where(labels > 0.5, 0.4, 0.1)
    chances[0], labels[1] = 0.9, np.nan
    sheet = tile_sheet(x, y, labels, chances, tile=TILE, title="made", name="tumour")
    truth, said, gap = (one.astype(float) for one in maps_on(sheet))
    step = truth.shape[1] / 12

    def at(picture, i):
        return picture[int((y[i] / TILE + 0.5) * step), int((x[i] / TILE + 0.5) * step)]

    for i, (label, chance) in enumerate(zip(labels, chances, strict=True)):
        assert np.abs(at(said, i) - colours("viridis", chance)).max() <= 1
        if np.isnan(label):
            assert (at(truth, i) == EMPTY).all()
            assert (at(gap, i) == EMPTY).all()
            continue
        assert np.abs(at(truth, i) - colours("viridis", label)).max() <= 1
        assert np.abs(at(gap, i) - colours("bwr", (chance - label + 1) / 2)).max() <= 1
    red, _, blue = at(gap, 0)
    assert red > blue + 150  # far more probable than the label has it
    positive = int(np.flatnonzero(labels == 1)[0])
    red, _, blue = at(gap, positive)
    assert blue > red + 100


def test_all_places_without_a_tile_are_empty():
    x, y, labels = made_slide()
    taken = np.zeros((7, 12), bool)
    taken[(y / TILE).astype(int), (x / TILE).astype(int)] = True
    for one in maps_on(tile_sheet(x, y, labels, labels, tile=TILE)):
        step = one.shape[1] / 12
        for row, column in np.ndindex(taken.shape):
            middle = one[int((row + 0.5) * step), int((column + 0.5) * step)]
            assert (tuple(middle) == EMPTY) != taken[row, column]


def test_maps_lie_on_their_place_of_the_thumbnail():
    # A dark square on a white slide, and one tile on just it; another tile elsewhere.
    picture = np.full((90, 120, 3), 255, np.uint8)
    picture[30:45, 75:90] = 0
    thumbnail = Thumbnail(picture, (9000, 12000))
    sheet = tile_sheet([7500, 0], [3000, 7500], [1, 0], [1, 1], tile=1500, thumbnail=thumbnail)
    slide, truth, said, _ = maps_on(sheet)
    dark = np.argwhere(slide.sum(-1) < 200)
    yellow = np.argwhere((truth[..., 0] > 150) & (truth[..., 2] < 120))
    for side in (0, 1):
        assert np.abs(dark.min(0) - yellow.min(0))[side] <= 1
        assert np.abs(dark.max(0) - yellow.max(0))[side] <= 1
    assert slide.shape[1] / slide.shape[0] == pytest.approx(12000 / 9000, rel=0.03)
    height, width = truth.shape[:2]
    assert (truth[height // 10, width // 10] == 208).all()  # the slide's white, toned down
    assert (said[height - 4, 4] != truth[height - 4, 4]).any()


@pytest.mark.parametrize(
    ("size", "method"),
    [
        ((3, 40), cv2.INTER_AREA),
        ((6, 4), cv2.INTER_AREA),
        ((24, 3), cv2.INTER_LINEAR),
        ((13, 9), cv2.INTER_LINEAR),
    ],
)
def test_a_thumbnail_is_averaged_where_its_rows_shrink(size, method):
    picture = np.random.default_rng(0).integers(0, 256, (12, 8, 3), np.uint8)
    thumbnail = Thumbnail(picture, size)
    expected = cv2.resize(picture, size[::-1], interpolation=method)
    np.testing.assert_array_equal(thumbnail.cut(thumbnail.frame), expected)


def test_a_mosaic_has_each_map_on_its_own_tile_and_one_scale_for_all():
    x, y = (axis.reshape(-1) for axis in np.meshgrid(np.arange(5) * 2.0, np.arange(3) * 2.0))
    kept = np.arange(15) != 7
    x, y = x[kept], y[kept]
    pictures = np.stack([np.full((40, 40, 3), 90 + 5 * i, np.uint8) for i in range(14)])
    maps = np.zeros((14, 4, 4), np.float32)
    maps[np.arange(14), np.arange(14) % 4, np.arange(14) // 4] = np.linspace(0.3, 1, 14)
    maps[3] = 0
    sheet = tile_mosaic(x, y, pictures, maps, tile=2.0)
    body = sheet[HEADER : len(sheet) - 50]
    assert body.shape[1] == 350
    side = 350 // 5
    for i in range(14):
        top, left = round(y[i] / 2 * side), round(x[i] / 2 * side)
        seen = body[top : top + side, left : left + side].astype(int)
        if i == 3:
            assert np.ptp(seen, axis=-1).max() < 40  # in grey, and struck out
            assert seen.min() < 60
            continue
        alone = heatmap.overlay(cv2.resize(pictures[i], (side, side)), maps[i], peak=1.0)
        assert np.abs(seen - alone).mean() < 3
        heat = np.ptp(seen, axis=-1)
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert (row * 4 // side, column * 4 // side) == (i % 4, i // 4)
    hole = body[side + 10 : 2 * side - 10, 2 * side + 10 : 3 * side - 10]
    assert (hole == 208).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3)])
def test_slides_of_any_shape_are_drawn(size):
    x, y = (axis.reshape(-1) for axis in np.meshgrid(np.arange(size[1]), np.arange(size[0])))
    chances = np.linspace(0, 1, len(x))
    sheet = tile_sheet(x, y, np.full(len(x), np.nan), chances, title="W" * 99, caption="m" * 99)
    assert sheet.shape[1] % 350 == 0
    assert sheet.shape[0] <= 1.35 * sheet.shape[1]


def test_the_stride_is_found():
    x, y, _ = made_slide()
    assert spacing(x, y) == TILE
    assert spacing(3.5 * x, 3.5 * y) == pytest.approx(70)
    assert spacing(np.zeros(1), np.zeros(1)) == 1


def test_the_window_holds_neighbours_of_several_kinds():
    x, y = (axis.reshape(-1) for axis in np.meshgrid(np.arange(30), np.arange(20)))
    labels = (x >= 22).astype(int)
    chosen = window(x, y, labels, 25)
    assert len(set(chosen)) == 25
    assert np.ptp(x[chosen]) <= 6
    assert np.ptp(y[chosen]) <= 6
    assert 0.35 < labels[chosen].mean() < 0.65


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": [0, 1]}, "x and y must be finite"),
        ({"x": [0, 1, np.nan]}, "NaN or infinite"),
        ({"labels": [0, 1]}, "labels must be one for each of the 3 tiles"),
        ({"probabilities": [0, 1, 2]}, r"probabilities must be in \[0, 1\]"),
        ({"tile": -1}, "tile must be"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said):
    given = {"x": [0, 1, 2], "y": [0, 0, 0], "labels": [0, 1, 1], "probabilities": [0, 1, 1]}
    with pytest.raises(ValueError, match=said):
        tile_sheet(**given | changes)


def test_a_thumbnail_needs_its_slides_size():
    with pytest.raises(ValueError, match="size must be"):
        Thumbnail(np.zeros((4, 5, 3), np.uint8), (0, 5))
    with pytest.raises(TypeError, match="uint8"):
        Thumbnail(np.zeros((4, 5, 3)), (4, 5))
