"""The numbers of a snapshot, computed once for all that show them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_saliency.common.arrays import as_array
from keras_saliency.common.types import Array
from keras_saliency.metrics import localization
from keras_saliency.recording.snapshot import Snapshot
from keras_saliency.recording.tensorboard.event_writer import safe_tag
from keras_saliency.recording.tensorboard.plugin_schema import EACH_PROBE

_AT_ONCE = 16
_LONGEST = 1000  # numbers of a vector among the logs that has curves


@dataclass(frozen=True)
class MapMetrics:
    """Where each map of a snapshot lies, and how it changed.

    Attributes:
        localization: Method to float64 `(n,)`, the enrichment of each map on its mask, from 0; 1 is
            chance. NaN without masks.
        similarity: Method to float64 `(n,)` in [-1, 1], how alike each map is to that of the
            snapshot before; NaN where there is none.
    """

    localization: dict[str, Array] = field(default_factory=dict)
    similarity: dict[str, Array] = field(default_factory=dict)


class MapMeasure:
    """Computes the metrics of the maps of snapshot after snapshot.

    Args:
        masks: float `(n, height, width)` in [0, 1] as the user gave them, of signals `(n, time)`,
            of volumes `(n, frames, height, width)`; None for none.
        previous: The maps with which the first ones are compared, by method.

    Example:
        ```python
        measure = MapMeasure(np.array([[[1, 0], [1, 0]]]))
        measure({"cam": np.array([[[3.0, -1.0]]])}).localization["cam"].tolist()  # [1.5]
        ```
    """

    def __init__(self, masks: Array | None, previous: Mapping[str, Array] | None = None) -> None:
        self._masks = masks
        self._previous = dict(previous or {})

    def __call__(self, maps: Mapping[str, Array]) -> MapMetrics:
        """Compute all metrics, and keep the maps for the comparison with the next ones.

        Args:
            maps: Method to raw maps `(n, h, w)`, `(n, time)` or `(n, frames, h, w)`.

        Returns:
            The metrics of each map.
        """
        previous, self._previous = self._previous, dict(maps)
        similarity = {name: _similarity(own, previous.get(name)) for name, own in maps.items()}
        return MapMetrics(self.localization(maps), similarity)

    def localization(self, maps: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the localization alone, which needs no previous maps."""
        return {name: self._enrichment(own) for name, own in maps.items()}

    def _enrichment(self, maps: Array) -> Array:
        if self._masks is None:
            return np.full(len(maps), np.nan)
        masks = self._masks
        if maps.ndim == 4 and masks.shape[1] != maps.shape[1]:
            masks = _averaged_frames(masks, maps.shape[1])
        return _in_parts(localization.enrichment, _flat(maps), _flat(masks))


def check_tags(methods: Iterable[str]) -> None:
    """Refuse methods whose maps or numbers TensorBoard would take for those of others.

    Args:
        methods: Names of methods.

    Raises:
        ValueError: Names that make the same tags.

    Example:
        ```python
        check_tags(["grad_cam", "own_cam"])
        ```
    """
    reserved = ("probes", EACH_PROBE.rstrip("/"), "focus", "similarity")
    groups = dict.fromkeys(reserved, "the probes' numbers")
    for name in methods:
        group, made = safe_tag(name), f"the method {name!r}"
        if group in groups:
            raise ValueError(
                "Methods need names of their own, under which TensorBoard files what is written. "
                f"Received: {made} and {groups[group]}, both filed under {group!r}. Wrap one in a "
                "function of another name."
            )
        groups[group] = made


