import numpy as np
import pytest
from PIL import Image

from keras_saliency.data.probes import Probes

RNG = np.random.default_rng(0)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path, **options)
    return path


def noise(height=6, width=9):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def animals(tmp_path):
    """Two classes, an empty one, hidden things and capital letters."""
    pictures = {
        "Zebra/b.png": noise(),
        "Zebra/a.PNG": noise(),
        "ant/x.bmp": noise(),
        "ant/deep/y.png": noise(),
    }
    for place, array in pictures.items():
        save(tmp_path / place, array)
    (tmp_path / "bee").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "ant" / "notes.txt").write_text("no picture")
    return tmp_path, pictures


def test_classes_pictures_and_pixels_are_those_of_keras(animals):
    import keras

    directory, _ = animals
    dataset = keras.utils.image_dataset_from_directory(
        directory, shuffle=False, image_size=(5, 7), verbose=False
    )
    images, labels = next(dataset.as_numpy_iterator())
    probes = Probes.from_directory(directory, image_size=(5, 7))
    assert probes.class_names == tuple(dataset.class_names) == ("Zebra", "ant", "bee")
    assert probes.labels.tolist() == labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(probes.images, images, atol=1e-3)
    np.testing.assert_array_equal(probes.display, np.rint(probes.images))


@pytest.mark.parametrize("size", [(5, 7), (23, 31), (6, 20)])
def test_resizing_is_that_of_keras_when_shrinking_and_growing(tmp_path, size):
    import keras

    save(tmp_path / "a" / "a.png", noise(13, 11))
    dataset = keras.utils.image_dataset_from_directory(tmp_path, image_size=size, verbose=False)
    images, _ = next(dataset.as_numpy_iterator())
    probes = Probes.from_directory(tmp_path, image_size=size)
    np.testing.assert_allclose(probes.images, images, atol=1e-3)


def test_pictures_of_one_size_are_read_as_they_are(animals):
    directory, pictures = animals
    probes = Probes.from_directory(directory)
    expected = [pictures[p] for p in ("Zebra/a.PNG", "Zebra/b.png", "ant/x.bmp", "ant/deep/y.png")]
    np.testing.assert_array_equal(probes.images, expected)
    assert probes.value_range == (0, 255)
    assert probes.names == ("00_Zebra", "01_Zebra", "02_ant", "03_ant")


def test_hidden_files_are_no_pictures(tmp_path):
    save(tmp_path / "a" / "a.png", noise())
    (tmp_path / "a" / "._a.png").write_bytes(b"resource fork")
    save(tmp_path / "a" / ".cache" / "b.png", noise())
    assert len(Probes.from_directory(tmp_path)) == 1


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "png", "bmp", "gif", "webp"])
def test_every_usual_format_is_read(tmp_path, ending):
    save(tmp_path / f"a.{ending}", np.full((6, 9, 3), 255, np.uint8))
    assert Probes.from_directory(tmp_path).display.min() >= 250


def numbered(directory, count, taken):
    """Pictures filled with their number; those that are not to be taken can't be read."""
    directory.mkdir(parents=True)
    for i in range(count):
        place = directory / f"{i:03d}.png"
        if i in taken:
            save(place, np.full((4, 6, 3), i, np.uint8))
        else:
            place.write_bytes(b"never read")


def test_per_class_is_spread_over_the_names_and_nothing_else_is_read(tmp_path):
    numbered(tmp_path / "ant", 9, taken=(0, 3, 6))
    numbered(tmp_path / "bee", 2, taken=(0, 1))
    probes = Probes.from_directory(tmp_path, per_class=3)
    assert probes.labels.tolist() == [0, 0, 0, 1, 1]
    assert probes.images[:, 0, 0, 0].tolist() == [0, 3, 6, 0, 1]


def test_a_folder_as_probes_gives_four_of_each_class(tmp_path):
    numbered(tmp_path / "ant", 100, taken=(0, 25, 50, 75))
    numbered(tmp_path / "bee", 6, taken=(0, 1, 3, 4))
    probes = Probes.of(tmp_path)
    assert probes.images[:, 0, 0, 0].tolist() == [0, 25, 50, 75, 0, 1, 3, 4]
    assert probes.label_texts() == ["ant"] * 4 + ["bee"] * 4


def test_all_pictures_are_read_where_no_number_is_given(tmp_path):
    numbered(tmp_path / "ant", 11, taken=range(11))
    assert Probes.from_directory(tmp_path).images[:, 0, 0, 0].tolist() == list(range(11))


def test_pictures_without_class_folders_have_no_labels(tmp_path):
    for name in ("b", "a"):
        save(tmp_path / f"{name}.png", noise())
    probes = Probes.from_directory(str(tmp_path))
    assert probes.labels is None
    assert probes.class_names is None
    assert probes.names == ("00_a", "01_b")


def test_different_sizes_need_image_size(tmp_path):
    save(tmp_path / "a.png", noise(6, 9))
    save(tmp_path / "b.png", noise(6, 8))
    with pytest.raises(ValueError, match=r"image_size=\(height, width\).*b.png of \(6, 8\)"):
        Probes.from_directory(tmp_path)


