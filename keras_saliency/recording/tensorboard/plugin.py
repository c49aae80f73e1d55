"""The Saliency tab: what TensorBoard's server answers to it.

TensorBoard imports this module whenever it starts, and an exception here would end it. So this
module needs nothing but the standard library, TensorBoard and what TensorBoard itself requires, and
trusts nothing that stands in an event file: a name is a text, and what can't be read is left out.
"""

import argparse
import contextlib
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.data import provider
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from keras_saliency.recording.guidance import actions, explain_cause, guidance
from keras_saliency.recording.tensorboard import PLUGIN_NAME
from keras_saliency.recording.tensorboard.plugin_schema import (
    MAPS,
    PROBES,
    VERDICT,
    VERDICT_GROUP,
    Data,
    decoded,
    image_type,
    maps_shown,
    moment,
)

_STATIC = Path(__file__).parent / "static"
_STATIC_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

_IMAGES = "images"  # the plugin of TensorBoard's Images tab
_KEPT_STEPS = 1000  # of a tag; TensorBoard keeps ten of what it doesn't know
_ALL = 10**6  # steps: which of them are kept is decided when they are loaded
_MOST_BLOBS = 10**4  # in one step: a broken length must not be taken for a number of blobs
_AT_ONCE = 8  # blobs to read: one after the other, the fast loader waits 40 ms before each
_DAY_S = 86_400

# What a data provider raises on a key that nobody gave out, or on a broken tensor.
_UNREADABLE = (errors.PublicError, grpc.RpcError, LookupError, TypeError, ValueError)

Answer = Callable[["_Query"], wrappers.Response]
Sequences = dict[str, dict[str, list[provider.BlobSequenceDatum]]]


class SaliencyLoader(base_plugin.TBLoader):
    """What the entry point names; TensorBoard constructs it on every start."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Keep more than ten steps of our tags, unless the user asks for another number.

        Args:
            flags: TensorBoard's flags.
        """
        samples = getattr(flags, "samples_per_plugin", None)
        if isinstance(samples, dict):
            samples.setdefault(PLUGIN_NAME, _KEPT_STEPS)

    def load(self, context: base_plugin.TBContext) -> "SaliencyPlugin | None":
        """Make the plugin.

        Args:
            context: What TensorBoard hands to plugins.

        Returns:
            The plugin, or `None` where TensorBoard can't read data for it.
        """
        return None if context.data_provider is None else SaliencyPlugin(context)


