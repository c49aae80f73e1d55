"""Table of training runs, those that rely most on a shortcut first."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields

from keras_saliency.recording.tensorboard.event_reader import Training

_ACCURACIES = ("accuracy", "acc")  # as Keras calls them, some with what they are of before


@dataclass(frozen=True)
class Row:
    """One training run, at its last evaluation.

    Attributes:
        run: Its folder, below that which is ranked.
        reliance: The largest gap, a difference of probabilities from -1 to 1; `None` where the
            verdict abstains, or there is none.
        alarm: Whether the verdict gives an alarm.
        cause: The nuisance that the model relies on, or `None` without an alarm.
        since: The evaluation at which its gap was first above the threshold, or `None`.
        accuracy: That of the validation data, else of the training data, in [0, 1]; or `None`.
        verdict: The verdict in words.
    """

    run: str
    reliance: float | None
    alarm: bool
    cause: str | None
    since: str | None
    accuracy: float | None
    verdict: str


def rank(trainings: Iterable[Training]) -> list[Row]:
    """Order training runs by their reliance, the largest first.

    Args:
        trainings: The training runs, such as those of `trainings(log_dir, maps=False)`.

    Returns:
        A row each; those whose verdict abstains, or that have none, come last.

    Example:
        ```python
        print(as_text(rank(trainings("logs", maps=False))))
        ```
    """
    rows = map(_row, trainings)
    return sorted(rows, key=lambda row: -math.inf if row.reliance is None else row.reliance)[::-1]


def as_text(rows: Sequence[Row]) -> str:
    """Write rows as a table in columns, without the verdicts' words."""
    lines = [("run", "reliance", "alarm", "cause", "since", "accuracy")]
    for row in rows:
        numbers = row.reliance, row.accuracy
        reliance, accuracy = ("-" if n is None else f"{n:.2f}" for n in numbers)
        alarm = "ALARM" if row.alarm else "-"
        lines.append((row.run, reliance, alarm, row.cause or "-", row.since or "-", accuracy))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = ([text.ljust(n) for text, n in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in cells)


def as_csv(rows: Sequence[Row]) -> str:
    """Write rows as a CSV with a header; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Row)])
    writer.writerows(map(astuple, rows))
    return text.getvalue().rstrip("\n")


def as_json(rows: Sequence[Row]) -> str:
    """Write rows as a JSON list of objects; what is not known is null."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def _row(training: Training) -> Row:
    last = training.verdicts[-1] if training.verdicts else None
    return Row(
        run=training.name,
        reliance=None if last is None or last.abstains else last.reliance,
        alarm=last is not None and last.alarm,
        cause=last.cause if last is not None and last.alarm else None,
        since=last.since if last is not None and last.alarm else None,
        accuracy=_accuracy(training),
        verdict="no verdict" if last is None else last.text,
    )


def _accuracy(training: Training) -> float | None:
    """The last accuracy that is a number."""
    for name, parts in sorted(training.curves.items()):
        if name.endswith(_ACCURACIES):
            steps = parts.get("validation") or parts.get("training") or {}
            known = [value for _, value in sorted(steps.items()) if math.isfinite(value)]
            if known:
                return known[-1]
    return None
