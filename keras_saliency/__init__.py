"""Watch what a Keras image model looks at while it trains.

    probes = ks.Probes(images, labels, class_names=["elephant", "penguin"])
    model.fit(train, epochs=20, callbacks=[ks.SaliencyCallback(probes, log_dir="logs")])
    # tensorboard --logdir logs

Names are loaded when they are used, so that `import keras_saliency` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_saliency import methods, metrics, motion, tiles
    from keras_saliency.attribution.explainer import explain
    from keras_saliency.attribution.explanation import Explanation
    from keras_saliency.callback.callback import SaliencyCallback
    from keras_saliency.data.probes import Probes
    from keras_saliency.engine.boxes import Boxes
    from keras_saliency.engine.feature_layout import Tokens
    from keras_saliency.engine.targets import Target
    from keras_saliency.recording import writers
    from keras_saliency.recording.writers import PictureFolder, Writer
    from keras_saliency.shortcuts.background_swap import BackgroundSwap
    from keras_saliency.shortcuts.experiment import Shortcuts
    from keras_saliency.shortcuts.head_retraining import retrain_head
    from keras_saliency.shortcuts.label_leakage import LabelLeakage, label_leakage
    from keras_saliency.shortcuts.nuisances import Nuisance
    from keras_saliency.shortcuts.verdict import Verdict
    from keras_saliency.version import __version__ as __version__

_WHERE = {
    "BackgroundSwap": "shortcuts.background_swap",
    "Boxes": "engine.boxes",
    "Explanation": "attribution.explanation",
    "LabelLeakage": "shortcuts.label_leakage",
    "Nuisance": "shortcuts.nuisances",
    "PictureFolder": "recording.writers",
    "Probes": "data.probes",
    "SaliencyCallback": "callback.callback",
    "Shortcuts": "shortcuts.experiment",
    "Target": "engine.targets",
    "Tokens": "engine.feature_layout",
    "Verdict": "shortcuts.verdict",
    "Writer": "recording.writers",
    "__version__": "version",
    "explain": "attribution.explainer",
    "label_leakage": "shortcuts.label_leakage",
    "methods": "methods",
    "metrics": "metrics",
    "motion": "motion",
    "retrain_head": "shortcuts.head_retraining",
    "tiles": "tiles",
    "writers": "recording.writers",
}

_MODULES = {"methods", "metrics", "motion", "tiles", "writers"}

__all__ = [
    "BackgroundSwap",
    "Boxes",
    "Explanation",
    "LabelLeakage",
    "Nuisance",
    "PictureFolder",
    "Probes",
    "SaliencyCallback",
    "Shortcuts",
    "Target",
    "Tokens",
    "Verdict",
    "Writer",
    "explain",
    "label_leakage",
    "methods",
    "metrics",
    "motion",
    "retrain_head",
    "tiles",
    "writers",
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
    return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(_WHERE)
