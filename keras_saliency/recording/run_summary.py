"""The page about a run: its settings, its probes, its verdict, and how to read them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_saliency.attribution.explainer import Explainer
from keras_saliency.data.probes import Probes
from keras_saliency.engine.targets import Target
from keras_saliency.recording.resuming import TESTED, PreviousRun
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.verdict import Verdict
from keras_saliency.version import __version__

_LISTED = 64  # probes, as many as are drawn

_HOW_TO_READ = """\
- The colours of a map run from zero to its own peak, and where there is no colour there is no
  evidence. Compare the peaks on the tiles before you compare colours.
- *Focus* is how many times more of a map lies on the object than chance would have there: 1 is
  chance. It is there where probes have masks.
- *Similarity* is how alike a map is to that of the same probe before: 1 is the same.
- Maps show where the model looks, and are no proof of what it uses. That is what the verdict is
  for: it says what the model *relies on*, by the probability that is lost when the thing comes from
  an image of another class.
- Step -1 is the model before training: what its maps show was not learnt.
- TensorBoard keeps ten steps of each picture: `keras-saliency tensorboard --logdir ...` shows up
  to 1,000.
"""


def about(
    listed: Mapping[str, str],
    probes: Probes,
    *,
    has_verdict: bool,
    verdict: Verdict | None,
    changes: Sequence[str] = (),
    previous: PreviousRun | None = None,
) -> str:
    """Write the page in Markdown; whatever names it holds, they show as they are.

    Args:
        listed: The settings in words, by name.
        probes: The probes.
        has_verdict: Whether there will be a verdict.
        verdict: The newest one, or None.
        changes: What came to be done less often, in words.
        previous: The run before this one, where that could not be continued.

    Returns:
        Markdown.
    """
    text = "None; it needs `shortcuts=`, the training data."
    if verdict is not None:
        text = escaped(verdict.text) + "."
    elif has_verdict:
        text = "Not yet; it comes after the first epoch, as `shortcut/verdict`."
    lines = "\n".join(f"- {escaped(change)}." for change in changes)
    parts = [
        *("## The verdict", text, "## How to read it", _HOW_TO_READ.strip(), "## Settings"),
        _table(("setting", "value"), listed.items()),
        *(["## To save time", lines] if changes else []),
        *(["## What was before", _before(previous)] if previous and previous.differences else []),
        "## Probes",
        _table(("probe", "label", "mask"), _rows(probes)),
        f"and {len(probes) - _LISTED} more." if len(probes) > _LISTED else "",
    ]
    return "\n\n".join(filter(None, parts))


def _before(previous: PreviousRun) -> str:
    other = escaped(", ".join(previous.differences))
    run = escaped(previous.folder.name)
    return (
        f"This is a training run that was resumed. What was before is in {run}, with other {other}."
    )


def escaped(text: str) -> str:
    """Write any text so that Markdown and HTML show just it, on one line."""
    return re.sub(r"[^\w ,]|_", lambda match: f"&#{ord(match[0])};", " ".join(text.split()))


def settings(
    model: keras.Model, explainer: Explainer, target: Target, every: str
) -> dict[str, str]:
    """Describe what is explained, and how.

    Args:
        model: The model.
        explainer: What computes the maps.
        target: What is explained.
        every: After how many epochs or batches, in words.

    Returns:
        Each setting with its value, in words.
    """
    layer = explainer.target_layer
    return {
        "model": f"{model.name}, {model.count_params():,} parameters",
        "layer": layer.name if layer else "none of the methods asks for one",
        "target": _described(target.what),
        "explained": explainer.of.replace("_", " "),
        "methods": ", ".join(explainer.perturbed),
        "looks every": every,  # also a key in the JSON of the Saliency tab
        "keras_saliency": __version__,
        "keras": f"{keras.__version__} on {keras.backend.backend()}",
    }


def further_settings(
    explainer: Explainer, probes: Probes, shortcuts: Shortcuts | None
) -> dict[str, str]:
    """Describe, likewise, what shows elsewhere on the page and must be the same after a resume."""
    layer, verdict = explainer.target_layer, "none"
    if shortcuts is not None:
        often = "epoch" if shortcuts.every == 1 else f"{shortcuts.every} epochs"
        tested = ", ".join(shortcuts.nuisances) or "nothing"
        verdict = f"{tested}; threshold {shortcuts.threshold:g}; every {often}"
    grid = " x ".join(map(str, layer.shape[1:-1])) if layer else "none"
    return {"grid": grid, "probes": str(len(probes)), TESTED: verdict}


def _described(what: Any) -> str:
    """Describe what is explained: a word, a function's name, or an array's shape."""
    if isinstance(what, str):
        return what
    if callable(what):
        return getattr(what, "__name__", type(what).__name__)
    array = np.asarray(what)
    return str(array) if array.ndim == 0 else f"an array of shape {array.shape}"


def _rows(probes: Probes) -> Iterable[tuple[str, str, str]]:
    masks, labels = probes.masks, probes.label_texts()
    for i, name in enumerate(probes.names[:_LISTED]):
        share = "" if masks is None else f"{100 * masks[i].mean():.0f} %"
        yield name, labels[i] or "", share


def _table(headings: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, ["---"] * len(headings), *(map(escaped, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
