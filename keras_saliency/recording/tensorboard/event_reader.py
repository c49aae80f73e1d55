"""One training run, read from its log folder.

The files may be cut off, broken, or of others: what can't be read is left out, and reported.
"""

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.util import tensor_util

from keras_saliency.recording.remote import is_address, local_copy
from keras_saliency.recording.tensorboard import PLUGIN_NAME
from keras_saliency.recording.tensorboard.plugin_schema import (
    MAPS,
    PROBES,
    VERDICT,
    VERDICT_GROUP,
    Data,
    decoded,
    maps_shown,
    moment,
)
from keras_saliency.recording.tensorboard.tfrecord import records

_KERAS_RUNS = {"train": "training", "validation": "validation"}
_METRIC = re.compile(r"epoch_(?!learning_rate$|shortcut_)(val_)?(\w+)")
_ALWAYS = -math.inf, math.inf
_HUGE = 1e100  # which still has a square
_CANNOT_SAY = "can't say"  # how a verdict begins that is none
_SCORE = "probes/score"  # written at every evaluation
_MAY_RELY = "may rely on"  # and one that waits for the next evaluation


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
        since: The evaluation at which its gap was first above the threshold, or `None`.
        per_class: `{class: gap}` of the cause.
        masks_from: Where the masks are from, or `None`.
        threshold: The gap above which there may be an alarm, or `None`.
        sheets: `{nuisance: its counterfactual images as a JPEG}`.
        components: The places of components that the model relies on, whose images are sheets too.
        examples: `{list: names}` of training images, whose images are sheets too.
    """

    step: int
    when: str
    text: str
    reliance: float | None
    gaps: dict[str, tuple[float, float]]
    alarm: bool
    cause: str | None
    since: str | None
    per_class: dict[str, float]
    masks_from: str | None
    threshold: float | None
    sheets: dict[str, bytes]
    components: tuple[str, ...]
    examples: dict[str, list[str]]

    @property
    def abstains(self) -> bool:
        """Whether it can't say what the model relies on."""
        return self.reliance is None or self.text.startswith(_CANNOT_SAY)

    @property
    def awaits(self) -> bool:
        """Whether a gap is above the threshold for the first time: a second one makes an alarm."""
        return not self.alarm and self.text.startswith(_MAY_RELY)

    @classmethod
    def of(
        cls, entry: Entry, images: Mapping[str, Mapping[int, bytes]] | None = None
    ) -> "Judgement":
        """Read a verdict from a file, whoever wrote it.

        Args:
            entry: The verdict. Earlier versions wrote the counterfactual images with it.
            images: The counterfactual images of its run, by tag and step.

        Returns:
            The verdict.
        """
        data = entry.data
        gaps = _typed(dict, data.get("gaps")) or {}
        per_class = _typed(dict, data.get("per_class")) or {}
        sheets = [str(name) for name in _typed(list, data.get("sheets")) or []]
        components = _typed(dict, data.get("components")) or {}
        examples = _typed(dict, data.get("examples")) or {}
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
            since=_typed(str, data.get("since")),
            per_class={
                name: gap for name, value in per_class.items() if (gap := number(value)) is not None
            },
            masks_from=_typed(str, data.get("masks_from")),
            threshold=number(data.get("threshold")),
            sheets=dict(zip(sheets, entry.images, strict=False))
            or _sheets(entry, sheets, images or {}),
            components=tuple(name for name in components if name in sheets),
            examples={
                kind: [str(pair[0]) for pair in listed if isinstance(pair, list) and pair]
                for kind, listed in examples.items()
                if kind in sheets and isinstance(listed, list)
            },
        )


def _sheets(
    entry: Entry, names: Sequence[str], images: Mapping[str, Mapping[int, bytes]]
) -> dict[str, bytes]:
    """Find the counterfactual images of a verdict by the tags that it names."""
    tags = map(str, _typed(list, entry.data.get("sheet_tags")) or [])
    named = zip(names, tags, strict=False)
    found = {name: images.get(tag, {}).get(entry.step) for name, tag in named}
    return {name: image for name, image in found.items() if image is not None}


