"""How a model is called: its inputs put together, and one of its outputs taken."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_saliency.data.inputs import ALONE, ModelInputs
from keras_saliency.engine.dataflow import Dataflow, dataflow_of
from keras_saliency.engine.keras_private import inputs_by_name, nodes_kept
from keras_saliency.engine.model_inputs import entering, floats_kept, takes_channels_first
from keras_saliency.engine.tracing import Trace, computed_once, record


@dataclass(frozen=True)
class ModelCall:
    """A call of a model for inference: images in, one output out.

    Attributes:
        model: The model.
        inputs: In which form it gets its inputs; `inputs.bare` is whether without channels.
        output: The name or index of the output that is taken; None where there is only one.
        batch: The only number of images that the model takes; None where it takes any.
    """

    model: keras.Model
    inputs: ModelInputs = ALONE
    output: str | int | None = None
    batch: int | None = None

    def __call__(self, images: Any, *extras: Any) -> Any:
        """Call the model and return the chosen output, `(batch, ...)`."""
        first, *others = map(self.filled, (images, *extras))
        with floats_kept(self.model), computed_once(self.model):
            outputs = self.model(self._together(first, tuple(others)), training=False)
        names = _names_of(self.model, outputs)
        return self.kept(keras.tree.flatten(outputs)[self._output_index(names)], images.shape[0])

    def at_most(self, batch_size: int) -> int:
        """Return how many images may go through the model at once."""
        return batch_size if self.batch is None else min(batch_size, self.batch)

    def rows(self, images: Any) -> int:
        """Return how many images the layers get where these are given."""
        return images.shape[0] if self.batch is None else self.batch

    def filled(self, values: Any) -> Any:
        """Fill a batch up with its last row, to as many rows as the model takes."""
        if self.batch in (None, values.shape[0]):
            return values
        rows = np.minimum(np.arange(self.batch), values.shape[0] - 1)
        return keras.ops.take(values, rows, axis=0)

    def kept(self, values: Any, count: int) -> Any:
        """Return the first rows of what the model computed, without those it was filled up with."""
        is_whole = self.batch is None or values.shape[0] == count
        return values if is_whole else values[:count]

    def traced(self, *arrays: np.ndarray) -> "tuple[ModelCall, Trace]":
        """Trace a pass of one image; a model that takes none alone gets as many as it declares.

        Args:
            *arrays: The image, `(1, height, width, channels)`, and the other inputs with it.

        Returns:
            The call, whose `batch` is set where it must be, and the trace.
        """
        declared = next((tensor.shape[0] for tensor in _inputs_of(self.model).values()), None)
        try:
            trace = record(self.model, self, *arrays)
            if declared is None or trace.output_shape[0] == 1:
                return self, trace
        except Exception:
            if declared is None:
                raise
        call = replace(self, batch=declared)
        filled = [np.repeat(values, declared, axis=0) for values in arrays]
        return call, record(self.model, call, *filled, batch=declared)

    def build(self, images: Any, *extras: Any) -> None:
        """Build the model as its first batch would, without computing anything."""
        if self.model.built:
            return
        inputs = [keras.KerasTensor((None, *x.shape[1:]), x.dtype) for x in (images, *extras)]
        with nodes_kept(self.model):
            self.model(self._together(inputs[0], tuple(inputs[1:])), training=False)

    @property
    def loss(self) -> Any:
        """The loss that the model was compiled with for the chosen output, or None."""
        compiled = getattr(self.model, "loss", None)
        if isinstance(compiled, dict | list | tuple) and self.output is not None:
            names = list(getattr(self.model, "output_names", None) or ())
            index = names.index(self.output) if self.output in names else self.output
            if isinstance(compiled, dict):
                known = isinstance(index, int) and -len(names) <= index < len(names)
                return compiled.get(names[int(index)] if known else self.output)
            return compiled[index] if isinstance(index, int) else None
        losses = [loss for loss in keras.tree.flatten(compiled) if loss is not None]
        return losses[0] if len(losses) == 1 else None

    @property
    def takes_one_path(self) -> bool:
        """Whether there is but one input and one output, so that every layer lies between them."""
        return not self.inputs.names and self.output is None

    def dataflow(self, trace: Trace) -> Dataflow | None:
        """Return which tensors lead from the images to the chosen output; None if none is known."""
        inputs = _inputs_of(self.model)
        if not inputs:
            return None
        image = inputs[self.inputs.image] if self.inputs.names else next(iter(inputs.values()))
        output = 0
        if len(self.model.outputs) > 1:
            output = self._output_index(_names_of(self.model, self.model.output))
        return dataflow_of(self.model, trace, image, output)

    def _together(self, images: Any, extras: tuple[Any, ...]) -> Any:
        """Put the images among the other inputs, as the model takes them."""
        images = images[..., 0] if self.inputs.bare else entering(self.model, images)
        return self.inputs.together(images, extras)

    def _output_index(self, names: list[str]) -> int:
        if self.output is None and len(names) == 1:
            return 0
        listed = ", ".join(map(repr, names))
        if self.output is None:
            raise ValueError(
                f"The model {self.model.name!r} has several outputs, {listed}. Name the one to be "
                f"explained: target=ks.Target('predicted', output={names[0]!r})."
            )
        if isinstance(self.output, int) and -len(names) <= self.output < len(names):
            return self.output
        if self.output not in names:
            raise ValueError(
                f"output must be one of the outputs of the model {self.model.name!r}: {listed}, or "
                f"its place among them. Received: output={self.output!r}"
            )
        return names.index(str(self.output))


def fitting(
    model: keras.Model, inputs: ModelInputs, images: np.ndarray, output: str | int | None
) -> ModelCall:
    """Resolve how a model is called with such inputs.

    Args:
        model: The model, built or not.
        inputs: In which form the inputs are given.
        images: The images, `(batch, ..., channels)`.
        output: The name or index of the output that is taken, or None.

    Returns:
        The call.

    Raises:
        ValueError: Inputs that do not fit the model, where the model knows what it takes.
    """
    wanted = _inputs_of(model)
    if not wanted:
        return ModelCall(model, inputs, output)  # a subclassed model takes what it is called with
    if not inputs.names and len(wanted) > 1:
        each = ", ".join(f"{name!r}: ..." for name in wanted)
        raise ValueError(
            f"The model {model.name!r} has several inputs. Give them all, a row for each image: "
            f"images={{{each}}}. Received: images alone."
        )
    if inputs.names:
        inputs = _known_names(model, inputs, wanted)
    tensor = wanted[inputs.image] if inputs.names else next(iter(wanted.values()))
    bare = len(tensor.shape) == images.ndim - 1 and images.shape[-1] == 1
    _check_size(model, tensor.shape, images[..., 0] if bare else images)
    if not keras.backend.is_float_dtype(tensor.dtype) and (images != np.floor(images)).any():
        raise ValueError(
            "The model takes images of whole numbers, as its input is declared. Received: images "
            f"with values such as {images[images != np.floor(images)][0]:g}. Give raw images, "
            "uint8 of 0 to 255."
        )
    return ModelCall(model, replace(inputs, bare=bare), output)


def _inputs_of(model: keras.Model) -> dict[str | int, Any]:
    """The symbolic inputs of a model by name; empty where it has none."""
    named = inputs_by_name(model)
    if named is None:
        named = {tensor.name: tensor for tensor in getattr(model, "inputs", None) or ()}
    return named


def _names_of(model: keras.Model, outputs: Any) -> list[str]:
    """The names of a model's outputs: its output layers', or the path to each."""
    known = getattr(model, "output_names", None)
    if isinstance(outputs, list | tuple) and known and len(known) == len(outputs):
        return list(known)
    if keras.ops.is_tensor(outputs) or isinstance(outputs, keras.KerasTensor):
        return list(known) if known and len(known) == 1 else ["output"]
    paths = [path for path, _ in keras.tree.flatten_with_path(outputs)]
    return ["/".join(map(str, path)) for path in paths]


def _known_names(
    model: keras.Model, inputs: ModelInputs, wanted: dict[str | int, Any]
) -> ModelInputs:
    """Check the names of the inputs, or name those that were given by their order."""
    if isinstance(inputs.names[0], int):
        if len(inputs.names) != len(wanted) or inputs_by_name(model) is not None:
            raise ValueError(
                f"The model {model.name!r} has the inputs {', '.join(map(repr, wanted))}; give "
                f"them by name. Received: a tuple of {len(inputs.names)} inputs."
            )
        names = tuple(wanted)
        return replace(inputs, names=names, image=names[int(inputs.image)])
    if set(inputs.names) != set(wanted):
        raise ValueError(
            f"The model {model.name!r} has the inputs {', '.join(map(repr, wanted))}. "
            f"Received: inputs {', '.join(map(repr, inputs.names))}."
        )
    return inputs


def _check_size(model: keras.Model, wanted: tuple[int | None, ...], images: np.ndarray) -> None:
    first = takes_channels_first(model)
    if first:
        wanted = (wanted[0], *wanted[2:], wanted[1])
    fits = len(wanted) == images.ndim and all(
        want in (None, have) for want, have in zip(wanted[1:], images.shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(
            f"The images must have the model's input shape {tuple(wanted)}"
            f"{', channels last: the model gets them channels first' if first else ''}. Received: "
            f"images.shape={images.shape}. Resize them, or read a folder with "
            "Probes.from_directory(folder, image_size=model)"
            f"{'; np.moveaxis(images, 1, -1) puts channels last' if first else ''}."
        )
