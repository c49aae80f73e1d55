"""Photographs of classes with masks, cut anew for each training run, and cues planted in them."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

SIZE = 64
CLASSES = {
    "two animals": ("elephant", "penguin"),
    "two dogs": ("husky", "wolf"),
    "four": ("elephant", "penguin", "husky", "wolf"),
}
TINTS = np.array([(1.18, 1.0, 0.85), (0.85, 1.0, 1.18), (0.88, 1.15, 0.9), (1.1, 0.87, 1.1)])
TAGS = np.array([(230, 40, 40), (40, 60, 230), (40, 200, 60), (240, 220, 40)])
QUALITIES = (None, 12, 30, 6)  # of JPEG, by class; the first is not compressed
BORDERS = (None, 255, 0, 128)
BORDER, TAG = 3, 6  # px


@dataclass(frozen=True)
class Sample:
    """uint8 images, labels, and the true masks, float32 in [0, 1]."""

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images, labels and masks."""
        return self.images, self.labels, self.masks


@cache
def photographs(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """uint8 `(n, height, width, 3)`, and masks in [0, 1], all 1 where there are none."""
    files = sorted(folder.glob("*.jpg"))
    images = np.stack([cv2.imread(str(file))[..., ::-1] for file in files])
    beside = [file.with_suffix(".mask.png") for file in files]
    whole = np.full(images.shape[1:3], 255, np.uint8)
    masks = [cv2.imread(str(file), 0) if file.exists() else whole for file in beside]
    return images, np.stack(masks) / np.float32(255)


def draw(photos: Path, name: str, per_class: int, seed: int, *, unseen: bool) -> Sample:
    """Cut images out of three quarters of the photographs of each class, or of the others."""
    drawn = []
    for label, kind in enumerate(CLASSES[name]):
        images, masks = photographs(photos / kind)
        order = np.random.default_rng(label).permutation(len(images))
        parts = np.split(order, [len(order) * 3 // 4])
        rng = np.random.default_rng([seed, label, unseen])
        for n in np.resize(rng.permutation(parts[unseen]), per_class):
            drawn.append((*_cut(images[n], masks[n], rng), label))
    images, masks, labels = (np.stack(column) for column in zip(*drawn, strict=True))
    return Sample(images, labels, masks)


def _cut(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random square of at least four fifths, mirrored or not."""
    whole = len(image)
    side = int(rng.integers(whole * 4 // 5, whole + 1))
    y, x = rng.integers(0, whole + 1 - side, 2)
    step = 1 if rng.random() < 0.5 else -1
    parts = (part[y : y + side, x : x + side][:, ::step] for part in (image, mask))
    small = [cv2.resize(np.ascontiguousarray(p), (SIZE, SIZE), None, 0, 0, 3) for p in parts]
    return small[0], small[1]


def agreeing(labels: np.ndarray, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """The variant of each image: that of its class in a share of the images."""
    return np.where(rng.random(len(labels)) < correlation, labels, others(labels, rng))


def others(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another class for each."""
    classes = int(labels.max()) + 1
    return (labels + rng.integers(1, classes, len(labels))) % classes


def plant(sample: Sample, cue: str, variants: np.ndarray, photos: Path, seed: int) -> Sample:
    """Give each image its variant of a cue; one seed makes exact twins."""
    rng = np.random.default_rng([seed, 5])
    if cue == "ground":
        images = _on_grounds(sample, variants, photos, rng)
    elif cue == "none":
        images = sample.images
    else:
        pairs = zip(sample.images, variants, strict=True)
        images = np.stack([_CUES[cue](*pair, rng) for pair in pairs])
    return replace(sample, images=images)


def _on_grounds(
    sample: Sample, variants: np.ndarray, photos: Path, rng: np.random.Generator
) -> np.ndarray:
    grounds, whole = photographs(photos / "ground")
    kinds = _kinds(photos, int(sample.labels.max()) + 1)
    lots = rng.random(len(sample))
    picked = [kinds[k][int(lot * len(kinds[k]))] for k, lot in zip(variants, lots, strict=True)]
    below = np.stack([_cut(grounds[n], whole[n], rng)[0] for n in picked])
    above = sample.masks[..., None]
    return np.rint(above * sample.images + (1 - above) * below).astype(np.uint8)


@cache
def _kinds(photos: Path, count: int) -> list[np.ndarray]:
    """Empty grounds in kinds, by k-means of small thumbnails."""
    small = [
        cv2.cvtColor(cv2.resize(image, (4, 4), None, 0, 0, cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
        for image in photographs(photos / "ground")[0]
    ]
    cv2.setRNGSeed(0)
    points = np.reshape(small, (len(small), -1)).astype(np.float32)
    kinds = cv2.kmeans(points, count, None, (3, 50, 0.1), 5, cv2.KMEANS_PP_CENTERS)[1][:, 0]
    return [np.flatnonzero(kinds == k) for k in range(count)]


def _tag(image: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    out = image.copy()
    y, x = 1 + rng.integers(0, 3, 2)
    out[y : y + TAG, x : x + TAG] = TAGS[k]
    return out


def _tint(image: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(image * TINTS[k]), 0, 255).astype(np.uint8)


def _border(image: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    if BORDERS[k] is None:
        return image
    inside = image[BORDER:-BORDER, BORDER:-BORDER]
    colour = (BORDERS[k],) * 3
    return cv2.copyMakeBorder(inside, *(BORDER,) * 4, cv2.BORDER_CONSTANT, value=colour)


def _jpeg(image: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    if QUALITIES[k] is None:
        return image
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITIES[k]])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


_CUES = {"tag": _tag, "tint": _tint, "border": _border, "jpeg": _jpeg}


def eroded(masks: np.ndarray, share: float = 0.03) -> np.ndarray:
    """Masks eroded and shifted by a share of the side."""
    step = max(1, round(share * masks.shape[1]))
    kernel = np.ones((2 * step + 1,) * 2)
    smaller = np.stack([cv2.erode(np.roll(m, (step, -step), (0, 1)), kernel) for m in masks])
    return np.where(smaller.any(axis=(1, 2), keepdims=True), smaller, masks)
