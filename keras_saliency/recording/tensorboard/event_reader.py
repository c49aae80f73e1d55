"""One training run, read from its log folder.

The files may be cut off, broken, or of others: what can't be read is left out, and reported.
"""

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.util import tensor_util

from keras_saliency.recording.tensorboard import PLUGIN_NAME
from keras_saliency.recording.tensorboard.plugin_schema import (
    MAPS,
    PROBES,
    VERDICT,
    Data,
    decoded,
    moment,
)
from keras_saliency.recording.tensorboard.tfrecord import records

_KERAS_RUNS = {"train": "training", "validation": "validation"}
_METRIC = re.compile(r"epoch_(?!learning_rate$|shortcut_)(val_)?(\w+)")
_ALWAYS = -math.inf, math.inf
_HUGE = 1e100  # which still has a square
_CANNOT_SAY = "can't say"  # how a verdict begins that is none


@dataclass(frozen=True)
class Entry:
    """What one tag holds at one step: the JSON, and the images that come with it."""

    step: int
    data: Data
    images: tuple[bytes, ...] = ()

    @property
    def when(self) -> str:
        """The moment in words."""
        return str(self.data.get("when") or f"step {self.step}")


@dataclass(frozen=True)
class Judgement:
    """A verdict as it was written, with all that a reader relies on.

    Attributes:
        step: When it was given.
        when: The same in words.
        text: The verdict in words.
        reliance: The largest gap, or `None` where there is no verdict.
        gaps: `{nuisance: (gap, standard error)}`.
        alarm: Whether the model relies on a nuisance.
        cause: The nuisance, or `None`.
        per_class: `{class: gap}` of the cause.
        masks_from: Where the masks are from, or `None`.
        threshold: The gap above which there may be an alarm, or `None`.
        sheets: `{nuisance: its counterfactual images as a JPEG}`.
    """

    step: int
    when: str
    text: str
    reliance: float | None
    gaps: dict[str, tuple[float, float]]
    alarm: bool
    cause: str | None
    per_class: dict[str, float]
    masks_from: str | None
    threshold: float | None
    sheets: dict[str, bytes]

    @property
    def abstains(self) -> bool:
        """Whether it can't say what the model relies on."""
        return self.reliance is None or self.text.startswith(_CANNOT_SAY)

    @classmethod
    def of(cls, entry: Entry) -> "Judgement":
        """Read a verdict from a file, whoever wrote it."""
        data = entry.data
        gaps = _typed(dict, data.get("gaps")) or {}
        per_class = _typed(dict, data.get("per_class")) or {}
        sheets = [str(name) for name in _typed(list, data.get("sheets")) or []]
        return cls(
            step=entry.step,
            when=entry.when,
            text=str(data.get("text") or f"{_CANNOT_SAY}: there are no words"),
            reliance=number(data.get("reliance")),
            gaps={
                name: (gap, error)
                for name, pair in gaps.items()
                if isinstance(pair, list) and len(pair) == 2
                if (gap := number(pair[0])) is not None
                if (error := number(pair[1])) is not None
            },
            alarm=data.get("alarm") is True,
            cause=_typed(str, data.get("cause")),
            per_class={
                name: gap for name, value in per_class.items() if (gap := number(value)) is not None
            },
            masks_from=_typed(str, data.get("masks_from")),
            threshold=number(data.get("threshold")),
            sheets=dict(zip(sheets, entry.images, strict=False)),
        )


