"""The Saliency tab: what TensorBoard's server answers to it.

TensorBoard imports this module whenever it starts, and an exception here would end it. So this
module needs nothing but the standard library, TensorBoard and what TensorBoard itself requires, and
trusts nothing that stands in an event file: a name is a text, and what can't be read is left out.
"""

from __future__ import annotations

import argparse
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

from keras_saliency.recording.tensorboard import PLUGIN_NAME
from keras_saliency.recording.tensorboard.plugin_schema import (
    MAPS,
    PROBES,
    VERDICT,
    Data,
    decoded,
    image_type,
)

_STATIC = Path(__file__).parent / "static"
_STATIC_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

_KEPT_STEPS = 1000  # of a tag; TensorBoard keeps ten of what it doesn't know
_ALL = 10**6  # steps: which of them are kept is settled when they are loaded
_MOST_BLOBS = 10**4  # in one step: a broken length must not be taken for a number of blobs
_AT_ONCE = 8  # blobs to read: one after the other, the fast loader waits 40 ms before each
_DAY_S = 86_400

# What a data provider raises on a key that nobody gave out, or on a broken tensor.
_UNREADABLE = (errors.PublicError, grpc.RpcError, LookupError, TypeError, ValueError)

Answer = Callable[["_Asked"], wrappers.Response]
Sequences = dict[str, dict[str, list[provider.BlobSequenceDatum]]]


class SaliencyLoader(base_plugin.TBLoader):
    """What the entry point names; TensorBoard makes it on every start."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Keep more than ten steps of our tags, unless the user asks for another number.

        Args:
            flags: TensorBoard's flags.
        """
        samples = getattr(flags, "samples_per_plugin", None)
        if isinstance(samples, dict):
            samples.setdefault(PLUGIN_NAME, _KEPT_STEPS)

    def load(self, context: base_plugin.TBContext) -> SaliencyPlugin | None:
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
        }
        apps = {route: self._app(answer) for route, answer in answers.items()}
        names = {path.name for path in _STATIC.glob("*") if path.suffix in _STATIC_TYPES}
        # Only these names are served, so that no path of a request ever reaches the disk.
        return apps | {f"/{name}": _static_app(name) for name in names | {"index.js"}}

    def _app(self, answer: Answer) -> Any:
        @wrappers.Request.application
        def app(request: wrappers.Request) -> wrappers.Response:
            return answer(_Asked(request, self._provider))

        return app


