"""Results in notebooks: an image, and a caption beside it."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png(image: np.ndarray | Figure) -> bytes:
    """Encode an image, uint8 `(height, width, 3)`, or a matplotlib figure, as PNG."""
    file = io.BytesIO()
    if isinstance(image, np.ndarray):
        Image.fromarray(image).save(file, "PNG")
    else:
        image.savefig(file, format="png", dpi=80)
    return file.getvalue()


def figure_html(image: bytes, caption: str) -> str:
    """Put a PNG and a caption, which is plain text, into HTML that needs no other file."""
    data, text = base64.b64encode(image).decode(), html.escape(caption)
    return (
        f'<figure style="margin: 0"><figcaption>{text}</figcaption>'
        f'<img alt="{text}" src="data:image/png;base64,{data}" style="max-width: 100%"></figure>'
    )