@dataclass
class _Events:
    """What the event files of one folder hold that we read, by tag and step."""

    blobs: dict[str, dict[int, Entry]] = field(default_factory=dict)
    scalars: dict[str, dict[int, float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Training:
    """A training run that `SaliencyCallback` has written.

    Args:
        folder: The folder of its run.
        name: What to call it.
        started: When it began, in seconds since 1970.
        ended: Until when what others wrote beside it is about it.
        maps: Whether the maps are read, which are most of the file.

    Attributes:
        scalars: The numbers of its run, by tag and step; a number may be NaN.
        faults: What could not be read, in words.

    Example:
        ```python
        training = newest("logs")
        training.verdicts[-1].text
        ```
    """

    def __init__(
        self, folder: Path, name: str, started: float, ended: float = math.inf, *, maps: bool = True
    ) -> None:
        self.folder, self.name = folder, name
        self._span = started, ended
        self._events = _events(folder, maps)
        self.scalars, self.faults = self._events.scalars, self._events.faults

    @cached_property
    def probes(self) -> Entry | None:
        """The probes, `None` where there are none that can be read."""
        for entry in reversed(self._entries(PROBES)):
            names, images_each = entry.data.get("names"), 1 + (entry.data.get("masks") is True)
            if isinstance(names, list) and len(entry.images) == images_each * len(names):
                return entry
        return None

    @cached_property
    def methods(self) -> dict[str, list[Entry]]:
        """The maps of each method, step by step."""
        tags = sorted(tag for tag in self._events.blobs if tag.startswith(MAPS))
        return {tag.removeprefix(MAPS): self._entries(tag) for tag in tags}

    @cached_property
    def verdicts(self) -> list[Judgement]:
        """The verdicts, the newest last."""
        return [Judgement.of(entry) for entry in self._entries(VERDICT)]

    @cached_property
    def moments(self) -> dict[int, str]:
        """Each step at which it was evaluated, in words."""
        moments = {entry.step: entry.when for steps in self.methods.values() for entry in steps}
        return dict(sorted(moments.items()))

    @property
    def counts_epochs(self) -> bool:
        """Whether its steps are epochs and not batches."""
        return not any(when.startswith("batch") for when in self.moments.values())

    @property
    def began(self) -> str:
        """When it began, in words."""
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._span[0]))

    @property
    def span_words(self) -> str:
        """From when to when it was evaluated, in words."""
        whens = list(self.moments.values()) or [verdict.when for verdict in self.verdicts]
        if not whens:
            return "nothing can be read"
        many = f"{len(whens)} evaluations, from {whens[0]} to {whens[-1]}"
        return many if len(whens) > 1 else f"one evaluation, {whens[0]}"

    @cached_property
    def curves(self) -> dict[str, dict[str, dict[int, float]]]:
        """Loss and metrics: `{metric: {"training" or "validation": {epoch: value}}}`.

        They are Keras's, of the runs beside it, or else the run's own.
        """
        curves: dict[str, dict[str, dict[int, float]]] = {}
        for run, part in _KERAS_RUNS.items():
            beside = _events(self.folder.parent / run, maps=False, span=self._span)
            for tag, steps in beside.scalars.items():
                if match := _METRIC.fullmatch(tag):
                    curves.setdefault(match[2], {})[part] = steps
        for tag, own in self.scalars.items():
            if match := _METRIC.fullmatch(tag):
                part = "validation" if match[1] else "training"
                curves.setdefault(match[2], {}).setdefault(part, own)
        return curves

    def _entries(self, tag: str) -> list[Entry]:
        return [entry for _, entry in sorted(self._events.blobs.get(tag, {}).items())]


def newest(log_dir: str | Path, *, maps: bool = True) -> tuple[Training, list[str]]:
    """Read the newest training run of a log folder.

    Args:
        log_dir: The folder that TensorBoard is pointed at, or that of one run in it.
        maps: Whether the maps are read.

    Returns:
        The training run, and the names of the older ones.

    Raises:
        ValueError: If there is no such folder, or no run of ours in it.
    """
    root = Path(log_dir)
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}. Give the log_dir of a SaliencyCallback.")
    folders = sorted({path.parent for path in root.rglob("*tfevents*") if path.is_file()})
    begun = {folder: at for folder in folders if (at := _beginning(folder)) is not None}
    if not begun:
        raise ValueError(
            f"{root} holds no training that a SaliencyCallback has watched, among {len(folders)} "
            "runs. Give the log_dir of the callback."
        )
    *older, latest = sorted(begun, key=lambda folder: (_last_file(folder), str(folder)))
    later = [at for other in _ours_beside(latest) if (at := _beginning(other)) is not None]
    ended = min((at for at in later if at > begun[latest]), default=math.inf)
    names = {folder: folder.relative_to(root).as_posix() for folder in begun}
    name = root.resolve().name if latest == root else names[latest]
    training = Training(latest, name, begun[latest], ended, maps=maps)
    return training, [names[folder] for folder in older]


