"""Whether gradients flow through a layer, and around it, where no graph tells."""

from typing import Any

import numpy as np
from keras import ops

from keras_saliency.engine import backend
from keras_saliency.engine.model_call import ModelCall
from keras_saliency.engine.state_guard import preserve_state
from keras_saliency.engine.target_layer import TargetLayer, hooked


def lies_between(call: ModelCall, target_layer: TargetLayer, *arrays: np.ndarray) -> bool:
    """Tell whether a layer depends on the images, and the output on it, where no graph tells.

    Args:
        call: How the model is called.
        target_layer: The layer and its calls.
        *arrays: One image, `(1, height, width, channels)`, and the other inputs with it.

    Returns:
        Whether there is a gradient at both.
    """
    connected: list[bool] = []

    def differentiate(images: Any, *extras: Any) -> None:
        def output_of(points: dict[str, Any]) -> tuple[Any, None]:
            def changed(output: Any, frame: int) -> Any:
                return output + target_layer.layout.from_map(points["layer"], frame, output.shape)

            with hooked(target_layer, None, changed):
                return _total(call(images, *extras)), None

        def layer_of(points: dict[str, Any]) -> tuple[Any, None]:
            with hooked(target_layer, None, lambda output, frame: output) as seen:
                call(points["images"], *extras)
            return sum(map(_total, seen.outputs)), None

        shape = (target_layer.shape[0] * call.rows(images), *target_layer.shape[1:])
        points = {"layer": ops.zeros(shape, target_layer.dtype)}
        _, _, after = backend.gradients(output_of, points)
        _, _, before = backend.gradients(layer_of, {"images": images})
        connected.append(after["layer"] is not None and before["images"] is not None)

    backend.traced(differentiate, call.model, *arrays)
    return connected[-1]


def leads_around(call: ModelCall, target_layer: TargetLayer, *arrays: np.ndarray) -> bool:
    """Tell whether the output depends on the images by other ways than through a layer.

    Args:
        call: How the model is called.
        target_layer: The layer and its calls.
        *arrays: One image, `(1, height, width, channels)`, and the other inputs with it.

    Returns:
        Whether there is a gradient at the images while the layer's output is held.
    """
    connected: list[bool] = []

    def differentiate(images: Any, *extras: Any) -> None:
        def output_of(points: dict[str, Any]) -> tuple[Any, None]:
            with hooked(target_layer, None, lambda output, frame: ops.stop_gradient(output)):
                return _total(call(points["images"], *extras)), None

        _, _, around = backend.gradients(output_of, {"images": images})
        connected.append(around["images"] is not None)

    backend.traced(differentiate, call.model, *arrays)
    return connected[-1]


def seen_extents(
    call: ModelCall, target_layer: TargetLayer, *arrays: np.ndarray
) -> tuple[tuple[float, float], ...] | None:
    """Measure which part of an image a layer sees: where its output has a gradient.

    Args:
        call: How the model is called.
        target_layer: The layer and its calls.
        *arrays: One image, `(1, height, width, channels)`, and the other inputs with it.

    Returns:
        Where that part starts and ends along each axis, in pixels; None without any gradient.
    """
    random = np.random.default_rng(0)

    def differentiate(images: Any, *extras: Any) -> Any:
        def output_of(points: dict[str, Any]) -> tuple[Any, None]:
            with hooked(target_layer, None, lambda output, frame: output) as seen:
                call(points["images"], *extras)
            # Weights of both signs, so that gradients do not cancel; above 1, for float16.
            weights = [random.choice([-512.0, 512.0], tuple(o.shape)) for o in seen.outputs]
            pairs = zip(seen.outputs, weights, strict=True)
            return sum(_total(o * ops.convert_to_tensor(w, o.dtype)) for o, w in pairs), None

        _, _, gradients = backend.gradients(output_of, {"images": images})
        return ops.zeros_like(images) if gradients["images"] is None else gradients["images"]

    image = arrays[0]
    noise = random.uniform(image.min(), image.max() + 1e-3, image.shape).astype(image.dtype)
    with preserve_state(call.model):
        measure = backend.compiled(differentiate, call.model)
        found = [
            ops.convert_to_numpy(measure(*map(ops.convert_to_tensor, (given, *arrays[1:]))))
            for given in (image, noise)
        ]
    seen = np.any([gradient[0] != 0 for gradient in found], axis=(0, -1))
    if not seen.any():
        return None
    return tuple((float(at.min()), float(at.max()) + 1.0) for at in np.nonzero(seen))


def _total(values: Any) -> Any:
    """Sum up to one number an image."""
    return ops.sum(ops.reshape(ops.cast(values, "float32"), (values.shape[0], -1)), axis=1)
