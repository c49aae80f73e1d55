import io

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_saliency.shortcuts.images import ImageSet
from keras_saliency.shortcuts.nuisances import NUISANCES, PATCH_AREA, find_salient_patches

SIZE = (40, 56)
TELEA = 3  # What in-painting gets wrong by rounding even on flat ground.
ALL = tuple(NUISANCES)


def boxed(boxes, objects, grounds, size=SIZE):
    """Flat rectangles (top, bottom, left, right) on flat grounds, with their masks."""
    pixels = np.empty((len(boxes), *size, len(grounds[0])), np.uint8)
    masks = np.zeros((len(boxes), *size), np.float32)
    for k, (top, bottom, left, right) in enumerate(boxes):
        pixels[k] = grounds[k]
        pixels[k, top:bottom, left:right] = objects[k]
        masks[k, top:bottom, left:right] = 1
    return ImageSet(pixels, np.arange(len(boxes)), masks)


def noisy(count=3, size=SIZE, channels=3, seed=0, with_masks=True):
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, *size), np.float32)
    masks[:, 12:25, 20:31] = 1
    pixels = rng.integers(20, 150, (count, *size, channels), np.uint8)
    pictures = ImageSet(pixels, np.arange(count), masks if with_masks else None)
    pictures.spots = np.array([[10, 20], [30, 12], [20, 45]])[:count, None]
    return pictures


def twin(name, receivers, donors, i=0, j=0):
    return NUISANCES[name].twins(receivers, donors, np.array([i]), np.array([j]))[0]


@pytest.fixture
def pair():
    receivers = boxed([(8, 18, 10, 24)], [(200, 30, 30)], [(30, 120, 60)])
    donors = boxed([(20, 34, 28, 40)], [(20, 20, 220)], [(150, 160, 170)])
    return receivers, donors


def test_background_keeps_the_object_and_brings_no_trace_of_the_donors(pair):
    made = twin("background", *pair)
    np.testing.assert_array_equal(made[8:18, 10:24], np.broadcast_to([200, 30, 30], (10, 14, 3)))
    made[8:18, 10:24] = (150, 160, 170)
    np.testing.assert_allclose(made, np.broadcast_to([150, 160, 170], (*SIZE, 3)), atol=TELEA)


def test_background_blends_where_a_mask_is_soft(pair):
    receivers, donors = pair
    receivers.masks[0, 8, 10] = 0.25
    np.testing.assert_allclose(
        twin("background", receivers, donors)[8, 10],
        0.25 * np.array([200, 30, 30]) + 0.75 * np.array([150, 160, 170]),
    )


def test_object_is_the_donors_on_the_receivers_ground(pair):
    made = twin("object", *pair)
    np.testing.assert_array_equal(made[20:34, 28:40], np.broadcast_to([20, 20, 220], (14, 12, 3)))
    made[20:34, 28:40] = (30, 120, 60)
    np.testing.assert_allclose(made, np.broadcast_to([30, 120, 60], (*SIZE, 3)), atol=TELEA)


def test_position_moves_by_the_distance_of_the_centres(pair):
    made = twin("position", *pair)
    expected = np.broadcast_to(np.array([30, 120, 60], np.float32), (*SIZE, 3)).copy()
    # The centres are at 12.5, 16.5 and at 26.5, 33.5: 14 down and 17 to the right.
    expected[22:32, 27:41] = (200, 30, 30)
    np.testing.assert_allclose(made, expected, atol=TELEA)


def test_position_does_not_follow_the_shape_of_the_object():
    """A comma and an apostrophe in one box have centres of mass 3 px apart, and one place."""
    receivers = boxed([(8, 20, 10, 24)], [(200, 30, 30)], [(30, 120, 60)])
    donors = boxed([(8, 20, 10, 24)], [(20, 20, 220)], [(150, 160, 170)])
    receivers.masks[0, 10:20, 16:24] = 0
    donors.masks[0, 8:18, 10:18] = 0
    made = twin("position", receivers, donors)
    np.testing.assert_allclose(made[8:20, 10:16], receivers.pixels[0, 8:20, 10:16], atol=TELEA)


def test_position_stops_at_the_edge_of_the_picture():
    wide = boxed([(2, 30, 4, 46)], [(200, 30, 30)], [(30, 120, 60)])
    corner = boxed([(34, 39, 50, 55)], [(9, 9, 9)], [(0, 0, 0)])
    made = twin("position", wide, corner)
    np.testing.assert_array_equal(np.argwhere(made[..., 0] == 200).min(0), [12, 14])
    np.testing.assert_array_equal(np.argwhere(made[..., 0] == 200).max(0), [39, 55])


