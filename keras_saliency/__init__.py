"""Watch what a Keras image model looks at while it trains.

    probes = ks.Probes(images, labels, class_names=["elephant", "penguin"])
    model.fit(train, epochs=20, callbacks=[ks.SaliencyCallback(probes, log_dir="logs")])
    # tensorboard --logdir logs

Names are loaded when they are used, so that `import keras_saliency` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_saliency.version import __version__

if TYPE_CHECKING:
    from keras_saliency import faithfulness, methods, motion, tiles
    from keras_saliency.background_swap import BackgroundSwap
    from keras_saliency.callback import SaliencyCallback
    from keras_saliency.explainer import Explanation, explain
    from keras_saliency.layouts import Tokens
    from keras_saliency.probes import Probes
    from keras_saliency.shortcuts import Shortcuts
    from keras_saliency.targets import Target
    from keras_saliency.twins import Nuisance
    from keras_saliency.writers import PictureFolder, Writer

_WHERE = {
    "BackgroundSwap": "background_swap",
    "Explanation": "explainer",
    "Nuisance": "twins",
    "PictureFolder": "writers",
    "Probes": "probes",
    "SaliencyCallback": "callback",
    "Shortcuts": "shortcuts",
    "Target": "targets",
    "Tokens": "layouts",
    "Writer": "writers",
    "explain": "explainer",
    "faithfulness": "faithfulness",
    "methods": "methods",
    "motion": "motion",
    "tiles": "tiles",
}

__all__ = [
    "BackgroundSwap",
    "Explanation",
    "Nuisance",
    "PictureFolder",
    "Probes",
    "SaliencyCallback",
    "Shortcuts",
    "Target",
    "Tokens",
    "Writer",
    "explain",
    "faithfulness",
    "methods",
    "motion",
    "tiles",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_WHERE[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "tensorboard":
            raise
        raise ModuleNotFoundError(
            f"keras_saliency.{name} writes TensorBoard's event files, and TensorBoard is not "
            "installed (TensorFlow no longer brings it along): pip install tensorboard",
            name=error.name,
        ) from error
    return module if name == _WHERE[name] else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
