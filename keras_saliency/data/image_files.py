"""One picture, out of a file or of Pillow: upright, in eight bits, without transparency."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from keras_saliency.common.arrays import Array

PILLOW_MODES = {"rgb": "RGB", "rgba": "RGBA", "grayscale": "L"}
# No others are tried, whatever the name of a file ends in: Pillow knows dozens of rare formats,
# and most of its security advisories are about these.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_HIGHEST = 65_535  # of 16 bits


def read_picture(path: Path, color_mode: str) -> Array:
    """One upright picture as uint8 `(height, width, channels)`; transparency shows white."""
    return read_pictures([path], color_mode)[0]


def read_pictures(paths: Sequence[Path], color_mode: str) -> list[Array]:
    """Several pictures, each as `read_picture` reads it, read by a few threads."""
    # Filters are the process's: set in each thread, they would be put back in any order.
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        # Broken EXIF data leave a picture as it is stored; too many pixels are refused.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return list(pool.map(lambda path: _read(path, color_mode), paths))


def _read(path: Path, color_mode: str) -> Array:
    if not path.is_file():
        raise _refusal(path, "it is a link that leads nowhere, or no regular file")
    try:
        with Image.open(path, formats=_FORMATS) as file:
            image = _eight_bits(_upright(file))
            if color_mode != "rgba":
                image = _opaque(image)
            array = np.array(image.convert(PILLOW_MODES[color_mode]))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} is refused: {error} Make it smaller, or, if you trust it, set another limit, "
            "PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except Exception as error:  # whatever a broken file may make Pillow raise
        raise _refusal(path, str(error) or type(error).__name__) from error
    return array if array.ndim == 3 else array[..., None]


def pixels_of(pictures: Sequence[Image.Image]) -> list[Array]:
    """Opened pictures as `read_picture` reads them, uint8: grey if all of them are, else RGB.

    Pictures of floats, whose range is not known, stay as they are.
    """
    grey = all(Image.getmodebase(picture.mode) == "L" for picture in pictures)
    mode = "L" if grey else "RGB"
    return [
        np.array(picture if picture.mode == "F" else _opaque(_eight_bits(picture)).convert(mode))
        for picture in pictures
    ]


def _opaque(image: Image.Image) -> Image.Image:
    """The picture on white, if it has any transparency."""
    if image.mode not in ("RGBA", "RGBa", "LA", "La", "PA") and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _upright(file: Image.Image) -> Image.Image:
    """The picture as its EXIF data say that it is to be held, where these can be read."""
    file.load()
    try:
        return ImageOps.exif_transpose(file)
    except Exception:  # of broken EXIF data; the pixels are sound
        return file


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits: Pillow would cut it off at 255."""
    if image.mode == "F":
        raise ValueError("floats, whose range nobody knows; 8 or 16 bits are read")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image, np.float64)
    if values.min() < 0 or values.max() > _HIGHEST:
        raise ValueError(
            f"numbers from {values.min():g} to {values.max():g}; 8 or 16 bits are read"
        )
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _refusal(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path} can't be read as a picture ({', '.join(_FORMATS)}): {reason}. Mend, convert or "
        "move it."
    )
