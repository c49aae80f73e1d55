"""The rows of the table: what is measured, and how good it has to be."""

from __future__ import annotations

from dataclasses import dataclass

SMALL, MOBILE, RESNET = "small CNN", "MobileNetV2", "ResNet50"
MODELS = (SMALL, MOBILE, RESNET)
ON_GPU = tuple(f"{model}, {backend}" for backend in ("jax", "torch") for model in MODELS)
_LARGE_ON_GPU = tuple(name for name in ON_GPU if not name.startswith(SMALL))


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        key: The name by which it is chosen and kept.
        words: What is measured.
        group: The file that measures it, together with other rows of that file.
        models: On which models, each in a process of its own.
        most: The largest figure that will do, by model, or None.
        least: The smallest figure that will do, by model, or None.
        with_peers: Whether it runs in the environment that holds the libraries compared with.
        on_gpu: Whether it needs one; its models are then `"<model>, <backend>"`.
    """

    key: str
    words: str
    group: str
    models: tuple[str, ...] = MODELS
    most: dict[str, float] | None = None
    least: dict[str, float] | None = None
    with_peers: bool = False
    on_gpu: bool = False

    def target(self, model: str) -> float | None:
        """The figure that is aimed at, or None where no one asks for one."""
        return (self.most or self.least or {}).get(model)

    def is_met(self, model: str, value: float) -> bool | None:
        """Whether a figure is good enough, or None where no one asks for one."""
        target = self.target(model)
        if target is None:
            return None
        return value <= target if self.most else value >= target

    def share(self, model: str, value: float) -> float | None:
        """How a ratio stands to its target: 1 is the target, below it is met; None for no ratio."""
        target = self.target(model)
        if not target:
            return None
        return value / target if self.most else target / value


def _all(value: float, models: tuple[str, ...] = MODELS) -> dict[str, float]:
    return dict.fromkeys(models, value)


ROWS = (
    Row("limit", "thread held / one compiled pass", "held", most=_all(1.10)),
    Row("step", "thread held / training step", "held", most=_all(0.55, (MOBILE, RESNET))),
    Row("seven", "held by seven methods / one compiled pass", "held", most=_all(1.25)),
    Row("check", "held by two methods and the check of their maps / one compiled pass", "held"),
    Row("tf-explain", "tf-explain's two callbacks / ours", "peers", least=_all(3), with_peers=True),
    Row(
        "keras.io",
        "Grad-CAM by the keras.io recipe / both of ours",
        "peers",
        least={SMALL: 9, MOBILE: 9, RESNET: 5},
        with_peers=True,
    ),
    Row("tf-keras-vis", "tf-keras-vis, not drawn / ours", "peers", least=_all(1), with_peers=True),
    Row("xplique", "xplique, not drawn / ours", "peers", least=_all(1), with_peers=True),
    Row("wall", "20 epochs with the callback / without", "training", (SMALL,), {SMALL: 1.05}),
    Row("first", "before the first batch / first training step", "first", most=_all(1.5)),
    Row("traces", "traces after the first epoch", "traces", (SMALL,), {SMALL: 0}),
    Row("linear", "256 probes / 16 times 16 probes, time", "probes", (SMALL, MOBILE), _all(1.05)),
    Row("peak", "256 probes / 16 probes, peak memory", "peak", (SMALL, MOBILE), _all(1.10)),
    Row("resident", "memory after epoch 300 / epoch 20", "resident", (SMALL,), {SMALL: 1.03}),
    Row(
        "gpu-limit",
        "GPU: thread held / one compiled pass",
        "held",
        ON_GPU,
        most=_all(1.10, ON_GPU),
        on_gpu=True,
    ),
    Row(
        "gpu-step",
        "GPU: thread held / training step",
        "held",
        ON_GPU,
        most=_all(0.55, _LARGE_ON_GPU),
        on_gpu=True,
    ),
    Row(
        "gpu-seven",
        "GPU: held by seven methods / one compiled pass",
        "held",
        ON_GPU,
        most=_all(1.25, ON_GPU),
        on_gpu=True,
    ),
    Row(
        "gpu-copies",
        "GPU: copies to the host a look, two methods",
        "copies",
        ON_GPU,
        most=_all(2, ON_GPU),
        on_gpu=True,
    ),
)
