"""A recorder at work in a folder, and what can be read back from there."""

import types

import cv2
import numpy as np
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util

from keras_saliency.recording.recorder import Recorder, Snapshot
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run

NAMES = ["00_cat", "01_cat", "02_dog"]
LABELS = ["cat", "cat", "dog"]


def photos(n=3, height=30, width=40):
    rows, columns = np.mgrid[:height, :width]
    one = np.stack([100 + rows, 90 + columns, 60 + 0 * rows], axis=-1).astype(np.uint8)
    return np.stack([one] * n)


def maps(n=3, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 1, (n, 4, 5)).astype(np.float32)


def snapshot(step=0, n=3, **changes):
    values = {
        "step": step,
        "when": f"epoch {step + 1}",
        "maps": {"grad_cam": maps(n, seed=step + 1)},
        "errors": {},
        "scores": np.arange(n, dtype=np.float32),
        "predicted": ["cat"] * n,
        "confidence": np.full(n, 0.75),
        "probability": np.linspace(0.5, 0.9, n),
        "correct": [True] * n,
        "logs": {},
    }
    return Snapshot(**(values | changes))


def shown(names, display, labels, masks):
    """Probes as far as a recorder shows them."""
    return types.SimpleNamespace(
        names=names,
        display=display,
        label_texts=lambda: list(labels),
        masks=masks,
        frames=1,
        class_names=None,
        clips=None,
    )


class Board:
    """A run, a recorder that writes there, the faults it reported, and what can be read back."""

    def __init__(self, folder, n=3, **options):
        self.run = new_run(folder)
        self.faults = []
        names, labels = (NAMES, LABELS) if n == 3 else ([f"{i:02d}_cat" for i in range(n)], None)
        options = {"on_fault": self.faults.append} | options
        self.recorder = Recorder(
            options.pop("writer", None) or EventWriter(self.run),
            shown(
                names=options.pop("names", names),
                display=options.pop("display", photos(n)),
                labels=options.pop("labels", labels or ["cat"] * n),
                masks=options.pop("masks", None),
            ),
            **options,
        )

    def write(self, *snapshots):
        for each in snapshots:
            self.recorder.record(each)
            assert self.recorder.flush(60)  # A busy machine would leave images out.
        self.recorder.close()
        return self

    def read(self):
        accumulator = plugin_event_accumulator.EventAccumulator(
            str(self.run), tensor_size_guidance=dict.fromkeys(("images", "scalars"), 0)
        )
        accumulator.Reload()
        return accumulator

    def tags(self, plugin):
        accumulator = self.read()
        found = plugin_event_accumulator.EventAccumulator.PluginTagToContent
        return sorted(found(accumulator, plugin)) if plugin in accumulator.ActivePlugins() else []

    def scalar(self, tag):
        return {
            event.step: tensor_util.make_ndarray(event.tensor_proto).item()
            for event in self.read().Tensors(tag)
        }

    def images(self, tag):
        encoded = {
            event.step: np.frombuffer(tensor_util.make_ndarray(event.tensor_proto)[2], np.uint8)
            for event in self.read().Tensors(tag)
        }
        return {step: cv2.imdecode(data, 1)[..., ::-1] for step, data in encoded.items()}
