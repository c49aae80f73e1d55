"""What a model gets, settled at the door: the images, and what goes in beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from keras_saliency.common.arrays import as_array, frozen
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_choice, check_finite

Kind = Literal["image", "signal", "volume"]

AXES: dict[Kind, tuple[str, ...]] = {
    "image": ("height", "width"),
    "signal": ("time",),
    "volume": ("frames", "height", "width"),
}


@dataclass(frozen=True)
class ModelInputs:
    """In which form a model gets its inputs.

    Attributes:
        names: The names of all inputs, or their places, in order; `()` for the images alone.
        image: Which of them is the images.
        bare: Whether the images were given without an axis of channels.
    """

    names: tuple[str | int, ...] = ()
    image: str | int = 0
    bare: bool = False


ALONE = ModelInputs()  # images and nothing else


def apart(given: Any, image: str | int | None) -> tuple[Any, dict[str | int, Array], ModelInputs]:
    """Tell the images from what else the model gets.

    Args:
        given: An array of images; or a dict, or tuple, of arrays for a model of several inputs.
        image: The name, or place, of the images; None for the array of most axes.

    Returns:
        The images as they were given, the other inputs, and the form they came in.
    """
    if not isinstance(given, Mapping | tuple):
        if image is not None:
            raise ValueError(
                "`image` names one of several inputs, which are given as a dict (or as a tuple, "
                f"by their places). Received: image={image!r} and images of type "
                f"{type(given).__name__}"
            )
        return given, {}, ALONE
    parts = dict(given) if isinstance(given, Mapping) else dict(enumerate(given))
    if not parts:
        raise ValueError(
            "`images` must hold the inputs of a model, at least the images. "
            f"Received: an empty {type(given).__name__}"
        )
    arrays = {name: as_array(part, f"images[{name!r}]") for name, part in parts.items()}
    shapes = ", ".join(f"{name!r}: {array.shape}" for name, array in arrays.items())
    if image is None:
        most = max((array.ndim for array in arrays.values()), default=0)
        names = [name for name, array in arrays.items() if array.ndim == most]
        if len(names) != 1:
            raise ValueError(
                "`image` must name the input that is looked at, since several have as many axes. "
                f"Received: inputs of shapes {{{shapes}}}"
            )
        image = names[0]
    if image not in list(arrays):  # which takes what can't be hashed
        raise ValueError(
            f"`image` must be one of the inputs, {', '.join(map(repr, arrays))}. "
            f"Received: image={image!r}"
        )
    images = arrays.pop(image)
    extras = {name: _settled(array, name, len(images)) for name, array in arrays.items()}
    return images, extras, ModelInputs(tuple(parts), image)


def stacked(examples: Sequence[Any]) -> Any:
    """Turn a list of single inputs, each a dict or tuple of arrays, into one of lists."""
    first = examples[0]
    if isinstance(first, dict):
        return {name: [example[name] for example in examples] for name in first}
    if isinstance(first, tuple):
        return tuple(list(column) for column in zip(*examples, strict=True))
    return examples


def image_batch(images: Any, what: str, kind: Kind | None = None) -> tuple[Array, Kind, bool]:
    """The one place that knows which ranks are images.

    Returns:
        `(batch, *grid, channels)`, its kind, and whether it came without channels.
    """
    array = as_array(images, what)
    if array.dtype.kind in "OSUMmc":
        raise TypeError(f"`{what}` must hold numbers. Received: {what}.dtype={array.dtype}")
    if kind is not None:
        check_choice(kind, "kind", AXES)
    found: Kind = kind or ("volume" if array.ndim == 5 else "image")
    axes = ("batch", *AXES[found])
    received = f"Received: {what}.shape={array.shape}"
    bare = array.ndim == len(axes)
    if not bare and array.ndim != len(axes) + 1:
        form = "greyscale" if found == "image" else "a single channel"
        raise ValueError(
            f"`{what}` must be ({', '.join(axes)}, channels), or ({', '.join(axes)}) for {form}. "
            f"{received}"
        )
    if bare and kind is None and array.shape[-1] in (1, 3):
        raise ValueError(
            f"`{what}` looks like a single image of shape (height, width, channels). Give it "
            f"a batch axis: `{what}[None]`. If these are signals, (batch, time, channels), say "
            f'so: `kind="signal"`. {received}'
        )
    if 0 in array.shape:
        raise ValueError(f"`{what}` must hold at least one image and one pixel. {received}")
    return (array[..., None] if bare else array), found, bare


def _settled(array: Array, name: str | int, count: int) -> Array:
    """One of the other inputs: a row for each image, float32 or int32."""
    what = f"images[{name!r}]"
    if array.dtype.kind not in "iufb":
        raise TypeError(f"`{what}` must hold numbers. Received: dtype={array.dtype}")
    if array.ndim == 0 or len(array) != count:
        raise ValueError(
            f"`{what}` must have a row for each of the {count} images. "
            f"Received: shape={array.shape}"
        )
    check_finite(array, what)
    return frozen(array.astype("float32" if array.dtype.kind == "f" else "int32"))
