"""Whole scenes: ground, animal and front under one light, with masks and counterfactuals.

The layers come from separate random streams, and so does the light, which falls on the whole scene.
The animal therefore knows nothing of its background, and a counterfactual image differs from its
original in the background alone.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_saliency.common.progress import with_progress
from keras_saliency.common.validation import check_count, check_number, check_size
from keras_saliency.data.synthetic.animals import CLASS_NAMES, draw_animal
from keras_saliency.data.synthetic.backgrounds import BACKGROUND_NAMES, Background, draw_background
from keras_saliency.data.synthetic.canvas import SMALLEST_SIDE, Floats, Layer, grid, slope

# The random streams of an image. Grass and snow take the last one and the one after it.
_ORDER, _MATCH, _ANIMAL, _LIGHT, _BACKGROUND = range(5)


@dataclass(frozen=True)
class Scenes:
    """Images of animals, the truth about them, and their exact counterfactuals.

    Attributes:
        images: uint8 `(batch, height, width, 3)`, RGB.
        labels: int64 `(batch,)`, an index into `CLASS_NAMES`.
        masks: float32 `(batch, height, width)` in [0, 1], the share of each pixel that shows the
            animal: 0 where something stands in front of it.
        backgrounds: int64 `(batch,)`, an index into `BACKGROUND_NAMES`.
        counterfactuals: uint8 like `images`: the same animals, light and noise on the other
            background.
        counterfactual_masks: float32 like `masks`, of the counterfactuals, where other things
            stand in front.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    masks: Floats
    backgrounds: NDArray[np.int64]
    counterfactuals: NDArray[np.uint8]
    counterfactual_masks: Floats


class Light(NamedTuple):
    """The light that falls on a whole scene, and the noise of its pixels.

    Attributes:
        gain: float32 `(height, width, 3)`, the factor of the colours.
        noise: float32 `(height, width, 3)`, added afterwards; 1 is full brightness.
    """

    gain: Floats
    noise: Floats


def scenes(
    count: int,
    *,
    correlation: float = 0.95,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
) -> Scenes:
    """Draw elephants and penguins on grass and snow, with masks and exact counterfactuals.

    Images `2k` and `2k + 1` are of different classes, in random order. Image `i` depends on `seed`
    and `i`, not on `count`; with another `correlation` some images change places with
    their counterfactuals.

    Args:
        count: How many images, at least 1.
        correlation: Share in [0, 1] of the images whose background goes with the class (elephants
            on grass, penguins on snow). At 0.5 the background says nothing about the class.
        size: `(height, width)` in pixels, each at least 32.
        seed: Makes the drawings repeatable; at least 0.

    Returns:
        The `Scenes`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        ```python
        from keras_saliency.data.synthetic import scenes

        drawn = scenes(100, correlation=0.95)
        (drawn.labels == drawn.backgrounds).mean()  # about 0.95
        drawn.images[0], drawn.counterfactuals[0]  # the same animal on grass and on snow
        ```
    """
    check_count(count, "count")
    check_number(correlation, "correlation")
    check_count(seed, "seed", least=0)
    check_size(size, "size", SMALLEST_SIDE)
    labels = np.array([_label(seed, index) for index in range(count)], np.int64)
    chance = np.array([_stream(seed, index, _MATCH).random() for index in range(count)])
    backgrounds = np.where(chance < correlation, labels, 1 - labels)
    images = np.empty((2, count, *size, 3), np.uint8)
    masks = np.empty((2, count, *size), np.float32)
    for index in with_progress(range(count), count, "drawing animals"):
        animal = draw_animal(CLASS_NAMES[labels[index]], _stream(seed, index, _ANIMAL), size)
        feet = int(np.flatnonzero(animal.cover.any(axis=1))[-1])
        light = draw_light(_stream(seed, index, _LIGHT), size)
        for other in (0, 1):
            kind = int(backgrounds[index]) ^ other
            rng = _stream(seed, index, _BACKGROUND + kind)
            background = draw_background(BACKGROUND_NAMES[kind], rng, size, feet)
            images[other, index], masks[other, index] = compose(animal, background, light)
    return Scenes(images[0], labels, masks[0], backgrounds, images[1], masks[1])


def compose(
    animal: Layer, background: Background, light: Light
) -> tuple[NDArray[np.uint8], Floats]:
    """Lay ground, animal and front over each other, and light them.

    Args:
        animal: The animal, from `draw_animal`.
        background: Its surroundings, from `draw_background`.
        light: The light, from `draw_light`.

    Returns:
        The image, uint8 `(height, width, 3)`, and the mask of what is seen of the animal, float32
        `(height, width)` in [0, 1].

    Example:
        ```python
        import numpy as np
        from keras_saliency.data.synthetic import compose, draw_animal, draw_background, draw_light

        rng = np.random.default_rng(0)
        animal = draw_animal("penguin", rng, (64, 64))
        snow = draw_background("snow", rng, (64, 64), feet=50)
        image, mask = compose(animal, snow, draw_light(rng, (64, 64)))
        ```
    """
    lit = background.front.over(animal.over(background.ground)) * light.gain + light.noise
    image = np.rint(255 * np.clip(lit, 0, 1)).astype(np.uint8)
    return image, animal.cover * (1 - background.front.cover)


def draw_light(rng: np.random.Generator, size: tuple[int, int]) -> Light:
    """Draw the light of a scene: brightness, tint, a slope, a vignette, and pixel noise.

    Args:
        rng: The random generator.
        size: `(height, width)` in pixels, each at least 32.

    Returns:
        The `Light`.

    Raises:
        ValueError: If `size` is out of its range.

    Example:
        ```python
        import numpy as np
        from keras_saliency.data.synthetic import draw_light

        light = draw_light(np.random.default_rng(0), (64, 64))
        ```
    """
    check_size(size, "size", SMALLEST_SIDE)
    y, x = grid(size)
    vignette = rng.uniform(0.0, 0.4) if rng.random() < 0.6 else 0.0
    field = (1 + slope(rng, size, 0.2)) * (1 - vignette * (x**2 + y**2) / 2)
    tint = rng.uniform(0.8, 1.12) * rng.uniform(0.94, 1.06, 3)
    noise = rng.uniform(0.003, 0.03) * rng.standard_normal((*size, 3), np.float32)
    return Light((field[..., None] * tint).astype(np.float32), noise.astype(np.float32))


def _label(seed: int, index: int) -> int:
    """Return the class of an image: each pair of images holds both, in random order."""
    first = int(_stream(seed, index // 2, _ORDER).integers(2))
    return first ^ (index % 2)


def _stream(seed: int, index: int, part: int) -> np.random.Generator:
    """Return the random generator of one part of one image."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, part)))
