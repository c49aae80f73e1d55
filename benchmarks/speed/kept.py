"""The figures that are kept: JSON, one entry a row and model."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from targets import ROWS, Row


class Kept:
    """What is known so far, by row and model.

    Args:
        path: Of the JSON file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = json.loads(path.read_text()) if path.exists() else {}

    def put(self, model: str, measured: dict[str, dict[str, Any]]) -> None:
        """Put figures by row in the place of older ones of the same model."""
        for key, figures in measured.items():
            self._known.setdefault(key, {})[model] = figures
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._known, indent=2, sort_keys=True) + "\n")

    def lines(self) -> list[tuple[Row, str, dict[str, Any]]]:
        """List what is known in the table's order: row, model, figures."""
        return [
            (row, model, self._known[row.key][model])
            for row in ROWS
            for model in row.models
            if model in self._known.get(row.key, {})
        ]


def here() -> str:
    """Say on what machine and with what this process measures."""
    import keras

    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    backend = keras.backend.backend()
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("keras", backend)]
    processor = names[0] if names else platform.processor()
    python = f"Python {platform.python_version()}"
    cores = f"{os.cpu_count()} cores of {processor}"
    return ", ".join([*gpus(), cores, python, *packages])


def gpus() -> list[str]:
    """Return the names of this machine's GPUs."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