def scalars(
    snapshot: Snapshot, metrics: MapMetrics, names: Sequence[str], drawn: Sequence[int]
) -> dict[str, float]:
    """List every number of a snapshot by its tag; what is unknown everywhere is left out.

    Args:
        snapshot: The maps and predictions.
        metrics: The metrics of its maps.
        names: For each probe a unique name that is fit for a tag.
        drawn: The probes that get numbers of their own; means are over all.

    Returns:
        Tag to number.
    """
    correct = [float(correct) for correct in snapshot.correct if correct is not None]
    numbers = {
        "probes/score": _mean(snapshot.scores),
        "probes/probability": _mean(snapshot.probability),
        "probes/accuracy": _mean(np.array(correct)),
    }
    per_probe = {"score": snapshot.scores, "probability": snapshot.probability}
    for method, maps in snapshot.maps.items():
        group = safe_tag(method)
        flat = maps.reshape(len(maps), -1)
        peaks = np.maximum(flat.max(axis=1), -flat.min(axis=1))
        finite = peaks[np.isfinite(peaks)]
        numbers[f"{group}/dead"] = 1 - _mean(np.isfinite(peaks) & (peaks > 0))
        numbers[f"{group}/peak"] = float(np.median(finite)) if finite.size else np.nan
        per_probe[f"peak-{group}"] = peaks
    for method, values in metrics.localization.items():
        numbers[f"focus/{safe_tag(method)}"] = _mean(values)
        per_probe[f"focus-{safe_tag(method)}"] = values
    for method, check in snapshot.checks.items():
        numbers[f"faithfulness/{safe_tag(method)}"] = _mean(check.costs - check.by_chance)
    for method, values in metrics.similarity.items():
        numbers[f"similarity/{safe_tag(method)}"] = _mean(values)
    for group, values in per_probe.items():
        numbers |= {f"{EACH_PROBE}{group}/{names[i]}": float(values[i]) for i in drawn}
    known = {tag: value for tag, value in numbers.items() if not np.isnan(value)}
    # A loss that is NaN is shown, as Keras shows it.
    return known | {f"epoch_{key}": float(value) for key, value in snapshot.logs.items()}


def plain_numbers(logs: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """Split logs, which hold whatever metrics and callbacks put there, into plain numbers.

    Args:
        logs: Name to number, array, text or anything else.

    Returns:
        Name to number, in which a vector is `name/0`, `name/1` and so on; and the names of what is
        neither a number nor a vector of at most 1,000 numbers.

    Example:
        ```python
        plain_numbers({"f1": np.array([0.5, 1.0]), "phase": "warm-up"})
        # ({"f1/0": 0.5, "f1/1": 1.0}, ["phase"])
        ```
    """
    numbers: dict[str, float] = {}
    others = []
    for name, value in logs.items():
        if (array := _as_vector(value)) is None:
            others.append(name)
        elif array.ndim == 0:
            numbers[name] = float(array)
        else:
            numbers |= {f"{name}/{i}": float(number) for i, number in enumerate(array)}
    return numbers, others


def _as_vector(value: Any) -> Array | None:
    """Return a number as an array without axes, a vector as it is, and None for anything else."""
    try:
        array = as_array(value, "a log")
    except Exception:  # whatever an object of others raises
        return None
    if array.dtype.kind not in "biufV" or not 0 < array.size <= _LONGEST:  # V is bfloat16
        return None
    array = array.reshape(()) if array.size == 1 else array  # as Keras itself takes it
    return array if array.ndim < 2 else None


def _similarity(maps: Array, previous: Array | None) -> Array:
    if previous is None or previous.shape != maps.shape:
        return np.full(len(maps), np.nan)
    return _in_parts(localization.similarity, _flat(maps), _flat(previous))


def _in_parts(metric: Callable[[Array, Array], Array], maps: Array, others: Array) -> Array:
    """Compute a metric of a few maps at a time: thousands fill memory many times over."""
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(maps), _AT_ONCE)]
    return np.concatenate([metric(maps[few], others[few]) for few in parts])


def _flat(maps: Array) -> Array:
    """Lay maps out as `(n, h, w)`: a signal as one row, a volume's frames below each other."""
    return maps.reshape(len(maps), -1, maps.shape[-1])


def _averaged_frames(masks: Array, frames: int) -> Array:
    """Average the masks of volumes over as many equal spans of time as their maps have frames."""
    count, given, height, width = masks.shape
    fine = masks.repeat(frames, axis=1)  # in which every span is a whole number of frames
    return fine.reshape(count, frames, given, height, width).mean(axis=2)


def _mean(values: Array) -> float:
    """Return the mean of what is not NaN, or NaN where nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