class SaliencyPlugin(base_plugin.TBPlugin):
    """The routes of the Saliency tab, below `/data/plugin/keras_saliency/`.

    Args:
        context: What TensorBoard hands to plugins, with a data provider.
    """

    plugin_name = PLUGIN_NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._provider = context.data_provider

    def is_active(self) -> bool:
        """Leave it to TensorBoard, which shows the tab where there is data for it."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Name the tab and its page."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="Saliency")

    def get_plugin_apps(self) -> dict[str, Any]:
        """Return a WSGI application for each route."""
        answers: dict[str, Answer] = {
            "/runs": _answer_runs,
            "/probes": _answer_probes,
            "/maps": _answer_maps,
            "/verdicts": _answer_verdicts,
            "/blob": _answer_blob,
            "/guidance": _answer_guidance,
        }
        apps = {route: self._app(answer) for route, answer in answers.items()}
        names = {path.name for path in _STATIC.glob("*") if path.suffix in _STATIC_TYPES}
        # Only these names are served, so that no path of a request ever reaches the disk.
        return apps | {f"/{name}": _static_app(name) for name in names | {"index.js"}}

    def _app(self, answer: Answer) -> Any:
        @wrappers.Request.application
        def app(request: wrappers.Request) -> wrappers.Response:
            return answer(_Query(request, self._provider))

        return app


class _Query:
    """A request, and what can be read for it."""

    def __init__(self, request: wrappers.Request, data_provider: provider.DataProvider) -> None:
        self.request = request
        self._provider = data_provider
        self._context = plugin_util.context(request.environ)
        self._experiment = plugin_util.experiment_id(request.environ)

    def parameter(self, name: str) -> str:
        """Return a parameter of the address, which must be there."""
        value = self.request.args.get(name, "")
        if not value:
            raise errors.InvalidArgumentError(
                f"{self.request.path} needs the parameter {name!r}; add {name}=... to the address."
            )
        return value

    def sequences(
        self, run: str | None = None, tag: str | None = None, plugin: str = PLUGIN_NAME
    ) -> Sequences:
        """Return by run and tag what was written for a plugin, in the order of steps."""
        ours = {"experiment_id": self._experiment, "plugin_name": plugin}
        chosen = provider.RunTagFilter(runs=run and [run], tags=tag and [tag])
        listed = self._provider.list_blob_sequences(self._context, run_tag_filter=chosen, **ours)
        sound = [
            run
            for run, tags in listed.items()
            if all((series.max_length or 0) <= _MOST_BLOBS for series in tags.values())
        ]
        if not sound:  # no names at all would stand for every run
            return {}
        chosen = provider.RunTagFilter(runs=sound, tags=tag and [tag])
        return self._provider.read_blob_sequences(
            self._context, run_tag_filter=chosen, downsample=_ALL, **ours
        )

    def steps(self, run: str, tag: str) -> list[provider.BlobSequenceDatum]:
        """Return what was written of one tag, of which there must be something."""
        steps = self.sequences(run, tag).get(run, {}).get(tag)
        if not steps:
            raise errors.NotFoundError(f"the run {run!r} holds nothing called {tag!r}.")
        return steps

    def blob(self, key: str) -> bytes:
        """Return the bytes of a blob, by the key that the data provider gave out."""
        blob = None
        with contextlib.suppress(*_UNREADABLE):
            blob = self._provider.read_blob(self._context, blob_key=key)
        if not isinstance(blob, bytes):
            raise errors.NotFoundError("there is no such blob; take a key from an index.")
        return blob

    def contents(self, datum: provider.BlobSequenceDatum) -> Data | None:
        """Return the JSON of a step, or `None` where it is not of ours."""
        try:
            return decoded(self.blob(datum.values[0].blob_key)) if datum.values else None
        except errors.NotFoundError:
            return None

    def read(
        self, steps: Sequence[provider.BlobSequenceDatum]
    ) -> list[tuple[provider.BlobSequenceDatum, Data]]:
        """Return steps with their JSON, but for those whose JSON is not of ours."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            contents = pool.map(self.contents, steps)
            return [(datum, data) for datum, data in zip(steps, contents, strict=True) if data]

    def answer(self, content: Data) -> wrappers.Response:
        """Answer with JSON, which is never kept: training may be going on."""
        # Respond would search the numbers for NaN, and there is none left.
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        return http_util.Respond(self.request, text, "application/json")


def _answer_runs(query: _Query) -> wrappers.Response:
    """List the runs, and which methods and steps each has."""
    runs = {}
    for run, tags in sorted(query.sequences().items()):
        steps = {tag: [datum.step for datum in data] for tag, data in sorted(tags.items())}
        methods = {tag[len(MAPS) :]: steps[tag] for tag in steps if tag.startswith(MAPS)}
        verdict = steps.get(VERDICT, [])
        if methods or verdict:
            runs[run] = {"methods": methods, "verdict": verdict}
    return query.answer({"runs": runs})


def _answer_probes(query: _Query) -> wrappers.Response:
    """Describe a run's probes."""
    run = query.parameter("run")
    for datum in reversed(query.steps(run, PROBES)):
        data = query.contents(datum)
        if data is None or not isinstance(data.get("names"), list):
            continue
        count, has_masks, keys = len(data["names"]), data.get("masks") is True, _keys(datum)
        if len(keys) == (2 if has_masks else 1) * count:
            masks = keys[count:] if has_masks else None
            return query.answer(data | {"pictures": keys[:count], "mask_pictures": masks})
    raise errors.NotFoundError(f"the probes of the run {run!r} can't be read.")