def test_scale_gives_the_donors_area_in_the_receivers_place(pair):
    receivers, donors = pair
    changed = np.abs(twin("scale", receivers, donors) - [30, 120, 60]).sum(-1) / 290
    assert changed.sum() == pytest.approx(donors.masks.sum(), rel=0.1)
    weights = changed / changed.sum()
    centre = (weights * np.arange(40)[:, None]).sum(), (weights * np.arange(56)).sum()
    assert centre == pytest.approx((12.5, 16.5), abs=0.3)


@pytest.mark.parametrize("name", ["scale", "position"])
def test_place_and_size_are_those_of_the_tight_masks(name, pair):
    exact = twin(name, *pair)
    loose = [
        ImageSet(
            side.pixels,
            side.labels,
            np.stack([cv2.dilate(m, np.ones((7, 7))) for m in side.masks]),
            side.masks,
        )
        for side in pair
    ]
    np.testing.assert_allclose(twin(name, *loose), exact, atol=TELEA)
    loose[1] = ImageSet(loose[1].pixels, loose[1].labels, loose[1].masks)
    assert np.abs(twin("scale", *loose) - twin("scale", *pair)).max() > 50


def test_cast_of_flat_pictures_is_the_ratio_of_their_colours():
    receivers = boxed([(8, 18, 10, 24)], [(40, 40, 40)], [(60, 60, 60)])
    donors = boxed([(8, 18, 10, 24)], [(255, 0, 0)], [(50, 100, 80)])
    # The donor's ground alone counts; its balance is (50, 100, 80) over their geometric mean.
    balance = np.array([50, 100, 80]) / np.cbrt(50 * 100 * 80)
    made = twin("cast", receivers, donors)
    np.testing.assert_allclose(made[0, 0], 60 * balance, rtol=1e-4)
    np.testing.assert_allclose(made[10, 12], 40 * balance, rtol=1e-4)


def test_cast_of_itself_is_itself_and_never_leaves_the_range():
    pictures = noisy()
    np.testing.assert_allclose(twin("cast", pictures, pictures), pictures.pixels[0], rtol=1e-5)
    red = boxed([(8, 18, 10, 24)], [(9, 9, 9)], [(250, 1, 1)])
    assert twin("cast", pictures, red).max() == 255


def test_cast_without_masks_takes_the_whole_picture():
    flat = boxed([(0, 20, 0, 56)], [(100, 50, 50)], [(50, 50, 100)])
    whole = ImageSet(flat.pixels, flat.labels, None)
    logs = np.log(flat.pixels[0].astype(float)).mean((0, 1))
    np.testing.assert_allclose(whole.casts[0], logs - logs.mean(), rtol=1e-4)
    assert abs(flat.casts[0] - whole.casts[0]).max() > 0.1


def test_texture_has_the_donors_spectrum_and_the_receivers_shapes():
    flat = boxed([(0, 40, 0, 30)], [(90, 110, 130)], [(120, 120, 120)])
    donors = noisy(1, with_masks=False)
    donors.pixels //= 3  # So that nothing is clipped.
    added = twin("texture", flat, donors) - flat.pixels[0]
    residual = donors.pixels[0].astype(float) - cv2.medianBlur(donors.pixels[0], 3)
    np.testing.assert_allclose(
        np.abs(np.fft.rfft2(added, axes=(0, 1))),
        np.abs(np.fft.rfft2(residual, axes=(0, 1))),
        atol=1,  # Of sums over 2240 pixels, some of them above 1000.
    )
    between = np.corrcoef(added.ravel(), residual.ravel())[0, 1]
    assert abs(between) < 0.1


def test_texture_is_as_strong_as_off_the_donors_object():
    strengths = [noisy(1, with_masks=masks).residuals.astype(float).std() for masks in (0, 1)]
    assert strengths[0] == pytest.approx(strengths[1], rel=0.1)
    plain = boxed([(12, 25, 20, 31)], [(0, 0, 0)], [(120, 120, 120)])
    checked = plain.pixels.copy()
    checked[:, 14:23:2, 22:29:2] = 255  # Fur, which is the object's own.
    furry = ImageSet(checked, plain.labels, plain.masks)
    assert furry.residuals.astype(float).std() < 1
    assert ImageSet(checked, plain.labels, None).residuals.astype(float).std() > 10


