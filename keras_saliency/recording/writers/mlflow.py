"""The writer of MLflow."""

import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.recording.writers.tracker import TrackerWriter, required

_AT_ONCE = 1000  # metrics that MLflow takes in one request


class MlflowWriter(TrackerWriter):
    """Write a training run to MLflow, and TensorBoard's run beside it.

    It hands over images, numbers, pages and GIFs as they are written, and at the end of training
    the report: one HTML page with the verdict and all maps under a slider.
    Images, GIFs and pages are artifacts, `TAG/STEP.png`, where 0 is before training; numbers are
    metrics. In their names `_` stands for what MLflow does not take there.

    Args:
        run_id: The id of the run; by default that of the run that is active.
        log_dir: The folder that TensorBoard is pointed at.

    Raises:
        ModuleNotFoundError: If mlflow is not installed.
        ValueError: If no run is active.

    Example:
        ```python
        with mlflow.start_run():
            watch = ks.SaliencyCallback(probes, ks.writers.MlflowWriter(), shortcuts=train)
            model.fit(train, epochs=20, callbacks=[watch])
        ```
    """

    def __init__(self, run_id: str | None = None, log_dir: str | Path = "logs") -> None:
        super().__init__(log_dir)
        self._mlflow = required("mlflow")
        active = self._mlflow.active_run()
        if run_id is None and active is None:
            raise ValueError(
                "MlflowWriter needs a run: call mlflow.start_run() before, or pass run_id=."
            )
        self._run_id = active.info.run_id if run_id is None else run_id
        # The functions of the module know the active run in one thread alone.
        self._client: Any = self._mlflow.MlflowClient()

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        for tag, image in pictures.items():
            self._client.log_image(self._run_id, image, f"{tag}/{step + 1:06d}.png")

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._mlflow.entities.Metric(re.sub(r"[^\w/ .-]", "_", tag), float(number), now, step)
            for tag, number in numbers.items()
        ]
        for start in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self._run_id, metrics[start : start + _AT_ONCE])

    def text(self, texts: Mapping[str, str], step: int) -> None:
        for tag, page in texts.items():
            self._client.log_text(self._run_id, page, f"{tag}.md")

    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        for tag, gif in gifs.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{step + 1:06d}.gif"
                path.write_bytes(gif)
                self._client.log_artifact(self._run_id, str(path), tag)

    def report(self, html: str) -> None:
        self._client.log_text(self._run_id, html, "saliency_report.html")
