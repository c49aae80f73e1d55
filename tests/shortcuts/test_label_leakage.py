"""Trivial properties that tell the label: planted ones are named, and nothing else is said."""

from statistics import NormalDist

import cv2
import numpy as np
import pytest
from PIL import Image

import keras_saliency as ks
from keras_saliency.data.synthetic import scenes
from keras_saliency.shortcuts.image_quality import compress
from keras_saliency.shortcuts.label_leakage import leakage_of
from keras_saliency.shortcuts.ridge import balanced_accuracy, cross_validated, explained_variance
from keras_saliency.shortcuts.trivial_properties import MIDDLE, image_properties

SIZE = (48, 64)


def pictures(count=80, channels=3, seed=0, size=SIZE):
    """Draw soft blotches with some grain; they know nothing of any label."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 200, (count, 5, 6, channels)).astype(np.float32)
    soft = [cv2.resize(one, size[::-1]).reshape(*size, channels) for one in coarse]
    return np.clip(soft + rng.normal(0, 6, (count, *size, channels)), 0, 255).astype(np.uint8)


def halves(count=80):
    return np.arange(count) % 2


def folder_of(path, images, labels, save):
    """Write each picture into the folder of its class by `save(image, label, path without end)`."""
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = path / f"class_{label}"
        place.mkdir(parents=True, exist_ok=True)
        save(Image.fromarray(image.squeeze()), label, place / f"{index:03d}")
    return path


def names(leakage):
    return [leak.name for leak in leakage.leaks]


@pytest.mark.filterwarnings("ignore:Images of 4 channels can't be shown in colour")
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("corner", "at"),
    [
        ("upper left", (slice(2, 6), slice(2, 7))),
        ("upper right", (slice(2, 6), slice(-7, -2))),
        ("lower left", (slice(-6, -2), slice(2, 7))),
        ("lower right", (slice(-6, -2), slice(-7, -2))),
    ],
)
def test_a_tag_in_a_corner_is_named(corner, at, channels):
    images, labels = pictures(channels=channels), halves()
    assert names(ks.label_leakage((images, labels))) == []
    images[(labels == 1, *at)] = 255
    leakage = ks.label_leakage((images, labels))
    assert leakage.leaks[0].name == f"the colour of the {corner} corner"
    assert leakage.leaks[0].score > 0.95
    assert leakage.text.startswith(
        "a trivial property tells the label, which is no proof that a model uses it: the colour of "
        f"the {corner} corner {100 * leakage.leaks[0].score:.0f} %"
    )
    assert leakage.middle.score < 0.7


def test_a_border_is_named():
    images, labels = pictures(), halves()
    framed = images[labels == 1]
    framed[:, :2], framed[:, -2:], framed[:, :, :2], framed[:, :, -2:] = 20, 20, 20, 20
    images[labels == 1] = framed
    found = ks.label_leakage((images, labels))
    assert "the colour of the outermost border" in names(found)
    assert found.scores[0].score > 0.95


def test_the_colours_are_those_of_their_places():
    images = pictures(3, size=(32, 48))
    found = image_properties(images)
    for words, pixels in (
        ("the colour of the right half of the lower edge", images[:, -8:, 24:36]),
        (MIDDLE, images[:, 8:-8, 12:-12]),
    ):
        expected = np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2))], axis=1)
        np.testing.assert_allclose(found[words], expected, rtol=1e-3)
    corner = found["the colour of the lower left corner"]
    np.testing.assert_allclose(corner[:, :3], images[:, -4:, :6].mean((1, 2)), rtol=1e-3)
    np.testing.assert_allclose(corner[:, 6:9], images[:, -8:, :12].mean((1, 2)), rtol=1e-3)


def test_what_is_in_the_middle_alone_is_the_object():
    images, labels = pictures(), halves()
    images[labels == 1, 14:-14, 18:-18] = (250, 20, 20)
    leakage = ks.label_leakage((images, labels))
    assert leakage.middle.score > 0.95
    assert not leakage.middle.is_leak
    assert names(leakage) == []
    assert "tells the label; the best is" in leakage.text


def test_blur_is_named_by_sharpness_or_frequencies():
    images, labels = pictures(), halves()
    for index in np.flatnonzero(labels):
        images[index] = cv2.GaussianBlur(images[index], (0, 0), 1.5)
    found = {leak.name: leak.score for leak in ks.label_leakage((images, labels)).leaks}
    assert found["the sharpness around the middle"] > 0.95
    assert found["the frequencies around the middle"] > 0.95


def test_compression_is_seen_in_pixels():
    images, labels = pictures(size=(64, 64)), halves()
    images = np.stack(
        [compress(one, 15 if k else 60) for one, k in zip(images, labels, strict=True)]
    )
    found = {leak.name: leak.score for leak in ks.label_leakage((images, labels)).leaks}
    assert found["the JPEG compression"] > 0.95


def test_compression_of_files_is_named(tmp_path):
    def save(image, label, path):
        image.save(f"{path}.jpg", quality=60 if label else 90)

    leakage = ks.label_leakage(folder_of(tmp_path, pictures(), halves(), save))
    assert leakage.count == 80
    found = {leak.name: leak.score for leak in leakage.leaks}
    assert found["the JPEG compression"] == 1.0
    assert not any("colour" in name for name in found)


def test_the_size_of_files_is_named(tmp_path):
    def save(image, label, path):
        image.save(f"{path}.png", compress_level=0 if label else 9)

    leakage = ks.label_leakage(folder_of(tmp_path, pictures(), halves(), save))
    assert names(leakage) == ["the size of the file"]


def test_a_busy_image_may_have_a_large_file(tmp_path):
    busy = np.random.default_rng(1).normal(0, 25, (80, *SIZE, 3))
    middle = np.zeros(SIZE, bool)
    middle[14:-14, 18:-18] = True
    added = busy * (halves()[:, None, None, None] & middle[..., None])
    images = np.clip(pictures() + added, 0, 255).astype(np.uint8)

    def save(image, label, path):
        image.save(f"{path}.jpg", quality=80)

    assert "the size of the file" not in names(
        ks.label_leakage(folder_of(tmp_path, images, halves(), save))
    )


def test_the_aspect_ratio_is_named(tmp_path):
    def save(image, label, path):
        image.crop((0, 0, 60, 40) if label else (0, 0, 50, 48)).save(f"{path}.png")

    found = names(ks.label_leakage(folder_of(tmp_path, pictures(), halves(), save)))
    assert found[0] == "the aspect ratio"


def test_the_orientation_in_exif_data_is_applied(tmp_path):
    def save(image, label, path):
        exif = Image.Exif()
        if label:
            exif[0x0112] = 6
            image = image.transpose(Image.Transpose.ROTATE_90)
        image.save(f"{path}.jpg", exif=exif, quality=90)

    found = names(ks.label_leakage(folder_of(tmp_path, pictures(), halves(), save)))
    assert "the aspect ratio" not in found
    assert "the height and width in pixels" not in found


def test_the_format_of_files_is_named(tmp_path):
    def save(image, label, path):
        image.save(f"{path}.{'bmp' if label else 'png'}")

    found = names(ks.label_leakage(folder_of(tmp_path, pictures(), halves(), save)))
    assert "the file format" in found
    assert "the JPEG compression" not in found


def test_grey_files_are_read(tmp_path):
    images, labels = pictures(channels=1), halves()
    images[labels == 1, -5:, -6:] = 255

    def save(image, label, path):
        image.save(f"{path}.png")

    leakage = ks.label_leakage(folder_of(tmp_path, images, labels, save))
    assert leakage.leaks[0].name == "the colour of the lower right corner"


def test_a_class_between_two_others_is_told_and_named():
    images, labels = pictures(120), np.arange(120) % 3
    images[:, -4:, -5:] = np.array([20, 128, 235])[labels, None, None, None]
    images[labels == 2] = pictures(120, seed=1)[labels == 2]
    images[labels == 2, -4:, -5:] = 20
    leak = ks.label_leakage((images, labels), class_names=["a", "between", "c"]).leaks[0]
    assert leak.label == "'between'"
    assert leak.score > 0.95
    size = labels[:, None] + np.random.default_rng(0).normal(0, 0.1, (120, 1))
    assert balanced_accuracy(labels == 1, cross_validated(size, labels == 1))[0] > 0.95


def test_of_several_labels_the_one_told_best_counts():
    images = pictures(120)
    rows = np.random.default_rng(3).integers(0, 2, (120, 3))
    images[rows[:, 1] == 1, :4, :5] = 255
    leak = ks.label_leakage((images, rows)).leaks[0]
    assert (leak.name, leak.label) == ("the colour of the upper left corner", "1")


def test_a_value_that_the_light_tells_is_explained():
    images, rng = pictures(200), np.random.default_rng(4)
    light = rng.normal(0, 1, 200)
    images = np.clip(images * (1 + 0.15 * light[:, None, None, None]), 0, 255).astype(np.uint8)
    leakage = ks.label_leakage((images, light + rng.normal(0, 0.3, 200)))
    assert leakage.is_regression
    assert "the colour around the middle" in names(leakage)
    assert 0.5 < leakage.leaks[0].score < 1 / 1.09 + 0.03  # the noise can't be told
    assert f"{leakage.leaks[0].name} {leakage.leaks[0].score:.2f}" in leakage.text
    assert ks.label_leakage((images, rng.normal(0, 1, 200))).leaks == ()


def test_of_a_video_the_middle_frame_counts():
    images, labels = pictures(), halves()
    videos = np.stack([images] * 5, axis=1)
    videos[labels == 1, 0, :5, :6] = 255
    assert names(ks.label_leakage((videos, labels))) == []
    videos[labels == 1, 2, :5, :6] = 255
    assert ks.label_leakage((videos, labels)).leaks[0].name == "the colour of the upper left corner"


def test_of_a_large_set_a_thousand_images_are_measured():
    images, labels = pictures(1500, size=(16, 16)), np.repeat([0, 1], 750)
    images[labels == 1, :4, :4] = 255
    leakage = ks.label_leakage((images, labels))
    assert leakage.count == 1000
    assert leakage.leaks[0].score > 0.95


def test_of_large_images_fewer_are_measured(monkeypatch):
    monkeypatch.setattr("keras_saliency.shortcuts.label_leakage._VALUES", 50 * 48 * 64 * 3)
    assert ks.label_leakage((pictures(), halves())).count == 50


def test_without_a_leak_nothing_is_said():
    for seed in range(20):
        labels = np.random.default_rng(seed).permutation(halves(50))
        leakage = ks.label_leakage((pictures(50, seed=seed, size=(16, 24)), labels))
        assert names(leakage) == []
        assert leakage.text.startswith("none of 16 trivial properties tells the label; the best is")


def test_animals_whose_ground_is_drawn_by_lot_leak_nothing():
    honest, biased = (
        scenes(120, correlation=correlation, size=(32, 32)) for correlation in (0.5, 0.95)
    )
    assert names(ks.label_leakage((honest.images, honest.labels))) == []
    assert len(names(ks.label_leakage((biased.images, biased.labels)))) > 3


def test_chance_exceeds_the_error_no_more_often_than_promised():
    rng, asked, above = np.random.default_rng(0), 10, 0
    errors = NormalDist().inv_cdf(1 - 0.05 / asked)
    for _ in range(60):
        target = rng.permutation(np.repeat([True, False], [25, 45]))
        scores = [
            balanced_accuracy(target, cross_validated(rng.normal(size=(70, 6)), target))
            for _ in range(asked)
        ]
        above += any(score - errors * error > 0.5 for score, error in scores)
    assert above <= 3  # of 60 at 5 %; without the factor for what folds share it is 9 or more


def test_the_errors_are_those_of_repeated_samples():
    rng, scores = np.random.default_rng(0), []
    for _ in range(400):
        target = np.repeat([True, False], [30, 70])
        told = np.where(rng.random(100) < 0.8, target, ~target) - 0.5
        value = rng.normal(size=100)
        guess = value + rng.normal(0, 0.7, 100)
        scores.append((*balanced_accuracy(target, told), *explained_variance(value, guess)))
    accuracy, error, explained, its_error = np.array(scores).T
    # These predictions are independent, unlike those of folds.
    assert error.mean() == pytest.approx(np.sqrt(2) * accuracy.std(), rel=0.1)
    assert its_error.mean() == pytest.approx(explained.std(), rel=0.15)


def test_shortcuts_are_measured_as_the_images_that_they_hold():
    images, labels = pictures(200), halves(200)
    images[labels == 1, :4, :5] = 255
    shortcuts = ks.Shortcuts((images, labels), masks=None)
    leakage = leakage_of(shortcuts)
    assert leakage.leaks[0].name == "the colour of the upper left corner"
    assert leakage.count == len(shortcuts.donors) + len(shortcuts.receivers)


def test_shortcuts_of_several_labels_name_the_label():
    images = pictures(400, size=(24, 24))
    rows = np.random.default_rng(3).integers(0, 2, (400, 2))
    images[rows[:, 1] == 1, :3, :3] = 255
    leak = leakage_of(ks.Shortcuts((images, rows), masks=None)).leaks[0]
    assert (leak.name, leak.label) == ("the colour of the upper left corner", "1")


def test_datasets_and_probes_are_read():
    images, labels = pictures(), halves()
    images[labels == 1, :4, :5] = 255
    for source in ([(images, labels)], ks.Probes(images, labels), (list(images), list(labels))):
        assert ks.label_leakage(source).leaks[0].name == "the colour of the upper left corner"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((pictures(6), [0, 1] * 3), "two classes with 20 images each.*6 images, of 0: 3, 1: 3"),
        ((pictures(40), [0] * 40), "two classes.*40 images, of 0: 40"),
        ((pictures(40), np.full(40, 0.5)), "40 different values"),
        (ks.Probes(pictures(4)), r"with labels: pass `\(images, labels\)`"),
    ],
)
def test_too_little_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        ks.label_leakage(source)


def save_png(image, label, path):
    image.save(f"{path}.png")


def test_folders_that_tell_no_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sub-folder for each of two classes.*one class"):
        ks.label_leakage(folder_of(tmp_path / "one", pictures(30), [0] * 30, save_png))
    with pytest.raises(ValueError, match="images alone"):
        ks.label_leakage(tmp_path / "one" / "class_0")
    with pytest.raises(ValueError, match="not there"):
        ks.label_leakage(tmp_path / "none")
    with pytest.raises(ValueError, match=r"20 images each.*'class_0': 3, 'class_1': 3"):
        ks.label_leakage(folder_of(tmp_path / "few", pictures(6), halves(6), save_png))


def test_a_broken_file_is_named(tmp_path):
    folder = folder_of(tmp_path, pictures(50), halves(50), save_png)
    (folder / "class_1" / "007.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"class_1/007.png can't be read.*Mend, convert or move"):
        ks.label_leakage(folder)
