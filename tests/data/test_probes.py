from pathlib import Path

import numpy as np
import pytest
from keras import ops
from PIL import Image

from keras_saliency.data.probes import Probes

NAMES = ["elephant", "penguin"]


def colours(*values, dtype=np.uint8, size=(5, 7)):
    """One flat RGB picture per given colour."""
    return np.stack([np.full((*size, 3), value, dtype) for value in values])


# --- images and display -----------------------------------------------------------------------


def test_uint8_reaches_the_model_unscaled_and_the_eye_unchanged():
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    probes = Probes(images)
    assert probes.images.dtype == np.float32
    np.testing.assert_array_equal(probes.images, images)
    np.testing.assert_array_equal(probes.display, images)
    assert probes.value_range == (0, 255)


@pytest.mark.parametrize(
    ("images", "value_range"),
    [
        (np.array([0.0, 0.5, 1.0]), (0, 1)),
        (np.array([-1.0, 0.0, 1.0]), (-1, 1)),
        (np.array([0.0, 127.5, 255.0]), (0, 255)),
    ],
)
def test_every_known_range_shows_black_middle_and_white(images, value_range):
    probes = Probes(np.ones((3, 5, 7)) * images[:, None, None])
    assert probes.value_range == value_range
    assert probes.display[:, 0, 0].tolist() == [[0] * 3, [128] * 3, [255] * 3]
    np.testing.assert_array_equal(probes.images[:, 0, 0, 0], images)


def test_the_range_is_found_over_all_images_together():
    probes = Probes(colours(0.5, 200.0, dtype=np.float64))
    assert probes.value_range == (0, 255)
    assert probes.display[0].max() == 0  # half of one step of 255, rounded to even


def test_an_overshoot_of_interpolation_is_clipped_not_wrapped():
    probes = Probes(colours(-0.004, 1.004, dtype=np.float32))
    assert probes.value_range == (0, 1)
    assert [int(picture.max()) for picture in probes.display] == [0, 255]


def test_bool_images_are_black_and_white():
    assert Probes(np.eye(6, 5, dtype=bool)[None]).display[0, :2, :2, 0].tolist() == [
        [255, 0],
        [0, 255],
    ]


def test_grey_images_get_a_channel_axis_and_three_on_display():
    grey = np.arange(2 * 5 * 7, dtype=np.uint8).reshape(2, 5, 7)
    probes = Probes(grey)
    np.testing.assert_array_equal(probes.images, grey[..., None])
    np.testing.assert_array_equal(probes.display, np.repeat(grey[..., None], 3, axis=-1))


def test_an_unknown_range_is_stretched_with_one_scale_and_said_once():
    with pytest.warns(UserWarning, match=r"-2 to 2.*display=") as caught:
        probes = Probes(colours(-2.0, 0.0, 2.0, dtype=np.float32))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert probes.display[:, 0, 0, 0].tolist() == [0, 128, 255]
    assert probes.value_range == (-2, 2)


@pytest.mark.parametrize("count", [1, 30])  # of which the latter are sampled
def test_one_bright_tag_does_not_leave_the_rest_grey(count):
    scan = np.random.default_rng(0).uniform(-1000, 1000, (count, 200, 200)).astype("float32")
    scan[:, :10, :10] = 30_000  # in 1 of 400 pixels
    with pytest.warns(UserWarning, match=r"to 30000.*1st and 99th percentile"):
        probes = Probes(scan)
    assert probes.value_range == (pytest.approx(-1000, abs=1), 30_000)
    window = np.percentile(scan, [1, 99])
    wanted = 255 * np.clip((scan - window[0]) / np.ptp(window), 0, 1)
    assert np.abs(probes.display[..., 0] - wanted).max() < 2
    assert probes.display[:, 20:].std() > 60
    np.testing.assert_array_equal(probes.images[..., 0], scan)


def test_a_constant_image_of_unknown_range_is_no_division_by_zero():
    with pytest.warns(UserWarning, match="stretched"):
        assert Probes(colours(300.0, dtype=np.float32)).display.max() == 0


