"""Occlusion."""

import itertools
from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.baselines import Baseline, baselines
from keras_saliency.common.validation import check_sizes
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._perturbations import perturbed_scores


def occlusion(
    model: ScoredModel,
    images: Any,
    *,
    patch: int | tuple[int, ...] | None = None,
    stride: int | tuple[int, ...] | None = None,
    baseline: Baseline = "mean",
) -> Any:
    """Compute occlusion: the fall of the score when a patch of the image is covered.

        M_ij = mean over patches P that hold ij of S(x) - S(x with P covered)

    Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks",
    arXiv:1311.2901. The last patches end at the image's last row and column.

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        patch: Size of a patch in pixels along each axis, or one number for all; None takes
            an eighth of each axis.
        stride: Step from patch to patch in pixels along each axis, or one number for all; None
            takes half a patch.
        baseline: What covers a patch: `"zeros"`, `"mean"` (the image's mean colour), `"blur"` (the
            image, strongly blurred), a number, one for each channel, or an image.

    Returns:
        Maps `(batch, height, width)`, signed, in units of the score.

    Raises:
        ValueError: If a patch is larger than the image, or another option is out of its range.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), "occlusion").maps.shape
        (1, 4, 6)
    """
    shown = ops.convert_to_numpy(images)
    grid = shown.shape[1:-1]
    default = tuple(max(1, round(length / 8)) for length in grid)
    sizes = default if patch is None else check_sizes(patch, "patch", grid)
    half = tuple(-(-size // 2) for size in sizes)
    strides = half if stride is None else check_sizes(stride, "stride", grid)
    covers = baselines(shown, baseline)
    patches = list(itertools.product(*map(_spans, grid, sizes, strides)))

    def covered(row: int, sample: int) -> np.ndarray:
        image = shown[row].copy()
        image[patches[sample]] = covers[row][patches[sample]]
        return image

    whole = ops.convert_to_numpy(model.scores(images)).astype("float64")
    falls = whole[:, None] - perturbed_scores(model, images, len(patches), covered)
    maps, counts = np.zeros(shown.shape[:-1]), np.zeros(grid)
    for sample, area in enumerate(patches):
        maps[(slice(None), *area)] += falls[:, sample].reshape(-1, *[1] * len(grid))
        counts[area] += 1
    # Where the stride is longer than the patch, what no patch covers gets nothing.
    return ops.convert_to_tensor(maps / np.maximum(counts, 1), "float32")


def _spans(length: int, size: int, stride: int) -> list[slice]:
    """Return where patches lie along one axis; the last one ends with the axis."""
    starts = [*range(0, length - size, stride), length - size]
    return [slice(start, start + size) for start in starts]
