"""Expected gradients."""

from typing import Any

import numpy as np
from keras import ops

from keras_saliency.common.validation import check_count
from keras_saliency.engine.scored_model import ScoredModel
from keras_saliency.methods._perturbations import along_path


def expected_gradients(
    model: ScoredModel, images: Any, *, baselines: Any = None, samples: int = 100, seed: int = 0
) -> Any:
    """Compute expected gradients (GradientSHAP): integrated gradients over many baselines.

        M_ij = sum_c E_{b, a} (x_ijc - b_ijc) * dS / dx_ijc (b + a (x - b)),    a ~ U(0, 1)

    Erion et al. 2021, "Improving performance of deep learning models with axiomatic attribution
    priors and expected gradients", arXiv:1906.10670. The map sums to about
    S(x) - E S(b).

    Args:
        model: The model and the score that is explained.
        images: Model inputs, `(batch, height, width, channels)`.
        baselines: Images that paths start from, `(n, height, width, channels)`; in the paper,
            images of the training data. None takes images of one colour each, out of the image
            itself.
        samples: The number of points, each on the path from another baseline. The baselines take
            turns; `a` is drawn once in each of `samples` equal parts of 0 to 1.
        seed: Seed of the points and of the order of the baselines, the same for every image.

    Returns:
        Maps `(batch, height, width)`, signed, in units of the score.

    Raises:
        ValueError: If the baselines are no images of this size, or an option is out of its range.

    Example:
        >>> import keras, numpy as np, keras_saliency as ks
        >>> net = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(),
        ...                         keras.layers.Dense(2)])
        >>> ks.explain(net, np.ones((1, 4, 6, 3)), "expected_gradients").maps.shape
        (1, 4, 6)
    """
    check_count(samples, "samples")
    check_count(seed, "seed", least=0)
    ends = ops.convert_to_numpy(images).astype("float64")
    if baselines is None:
        starts = ends.reshape(len(ends), -1, ends.shape[-1])  # the colour of each pixel
    else:
        given = _check_baselines(baselines, ends.shape[1:])
        starts = np.broadcast_to(given, (len(ends), *given.shape))
    random = np.random.default_rng(seed)
    positions = (random.permutation(samples) + random.random(samples)) / samples
    turns = np.resize(random.permutation(starts.shape[1]), samples)

    def begin(row: int, sample: int) -> np.ndarray:
        return starts[row, turns[sample]]

    def point(row: int, sample: int) -> np.ndarray:
        return begin(row, sample) + positions[sample] * (ends[row] - begin(row, sample))

    def step(row: int, sample: int) -> np.ndarray:
        return (ends[row] - begin(row, sample)) / samples

    return along_path(model, images, samples, point, step)


def _check_baselines(baselines: Any, shape: tuple[int, ...]) -> np.ndarray:
    given = np.asarray(ops.convert_to_numpy(baselines))
    if given.ndim != len(shape) + 1 or given.shape[1:] != shape or not len(given):
        raise ValueError(
            f"baselines must be images of shape (n, {', '.join(map(str, shape))}). "
            f"Received: baselines.shape={given.shape}"
        )
    return given.astype("float64")
