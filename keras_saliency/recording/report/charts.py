"""The lines of the page's charts, which its script draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from keras_saliency.recording.tensorboard.event_reader import Training

Chart = dict[str, Any]

_FIRST = ("loss", "accuracy")


def charts(trainings: Mapping[str, Training]) -> dict[str, list[Chart]]:
    """Lay out all charts, by the id of the element that they stand in.

    Args:
        trainings: One or two, by what to call them.
    """
    gaps = {f"gaps-{i}": [_gaps(one, trainings)] for i, one in enumerate(trainings.values())}
    drawn = {
        place: charts for place, charts in gaps.items() if any(chart["lines"] for chart in charts)
    }
    return drawn | {"curves": [*_curves(trainings), *_of_maps(trainings)]}


def _gaps(training: Training, trainings: Mapping[str, Training]) -> Chart:
    """The gaps of one training, on the scale of all."""
    verdicts = training.verdicts
    names = dict.fromkeys(name for verdict in verdicts for name in verdict.gaps)
    lines = [
        {"name": name, "points": [[v.step, *v.gaps.get(name, (None,))] for v in verdicts]}
        for name in names
    ]
    everywhere = [
        gap for one in trainings.values() for v in one.verdicts for gap, _ in v.gaps.values()
    ]
    held = [0, *([min(everywhere), max(everywhere)] if everywhere else [])]
    threshold = verdicts[-1].threshold if verdicts else None
    title = "Probability lost when a thing is swapped"
    return _chart(title, lines, {v.step: v.when for v in verdicts}, held=held, threshold=threshold)


def _curves(trainings: Mapping[str, Training]) -> list[Chart]:
    metrics = dict.fromkeys(name for one in trainings.values() for name in one.curves)
    ordered = sorted(metrics, key=lambda name: (_FIRST.index(name) if name in _FIRST else 9, name))
    found = []
    for metric in ordered:
        parts = {
            _named(trainings, run, part): steps
            for run, training in trainings.items()
            for part, steps in training.curves.get(metric, {}).items()
        }
        lines = [{"name": name, "points": _points(steps)} for name, steps in parts.items()]
        by_epochs = all(training.counts_epochs for training in trainings.values())
        whens = {step: f"epoch {step + 1}" for steps in parts.values() for step in steps}
        found.append(_chart(metric.replace("_", " ").capitalize(), lines, whens, own=not by_epochs))
    return found


def _of_maps(trainings: Mapping[str, Training]) -> list[Chart]:
    """The mean focus, and what the model makes of the probes."""
    whens = {
        seen.step: seen.when
        for training in trainings.values()
        for steps in training.methods.values()
        for seen in steps
    }
    groups: dict[str, tuple[str, dict[str, Any]]] = {
        "Mean focus on the object, × chance": ("focus/", {"held": [0], "chance": True}),
        "Mean probability of the probes’ classes": ("probes/probability", {"held": [0, 1]}),
    }
    found = []
    for title, (tag, look) in groups.items():
        lines = [
            {"name": _named(trainings, run, name[len(tag) :]), "points": _points(steps)}
            for run, training in trainings.items()
            for name, steps in training.scalars.items()
            if name.startswith(tag)
        ]
        if lines:
            found.append(_chart(title, lines, whens, **look))
    return found


def _named(trainings: Mapping[str, Training], run: str, part: str) -> str:
    """Name a line by what tells it from the others."""
    return " ".join(filter(None, [run if len(trainings) > 1 else "", part]))


def _points(steps: Mapping[int, float]) -> list[list[float | None]]:
    return [[step, value if math.isfinite(value) else None] for step, value in steps.items()]


def _chart(
    title: str,
    lines: list[dict[str, Any]],
    whens: Mapping[int, str],
    *,
    held: list[float] | None = None,
    threshold: float | None = None,
    chance: bool = False,
    own: bool = False,
) -> Chart:
    return {
        "title": title,
        "lines": lines,
        "whens": whens,
        "held": held or [],
        "threshold": threshold,
        "chance": chance,
        "own": own,  # steps, which are not those of the slider
    }
