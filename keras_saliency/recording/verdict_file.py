"""The newest verdict of a training run as a file, `verdict.json`, for other programs."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from keras_saliency.shortcuts.verdict import Verdict
from keras_saliency.version import __version__

NAME = "verdict.json"
SCHEMA = 1  # raised where a key changes its meaning or goes; keys may be added


def write_verdict(
    folder: Path, verdict: Verdict, when: str, step: int, class_names: Sequence[str] | None
) -> None:
    """Replace `verdict.json` in a folder at once, so that nobody reads half of it.

    Args:
        folder: The folder of the run.
        verdict: The newest verdict.
        when: The moment in words.
        step: The same as a step.
        class_names: The classes in the order of the labels, or None.

    Raises:
        OSError: If the file cannot be written; one that is there stays as it is.
    """
    data = {
        "schema": SCHEMA,
        "keras_saliency": __version__,
        "when": when,
        "step": step,
        **verdict.to_dict(class_names),
    }
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path, part = folder / NAME, folder / f"{NAME}.part"
    try:
        part.write_bytes(text.encode(errors="replace"))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
