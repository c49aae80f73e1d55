"""The charts of a page as data, which its script draws."""

import math
from collections.abc import Mapping
from typing import Any

from keras_saliency.recording.tensorboard.event_reader import Training

Chart = dict[str, Any]

_FIRST = ("loss", "accuracy")
# "held" are values that the scale holds; "own" are steps that are not those of the slider.
_OPTIONS: Chart = {"held": [], "threshold": None, "chance": False, "own": False}


def charts(trainings: Mapping[str, Training]) -> dict[str, list[Chart]]:
    """Lay out all charts.

    Args:
        trainings: One or two training runs, by name.

    Returns:
        `{id of an element: its charts}`.
    """
    gaps = {f"gaps-{i}": _gaps(run, trainings) for i, run in enumerate(trainings.values())}
    drawn = {element: [chart] for element, chart in gaps.items() if chart["lines"]}
    return drawn | {"curves": [*_curves(trainings), *_of_maps(trainings)]}


def _gaps(training: Training, trainings: Mapping[str, Training]) -> Chart:
    """The gaps of one training run, on a scale that all share."""
    verdicts = training.verdicts
    names = dict.fromkeys(name for verdict in verdicts for name in verdict.gaps)
    lines = [
        {"name": name, "points": [[v.step, *v.gaps.get(name, (None,))] for v in verdicts]}
        for name in names
    ]
    runs = trainings.values()
    values = [gap for run in runs for v in run.verdicts for gap, _ in v.gaps.values()]
    held = [0, *([min(values), max(values)] if values else [])]
    threshold = verdicts[-1].threshold if verdicts else None
    title, whens = (
        "Gap: probability lost when a thing is swapped",
        {v.step: v.when for v in verdicts},
    )
    # Earlier versions counted the verdicts of a run of batches by epochs.
    own = not training.counts_epochs and any(v.when == f"epoch {v.step + 1}" for v in verdicts)
    return _chart(title, lines, whens, held=held, threshold=threshold, own=own)


def _curves(trainings: Mapping[str, Training]) -> list[Chart]:
    metrics = dict.fromkeys(name for run in trainings.values() for name in run.curves)
    ordered = sorted(metrics, key=lambda name: (_FIRST.index(name) if name in _FIRST else 9, name))
    by_epochs = all(training.counts_epochs for training in trainings.values())
    drawn = []
    for metric in ordered:
        parts = {
            _named(trainings, run, part): steps
            for run, training in trainings.items()
            for part, steps in training.curves.get(metric, {}).items()
        }
        lines = [{"name": name, "points": _points(steps)} for name, steps in parts.items()]
        whens = {step: f"epoch {step + 1}" for steps in parts.values() for step in steps}
        drawn.append(_chart(metric.replace("_", " ").capitalize(), lines, whens, own=not by_epochs))
    return drawn


def _of_maps(trainings: Mapping[str, Training]) -> list[Chart]:
    """The mean localization, and the mean probability of the probes' classes."""
    whens = {
        entry.step: entry.when
        for training in trainings.values()
        for steps in training.methods.values()
        for entry in steps
    }
    groups: dict[str, tuple[str, dict[str, Any]]] = {
        "Mean focus on the object, × chance": ("focus/", {"held": [0], "chance": True}),
        "Mean probability of the probes’ classes": ("probes/probability", {"held": [0, 1]}),
    }
    drawn = []
    for title, (tag, options) in groups.items():
        lines = [
            {"name": _named(trainings, run, name[len(tag) :]), "points": _points(steps)}
            for run, training in trainings.items()
            for name, steps in training.scalars.items()
            if name.startswith(tag)
        ]
        if lines:
            drawn.append(_chart(title, lines, whens, **options))
    return drawn


def _named(trainings: Mapping[str, Training], run: str, part: str) -> str:
    """Name a line by its part, and by its run where there are two."""
    return " ".join(filter(None, [run if len(trainings) > 1 else "", part]))


def _points(steps: Mapping[int, float]) -> list[list[float | None]]:
    return [[step, value if math.isfinite(value) else None] for step, value in steps.items()]


def _chart(title: str, lines: list[dict[str, Any]], whens: dict[int, str], **options: Any) -> Chart:
    return {"title": title, "lines": lines, "whens": whens, **_OPTIONS, **options}
