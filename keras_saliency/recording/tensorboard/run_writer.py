"""What is written once a run: the layout of its charts, and its animations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as charts_metadata

from keras_saliency.recording.tensorboard.event_writer import EventWriter

if TYPE_CHECKING:
    from keras_saliency.drawing.animation import Animation

_CATEGORY = "What the model looks at"

# Keras writes `epoch_loss` in the runs "train" and "validation"; in our run, where it writes none,
# both have a tag of their own. With `update_freq=7` all it writes is `batch_loss`.
_LOSS = r"(epoch_(val_)?|batch_|evaluation_)loss(_vs_iterations)?$"
_ACCURACY = r"(epoch_(val_)?|batch_)\w*acc(uracy)?$"


class RunWriter(EventWriter):
    """An `EventWriter` that also writes what TensorBoard shows once for a whole run.

    Example:
        ```python
        writer = RunWriter(new_run("logs"))
        writer.charts(focus=True, verdict=False)
        ```
    """

    def charts(self, *, focus: bool, verdict: bool) -> None:
        """Put focus and verdict beside the loss curves, in the tab Custom Scalars.

        Args:
            focus: Whether the run has curves of the focus.
            verdict: Whether the run has curves of the verdict.

        Raises:
            OSError: If the disk does not take it.
            ValueError: If the writer is closed.
        """
        tags = {"loss": [_LOSS], "accuracy": [_ACCURACY, "probes/accuracy$"]}
        if verdict:
            tags["verdict: relies on"] = ["shortcut/"]
        if focus:
            tags["focus: times more on the object than by chance"] = ["focus/"]
        tags["similarity to the maps before"] = ["similarity/"]
        layout = layout_pb2.Layout(
            category=[
                layout_pb2.Category(
                    title=_CATEGORY, chart=[_chart(title, found) for title, found in tags.items()]
                )
            ]
        )
        metadata = charts_metadata.create_summary_metadata()
        metadata.data_class = summary_pb2.DATA_CLASS_TENSOR
        value = summary_pb2.Summary.Value(
            tag=charts_metadata.CONFIG_SUMMARY_TAG,
            metadata=metadata,
            tensor=tensor_pb2.TensorProto(
                dtype=types_pb2.DT_STRING,
                tensor_shape=tensor_shape_pb2.TensorShapeProto(),
                string_val=[layout.SerializeToString()],
            ),
        )
        self._write_values([value], 0)

    def animations(self, animations: Mapping[str, Animation], step: int) -> None:
        """Write animated pictures, all in one event.

        Args:
            animations: Tag to a GIF, which TensorBoard shows as it is.
            step: The step on TensorBoard's slider.

        Raises:
            OSError: If the disk does not take it.
            ValueError: If the writer is closed.
        """
        self._write_pictures(animations, step)


def _chart(title: str, tags: Sequence[str]) -> layout_pb2.Chart:
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
