"""Image files as arrays: upright, 8 bits a channel, without transparency."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from keras_saliency.common.pillow import eight_bits, opaque
from keras_saliency.common.types import Array

PILLOW_MODES = {"rgb": "RGB", "rgba": "RGBA", "grayscale": "L"}
# No others are tried, whatever the name of a file ends in: Pillow knows dozens of rare formats,
# and most of its security advisories are about these.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def read_image(path: Path, color_mode: str) -> Array:
    """Read an image upright, as uint8 `(height, width, channels)`; transparency becomes white."""
    return read_images([path], color_mode)[0]


def read_images(paths: Sequence[Path], color_mode: str) -> list[Array]:
    """Read several images as `read_image` does, in a few threads."""
    # Filters are the process's: set in each thread, they would be put back in any order.
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        # Broken EXIF data leave an image as it is stored; too many pixels are refused.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return list(pool.map(lambda path: _read(path, color_mode), paths))


def _read(path: Path, color_mode: str) -> Array:
    if not path.is_file():
        raise _refusal(path, "it is a link that leads nowhere, or no regular file")
    try:
        with Image.open(path, formats=_FORMATS) as file:
            image = eight_bits(_upright(file))
            if color_mode != "rgba":
                image = opaque(image)
            array = np.array(image.convert(PILLOW_MODES[color_mode]))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} is refused: {error} Make it smaller, or, if you trust it, set another limit, "
            "PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except Exception as error:  # whatever a broken file may make Pillow raise
        raise _refusal(path, str(error) or type(error).__name__) from error
    return array if array.ndim == 3 else array[..., None]


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
