"""Elements of a page. A text is written as text, never as markup."""

import base64
import json
from typing import Any
from xml.etree.ElementTree import Element, tostring

Child = Element | str | None


def node(tag: str, *children: Child, **attributes: str | int | None) -> Element:
    """Make an element.

    Args:
        tag: Such as `"p"`.
        *children: Texts and elements; None is left out.
        **attributes: Those that are None are left out. `class_` is `class`, `data_run` `data-run`.

    Returns:
        The element.

    Example:
        ```python
        node("p", "a < b, ", node("strong", "or not"), class_="note")
        ```
    """
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    given = {names[name]: str(value) for name, value in attributes.items() if value is not None}
    made = Element(tag, given)
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child is not None and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child is not None:
            made.text = (made.text or "") + child
    return made


def script_data(content: Any) -> str:
    """Write JSON that may stand in a script element: no `<` can end it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def figure(blob: bytes, kind: str, alt: str, *caption: Child) -> Element:
    """Make a figure of an image file, which its address holds."""
    address = f"data:{kind};base64,{base64.b64encode(blob).decode()}"
    return node("figure", node("img", src=address, alt=alt), node("figcaption", *caption))


def row(head: str, *cells: Child, class_: str | None = None) -> Element:
    """Make a row of a table; cells are texts, or elements as they are."""
    data = (cell if isinstance(cell, Element) else node("td", cell) for cell in cells)
    return node("tr", node("th", head, scope="row"), *data, class_=class_)


def document(root: Element) -> bytes:
    """Write a page."""
    text = tostring(root, encoding="unicode", method="html")
    return f"<!doctype html>\n{text}\n".encode(errors="replace")
