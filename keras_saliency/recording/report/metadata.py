"""What a reader should know of a training besides: settings, versions, sizes."""

from __future__ import annotations

from keras_saliency.recording.tensorboard.event_reader import Training
from keras_saliency.recording.tensorboard.plugin_schema import Data


def facts_of(training: Training) -> dict[str, str]:
    """List each fact with its value, in words.

    Args:
        training: The training.
    """
    facts = {"log folder": str(training.folder), "began": training.began}
    facts["looked at"] = training.span_words
    if training.probes is not None:
        facts |= _of_probes(training.probes.said)
    if training.verdicts:
        last = training.verdicts[-1]
        facts["swapped for the verdict"] = ", ".join(last.gaps) or "nothing"
        facts["verdicts"] = str(len(training.verdicts))
        if last.threshold is not None:
            facts["threshold of the alarm"] = f"{last.threshold:g}"
        if last.masks_from is not None:
            facts["where the objects are"] = last.masks_from
    return facts


def _of_probes(said: Data) -> dict[str, str]:
    facts: dict[str, str] = {}
    settings = said.get("settings")
    if isinstance(settings, dict):
        facts |= {str(name): str(value) for name, value in settings.items()}
    facts["probes"] = str(len(said["names"])) + (" with masks" if said.get("masks") else "")
    classes, size = said.get("classes"), said.get("size")
    if isinstance(classes, list) and classes:
        facts["classes"] = ", ".join(map(str, classes))
    if isinstance(size, list) and len(size) == 2:
        facts["size of the pictures"] = f"{size[1]} × {size[0]} pixels"
    return facts
