"""Asking about changed copies of images, a bounded number of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

if TYPE_CHECKING:
    from keras_saliency.engine.scored_model import ScoredModel

Make = Callable[[int, int], np.ndarray]


def each_copy(
    model: ScoredModel,
    images: Any,
    count: int,
    make: Make,
    ask: Callable[[ScoredModel, Any, np.ndarray], Any],
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Ask about `count` copies of each image, `model.batch_size` copies in a pass.

    Args:
        model: The scored model.
        images: (batch, ...), the batch that `model` attends to.
        count: Copies of each image.
        make: `(row, sample) -> copy`, called sample by sample, and for each over the rows.
        ask: `(model, copies (n, ...), samples (n,)) -> answers (n, ...)`.

    Yields:
        The row, the sample and the answer in float64, so that sums of many stay exact.
    """
    batch = images.shape[0]
    total = batch * count
    size = min(total, model.batch_size)
    for done in model.counted(-(-total // size), count):
        # The last pass is filled up, so that it needs no trace of its own.
        numbers = np.minimum(np.arange(done * size, (done + 1) * size), total - 1)
        samples, rows = np.divmod(numbers, batch)
        copies = np.stack([make(row, sample) for row, sample in zip(rows, samples, strict=True)])
        answers = ask(*model.with_batch(copies.astype("float32"), rows), samples)
        found = np.asarray(ops.convert_to_numpy(answers), "float64")
        real = total - done * size
        yield from zip(rows[:real], samples[:real], found[:real], strict=True)


def scores_of_copies(model: ScoredModel, images: Any, count: int, make: Make) -> np.ndarray:
    """Return the scores (batch, count) of copies of each image."""
    scores = np.zeros((images.shape[0], count))
    for row, sample, score in each_copy(
        model, images, count, make, lambda there, copies, _: there.scores(copies)
    ):
        scores[row, sample] = score
    return scores


def along_path(
    model: ScoredModel, images: Any, count: int, point: Make, step: Callable[[int, int], Any]
) -> Any:
    """Sum gradients at points of a path, times the steps taken there: (batch, height, width)."""
    sums = np.zeros(images.shape)
    for row, sample, gradient in each_copy(
        model, images, count, point, lambda there, copies, _: there.input_gradients(copies)
    ):
        sums[row] += gradient * step(row, sample)
    return ops.convert_to_tensor(sums.sum(axis=-1), "float32")


def seeded(seed: int, sample: int) -> np.random.Generator:
    """Return the generator of one sample: the same for every image, at every epoch."""
    return np.random.default_rng((seed, sample))
