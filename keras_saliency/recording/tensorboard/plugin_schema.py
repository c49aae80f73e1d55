"""The contents of our blobs, for all that read them, whoever wrote the file."""

import json
import math
from typing import Any

VERSION = 2
MAPS, PROBES, VERDICT = "maps/", "probes", "verdict"

_IMAGE_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

Data = dict[str, Any]


def decoded(blob: bytes) -> Data | None:
    """Read the JSON that stands first among the blobs of a step.

    Args:
        blob: Its bytes.

    Returns:
        Its contents, without NaN and infinite numbers, or `None` where it is not of ours.

    Example:
        ```python
        decoded(b'{"version": 2, "peak": [NaN]}')  # {"version": 2, "peak": [None]}
        ```
    """
    try:
        data = json.loads(blob, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(data, dict) and data.get("version") == VERSION
    return data if is_ours else None


def image_type(blob: bytes) -> str | None:
    """Return the content type of an image, `None` of anything else."""
    return next((kind for magic, kind in _IMAGE_TYPES.items() if blob.startswith(magic)), None)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
