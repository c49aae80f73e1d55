"""The page about a run: its settings, its probes, its verdict, and how to read them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_saliency.attribution.explainer import Explainer
from keras_saliency.data.probes import Probes
from keras_saliency.engine.targets import Target
from keras_saliency.recording.guidance import HOW_TO_READ
from keras_saliency.recording.resuming import TESTED, PreviousRun
from keras_saliency.recording.snapshot import Snapshot, title_of
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.verdict import Verdict
from keras_saliency.version import __version__

_LISTED = 64  # probes, as many as are drawn


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
        text = "Not yet; it comes after the first epoch, as `Verdict/in-words`."
    lines = "\n".join(f"- {escaped(change)}." for change in changes)
    reading = "\n".join(f"- {escaped(sentence)}" for sentence in HOW_TO_READ)
    parts = [
        *("## The verdict", text, "## How to read it", reading, "## Settings"),
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
    return {
        "model": f"{model.name}, {model.count_params():,} parameters",
        "layer": explainer.layer_names or "none of the methods asks for one",
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
    verdict = "none"
    if shortcuts is not None:
        often = "epoch" if shortcuts.every == 1 else f"{shortcuts.every} epochs"
        tested = ", ".join(shortcuts.nuisances) or "nothing"
        verdict = f"{tested}; threshold {shortcuts.threshold:g}; every {often}"
    grids = " + ".join(layer.grid for layer in explainer.target_layers)
    return {"grid": grids or "none", "probes": str(len(probes)), TESTED: verdict}


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


def confusion(names: Sequence[str], labels: Sequence[str | None], snapshot: Snapshot) -> str | None:
    """Write as Markdown which classes the probes were taken for, and which of them wrongly.

    Args:
        names: The names of the probes.
        labels: Their labels in words.
        snapshot: The predictions for them.

    Returns:
        A table with a row for each label and a column for each predicted class, and a list of the
        probes that were classified wrongly; None where nothing is known to be right or wrong.
    """
    known = [i for i, correct in enumerate(snapshot.correct) if correct is not None]
    if not known:
        return None
    # A class without a name is "2" as a label and "class 2" as a prediction.
    named = {f"class {label}": str(label) for label in labels}
    predicted = [named.get(text, text) for text in snapshot.predicted]
    counts = Counter((str(labels[i]), predicted[i]) for i in known)
    rows = list(dict.fromkeys(label for label, _ in counts))
    columns = list(dict.fromkeys([*rows, *(column for _, column in counts)]))
    table = _table(
        ["label, predicted as", *map(escaped, columns)],
        ((row, *(str(counts[row, column] or "") for column in columns)) for row in rows),
    )
    wrong = [i for i in known if not snapshot.correct[i]]
    said = [f"{title_of(names[i], labels[i])}: {snapshot.answer(i)}" for i in wrong[:_LISTED]]
    listed = "\n".join(f"- {escaped(words)}" for words in said)
    heading = f"**{escaped(snapshot.when)}**: {len(wrong)} of {len(known)} classified wrongly"
    return "\n\n".join(filter(None, (heading, table, listed)))
