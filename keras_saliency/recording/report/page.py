"""The page of one training run, or of two side by side: one file with everything in it."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from keras_saliency.recording.guidance import guidance
from keras_saliency.recording.report import charts, images, verdict
from keras_saliency.recording.report.html import (
    Child,
    Element,
    document,
    figure,
    node,
    row,
    script_data,
)
from keras_saliency.recording.report.metadata import metadata_of, summary_of
from keras_saliency.recording.report.script import bundled
from keras_saliency.recording.tensorboard.event_reader import Training
from keras_saliency.version import __version__

_HERE = Path(__file__).parent
_TAB_STYLE = _HERE.parent / "tensorboard" / "static" / "style.css"

_LIMITS = (
    "An attribution map shows where the model looks, never why. “It looks at the animal” is no "
    "proof that it has learnt the animal.",
    "Such maps miss cues that are used, and blame some that are not (Adebayo et al. 2022). That is "
    "why the verdict rests on counterfactual images and not on maps.",
    "A shortcut that is a place (snow, a watermark) can show in a map; one that is a property (a "
    "tint, a texture) can’t.",
    "The verdict says relies on, not wrongly relies on. Below the threshold it says no evidence "
    "of, never healthy: what was not tested is not known.",
    "Each map has its own scale, up to its own peak, unless you choose a common one. A dead map "
    "means that the method found nothing, not that the model is sound.",
    "The maps before training show what chance looks like: what they hold was not learnt.",
)


def page(
    trainings: Mapping[str, Training],
    *,
    others: Sequence[Training] = (),
    room: int = images.ROOM,
) -> bytes:
    """Make the page of one training run, or of two side by side.

    Args:
        trainings: One or two training runs, by name.
        others: Further training runs of the same log folder, of which the verdicts are listed.
        room: The largest size of the maps in bytes, as base64; where they are larger, some steps
            are left out.

    Returns:
        An HTML file that needs nothing else.

    Example:
        ```python
        training, _ = newest("logs")
        Path("report.html").write_bytes(page({training.name: training}))
        ```
    """
    all_ = list(trainings.values())
    steps, store = images.steps_with_room(all_, room), images.Store()
    responses = images.responses(trainings, steps, store)
    method = _first_method(all_)
    content: dict[str, Any] = {**responses, "link": _link(list(responses["runs"]), method)}
    content |= {"charts": charts.charts(trainings), "pictures": store.listed()}
    content["guidance"] = guidance()
    style, script = _style(), bundled(_HERE / "static" / "report.js")
    title = "What the model relies on: " + " and ".join(trainings)
    body = node(
        "body",
        node("div", *_sections(trainings, others, steps, method), class_="report", role="main"),
        node("script", script_data(content), id="data", type="application/json"),
        node("script", script, type="module"),
    )
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    head = node(
        "head",
        node("meta", charset="utf-8"),
        node("meta", http_equiv="Content-Security-Policy", content=policy),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("meta", name="generator", content=f"keras_saliency {__version__}"),
        node("title", title),
        node("style", style),
    )
    return document(node("html", head, body, lang="en"))


def _sections(
    trainings: Mapping[str, Training],
    others: Sequence[Training],
    steps: Mapping[str, Sequence[int]],
    method: str | None,
) -> Iterable[Child]:
    yield _heading(trainings)
    yield _section("The verdict", verdict.verdicts(trainings))
    if others:
        yield _section("Older training runs in the same folder", verdict.listed(others))
    yield verdict.differences(trainings)
    if any(training.verdicts for training in trainings.values()):
        yield _section("What the verdict rests on", *verdict.gaps(trainings))
        yield _section("See it: counterfactual images", *verdict.counterfactuals(trainings))
    hint = node("p", "The curves are drawn by a script, which does not run here.", class_="still")
    yield _section("Over time", node("div", id="curves", class_="plots"), hint)
    yield _section("Attribution maps", *_maps(trainings, steps, method))
    limits = node("ul", *(node("li", limit) for limit in _LIMITS), class_="limits")
    yield _section("What these maps can’t tell", limits)
    faults = ((name, fault) for name, training in trainings.items() for fault in training.faults)
    notes = (node("p", f"{name}: {fault}.", class_="note") for name, fault in faults)
    yield _section("Settings", _table(trainings), *notes)
    yield node(
        "footer",
        f"Made by keras_saliency {__version__} from the event files alone. This file needs nothing "
        "else, and sends nothing.",
    )


def _heading(trainings: Mapping[str, Training]) -> Element:
    many = len(trainings) > 1
    title = node("h1", "What two models rely on" if many else "What the model relies on")
    named = (
        part
        for name, run in trainings.items()
        for part in (node("p", name, class_="run"), _facts(run))
    )
    return node("header", title, *named)


def _facts(training: Training) -> Element:
    """The facts that a reader wants first: which model, when, how well."""
    facts = summary_of(training).items()
    return node("dl", *(node("div", node("dt", name), node("dd", value)) for name, value in facts))


def _section(title: str, *children: Child) -> Element:
    return node("section", node("h2", title), *children)


def _maps(
    trainings: Mapping[str, Training], steps: Mapping[str, Sequence[int]], method: str | None
) -> Iterable[Child]:
    if fewer := _fewer(trainings, steps):
        words = (
            f"Not all pictures are in this file, as they would make it too large to send: of "
            f"{fewer}, evenly chosen. The curves are of all."
        )
        yield node("p", words, class_="note")
    yield node("div", id="look", class_="app")
    for name, training in trainings.items():
        if method is not None:
            yield _stills(name if len(trainings) > 1 else None, training, method)


def _fewer(trainings: Mapping[str, Training], steps: Mapping[str, Sequence[int]]) -> str:
    """List the methods of which some steps are left out; empty where there are none."""
    parts = []
    for method, chosen in steps.items():
        runs = trainings.values()
        every = {entry.step for run in runs for entry in run.methods.get(method, [])}
        if len(chosen) < len(every):
            parts.append(f"{method} {len(chosen)} of {len(every)} steps")
    return ", ".join(parts)


def _stills(name: str | None, training: Training, method: str) -> Element | None:
    drawn = images.stills(training, method)
    if not drawn or training.probes is None:
        return node("p", "No maps can be read.", class_="note still")
    last, probes = training.methods[method][-1], training.probes
    names = probes.data["names"]
    of = f", {len(drawn)} of {len(names)} pictures" if len(drawn) < len(names) else ""
    title = f"{f'{name}: ' if name else ''}{method} at {last.when}{of}"
    figures = []
    for probe, blob in drawn:
        caption = verdict.caption(last, probe)
        alt = f"{names[probe]}, {method} at {last.when}: {caption}"
        words = node("strong", str(names[probe])), node("br"), caption
        figures.append(figure(blob, "image/jpeg", alt, *words))
    return node("div", node("h3", title), node("div", *figures, class_="stills"), class_="still")


def _table(trainings: Mapping[str, Training]) -> Element:
    columns = list(map(metadata_of, trainings.values()))
    rows = []
    for key in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(key, "–") for column in columns]
        rows.append(row(key, *values, class_="differs" if len(set(values)) > 1 else None))
    head = node("tr", node("td"), *(node("th", name, scope="col") for name in trainings))
    heads = node("thead", head) if len(trainings) > 1 else None
    return node("table", heads, node("tbody", *rows), class_="facts-table")


def _first_method(trainings: Sequence[Training]) -> str | None:
    """Grad-CAM where all have it, else the first method that all have."""
    shared = [m for m in trainings[0].methods if all(m in run.methods for run in trainings)]
    return "grad-cam" if "grad-cam" in shared else next(iter(shared), None)


def _link(runs: Sequence[str], method: str | None) -> str:
    """The first view, in the form of the Saliency tab's links."""
    if not runs or method is None:
        return ""
    view = {"run": runs[0], "method": method}
    if len(runs) > 1:
        view |= {"withRun": runs[1], "withMethod": method}
    parts = (f"&p.keras_saliency.{name}={quote(value, safe='')}" for name, value in view.items())
    return f"#keras_saliency{''.join(parts)}"


def _style() -> str:
    """The tab's style and the page's own; dark where the reader's system is, never on paper."""
    dark = "@media screen and (prefers-color-scheme: dark) {\n:root"
    tab = _TAB_STYLE.read_text(encoding="utf-8")
    before, rule, after = re.split(r"(\.dark \{.*?\})", tab, maxsplit=1, flags=re.DOTALL)
    tab = before + rule.replace(".dark", dark) + "\n}" + after
    return tab + (_HERE / "static" / "report.css").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
