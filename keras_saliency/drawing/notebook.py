"""What a notebook shows of a result: a picture, and words beside it."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png(picture: np.ndarray | Figure) -> bytes:
    """Encode a picture, uint8 `(height, width, 3)`, or a matplotlib figure, as PNG."""
    found = io.BytesIO()
    if isinstance(picture, np.ndarray):
        Image.fromarray(picture).save(found, "PNG")
    else:
        picture.savefig(found, format="png", dpi=80)
    return found.getvalue()


def figure_html(image: bytes, words: str) -> str:
    """Put a PNG and words, which are no HTML, into HTML that holds all it needs."""
    data, text = base64.b64encode(image).decode(), html.escape(words)
    return (
        f'<figure style="margin: 0"><figcaption>{text}</figcaption>'
        f'<img alt="{text}" src="data:image/png;base64,{data}" style="max-width: 100%"></figure>'
    )
