"""Image files as arrays: upright, 8 bits a channel, without transparency."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from keras_saliency.common.pillow import eight_bits, opaque
from keras_saliency.common.resampling import resize_image
from keras_saliency.common.types import Array

PILLOW_MODES = {"rgb": "RGB", "rgba": "RGBA", "grayscale": "L"}
# No others are tried, whatever the name of a file ends in: Pillow knows dozens of rare formats,
# and most of its security advisories are about these.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


_Read = TypeVar("_Read")


@dataclass(frozen=True)
class ImageFile:
    """An image file: what it shows, made small, and what it is.

    Attributes:
        thumbnail: uint8 `(side, side, 3)`, upright, the aspect ratio not kept.
        height: Of the image in pixels, upright.
        width: Likewise.
        byte_count: The size of the file.
        format: `"JPEG"`, `"PNG"` ...
        quantization: The mean step of the luminance's quantization table, from 1; 0 where the file
            is no JPEG.
    """

    thumbnail: Array
    height: int
    width: int
    byte_count: int
    format: str
    quantization: float


def read_image(path: Path, color_mode: str) -> Array:
    """Read an image upright, as uint8 `(height, width, channels)`; transparency becomes white."""
    return read_images([path], color_mode)[0]


def read_images(paths: Sequence[Path], color_mode: str) -> list[Array]:
    """Read several images as `read_image` does, in a few threads."""
    return _read_all(paths, lambda file, _: _pixels(_upright(file), color_mode))


def read_files(paths: Sequence[Path], side: int) -> list[ImageFile]:
    """Read several image files as thumbnails of `side` pixels a side, with what the files are."""
    return _read_all(paths, lambda file, path: _image_file(file, path, side))


def _read_all(paths: Sequence[Path], read: Callable[[Image.Image, Path], _Read]) -> list[_Read]:
    # Filters are the process's: set in each thread, they would be put back in any order.
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        # Broken EXIF data leave an image as it is stored; too many pixels are refused.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return list(pool.map(lambda path: _read(path, read), paths))


def _read(path: Path, read: Callable[[Image.Image, Path], _Read]) -> _Read:
    if not path.is_file():
        raise _refusal(path, "it is a link that leads nowhere, or no regular file")
    try:
        with Image.open(path, formats=_FORMATS) as file:
            return read(file, path)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} is refused: {error} Make it smaller, or, if you trust it, set another limit, "
            "PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except Exception as error:  # whatever a broken file may make Pillow raise
        raise _refusal(path, str(error) or type(error).__name__) from error


def _pixels(image: Image.Image, color_mode: str) -> Array:
    image = eight_bits(image)
    if color_mode != "rgba":
        image = opaque(image)
    array = np.array(image.convert(PILLOW_MODES[color_mode]))
    return array if array.ndim == 3 else array[..., None]


def _image_file(file: Image.Image, path: Path, side: int) -> ImageFile:
    size, tables = file.size, getattr(file, "quantization", None)
    file.draft(None, (side, side))  # A JPEG is then decoded at half its size, or less.
    upright = _upright(file)
    width, height = size if upright.size == file.size else size[::-1]
    return ImageFile(
        thumbnail=resize_image(_pixels(upright, "rgb"), (side, side)),
        height=height,
        width=width,
        byte_count=path.stat().st_size,
        format=file.format or "",
        quantization=float(np.mean(next(iter(tables.values())))) if tables else 0.0,
    )


def _upright(file: Image.Image) -> Image.Image:
    """Turn the image as its EXIF data say, where these can be read."""
    file.load()
    try:
        return ImageOps.exif_transpose(file)
    except Exception:  # of broken EXIF data; the pixels are sound
        return file


def _refusal(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path} can't be read as an image ({', '.join(_FORMATS)}): {reason}. Mend, convert or "
        "move it."
    )
