"""Trivial properties of images and of their files, from which no label should be told."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_saliency.common.opencv import cv2
from keras_saliency.common.types import Array
from keras_saliency.data.image_files import ImageFile
from keras_saliency.shortcuts.image_quality import as_jpeg, find_quality

MIDDLE = "the colour of the middle"
_GRID = 16  # cells a side; a strip is one cell deep
_FRAME = 4  # cells at each side, between which the middle lies
_SQUARES = 2, 4  # cells a side
_OCTAVES = 4
_SMALLEST = 8  # pixels a side, of the coarsest octave
_FAINT = 0.01  # of 255 squared, which an energy without any texture counts as
_QUALITY = 95  # of a thumbnail that tells how many bytes the content takes

Properties = dict[str, Array]

_ALL, _NEAR, _FAR = slice(None), slice(None, _FRAME), slice(-_FRAME, None)
_FIRST, _SECOND = slice(_FRAME, _GRID // 2), slice(_GRID // 2, -_FRAME)
_INSIDE = slice(_FRAME, -_FRAME)
_START, _END = [slice(None, n) for n in _SQUARES], [slice(-n, None) for n in _SQUARES]
_PLACES: dict[str, list[Any]] = {
    # Of a corner, a smaller square and a larger one.
    "the upper left corner": list(zip(_START, _START, strict=True)),
    "the upper right corner": list(zip(_START, _END, strict=True)),
    "the lower left corner": list(zip(_END, _START, strict=True)),
    "the lower right corner": list(zip(_END, _END, strict=True)),
    "the left half of the upper edge": [(_NEAR, _FIRST)],
    "the right half of the upper edge": [(_NEAR, _SECOND)],
    "the left half of the lower edge": [(_FAR, _FIRST)],
    "the right half of the lower edge": [(_FAR, _SECOND)],
    "the upper half of the left edge": [(_FIRST, _NEAR)],
    "the lower half of the left edge": [(_SECOND, _NEAR)],
    "the upper half of the right edge": [(_FIRST, _FAR)],
    "the lower half of the right edge": [(_SECOND, _FAR)],
    "the outermost border": [
        (slice(None, 1), _ALL),
        (slice(-1, None), _ALL),
        (_ALL, slice(None, 1)),
        (_ALL, slice(-1, None)),
    ],
}


def image_properties(images: Array) -> Properties:
    """Measure colours and frequencies of images beside their middle, where objects mostly are.

    A colour is the mean and the standard deviation of each channel. The middle is half as high and
    half as wide as the image; its own colour is measured for comparison.

    Args:
        images: uint8 `(n, height, width, channels)`, from 0 to 255.

    Returns:
        `{property in words: float64 (n, numbers)}`.

    Example:
        >>> images = np.zeros((2, 32, 32, 1), np.uint8)
        >>> images[1, :4, -4:] = 200
        >>> image_properties(images)["the colour of the upper right corner"][:, 0].tolist()
        [0.0, 200.0]
    """
    moments = np.stack([_moments(image) for image in images])
    energies = np.stack([_energies(image) for image in images])
    around = np.ones((_GRID, _GRID), bool)
    around[_INSIDE, _INSIDE] = False
    return {
        **{f"the colour of {words}": _colours(moments, at) for words, at in _PLACES.items()},
        "the colour around the middle": _colours(moments, [around]),
        "the sharpness around the middle": energies[:, :1] - energies[:, 1:2],
        "the frequencies around the middle": energies,
        MIDDLE: _colours(moments, [(_INSIDE, _INSIDE)]),
    }


def compression_properties(images: Array) -> Properties:
    """Estimate how strongly images were compressed, where their files are not known.

    Args:
        images: uint8 `(n, height, width, channels)`.

    Returns:
        `{property in words: float64 (n, 1)}`.
    """
    qualities = [find_quality(image) for image in images]
    return {"the JPEG compression": np.array(qualities, np.float64)[:, None]}


def file_properties(files: Sequence[ImageFile]) -> Properties:
    """Measure what image files are, whatever they show.

    Args:
        files: The files, `n` of them.

    Returns:
        `{property in words: float64 (n, numbers)}`. The size of a file is what remains of it beside
        the size that its content takes, since a busy image takes more bytes than a plain one.
    """
    size = np.log([[file.height, file.width] for file in files])
    steps = np.log1p([[file.quantization] for file in files])
    formats = sorted({file.format for file in files})
    taken = np.log([[file.byte_count] for file in files])
    content = np.log([[len(as_jpeg(file.thumbnail, _QUALITY))] for file in files])
    return {
        "the size of the file": _less_the_line(taken, content),
        "the aspect ratio": size[:, 1:] - size[:, :1],
        "the height and width in pixels": size,
        "the JPEG compression": steps,
        "the file format": np.array(
            [[file.format == kind for kind in formats] for file in files], float
        ),
    }


def _less_the_line(values: Array, others: Array) -> Array:
    """Return what the best line through others leaves of values."""
    values, others = values - values.mean(), others - others.mean()
    return values - others * ((values * others).sum() / max((others**2).sum(), 1e-12))


def _moments(image: Array) -> Array:
    """Average an image and its square over each cell: float64 `(grid, grid, 2, channels)`."""
    cells = []
    for plane in np.moveaxis(image.astype(np.float32), -1, 0):
        both = np.stack([plane, plane**2], axis=-1)
        cells.append(cv2.resize(both, (_GRID, _GRID), interpolation=cv2.INTER_AREA))
    return np.stack(cells, axis=-1).astype(np.float64)


def _colours(moments: Array, places: Sequence[Any]) -> Array:
    """Return the mean and the deviation of each channel in some parts of the grid: `(n, ...)`."""
    found = []
    for place in places:
        inside = np.zeros((_GRID, _GRID), bool)
        inside[place] = True
        mean, square = np.moveaxis(moments[:, inside].mean(1), 1, 0)
        found += [mean, np.sqrt(np.maximum(square - mean**2, 0))]
    return np.concatenate(found, axis=1)


def _energies(image: Array) -> Array:
    """Return the log energy of each octave around the middle, the finest first."""
    grey, energies = image.mean(-1, dtype=np.float32), []
    for _ in range(_OCTAVES):
        smooth = cv2.GaussianBlur(grey, (0, 0), 1)
        energies.append(_mean_around((grey - smooth) ** 2))
        if min(grey.shape) >= 2 * _SMALLEST:
            grey = smooth[::2, ::2]
    return np.log(np.array(energies) + _FAINT)


def _mean_around(values: Array) -> float:
    """Average over what lies around the middle."""
    height, width = values.shape
    top, left = height * _FRAME // _GRID, width * _FRAME // _GRID
    middle = values[top : height - top, left : width - left]
    return float((values.sum() - middle.sum()) / max(values.size - middle.size, 1))