def _ours_beside(folder: Path) -> list[Path]:
    """Other runs in the same log folder, which the runs of Keras beside it may be about."""
    stem = re.sub(r"_\d+$", "", folder.name)
    return [path for path in folder.parent.glob(f"{stem}*") if path != folder and path.is_dir()]


def _files(folder: Path) -> list[Path]:
    """The event files of a run in the order in which TensorBoard reads them."""
    return sorted(path for path in folder.glob("*tfevents*") if path.is_file())


def _last_file(folder: Path) -> tuple[str, float]:
    """What orders runs by their newest file: the time in its name, which outlives a copy."""
    last = _files(folder)[-1]
    stamp = re.search(r"tfevents\.(\d{10,})\.", last.name)
    return (stamp[1] if stamp else "", last.stat().st_mtime)


def _beginning(folder: Path) -> float | None:
    """When a run of ours began, `None` of any other."""
    began = None
    for path in _files(folder):
        for event in _parsed(path, []):
            began = moment(event.wall_time) if began is None else began
            if any(_is_ours(value) for value in event.summary.value):
                return began
    return None


def _events(folder: Path, maps: bool, span: tuple[float, float] = _ALWAYS) -> _Events:
    """Read the event files of a folder: what was written between two times."""
    events = _Events()
    for path in _files(folder):
        for event in _parsed(path, events.faults):
            if not span[0] <= moment(event.wall_time) < span[1]:
                continue
            if event.HasField("session_log"):
                _drop_rewritten(events, event)
            for value in event.summary.value:
                if _is_ours(value):
                    if maps or not value.tag.startswith(MAPS):
                        _read_blobs(events, value, event.step)
                elif (scalar := _scalar(value)) is not None:
                    events.scalars.setdefault(value.tag, {})[event.step] = scalar
    events.scalars = {tag: dict(sorted(steps.items())) for tag, steps in events.scalars.items()}
    return events


def _parsed(path: Path, faults: list[str]) -> Iterator[event_pb2.Event]:
    """The events of a file, as far as they can be read; those that hold what we read are sound."""
    try:
        for record in records(path):
            event = event_pb2.Event.FromString(record.data)
            read = any(_is_ours(value) or _may_be_scalar(value) for value in event.summary.value)
            if read and not record.is_sound:
                raise ValueError("a checksum is wrong")
            yield event
    except (OSError, ValueError, DecodeError) as error:
        faults.append(f"{path.name} can't be read to its end: {error}")


def _drop_rewritten(events: _Events, event: event_pb2.Event) -> None:
    """Drop what comes from this step on: a run that was continued has written it anew."""
    if event.session_log.status == event_pb2.SessionLog.START:
        known: list[dict[int, Any]] = [*events.blobs.values(), *events.scalars.values()]
        for steps in known:
            for step in [step for step in steps if step >= event.step]:
                del steps[step]


def _is_ours(value: summary_pb2.Summary.Value) -> bool:
    return value.metadata.plugin_data.plugin_name == PLUGIN_NAME


def _may_be_scalar(value: summary_pb2.Summary.Value) -> bool:
    return value.HasField("simple_value") or (
        value.HasField("tensor") and value.metadata.plugin_data.plugin_name in ("scalars", "")
    )


def _read_blobs(events: _Events, value: summary_pb2.Summary.Value, step: int) -> None:
    first, *images = value.tensor.string_val or [b""]
    if (data := decoded(first)) is not None:
        events.blobs.setdefault(value.tag, {})[step] = Entry(step, data, tuple(images))


def _scalar(value: summary_pb2.Summary.Value) -> float | None:
    """A number as TensorFlow 1 or 2 writes it."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if not _may_be_scalar(value) or any(dim.size != 1 for dim in value.tensor.tensor_shape.dim):
        return None
    try:
        return float(tensor_util.make_ndarray(value.tensor).item())
    except (TypeError, ValueError):
        return None


def number(value: Any) -> float | None:
    """Read a number from a file; anything else, or a number too large to square, is `None`."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and -_HUGE < value < _HUGE else None


def _typed(kind: type, value: Any) -> Any:
    return value if isinstance(value, kind) else None