def test_a_frame_is_a_sixteenth_deep_and_what_stands_out_there():
    plain = boxed([(8, 18, 10, 24)], [(200, 30, 30)], [(30, 120, 60)])
    framed = boxed([(8, 18, 10, 24)], [(200, 30, 30)], [(150, 160, 170)])
    framed.pixels[0][framed.rim] = 0
    depth = round(40 / 16)
    inner = np.zeros(SIZE, bool)
    inner[depth:-depth, depth:-depth] = True
    np.testing.assert_array_equal(framed.rim, ~inner)
    made = twin("frame", plain, framed)
    np.testing.assert_array_equal(made[inner], plain.pixels[0][inner])
    np.testing.assert_array_equal(made[~inner], 0)
    # Without a frame of the donor's, the receiver's ground goes on to the edge.
    made = twin("frame", framed, plain)
    np.testing.assert_array_equal(made[inner], framed.pixels[0][inner])
    np.testing.assert_allclose(made[~inner] - [150, 160, 170], 0, atol=TELEA)
    np.testing.assert_array_equal(twin("frame", plain, plain), plain.pixels[0])


def test_a_rim_stands_out_from_a_half_to_one_and_a_half_times_25_levels():
    shades = (100, 112, 125, 130, 138)
    pictures = boxed([(8, 18, 10, 24)] * 5, [(9, 9, 9)] * 5, [(100, 100, 100)] * 5)
    for k, shade in enumerate(shades):
        pictures.pixels[k][pictures.rim] = shade
    expected = np.clip((np.array(shades) - 100) / 25 - 0.5, 0, 1)
    np.testing.assert_allclose(pictures.standing_out[:, 0, 0], expected, atol=TELEA / 25)
    assert pictures.standing_out[:, 8:-8, 8:-8].max() == 0


def test_exposure_is_the_ratio_of_the_grounds_brightness():
    receivers = boxed([(8, 18, 10, 24)], [(40, 40, 40)], [(50, 60, 70)])
    donors = boxed([(8, 18, 10, 24)], [(255, 255, 255)], [(200, 30, 40)])
    made = twin("exposure", receivers, donors)
    np.testing.assert_allclose(made, receivers.pixels[0] * (90 / 60), rtol=1e-5)
    np.testing.assert_allclose(twin("exposure", receivers, receivers), receivers.pixels[0])
    dark = boxed([(8, 18, 10, 24)], [(1, 1, 1)], [(2, 2, 2)])
    assert twin("exposure", dark, donors)[10, 12] == pytest.approx([45, 45, 45])
    assert twin("exposure", noisy(), boxed([(0, 9, 0, 9)], [(1, 1, 1)], [(250,) * 3])).max() == 255


def test_light_falls_as_on_the_donors_ground_and_as_brightly_as_before():
    """The field of a slope is the slope but for its ends, which a blur flattens."""
    columns = np.exp(np.linspace(-0.5, 0.5, 56)).astype(np.float32)
    sloping = np.rint(np.broadcast_to(100 * columns[None, :, None], (*SIZE, 3))).astype(np.uint8)
    donors = ImageSet(sloping[None], np.array([0]), np.zeros((1, *SIZE), np.float32))
    flat = boxed([(8, 18, 10, 24)], [(40, 80, 120)], [(100, 100, 100)])
    np.testing.assert_allclose(flat.lights, 0, atol=1e-5)
    gain = twin("light", flat, donors) / flat.pixels[0]
    np.testing.assert_allclose(gain, gain[:1, :, :1] * np.ones((40, 1, 3)), rtol=1e-4)
    steps = np.diff(np.log(gain[0, :, 0]))
    np.testing.assert_allclose(steps[20:35], 1 / 55, rtol=0.15)
    assert np.log(gain).mean() == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(twin("light", donors, donors), donors.pixels[0], rtol=1e-5)


def test_light_is_not_that_of_the_object():
    pictures = boxed([(8, 30, 10, 30)], [(255, 255, 255)], [(60, 60, 60)])
    np.testing.assert_allclose(pictures.lights, 0, atol=1e-5)
    assert np.ptp(ImageSet(pictures.pixels, pictures.labels, None).lights) > 0.1


