"""Metadata of a training run: what was trained and how well, settings, versions, sizes."""

import math
import re

from keras_saliency.recording.tensorboard.event_reader import Training
from keras_saliency.recording.tensorboard.plugin_schema import Data

_WORDS = {"looks every": "evaluated every"}  # of settings, whose names in files stay as they are
_ACCURACY = re.compile(r"\w*acc(uracy)?")


def summary_of(training: Training) -> dict[str, str]:
    """Say in a few words what was trained, when, how well, and to tell which classes apart.

    Args:
        training: The training run.

    Returns:
        `{name: value}`; what is not known is left out.
    """
    probes = {} if training.probes is None else _of_probes(training.probes.data)
    rows = {
        "model": probes.get("model"),
        "date": f"{training.began}; {training.span_words}",
        "accuracy": ", ".join(_accuracies(training)),
        "classes": probes.get("classes"),
    }
    return {name: value for name, value in rows.items() if value}


def _accuracies(training: Training) -> list[str]:
    """The last accuracy in training, in validation and on the probes, each in words."""
    named = next(filter(_ACCURACY.fullmatch, training.curves), None)
    of_probes = {"on the probes": training.scalars.get("probes/accuracy", {})}
    of_fit = training.curves[named].items() if named else ()
    curves = {f"in {part}": steps for part, steps in of_fit} | of_probes
    last = {part: list(steps.values())[-1] for part, steps in curves.items() if steps}
    return [f"{value:.2f} {part}" for part, value in last.items() if math.isfinite(value)]


def metadata_of(training: Training) -> dict[str, str]:
    """List the metadata of a training run in words.

    Args:
        training: The training run.

    Returns:
        `{name: value}`, in the order of the page.
    """
    rows = {"log folder": str(training.folder), "began": training.began}
    rows["evaluated"] = training.span_words
    if training.probes is not None:
        rows |= _of_probes(training.probes.data)
    if training.verdicts:
        last = training.verdicts[-1]
        rows["swapped for the verdict"] = ", ".join(last.gaps) or "nothing"
        rows["verdicts"] = str(len(training.verdicts))
        if last.threshold is not None:
            rows["threshold of the alarm"] = f"{last.threshold:g}"
        if last.masks_from is not None:
            rows["masks"] = last.masks_from
    return rows


def _of_probes(probes: Data) -> dict[str, str]:
    settings = probes.get("settings")
    given = settings.items() if isinstance(settings, dict) else ()
    rows = {_WORDS.get(name, str(name)): str(value) for name, value in given}
    rows["probes"] = str(len(probes["names"])) + (" with masks" if probes.get("masks") else "")
    classes, size = probes.get("classes"), probes.get("size")
    if isinstance(classes, list) and classes:
        rows["classes"] = ", ".join(map(str, classes))
    if isinstance(size, list) and len(size) == 2:
        rows["size of the pictures"] = f"{size[1]} × {size[0]} pixels"
    return rows
