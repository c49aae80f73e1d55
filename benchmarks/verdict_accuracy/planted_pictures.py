"""Images with a cue that may be planted, made of what installed packages hold.

`photographs` are objects cut out of photographs on crops of others; the cue is what the crop is
from. `digits` are scans with a coloured tag in the corner; the cue is the colour.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage
import sklearn
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from keras_saliency.data.masks import make_masks
from keras_saliency.shortcuts.verdict import CounterfactualSheet

TRAINED = 1280  # photographs of a training run; of the digits, what is not tested on
TESTED = {"photographs": 280, "digits": 800}  # each in several versions
OBJECTS_A_CLASS, GROUNDS_A_CLASS = 2, 3

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

OUTSIDE = np.uint8([150, 180, 220])  # drawn where a mask is not


@dataclass(frozen=True)
class Task:
    """What one training run gets.

    Attributes:
        images, labels: What is trained on; uint8 `(n, height, width, 3)`.
        masks: Where the objects truly are, float32 `(n, height, width)`.
        versions: Unseen images, each with several cues and otherwise the same; uint8
            `(versions, m, height, width, 3)`.
        truth: The labels of the unseen images `(m,)`.
        agrees: Whether the cue of a version speaks for the image's class, bool
            `(ways, versions, m)`: first as it is planted, then in the other ways in which the
            cues can be shared out to the classes.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    versions: np.ndarray
    truth: np.ndarray
    agrees: np.ndarray


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
    """A random square of a ground, turned, mirrored and lit anew; float32 `(SIDE, SIDE, 3)`."""
    file, edges = GROUNDS[name]
    picture = photograph(file)
    size = np.array(picture.shape[1::-1])
    left, top, right, bottom = (np.array(edges) / 100 * np.tile(size, 2)).astype(int)
    side = int(rng.uniform(0.35, 1) * min(right - left, bottom - top, 4 * SIDE))
    x, y = rng.integers(left, right - side + 1), rng.integers(top, bottom - side + 1)
    square = picture[y : y + side, x : x + side, :]
    way = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    square = cv2.resize(square, (SIDE, SIDE), interpolation=way)
    turned = np.rot90(square, rng.integers(4))[:, :: rng.choice([-1, 1])]
    return turned * np.float32(rng.uniform(0.6, 1.4))


