"""The verdict and the measurements behind it, as parts of a page."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_saliency.recording.guidance import LISTS, actions, explain_cause
from keras_saliency.recording.report.html import Child, Element, figure, node, row
from keras_saliency.recording.snapshot import at_step
from keras_saliency.recording.tensorboard.event_reader import Entry, Judgement, Training, number
from keras_saliency.recording.tensorboard.plugin_schema import image_type

_NONE = (
    "No verdict: the callback was given no training data to swap things with (shortcuts=), so "
    "nothing is known of what the model relies on."
)
_GAP = (
    "The gap is the probability of the right class that is lost when one property (the background, "
    "the colour cast ...) comes from an image of another class rather than of the same class: 0 "
    "means that the model does not use it, 1 that it follows nothing else. ± is one standard "
    "error; between the two numbers behind it lies the reliance in unseen images, in about nine of "
    "ten cases. Of a regression (carry) it is the share of the difference of two labels by which "
    "the prediction moves with the property."
)
_COUNTERFACTUALS = (
    "Some of the images behind the gaps: the original, and the same image with the background (or "
    "what else is swapped) from an image of the same class, and from one of another class. p is "
    "the probability of the right class: where it falls in the last column alone, the model "
    "relies on what was swapped. Of a regression the two are images of a low and of a high label, "
    "with the prediction below."
)
_COMPONENTS = (
    "What feeds the score of a class most in this place, in the images where it is strongest, "
    "eight of each class. The model follows it: the right class loses probability where this "
    "comes from an image of another class."
)
_EXAMPLES = (
    "Those training images that the model is surest of teach it the shortcut; those whose label "
    "gets the least probability contradict the shortcut. More of the latter are what is missing."
)
_MARKS = {
    "true": "! Alarm",
    "maybe": "! No alarm yet",
    "false": "✓ No alarm",
    "none": "? Nothing can be said",
}


def verdicts(trainings: Mapping[str, Training]) -> Element:
    """Show the last verdict of each training run."""
    return node("div", *itertools.starmap(_card, _titled(trainings)), class_="beside")


def _last(trainings: Mapping[str, Training]) -> list[Judgement | None]:
    """The last verdict of each training run."""
    return [run.verdicts[-1] if run.verdicts else None for run in trainings.values()]


def _titled(trainings: Mapping[str, Training]) -> list[tuple[str | None, Judgement | None]]:
    """The last verdicts, with the names of their training runs where there are two."""
    names = trainings if len(trainings) > 1 else [None]
    return list(zip(names, _last(trainings), strict=True))


def _card(title: str | None, last: Judgement | None) -> Element:
    named = None if title is None else node("h3", title)
    if last is None:
        return node("div", named, node("p", _NONE), class_="card", data_alarm="none")
    alarm = _alarm_of(last)
    text = in_words(last.text)
    return node(
        "div",
        named,
        node("p", *_marked(alarm), class_="kicker"),
        node("p", f"{text[:1].upper()}{text[1:]}.", class_="headline"),
        node("p", f"At {at_step(last.when, last.step)}. {_by_class(last)}", class_="note"),
        *_next(last),
        class_="card",
        data_alarm=alarm,
    )


def _next(last: Judgement) -> Iterable[Child]:
    """Say why this cause is named, and what to do about it."""
    if not last.alarm or last.cause is None:
        return
    gaps = {name: gap for name, (gap, _) in last.gaps.items()}
    why = explain_cause(last.cause, gaps, last.reliance)
    yield None if why is None else node("p", why)
    todo = (
        node("li", node("a", words, href=link), ".")
        for words, link in actions(last.cause, gaps, last.threshold)
    )
    yield node("h3", "What to do next")
    yield node("ul", *todo)


def _alarm_of(last: Judgement) -> str:
    if last.awaits:
        return "maybe"
    return "none" if last.abstains else str(last.alarm).lower()


def _marked(alarm: str) -> tuple[Element, str]:
    mark, word = _MARKS[alarm].split(maxsplit=1)
    return node("span", mark, class_="mark", aria_hidden="true", data_alarm=alarm), word


def listed(trainings: Sequence[Training]) -> Element:
    """List the last verdicts of training runs, the newest first, each in one row."""
    rows = []
    for training in reversed(trainings):
        last = training.verdicts[-1] if training.verdicts else None
        words = "no verdict" if last is None else f"at {last.when} {in_words(last.text)}"
        state = "none" if last is None else _alarm_of(last)
        shown = node("td", node("span", *_marked(state), class_="kicker"))
        rows.append(row(training.name, training.began, shown, words))
    return node("table", node("tbody", *rows), class_="runs")


def _by_class(last: Judgement) -> str:
    gaps = [f"{name} {_two(gap)}" for name, gap in last.per_class.items()]
    words = f"Gap of the {last.cause} by class: {', '.join(gaps)}."
    return words if last.alarm and last.cause and len(gaps) > 1 else ""


def in_words(text: str) -> str:
    """Write the text of a verdict as it is printed."""
    return text.replace("+-", "±").rstrip(".")


def differences(trainings: Mapping[str, Training]) -> Element | None:
    """Compare the gaps of two training runs."""
    if len(trainings) != 2:
        return None
    first, second = _last(trainings)
    unknown = [str(name) for name, last in _titled(trainings) if last is None or last.abstains]
    if first is None or second is None:
        words = f"The two can’t be compared: {' and '.join(unknown)} has no verdict."
        return node("section", node("h2", "The difference"), node("p", words, class_="headline"))
    rows = []
    for name in dict.fromkeys([*first.gaps, *second.gaps]):
        before, after = first.gaps.get(name), second.gaps.get(name)
        change = before and after and (after[0] - before[0], math.hypot(before[1], after[1]))
        rows.append(row(name, _pair(before), _pair(after), _pair(change, signed=True)))
    words = _change(first, second)
    if unknown:
        words = f"The two can’t be compared, as of {' and '.join(unknown)} nothing can be said."
    heads = ["what is swapped", *(f"gap of {name}" for name in trainings), "difference"]
    head = node("tr", *(node("th", title, scope="col") for title in heads))
    table = node("table", node("thead", head), node("tbody", *rows), class_="numbers")
    return node("section", node("h2", "The difference"), node("p", words, class_="headline"), table)


def _change(first: Judgement, second: Judgement) -> str:
    before, after = _two(first.reliance or 0.0), _two(second.reliance or 0.0)
    if before == after:
        return f"The largest gap is {before} in both."
    moves = "falls" if float(second.reliance or 0) < float(first.reliance or 0) else "rises"
    return f"The largest gap {moves} from {before} to {after}."


def gaps(trainings: Mapping[str, Training]) -> Iterable[Child]:
    """Show the gaps: the last ones as bars, all of them in a chart that a script draws."""
    yield node("p", _GAP, class_="note")
    columns = []
    for i, (name, last) in enumerate(_titled(trainings)):
        bars = None if last is None else _bars(last)
        chart = node("div", id=f"gaps-{i}", class_="plots")
        if name is None:
            columns += [node("div", bars), chart]
        else:
            columns.append(node("div", node("h3", name), bars, chart))
    yield node("div", *columns, class_="beside")


def _bars(last: Judgement) -> Element:
    rows = [
        row(name, node("td", _bar(pair[0], last.threshold), class_="bar-cell"), _pair(pair))
        for name, pair in sorted(last.gaps.items(), key=lambda item: -item[1][0])
    ]
    words = f"Gaps at {last.when}"
    if last.threshold is not None:
        words += f"; the line is the threshold of the alarm, {last.threshold:g}"
    return node("table", node("caption", words), node("tbody", *rows), class_="numbers bars")


def _bar(gap: float, threshold: float | None) -> Element:
    above = threshold is not None and gap > threshold
    width = round(100 * min(max(gap, 0.0), 1.0), 1)
    parts = [node("rect", width=str(width), height="10", class_="above" if above else "below")]
    if threshold is not None:
        x = str(round(100 * threshold, 1))
        parts.append(node("line", x1=x, x2=x, y1="0", y2="10"))
    box = {"viewBox": "0 0 100 10", "preserveAspectRatio": "none"}
    return node("svg", *parts, aria_hidden="true", **box)


def counterfactuals(trainings: Mapping[str, Training]) -> Iterable[Child]:
    """Show the counterfactual images of the last verdicts, on which gaps are measured."""
    yield node("p", _COUNTERFACTUALS, class_="note")
    verdicts = [last for last in _last(trainings) if last is not None]
    places = dict.fromkeys(place for last in verdicts for place in last.components)
    if places:
        yield node("p", _COMPONENTS, class_="note")
        yield _sheets(trainings, places)
    first = dict.fromkeys(name for last in verdicts for name in _order(last)[: _leading(last)])
    rest = dict.fromkeys(name for last in verdicts for name in _order(last) if name not in first)
    yield _sheets(trainings, first)
    if rest:
        title = node("summary", f"Counterfactual images of what has a small gap: {', '.join(rest)}")
        yield node("details", title, _sheets(trainings, rest))
    if lists := dict.fromkeys(kind for last in verdicts for kind in last.examples):
        yield node("p", _EXAMPLES, class_="note")
        yield _sheets(trainings, lists)


def _leading(last: Judgement) -> int:
    """The number of nuisances that are shown at once: those above the threshold, and the first."""
    threshold = math.inf if last.threshold is None else last.threshold
    return max(1, sum(gap > threshold for gap, _ in last.gaps.values()))


def _sheets(trainings: Mapping[str, Training], nuisances: Iterable[str]) -> Element:
    titled = _titled(trainings)
    rows = [[_sheet(last, nuisance, name) for name, last in titled] for nuisance in nuisances]
    if len(trainings) > 1:
        return node("div", *(node("div", *row, class_="beside") for row in rows), class_="twins")
    return node("div", *(figure for row in rows for figure in row), class_="twins")


def _order(last: Judgement) -> list[str]:
    """The nuisances with images: the cause first, then by their gaps."""
    gap = {name: pair[0] for name, pair in last.gaps.items()}
    names = [name for name in last.sheets if name not in (*last.components, *last.examples)]
    return sorted(names, key=lambda name: (name != last.cause, -gap.get(name, -1.0)))


def _sheet(last: Judgement | None, nuisance: str, name: str | None) -> Element:
    blob = b"" if last is None else last.sheets.get(nuisance, b"")
    if last is None or (kind := image_type(blob)) is None:
        return node("p", f"{name}: {nuisance} was not tested." if name else "", class_="note")
    if nuisance in last.components:
        words = f"{f'{name}: ' if name else ''}relies on something {nuisance}, at {last.when}"
        return figure(blob, kind, f"Images with the place in colour: {words}", words)
    if nuisance in last.examples:
        words = f"{f'{name}: ' if name else ''}{LISTS.get(nuisance, nuisance)}, at {last.when}"
        return figure(blob, kind, f"{words}: {', '.join(last.examples[nuisance])}", words)
    gap = f", gap {_pair(last.gaps[nuisance])}" if nuisance in last.gaps else ""
    words = f"{f'{name}: ' if name else ''}{nuisance} swapped{gap}, at {last.when}"
    alt = f"Original and counterfactual images with what the model says of them: {words}"
    return figure(blob, kind, alt, words)


def caption(entry: Entry, probe: int) -> str:
    """Caption a probe with the model's prediction and the localization of its map."""
    words = f"predicted {_at(entry, 'predicted', probe) or 'nothing'}"
    sure, focus = (number(_at(entry, name, probe)) for name in ("confidence", "focus"))
    if sure is not None:
        words += f", {_percent(sure)}"
    if focus is not None:
        words += f"; focus {focus:.3g} × chance"
    check = _at(entry, "check", probe)
    return f"{words}; {check}" if check else words


def is_chance(entry: Entry, probe: int) -> bool:
    """Whether a map was found to mark nothing that the model needs more than chance."""
    return _at(entry, "is_chance", probe) is True


def _at(entry: Entry, quantity: str, probe: int) -> Any:
    values = entry.data.get(quantity)
    return values[probe] if isinstance(values, list) and probe < len(values) else None


def _percent(share: float) -> str:
    """A share in per cent, never 100 of what is less."""
    return "> 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def _pair(pair: tuple[float, float] | None, *, signed: bool = False) -> str:
    """A gap with its error."""
    if pair is None:
        return "not tested"
    plus = "+" if signed and pair[0] > 0 else ""
    return f"{plus}{_two(pair[0])} ± {_two(pair[1])}"


def _two(value: float) -> str:
    return f"{value:z.2f}".replace("-", "−")
