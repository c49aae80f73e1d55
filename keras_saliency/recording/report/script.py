"""One script made of many modules: a page that stands alone can import nothing.

The modules are those of the Saliency tab, which are written in one form: names in braces are
imported, and exports stand at declarations.
"""

import re
from pathlib import Path

_IMPORT = re.compile(r"^import \{([^}]*)\} from '([^']+)';$", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def bundled(first: Path) -> str:
    """Join a module with all modules that it imports.

    Args:
        first: The module's file.

    Returns:
        A script that imports nothing. Each module is a function's body, so that its own names stay
        its own.

    Raises:
        ValueError: If a module imports or exports in another form.

    Example:
        ```python
        script = bundled(Path("keras_saliency/recording/report/static/report.js"))
        ```
    """
    order: list[Path] = []
    _add(first.resolve(), order)
    return "\n".join(_wrapped(path) for path in order)


def _add(path: Path, order: list[Path]) -> None:
    """Add a module, after those that it imports."""
    for _, name in _IMPORT.findall(path.read_text(encoding="utf-8")):
        needed = (path.parent / name).resolve()
        if needed not in order:
            _add(needed, order)
    if path not in order:
        order.append(path)


def _wrapped(path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    exported = [name for _, name in _EXPORT.findall(source)]
    body = _IMPORT.sub(lambda match: f"const {{{match[1]}}} = {_named(match[2])};", source)
    body = _EXPORT.sub(r"\1", body)
    if (left := _LEFT.search(body)) or "</script" in body:
        received = left[0] if left else "</script"
        raise ValueError(f"{path.name} can't be joined with others. Received: {received}")
    exports = f"return {{ {', '.join(exported)} }};"
    return f"const {_named(path.name)} = (() => {{\n{body}\n{exports}\n}})();"


def _named(path: str) -> str:
    return f"${Path(path).stem}"
