"""What the last dense layer of a model gets of images, and the layer's weights."""

from typing import Any

import numpy as np
from keras import layers, ops

from keras_saliency.engine import backend
from keras_saliency.engine.batching import BatchRunner, Rows, gathered
from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.keras_private import SIGMOID, SOFTMAX
from keras_saliency.engine.preprocessing import Preprocessing
from keras_saliency.engine.tracing import computes_as, patched_call

_ACTIVATIONS = (layers.Softmax, layers.Activation, SOFTMAX, SIGMOID)


class HeadFeatures:
    """The features that the last `Dense` layer gets, and the layer's weights.

    Args:
        context: The context of the model.
        batch_size: The largest number of images in one pass.

    Attributes:
        has_bias: Whether the layer adds a bias.

    Raises:
        ValueError: If the model's last layer with weights is no `Dense` layer that runs once.
    """

    def __init__(self, context: ModelContext, batch_size: int) -> None:
        self._call, self._dense = context.call, _last_dense(context)
        self.has_bias = bool(self._dense.use_bias)
        self._preprocessing = Preprocessing(context.call.model, context.call.inputs)
        self._features = backend.compiled(self._seen, context.call.model)
        size = context.call.at_most(batch_size)
        self._run = BatchRunner(self._in_batches, size, context.call.model)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute the features of images.

        Args:
            images: Model inputs, `(n, height, width, channels)`.

        Returns:
            float64 `(n, features)`.
        """
        return self._run(images).astype("float64")

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Compute the layer's output before its activation.

        Args:
            features: `(n, features)`.

        Returns:
            float64 `(n, units)`.
        """
        kernel, *bias = (ops.convert_to_numpy(v).astype("float64") for v in self._weights)
        return np.asarray(features @ kernel + (bias[0] if bias else 0.0))

    def assign(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Replace the layer's weights.

        Args:
            kernel: `(features, units)`.
            bias: `(units,)`; without effect on a layer without one.
        """
        for variable, value in zip(self._weights, (kernel, bias), strict=False):
            variable.assign(value.astype("float32"))

    @property
    def _weights(self) -> list[Any]:
        dense = self._dense
        return [dense.kernel, dense.bias] if self.has_bias else [dense.kernel]

    def _seen(self, images: Any) -> Any:
        seen = []

        def on_call(original: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(inputs)
            return original(inputs, *args, **kwargs)

        with patched_call(self._dense, on_call):
            self._call(images)
        return ops.cast(seen[-1], "float32")

    def _in_batches(self, size: int, images: np.ndarray) -> np.ndarray:
        def of_rows(rows: Rows) -> np.ndarray:
            batch = ops.convert_to_tensor(self._preprocessing.images(images[rows]), "float32")
            return np.asarray(ops.convert_to_numpy(self._features(batch)))

        return gathered(of_rows, len(images), size)


def _last_dense(context: ModelContext) -> Any:
    """Find the dense layer that makes the output, before an activation of its own."""
    trace = context.trace
    output = trace.output_call
    if output is not None and isinstance(output.layer, _ACTIVATIONS):
        output = trace.producer(output.input)
    is_dense = output is not None and computes_as(output.layer, layers.Dense)
    runs = 0 if output is None else len(trace.calls_of(output.layer))
    if output is None or not is_dense or runs > 1 or output.layer.quantization_mode is not None:
        received = "none" if output is None else f"{type(output.layer).__name__} {output.name!r}"
        raise ValueError(
            "Expected a model whose last layer with weights is a keras.layers.Dense that runs once "
            f"and is not quantized. Received: model={context.call.model.name!r}, in which it is "
            f"{received}."
        )
    return output.layer