def test_more_than_three_channels_are_shown_by_the_first_three_with_a_warning():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 5), dtype=np.uint8)
    with pytest.warns(UserWarning, match="display="):
        probes = Probes(images)
    np.testing.assert_array_equal(probes.display, images[..., :3])
    np.testing.assert_array_equal(probes.images, images)


def test_a_given_display_of_any_range_and_size_is_shown_without_a_warning():
    shown = np.linspace(-1, 1, 2 * 9 * 4).reshape(2, 9, 4)
    probes = Probes(np.full((2, 5, 7, 6), 9000.0), display=shown)
    assert probes.display.shape == (2, 9, 4, 3)
    expected = np.rint((shown + 1) / 2 * 255)
    np.testing.assert_allclose(probes.display[..., 1], expected, atol=1)


@pytest.mark.parametrize(
    "display",
    [np.zeros((3, 5, 7, 3)), np.zeros((2, 5, 7, 4)), np.full((2, 5, 7, 3), -9.0)],
    ids=["count", "channels", "range"],
)
def test_a_display_that_does_not_fit_is_refused(display):
    with pytest.raises(ValueError, match="`display` must be 2"):
        Probes(np.zeros((2, 5, 7, 3)), display=display)


def test_preprocess_makes_the_input_from_a_copy_and_the_display_stays():
    def in_place(images):
        images -= 100
        return images

    images = colours(10, 250, dtype=np.float32)
    probes = Probes(images, preprocess=in_place)
    np.testing.assert_array_equal(probes.images, colours(-90, 150, dtype=np.float32))
    np.testing.assert_array_equal(probes.display, colours(10, 250))
    np.testing.assert_array_equal(images, colours(10, 250))
    assert probes.value_range == (0, 255)
    assert probes.preprocess is in_place


def test_preprocess_of_keras_gives_caffe_bgr():
    import keras

    probes = Probes(colours((30, 60, 90)), preprocess=keras.applications.vgg16.preprocess_input)
    expected = np.array([90, 60, 30]) - [103.939, 116.779, 123.68]
    np.testing.assert_allclose(probes.images[0, 0, 0], expected, rtol=1e-6)
    assert probes.display[0, 0, 0].tolist() == [30, 60, 90]


def test_preprocess_may_return_a_tensor_and_gets_floats():
    probes = Probes(colours(51), preprocess=lambda images: ops.convert_to_tensor(images) / 255)
    np.testing.assert_allclose(probes.images, np.full((1, 5, 7, 3), 0.2), rtol=1e-6)


def test_preprocess_that_changes_the_size_or_makes_nan_is_refused():
    with pytest.raises(ValueError, match="keep the number and the size"):
        Probes(colours(1), preprocess=lambda images: images[:, ::2])
    with pytest.raises(ValueError, match=r"preprocess\(images\).*probe 1"):
        Probes(colours(1, 2), preprocess=lambda x: np.where(x == 2, np.nan, x))


def test_tensors_and_lists_are_taken_as_arrays():
    images = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
    for given in (ops.convert_to_tensor(images), list(images)):
        np.testing.assert_array_equal(Probes(given).images, images)


@pytest.mark.needs(package="tensorflow", why="these are its tensors")
def test_tensors_of_tensorflow_are_taken_whatever_the_backend():
    import tensorflow as tf

    images = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
    probes = Probes(tf.constant(images), tf.constant(["penguin", "elephant"]), class_names=NAMES)
    np.testing.assert_array_equal(probes.images, images)
    assert probes.labels.tolist() == [1, 0]


@pytest.mark.needs(package="torch", why="these are its tensors")
def test_torch_tensors_are_taken_whatever_the_backend():
    import torch

    images = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
    tensor = torch.tensor(images, requires_grad=True)
    labels = torch.tensor([1, 0])
    for given in (tensor, list(tensor), tensor.detach()):
        probes = Probes(given, labels)
        np.testing.assert_array_equal(probes.images, images)
        assert probes.labels.tolist() == [1, 0]
    halves = torch.full((2, 5, 7), 0.5, dtype=torch.bfloat16)
    assert Probes(halves).images.tolist() == np.full((2, 5, 7, 1), 0.5).tolist()


