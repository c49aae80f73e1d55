"""What a training run that is resumed finds in the run that it may go on in."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from keras_saliency.common.pillow import decoded as pixels_of
from keras_saliency.recording.tensorboard.event_reader import (
    Entry,
    Judgement,
    holds_probes,
    last_entries,
    number,
)
from keras_saliency.recording.tensorboard.plugin_schema import (
    MOST_PIXELS,
    PROBES,
    VERDICT,
    Data,
    decoded,
)
from keras_saliency.shortcuts.components import COMPONENT
from keras_saliency.shortcuts.statistics import Alarm

TESTED = "verdict"  # the setting that says what the verdict rests on
_COMPARED = {"probes": "number of probes"} | {
    key: key
    for key in ("target", "explained", "methods", "looks every", "layer", "grid", TESTED, "model")
}
_ENCODERS_DIFFER = 8  # of 255, by which two versions of OpenCV may decode or encode an image


@dataclass(frozen=True)
class PreviousRun:
    """The run before a training run that is resumed.

    Attributes:
        folder: Its folder.
        differences: What is other than in the run that is resumed, in words; nothing where it can
            go on there.
        verdict: Its last verdict before the step of the resume, unless something else is tested
            now; those that abstain are passed over, as they leave an alarm as it is.
    """

    folder: Path
    differences: tuple[str, ...]
    verdict: Judgement | None

    @classmethod
    def read(cls, folder: Path, step: int, described: Sequence[bytes]) -> "PreviousRun":
        """Read what a run holds before a step.

        Args:
            folder: The run's folder.
            step: The first step that is written anew.
            described: The probes and the settings as they are now, as `plugin_data.probe_blobs`
                describes them.

        Returns:
            What was read.
        """
        now = Entry(step, decoded(described[0]) or {}, tuple(described[1:]))
        wanted: dict[str, Callable[[Entry], bool]] = {PROBES: holds_probes}
        if now.data["settings"][TESTED] != "none":
            wanted[VERDICT] = lambda entry: (
                entry.step < step and number(entry.data.get("reliance")) is not None
            )
        last = last_entries(folder, wanted)
        found = _differences(last[PROBES], now) if PROBES in last else []
        goes_on = VERDICT in last and TESTED not in found
        return cls(folder, tuple(found), Judgement.of(last[VERDICT]) if goes_on else None)

    def alarm(self, threshold: float) -> Alarm:
        """Return the alarm as the last verdict left it."""
        last = self.verdict
        if last is None or last.cause == COMPONENT:
            return Alarm(threshold)  # That of components is not of the nuisances.
        return Alarm(threshold, last.when if last.awaits else last.since, is_on=last.alarm)


def _differences(before: Entry, now: Entry) -> list[str]:
    """List what differs; what an earlier version did not write is not compared."""
    words = {"names": "names of the probes", "labels": "labels", "masks": "masks"}
    different = [words[key] for key in words if before.data.get(key) != now.data[key]]
    if len(before.images) == len(now.images) and not all(map(_alike, before.images, now.images)):
        different.append("pictures or masks")
    old, new = _settings(before.data), _settings(now.data)
    return different + [
        word for key, word in _COMPARED.items() if old.get(key, new.get(key)) != new.get(key)
    ]


def _settings(data: Data) -> dict[str, object]:
    """The settings in a form in which the same ones are equal.

    Keras numbers the names of layers on where a model is built again, and so for models.
    """
    given = data.get("settings")
    listed = {k: str(v) for k, v in given.items()} if isinstance(given, Mapping) else {}
    same = {
        "methods": lambda text: sorted(text.split(", ")),
        "layer": lambda text: re.sub(r"_\d+(?= \+|$)", "", text),
        "model": lambda text: text.rpartition(", ")[2],
    }
    return {key: same.get(key, str)(text) for key, text in listed.items()}


def _alike(before: bytes, now: bytes) -> bool:
    """Whether two image files show the same, whichever version has written them."""
    if before == now:
        return True
    with Image.open(io.BytesIO(now)) as file:
        mode = file.mode
    first, second = (pixels_of(blob, mode, MOST_PIXELS) for blob in (before, now))
    if first is None or second is None or first.shape != second.shape:
        return False
    return bool(np.abs(first.astype(int) - second).max() <= _ENCODERS_DIFFER)