def _answer_maps(query: _Query) -> wrappers.Response:
    """Describe a method's maps at each step."""
    run, method = query.parameter("run"), query.parameter("method")
    since = _step(query.request.args.get("since"))
    later = [datum for datum in query.steps(run, MAPS + method) if datum.step > since]
    # Only of a run that was resumed there are probes more than once.
    known = query.sequences(run, PROBES).get(run, {}).get(PROBES, [])
    probes = [(datum.step, data) for datum, data in query.read(known if len(known) > 1 else [])]
    read = query.read(later)
    shown = maps_shown(((datum.step, data) for datum, data in read), probes)
    steps = [  # All maps of a step are one image; there may be none.
        data
        | {"step": datum.step, "key": [*_keys(datum), None][0]}
        | {"wall_time": moment(datum.wall_time)}
        for (datum, _), data in zip(read, shown, strict=True)
    ]
    return query.answer({"steps": steps})


def _answer_verdicts(query: _Query) -> wrappers.Response:
    """Describe the verdict at each evaluation."""
    run = query.parameter("run")
    verdicts = query.read(query.steps(run, VERDICT))
    images: dict[str, dict[int, str]] = {}
    for tag in {tag for _, data in verdicts for tag in _sheet_tags(data) if tag}:
        written = query.sequences(run, tag, _IMAGES).get(run, {}).get(tag, [])
        images[tag] = {datum.step: key for datum in written for key in _keys(datum)[-1:]}
    steps = []
    for datum, data in verdicts:
        # Earlier versions wrote the counterfactual images with the verdict.
        found = [images.get(tag, {}).get(datum.step) for tag in _sheet_tags(data)]
        keys: Sequence[str | None] = _keys(datum) or found
        guide = _guide(data)
        steps.append(data | guide | {"step": datum.step, "sheet_keys": keys})
    return query.answer({"steps": steps})


def _guide(data: Data) -> Data:
    """Why the cause of an alarm is named, and what to do; nothing without an alarm."""
    cause, gaps = data.get("cause"), data.get("gaps")
    if data.get("alarm") is not True or not isinstance(cause, str):
        return {"why": None, "actions": []}
    pairs = gaps.items() if isinstance(gaps, dict) else ()
    known = {
        name: pair[0]
        for name, pair in pairs
        if isinstance(pair, list) and pair and isinstance(pair[0], int | float)
    }
    threshold, reliance = (
        value if isinstance(value := data.get(name), int | float) else None
        for name in ("threshold", "reliance")
    )
    todo = actions(cause, known, threshold)
    why = explain_cause(cause, known, reliance)
    return {"why": why, "actions": [action._asdict() for action in todo]}


def _sheet_tags(data: Data) -> list[str]:
    """The tags of a verdict's images; a text without letters in place of what is none."""
    tags = data.get("sheet_tags")
    listed = tags if isinstance(tags, list) else []
    sound = (isinstance(tag, str) and tag.startswith(VERDICT_GROUP) for tag in listed)
    return [tag if is_sound else "" for tag, is_sound in zip(listed, sound, strict=True)]


def _answer_guidance(query: _Query) -> wrappers.Response:
    """Say how maps and verdicts are read, and what the words mean."""
    return query.answer(guidance())


def _answer_blob(query: _Query) -> wrappers.Response:
    """Return an image; nothing else is handed out."""
    blob = query.blob(query.parameter("key").partition(".")[2])
    if (kind := image_type(blob)) is None:
        message = "the key leads to no picture; only pictures are handed out."
        raise errors.InvalidArgumentError(message)
    return http_util.Respond(query.request, blob, kind, expires=_DAY_S)


def _keys(datum: provider.BlobSequenceDatum) -> list[str]:
    """Return the keys of all blobs but the JSON, with the time before each.

    TensorBoard's keys are the same after a training run that was started anew in the same folder.
    So no browser shows an image of the one before.
    """
    time = f"{int(moment(datum.wall_time) * 1000):x}"
    return [f"{time}.{value.blob_key}" for value in datum.values[1:]]


def _step(text: str | None) -> float:
    """Read the step after which steps are requested, by default before all."""
    try:
        return -math.inf if text is None else int(text)
    except ValueError:
        raise errors.InvalidArgumentError(
            "since must be a whole number, the last step that is known; correct the address."
        ) from None


def _static_app(name: str) -> Any:
    """Return the application that serves a file of the page."""

    @wrappers.Request.application
    def app(request: wrappers.Request) -> wrappers.Response:
        path = _STATIC / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise errors.NotFoundError(f"{name} is missing; install the package anew.") from error
        return http_util.Respond(request, content, _STATIC_TYPES[path.suffix])

    return app
