"""`ScoredModel`: a model and a target as an attribution method sees them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.types import Array
from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.feature_layout import attended_grid
from keras_saliency.engine.gap_head import pooled_kernel
from keras_saliency.engine.pass_runner import PassRunner
from keras_saliency.engine.passes import LAYER_QUANTITIES, Batch
from keras_saliency.engine.placement import Placement
from keras_saliency.engine.target_layer import LayerChoice, check_choice
from keras_saliency.engine.targets import against_similar

Method = Callable[["ScoredModel", Any], Any]


class ScoredModel:
    """A model and a target: what an attribution method may compute about a batch of images.

    A method is called as `method(model, images)` with one of these and the batch, a tensor
    `(batch, height, width, channels)` float32 as the model takes it (`(batch, time, channels)` of
    signals, `(batch, frames, height, width, channels)` of videos), and returns maps `(batch, h, w)`
    of any grid that spans the image; maps of the target layer's grid are laid over it afterwards,
    where the model crops or pads images inside. The maps are raw: signed, and in the method's own
    unit, mostly that of the score (`gradient_x_input`, CAMs) or of the score per unit of input
    (`saliency`). The score of an image is a logit of any size, a probability from 0 to 1, its
    natural logarithm from minus infinity to 0, or a regression's value in the unit of the output,
    as `of` tells.

    What is computed for the batch is computed once, and shared by all methods. Most methods take
    other images too, `batch_size` of which go through the model at a time. They are scored for the
    same target as the images of the batch that they stand for: `rows` has the index of that image
    for each of them; without `rows` they stand for the batch in its order.

    Every result is a tensor of the backend, float32 if nothing else is said.

    Attributes:
        of: What the scores are: `"logits"`, `"probability"`, `"log_probability"`, or `"value"`.
        batch_size: At most so many images go through the model at once.

    Args:
        passes: What computes the quantities.
        batch: The images that are explained.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> def squared(model, images):
        ...     return keras.ops.sum(model.input_gradients(images) ** 2, axis=-1)
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), squared).maps.shape
        (1, 4, 6)
    """

    def __init__(self, passes: PassRunner, batch: Batch) -> None:
        self.of = passes.context.target.of
        self.batch_size = passes.batch_size
        self._passes = passes
        self._batch = batch

    def scores(self, images: Any, rows: Any = None) -> Any:
        """Compute the score of each image.

        Args:
            images: The batch, or other images `(n, height, width, channels)`.
            rows: `(n,)` which image of the batch each stands for.

        Returns:
            Scores `(n,)`.
        """
        return _computed(self._passes, self._batch, "scores", images, rows)

    def classes(self, images: Any) -> Any:
        """Compute which class is explained in each image.

        Args:
            images: The batch, or as many other images.

        Returns:
            Classes `(batch,)` int32, -1 where the target is no class.
        """
        return _computed(self._passes, self._batch, "classes", images)

    def input_gradients(self, images: Any, rows: Any = None) -> Any:
        """Compute the gradient of the score at each image.

        Args:
            images: The batch, or other images `(n, height, width, channels)`.
            rows: `(n,)` which image of the batch each stands for.

        Returns:
            Gradients of the shape of `images`, in the unit of the score per unit of input.

        Raises:
            ValueError: The score does not depend on the images, or has no gradient there.
        """
        return _computed(self._passes, self._batch, "input_gradients", images, rows)

    def activations(self, images: Any, rows: Any = None) -> Any:
        """Compute the output of the target layer.

        Args:
            images: The batch, or other images `(n, height, width, channels)`.
            rows: `(n,)` which image of the batch each stands for.

        Returns:
            Feature maps `(n, h, w, channels)`: channels last, tokens in their grid.

        Raises:
            ValueError: The model has no layer with a map.
        """
        return _computed(self._passes, self._batch, "activations", images, rows)

    def layer_gradients(self, images: Any, rows: Any = None) -> Any:
        """Compute the gradient of the score at the target layer's output.

        Args:
            images: The batch, or other images `(n, height, width, channels)`.
            rows: `(n,)` which image of the batch each stands for.

        Returns:
            Gradients `(n, h, w, channels)`, laid out as `activations`.

        Raises:
            ValueError: The model has no layer with a map, or the score does not depend on it.
        """
        return _computed(self._passes, self._batch, "layer_gradients", images, rows)

    def attentions(self, images: Any, rows: Any = None) -> Any:
        """Compute the self-attention of all layers, averaged over their heads.

        Args:
            images: The batch, or other images `(n, height, width, channels)`.
            rows: `(n,)` which image of the batch each stands for.

        Returns:
            Attention `(n, layers, tokens, tokens)` from 0 to 1; each row sums to 1.

        Raises:
            ValueError: The model has no self-attention over all tokens of an image.
        """
        return _computed(self._passes, self._batch, "attentions", images, rows)

    def attention_x_gradient(self, images: Any, rows: Any = None) -> Any:
        """Compute attention times the score's gradient there, where that is positive.

            P_l = mean_h relu(A_lh * dS / dA_lh),    A_lh: attention of head h in layer l

        Args:
            images: The batch, or other images `(n, height, width, channels)`.
            rows: `(n,)` which image of the batch each stands for.

        Returns:
            Products `(n, layers, tokens, tokens)` in the unit of the score, not negative.

        Raises:
            ValueError: The model has no self-attention over all tokens of an image, or the score
                does not depend on it.
        """
        return _computed(self._passes, self._batch, "attention_x_gradient", images, rows)

    def token_grid(self, count: int) -> tuple[int, ...] | None:
        """Find the grid that tokens form.

        Args:
            count: How many tokens there are, those before the grid among them.

        Returns:
            Tokens along each axis, of the last tokens; None where the model tells of no grid.
        """
        return attended_grid(self._passes.context.trace, count)

    def tokens_read(self, count: int) -> np.ndarray | None:
        """Find which tokens the head reads, such as that of the class alone.

        Args:
            count: How many tokens there are.

        Returns:
            `(count,)` bool, whether the output depends on each after the last attention; None
            where that can't be told.
        """
        return self._passes.context.tokens_read(count)

    def gated_scores(self, images: Any, gates: Any, rows: Any = None) -> Any:
        """Compute scores with the channels of the target layer weakened or switched off.

        Args:
            images: `(n, height, width, channels)`.
            gates: `(n, channels)`, with which the layer's channels are multiplied.
            rows: `(n,)` which image of the batch each stands for.

        Returns:
            Scores `(n,)`.
        """
        return self._passes.of_others("scores", self._batch, images, rows, gates)

    def class_weights(self, images: Any) -> Any:
        """Return the weights of the explained class in a head of pooling and one dense layer.

        Args:
            images: The batch, or as many other images.

        Returns:
            Weights `(batch, channels)`.

        Raises:
            ValueError: The head is not global average pooling of the layer and one dense layer,
                or the target is no class of the logits.
        """
        kernel = pooled_kernel(self._passes.context)
        columns = [-kernel, kernel] if self._passes.context.head.is_binary else [kernel]
        weights = ops.transpose(ops.concatenate(columns, axis=-1))
        return ops.take(weights, self.classes(images), axis=0)

    def at(self, layer: LayerChoice) -> "ScoredModel":
        """Return the same model, target and batch with another target layer.

        Args:
            layer: Name, path, `Layer` or `Tokens`, as `layer=` of `explain`.

        Returns:
            A `ScoredModel`.

        Raises:
            ValueError: No layer fits, or several do.
            TypeError: The layer is of another kind.
        """
        check_choice(layer)
        context = self._passes.context
        return _in_context(
            self._passes, self._batch, ("layer", layer), lambda: context.with_layer(layer)
        )

    def against_similar(self, count: int, strength: float) -> "ScoredModel":
        """Return the same model, its score minus that of the classes with the nearest scores.

        Args:
            count: How many classes are compared with that explained.
            strength: The share of their mean score that is subtracted.

        Returns:
            A `ScoredModel`.

        Raises:
            ValueError: The target is no class, or the model knows no other.
        """
        context = self._passes.context

        def other() -> ModelContext:
            target = against_similar(context.target, context.head, count, strength)
            return replace(context, target=target)

        return _in_context(self._passes, self._batch, ("similar", count, strength), other)

    def over_perturbed(
        self,
        count: int,
        perturb: Callable[[int, int], np.ndarray],
        compute: "Callable[[ScoredModel, Any, np.ndarray], Any]",
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """Compute something of `count` perturbed images of each image, `batch_size` in a pass.

        Args:
            count: Perturbed images of each image of the batch.
            perturb: `(row, sample) -> image (height, width, channels)`, called sample by sample,
                and for each over the rows of the batch.
            compute: `(model, perturbed (n, ...), samples (n,)) -> results (n, ...)`; `model` is
                scored for the images from which the perturbed ones were made.

        Yields:
            The row, the sample and the result in float64, so that sums of many stay exact.
        """
        batch, images = self._batch, self._batch.images.shape[0]
        requested: set[str] = set()  # from pass to pass, so that one computes all that is needed
        for numbers, real in self._passes.steps(images, count):
            samples, rows = np.divmod(np.arange(images * count)[numbers], images)
            perturbed = np.stack([perturb(*pair) for pair in zip(rows, samples, strict=True)])
            tensor = ops.convert_to_tensor(perturbed.astype("float32"))
            inner = Batch(tensor, batch.inputs_of(rows), requested=requested)
            results = compute(ScoredModel(self._passes, inner), tensor, samples)
            values = np.asarray(ops.convert_to_numpy(results), "float64")
            kept = slice(real.stop - real.start)
            yield from zip(rows[kept], samples[kept], values[kept], strict=True)


def _computed(
    passes: PassRunner, batch: Batch, quantity: str, images: Any, rows: Any = None
) -> Any:
    """Compute a quantity of the batch, or of other images."""
    if quantity in LAYER_QUANTITIES and passes.context.target_layer is None:
        raise ValueError(passes.context.why_no_layer)
    if images is batch.images:
        return passes.of_batch(quantity, batch)
    return passes.of_others(quantity, batch, images, rows)


def placement_of(model: ScoredModel) -> Placement:
    """Return where the grid of a model's target layer lies in the image."""
    return model._passes.context.placement


def over_image(model: ScoredModel, maps: Array) -> Array:
    """Lay maps of the target layer's grid over the whole image, of which it may span a part."""
    layer = model._passes.context.target_layer
    is_own = layer is not None and maps.shape[1:] == layer.shape[1:-1]
    return placement_of(model).over_image(maps) if is_own else maps


def _in_context(
    passes: PassRunner, batch: Batch, key: Any, context: Callable[[], ModelContext]
) -> ScoredModel:
    """Return a batch, of which nothing has been computed, in another context."""
    variant = passes.variant(key, context)
    return ScoredModel(variant, Batch(batch.images, batch.inputs, requested=variant.requested))
