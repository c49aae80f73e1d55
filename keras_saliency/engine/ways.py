"""Whether a layer lies between the images and the explained output, where no graph tells."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.model_call import ModelCall
from keras_saliency.engine.target_layer import TargetLayer, hooked


def lies_between(call: ModelCall, place: TargetLayer, *arrays: np.ndarray) -> bool:
    """Tell whether a place depends on the images, and the output on it.

    Args:
        call: How the model is called.
        place: The layer and its runs.
        *arrays: One image, (1, height, width, channels), and the other inputs with it.
    """
    found: list[bool] = []

    def look(images: Any, *extras: Any) -> None:
        def output_of(points: dict[str, Any]) -> tuple[Any, None]:
            def changed(output: Any, frame: int) -> Any:
                return output + place.layout.from_map(points["layer"], frame, output.shape)

            with hooked(place, None, changed):
                return _total(call(images, *extras)), None

        def layer_of(points: dict[str, Any]) -> tuple[Any, None]:
            with hooked(place, None, lambda output, frame: output) as seen:
                call(points["images"], *extras)
            return sum(map(_total, seen.outputs)), None

        points = {"layer": ops.zeros(place.shape, place.dtype)}
        _, _, after = backend.gradients(output_of, points)
        _, _, before = backend.gradients(layer_of, {"images": images})
        found.append(after["layer"] is not None and before["images"] is not None)

    backend.traced(look, call.model, *arrays)
    return found[-1]


def _total(values: Any) -> Any:
    """Sum up to one number an image."""
    return ops.sum(ops.reshape(ops.cast(values, "float32"), (values.shape[0], -1)), axis=1)