def test_a_column_of_a_table_is_taken_as_labels():
    class Column:
        """What pandas and polars have in common."""

        def to_numpy(self):
            return np.array(["penguin", "elephant"], object)

    assert Probes(colours(1, 2), Column(), class_names=NAMES).labels.tolist() == [1, 0]


def test_arrays_are_read_only_copies():
    images, masks = np.zeros((2, 5, 7, 3), np.float32), np.zeros((2, 5, 7), np.float32)
    labels = np.array([0, 1])
    probes = Probes(images, labels, masks=masks)
    images += 1
    masks += 1
    labels += 1
    assert probes.images.max() == probes.masks.max() == 0
    assert probes.labels.tolist() == [0, 1]
    for array in (probes.images, probes.display, probes.labels, probes.masks):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert images.flags.writeable


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_named(bad):
    images = np.zeros((4, 5, 7, 3))
    images[[1, 3], 2] = bad
    with pytest.raises(ValueError, match="probe 1, 3"):
        Probes(images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 5, 7, 3)), "at least one image"),
        (np.zeros((5, 7)), r"images.shape=\(5, 7\)"),
        (np.zeros((5, 7, 3)), r"images\[None\]"),
        (np.zeros((1, 2, 3, 5, 7, 3)), "must be"),
        ([np.zeros((5, 7, 3)), np.zeros((6, 7, 3))], "one size"),
    ],
    ids=["none", "flat", "single", "volume", "ragged"],
)
def test_images_of_a_wrong_shape_are_refused_with_the_mend(images, message):
    with pytest.raises(ValueError, match=message):
        Probes(images)


def test_images_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="numbers"):
        Probes(np.full((2, 5, 7), "a"))


def test_images_of_several_sizes_are_told_by_their_shapes():
    images = [np.zeros((5, 7, 3)), np.zeros((6, 7, 3))]
    as_numpy_holds_them = np.empty(2, object)
    as_numpy_holds_them[:] = images
    for given in (images, as_numpy_holds_them):
        with pytest.raises(ValueError, match=r"images of shapes \(5, 7, 3\) and \(6, 7, 3\)"):
            Probes(given)


@pytest.mark.needs(package="tensorflow", why="ragged tensors are its own")
def test_a_ragged_tensor_is_refused_and_not_filled_up_with_zeros():
    import tensorflow as tf

    with pytest.raises(ValueError, match=r"one size first.*ragged"):
        Probes(tf.ragged.constant([[[[1.0, 2, 3]]], [[[1.0, 2, 3], [4, 5, 6]]]]))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("animals", "from_directory"),
        ([Path("a.png"), Path("b.png")], "from_directory.*Image.open"),
        (Image.new("RGB", (7, 5)), r"\[image\]"),
        ((image for image in colours(1)), "from_dataset.*generator"),
        (None, "must be an array.*NoneType"),
    ],
    ids=["folder", "files", "picture", "generator", "none"],
)
def test_what_is_no_array_is_refused_with_what_would_read_it(images, message):
    with pytest.raises(TypeError, match=message):
        Probes(images)


@pytest.mark.parametrize("preprocess", ["vgg16", 255])
def test_a_preprocess_that_is_no_function_is_refused(preprocess):
    with pytest.raises(TypeError, match=r"keras\.applications\.vgg16"):
        Probes(colours(1), preprocess=preprocess)


# --- pictures of Pillow ------------------------------------------------------------------------


def gradient(mode):
    """A picture of 5 by 7 whose every pixel differs."""
    values = np.arange(5 * 7 * 4, dtype=np.uint8).reshape(5, 7, 4)
    values[..., 3] = 255
    return Image.fromarray(values, "RGBA" if mode == "PA" else None).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "YCbCr", "HSV", "P"])