@dataclass
class _Events:
    """What the event files of one folder hold that we read, by tag and step."""

    blobs: dict[str, dict[int, Entry]] = field(default_factory=dict)
    images: dict[str, dict[int, bytes]] = field(default_factory=dict)  # of verdicts
    scalars: dict[str, dict[int, float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Training:
    """A training run that `SaliencyCallback` has written; it is read when it is first asked.

    Args:
        folder: The folder of its run.
        name: What to call it.
        started: When it began, in seconds since 1970.
        maps: Whether the maps are read, which are most of the file.

    Example:
        ```python
        training, _ = newest("logs")
        training.verdicts[-1].text
        ```
    """

    def __init__(self, folder: Path, name: str, started: float, *, maps: bool = True) -> None:
        self.folder, self.name = folder, name
        self._started, self._maps = started, maps

    @cached_property
    def _events(self) -> "_Events":
        return _events(self.folder, self._maps)

    @property
    def scalars(self) -> dict[str, dict[int, float]]:
        """The numbers of its run, by tag and step; a number may be NaN."""
        return self._events.scalars

    @property
    def faults(self) -> list[str]:
        """What could not be read, in words."""
        return self._events.faults

    @cached_property
    def probes(self) -> Entry | None:
        """The probes, `None` where there are none that can be read."""
        return next(filter(holds_probes, reversed(self._entries(PROBES))), None)

    @cached_property
    def methods(self) -> dict[str, list[Entry]]:
        """The maps of each method, step by step."""
        tags = sorted(tag for tag in self._events.blobs if tag.startswith(MAPS))
        probes = [(entry.step, entry.data) for entry in self._entries(PROBES)]
        methods = {}
        for tag in tags:
            entries = self._entries(tag)
            shown = maps_shown(((entry.step, entry.data) for entry in entries), probes)
            pairs = zip(entries, shown, strict=True)
            methods[tag.removeprefix(MAPS)] = [replace(entry, data=data) for entry, data in pairs]
        return methods

    @cached_property
    def verdicts(self) -> list[Judgement]:
        """The verdicts, the newest last."""
        return [Judgement.of(entry, self._events.images) for entry in self._entries(VERDICT)]

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
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._started))

    @property
    def span_words(self) -> str:
        """From when to when it was evaluated, in words."""
        whens = list(self.moments.values()) or [verdict.when for verdict in self.verdicts]
        if not whens:
            return "nothing can be read"
        many = f"{len(whens)} evaluations, from {whens[0]} to {whens[-1]}"
        words = many if len(whens) > 1 else f"one evaluation, {whens[0]}"
        # Pictures are left out where drawing can't keep up.
        bare = self.scalars.get(_SCORE, {}).keys() - self.moments if self.moments else ()
        return f"{words} ({len(bare)} more have numbers alone)" if bare else words

    @cached_property
    def curves(self) -> dict[str, dict[str, dict[int, float]]]:
        """Loss and metrics: `{metric: {"training" or "validation": {epoch: value}}}`.

        They are Keras's, of the runs beside it, or else the run's own.
        """
        curves: dict[str, dict[str, dict[int, float]]] = {}
        span = self._started, _end(self.folder, self._started)
        for run, part in _KERAS_RUNS.items():
            beside = _events(self.folder.parent / run, maps=False, span=span)
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
    """Find the newest training run of a log folder.

    Args:
        log_dir: The folder that TensorBoard is pointed at, or that of one run in it.
        maps: Whether the maps are read.

    Returns:
        The training run, and the names of the older ones.

    Raises:
        ValueError: If there is no such folder, or no run of ours in it.
    """
    *older, latest = trainings(log_dir, maps=maps)
    return latest, [training.name for training in older]


def trainings(log_dir: str | Path, *, maps: bool = True) -> list[Training]:
    """Find all training runs of a log folder, the newest last.

    Args:
        log_dir: The folder that TensorBoard is pointed at, or that of one run in it, or the address
            of one in remote storage, whose event files are then copied.
        maps: Whether the maps of the newest are read; those of the others are not.

    Returns:
        The training runs. Those of one log folder come in the order of their numbers, `saliency`,
        `saliency_2` and so on; others by the time in the names of their files.

    Raises:
        ValueError: If there is no such folder, or no run of ours in it.
    """
    root = local_copy(str(log_dir)) if is_address(log_dir) else Path(log_dir)
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}. Give the log_dir of a SaliencyCallback.")
    folders = sorted({path.parent for path in root.rglob("*tfevents*") if path.is_file()})
    begun = {folder: at for folder in folders if (at := _beginning(folder)) is not None}
    if not begun:
        raise ValueError(
            f"{root} holds no training that a SaliencyCallback has watched, among {len(folders)} "
            "runs. Give the log_dir of the callback."
        )
    *older, latest = _oldest_first(begun)
    names = {folder: folder.relative_to(root).as_posix() for folder in begun}
    names |= {root: root.resolve().name}
    return [
        Training(folder, names[folder], begun[folder], maps=maps and folder == latest)
        for folder in [*older, latest]
    ]


def last_entries(folder: Path, wanted: Mapping[str, Callable[[Entry], bool]]) -> dict[str, Entry]:
    """Find the last entries of a run, which may be large, in as few of its files as hold them.

    Args:
        folder: The folder of the run.
        wanted: The tags, each with what an entry must be.

    Returns:
        The last such entry of each tag that has one.
    """
    found: dict[str, Entry] = {}
    for path in reversed(_files(folder)):
        missing = wanted.keys() - found.keys()
        for event in _parsed(path, []) if missing else ():
            for value in event.summary.value:
                entry = _entry(value, event.step) if value.tag in missing else None
                if entry is not None and wanted[value.tag](entry):
                    found[value.tag] = entry
    return found


