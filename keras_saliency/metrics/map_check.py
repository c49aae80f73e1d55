"""Checks drawn maps by a deletion test: does hiding what a map marks cost more than chance?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_saliency.attribution.explainer import Evaluation, Explainer
from keras_saliency.common.baselines import blurred
from keras_saliency.common.resampling import resize_linear
from keras_saliency.common.types import Array
from keras_saliency.engine.batching import BatchRunner, Rows, gathered
from keras_saliency.engine.pass_runner import PassRunner, Plan

_SHARE = 0.1  # of the pixels, that is hidden
_SIGMA = 1 / 32  # of each axis, of the blur of maps and of what fills holes
_MOVES = 8  # of the strongest tenth, of which the one that overlaps it least is the control
_MARGIN, _LOSS = 0.1, 0.05  # of the log-odds, that a map must gain over the control, or may lose
_ENOUGH = 0.8  # of the probability: where the control alone leaves as much, the cue is everywhere
_SMALLEST = 1e-6  # probability of which the log-odds are taken
_FACTS = Plan(frozenset())


@dataclass(frozen=True)
class MapCheck:
    """How much the model needs the strongest tenth of each map, and how much a random tenth.

    `n` is the number of images, and a score the probability of the explained class, or where no
    class of the whole image is explained, the explained score. All are NaN where the map is dead or
    not finite.

    Attributes:
        costs: float64 `(n,)`, the score that is lost where the strongest tenth is filled in.
        by_chance: float64 `(n,)`, likewise of the same tenth, moved and mirrored at random.
        alone: float64 `(n,)`, the score where all but the strongest tenth is filled in.
        alone_by_chance: float64 `(n,)`, likewise of the tenth that was moved.
        is_chance: bool `(n,)`, whether the map is no better than chance: what hiding it costs more
            than chance, and what it alone leaves more than chance, sum up to at most 0.1 of the
            log-odds of a probability, or to 0 of another score. Where a random tenth alone leaves
            four fifths of the probability, as of a cue that is everywhere, a map is no better only
            if it is worse, by more than 0.05.
    """

    costs: Array
    by_chance: Array
    alone: Array
    alone_by_chance: Array
    is_chance: Array

    def words(self, i: int) -> str:
        """Describe the check of one map in a clause; nothing where its map is dead.

        Args:
            i: Which image.

        Returns:
            Such as "hiding this costs 0.41 (a random tenth: 0.02)"; or what it alone leaves, where
            that says more.

        Example:
            >>> values = (np.array([value]) for value in (0.41, 0.023, 0.6, 0.5, False))
            >>> MapCheck(*values).words(0)
            'hiding this costs 0.41 (a random tenth: 0.02)'
        """
        if np.isnan(self.costs[i]):
            return ""
        numbers = (self.costs, self.by_chance, self.alone, self.alone_by_chance)
        cost, by_chance, alone, alone_by_chance = (float(values[i]) for values in numbers)
        template = "hiding this costs {:z.2f} (a random tenth: {:z.2f})"
        if abs(alone - alone_by_chance) > abs(cost - by_chance):
            template = "kept alone it leaves {2:z.2f} (a random tenth: {3:z.2f})"
        if self.is_chance[i]:
            template = f"no better than chance: {template}"
        return template.format(cost, by_chance, alone, alone_by_chance)


class MapChecker:
    """Checks maps by hiding what they mark, and all else, with controls of the same shape.

    Petsiuk, Das and Saenko 2018, "RISE: Randomized input sampling for explanation of black-box
    models", arXiv:1806.07421, delete pixels in the order of the map, or insert them. Here it is the
    strongest tenth at once, of the map blurred by 1/32 of each axis, so that it is made of patches
    and not of single pixels, which filling in would bring back. Hiding a tenth of a cue that fills
    the image costs nothing, but this tenth alone is enough. The control is the same tenth, moved
    cyclically and mirrored at random to where it overlaps the strongest tenth least.

    It takes four forward passes for each method and one for all of them, and no gradient. Which
    class or boxes are explained is decided by the images as they are.

    Args:
        explainer: What computes the maps.
    """

    def __init__(self, explainer: Explainer) -> None:
        self._context = context = explainer.context
        self._images = np.asarray(explainer.probes.images, "float32")
        self._extras = list(explainer.probes.extras.values())
        size = context.call.at_most(explainer.batch_size)
        self._passes = PassRunner(context, size)
        self._run = BatchRunner(self._in_batches, size, context.call.model)
        # Traced here, before training: a trace puts random numbers that are drawn meanwhile back.
        self._detail()

    def check(self, evaluation: Evaluation, seed: int = 0) -> dict[str, MapCheck]:
        """Check all maps of an evaluation.

        Args:
            evaluation: Of the explainer's probes, by the model's current weights.
            seed: Decides where the controls lie.

        Returns:
            Method name to check.
        """
        rng, classes = np.random.default_rng(seed), evaluation.classes
        is_class = bool((classes >= 0).all()) and not self._context.head.positions
        fact, detail = "outputs" if is_class else "scores", self._detail()

        def scored(values: Array) -> Array:
            if fact == "scores":
                return values.astype("float64")
            probabilities = np.asarray(self._context.head.probabilities(values))
            return probabilities[np.arange(len(classes)), classes]

        before, found = scored(getattr(evaluation, fact)), {}
        for name, maps in evaluation.maps.items():
            holes = strongest(maps, self._images.shape[1:-1])
            moved = np.stack([moved_away(hole, rng) for hole in holes])
            hidden, alone = (
                [scored(self._run(self._images, hole, detail, fact)) for hole in pair]
                for pair in ((holes, moved), (~holes, ~moved))
            )
            found[name] = _compared(maps, before, hidden, alone, is_class)
        return found

    def _detail(self) -> Array:
        """What the target knows of each image: classes that are predicted, or boxes."""
        nothing = np.zeros(self._images.shape[:-1], bool)
        return self._run(self._images, nothing, self._context.target.detail, "detail")

    def _in_batches(
        self, size: int, images: Array, holes: Array, detail: Array, fact: str
    ) -> Array:
        """Compute a fact of the images with holes filled in, `(n, ...)`."""

        def of_rows(rows: Rows) -> Array:
            inputs = (values[rows] for values in (detail, *self._extras))
            filled = fill_holes(images[rows], holes[rows])
            batch = self._passes.start(_FACTS, filled, *inputs)
            values = batch.inputs[0] if fact == "detail" else batch.fetch()[0][fact]
            return np.asarray(ops.convert_to_numpy(values))

        return gathered(of_rows, len(images), min(size, len(images)))


def strongest(maps: Array, size: tuple[int, ...]) -> Array:
    """Find the strongest tenth of each map.

    Args:
        maps: `(n, h, w)`, `(n, time)` or `(n, frames, h, w)`; the most positive values are the
            strongest, and of a map that is not finite any.
        size: The size of the images, such as `(height, width)`.

    Returns:
        bool `(n, *size)`.

    Example:
        >>> maps = np.zeros((1, 10, 10))
        >>> maps[0, 4:6, 3:8] = 1
        >>> holes = strongest(maps, (10, 10))
        >>> int(holes.sum()), bool(holes[0, 4:6, 3:8].all())
        (10, True)
    """
    sigmas = [_SIGMA * length for length in size]
    finite = np.where(np.isfinite(maps), maps, 0.0)
    smooth = np.stack([blurred(resize_linear(map_, size), sigmas) for map_ in finite])
    count = max(1, round(_SHARE * smooth[0].size))
    first = np.argpartition(-smooth.reshape(len(smooth), -1), count - 1, axis=1)[:, :count]
    marked = np.zeros((len(smooth), smooth[0].size), bool)
    np.put_along_axis(marked, first, True, axis=1)
    return marked.reshape(smooth.shape)


def moved_away(hole: Array, rng: np.random.Generator) -> Array:
    """Move a hole cyclically and mirror it at random, to where it overlaps itself least.

    Args:
        hole: bool `(height, width)`, or of any number of axes.
        rng: The random generator.

    Returns:
        bool, of the same shape and with as many pixels.
    """

    def moved() -> Array:
        steps = tuple(rng.integers(0, length) for length in hole.shape)
        mirrored = tuple(axis for axis in range(hole.ndim) if rng.random() < 0.5)
        return np.flip(np.roll(hole, steps, tuple(range(hole.ndim))), mirrored)

    return min((moved() for _ in range(_MOVES)), key=lambda other: int((other & hole).sum()))


def fill_holes(images: Array, holes: Array) -> Array:
    """Fill holes with what is around them, blurred by 1/32 of each axis.

    Each pixel is the mean of those known, weighted by a Gaussian of their distance (normalized
    convolution: Knutsson and Westin 1993). Far inside of a hole the nearest count alone.

    Args:
        images: `(n, height, width, channels)`, or with any axes in place of height and width.
        holes: bool `(n, height, width)`; an image that is one hole becomes 0.

    Returns:
        float32 of the shape of the images, which are as they were outside of the holes.

    Example:
        >>> ramp = np.arange(16.0).reshape(1, 1, 16, 1)
        >>> holes = np.zeros((1, 1, 16), bool)
        >>> holes[..., 6:8] = True
        >>> fill_holes(ramp, holes)[0, 0, 5:9, 0].round().tolist()
        [5.0, 5.0, 8.0, 8.0]
    """
    if not holes.any():
        return images.astype("float32", copy=False)
    sigmas = [_SIGMA * length for length in images.shape[1:-1]]
    known = (~holes)[..., None]
    around = (blurred(image, sigmas) for image in np.where(known, images, 0.0))
    weights = (blurred(weight, sigmas) for weight in known.astype("float64"))
    least = np.finfo("float64").tiny
    filled = [
        total / np.maximum(weight, least) for total, weight in zip(around, weights, strict=True)
    ]
    return np.where(known, images, filled).astype("float32")


def _compared(
    maps: Array, before: Array, hidden: list[Array], alone: list[Array], is_probability: bool
) -> MapCheck:
    """Compare the scores of the strongest tenth with those of the moved one, which come second."""
    flat = maps.reshape(len(maps), -1)
    is_alive = np.isfinite(flat).all(axis=1) & flat.any(axis=1)
    is_chance = is_alive & no_better(before, hidden, alone, is_probability=is_probability)
    scores = (before - hidden[0], before - hidden[1], *alone)
    known = [np.where(is_alive, score, np.nan) for score in scores]
    return MapCheck(known[0], known[1], known[2], known[3], is_chance)


def no_better(
    before: Array, hidden: Sequence[Array], alone: Sequence[Array], *, is_probability: bool
) -> Array:
    """Tell which maps are no better than chance.

    Args:
        before: The scores of the images as they are, `(n,)`.
        hidden: The scores without the strongest tenth, and those without the moved one.
        alone: The scores of the strongest tenth alone, and those of the moved one.
        is_probability: Whether scores are probabilities.

    Returns:
        bool `(n,)`.

    Example:
        >>> hidden, alone = (np.array([0.5]), np.array([0.9])), (np.array([0.9]), np.array([0.5]))
        >>> no_better(np.array([0.9]), hidden, alone, is_probability=True)
        array([False])
    """
    unit = _log_odds if is_probability else np.asarray
    gain = unit(hidden[1]) - unit(hidden[0]) + unit(alone[0]) - unit(alone[1])
    if not is_probability:
        return np.asarray(gain <= 0)
    return np.where(alone[1] >= _ENOUGH * before, gain < -_LOSS, gain <= _MARGIN)


def _log_odds(probabilities: Array) -> Array:
    clipped = probabilities.clip(_SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(clipped / (1 - clipped)))