class _Asked:
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

    def sequences(self, run: str | None = None, tag: str | None = None) -> Sequences:
        """Return by run and tag what was written, in the order of steps."""
        asked = {"experiment_id": self._experiment, "plugin_name": PLUGIN_NAME}
        wanted = provider.RunTagFilter(runs=_only(run), tags=_only(tag))
        listed = self._provider.list_blob_sequences(self._context, run_tag_filter=wanted, **asked)
        sound = [
            run
            for run, tags in listed.items()
            if all((series.max_length or 0) <= _MOST_BLOBS for series in tags.values())
        ]
        if not sound:  # no names at all would stand for every run
            return {}
        wanted = provider.RunTagFilter(runs=sound, tags=_only(tag))
        return self._provider.read_blob_sequences(
            self._context, run_tag_filter=wanted, downsample=_ALL, **asked
        )

    def steps(self, run: str, tag: str) -> list[provider.BlobSequenceDatum]:
        """Return what was written of one tag, of which there must be something."""
        found = self.sequences(run, tag).get(run, {}).get(tag)
        if not found:
            raise errors.NotFoundError(f"the run {run!r} holds nothing called {tag!r}.")
        return found

    def blob(self, key: str) -> bytes:
        """Return the bytes of a blob, by the key that the data provider gave out."""
        try:
            blob = self._provider.read_blob(self._context, blob_key=key)
        except _UNREADABLE as error:
            raise errors.NotFoundError(
                "there is no such blob; take a key from an index."
            ) from error
        if not isinstance(blob, bytes):
            raise errors.NotFoundError("what the key leads to is no blob; take one from an index.")
        return blob

    def contents(self, datum: provider.BlobSequenceDatum) -> Data | None:
        """Return the JSON of a step, or `None` where it is not of ours."""
        if not datum.values:
            return None
        try:
            return decoded(self.blob(datum.values[0].blob_key))
        except errors.NotFoundError:
            return None

    def read(
        self, data: Sequence[provider.BlobSequenceDatum]
    ) -> list[tuple[provider.BlobSequenceDatum, Data]]:
        """Return steps with their JSON, but for those whose JSON is not of ours."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(self.contents, data)
            return [(datum, said) for datum, said in zip(data, found, strict=True) if said]

    def answered(self, content: Data) -> wrappers.Response:
        """Answer with JSON, which is never kept: a training may be going on."""
        # Respond would look at each number for NaN, and there is none left.
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        return http_util.Respond(self.request, text, "application/json")


def _answer_runs(asked: _Asked) -> wrappers.Response:
    """Say which runs there are, and which methods and steps each has."""
    runs = {}
    for run, tags in sorted(asked.sequences().items()):
        steps = {tag: [datum.step for datum in found] for tag, found in sorted(tags.items())}
        methods = {tag[len(MAPS) :]: steps[tag] for tag in steps if tag.startswith(MAPS)}
        verdict = steps.get(VERDICT, [])
        if methods or verdict:
            runs[run] = {"methods": methods, "verdict": verdict}
    return asked.answered({"runs": runs})


def _answer_probes(asked: _Asked) -> wrappers.Response:
    """Say what a run's probes are."""
    run = asked.parameter("run")
    for datum in reversed(asked.steps(run, PROBES)):
        found = asked.contents(datum)
        if found is None or not isinstance(found.get("names"), list):
            continue
        count, has_masks = len(found["names"]), found.get("masks") is True
        keys = _keys(datum)
        if len(keys) == (2 if has_masks else 1) * count:
            masks = keys[count:] if has_masks else None
            return asked.answered(found | {"pictures": keys[:count], "mask_pictures": masks})
    raise errors.NotFoundError(f"the probes of the run {run!r} can't be read.")


def _answer_maps(asked: _Asked) -> wrappers.Response:
    """Say what a method showed at each step."""
    run, method = asked.parameter("run"), asked.parameter("method")
    since = _step(asked.request.args.get("since"))
    later = [datum for datum in asked.steps(run, MAPS + method) if datum.step > since]
    steps = [
        said | {"step": datum.step, "key": _maps_key(datum), "wall_time": datum.wall_time}
        for datum, said in asked.read(later)
    ]
    return asked.answered({"steps": steps})


def _answer_verdicts(asked: _Asked) -> wrappers.Response:
    """Say what was found out about shortcuts at each evaluation."""
    found = asked.steps(asked.parameter("run"), VERDICT)
    steps = [
        said | {"step": datum.step, "sheet_keys": _keys(datum)} for datum, said in asked.read(found)
    ]
    return asked.answered({"steps": steps})


def _answer_blob(asked: _Asked) -> wrappers.Response:
    """Hand out a picture."""
    _, _, key = asked.parameter("key").partition(".")
    blob = asked.blob(key)
    return http_util.Respond(asked.request, blob, _picture_type(blob), expires=_DAY_S)


def _picture_type(blob: bytes) -> str:
    """Return the content type of a picture; nothing else is handed out."""
    if (found := image_type(blob)) is None:
        raise errors.InvalidArgumentError(
            "the key leads to no picture; only pictures are handed out."
        )
    return found


def _keys(datum: provider.BlobSequenceDatum) -> list[str]:
    """Return the keys of all blobs but the JSON."""
    return [_stamped(datum, reference.blob_key) for reference in datum.values[1:]]


def _maps_key(datum: provider.BlobSequenceDatum) -> str | None:
    """Return the key of the one picture that holds all maps of a step, `None` where it has none."""
    return next(iter(_keys(datum)), None)


def _stamped(datum: provider.BlobSequenceDatum, key: str) -> str:
    """Put the time before a key.

    TensorBoard's keys are the same after a training that was started anew in the same folder. So
    no browser shows a picture of the one before.
    """
    return f"{int(datum.wall_time * 1000):x}.{key}"


def _only(name: str | None) -> list[str] | None:
    return None if name is None else [name]


def _step(text: str | None) -> float:
    """Read the step after which steps are asked for, by default before all."""
    if text is None:
        return -math.inf
    try:
        return int(text)
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
