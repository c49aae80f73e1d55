"""Masks that a function, a Keras model or rembg computes, for probes and for the verdict."""

import sys

import keras
import numpy as np
import pytest

import keras_saliency as ks
from keras_saliency.data import segmentation
from keras_saliency.data.segmentation import segment, segmentation_masks
from keras_saliency.data.synthetic import scenes


@pytest.fixture(scope="module")
def squares():
    """Grey images with one white square each, and where it is."""
    rng = np.random.default_rng(0)
    images = np.full((70, 24, 32, 3), 60, np.uint8)
    truth = np.zeros((70, 24, 32), np.float32)
    for number, (image, mask) in enumerate(zip(images, truth, strict=True)):
        image[..., 2] = number  # no two are alike
        top, left = rng.integers(0, 16), rng.integers(0, 24)
        image[top : top + 8, left : left + 8, :2] = 255
        mask[top : top + 8, left : left + 8] = 1
    return images, truth


def white(images):
    return images[..., 0] > 127


def brightness_model(classes, output="logits", size=(None, None)):
    """A model whose class 1 is what is white, and class 0 what is not; further classes are rare."""
    inputs = keras.Input((*size, 3))
    logits = keras.layers.Conv2D(classes, 1)(inputs)
    model = keras.Model(inputs, logits if output == "logits" else keras.layers.Softmax()(logits))
    kernel, bias = np.zeros((1, 1, 3, classes), np.float32), np.full(classes, -50, np.float32)
    kernel[0, 0, 0, :2], bias[:2] = (-0.1, 0.1), (12.7, -12.7)
    model.layers[1].set_weights([kernel, bias])
    return model


def test_a_function_is_called_in_batches_with_copies_of_the_images(squares):
    images, truth = squares
    sizes = []

    def function(batch):
        sizes.append(len(batch))
        assert batch.dtype == np.uint8
        masks = white(batch)
        batch[:] = 0
        return masks

    before = images.copy()
    masks, name = segment(function, images)
    np.testing.assert_array_equal(masks, truth)
    np.testing.assert_array_equal(images, before)
    assert (sizes, name, masks.dtype) == ([32, 32, 6], "function function", np.float32)


@pytest.mark.parametrize(
    "as_given",
    [
        lambda masks: masks[..., None],
        lambda masks: masks.astype(np.uint8) * 255,
        lambda masks: keras.ops.convert_to_tensor(masks.astype("float32")),
        lambda masks: np.repeat(np.repeat(masks, 2, 1), 2, 2),  # twice as large
        list,
    ],
)
def test_what_a_function_returns_may_have_a_channel_a_range_or_a_size_of_its_own(squares, as_given):
    images, truth = squares
    masks, _ = segment(lambda batch: as_given(white(batch)), images)
    np.testing.assert_allclose(masks, truth, atol=1e-6)


@pytest.mark.parametrize("output", ["logits", "probabilities"])
@pytest.mark.parametrize("size", [(None, None), (24, 32)])
def test_the_foreground_of_a_model_is_all_but_class_0(squares, output, size):
    images, truth = squares
    masks, name = segment(brightness_model(4, output, size), images)
    np.testing.assert_allclose(masks, truth, atol=1e-5)
    assert name.startswith("model functional")


def test_the_classes_of_the_foreground_can_be_named(squares):
    images, truth = squares
    model = brightness_model(3)
    np.testing.assert_allclose(segmentation_masks(model, [1, 2])(images[:4]), truth[:4], atol=1e-5)
    np.testing.assert_allclose(segmentation_masks(model, [0])(images[:4]), 1 - truth[:4], atol=1e-5)


def test_a_model_of_one_output_is_read_by_its_sigmoid(squares):
    images, _ = squares
    inputs = keras.Input((24, 32, 3))
    logits = keras.layers.Conv2D(1, 1)(inputs)
    model = keras.Model(inputs, logits)
    model.layers[1].set_weights(
        [np.array([0.2, 0, 0], np.float32).reshape(1, 1, 3, 1), np.array([-25.4], np.float32)]
    )
    expected = 1 / (1 + np.exp(-(0.2 * images[..., 0].astype(np.float64) - 25.4)))
    masks, _ = segment(model, images)
    np.testing.assert_allclose(masks, expected, atol=1e-5)
    probability = keras.Model(inputs, keras.layers.Activation("sigmoid")(logits))
    np.testing.assert_allclose(segment(probability, images)[0], expected, atol=1e-5)


def test_images_are_resized_to_the_models_input_and_masks_back(squares):
    images, truth = squares
    masks, _ = segment(brightness_model(2, size=(48, 64)), images)
    assert masks.shape == truth.shape
    # Interpolation moves an edge by half a pixel at most.
    assert np.abs(masks - truth).mean() < 0.03
    assert ((masks > 0.5) == (truth > 0.5)).mean() > 0.99


