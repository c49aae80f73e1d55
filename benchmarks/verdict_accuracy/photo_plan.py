"""Which training runs on photographs there are, and what in them is a true answer."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

ROUNDS = 9
# The factors that name a cue rightly.
FACTORS = {
    "none": (),
    "ground": ("background",),
    "border": ("frame",),
    "jpeg": ("compression",),
    "tint": ("cast",),
    "tag": ("frame", "mark"),
}
# Six training runs in a row have these, in an order that is drawn.
NETWORKS = ("tuned", "tuned", "tuned", "pool", "pool", "conv")
MASKS = ("made", "made", "made", "made", "eroded", "eroded")
SETS = ("two animals", "two animals", "two animals", "two dogs", "four", "four")


@dataclass(frozen=True)
class Run:
    """A training run."""

    set: str
    cue: str
    correlation: float
    network: str
    masks: str
    seed: int

    @property
    def key(self) -> str:
        return "-".join(str(value).replace(" ", "_") for value in asdict(self).values())

    def row(self) -> dict[str, object]:
        return {"run": self.key, **asdict(self)}


def runs() -> list[Run]:
    """All of them, six with each cue once after six."""
    rng = np.random.default_rng(0)
    planned = []
    correlations = [pair for k in range(ROUNDS) for pair in _correlations(k)]
    for seed, (ground, other) in enumerate(correlations):
        traits = (rng.permutation(values).tolist() for values in (SETS, NETWORKS, MASKS))
        for cue, name, network, masks in zip(FACTORS, *traits, strict=True):
            correlation = {"none": 0.5, "ground": ground}.get(cue, other)
            planned.append(Run(name, cue, correlation, network, masks, seed))
    return planned


def _correlations(k: int) -> Iterator[tuple[float, float]]:
    """Of the ground, and of the other cues: .5 is rare there, since nothing goes with a class."""
    yield (0.95 if k % 2 else 1.0), 1.0
    yield 0.5, 0.95
    yield 0.8, 0.8
    if k % 3 == 2:
        yield 1.0, 0.5
