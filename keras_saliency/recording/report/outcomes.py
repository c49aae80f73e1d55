"""Checks of all training runs in a folder: as lines, as JSON, and as JUnit's XML."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from xml.etree import ElementTree

from keras_saliency.recording.report.check import check
from keras_saliency.recording.tensorboard.event_reader import Judgement, Training

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"
SCHEMA = 1  # of the JSON, raised where a key changes its meaning or goes

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Outcome:
    """The check of one training run.

    Attributes:
        run: The name of its run.
        folder: The folder of its run.
        status: `"passed"`, `"failed"` or `"not judged"`.
        reason: Why, in one line.
        verdict: The newest verdict, or `None`.
    """

    run: str
    folder: str
    status: str
    reason: str
    verdict: Judgement | None

    def __str__(self) -> str:
        if self.status == NOT_JUDGED:
            return f"{NOT_JUDGED}: {self.reason}"
        word = self.status if self.status == PASSED else self.status.upper()
        return f"{word}: {self.reason} ({self.folder})"


def check_all(
    trainings: Iterable[Training], most: Mapping[str, float], least: Mapping[str, float]
) -> list[Outcome]:
    """Check training runs against the same limits.

    Args:
        trainings: The training runs.
        most: Upper limits by name, as `check` takes them.
        least: Lower limits, likewise.

    Returns:
        An outcome for each, in their order.
    """
    return [_outcome(training, most, least) for training in trainings]


def _outcome(training: Training, most: Mapping[str, float], least: Mapping[str, float]) -> Outcome:
    try:
        passed, reason = check(training, most, least)
    except ValueError as error:
        status, reason = NOT_JUDGED, str(error)
    else:
        status = PASSED if passed else FAILED
    newest = training.verdicts[-1] if training.verdicts else None
    return Outcome(training.name, str(training.folder), status, reason, newest)


def exit_status(outcomes: Iterable[Outcome]) -> int:
    """Return 0 where all passed, 1 where one failed, and else 2: one could not be judged."""
    statuses = {outcome.status for outcome in outcomes}
    return 1 if FAILED in statuses else 2 if NOT_JUDGED in statuses else 0


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Write outcomes as JSON.

    Args:
        outcomes: The outcomes.

    Returns:
        An object: the schema, the exit status, and a list of the training runs.
    """
    runs = [asdict(outcome) for outcome in outcomes]
    for run in runs:
        (run["verdict"] or {}).pop("sheets", None)  # images
    data = {"schema": SCHEMA, "exit_status": exit_status(outcomes), "runs": runs}
    return json.dumps(data, indent=2, allow_nan=False)


def as_junit(outcomes: Sequence[Outcome], suite: str) -> bytes:
    """Write outcomes as JUnit's XML, in which each training run is a test case.

    Args:
        outcomes: The outcomes.
        suite: The name of the test suite.

    Returns:
        XML, UTF-8. A run that failed is a failure, one that could not be judged an error.
    """
    kinds = {FAILED: "failure", NOT_JUDGED: "error"}
    counts = {"tests": str(len(outcomes))} | {
        f"{kind}s": str(sum(outcome.status == status for outcome in outcomes))
        for status, kind in kinds.items()
    }
    root = ElementTree.Element("testsuites", {"name": "keras-saliency", **counts})
    cases = ElementTree.SubElement(root, "testsuite", {"name": _xml(suite), **counts})
    for outcome in outcomes:
        named = {"classname": "keras_saliency.check", "name": _xml(outcome.run)}
        case = ElementTree.SubElement(cases, "testcase", named)
        if outcome.status in kinds:
            said = {"message": _xml(outcome.reason), "type": outcome.status}
            ElementTree.SubElement(case, kinds[outcome.status], said).text = _xml(outcome.folder)
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(outcome.reason)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _xml(text: str) -> str:
    """Replace what XML can't hold, such as control characters in the name of a class."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
