"""Mitigation of a shortcut in the background: training with the backgrounds of other images."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import keras

from keras_saliency.engine.keras_private import seed_generator_of

# Keras does not export the base of its own layers that work in `tf.data` on every backend.
_DataLayer: Any = keras.layers.Rescaling.__bases__[0]
_VISIBLE = 0.05  # share of a pixel from which it shows the object, as for the verdict
_LEAST = 1e-6  # weight, to divide by


@keras.saving.register_keras_serializable(package="keras_saliency")
class BackgroundSwap(_DataLayer):
    """Replace the background of images by that of another image of the batch.

    A model can't rely on a background that is independent of the class. Each chosen image becomes

        mask * image + (1 - mask) * background of the donor

    and keeps its label. Every image is the donor of at most one other. The donor's own object is
    removed, with a margin of 1/32 of the shorter side, and the hole is filled from the blurred
    background around it (pull-push: Gortler et al. 1996). Unlike OpenCV's in-painting, with which
    the verdict's counterfactual images are made, this runs on any device, in `tf.data` and in
    compiled steps. Most of the hole is covered by the receiver's object.

    Background inside a mask stays in the image, and with it the reliance on it: masks should be
    tight. In `examples/mitigate_a_shortcut.py`, of 10 animals on the other class's background 0 are
    classified correctly before, 9 with true masks, and 5 to 6 with the masks of
    `keras_saliency.data.masks.make_masks`.

    An image whose mask is empty, or leaves no background, is unchanged and is no donor; so is the
    only image of a batch. Like Keras's random layers, it does nothing with `training=False`.

    Args:
        factor: Share of the images whose background is replaced, from 0 to 1: each is chosen with
            this probability.
        seed: Integer seed of the choice, or None.
        **kwargs: `name` and `dtype`, as for every Keras layer.

    Input:
        A tuple `(images, masks)`, or a dict with `"images"`, `"masks"` and any other items. Images
        are `(batch, height, width, channels)` in any range, of known height and width. Masks are
        `(batch, height, width)` or `(batch, height, width, 1)`, bool or in [0, 1], 1 on the object;
        their edges may be soft.

    Output:
        The same, with the new images in the layer's dtype; masks and other items are unchanged.

    Raises:
        TypeError: If `factor` is no number, or the input is neither a pair nor such a dict.
        ValueError: If `factor` is out of its range, or the shapes don't fit.

    Example:
        >>> import tensorflow as tf, keras_saliency as ks
        >>> from keras_saliency.data.synthetic import scenes
        >>> from keras_saliency.data.masks import make_masks
        >>> train = scenes(64)
        >>> masks = make_masks(train.images)  # Once; true masks do more.
        >>> swap = ks.BackgroundSwap(factor=0.5, seed=0)
        >>> def swap_backgrounds(images, masks, labels):
        ...     images, masks = swap((images, masks))
        ...     return images, labels
        >>> batches = tf.data.Dataset.from_tensor_slices((train.images, masks, train.labels))
        >>> batches = batches.shuffle(64).batch(32).map(swap_backgrounds)  # for `model.fit`
        >>> batches.element_spec[0].shape
        TensorShape([None, 64, 64, 3])
    """

    def __init__(self, factor: float = 0.5, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        is_number = isinstance(factor, Real) and not isinstance(factor, bool)
        if not is_number or not 0 <= factor <= 1:
            error = ValueError if is_number else TypeError
            raise error(f"`factor` must be a number from 0 to 1. Received: factor={factor!r}")
        self.factor, self.seed = float(factor), seed
        self.generator = self.backend.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = True) -> Any:
        """Swap the backgrounds of some images while the model trains.

        Args:
            inputs: See `Input` above.
            training: Whether backgrounds are swapped.

        Returns:
            See `Output` above.
        """
        images, masks = _apart(inputs)
        images = self.backend.cast(images, "float32")
        if training:
            images = self._swapped(images, self._weights(masks, images.shape))
        images = self.backend.cast(images, self.compute_dtype)
        if isinstance(inputs, Mapping):
            return {**inputs, "images": images}
        return type(inputs)((images, inputs[1]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input, which is kept.

        Args:
            input_shape: The shapes of the input, in its structure.

        Returns:
            The same.
        """
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal layer.

        Returns:
            The configuration, as Keras's `from_config` takes it.
        """
        return {**super().get_config(), "factor": self.factor, "seed": self.seed}

    def _weights(self, masks: Any, shape: Any) -> Any:
        """Float masks `(batch, height, width, 1)` in [0, 1] for images of a shape."""
        if len(shape) != 4 or None in tuple(shape)[1:]:
            raise ValueError(
                "Backgrounds are swapped within a batch (batch, height, width, channels) of known "
                f"size: resize, then batch, then swap. Received: images.shape={tuple(shape)}"
            )
        size, received = tuple(shape)[1:3], tuple(getattr(masks, "shape", ()))
        known = None not in (*shape[:1], *received[:1])
        if received[1:] not in (size, (*size, 1)) or (known and received[0] != shape[0]):
            raise ValueError(
                f"`masks` must have the size of the images, {size}, one for each of them. "
                f"Received: masks.shape={received}, images.shape={tuple(shape)}"
            )
        weights = self.backend.numpy.clip(self.backend.cast(masks, "float32"), 0, 1)
        return weights if len(masks.shape) == 4 else weights[..., None]

    def _swapped(self, images: Any, masks: Any) -> Any:
        """Replace the backgrounds of the images that are drawn."""
        np = self.backend.numpy
        known = self._dilated(masks) <= _VISIBLE
        useful = np.any(known, axis=(1, 2, 3)) & np.any(masks > _VISIBLE, axis=(1, 2, 3))
        chosen, donors = self._draw(self.backend.shape(images)[0])
        chosen = chosen & useful & np.take(useful, donors, axis=0)
        filled = self._filled(images, self.backend.cast(known, "float32"))
        swapped = masks * images + (1 - masks) * np.take(filled, donors, axis=0)
        return np.where(chosen[:, None, None, None], swapped, images)

    def _draw(self, count: Any) -> tuple[Any, Any]:
        """Draw the images whose background is replaced, and the donors: neighbours in a circle."""
        np = self.backend.numpy
        seed = seed_generator_of(self)
        lots = self.backend.random.uniform((2, count), seed=seed)
        circle = np.argsort(lots[1])
        ranks = np.argsort(circle)
        donors = np.take(np.roll(circle, 1), ranks)
        return (lots[0] < self.factor) & (donors != np.take(circle, ranks)), donors

    def _dilated(self, masks: Any) -> Any:
        """Widen masks: a missed limb of the donor counts more than a hole too wide."""
        size = 2 * max(1, round(min(masks.shape[1:3]) / 32)) + 1
        return self.backend.nn.max_pool(masks, size, 1, padding="same", data_format="channels_last")

    def _filled(self, images: Any, known: Any) -> Any:
        """Fill what is not known, of weight 0, with the blurred rest, from coarse to fine."""
        np = self.backend.numpy
        height, width = images.shape[1:3]
        if height == width == 1:
            return images
        weight = self._halved(known)
        coarse = self._halved(known * images) / np.maximum(weight, _LEAST)
        blurred = self.backend.image.resize(
            self._filled(coarse, weight), (height, width), data_format="channels_last"
        )
        return known * images + (1 - known) * blurred

    def _halved(self, maps: Any) -> Any:
        return self.backend.nn.average_pool(maps, 2, 2, padding="same", data_format="channels_last")


def _apart(inputs: Any) -> tuple[Any, Any]:
    """Take images and masks out of the input."""
    if isinstance(inputs, Mapping) and {"images", "masks"} <= set(inputs):
        return inputs["images"], inputs["masks"]
    if isinstance(inputs, tuple | list) and len(inputs) == 2:
        return inputs[0], inputs[1]
    received = list(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
    raise TypeError(
        "Expected `(images, masks)`, or a dict with 'images' and 'masks'. Masks can be made by "
        "`keras_saliency.data.masks.make_masks(images)`, once before training. "
        f"Received: {received}"
    )
