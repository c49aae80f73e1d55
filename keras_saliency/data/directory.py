"""Image folders, in the order of `keras.utils.image_dataset_from_directory`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from keras_saliency.common.resampling import resize_bilinear
from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.common.validation import check_choice, check_count, check_size
from keras_saliency.data.image_files import PILLOW_MODES, read_image, read_images

_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_MASK_ENDING = ".mask.png"
_Entry = TypeVar("_Entry")


def read_folder(
    directory: str | Path, image_size: Any, per_class: int | None, color_mode: str
) -> dict[str, Any]:
    """Read a folder of class folders, or of images, into arguments of `Probes`.

    The arguments are those of `Probes.from_directory`.
    """
    check_choice(color_mode, "color_mode", PILLOW_MODES)
    if per_class is not None:
        check_count(per_class, "per_class")
    size = _resolve_size(image_size)
    class_names, listed = list_images(directory)
    taken = [spread(own, per_class) for own in listed]
    paths = [path for own in taken for path in own]
    images = read_images(paths, color_mode)
    masks = _read_masks(paths, images)
    _check_sizes(paths, images, size)
    images = [resize_bilinear(image, size) for image in images]
    return {
        "images": images,
        "labels": [i for i, own in enumerate(taken) for _ in own] if class_names else None,
        "masks": [resize_bilinear(mask, size) for mask in masks] if masks else None,
        "names": None if class_names else [f"{i:02d}_{path.stem}" for i, path in enumerate(paths)],
        "class_names": class_names,
        "display": [_on_white(image) for image in images] if color_mode == "rgba" else None,
    }


def list_images(directory: str | Path) -> tuple[list[str] | None, list[list[Path]]]:
    """List the images in a folder, by class; without class folders there are no class names."""
    class_names, folders = _list_classes(check_folder(directory))
    listed = [list(_images_in(folder)) for folder in folders]
    if not any(listed):
        raise ValueError(f"No images ({', '.join(_EXTENSIONS)}) were found in {directory}.")
    return class_names, listed


def _resolve_size(image_size: Any) -> tuple[int, int] | None:
    """Return `(height, width)` of a pair, a number or a model; `None` if a model takes any size."""
    shape: Any = getattr(image_size, "input_shape", None)
    if image_size is None or shape is not None:
        is_known = isinstance(shape, tuple) and len(shape) == 4 and all(shape[1:3])
        return shape[1:3] if is_known else None
    return check_size(image_size, "image_size", or_else="a number, or a built model")


def check_folder(directory: Any) -> Path:
    """Return the path of a folder; raise an error if there is none."""
    if not isinstance(directory, str | os.PathLike):
        raise TypeError(
            "Expected the path of a folder of images. Received: directory of type "
            f"{type(directory).__name__}"
        )
    folder = Path(directory)
    if not folder.is_dir():
        raise ValueError(
            "Expected a folder of images, one folder a class in it, or none. For single files "
            f"pass [PIL.Image.open(path)]. Received: {str(folder)!r}, which is "
            f"{'a file' if folder.exists() else 'not there'}"
        )
    return folder


def _list_classes(directory: Path) -> tuple[list[str] | None, list[Path]]:
    """List the classes in Keras's order, empty folders included, and their folders."""
    _, *names = next(os.walk(directory, onerror=_refuse))
    folders, files = (sorted(name for name in kind if name[0] != ".") for kind in names)
    if not folders:
        return None, [directory]
    for name in files:
        if not (directory / name).exists():
            raise ValueError(
                "A class folder that is missing would shift the numbers of those after it, and "
                f"{directory / name} is a link that leads nowhere. Mend or remove it."
            )
    if loose := [name for name in files if _is_image(name)]:
        warn_user(
            f"{len(loose)} images beside the class folders belong to no class and are left out "
            f"({', '.join(loose[:3])}): move them into their class. Received: {directory} with the "
            f"classes {', '.join(folders)}"
        )
    return folders, [directory / name for name in folders]


def _refuse(error: OSError) -> None:
    """Raise an error about a folder that can't be read."""
    raise ValueError(
        f"The folder {error.filename} can't be read ({error.strerror}). Mend its permissions."
    ) from error


def _images_in(folder: Path) -> Iterator[Path]:
    """Yield the images of one class: sub-folders count, hidden files (macOS's `._*`) do not."""
    for root, _, files in sorted(os.walk(folder, onerror=_refuse), key=lambda entry: entry[0]):
        if any(part.startswith(".") for part in Path(root).relative_to(folder).parts):
            continue
        for name in sorted(files):
            if _is_image(name) and name[0] != ".":
                yield Path(root, name)


def _is_image(name: str) -> bool:
    lower = name.lower()
    return lower.endswith(_EXTENSIONS) and not lower.endswith(_MASK_ENDING)


def spread(entries: list[_Entry], count: int | None) -> list[_Entry]:
    """Take `count` entries from all over a list: neighbours are often frames of one series."""
    if count is None or count >= len(entries):
        return entries
    return [entries[i * len(entries) // count] for i in range(count)]


def _read_masks(paths: list[Path], images: list[Array]) -> list[Array] | None:
    """Read the masks beside images, float32 `(height, width)` in [0, 1]: for all or for none."""
    files = [path.with_name(path.stem + _MASK_ENDING) for path in paths]
    lacking = [path.name for path, file in zip(paths, files, strict=True) if not file.is_file()]
    if len(lacking) == len(paths):
        return None
    if lacking:
        raise ValueError(
            "Either every image has a mask beside it (`NAME.mask.png` for `NAME.jpg`) or none. "
            f"Received no mask for: {', '.join(lacking)}"
        )
    masks = [_read_mask(file) for file in files]
    for file, mask, image in zip(files, masks, images, strict=True):
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"A mask must have the size of its image, {image.shape[:2]} upright. "
                f"Received: {file} of {mask.shape}"
            )
    return masks


def _read_mask(path: Path) -> Array:
    mask = read_image(path, "grayscale")[..., 0].astype(np.float32)
    return mask / 255 if mask.max() > 1 else mask


def _check_sizes(paths: list[Path], images: list[Array], size: tuple[int, int] | None) -> None:
    """Refuse images of several sizes that are not to be resized."""
    for path, image in zip(paths, images, strict=True):
        if size is None and image.shape != images[0].shape:
            raise ValueError(
                "The images have different sizes; pass `image_size=(height, width)` or the "
                f"model. Received: {paths[0].name} of {images[0].shape[:2]}, "
                f"{path.name} of {image.shape[:2]}"
            )


def _on_white(image: Array) -> Array:
    """Return an RGBA image as RGB on white, uint8."""
    opacity = image[..., 3:] / 255
    mixed = image[..., :3] * opacity + 255 * (1 - opacity)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
