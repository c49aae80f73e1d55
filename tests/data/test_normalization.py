import keras
import numpy as np
import pytest

from keras_saliency.data.normalization import read_pixels, rgb
from keras_saliency.data.probes import Probes

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 9, 14, 3), np.uint8)
PIXELS[0, 0, 0], PIXELS[0, 0, 1] = 0, 255


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.astype(np.uint8),
        lambda x: x,
        lambda x: x / 255,
        lambda x: x / 127.5 - 1,
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.filterwarnings("ignore:Images of")
def test_ranges_lead_there_and_back(make, channels):
    source = np.concatenate([PIXELS, PIXELS], axis=-1)[..., :channels]
    images = make(source.astype(np.float32))
    pixels, scaling = read_pixels(Probes(images))
    np.testing.assert_array_equal(pixels, source)
    np.testing.assert_allclose(scaling.to_input(pixels.astype(np.float32)), images, atol=1e-4)
    assert scaling.to_input(pixels).dtype == np.float32
    assert scaling.true_zero


@pytest.mark.parametrize("mode", ["caffe", "torch", "tf"])
@pytest.mark.filterwarnings("ignore:The images' values")
def test_what_keras_applications_preprocessed_is_recognised(mode):
    raw = PIXELS.astype(np.float32)
    inputs = keras.applications.imagenet_utils.preprocess_input(raw.copy(), mode=mode)
    pixels, scaling = read_pixels(Probes(inputs))
    np.testing.assert_array_equal(pixels, PIXELS)
    np.testing.assert_allclose(scaling.to_input(pixels), inputs, atol=1e-3)
    assert scaling.true_zero


@pytest.mark.filterwarnings("ignore:The images' values")
def test_an_unknown_range_leads_there_and_back_but_its_black_is_unknown():
    images = RNG.normal(0, 3, (4, 9, 14, 3)).astype(np.float32)
    pixels, scaling = read_pixels(Probes(images))
    assert not scaling.true_zero
    step = np.ptp(images) / 255
    np.testing.assert_allclose(scaling.to_input(pixels), images, atol=0.51 * step)


def test_images_of_one_value_do_not_divide_by_zero():
    images = np.full((2, 9, 14, 3), 0.5, np.float32)
    pixels, scaling = read_pixels(Probes(images))
    np.testing.assert_allclose(scaling.to_input(pixels), images, atol=1 / 255)


@pytest.mark.parametrize("shape", [(9, 14, 1), (9, 14, 3)])
@pytest.mark.parametrize("out", ["as given", "repeated"])
def test_preprocess_gets_the_range_and_channels_that_it_was_given(shape, out):
    def preprocess(x):
        if x.shape[-1] != shape[-1]:
            raise ValueError("other channels than in training")
        return np.repeat(x * 2 - 1, 3, axis=-1) if out == "repeated" else x * 2 - 1

    images = PIXELS[..., : shape[-1]] / 255
    probes = Probes(images, preprocess=preprocess)
    pixels, scaling = read_pixels(probes)
    np.testing.assert_array_equal(pixels, PIXELS[..., : shape[-1]])
    np.testing.assert_allclose(scaling.to_input(pixels), probes.images, atol=1e-5)


def test_a_display_that_preprocess_does_not_start_from_is_refused():
    probes = Probes(PIXELS, display=255 - PIXELS, preprocess=lambda x: x / 255)
    with pytest.raises(ValueError, match="without `display=`"):
        read_pixels(probes)
    small = Probes(PIXELS, display=PIXELS[:, :4, :5], preprocess=lambda x: x / 255)
    with pytest.raises(ValueError, match=r"display\.shape=\(5, 4, 5, 3\)"):
        read_pixels(small)


def test_pixels_of_an_unknown_range_are_shown_as_their_probes_are():
    scan = np.random.default_rng(0).uniform(-1000, 1000, (2, 90, 90, 1)).astype("float32")
    scan[:, :5, :5] = 3000
    with pytest.warns(UserWarning, match="percentile"):
        probes = Probes(scan)
    pixels, scaling = read_pixels(probes)
    # Half a step of the pixels, which span the whole range, is one step and a bit of what is shown.
    assert np.abs(scaling.display(pixels) - probes.display.astype(int)).max() <= 2
    assert np.abs(scaling.to_input(pixels) - scan).max() <= 4000 / 510 + 0.01
    known = read_pixels(Probes(PIXELS[None] if PIXELS.ndim == 3 else PIXELS))
    np.testing.assert_array_equal(known[1].display(known[0]), rgb(known[0]))


def test_rgb_takes_the_first_channels():
    many = np.concatenate([PIXELS, PIXELS[..., :2]], axis=-1)
    np.testing.assert_array_equal(rgb(many), PIXELS)
    np.testing.assert_array_equal(rgb(many[..., :2]), np.repeat(PIXELS[..., :1], 3, axis=-1))
