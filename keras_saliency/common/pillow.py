"""Pillow images as arrays: 8 bits a channel, transparency on white."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from keras_saliency.common.types import Array

# Else Pillow loads the module that writes GIFs when the interpreter exits, and its named tuples are
# evaluated as text: Python then forgets that a KeyboardInterrupt ended it, and its status is 1.
Image.preinit()


def pixels_of(images: Sequence[Image.Image]) -> list[Array]:
    """Return open images as `read_image` reads files, uint8: grey if all of them are, else RGB.

    Images of floats, whose range is not known, stay as they are.
    """
    mode = "L" if all(Image.getmodebase(image.mode) == "L" for image in images) else "RGB"
    return [
        np.array(image if image.mode == "F" else opaque(eight_bits(image)).convert(mode))
        for image in images
    ]


def decoded(blob: bytes, mode: str, most: int) -> Array | None:
    """Return the pixels of a PNG or JPEG that others may have written.

    Args:
        blob: Its bytes.
        mode: Pillow's, "L" or "RGB".
        most: How many pixels it may have; that is compared before anything is unpacked.

    Returns:
        uint8 `(height, width)`, or `(height, width, 3)`; None where it can't be read or is larger.
    """
    try:
        with Image.open(io.BytesIO(blob), formats=("PNG", "JPEG")) as file:
            return np.array(file.convert(mode)) if file.width * file.height <= most else None
    except Exception:  # a broken image may make Pillow raise anything
        return None


def opaque(image: Image.Image) -> Image.Image:
    """Lay an image on white, if it has any transparency."""
    if image.mode not in ("RGBA", "RGBa", "LA", "La", "PA") and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits: Pillow would cut it off at 255."""
    if image.mode == "F":
        raise ValueError("floats, whose range nobody knows; 8 or 16 bits are read")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image, np.float64)
    if values.min() < 0 or values.max() > 65_535:  # of 16 bits
        raise ValueError(
            f"numbers from {values.min():g} to {values.max():g}; 8 or 16 bits are read"
        )
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))
