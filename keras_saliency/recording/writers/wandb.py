"""The writer of Weights & Biases."""

import html
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.recording.writers.tracker import TrackerWriter, required

_STEP = "saliency_step"


class WandbWriter(TrackerWriter):
    """Write a training run to Weights & Biases, and TensorBoard's run beside it.

    It hands over images, numbers, pages and GIFs as they are written, and at the end of training
    the report: one HTML page with the verdict and all maps under a slider.
    Everything has the step `saliency_step`, since the steps of W&B only ever grow, and other
    callbacks count in them as well.

    Args:
        run: What `wandb.init()` returned; by default the run that is active.
        log_dir: The folder that TensorBoard is pointed at.

    Raises:
        ModuleNotFoundError: If wandb is not installed.
        ValueError: If no run is active.

    Example:
        ```python
        run = wandb.init(project="penguins")
        watch = ks.SaliencyCallback(probes, ks.writers.WandbWriter(run), shortcuts=train)
        model.fit(train, epochs=20, callbacks=[watch])
        run.finish()
        ```
    """

    def __init__(self, run: Any = None, log_dir: str | Path = "logs") -> None:
        super().__init__(log_dir)
        self._wandb = required("wandb")
        self._run = self._wandb.run if run is None else run
        if self._run is None:
            raise ValueError("WandbWriter needs a run: call wandb.init() before, or pass run=.")
        self._known: set[str] = set()
        self._run.define_metric(_STEP, hidden=True)

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        self._log({tag: self._wandb.Image(image) for tag, image in pictures.items()}, step)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        self._log(numbers, step)

    def text(self, texts: Mapping[str, str], step: int) -> None:
        self._log(
            {tag: self._page(f"<pre>{html.escape(t)}</pre>") for tag, t in texts.items()}, step
        )

    def animations(self, gifs: Mapping[str, bytes], step: int) -> None:
        videos = {t: self._wandb.Video(io.BytesIO(gif), format="gif") for t, gif in gifs.items()}
        self._log(videos, step)

    def report(self, html: str) -> None:
        self._run.log({"saliency_report": self._page(html)})

    def _page(self, html: str) -> Any:
        return self._wandb.Html(html, inject=False)

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        for tag in values.keys() - self._known:
            self._run.define_metric(tag, step_metric=_STEP)
            self._known.add(tag)
        self._run.log({**values, _STEP: step})
