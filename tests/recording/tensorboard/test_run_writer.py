"""The layout of the charts, as TensorBoard's plugin reads it."""

import re

import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.util import tensor_util

from keras_saliency.drawing.animation import Animation
from keras_saliency.recording.tensorboard.event_writer import new_run
from keras_saliency.recording.tensorboard.run_writer import RunWriter


def read(folder, tag):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    (event,) = accumulator.Tensors(tag)
    return event.step, tensor_util.make_ndarray(event.tensor_proto)


def charts(folder, **options):
    """Each chart's title, and a function that says which tags are on it."""
    run = new_run(folder)
    writer = RunWriter(run)
    writer.charts(**options)
    writer.close()
    layout = layout_pb2.Layout.FromString(read(run, "custom_scalars__config__")[1].item())
    (category,) = layout.category
    return {
        chart.title.partition(":")[0]: [re.compile(tag) for tag in chart.multiline.tag]
        for chart in category.chart
    }


ON = {
    "loss": ["epoch_loss", "epoch_val_loss", "batch_loss", "evaluation_loss_vs_iterations"],
    "accuracy": [
        "epoch_accuracy",
        "epoch_val_accuracy",
        "epoch_sparse_categorical_accuracy",
        "epoch_val_binary_accuracy",
        "epoch_acc",
        "probes/accuracy",
    ],
    "verdict": ["shortcut/reliance", "shortcut/background"],
    "focus": ["focus/grad-cam"],
    "similarity to the maps before": ["similarity/grad-cam"],
}
OFF = ["epoch_learning_rate", "focus-grad-cam/00_cat", "probes/score", "grad-cam/peak"]


def test_each_curve_is_on_its_chart(tmp_path):
    found = charts(tmp_path, focus=True, verdict=True)
    assert list(found) == list(ON)
    tags = [*OFF, *(tag for tags in ON.values() for tag in tags)]
    for title, patterns in found.items():  # the plugin uses `match`, too
        assert [tag for tag in tags if any(p.match(tag) for p in patterns)] == ON[title]


@pytest.mark.parametrize("focus", [True, False])
@pytest.mark.parametrize("verdict", [True, False])
def test_there_is_no_chart_without_curves(tmp_path, focus, verdict):
    found = charts(tmp_path, focus=focus, verdict=verdict)
    assert ("focus" in found, "verdict" in found) == (focus, verdict)


def test_the_bytes_of_an_animation_are_not_touched(tmp_path):
    run = new_run(tmp_path)
    writer = RunWriter(run)
    writer.animations({"animation/cam": Animation(b"GIF89a...", (350, 91))}, 7)
    writer.close()
    step, found = read(run, "animation/cam")
    assert (step, found.tolist()) == (7, [b"350", b"91", b"GIF89a..."])
