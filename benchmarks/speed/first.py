"""What is done before the first batch, tracing above all, against Keras's own first step."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from typing import Any

import keras
from networks import subject
from timing import ratio, seconds

import keras_saliency as ks


def measure(model: str, rounds: int, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """Check everything, find the layer, trace and look; then trace and do one training step."""
    ours, step = [], []
    for _ in range(rounds + 1):
        given = subject(model)
        with tempfile.TemporaryDirectory() as logs:
            callback = ks.SaliencyCallback((given.images, given.labels), logs, check_maps=False)
            callback.set_model(given.model)
            callback.set_params({"verbose": 0})
            ours.append(seconds(lambda watch=callback: begin(watch)))
            callback.session.recorder.flush(120)
            step.append(seconds(given.train))
            callback.on_train_end()
        keras.utils.clear_session()
    return {"first": ratio(ours[1:], step[1:])}  # the first round loads what is loaded once


def begin(callback: ks.SaliencyCallback) -> None:
    callback.on_train_begin()
    callback.on_epoch_begin(0)
