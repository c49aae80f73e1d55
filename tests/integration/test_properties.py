"""What holds for maps, masks and probes of any shape, range and dtype, against plain truths."""

import unicodedata

import matplotlib
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_saliency.common.resampling import average_masks, resize_maps
from keras_saliency.data.probes import Probes
from keras_saliency.drawing import heatmap
from keras_saliency.metrics import localization
from keras_saliency.recording.tensorboard.event_writer import safe_tag

# The same examples on every machine, however slow it is.
settings.register_profile("same", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("same")

SIDES = st.integers(1, 13)
SIZES = st.tuples(SIDES, SIDES)
FLOATS = st.sampled_from([np.float16, np.float32, np.float64])


def maps(low=-8, high=8, sides=SIDES):
    """A map of whole and of broken numbers, many of them zero."""
    numbers = st.integers(8 * low, 8 * high).map(lambda number: number / 8)
    shapes = st.tuples(sides, sides)
    return FLOATS.flatmap(
        lambda dtype: arrays.arrays(dtype, shapes, elements=numbers, fill=st.just(dtype(0)))
    )


def masks(size):
    return arrays.arrays(np.float64, size, elements=st.sampled_from([0.0, 0.25, 1.0]))


def averaged(map_, size):
    """Average over the cells of a grid: on a grid so fine that each cell is made of whole ones."""
    for axis, count in enumerate(size):
        length = map_.shape[axis]
        fine = np.repeat(map_, count, axis=axis)
        fine = np.moveaxis(fine, axis, 0).reshape(count, length, -1).mean(axis=1)
        map_ = np.moveaxis(fine.reshape(count, *np.delete(map_.shape, axis)), 0, axis)
    return map_


def interpolated(rows, count):
    """Stretch the first axis: between the middles of the two cells that are nearest."""
    stretched = []
    for place in range(count):
        middle = (place + 0.5) * len(rows) / count - 0.5
        middle = min(max(middle, 0), len(rows) - 1)
        before = int(middle)
        after = min(before + 1, len(rows) - 1)
        stretched.append(rows[before] + (middle - before) * (rows[after] - rows[before]))
    return np.array(stretched)


# --- resizing ------------------------------------------------------------------------------------


@given(maps(), SIZES)
@example(np.eye(2), (1, 13))
def test_resizing_interpolates_what_grows_and_averages_what_shrinks(map_, size):
    wanted = map_.astype(np.float64)
    for axis, count in enumerate(size):
        if count < map_.shape[axis]:
            sizes = list(wanted.shape)
            sizes[axis] = count
            wanted = averaged(wanted, sizes)
        else:
            wanted = np.moveaxis(interpolated(np.moveaxis(wanted, axis, 0), count), 0, axis)
    found = resize_maps(map_, size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-4)


@given(maps(), SIZES)
def test_resizing_turns_with_the_map_and_never_overshoots(map_, size):
    found = resize_maps(map_, size)
    np.testing.assert_allclose(resize_maps(map_[::-1, ::-1], size), found[::-1, ::-1], atol=2e-4)
    np.testing.assert_allclose(resize_maps(map_.T, size[::-1]), found.T, atol=2e-4)
    assert map_.min() - 1e-4 <= found.min()
    assert found.max() <= map_.max() + 1e-4


# --- drawing -------------------------------------------------------------------------------------


def drawn(picture, map_, signed):
    """Blend, pixel by pixel, the colour map's colours into an image of the map's size."""
    share = map_.astype(np.float64) / (np.abs(map_).max() if signed else map_.max())
    share = share if signed else share.clip(0)
    place = (share + 1) / 2 if signed else share
    colours = 255 * matplotlib.colormaps["bwr" if signed else "inferno"](place)[..., :3]
    opacity = 0.85 * (1 - (1 - np.abs(share)) ** 3)[..., None]
    return (1 - opacity) * picture + opacity * colours


@given(maps(), st.booleans(), st.integers(0, 255))
def test_an_overlay_is_the_blend_that_is_promised(map_, signed, shade):
    picture = np.full((*map_.shape, 3), shade, np.uint8)
    picture[..., 1] = np.arange(picture[..., 1].size).reshape(map_.shape) % 256
    found = heatmap.overlay(picture, map_, signed=signed)
    assert found.dtype == np.uint8
    if not map_.any() or not (signed or map_.max() > 0):
        assert (found == found[..., :1]).all()
        return
    np.testing.assert_allclose(found, drawn(picture, map_, signed), atol=4)
    clean = map_ == 0 if signed else map_ <= 0
    np.testing.assert_array_equal(found[clean], picture[clean])


@given(maps(low=0), st.integers(-20, 20), SIZES)
def test_a_map_is_drawn_alike_whatever_its_scale(map_, power, size):
    picture = np.full((*size, 3), 77, np.uint8)
    scaled = map_.astype(np.float64) * 2.0**power
    np.testing.assert_array_equal(
        heatmap.overlay(picture, map_), heatmap.overlay(picture, scaled.astype(np.float32))
    )


@given(maps(), st.sampled_from([np.nan, np.inf, -np.inf]), SIZES)
def test_a_map_that_is_not_finite_is_never_heat(map_, bad, size):
    map_[-1, -1] = bad
    picture = np.dstack([np.full(size, shade, np.uint8) for shade in (200, 20, 20)])
    found = heatmap.overlay(picture, map_, signed=True)
    assert (found == found[..., :1]).all()


# --- focus ---------------------------------------------------------------------------------------


@given(st.data(), SIZES, SIZES)
def test_masks_are_averaged_by_area(data, size, grid):
    mask = data.draw(masks(size))
    found = average_masks(mask[None], grid)[0]
    np.testing.assert_allclose(found, averaged(mask, grid), atol=1e-12)


@given(st.data(), maps(), SIZES)
def test_focus_is_what_a_fine_grid_says(data, map_, size):
    mask = data.draw(masks(size))
    shares, weights = averaged(mask, map_.shape), np.abs(map_.astype(np.float64))
    mass, hit, times = (
        measure(map_[None], mask[None])[0]
        for measure in (
            localization.mass_in_mask,
            localization.pointing_hit,
            localization.enrichment,
        )
    )
    if not weights.any() or shares.mean() in (0, 1):
        assert np.isnan([mass, hit, times]).all()
        return
    np.testing.assert_allclose(mass, (weights * shares).sum() / weights.sum(), rtol=1e-9)
    np.testing.assert_allclose(hit, shares[weights == weights.max()].mean(), atol=1e-9)
    np.testing.assert_allclose(times, mass / mask.mean(), rtol=1e-9)


@given(maps(), st.randoms(use_true_random=False))
def test_entropy_counts_cells_and_knows_no_places(map_, chance):
    found = localization.entropy(map_[None])[0]
    if map_.size == 1 or not map_.any():
        assert np.isnan(found)
        return
    weights = np.abs(map_.astype(np.float64)).ravel()
    weights /= weights.sum()
    wanted = -sum(w * np.log(w) for w in weights if w) / np.log(map_.size)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    shuffled = map_.ravel()[chance.sample(range(map_.size), map_.size)].reshape(map_.shape)
    np.testing.assert_allclose(localization.entropy(shuffled[None])[0], found, atol=1e-9)


@given(st.data(), maps(), st.floats(0.01, 100), st.floats(-5, 5))
def test_similarity_is_pearsons_and_knows_no_scale(data, map_, scale, shift):
    other = data.draw(arrays.arrays(np.float64, map_.shape, elements=st.integers(-9, 9)))
    assume(np.ptp(map_) and np.ptp(other))
    first = map_.astype(np.float64)
    found = localization.similarity(first[None], other[None])[0]
    wanted = np.corrcoef(first.ravel(), other.ravel())[0, 1]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    moved = (scale * first + shift)[None]
    np.testing.assert_allclose(localization.similarity(moved, other[None])[0], found, atol=1e-6)
    np.testing.assert_allclose(localization.similarity(other[None], -moved)[0], -found, atol=1e-6)


# --- probes --------------------------------------------------------------------------------------

COUNTS = st.integers(1, 4)


@given(COUNTS, SIZES, st.sampled_from([1, 3]), st.integers(0, 2**32 - 1), FLOATS)
@pytest.mark.filterwarnings("ignore:The images' values run from")
def test_pictures_look_the_same_in_every_known_range(count, size, channels, seed, dtype):
    shades = np.random.default_rng(seed).integers(0, 256, (count, *size, channels), np.uint8)
    shades.flat[: 2 if shades.size > 1 else 1] = (0, 255)[: min(2, shades.size)]
    assume(shades.size > 1)
    wanted = np.broadcast_to(shades, (count, *size, 3))
    for low, high in ((0, 255), (0, 1), (-1, 1)):
        images = (low + shades / 255 * (high - low)).astype(dtype)
        probes = Probes(images)
        assert probes.value_range == (low, high)
        assert probes.images.dtype == np.float32
        np.testing.assert_allclose(probes.display.astype(int), wanted, atol=dtype == np.float16)
        np.testing.assert_array_equal(probes.images, images.astype(np.float32))
    np.testing.assert_array_equal(Probes(shades).display, wanted)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.sampled_from("bBhHiIlLefd"))
