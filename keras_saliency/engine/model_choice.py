"""Which model is explained: the one that trains, or one that it holds, such as a discriminator."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeAlias

import keras

ModelChoice: TypeAlias = str | Callable[[keras.Model], keras.Model] | None


def check_model_choice(choice: Any) -> None:
    """Refuse what can't name a model within any other.

    Args:
        choice: The argument `model`.

    Raises:
        TypeError: It is neither a name, nor a function, nor None.
    """
    is_function = callable(choice) and not isinstance(choice, keras.layers.Layer)
    if choice is None or (isinstance(choice, str) and choice) or is_function:
        return
    raise TypeError(
        "model must be the name of an attribute of the model that trains, such as 'discriminator', "
        "or a function of that model which returns the one to explain, or None for the model "
        f"itself. Received: model={choice!r}"
    )


def explained_model(trained: Any, choice: ModelChoice = None) -> keras.Model:
    """Return the model that is explained while a model trains.

    Args:
        trained: The model that trains.
        choice: The name of an attribute of it, such as `"discriminator"` or `"gan.critic"`, or a
            function of it; None for the model itself.

    Returns:
        A model that can be called.

    Raises:
        TypeError: The model, or what was chosen, is no model of Keras 3.
        ValueError: There is no such attribute, or the model has no `call`.
    """
    _check_keras_3(trained)
    if choice is None:
        chosen = trained
    elif callable(choice):
        chosen = choice(trained)
    else:
        try:
            chosen = attrgetter(choice)(trained)
        except AttributeError as error:
            raise ValueError(
                f"model must name an attribute of the model {trained.name!r}. "
                f"{_held(trained)} Received: model={choice!r}"
            ) from error
    if not isinstance(chosen, keras.Model):
        raise TypeError(
            f"model must name a keras.Model; keras.Sequential([layer]) makes one of a layer. "
            f"{_held(trained)} Received: model={choice!r}, of type {type(chosen).__name__}"
        )
    if type(chosen).call is keras.Model.call:
        raise ValueError(
            f"The model {chosen.name!r} ({type(chosen).__name__}) has no call(images), so it can't "
            "be explained itself. Choose the model within it that takes the images: "
            "SaliencyCallback(..., model='NAME'), or explain(model.NAME, ...). "
            f"{_held(chosen)}"
        )
    return chosen


def _check_keras_3(model: Any) -> None:
    if isinstance(model, keras.Model):
        return
    if "tf_keras" in type(model).__module__ or hasattr(model, "_keras_api_names"):
        raise TypeError(
            "keras_saliency needs a model of Keras 3, built with `import keras` (and without "
            "TF_USE_LEGACY_KERAS=1). Received: a model of Keras 2, of type "
            f"{type(model).__module__}.{type(model).__name__}. Saved by model.save('model.h5'), it "
            "can be read by keras.models.load_model('model.h5')."
        )
    raise TypeError(
        "model must be a keras.Model; a file is read by keras.models.load_model(path). "
        f"Received: model of type {type(model).__name__}"
    )


def _held(model: keras.Model) -> str:
    """List the models that a model holds as attributes, in a sentence."""
    # On torch, modules are no part of an object's dictionary.
    attributes = vars(model) | vars(model).get("_modules", {})
    names = [
        name
        for name, value in attributes.items()
        if isinstance(value, keras.Model) and not name.startswith("_")
    ]
    if not names:
        return f"{model.name!r} holds no model as an attribute."
    return f"{model.name!r} holds {', '.join(map(repr, sorted(names)))}."