def test_a_coloured_picture_is_read_as_pillow_makes_rgb_of_it(mode):
    picture = gradient(mode)
    probes = Probes([picture, picture])
    np.testing.assert_array_equal(probes.images[1], np.asarray(picture.convert("RGB")))
    np.testing.assert_array_equal(probes.display, probes.images)
    assert probes.value_range == (0, 255)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_a_grey_picture_is_read_as_pillow_makes_grey_of_it(mode):
    picture = gradient(mode)
    images = Probes([picture, picture]).images
    np.testing.assert_array_equal(images[1, ..., 0], np.asarray(picture.convert("L")))


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_sixteen_bits_become_eight(mode):
    values = np.array([[0, 257 * 100, 65535, 0]] * 2, np.uint16)
    picture = Image.fromarray(values).convert(mode)
    assert Probes([picture]).images[0, 1, :, 0].tolist() == [0, 100, 255, 0]


def test_a_picture_of_floats_stays_as_it_is():
    values = np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7)
    probes = Probes([Image.fromarray(values)])
    np.testing.assert_array_equal(probes.images[0, ..., 0], values)
    assert probes.value_range == (0, 1)


def test_transparency_shows_white_as_pillow_composes_it():
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    picture = Image.fromarray(values)
    white = Image.new("RGBA", picture.size, "white")
    expected = np.asarray(Image.alpha_composite(white, picture).convert("RGB"))
    np.testing.assert_array_equal(Probes([picture]).images[0], expected)
    palette = gradient("P")
    palette.info["transparency"] = palette.getpixel((2, 1))
    image = Probes([palette]).images[0]
    assert image[1, 2].tolist() == [255] * 3
    assert image[4, 6].tolist() == list(palette.convert("RGB").getpixel((6, 4)))


def test_pictures_of_mixed_modes_become_rgb():
    pictures = [gradient(mode) for mode in ("L", "P", "RGBA", "CMYK", "1")]
    probes = Probes(pictures, [0, 1, 0, 1, 0], display=pictures)
    for image, shown, picture in zip(probes.images, probes.display, pictures, strict=True):
        np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))
        np.testing.assert_array_equal(shown, image)


def test_pictures_beside_arrays_and_in_a_dict():
    picture = gradient("P")
    array = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(Probes([picture, array]).images, [array, array])
    probes = Probes({"photo": [picture], "age": [3]})
    np.testing.assert_array_equal(probes.images[0], array)


def test_of_a_mask_with_a_palette_the_indices_count():
    mask = Image.fromarray(np.eye(5, 7, dtype=np.uint8)).convert("P")
    mask.putpalette([0, 0, 0, 128, 0, 0])
    probes = Probes(colours(9), masks=[mask])
    np.testing.assert_array_equal(probes.masks[0], np.eye(5, 7))


# --- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        [1, 0, 1],
        [[1], [0], [1]],
        np.array([1.0, 0.0, 1.0], np.float32),
        [True, False, True],
        np.array([[0, 1], [1, 0], [0, 1]], np.uint8),
        [[0.05, 0.95], [0.9, 0.1], [0.3, 0.7]],
        ["penguin", "elephant", "penguin"],
        [b"penguin", b"elephant", b"penguin"],
    ],
)
def test_every_kind_of_class_label_means_the_same(labels):
    probes = Probes(np.zeros((3, 5, 7, 3)), labels, class_names=NAMES)
    assert probes.labels.dtype == np.int64
    assert probes.labels.tolist() == [1, 0, 1]
    assert probes.label_texts() == ["penguin", "elephant", "penguin"]


def test_the_order_of_class_names_decides_what_a_string_means():
    probes = Probes(np.zeros((1, 5, 7, 3)), ["penguin"], class_names=NAMES[::-1])
    assert probes.labels.tolist() == [0]


