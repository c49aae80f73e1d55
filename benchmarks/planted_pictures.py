"""Pictures with a cue that may be planted, made of what installed packages hold.

`photographs` are objects cut out of photographs on crops of others; the cue is what the crop is
from. `digits` are scans with a coloured tag in the corner; the cue is the colour.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage
import sklearn
from sklearn.datasets import load_digits

TRAINED, TESTED = 960, 320  # pictures of a training; of the digits, the rest is trained on

SIDE = 64
FOLDERS = {
    "skimage": Path(skimage.__file__).parent / "data",
    "sklearn": Path(sklearn.__file__).parent / "datasets/images",
    "matplotlib": Path(matplotlib.get_data_path()) / "sample_data",
}
# Outlines in percent of width and height: middle and radii of an ellipse, or a polygon.
OBJECTS = {
    "cat": ("skimage/chelsea.png", "50,48 34,46"),
    "coffee": ("skimage/coffee.png", "45,50 29,47"),
    "helmet": ("skimage/astronaut.png", "77,83 21,15"),
    "flower": ("sklearn/flower.jpg", "48.5,52 21.5,32"),
    "retina": ("skimage/retina.jpg", "50,50 48,48"),
    "coin": ("skimage/coins.png", "87.3,14.3 7.8,9.6"),
    "astronaut": (
        "skimage/astronaut.png",
        "33,8 40,3 50,3 57,9 58,17 55,25 58,33 57,46 45,52 30,48 22,40 24,31 34,25 31,17",
    ),
    "shuttle": (
        "skimage/astronaut.png",
        "82,10 86,10 88,20 90,30 92,45 92,53 72,53 73,46 76,40 78,25 79,12",
    ),
    "motorcycle": (
        "skimage/motorcycle_left.png",
        "16,44 22,36 30,36 45,38 55,30 66,28 70,20 "
        "78,28 80,42 88,62 92,80 86,90 76,86 70,70 "
        "60,72 50,82 44,76 34,86 24,84 18,72 20,56",
    ),
    "admiral": (
        "matplotlib/grace_hopper.jpg",
        "32,10 44,4 58,4 70,12 72,24 70,32 74,42 68,50 60,56 50,60 42,58 36,50 31,44 33,34 30,24",
    ),
    "pagoda": (
        "sklearn/china.jpg",
        "32,6 42,18 50,24 47,34 50,44 48,52 54,60 52,78 16,78 14,62 18,50 14,42 18,32 14,25 26,17",
    ),
    "photographer": (
        "skimage/camera.png",
        "36,12 46,14 52,24 62,26 66,34 60,44 56,58 42,60 32,68 30,98 4,98 6,62 14,40 26,30 30,18",
    ),
}
# Left, top, right and bottom in percent of width and height.
GROUNDS = {
    "trees": ("sklearn/china.jpg", (30, 78, 100, 100)),
    "haze": ("sklearn/china.jpg", (55, 0, 100, 45)),
    "bokeh": ("sklearn/flower.jpg", (0, 0, 26, 100)),
    "stars": ("skimage/hubble_deep_field.jpg", (0, 0, 100, 100)),
    "tissue": ("skimage/ihc.png", (0, 0, 100, 100)),
    "vessels": ("skimage/retina.jpg", (20, 20, 80, 80)),
    "brick": ("skimage/brick.png", (0, 0, 100, 100)),
    "grass": ("skimage/grass.png", (0, 0, 100, 100)),
    "gravel": ("skimage/gravel.png", (0, 0, 100, 100)),
    "moon": ("skimage/moon.png", (0, 0, 100, 100)),
    "wood": ("skimage/coffee.png", (76, 0, 100, 100)),
    "garage": ("skimage/motorcycle_left.png", (0, 0, 50, 30)),
    "night": ("skimage/rocket.jpg", (0, 0, 100, 55)),
    "lawn": ("skimage/camera.png", (60, 60, 100, 100)),
    "fur": ("skimage/chelsea.png", (0, 0, 30, 60)),
    "flag": ("matplotlib/grace_hopper.jpg", (0, 0, 28, 75)),
}

DIGIT, MARGIN = 32, 4  # pixels of a digit, and of black around it
TAG = slice(1, 7)
HUES = np.uint8([[[18 * digit, 255, 255] for digit in range(10)]])
COLOURS = cv2.cvtColor(HUES, cv2.COLOR_HSV2RGB)[0]


@dataclass(frozen=True)
class Task:
    """What one training gets.

    Attributes:
        images, labels: What is trained on; uint8 `(n, height, width, 3)`.
        masks: Where the objects truly are, float32 `(n, height, width)`.
        agreeing, swapped: Unseen pictures with the cue of their class, and their exact twins with
            that of another.
        truth: The labels of both.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    agreeing: np.ndarray
    swapped: np.ndarray
    truth: np.ndarray


def cued(
    labels: np.ndarray, correlation: float, classes: int, rng: np.random.Generator
) -> np.ndarray:
    """The class each cue speaks for: the label's own with this probability."""
    agrees = rng.random(len(labels)) < correlation
    return np.where(agrees, labels, another(labels, classes, rng))


