"""Picture files as they are met in the wild: read as a person expects, or named and refused."""

import contextlib
import os
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_saliency.data.image_files import read_image
from keras_saliency.data.probes import Probes
from keras_saliency.tiles import Tiles

RNG = np.random.default_rng(7)
HEIGHT, WIDTH = 11, 17


def smooth(channels=3):
    """A gradient that JPEG keeps, uint8 `(11, 17, channels)`."""
    y, x, c = np.mgrid[:HEIGHT, :WIDTH, :channels]
    return (20 + 8 * y + 5 * x + 30 * c).astype(np.uint8)


def chunk(kind, data):
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def black_png(width, height):
    """The bytes of a PNG of one bit a pixel: a hundred million of them fill 12 kB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + -(-width // 8))
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def refusal(path, **options):
    with pytest.raises(ValueError, match=r".") as caught:
        Probes.from_directory(path.parent, **options)
    said = str(caught.value)
    assert str(path) in said
    return said


# --- read as a person expects --------------------------------------------------------------------

TURNED = {  # EXIF's orientation: what a person does with the picture as it is stored
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_every_orientation_of_exif_is_undone(tmp_path, orientation, ending):
    stored = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(stored).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path, "rgb"), TURNED[orientation](stored))


def test_broken_exif_data_leave_the_picture_as_it_is_stored(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth()).save(path, quality=100, exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    np.testing.assert_allclose(read_image(path, "rgb"), smooth().astype(int), atol=6)


def test_cmyk_of_a_printer_is_read_as_opencv_reads_it(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth()).convert("CMYK").save(path, quality=100)
    wanted = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    np.testing.assert_allclose(read_image(path, "rgb"), wanted, atol=6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_keep_their_upper_half(tmp_path, channels):
    values = RNG.integers(0, 256, (HEIGHT, WIDTH, channels)).astype(np.uint16) * 257
    if channels == 4:
        values[..., 3] = 65535
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), values)  # which takes blue first
    found = read_image(path, "rgb")
    wanted = values[..., [2, 1, 0]] if channels > 1 else values[..., [0, 0, 0]]
    np.testing.assert_array_equal(found, wanted // 257)


def on_white(colour, opacity):
    return [round(value * opacity / 255 + 255 - opacity) for value in colour]


def test_a_palette_with_transparency_is_shown_on_white(tmp_path):
    picture = Image.new("P", (3, 2))
    picture.putpalette([200, 10, 30, 0, 100, 50, 7, 8, 9])
    picture.putdata([0, 1, 2, 2, 1, 0])
    picture.save(tmp_path / "a.png", transparency=bytes([255, 100, 0]))
    found = read_image(tmp_path / "a.png", "rgb")
    colours = [on_white(*one) for one in (((200, 10, 30), 255), ((0, 100, 50), 100), ((0,) * 3, 0))]
    np.testing.assert_allclose(found[0], colours, atol=1)
    np.testing.assert_allclose(found[1], colours[::-1], atol=1)


def test_grey_with_opacity_and_a_colour_that_means_nothing(tmp_path):
    Image.merge("LA", [Image.new("L", (3, 2), 40), Image.new("L", (3, 2), 51)]).save(
        tmp_path / "a.png"
    )
    np.testing.assert_allclose(
        read_image(tmp_path / "a.png", "grayscale"), on_white([40], 51)[0], atol=1
    )
    keyed = np.full((2, 3, 3), (9, 8, 7), np.uint8)
    keyed[0, 0] = (50, 60, 70)
    Image.fromarray(keyed).save(tmp_path / "b.png", transparency=(9, 8, 7))
    found = read_image(tmp_path / "b.png", "rgb")
    assert found[0, 0].tolist() == [50, 60, 70]
    assert (found.reshape(-1, 3)[1:] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_of_a_white_picture_is_white(tmp_path, mode):
    white = Image.new("RGB", (WIDTH, HEIGHT), "white")
    made = Image.new(mode, white.size, 65535) if mode == "I;16" else white.convert(mode)
    # Pillow 11 can't read the plain one of this mode that it has written itself.
    packed = "tiff_lzw" if mode == "YCbCr" else None
    made.save(tmp_path / "a.tiff", compression=packed)
    assert read_image(tmp_path / "a.tiff", "rgb").min() >= 250


def test_only_the_first_picture_of_a_moving_one_is_read(tmp_path):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), (80 * i, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif", "rgb").max() == 0


def test_a_wrong_ending_does_not_matter_among_known_formats(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "a.png", format="BMP")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", "rgb"), smooth())


# --- named and refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_that_is_cut_off(tmp_path, ending, share):
    path = tmp_path / f"cut.{ending}"
    Image.fromarray(RNG.integers(0, 256, (60, 90, 3), np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "can't be read as an image" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"no picture\n", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]
)
def test_a_file_that_holds_no_picture(tmp_path, content):
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    said = refusal(path)
    assert "(BMP, GIF, JPEG, PNG, TIFF, WEBP)" in said
    assert "Mend, convert or move it" in said


def test_other_formats_are_not_even_tried(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    assert "can't be read" in refusal(path)
    Image.fromarray(smooth()).save(path, format="PPM")
    assert "can't be read" in refusal(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.png"
    for side, pixels in ((10_000, 100_000_000), (20_000, 400_000_000)):
        path.write_bytes(black_png(side, side))
        said = refusal(path)
        assert f"{pixels} pixels" in said
        assert "PIL.Image.MAX_IMAGE_PIXELS" in said


def test_the_limit_of_pixels_is_pillows_own(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(smooth()).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH)
    assert read_image(path, "rgb").shape == (HEIGHT, WIDTH, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    assert f"{HEIGHT * WIDTH} pixels" in refusal(path)


def test_a_text_chunk_that_unpacks_to_gigabytes(tmp_path):
    path = tmp_path / "a.png"
    data = black_png(9, 9)
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200 * 2**20), 9))
    path.write_bytes(data[:33] + bomb + data[33:])
    assert "can't be read" in refusal(path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), "floats"),
        (np.array([[0, 70_000]], np.int32), "from 0 to 70000"),
        (np.array([[-5, 3]], np.int32), "from -5 to 3"),
    ],
)
def test_numbers_that_are_no_colours(tmp_path, values, words):
    path = tmp_path / "a.tiff"
    Image.fromarray(values).save(path)
    with pytest.raises(ValueError, match=words):
        read_image(path, "rgb")


def test_links_that_lead_nowhere_or_in_a_circle(tmp_path):
    for name, goal in (("loop.png", "loop.png"), ("gone.png", "nothing.png")):
        path = tmp_path / name
        path.symlink_to(goal)
        assert "link that leads nowhere" in refusal(path)
        path.unlink()
    Image.fromarray(smooth()).save(tmp_path / "real.png")
    (tmp_path / "link.png").symlink_to("real.png")
    assert len(Probes.from_directory(tmp_path)) == 2


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "no regular file" in refusal(tmp_path / "pipe.png")


def test_a_link_back_to_the_folder_is_not_followed(tmp_path):
    (tmp_path / "ant").mkdir()
    Image.fromarray(smooth()).save(tmp_path / "ant" / "a.png")
    (tmp_path / "ant" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(Probes.from_directory(tmp_path)) == 1


def test_a_class_that_is_a_broken_link_would_shift_the_others(tmp_path):
    (tmp_path / "bee").mkdir()
    Image.fromarray(smooth()).save(tmp_path / "bee" / "a.png")
    (tmp_path / "ant").symlink_to("ant", target_is_directory=True)
    assert "shift the numbers" in refusal(tmp_path / "ant")


def test_pictures_beside_the_class_folders_are_told(tmp_path):
    (tmp_path / "x.png").mkdir()  # a folder in spite of its name, and so a class
    Image.fromarray(smooth()).save(tmp_path / "x.png" / "a.png")
    Image.fromarray(smooth()).save(tmp_path / "loose.jpg")
    with pytest.warns(UserWarning, match=r"1 images.*\(loose\.jpg\).*the classes x\.png"):
        probes = Probes.from_directory(tmp_path)
    assert probes.class_names == ("x.png",)


def test_a_folder_with_the_name_of_a_picture_is_no_picture(tmp_path):
    (tmp_path / "ant" / "x.png").mkdir(parents=True)
    Image.fromarray(smooth()).save(tmp_path / "ant" / "a.png")
    assert len(Probes.from_directory(tmp_path)) == 1


@contextlib.contextmanager
def as_nobody():
    """Take the rights of root away, to whom nothing is forbidden."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_what_may_not_be_read_is_named():
    Image.init()  # so that nothing is imported as nobody
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o755)
        (root / "ant").mkdir()
        path = root / "ant" / "a.png"
        Image.fromarray(smooth()).save(path)
        with as_nobody():
            assert len(Probes.from_directory(root)) == 1
        for place, words in (
            (path, "a.png can't be read as an image"),
            (root / "ant", f"{root / 'ant'} can't be read (Permission denied)"),
            (root, f"{root} can't be read (Permission denied)"),
        ):
            mode = place.stat().st_mode
            place.chmod(0o111 if place.is_dir() else 0)
            with as_nobody(), pytest.raises(ValueError, match=r".") as caught:
                Probes.from_directory(root)
            place.chmod(mode)
            assert words in str(caught.value)


def test_many_files_leave_the_filters_of_warnings_as_they_are(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(64)]
    for path in paths:
        Image.new("RGB", (5, 7)).save(path)
    before = list(warnings.filters)
    for _ in range(20):
        tiles = Tiles(paths, None, "slide", range(64), [0] * 64, maps=1)
        list(tiles.parts())
        assert list(warnings.filters) == before
