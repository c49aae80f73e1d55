"""The cure for a shortcut in the background: train with the backgrounds of other images."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import keras

from keras_saliency.engine.keras_private import seed_generator_of

# Keras does not export the base of its own layers that work in `tf.data` on every backend.
_DataLayer: Any = keras.layers.Rescaling.__bases__[0]
_VISIBLE = 0.05  # A pixel shows the object from this share on, as it does for the verdict.
_LEAST = 1e-6  # of a weight that is divided by


@keras.saving.register_keras_serializable(package="keras_saliency")
class BackgroundSwap(_DataLayer):
    """Give images the background of another image of their batch.

    A model can't rely on a background that says nothing about the class. Each chosen image gets

        mask * image + (1 - mask) * background of the donor

    and keeps its label. Every image is the donor of one other at most. The donor's own object is
    taken out, with a margin of 1/32 of the shorter side, and the hole filled from the blurred
    background around it (pull-push: Gortler et al. 1996). Unlike OpenCV's in-painting, which makes
    the twins of the verdict, this runs on any device, in `tf.data` and in compiled steps; most of
    the hole comes to lie behind the receiver's object.

    What a mask holds of the ground stays, and the reliance on it as well: masks should be tight. In
    `examples/cure_a_shortcut.py` 0 of 10 animals are told on the other kind's ground before, 9 with
    true masks, and 5 to 6 with those that `keras_saliency.data.masks.make_masks` makes.

    An image whose mask is empty or leaves no background stays as it is and is no donor; so does the
    only image of a batch. Like Keras's random layers it does nothing with `training=False`.

    Args:
        factor: Share of the images that get another background, from 0 to 1: each is chosen with
            this probability.
        seed: Whole number that makes the choice repeatable, or None.
        **kwargs: `name` and `dtype`, as for every Keras layer.

    Input:
        A tuple `(images, masks)`, or a dict with `"images"` and `"masks"`, whatever else it holds:
        images `(batch, height, width, channels)` in any range, height and width known; masks
        `(batch, height, width)` or `(batch, height, width, 1)`, bool or in [0, 1], 1 on the object,
        with soft edges or without.

    Output:
        The same with other images, of the layer's dtype; masks and the rest are handed on.

    Raises:
        TypeError: If `factor` is no number, or the input neither a pair nor such a dict.
        ValueError: If `factor` is out of its range, or the shapes don't fit.

    Example:
        >>> import tensorflow as tf, keras_saliency as ks
        >>> from keras_saliency.data.synthetic import scenes
        >>> from keras_saliency.data.masks import make_masks
        >>> train = scenes(64)
        >>> masks = make_masks(train.images)  # Once; true masks do more.
        >>> swap = ks.BackgroundSwap(factor=0.5, seed=0)
        >>> def cure(images, masks, labels):
        ...     images, masks = swap((images, masks))
        ...     return images, labels
        >>> batches = tf.data.Dataset.from_tensor_slices((train.images, masks, train.labels))
        >>> batches = batches.shuffle(64).batch(32).map(cure)  # for `model.fit`
        >>> batches.element_spec[0].shape
        TensorShape([None, 64, 64, 3])
    """

    factor: float
    seed: int | None

    def __init__(self, factor: float = 0.5, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(factor, bool) or not isinstance(factor, Real):
            raise TypeError(f"`factor` must be a number from 0 to 1. Received: factor={factor!r}")
        if not 0 <= factor <= 1:
            raise ValueError(f"`factor` must be from 0 to 1. Received: factor={factor!r}")
        self.factor = float(factor)
        self.seed = seed
        self.generator = self.backend.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = True) -> Any:
        """Swap the backgrounds of some images while the model trains."""
        images, masks = _apart(inputs)
        images = self.backend.cast(images, "float32")
        if training:
            images = self._swapped(images, self._weights(masks, images.shape))
        return _joined(inputs, self.backend.cast(images, self.compute_dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Say that shapes stay as they are."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal layer."""
        return {**super().get_config(), "factor": self.factor, "seed": self.seed}

    def _weights(self, masks: Any, shape: Any) -> Any:
        """Float masks `(batch, height, width, 1)` in [0, 1] for images of a shape."""
        if len(shape) != 4 or None in tuple(shape)[1:]:
            raise ValueError(
                "Backgrounds are swapped within a batch (batch, height, width, channels) of known "
                f"size: resize, then batch, then swap. Received: images.shape={tuple(shape)}"
            )
        wanted, found = tuple(shape)[1:3], tuple(getattr(masks, "shape", ()))
        known = None not in (*shape[:1], *found[:1])
        if found[1:] not in (wanted, (*wanted, 1)) or (known and found[0] != shape[0]):
            raise ValueError(
                f"`masks` must have the size of the images, {wanted}, one for each of them. "
                f"Received: masks.shape={found}, images.shape={tuple(shape)}"
            )
        weights = self.backend.numpy.clip(self.backend.cast(masks, "float32"), 0, 1)
        return weights if len(masks.shape) == 4 else weights[..., None]

    def _swapped(self, images: Any, masks: Any) -> Any:
        """Compose all images with the backgrounds of others, and take the chosen ones."""
        np = self.backend.numpy
        known = self._dilated(masks) <= _VISIBLE
        useful = np.logical_and(
            np.any(known, axis=(1, 2, 3)), np.any(masks > _VISIBLE, axis=(1, 2, 3))
        )
        chosen, donors = self._draw(self.backend.shape(images)[0])
        chosen = np.logical_and(chosen, np.logical_and(useful, np.take(useful, donors, axis=0)))
        backgrounds = np.take(
            self._filled(images, self.backend.cast(known, "float32")), donors, axis=0
        )
        twins = masks * images + (1 - masks) * backgrounds
        return np.where(chosen[:, None, None, None], twins, images)

    def _draw(self, count: Any) -> tuple[Any, Any]:
        """Which images get another background, and whose: in a random circle, each the next's."""
        np = self.backend.numpy
        seed = seed_generator_of(self)
        lots = self.backend.random.uniform((2, count), seed=seed)
        circle = np.argsort(lots[1])
        places = np.argsort(circle)
        donors = np.take(np.roll(circle, 1), places)
        return np.logical_and(lots[0] < self.factor, donors != np.take(circle, places)), donors

    def _dilated(self, masks: Any) -> Any:
        """Widen masks: a missed limb of the donor counts more than a hole too wide."""
        radius = max(1, round(min(masks.shape[1:3]) / 32))
        return self.backend.nn.max_pool(
            masks, 2 * radius + 1, 1, padding="same", data_format="channels_last"
        )

    def _filled(self, images: Any, known: Any) -> Any:
        """Fill what isn't known, weight 0, with the blurred rest: coarser where it is wider."""
        np = self.backend.numpy
        height, width = images.shape[1:3]
        if height == width == 1:
            return images
        weight = self._halved(known)
        coarse = self._halved(known * images) / np.maximum(weight, _LEAST)
        blurred = self.backend.image.resize(
            self._filled(coarse, weight),
            (height, width),
            interpolation="bilinear",
            data_format="channels_last",
        )
        return known * images + (1 - known) * blurred

    def _halved(self, maps: Any) -> Any:
        return self.backend.nn.average_pool(maps, 2, 2, padding="same", data_format="channels_last")


def _apart(inputs: Any) -> tuple[Any, Any]:
    """Images and masks of whatever holds them."""
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


def _joined(inputs: Any, images: Any) -> Any:
    """What the inputs were, with other images."""
    if isinstance(inputs, Mapping):
        return {**inputs, "images": images}
    return type(inputs)((images, inputs[1]))
