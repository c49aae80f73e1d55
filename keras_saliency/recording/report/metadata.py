"""Metadata of a training run: settings, versions, sizes."""

from keras_saliency.recording.tensorboard.event_reader import Training
from keras_saliency.recording.tensorboard.plugin_schema import Data


def metadata_of(training: Training) -> dict[str, str]:
    """List the metadata of a training run in words.

    Args:
        training: The training run.

    Returns:
        `{name: value}`, in the order of the page.
    """
    rows = {"log folder": str(training.folder), "began": training.began}
    rows["looked at"] = training.span_words
    if training.probes is not None:
        rows |= _of_probes(training.probes.data)
    if training.verdicts:
        last = training.verdicts[-1]
        rows["swapped for the verdict"] = ", ".join(last.gaps) or "nothing"
        rows["verdicts"] = str(len(training.verdicts))
        if last.threshold is not None:
            rows["threshold of the alarm"] = f"{last.threshold:g}"
        if last.masks_from is not None:
            rows["where the objects are"] = last.masks_from
    return rows


def _of_probes(probes: Data) -> dict[str, str]:
    settings = probes.get("settings")
    given = settings.items() if isinstance(settings, dict) else ()
    rows = {str(name): str(value) for name, value in given}
    rows["probes"] = str(len(probes["names"])) + (" with masks" if probes.get("masks") else "")
    classes, size = probes.get("classes"), probes.get("size")
    if isinstance(classes, list) and classes:
        rows["classes"] = ", ".join(map(str, classes))
    if isinstance(size, list) and len(size) == 2:
        rows["size of the pictures"] = f"{size[1]} × {size[0]} pixels"
    return rows
