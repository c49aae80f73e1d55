"""Published datasets with a known bias, read as their authors unpack them.

Nothing is downloaded: the functions read the folder that a user has unpacked, and say where it is
to be had if it is not there. The layouts are those that the authors' own loaders read.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from keras_saliency.common.resampling import resize_bilinear
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_choice, check_count, check_size
from keras_saliency.data.image_files import read_image

Split = Literal["train", "val", "test"]
Size = int | tuple[int, int]
_Entry = tuple[Path, int, str | None]  # an image not yet read: file, label and background

_WATERBIRDS = "https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz"
_IMAGENET9 = "https://github.com/MadryLab/backgrounds_challenge"
_SPAWRIOUS = "https://github.com/aengusl/spawrious"
_SPLITS: tuple[Split, ...] = ("train", "val", "test")
_GROUNDS = ("land", "water")
_BREEDS = ("bulldog", "corgi", "dachshund", "labrador")
_IMAGES = 3168  # Spawrious, of each breed in each place and part
_ORDER = ("bulldog", "dachshund", "labrador", "corgi")
# The places of these in training and in testing, and the place of the few training images, of all
# breeds, that break the rule.
_CHALLENGES = {
    "o2o_easy": ("desert jungle dirt snow", "dirt snow desert jungle", "beach"),
    "o2o_medium": ("mountain beach dirt jungle", "jungle dirt beach snow", "desert"),
    "o2o_hard": ("jungle mountain snow desert", "mountain snow desert jungle", "beach"),
    "m2m_easy": ("desert mountain dirt jungle", "dirt jungle mountain desert", ""),
    "m2m_medium": ("beach snow mountain desert", "desert mountain beach snow", ""),
    "m2m_hard": ("dirt jungle snow beach", "snow beach dirt jungle", ""),
}
_PARTNER = (1, 0, 3, 2)  # whose place a breed shares in the many-to-many challenges
_RULED = (0.97, 0.87)  # of the one-to-one training images, in their two parts
_ENDINGS = (".png", ".jpg", ".jpeg")
_SEED = 0


@dataclass(frozen=True)
class BiasedSet:
    """Images whose background goes with their class more often than not.

    Attributes:
        images: uint8 `(n, height, width, 3)`, RGB.
        labels: int64 `(n,)`, indices of `class_names`.
        class_names: The classes.
        backgrounds: What is behind each object, texts `(n,)`, or `None` where it is not recorded.
        paths: The files.

    Example:
        >>> from keras_saliency.data.synthetic import scenes
        >>> drawn = scenes(300)  # instead of a set that was read
        >>> read = BiasedSet(drawn.images, drawn.labels, ("elephant", "penguin"), None, ())
        >>> len(ks.Shortcuts((read.images, read.labels)).receivers)
        64
    """

    images: Array
    labels: Array
    class_names: tuple[str, ...]
    backgrounds: Array | None
    paths: tuple[Path, ...]


def waterbirds(
    folder: str | Path,
    split: Split = "train",
    *,
    image_size: Size = 224,
    per_class: int | None = None,
) -> BiasedSet:
    """Read Waterbirds: land and water birds on land and water (Sagawa et al. 2020).

    In the training split 95 % of the birds are on the background of their kind; in the others
    half of them are.

    Args:
        folder: What the archive unpacks to, `waterbird_complete95_forest2water2`: a
            `metadata.csv` with the columns `img_filename`, `y`, `split` and `place`, and a folder
            of images for each species.
        split: `"train"`, `"val"` or `"test"`.
        image_size: Pixels that images are resized to, `(height, width)` or a side.
        per_class: At most so many images a class, drawn at random (the same ones every time), so
            that the set stays as biased as it is; by default all.

    Returns:
        The set, with the classes `"landbird"` and `"waterbird"` and the backgrounds `"land"` and
        `"water"`.

    Raises:
        ValueError: If the folder, its metadata or an image is not there or not as expected, or
            an option is out of range.

    Example:
        >>> train = waterbirds("waterbird_complete95_forest2water2")  # doctest: +SKIP
        >>> shortcuts = ks.Shortcuts((train.images, train.labels))  # doctest: +SKIP
    """
    check_choice(split, "split", _SPLITS)
    table = Path(folder) / "metadata.csv"
    if not table.is_file():
        raise _missing("Waterbirds' metadata", table, _WATERBIRDS)
    with table.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        needed = {"img_filename", "y", "split", "place"}
        if lacking := needed - set(reader.fieldnames or ()):
            raise ValueError(
                f"Waterbirds' metadata must have the columns {sorted(needed)}. Received: {table} "
                f"without {sorted(lacking)}. Unpack it afresh from {_WATERBIRDS}."
            )
        entries: list[_Entry] = [
            (table.parent / row["img_filename"], int(row["y"]), _GROUNDS[int(row["place"])])
            for row in reader
            if row["split"] == str(_SPLITS.index(split))
        ]
    if not entries:
        raise _missing(f"Waterbirds' images of the {split!r} split", table, _WATERBIRDS)
    return _read(entries, ("landbird", "waterbird"), image_size, per_class)


def imagenet9(
    folder: str | Path,
    variant: str = "original",
    split: Literal["train", "val"] = "val",
    *,
    image_size: Size = 224,
    per_class: int | None = None,
) -> BiasedSet:
    """Read ImageNet-9 or one of its variants with other backgrounds (Xiao et al. 2020).

    The accuracy on `"mixed_same"` (backgrounds of another image of the class) less that on
    `"mixed_rand"` (of any class) is the authors' measure of reliance on backgrounds, BG-Gap.

    Args:
        folder: What the backgrounds challenge unpacks to, `bg_challenge`, with
            `VARIANT/val/NN_class/*.JPEG`; or the folder that the archives of the training data
            are unpacked in, with `VARIANT/train/NN_class/*.JPEG` besides.
        variant: `"original"`, `"mixed_same"`, `"mixed_rand"`, `"mixed_next"`, `"no_fg"`,
            `"only_bg_b"`, `"only_bg_t"`, `"only_fg"`, or another folder of that layout.
        split: `"val"`; or `"train"`, which donors must be from.
        image_size: Pixels that images are resized to, `(height, width)` or a side.
        per_class: At most so many images a class, drawn at random (the same ones every time); by
            default all.

    Returns:
        The set, with the classes in the order of their numbers, such as `"dog"` of `00_dog`, and
        without backgrounds.

    Raises:
        ValueError: If the folder or a class in it is not there or not as expected, or an option
            is out of range.

    Example:
        >>> same = imagenet9("bg_challenge", "mixed_same")  # doctest: +SKIP
        >>> rand = imagenet9("bg_challenge", "mixed_rand")  # doctest: +SKIP
    """
    check_choice(split, "split", ("train", "val"))
    root = Path(folder) / variant / split
    folders = sorted(root.glob("[0-9][0-9]_*"))
    if not folders:
        raise _missing("ImageNet-9's folders NN_class", root, _IMAGENET9)
    entries: list[_Entry] = [
        (path, label, None)
        for label, folder in enumerate(folders)
        for path in _images_in(folder, "ImageNet-9's images", _IMAGENET9)
    ]
    names = tuple(folder.name.split("_", 1)[1] for folder in folders)
    return _read(entries, names, image_size, per_class)


def spawrious(
    folder: str | Path,
    challenge: str = "o2o_easy",
    split: Literal["train", "test"] = "train",
    *,
    image_size: Size = 224,
    per_class: int | None = None,
) -> BiasedSet:
    """Read Spawrious: four breeds of dogs in places that go with the breed (Lynch et al. 2023).

    One-to-one, each breed is in a place of its own in 97 % and in 87 % of two parts, else in one
    place for all. Many-to-many, two breeds share two places. In testing the places are others.

    Args:
        folder: What the archives unpack to, `spawrious224`, with `0/PLACE/BREED/*.png` and
            `1/PLACE/BREED/*.png`.
        challenge: `"o2o_easy"`, `"o2o_medium"`, `"o2o_hard"`, `"m2m_easy"`, `"m2m_medium"` or
            `"m2m_hard"`.
        split: `"train"` or `"test"`.
        image_size: Pixels that images are resized to, `(height, width)` or a side.
        per_class: At most so many images a class, drawn at random (the same ones every time), so
            that the set stays as biased as it is; by default all, about 6,000 in training.

    Returns:
        The set, with the four breeds as classes and the places as backgrounds.

    Raises:
        ValueError: If the folder or what the challenge needs of it is not there, or an option is
            out of range.

    Example:
        >>> train = spawrious("spawrious224", "o2o_hard", per_class=400)  # doctest: +SKIP
        >>> sorted(set(train.backgrounds))  # doctest: +SKIP
        ['beach', 'desert', 'jungle', 'mountain', 'snow']
    """
    check_choice(challenge, "challenge", _CHALLENGES)
    check_choice(split, "split", ("train", "test"))
    entries: list[_Entry] = []
    for part, place, breed, count in _sources(challenge, split == "train"):
        source = Path(folder) / str(part) / place / breed
        paths = _images_in(source, "Spawrious's images", _SPAWRIOUS)[:count]
        entries += [(path, _BREEDS.index(breed), place) for path in paths]
    return _read(entries, _BREEDS, image_size, per_class)


def _sources(challenge: str, train: bool) -> Iterator[tuple[int, str, str, int]]:
    """Yield the folders of a challenge, by part, place and breed, and how many images count."""
    training, testing, breaking = _CHALLENGES[challenge]
    places = (training if train else testing).split()
    for index, breed in enumerate(_ORDER):
        if not breaking:
            for place in (places[index], places[_PARTNER[index]]):
                yield 0, place, breed, _IMAGES
            continue
        for part, share in enumerate(_RULED):
            ruled = int(share * _IMAGES)
            yield part, places[index], breed, ruled if train else _IMAGES
            if train:
                yield part, breaking, breed, _IMAGES - ruled


def _images_in(folder: Path, what: str, source: str) -> list[Path]:
    """List the images in a folder itself, by name; raise an error if there are none."""
    visible = sorted(folder.glob("[!.]*"))
    if not (paths := [path for path in visible if path.suffix.lower() in _ENDINGS]):
        raise _missing(what, folder, source)
    return paths


def _read(
    entries: list[_Entry], class_names: tuple[str, ...], image_size: Size, per_class: int | None
) -> BiasedSet:
    """Read the images, or some of each class."""
    size = check_size(image_size, "image_size", or_else="a number")
    if per_class is not None:
        check_count(per_class, "per_class")
    labels = np.array([label for _, label, _ in entries], np.int64)
    rng = np.random.default_rng(_SEED)
    drawn = [rng.permutation(np.flatnonzero(labels == k))[:per_class] for k in np.unique(labels)]
    chosen = np.sort(np.concatenate(drawn))
    paths, _, backgrounds = zip(*(entries[i] for i in chosen), strict=True)
    images = np.empty((len(paths), *size, 3), np.uint8)
    for image, path in zip(images, paths, strict=True):
        image[:] = np.rint(resize_bilinear(read_image(path, "rgb"), size))
    recorded = None if backgrounds[0] is None else np.array(backgrounds)
    return BiasedSet(images, labels[chosen], class_names, recorded, paths)


def _missing(what: str, path: Path, source: str) -> ValueError:
    """Say what was expected, what is there instead, and where the dataset is to be had."""
    near = next(folder for folder in (path, *path.parents, Path()) if folder.is_dir())
    held = sorted(path.name for path in near.iterdir())
    listed = ", ".join(held[:8]) + (", ..." if len(held) > 8 else "") or "nothing"
    return ValueError(
        f"Expected {what} at {path}. Received: {near.resolve()}, which holds {listed}. Pass the "
        f"folder that the set unpacks to; it is to be had from {source}."
    )