def photographic(count, seed=0, size=(64, 64)):
    """Noise of many scales, the finer the fainter, as in photographs."""
    rng = np.random.default_rng(seed)
    pixels = np.full((count, *size, 3), 128.0)
    for shorter in (4, 8, 16, 32, 64):
        strength = 80 / np.sqrt(shorter)
        rough = rng.normal(0, strength, (count, shorter, shorter, 3)).astype(np.float32)
        pixels += [cv2.resize(one, size[::-1], interpolation=cv2.INTER_CUBIC) for one in rough]
    return ImageSet(pixels.clip(0, 255).astype(np.uint8), np.arange(count), None)


def spoilt(pictures, change):
    return ImageSet(np.stack([change(one) for one in pictures.pixels]), pictures.labels, None)


def as_jpeg(quality):
    def change(image):
        with io.BytesIO() as file:
            Image.fromarray(image).save(file, "JPEG", quality=quality)
            return np.array(Image.open(file))

    return change


@pytest.mark.parametrize("quality", [5, 12, 30, 60])
def test_the_quality_of_compression_is_found_and_swapped(quality):
    plain = photographic(6)
    packed = spoilt(photographic(6, seed=1), as_jpeg(quality))
    assert plain.qualities.tolist() == [100] * 6
    assert packed.qualities.tolist() == [quality] * 6
    made = twin("compression", plain, packed)
    # Pillow and OpenCV write the same coefficients, and read them back to a level or two.
    np.testing.assert_allclose(made, as_jpeg(quality)(plain.pixels[0]), atol=8)
    np.testing.assert_array_equal(twin("compression", plain, plain, 0, 1), plain.pixels[0])
    # What is packed is smoothed, and has the texture of the donor.
    made = twin("compression", packed, plain)
    np.testing.assert_allclose(made, twin("texture", packed, plain), atol=0.51)


def test_grey_pictures_have_a_quality_and_other_channels_have_none():
    grey = spoilt(photographic(3), lambda image: as_jpeg(12)(image[..., 1])[..., None])
    assert grey.qualities.tolist() == [12] * 3
    made = twin("compression", ImageSet(photographic(3).pixels[..., :1], np.arange(3), None), grey)
    expected = as_jpeg(12)(photographic(3).pixels[0, ..., 0])
    np.testing.assert_allclose(made[..., 0], expected, atol=8)
    assert noisy(channels=2).qualities.tolist() == [100] * 3


def shrunk(scale):
    def change(image):
        side = round(64 * scale)
        small = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
        return np.array(small.resize((64, 64), Image.Resampling.BILINEAR))

    return change


@pytest.mark.parametrize("scale", [0.25, 0.5])
def test_the_scale_of_details_is_found_and_swapped(scale):
    plain = photographic(6)
    coarse = spoilt(photographic(6, seed=1), shrunk(scale))
    assert plain.scales.tolist() == [1] * 6
    assert coarse.scales.tolist() == [scale] * 6
    made = twin("resolution", plain, coarse)
    np.testing.assert_allclose(made, shrunk(scale)(plain.pixels[0]), atol=2)
    np.testing.assert_array_equal(twin("resolution", plain, plain, 0, 1), plain.pixels[0])
    made = twin("resolution", coarse, plain)
    np.testing.assert_allclose(made, twin("texture", coarse, plain), atol=0.51)


def test_mark_is_a_round_spot_from_the_donors_to_the_receivers():
    receivers, donors = noisy(seed=1), noisy(seed=2)
    made = twin("mark", receivers, donors, 0, 1)
    np.testing.assert_array_equal(made[10, 20], donors.pixels[1, 30, 12])
    changed = (made != receivers.pixels[0]).any(-1)
    rows, columns = np.nonzero(changed)
    assert np.hypot(rows - 10, columns - 20).max() < 4
    black = ImageSet(np.zeros((1, *SIZE, 3), np.uint8), receivers.labels[:1], None)
    white = ImageSet(np.full((1, *SIZE, 3), 255, np.uint8), receivers.labels[:1], None)
    black.spots, white.spots = receivers.spots[:1], receivers.spots[1:2]
    share = twin("mark", black, white).mean() / 255
    assert share == pytest.approx(PATCH_AREA, rel=0.1)