def holds_probes(entry: Entry) -> bool:
    """Whether an entry describes probes, and has an image, and perhaps a mask, of each."""
    names, images_each = entry.data.get("names"), 1 + (entry.data.get("masks") is True)
    return isinstance(names, list) and len(entry.images) == images_each * len(names)


def _oldest_first(folders: Iterable[Path]) -> list[Path]:
    """Order runs so that a clock which is set back changes nothing where they are numbered."""
    series = {folder: _series(folder) for folder in folders}
    last: dict[str, tuple[int, float]] = {}
    for folder, (name, _) in series.items():
        last[name] = max(last.get(name, (0, 0.0)), _last_file(folder))
    return sorted(series, key=lambda folder: (last[series[folder][0]], series[folder]))


def _series(folder: Path) -> tuple[str, int]:
    """The runs that a run is numbered with, and its number; any other folder stands alone."""
    match = re.fullmatch(r"(saliency(?:_batches)?)(?:_([1-9]\d*))?", folder.name)
    return (str(folder.parent / match[1]), int(match[2] or 1)) if match else (str(folder), 1)


def _end(folder: Path, began: float) -> float:
    """When the next of the runs beside it began: until then those of Keras are about this one."""
    stem = re.sub(r"_\d+$", "", folder.name)
    others = (path for path in folder.parent.glob(f"{stem}*") if path != folder and path.is_dir())
    later = [at for other in others if (at := _beginning(other)) is not None and at > began]
    return min(later, default=math.inf)


def _files(folder: Path) -> list[Path]:
    """The event files of a run in the order in which TensorBoard reads them."""
    return sorted(path for path in folder.glob("*tfevents*") if path.is_file())


def _last_file(folder: Path) -> tuple[int, float]:
    """What orders runs by their newest file: the time in its name, which outlives a copy."""
    last = _files(folder)[-1]
    stamp = re.search(r"tfevents\.(\d{10,})\.", last.name)
    return (int(stamp[1]) if stamp else 0, last.stat().st_mtime)


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
                    wanted = maps or not value.tag.startswith(MAPS)
                    if wanted and (entry := _entry(value, event.step)) is not None:
                        events.blobs.setdefault(value.tag, {})[event.step] = entry
                elif _is_sheet(value):
                    *_, image = value.tensor.string_val or [b""]
                    events.images.setdefault(value.tag, {})[event.step] = image
                elif (scalar := _scalar(value)) is not None:
                    events.scalars.setdefault(value.tag, {})[event.step] = scalar
    events.scalars = {tag: dict(sorted(steps.items())) for tag, steps in events.scalars.items()}
    return events


def _parsed(path: Path, faults: list[str]) -> Iterator[event_pb2.Event]:
    """The events of a file, as far as they can be read; those that hold what we read are sound."""
    try:
        for record in records(path):
            event = event_pb2.Event.FromString(record.data)
            read = any(map(_is_read, event.summary.value))
            if read and not record.is_sound:
                raise ValueError("a checksum is wrong")
            yield event
    except (OSError, ValueError, DecodeError) as error:
        faults.append(f"{path.name} can't be read to its end: {error}")


def _drop_rewritten(events: _Events, event: event_pb2.Event) -> None:
    """Drop what comes from this step on: a run that was continued has written it anew."""
    if event.session_log.status == event_pb2.SessionLog.START:
        known: list[dict[int, Any]] = [
            *events.blobs.values(),
            *events.images.values(),
            *events.scalars.values(),
        ]
        for steps in known:
            for step in [step for step in steps if step >= event.step]:
                del steps[step]


def _is_ours(value: summary_pb2.Summary.Value) -> bool:
    return value.metadata.plugin_data.plugin_name == PLUGIN_NAME


def _is_sheet(value: summary_pb2.Summary.Value) -> bool:
    is_image = value.metadata.plugin_data.plugin_name == "images"
    return is_image and value.tag.startswith(VERDICT_GROUP)


def _is_read(value: summary_pb2.Summary.Value) -> bool:
    return _is_ours(value) or _is_sheet(value) or _may_be_scalar(value)


def _may_be_scalar(value: summary_pb2.Summary.Value) -> bool:
    return value.HasField("simple_value") or (
        value.HasField("tensor") and value.metadata.plugin_data.plugin_name in ("scalars", "")
    )


def _entry(value: summary_pb2.Summary.Value, step: int) -> Entry | None:
    """What a value of ours holds, `None` of any other."""
    first, *images = (value.tensor.string_val if _is_ours(value) else None) or [b""]
    data = decoded(first)
    return None if data is None else Entry(step, data, tuple(images))


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