def test_classes_are_the_same_in_every_form(classes, code):
    images, names = np.zeros((len(classes), 2, 3, 3), np.uint8), ("a", "b", "c", "d", "e")
    column = np.array(classes, code)
    smoothed = 0.9 * np.eye(5)[classes] + 0.02
    texts = [names[one] for one in classes]
    for form in (column, column[:, None], np.eye(5)[classes], smoothed, texts):
        probes = Probes(images, form, class_names=names)
        assert probes.labels.dtype == np.int64
        assert probes.labels.tolist() == classes
        assert probes.label_texts() == texts


@given(st.data(), COUNTS, SIZES)
def test_masks_are_the_same_in_every_form(data, count, size):
    wanted = data.draw(arrays.arrays(bool, (count, *size)))
    images = np.zeros((count, *size, 3), np.uint8)
    forms = [wanted, wanted.astype(np.float16), wanted.astype(int), wanted[..., None]]
    if wanted.any():
        forms.append(255 * wanted.astype(np.uint8))
    for form in forms:
        np.testing.assert_array_equal(Probes(images, masks=form).masks, wanted)


TEXTS = st.text(max_size=12) | st.sampled_from(
    ["../x", "a/b", "a\\b", ".", "..", "a\0", "CON", "💧"]
)


@given(st.lists(TEXTS | st.binary(max_size=4), min_size=1, max_size=6))
def test_names_are_safe_and_their_own(names):
    images = np.zeros((len(names), 2, 2, 3), np.uint8)
    settled = Probes(images, names=names).names
    assert len({*settled}) == len(names)
    for name in settled:
        assert name
        assert not name.startswith(".")
        assert not set(name) & set('/\\:*?"<>| ')
        assert all(unicodedata.category(letter)[0] in "LMNPS" for letter in name)
    assert Probes(images, names=settled).names == settled


@given(TEXTS)
def test_a_tag_is_one_part_of_a_path(text):
    tag = safe_tag(text)
    assert tag
    assert all(letter.isalnum() or letter in "-." for letter in tag)