def test_probes_and_shortcuts_take_the_same(squares):
    images, truth = squares
    np.testing.assert_array_equal(ks.Probes(images, masks=white).masks, truth)
    model = brightness_model(2)
    np.testing.assert_allclose(ks.Probes(images / 255, masks=model).masks, truth, atol=1e-5)
    train = scenes(300)
    known = {image.tobytes(): mask for image, mask in zip(train.images, train.masks, strict=True)}

    def look_up(batch):
        return np.stack([known[image.tobytes()] for image in batch])

    shortcuts = ks.Shortcuts((train.images, train.labels), masks=look_up)
    given = ks.Shortcuts((train.images, train.labels, train.masks))
    assert (shortcuts.masks_from, given.masks_from) == ("function look_up", "given")
    np.testing.assert_array_equal(shortcuts.donors.masks, given.donors.masks)
    np.testing.assert_array_equal(shortcuts.receivers.masks, given.receivers.masks)


def test_masks_of_videos_are_those_of_their_frames(squares):
    images, truth = squares
    videos = images[:6].reshape(2, 3, 24, 32, 3)
    probes = ks.Probes(videos, masks=white)
    np.testing.assert_array_equal(probes.masks, truth[:6].reshape(2, 3, 24, 32))


def test_a_cache_keeps_masks_by_their_images(squares, tmp_path):
    images, truth = squares
    path, calls = tmp_path / "run" / "masks.npz", []

    def counted(batch):
        calls.append(len(batch))
        return white(batch)

    for _ in range(2):
        masks, _ = segment(counted, images[:40], path)
        np.testing.assert_array_equal(masks, truth[:40])
    assert calls == [32, 8]
    np.testing.assert_array_equal(segment(counted, images[30:50], path)[0], truth[30:50])
    assert calls == [32, 8, 10]
    assert segment(white, images[:40], path)[0].shape == (40, 24, 32)  # of another function
    assert [file.name for file in path.parent.iterdir()] == ["masks.npz"]
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(segment(white, images[:4], path)[0], truth[:4])


def test_the_verdict_reads_its_masks_from_the_cache(tmp_path):
    train, calls = scenes(300), []

    def function(batch):
        calls.append(len(batch))
        return np.indices(batch.shape[:3])[2] < 20

    made = [
        ks.Shortcuts((train.images, train.labels), masks=function, mask_cache=tmp_path / "m.npz")
        for _ in range(2)
    ]
    assert sum(calls) <= 300
    np.testing.assert_array_equal(made[0].donors.masks, made[1].donors.masks)


def test_what_takes_long_is_told(squares, capsys, monkeypatch):
    monkeypatch.setattr("keras_saliency.common.progress._PATIENCE", -1)
    monkeypatch.setattr("keras_saliency.common.progress._EVERY", -1)
    segment(white, squares[0])
    assert capsys.readouterr().err == ""  # no terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    segment(white, squares[0])
    assert "Masks (function white), batches: 3 of 3\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        (lambda images: images, ValueError, "one mask per image"),
        (lambda images: white(images)[:1], ValueError, "one mask per image"),
        (lambda images: white(images) * np.nan, ValueError, "finite|NaN"),
        (lambda images: white(images) * 7.0, ValueError, "0/255"),
        (lambda images: white(images).astype(str), TypeError, "numbers"),
        (
            keras.Sequential([keras.Input((24, 32, 3)), keras.layers.Flatten()]),
            ValueError,
            "classes",
        ),
    ],
)
def test_what_is_no_mask_is_refused(squares, masks, error, message):
    with pytest.raises(error, match=message):
        ks.Probes(squares[0], masks=masks)


@pytest.mark.parametrize("classes", [1, "cat", [0.5]])
def test_classes_that_are_no_numbers_are_refused(classes):
    with pytest.raises(ValueError, match="numbers of classes"):
        segmentation_masks(brightness_model(3), classes)


def test_a_class_that_the_model_lacks_is_refused(squares):
    with pytest.raises(ValueError, match="among the model's 3"):
        segmentation_masks(brightness_model(3), [3])(squares[0])


def test_rembg_is_named_where_it_is_missing(squares, monkeypatch):
    monkeypatch.setitem(sys.modules, "rembg", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .keras-saliency\[rembg\]"):
        ks.Probes(squares[0], masks="rembg")


def test_another_text_is_refused(squares):
    images, _ = squares
    with pytest.raises(ValueError, match=r"'rembg'.*Received: masks='remgb'"):
        ks.Shortcuts((images, np.arange(70) % 2), masks="remgb")
    assert not segmentation.is_segmenter("remgb")