def pose(name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An object somewhere in an image, turned and resized, and its mask."""
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


def place(
    thing: str, grounds: list[str], rng: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """The same object on crops of each ground, uint8, and its mask."""
    pixels, mask = pose(thing, rng)
    weight = mask[..., None]
    mixed = (weight * pixels + (1 - weight) * crop(ground, rng) for ground in grounds)
    return [np.clip(picture, 0, 255).astype(np.uint8) for picture in mixed], mask


def elsewhere(things: list[str]) -> list[str]:
    """The grounds from other photographs than these objects."""
    files = {OBJECTS[thing][0] for thing in things}
    return [ground for ground, (file, _) in GROUNDS.items() if file not in files]


def all_objects(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of every object on every ground with equal chance, and which object it is."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(OBJECTS)
    things = [list(OBJECTS)[label] for label in labels]
    images = [place(thing, [rng.choice(elsewhere([thing]))], rng)[0][0] for thing in things]
    return np.stack(images), labels


def photographs(correlation: float, seed: int) -> Task:
    """Two objects a class on the grounds of three photographs a class, others with every seed."""
    rng = np.random.default_rng(seed)
    objects = rng.permutation(list(OBJECTS))[: 2 * OBJECTS_A_CLASS].reshape(2, -1)
    chosen = rng.permutation(elsewhere(objects.ravel().tolist()))[: 2 * GROUNDS_A_CLASS]
    grounds = chosen.reshape(2, -1)
    labels, truth = np.arange(TRAINED) % 2, np.arange(TESTED["photographs"]) % 2
    cues = cued(labels, correlation, 2, rng)
    trained = [
        place(rng.choice(objects[label]), [rng.choice(grounds[cue])], rng)
        for label, cue in zip(labels, cues, strict=True)
    ]
    tested = [place(rng.choice(objects[label]), chosen.tolist(), rng)[0] for label in truth]
    # Every way to give the first class half of the grounds, the first ground among them.
    halves = np.array(
        [
            [ground in (0, *others) for ground in range(len(chosen))]
            for others in combinations(range(1, len(chosen)), GROUNDS_A_CLASS - 1)
        ]
    )
    return Task(
        np.stack([pictures[0] for pictures, _ in trained]),
        labels,
        np.stack([mask for _, mask in trained]),
        np.stack(tested, axis=1),
        truth,
        halves[..., None] == (truth == 0),
    )


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

    trained = len(ink) - TESTED["digits"]
    known, unseen = slice(trained), slice(trained, None)
    truth = labels[unseen]
    return Task(
        tagged(known, cued(labels[known], correlation, 10, rng)),
        labels[known],
        ink[known].astype(np.float32),
        np.stack([tagged(unseen, cues) for cues in (truth, another(truth, 10, rng))]),
        truth,
        np.repeat([[[True], [False]]], len(truth), axis=-1),
    )


def truth(task: Task, right: np.ndarray, chances: np.ndarray, planted: bool) -> dict[str, float]:
    """The reliance R with its standard error over images, and the accuracies it is made of.

    Beside it the same as a difference of probabilities, which moves before decisions do.

    Args:
        task: What was trained on and tested.
        right: Whether a network tells the versions right, `(versions, m)`.
        chances: The probability it gives to the right class, likewise.
        planted: Whether only the first way to share out the cues counts, or the worst of all.
    """
    found = []
    for agrees in task.agrees[:1] if planted else task.agrees:
        own, other = split(right, agrees)
        difference, likelier = own - other, np.subtract(*split(chances, agrees)).mean()
        # No cue belongs to a class where nothing is planted: a model may follow them either way.
        sign = 1 if planted or difference.mean() >= 0 else -1
        found.append(
            {
                "agreeing": float(own.mean()),
                "swapped": float(other.mean()),
                "R": float(sign * difference.mean()),
                "R error": float(difference.std(ddof=1) / np.sqrt(len(own))),
                "R in p": float(sign * likelier),
            }
        )
    return max(found, key=lambda way: way["R"])


def split(values: np.ndarray, agrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over the versions whose cue agrees, and over the others, for each image."""
    weights = agrees / agrees.sum(axis=0), ~agrees / (~agrees).sum(axis=0)
    return (values * weights[0]).sum(axis=0), (values * weights[1]).sum(axis=0)


def draw_twins(sheets: dict[str, CounterfactualSheet], path: Path) -> None:
    """Write a PNG with a row a receiver: it, its made mask, and its two counterfactuals."""
    titles = "picture", "made mask", "background of\nits own class", "of another class"
    rows = max(len(sheet.images) for sheet in sheets.values())
    figure = Figure(figsize=(2.6 * len(titles), 1.55 * rows + 0.4), layout="constrained")
    for part, sheet in zip(figure.subfigures(1, len(sheets)), sheets.values(), strict=True):
        axes = part.subplots(rows, len(titles), squeeze=False)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontsize=9)
        for axis in axes.flat:
            axis.axis("off")
        masks = make_masks(np.ascontiguousarray(sheet.images[:, 0]))
        for row, versions, mask, chances in zip(
            axes, sheet.images, masks, sheet.watched, strict=False
        ):
            cut = np.where(mask[..., None] > 0.5, versions[0], OUTSIDE)
            shown = versions[0], cut, versions[1], versions[2]
            for axis, pixels in zip(row, shown, strict=True):
                axis.imshow(pixels)
            for axis, chance in zip(row[[0, 2, 3]], chances, strict=True):
                axis.text(0.5, -0.04, f"{chance:.2f}", transform=axis.transAxes, ha="center",
                          va="top", fontsize=9)  # fmt: skip
    figure.savefig(path, dpi=100)
