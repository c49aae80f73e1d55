"""Pictures in folders, in the order of `keras.utils.image_dataset_from_directory`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_saliency.common.resampling import resize_bilinear
from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.common.validation import check_choice, check_count, check_size
from keras_saliency.data.image_files import PILLOW_MODES, read_picture, read_pictures

_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_MASK_ENDING = ".mask.png"


class Pictures(NamedTuple):
    """What a folder holds, by the names of the arguments of `Probes`."""

    images: list[Array]
    labels: list[int] | None
    masks: list[Array] | None
    names: list[str] | None
    class_names: list[str] | None
    display: list[Array] | None


def read_folder(
    directory: str | Path, image_size: Any, per_class: int | None, color_mode: str
) -> Pictures:
    """Read a folder of class folders, or of pictures; the arguments are `from_directory`'s."""
    check_choice(color_mode, "color_mode", PILLOW_MODES)
    if per_class is not None:
        check_count(per_class, "per_class")
    size = _settle_size(image_size)
    class_names, folders = _list_classes(check_folder(directory))
    picked = [
        (label, path)
        for label, folder in enumerate(folders)
        for path in _spread(list(_pictures_in(folder)), per_class)
    ]
    if not picked:
        raise ValueError(f"No pictures ({', '.join(_EXTENSIONS)}) were found in {directory}.")
    paths = [path for _, path in picked]
    images = read_pictures(paths, color_mode)
    masks = _read_masks(paths, images)
    _check_sizes(paths, images, size)
    images = [resize_bilinear(image, size) for image in images]
    return Pictures(
        images=images,
        labels=[label for label, _ in picked] if class_names else None,
        masks=[resize_bilinear(mask, size) for mask in masks] if masks else None,
        names=None if class_names else [f"{i:02d}_{path.stem}" for i, path in enumerate(paths)],
        class_names=class_names,
        display=[_on_white(image) for image in images] if color_mode == "rgba" else None,
    )


def _settle_size(image_size: Any) -> tuple[int, int] | None:
    """`(height, width)` of a pair, a number or a model; `None` where a model takes any size."""
    if image_size is None:
        return None
    shape = getattr(image_size, "input_shape", None)
    if shape is not None:
        if len(shape) == 4 and isinstance(shape, tuple) and all(shape[1:3]):
            return shape[1], shape[2]
        return None
    return check_size(image_size, "image_size", or_else="a number, or a built model")


def check_folder(directory: Any) -> Path:
    """The folder as a path, which must be there."""
    if not isinstance(directory, str | os.PathLike):
        raise TypeError(
            "Expected the path of a folder of pictures. Received: directory of type "
            f"{type(directory).__name__}"
        )
    place = Path(directory)
    if not place.is_dir():
        raise ValueError(
            "Expected a folder of pictures, one folder a class in it, or none. For single files "
            f"pass [PIL.Image.open(path)]. Received: {str(place)!r}, which is "
            f"{'a file' if place.exists() else 'not there'}"
        )
    return place


def _list_classes(directory: Path) -> tuple[list[str] | None, list[Path]]:
    """The class names in Keras's order, empty folders included, and their folders."""
    names = [name for name in _names_in(directory) if not name.startswith(".")]
    folders = [name for name in names if (directory / name).is_dir()]
    if not folders:
        return None, [directory]
    for name in set(names).difference(folders):
        if (directory / name).is_symlink() and not (directory / name).exists():
            raise ValueError(
                "A class folder that is missing would shift the numbers of those after it, and "
                f"{directory / name} is a link that leads nowhere. Mend or remove it."
            )
    if loose := [name for name in names if name not in folders and _is_picture(name)]:
        warn_user(
            f"{len(loose)} pictures beside the class folders belong to no class and are left out "
            f"({', '.join(loose[:3])}): move them into their class. Received: {directory} with the "
            f"classes {', '.join(folders)}"
        )
    return folders, [directory / name for name in folders]


def _names_in(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError as error:
        raise _unreadable(error) from error


def _pictures_in(folder: Path) -> Iterator[Path]:
    """The pictures of one class: sub-folders count, hidden files (macOS's `._*`) do not."""

    def refuse(error: OSError) -> None:
        raise _unreadable(error) from error

    for root, _, files in sorted(os.walk(folder, onerror=refuse), key=lambda entry: entry[0]):
        if any(part.startswith(".") for part in Path(root).relative_to(folder).parts):
            continue
        for name in sorted(files):
            if _is_picture(name) and name[0] != ".":
                yield Path(root, name)


def _is_picture(name: str) -> bool:
    lower = name.lower()
    return lower.endswith(_EXTENSIONS) and not lower.endswith(_MASK_ENDING)


def _unreadable(error: OSError) -> ValueError:
    return ValueError(
        f"The folder {error.filename} can't be read ({error.strerror}). Mend its permissions."
    )


def _spread(paths: list[Path], count: int | None) -> list[Path]:
    """At most `count` of them from all over the list: neighbours are often frames of one series."""
    if count is None or count >= len(paths):
        return paths
    return [paths[i * len(paths) // count] for i in range(count)]


def _read_masks(paths: list[Path], images: list[Array]) -> list[Array] | None:
    """The masks beside the pictures, float32 `(height, width)` in [0, 1]: for all or for none."""
    places = [path.with_name(path.stem + _MASK_ENDING) for path in paths]
    lacking = [path.name for path, place in zip(paths, places, strict=True) if not place.is_file()]
    if len(lacking) == len(paths):
        return None
    if lacking:
        raise ValueError(
            "Either every picture has a mask beside it (`NAME.mask.png` for `NAME.jpg`) or none. "
            f"Received no mask for: {', '.join(lacking)}"
        )
    masks = [_read_mask(place) for place in places]
    for place, mask, image in zip(places, masks, images, strict=True):
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"A mask must have the size of its picture, {image.shape[:2]} upright. "
                f"Received: {place} of {mask.shape}"
            )
    return masks


def _read_mask(path: Path) -> Array:
    mask = read_picture(path, "grayscale")[..., 0].astype(np.float32)
    return mask / 255 if mask.max() > 1 else mask


def _check_sizes(paths: list[Path], images: list[Array], size: tuple[int, int] | None) -> None:
    """Without a size to bring them to, all pictures must have one."""
    if size is not None:
        return
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(
                "The pictures have different sizes; pass `image_size=(height, width)` or the "
                f"model. Received: {paths[0].name} of {images[0].shape[:2]}, "
                f"{path.name} of {image.shape[:2]}"
            )


def _on_white(image: Array) -> Array:
    """uint8 RGB of an RGBA picture."""
    opacity = image[..., 3:] / 255
    mixed = image[..., :3] * opacity + 255 * (1 - opacity)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
