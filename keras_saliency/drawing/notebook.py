"""Results in notebooks: an image or a table, and a caption beside it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
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


def table_html(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out plain text as a table in HTML, with a caption above it."""
    lines = [_row(headings, "th"), *(_row(cells, "td") for cells in rows)]
    table = f"<table>{''.join(lines)}</table>" if lines[1:] else ""
    return (
        f'<figure style="margin: 0"><figcaption>{html.escape(caption)}</figcaption>{table}</figure>'
    )


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
