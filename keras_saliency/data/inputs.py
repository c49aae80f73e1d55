"""What a model gets, checked when it is given: the images, and its other inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from keras_saliency.common.arrays import as_array, frozen
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_choice, check_finite, check_numeric

Kind = Literal["image", "signal", "volume"]

AXES: dict[Kind, tuple[str, ...]] = {
    "image": ("height", "width"),
    "signal": ("time",),
    "volume": ("frames", "height", "width"),
}


@dataclass(frozen=True)
class ModelInputs:
    """How a model gets its inputs: which they are, and which of them is the images.

    Attributes:
        names: The names of all inputs, or their positions, in order; `()` for the images alone.
        image: Which of them is the images.
        bare: Whether the images were given without a channel axis.
        dtype: The type of the images as they were given, before they became float32.
    """

    names: tuple[str | int, ...] = ()
    image: str | int = 0
    bare: bool = False
    dtype: str = "float32"

    def together(self, images: Any, extras: Sequence[Any]) -> Any:
        """Put images among the other inputs, in the form in which a model takes them.

        Args:
            images: The images.
            extras: The other inputs in the order of `names`.

        Returns:
            The images, or a dict or tuple of all inputs.

        Example:
            >>> ModelInputs(("age", "photo"), "photo").together("images", ["ages"])
            {'age': 'ages', 'photo': 'images'}
        """
        if not self.names:
            return images
        at = self.names.index(self.image)
        parts = dict(zip(self.names, (*extras[:at], images, *extras[at:]), strict=True))
        return parts if isinstance(self.names[0], str) else tuple(parts.values())

    def apart(self, given: Any) -> tuple[Any, ...]:
        """Invert `together`: return the images, and the other inputs behind them."""
        if not isinstance(given, Mapping | tuple):
            return (given,)
        parts = dict(given if isinstance(given, Mapping) else zip(self.names, given, strict=True))
        return parts[self.image], *(parts[name] for name in self.names if name != self.image)


ALONE = ModelInputs()  # images and nothing else


def split_inputs(
    given: Any, image: str | int | None
) -> tuple[Any, dict[str | int, Array], ModelInputs]:
    """Separate the images from the other inputs of a model.

    Args:
        given: An array of images; or a dict, or tuple, of arrays for a model of several inputs.
        image: The name, or position, of the images; None for the array of most axes.

    Returns:
        The images as they were given, the other inputs, and how the model gets them.

    Raises:
        TypeError: If an input does not hold numbers.
        ValueError: If it is not clear which input is the images, or the others don't fit them.
    """
    if not isinstance(given, Mapping | tuple):
        if image is not None:
            raise ValueError(
                "`image` names one of several inputs, which are given as a dict (or as a tuple, "
                f"by their positions). Received: image={image!r} and images of type "
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
                "`image` must name the input that is explained, since several have as many axes. "
                f"Received: inputs of shapes {{{shapes}}}"
            )
        image = names[0]
    if image not in list(arrays):  # which takes what can't be hashed
        raise ValueError(
            f"`image` must be one of the inputs, {', '.join(map(repr, arrays))}. "
            f"Received: image={image!r}"
        )
    images = arrays.pop(image)
    extras = {name: _check_extra(array, name, len(images)) for name, array in arrays.items()}
    return images, extras, ModelInputs(tuple(parts), image)


def stack_inputs(examples: Sequence[Any]) -> Any:
    """Turn a list of examples, each a dict or tuple of inputs, into a dict or tuple of lists."""
    first = examples[0]
    if isinstance(first, dict):
        return {name: [example[name] for example in examples] for name in first}
    if isinstance(first, tuple):
        return tuple(list(column) for column in zip(*examples, strict=True))
    return examples


def image_batch(images: Any, name: str, kind: Kind | None = None) -> tuple[Array, Kind, bool]:
    """Bring images to the axes of their kind; only this function knows which ranks are images.

    Args:
        images: Images, signals or volumes, with a channel axis or without.
        name: Of the argument, for messages.
        kind: What they are, where their shape does not tell.

    Returns:
        `(batch, *grid, channels)`, its kind, and whether it came without channels.

    Raises:
        TypeError: If these are no numbers.
        ValueError: If the shape is not that of a batch of images.
    """
    array = as_array(images, name)
    check_numeric(array, name)
    if kind is not None:
        check_choice(kind, "kind", AXES)
    resolved: Kind = kind or ("volume" if array.ndim == 5 else "image")
    axes = ("batch", *AXES[resolved])
    received = f"Received: {name}.shape={array.shape}"
    bare = array.ndim == len(axes)
    if not bare and array.ndim != len(axes) + 1:
        one = "greyscale" if resolved == "image" else "a single channel"
        raise ValueError(
            f"`{name}` must be ({', '.join(axes)}, channels), or ({', '.join(axes)}) for {one}. "
            f"{received}"
        )
    if bare and kind is None and array.shape[-1] in (1, 3):
        raise ValueError(
            f"`{name}` looks like a single image of shape (height, width, channels). Give it "
            f"a batch axis: `{name}[None]`. If these are signals, (batch, time, channels), say "
            f'so: `kind="signal"`. {received}'
        )
    if 0 in array.shape:
        raise ValueError(f"`{name}` must hold at least one image and one pixel. {received}")
    return (array[..., None] if bare else array), resolved, bare


def _check_extra(array: Array, name: str | int, count: int) -> Array:
    """Return one of the other inputs: a row for each image, float32 or int32."""
    argument = f"images[{name!r}]"
    check_numeric(array, argument)
    if array.ndim == 0 or len(array) != count:
        raise ValueError(
            f"`{argument}` must have a row for each of the {count} images. "
            f"Received: shape={array.shape}"
        )
    check_finite(array, argument)
    return frozen(array.astype("int32" if array.dtype.kind in "iub" else "float32"))
