"""The writer of Trackio."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.recording.writers.tracker import TrackerWriter, required


class TrackioWriter(TrackerWriter):
    """Write a training run to Trackio, and TensorBoard's run beside it.

    It hands over images, numbers, pages and GIFs as they are written, and at the end of training
    the report: one HTML page with the verdict and all maps under a slider.

    Args:
        run: What `trackio.init()` returned.
        log_dir: The folder that TensorBoard is pointed at.

    Raises:
        ModuleNotFoundError: If trackio is not installed.

    Example:
        ```python
        run = trackio.init(project="penguins")
        watch = ks.SaliencyCallback(probes, ks.writers.TrackioWriter(run), shortcuts=train)
        model.fit(train, epochs=20, callbacks=[watch])
        trackio.finish()
        ```
    """

    def __init__(self, run: Any, log_dir: str | Path = "logs") -> None:
        super().__init__(log_dir)
        self._trackio = required("trackio")
        self._run = run
        self._last = 0

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        self._log({tag: self._trackio.Image(image) for tag, image in pictures.items()}, step)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        self._log({tag: float(number) for tag, number in numbers.items()}, step)

    def text(self, texts: Mapping[str, str], step: int) -> None:
        self._log({tag: self._trackio.Markdown(page) for tag, page in texts.items()}, step)

    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for number, (tag, gif) in enumerate(gifs.items()):
                path = Path(folder) / f"{number}.gif"
                path.write_bytes(gif)
                self._log({tag: self._trackio.Image(path)}, step)  # which copies the file

    def report(self, html: str) -> None:
        self._log({"saliency_report": self._trackio.Html(html, inject=False)}, self._last)

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        self._last = max(self._last, step)
        self._run.log(dict(values), step=step)