def test_each_salient_patch_is_pasted_over_the_one_of_its_rank():
    receivers, donors = noisy(seed=1), noisy(seed=2)
    receivers.spots = np.array([[[10, 20], [30, 40]]] * 3)
    donors.spots = np.array([[[20, 45], [12, 9]]] * 3)
    made = twin("mark", receivers, donors, 0, 1)
    np.testing.assert_array_equal(made[10, 20], donors.pixels[1, 20, 45])
    np.testing.assert_array_equal(made[30, 40], donors.pixels[1, 12, 9])
    white, black = (ImageSet(np.full((3, *SIZE, 3), v, np.uint8), None, None) for v in (255, 0))
    white.spots, black.spots = donors.spots, receivers.spots
    assert twin("mark", black, white).mean() / 255 == pytest.approx(2 * PATCH_AREA, rel=0.1)


@pytest.mark.parametrize(("size", "reach"), [((64, 64), 3), ((33, 70), 2), ((9, 8), 0)])
def test_a_spot_is_found_where_a_map_has_its_peak_but_wholly_inside(size, reach):
    maps = np.zeros((3, *size))
    maps[0, size[0] // 2 + 1, size[1] // 2 - 1] = -3  # The magnitude counts.
    maps[1, -1, 0] = 1e-9
    maps[2] = np.nan
    spots = find_salient_patches(maps, size)[:, 0]
    np.testing.assert_array_equal(spots[0], [size[0] // 2 + 1, size[1] // 2 - 1])
    np.testing.assert_array_equal(spots[2], np.array(size) // 2)
    np.testing.assert_array_equal(spots[1], [size[0] - 1 - reach, reach])


def test_a_broad_bright_area_outweighs_a_lone_pixel_and_coarse_maps_are_stretched():
    maps = np.zeros((1, 64, 64))
    maps[0, 5, 5], maps[0, 38:43, 48:53] = 2, 1
    found = find_salient_patches(maps, (64, 64))
    np.testing.assert_array_equal(found[:, 0], [[40, 50]])
    np.testing.assert_allclose(found[:, 1], [[5, 5]], atol=1)
    coarse = np.zeros((1, 4, 7))
    coarse[0, 2, 5] = 1  # Its cell's middle is 2.5 / 4 and 5.5 / 7 of the way.
    found = find_salient_patches(coarse, (40, 56))
    np.testing.assert_allclose(found[:, 0], [[25, 44]], atol=1)
    apart = np.hypot(*(found[:, 0] - found[:, 1]).T)
    assert apart > 2 * np.floor(np.sqrt(PATCH_AREA * 40 * 56 / np.pi))  # They hardly overlap.


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ALL)
def test_any_number_of_channels_is_treated_channel_by_channel(name, channels):
    if name == "cast" and channels == 1:
        pytest.skip("one channel has no balance")
    whole_a, whole_b = noisy(channels=channels, seed=3), noisy(channels=channels, seed=4)
    i, j = np.array([0, 1, 2]), np.array([2, 0, 0])
    made = NUISANCES[name].twins(whole_a, whole_b, i, j)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 255 + 1e-3
    # One gain for all channels, or one noise, or what stands out in any of them.
    if name in ("cast", "texture", "exposure", "light", "frame", "compression"):
        return
    for channel in range(channels):
        parts = []
        for whole in (whole_a, whole_b):
            one = ImageSet(whole.pixels[..., [channel]], whole.labels, whole.masks)
            one.spots = whole.spots
            parts.append(one)
        # OpenCV in-paints three channels at once with rounding of its own.
        single = NUISANCES[name].twins(*parts, i, j)[..., 0]
        np.testing.assert_allclose(made[..., channel], single, atol=2)


@pytest.mark.parametrize("name", ["position", "scale"])
def test_a_donor_like_the_receiver_leaves_the_object_where_it_is(name):
    pictures = noisy()
    made = twin(name, pictures, pictures)
    on = pictures.masks[0] == 1
    np.testing.assert_allclose(made[on], pictures.pixels[0][on], atol=1e-3)
    np.testing.assert_array_equal(
        made[~pictures.hidden[0]], pictures.pixels[0][~pictures.hidden[0]]
    )


@pytest.mark.parametrize("name", ["mark", "cast", "exposure", "light", "compression", "resolution"])
def test_a_donor_that_is_the_receiver_changes_nothing(name):
    pictures = noisy()
    np.testing.assert_allclose(twin(name, pictures, pictures, 1, 1), pictures.pixels[1], atol=1e-3)


def test_what_needs_masks_says_so():
    for name in ("background", "object", "position", "scale"):
        with pytest.raises(ValueError, match="needs masks"):
            twin(name, noisy(with_masks=False), noisy(with_masks=False))