def another(labels: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    return (labels + rng.integers(1, classes, len(labels))) % classes


@cache
def photograph(name: str) -> np.ndarray:
    package, file = name.split("/")
    return cv2.cvtColor(cv2.imread(str(FOLDERS[package] / file)), cv2.COLOR_BGR2RGB)


@cache
def cut_out(name: str) -> tuple[np.ndarray, np.ndarray]:
    """An object's box out of its photograph, and its mask with a soft edge."""
    file, outline = OBJECTS[name]
    picture = photograph(file)
    size = np.array(picture.shape[1::-1])
    percent = [[float(part) for part in point.split(",")] for point in outline.split()]
    points = np.rint(np.array(percent) / 100 * size).astype(int)
    mask = np.zeros(picture.shape[:2], np.float32)
    if len(points) == 2:
        middle, radii = points.tolist()
        cv2.ellipse(mask, middle, radii, 0, 0, 360, 1, -1)
    else:
        cv2.fillPoly(mask, [points], 1)
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    box = slice(top, top + height), slice(left, left + width)
    shrink = SIDE / max(width, height)
    size = max(8, round(width * shrink)), max(8, round(height * shrink))
    pixels = cv2.resize(picture[box], size, interpolation=cv2.INTER_AREA)
    return pixels, cv2.resize(mask[box], size, interpolation=cv2.INTER_AREA)


def crop(name: str, rng: np.random.Generator) -> np.ndarray:
    """A random square of a ground, float32 `(SIDE, SIDE, 3)`."""
    file, edges = GROUNDS[name]
    picture = photograph(file)
    size = np.array(picture.shape[1::-1])
    left, top, right, bottom = (np.array(edges) / 100 * np.tile(size, 2)).astype(int)
    side = int(rng.uniform(0.6, 1) * min(right - left, bottom - top, 3 * SIDE))
    x, y = rng.integers(left, right - side + 1), rng.integers(top, bottom - side + 1)
    square = picture[y : y + side, x : x + side, :]
    square = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return square[:, :: rng.choice([-1, 1])] * np.float32(rng.uniform(0.8, 1.2))


def pose(name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An object somewhere in a picture, turned and resized, and its mask."""
    pixels, mask = cut_out(name)
    flip = rng.choice([-1, 1])
    half, scale = np.array(mask.shape[::-1]) / 2, rng.uniform(0.4, 0.65)
    move = cv2.getRotationMatrix2D(half, rng.uniform(-15, 15), scale)
    move[:, 2] += rng.uniform(scale * half, SIDE - scale * half) - half
    moved = cv2.warpAffine(
        pixels[:, ::flip].astype(np.float32), move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE
    )
    shape = cv2.warpAffine(np.ascontiguousarray(mask[:, ::flip]), move, (SIDE, SIDE))
    return moved * np.float32(rng.uniform(0.8, 1.2)), cv2.GaussianBlur(shape, (3, 3), 0)


def photographs(correlation: float, seed: int) -> Task:
    """Two objects a class on the grounds of two photographs a class, others with every seed."""
    rng = np.random.default_rng(seed)
    objects = rng.permutation(list(OBJECTS))[:4].reshape(2, 2)
    grounds = rng.permutation(list(GROUNDS))[:4].reshape(2, 2)

    def scenes(labels: np.ndarray, *cues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same objects on the grounds of each cue, and where they are."""
        pictures = np.empty((len(cues), len(labels), SIDE, SIDE, 3), np.uint8)
        masks = np.empty((len(labels), SIDE, SIDE), np.float32)
        for i, label in enumerate(labels):
            thing, masks[i] = pose(rng.choice(objects[label]), rng)
            weight = masks[i, ..., None]
            for version, cue in zip(pictures, cues, strict=True):
                mixed = weight * thing + (1 - weight) * crop(rng.choice(grounds[cue[i]]), rng)
                version[i] = np.clip(mixed, 0, 255)
        return pictures, masks

    labels, truth = np.arange(TRAINED) % 2, np.arange(TESTED) % 2
    (images,), masks = scenes(labels, cued(labels, correlation, 2, rng))
    (agreeing, swapped), _ = scenes(truth, truth, 1 - truth)
    return Task(images, labels, masks, agreeing, swapped, truth)


def digits(correlation: float, seed: int) -> Task:
    """Scanned digits, each with a tag whose colour is that of a digit."""
    rng = np.random.default_rng(seed)
    scans = load_digits()
    order = rng.permutation(len(scans.images))
    ink = np.stack(
        [
            np.pad(cv2.resize(scan / 16, (DIGIT, DIGIT), interpolation=cv2.INTER_CUBIC), MARGIN)
            for scan in scans.images[order]
        ]
    ).clip(0, 1)
    labels = scans.target[order]

    def tagged(chosen: slice, cues: np.ndarray) -> np.ndarray:
        pictures = np.repeat(np.uint8(255 * ink[chosen, ..., None]), 3, axis=-1)
        pictures[:, TAG, TAG] = COLOURS[cues][:, None, None]
        return pictures

    known, unseen = slice(len(ink) - TESTED), slice(len(ink) - TESTED, None)
    truth = labels[unseen]
    return Task(
        tagged(known, cued(labels[known], correlation, 10, rng)),
        labels[known],
        ink[known].astype(np.float32),
        tagged(unseen, truth),
        tagged(unseen, another(truth, 10, rng)),
        truth,
    )