def test_image_size_of_a_model_and_preprocess(tmp_path):
    import keras

    save(tmp_path / "a.png", noise())
    model = keras.Sequential([keras.Input((4, 5, 3)), keras.layers.Flatten()])
    probes = Probes.from_directory(tmp_path, image_size=model, preprocess=lambda x: x / 255)
    assert probes.images.shape == (1, 4, 5, 3)
    assert probes.images.max() <= 1
    np.testing.assert_allclose(probes.display, probes.images * 255, atol=0.51)
    any_size = keras.Sequential([keras.Input((None, None, 3)), keras.layers.ReLU()])
    assert Probes.from_directory(tmp_path, image_size=any_size).images.shape == (1, 6, 9, 3)


def test_a_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter
    stored = np.zeros((16, 32), np.uint8)
    stored[:, 16:] = 255
    save(tmp_path / "a.jpg", stored, exif=exif, quality=95)
    shown = Probes.from_directory(tmp_path).display[0]
    assert shown.shape == (32, 16, 3)
    assert shown[:14].max() < 20
    assert shown[18:].min() > 235


def test_palette_sixteen_bits_and_cmyk(tmp_path):
    sixteen = np.array([[0, 257 * 100, 65535]], np.uint16).repeat(2, 0)
    save(tmp_path / "16" / "a.png", sixteen)
    image = Probes.from_directory(tmp_path / "16").images[0]
    assert image[0].tolist() == [[0] * 3, [100] * 3, [255] * 3]

    red = Image.new("RGB", (3, 2), (255, 0, 0))
    (tmp_path / "p").mkdir()
    red.quantize().save(tmp_path / "p" / "a.png")
    assert Probes.from_directory(tmp_path / "p").images[0, 0, 0].tolist() == [255, 0, 0]

    (tmp_path / "cmyk").mkdir()
    red.convert("CMYK").save(tmp_path / "cmyk" / "a.jpg", quality=100)
    np.testing.assert_allclose(
        Probes.from_directory(tmp_path / "cmyk").images[0, 0, 0], [255, 0, 0], atol=6
    )


def test_transparency_shows_white(tmp_path):
    picture = np.zeros((2, 3, 4), np.uint8)
    picture[0, :] = (10, 20, 30, 255)
    picture[1, 0] = (0, 0, 0, 127)
    save(tmp_path / "a.png", picture)
    image = Probes.from_directory(tmp_path).images[0]
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image[1].tolist() == [[128] * 3, [255] * 3, [255] * 3]
    four = Probes.from_directory(tmp_path, color_mode="rgba")
    np.testing.assert_array_equal(four.images[0], picture)
    np.testing.assert_array_equal(four.display[0], image)


def test_greyscale_weighs_the_colours(tmp_path):
    save(tmp_path / "a.png", np.full((2, 3, 3), (200, 100, 50), np.uint8))
    probes = Probes.from_directory(tmp_path, color_mode="grayscale")
    assert probes.images.shape == (1, 2, 3, 1)
    np.testing.assert_allclose(probes.images, 0.299 * 200 + 0.587 * 100 + 0.114 * 50, atol=1)


@pytest.mark.parametrize("white", [1, 255])
def test_masks_beside_the_pictures_are_read_and_resized_with_them(tmp_path, white):
    picture = np.zeros((8, 12, 3), np.uint8)
    picture[2:6, 4:8] = 255
    for name in ("a.jpg", "b.bmp"):
        save(tmp_path / "cat" / name, picture)
    for name in ("a", "b"):
        save(tmp_path / "cat" / f"{name}.mask.png", picture[..., 0] // 255 * white)
    probes = Probes.from_directory(tmp_path)
    assert len(probes) == 2
    np.testing.assert_array_equal(probes.masks[0], picture[..., 0] / 255)
    small = Probes.from_directory(tmp_path, image_size=(5, 7))
    np.testing.assert_allclose(small.masks[1], small.images[1, ..., 0] / 255, atol=1e-6)


def test_masks_for_some_or_of_another_size_are_refused(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", noise())
    save(tmp_path / "a.mask.png", np.zeros((6, 9), np.uint8))
    with pytest.raises(ValueError, match=r"no mask for: b\.png"):
        Probes.from_directory(tmp_path)
    save(tmp_path / "b.mask.png", np.zeros((9, 6), np.uint8))
    with pytest.raises(ValueError, match=r"b\.mask\.png of \(9, 6\)"):
        Probes.from_directory(tmp_path)


@pytest.mark.parametrize("content", [b"no picture", b""])
def test_an_unreadable_file_is_named(tmp_path, content):
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.jpg can't be read"):
        Probes.from_directory(tmp_path)


def test_a_truncated_file_is_named(tmp_path):
    path = save(tmp_path / "cut.png", noise(40, 50))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.png can't be read"):
        Probes.from_directory(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (5,)}, "image_size"),
        ({"image_size": (0, 5)}, "image_size"),
        ({"per_class": 0}, "per_class"),
        ({"per_class": 1.5}, "per_class=1.5"),
        ({"color_mode": "bgr"}, "color_mode"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    save(tmp_path / "a.png", noise())
    with pytest.raises(ValueError, match=message):
        Probes.from_directory(tmp_path, **options)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected a folder"):
        Probes.from_directory(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="No images"):
        Probes.from_directory(tmp_path)
