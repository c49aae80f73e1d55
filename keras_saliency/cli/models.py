"""Loading of models for the command line: from a file, or by a name of `keras.applications`."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import keras
from keras import applications

from keras_saliency.common.validation import did_you_mean

_SCALES: dict[str, Callable[[Any], Any]] = {
    "unit": lambda images: images / 255,
    "signed": lambda images: images / 127.5 - 1,
}


class Loaded(NamedTuple):
    """A model, and the functions of `keras.applications` that belong to it.

    Attributes:
        model: A built Keras model.
        preprocess: Function from images with values from 0 to 255 to its input; None if not known.
        decode: Keras's `decode_predictions`, which names ImageNet's classes, or None.
    """

    model: Any
    preprocess: Callable[[Any], Any] | None = None
    decode: Callable[..., Any] | None = None


def load(name: str, weights: str | None) -> Loaded:
    """Load a file, or build a model of `keras.applications` by its name.

    Args:
        name: A path, or a name such as "VGG16".
        weights: "imagenet" or "none" for a name, where None is "imagenet"; None for a path.

    Returns:
        The model with its functions.

    Raises:
        ValueError: If there is no such model, or it can't be loaded; the message names the
            remedy.

    Example:
        >>> load("MobileNetV2", weights="none").model.input_shape
        (None, 224, 224, 3)
    """
    known = [model for model in dir(applications) if model[0].isupper()]
    if name in known:
        return _build(name, weights)
    if weights is not None:
        raise ValueError(
            "--weights is for a model of keras.applications; a file holds its own. "
            f"Received: MODEL {name}. Leave --weights out."
        )
    if not Path(name).exists():
        hint = did_you_mean(name, known, cutoff=0.5)
        raise ValueError(
            f"There is no model file {name}, nor a model of keras.applications of that name.{hint} "
            "Give the path of a .keras or .h5 file, or a name such as VGG16."
        )
    return Loaded(_read_model(name))


def _build(name: str, weights: str | None) -> Loaded:
    build = getattr(applications, name)
    module = getattr(applications, build.__module__.rsplit(".", 1)[-1])
    if weights == "none":
        return Loaded(build(weights=None), module.preprocess_input)
    try:
        model = build(weights="imagenet")
    except Exception as error:  # which Keras raises when it can't download
        raise ValueError(
            f"The ImageNet weights of {name} can't be had. Go online once, give --weights none "
            f"for the untrained network, or the path of a .keras file. Keras says: {error}"
        ) from error
    return Loaded(model, module.preprocess_input, module.decode_predictions)


def _read_model(path: str) -> Any:
    """Load a model; one with a loss or metrics of the user's loads only without these."""
    with warnings.catch_warnings():
        # The optimizer's state is of no use here.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        with suppress(Exception):  # a file may raise anything; mostly the next attempt says why
            return keras.saving.load_model(path)
        try:
            return keras.saving.load_model(path, compile=False)
        except Exception as error:
            raise ValueError(f"{path} can't be loaded. {_remedy(error)} {error}") from error


def _remedy(error: Exception) -> str:
    if "lambda" in str(error).lower():
        return (
            "It holds Python code (a Lambda layer), which is never run from a file here. If you "
            "trust it, load it in Python with keras.saving.load_model(path, safe_mode=False) and "
            "call keras_saliency.explain(model, images). Keras says:"
        )
    return (
        "Save it with model.save('model.keras'). If it has layers of your own, load it in Python, "
        "where these are known, and call keras_saliency.explain(model, images). Keras says:"
    )


def preprocess_named(name: str | None) -> Callable[[Any], Any] | None:
    """Find the function from images with values from 0 to 255 to a model's input.

    Args:
        name: "unit" (0 to 1), "signed" (-1 to 1), or a module of `keras.applications`.

    Returns:
        A function of images `(batch, height, width, channels)`, or None for None.

    Raises:
        ValueError: If the name is unknown; the message lists the known ones.

    Example:
        >>> preprocess_named("signed")(255.0)
        1.0
    """
    if name is None or name in _SCALES:
        return _SCALES.get(name or "")
    modules = [module for module in dir(applications) if module[0].islower()]
    known = [m for m in modules if hasattr(getattr(applications, m), "preprocess_input")]
    if name not in known:
        raise ValueError(
            "--preprocess must be unit, signed, or a module of keras.applications: "
            f"{', '.join(known)}. Received: {name}"
        )
    return getattr(applications, name).preprocess_input