def test_regression_targets_and_several_labels_stay_floats():
    images = np.zeros((2, 5, 7, 3))
    regression = Probes(images, [0.25, -1.5])
    assert regression.labels.dtype == np.float32
    assert regression.labels.tolist() == [0.25, -1.5]
    assert regression.label_texts() == ["0.25", "-1.5"]
    several = Probes(images, [[1, 1, 0], [0, 0, 0]], class_names=["a", "b", "c"])
    assert several.labels.dtype == np.float32
    assert several.labels.tolist() == [[1, 1, 0], [0, 0, 0]]
    assert several.label_texts() == ["a+b", "none"]
    assert Probes(images, [[0.5, 2], [3, 4]]).label_texts() == ["0.5 2", "3 4"]


def test_whole_numbers_below_zero_are_regression_targets():
    probes = Probes(colours(1, 2, 3), [-2.0, 1.0, 3.0])
    assert probes.labels.dtype == np.float32
    assert probes.labels.tolist() == [-2, 1, 3]
    assert probes.label_texts() == ["-2", "1", "3"]
    assert Probes(colours(1, 2), [2.0, 1.0]).labels.dtype == np.int64


def test_a_regression_of_whole_numbers_is_explained_and_a_classifier_refuses_them():
    import keras

    import keras_saliency as ks

    probes = Probes(np.random.default_rng(0).random((3, 8, 9, 3)), [-2, 1, 3])

    def model(units, activation, loss):
        layers = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
        head = keras.layers.Dense(units, activation)
        made = keras.Sequential([keras.Input((8, 9, 3)), *layers, head])
        made.compile(loss=loss)
        return made

    found = ks.explain(model(1, None, "mse"), probes, "saliency", target="label")
    assert np.isfinite(found.maps).all()
    with pytest.raises(ValueError, match="class indices from 0 to 3"):
        ks.explain(model(4, "softmax", "sparse_categorical_crossentropy"), probes, target="label")


def test_mixed_labels_count_as_the_larger():
    rows = np.array([[0.7, 0.3, 0], [0, 0.45, 0.55]], np.float16)
    assert Probes(colours(1, 2), rows).labels.tolist() == [0, 2]
    probes = Probes(colours(1, 2, 3), [0.9, 0.05, 0.6], class_names=NAMES)
    assert probes.labels.dtype == np.int64
    assert probes.label_texts() == ["penguin", "elephant", "penguin"]
    beyond = Probes(colours(1, 2), [0.9, 1.2], class_names=NAMES)
    assert beyond.labels.dtype == np.float32


def test_smoothed_labels_of_several_classes_read_as_their_names():
    rows = [[0.95, 0.95, 0.05], [0.05, 0.05, 0.05]]
    assert Probes(colours(1, 2), rows, class_names=["a", "b", "c"]).label_texts() == ["a+b", "none"]
    assert Probes(colours(1, 2), rows).label_texts()[0] == "0.95 0.95 0.05"


def test_of_many_values_the_first_are_the_name():
    probes = Probes(colours(1, 2), np.arange(1400).reshape(2, 700) / 4)
    assert probes.names[0] == "00_0_0.25_0.5_0.75"


