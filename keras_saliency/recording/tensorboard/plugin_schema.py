"""The contents of our blobs, for all that read them, whoever wrote the file."""

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

VERSION = 2
MAPS, PROBES, VERDICT = "maps/", "probes", "verdict"

# Tags in TensorBoard's own tabs, which sort capitals before small letters and "y" behind the names
# of methods: the verdict stands first there, and the numbers of single probes last.
VERDICT_GROUP, EACH_PROBE = "Verdict/", "your-probes/"
COUNTERFACTUALS = f"{VERDICT_GROUP}counterfactuals-"
COMPONENTS = f"{VERDICT_GROUP}feature-components-"
EXAMPLES = f"{VERDICT_GROUP}examples-"

MOST_PIXELS = 2**22  # of an image that is unpacked; all maps of a step have fewer

_OTHERS = "the probes were others then"
_DEEPEST = 8  # levels of JSON, of which ours has four
_LARGEST = 1e300  # number, or else a browser takes it for infinite
_LATEST = 32_503_680_000.0  # the year 3000, beyond which not every system knows the date
_IMAGE_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

Data = dict[str, Any]


def decoded(blob: bytes) -> Data | None:
    """Read the JSON that stands first among the blobs of a step.

    Args:
        blob: Its bytes.

    Returns:
        Its contents, without NaN and infinite numbers, or `None` where it is not of ours, or so
        deep that whoever writes it again might fail.

    Example:
        ```python
        decoded(b'{"version": 2, "peak": [NaN]}')  # {"version": 2, "peak": [None]}
        ```
    """
    try:
        data = json.loads(
            blob, parse_constant=lambda _: None, parse_float=_finite, parse_int=_finite_int
        )
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(data, dict) and data.get("version") == VERSION
    return data if is_ours and _is_flat(data) else None


def moment(wall_time: float) -> float:
    """Return the time of an event in seconds since 1970; 0 where it is no time."""
    return wall_time if 0 <= wall_time < _LATEST else 0.0


def maps_shown(
    maps: Iterable[tuple[int, Data]], probes: Sequence[tuple[int, Data]]
) -> Iterator[Data]:
    """Put an error in place of maps that are not of the probes that are shown, the newest.

    Earlier versions went on in the same run where a training run was resumed with other probes.

    Args:
        maps: Step and JSON of each evaluation.
        probes: The same of all probes that a run has had, in order.

    Yields:
        The JSON of each evaluation.
    """
    others = [
        until
        for (_, before), (until, _) in itertools.pairwise(probes)
        if before.get("names") != probes[-1][1].get("names")
    ]
    for step, data in maps:
        is_of_others = step < max(others, default=-math.inf)
        yield {"when": data.get("when"), "error": _OTHERS} if is_of_others else data


def image_type(blob: bytes) -> str | None:
    """Return the content type of an image, `None` of anything else."""
    return next((kind for magic, kind in _IMAGE_TYPES.items() if blob.startswith(magic)), None)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _finite_int(text: str) -> int | None:
    number = int(text)
    return number if abs(number) < _LARGEST else None


def _is_flat(data: Data) -> bool:
    """Whether lists and objects are nested no deeper than those of ours."""
    level: list[Any] = [data]
    for _ in range(_DEEPEST):
        inside = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for node in inside for child in node if isinstance(child, dict | list)]
    return not level
