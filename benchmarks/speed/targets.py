"""The rows of the table: what is measured, and how good it has to be."""

from __future__ import annotations

from dataclasses import dataclass

SMALL, MOBILE, RESNET = "small CNN", "MobileNetV2", "ResNet50"
MODELS = (SMALL, MOBILE, RESNET)


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        key: The name by which it is chosen and kept.
        words: What is measured, a ratio.
        group: The file that measures it, together with other rows of that file.
        models: On which models, each in a process of its own.
        most: The largest ratio that will do, by model, or None.
        least: The smallest ratio that will do, by model, or None.
    """

    key: str
    words: str
    group: str
    models: tuple[str, ...]
    most: dict[str, float] | None = None
    least: dict[str, float] | None = None

    def target(self, model: str) -> float | None:
        """The ratio that is aimed at, or None where no one asks for one."""
        return (self.most or self.least or {}).get(model)

    def share(self, model: str, value: float) -> float | None:
        """How a ratio stands to its target: 1 is the target, below it is met."""
        target = self.target(model)
        if target is None:
            return None
        return value / target if self.most else target / value


def _all(value: float, models: tuple[str, ...] = MODELS) -> dict[str, float]:
    return dict.fromkeys(models, value)


ROWS = (
    Row("limit", "thread held / one compiled pass", "held", MODELS, most=_all(1.10)),
    Row("step", "thread held / training step", "held", MODELS, most=_all(0.55, (MOBILE, RESNET))),
    Row("seven", "held by seven methods / one compiled pass", "held", MODELS, most=_all(1.25)),
)


def row(key: str) -> Row:
    """Return the row of a name."""
    return next(one for one in ROWS if one.key == key)