@pytest.mark.parametrize(
    "labels", [[1j, 2], np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")]
)
def test_labels_of_other_kinds_are_refused(labels):
    with pytest.raises(TypeError, match="`labels` must be numbers"):
        Probes(colours(1, 2), labels)


def test_without_labels_or_class_names():
    assert Probes(np.zeros((2, 5, 7))).label_texts() == [None, None]
    assert Probes(np.zeros((2, 5, 7)), [3, 11]).label_texts() == ["3", "11"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], r"labels.shape=\(1,\)"),
        (np.zeros((2, 5, 7)), "masks"),
        ([0, -1], "from 0 to 1"),
        ([0, 2], "labels from 0 to 2"),
        ([0, np.nan], "NaN"),
        (["penguin", "walrus"], r"elephant.*penguin.*walrus"),
        (np.eye(3)[:2], "column"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        Probes(np.zeros((2, 5, 7, 3)), labels, class_names=NAMES)


def test_strings_need_class_names_and_every_probe_a_label():
    with pytest.raises(ValueError, match="class_names"):
        Probes(np.zeros((1, 5, 7, 3)), ["penguin"])
    with pytest.raises(ValueError, match=r"such as 'a', 'b'$"):
        Probes(np.zeros((4, 5, 7, 3)), ["b", "a", "b", "a"])
    with pytest.raises(TypeError, match="every probe"):
        Probes(np.zeros((2, 5, 7, 3)), ["penguin", None], class_names=NAMES)


def test_class_names_must_be_a_list_of_different_names():
    with pytest.raises(TypeError, match="list"):
        Probes(np.zeros((1, 5, 7, 3)), class_names="penguin")
    with pytest.raises(ValueError, match="differ"):
        Probes(np.zeros((1, 5, 7, 3)), class_names=["a", "a"])


# --- masks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float64])
@pytest.mark.parametrize("channel", [False, True])
def test_masks_of_every_kind(kind, channel):
    truth = np.zeros((2, 5, 7), np.float32)
    truth[0, 1:4, 2:6] = 1
    given = truth.astype(kind) * (255 if kind is np.uint8 else 1)
    probes = Probes(np.zeros((2, 5, 7, 3)), masks=given[..., None] if channel else given)
    assert probes.masks.dtype == np.float32
    np.testing.assert_array_equal(probes.masks, truth)


def test_soft_masks_keep_their_values():
    masks = np.linspace(0, 1, 35).reshape(1, 5, 7)
    images = np.zeros((1, 5, 7, 3))
    np.testing.assert_allclose(Probes(images, masks=masks).masks, masks, atol=1e-6)
    np.testing.assert_allclose(Probes(images, masks=masks * 255).masks, masks, atol=1e-6)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((2, 7, 5)), r"masks.shape=\(2, 7, 5\)"),
        (np.full((2, 5, 7), 3), "class ids"),
        (np.full((2, 5, 7), -1.0), "from -1"),
        (np.full((2, 5, 7), np.nan), "NaN"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks, message):
    with pytest.raises(ValueError, match=message):
        Probes(np.zeros((2, 5, 7, 3)), masks=masks)


# --- names -------------------------------------------------------------------------------------


def test_default_names_are_numbered_with_as_many_digits_as_needed():
    assert Probes(np.zeros((2, 5, 7)), [1, 0], class_names=NAMES).names == (
        "00_penguin",
        "01_elephant",
    )
    assert Probes(np.zeros((2, 5, 7)), [7, 0]).names == ("00_7", "01_0")
    assert Probes(np.zeros((101, 5, 7))).names[99:] == ("099", "100")


def test_names_are_made_safe_and_unique():
    given = ["a/b c", "a b\nc", "каша", "café\t#1", "///", "a_b_c_2"]
    names = Probes(np.zeros((6, 5, 7)), names=given).names
    assert names == ("a_b_c", "a_b_c_2", "каша", "café_1", "04", "a_b_c_2_2")
    assert Probes(np.zeros((1, 5, 7)), ["a / b"], class_names=["a / b"]).names == ("00_a_b",)


def test_names_may_be_bytes():
    probes = Probes(colours(1), ["ant"], names=[b"one"], class_names=np.array([b"bee", b"ant"]))
    assert probes.names == ("one",)
    assert probes.class_names == ("bee", "ant")
    assert probes.label_texts() == ["ant"]


def test_names_of_a_wrong_number_are_refused():
    for names in (["a"], "ab"):
        with pytest.raises(ValueError, match="2 names"):
            Probes(np.zeros((2, 5, 7)), names=names)


def test_len_and_repr_say_what_is_in_it():
    probes = Probes(np.zeros((2, 5, 7, 3)), [0, 1], class_names=NAMES)
    assert len(probes) == 2
    assert repr(probes) == (
        "Probes(2 images of 5x7x3, values 0 to 1, 2 classes, labelled, without masks)"
    )
