"""What tasks share whose donors count as the same as a receiver, or as others."""

from abc import abstractmethod

import numpy as np

from keras_saliency.common.types import Array
from keras_saliency.shortcuts.tasks.task import DRAWS, Task

_LEARNT = 0.1  # of the way from chance to certainty, below which no reliance can show yet


class Categorical(Task):
    """A task that watches the probability of what an example is.

    Donors on one side count as the same as the receiver, and on the other side as others, which
    differ from it by 0 and by -1: the probability of what it is falls by as much with a donor of
    another class, where the model follows the donor.
    """

    @abstractmethod
    def compared(self, receivers: Array, donors: Array) -> tuple[Array, Array]:
        """Compare the groups of receivers and donors.

        Args:
            receivers: Groups of receivers, `(n,)`.
            donors: Groups of donors, `(m,)`.

        Returns:
            Two bool `(n, m)`: which donors count as the same as a receiver, and which as others.
        """

    def confident(self, watched: Array, donors: Array) -> Array:
        """Choose the donors that the model is most confident about: half of each group."""
        order = np.argsort(-watched, kind="stable")
        ranked = [order[donors[order] == group] for group in np.unique(donors)]
        return np.concatenate([members[: -(-len(members) // 2)] for members in ranked])

    def draw(
        self,
        receivers: Array,
        donors: Array,
        rng: np.random.Generator,
        barred: Array | None = None,
        draws: int = DRAWS,
    ) -> Array:
        """Draw as many donors that are the same as others."""
        sides = self.compared(receivers, donors)
        lots = rng.random(sides[0].shape)
        if barred is not None:
            lots[barred] = 2
        drawn = [np.where(side, lots, 2).argsort(axis=1)[:, :draws] for side in sides]
        return np.stack(drawn, axis=1)

    def differences(self, receivers: Array, donors: Array) -> Array:
        """Let the same differ by 0, and others by -1."""
        return np.broadcast_to(np.array([[0.0], [-1.0]]), donors.shape)

    def subsets(self, receivers: Array) -> dict[int, Array]:
        """Return the receivers of each label."""
        return {int(label): receivers == label for label in np.unique(receivers)}

    def captions(self, watched: Array, labels: Array) -> list[list[str]]:
        """Give probabilities."""
        return [[f"p = {probability:.2f}" for probability in row] for row in watched]


def probability_of(labels: Array, probabilities: Array) -> Array:
    """Return the probability of each image's label.

    Args:
        labels: int `(n,)`.
        probabilities: `(n, classes)`.

    Returns:
        float64 `(n,)`.

    Raises:
        ValueError: If these are no probabilities, or of too few classes.
    """
    low, high = probabilities.min(), probabilities.max()
    if labels.max() >= probabilities.shape[1] or low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(
            f"The verdict needs probabilities of the classes 0 to {labels.max()}. Received: "
            f"outputs of shape {probabilities.shape} from {low:g} to {high:g}"
        )
    return probabilities[np.arange(len(labels)), labels]


def hardly_tells(probability: float, chance: float) -> str | None:
    """Say that a model hardly tells classes apart, if its mean probability is near chance."""
    if probability >= chance + _LEARNT * (1 - chance):
        return None
    return (
        f"the model hardly tells the classes apart (probability of the right one "
        f"{_brief(probability)}, by chance {_brief(chance)})"
    )


def _brief(probability: float) -> str:
    """Write a probability with two decimals, or a small one with one digit."""
    return f"{probability:.2f}" if probability >= 0.005 else f"{probability:.1g}"
