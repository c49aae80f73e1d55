"""Docstrings of all that users reach have their Args, Returns and Raises; `make lint` runs this.

pydoclint checks whatever it is given, and knows nothing of who can reach it. So each module is
parsed, stripped of what is not reachable from `ks.` (or is no part of the interfaces below), and
handed over without the escape for docstrings of one line, which all other code has.
"""

import ast
import dataclasses
import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

from pydoclint.visitor import Visitor

import keras_saliency as ks

PACKAGE = Path(ks.__file__).parent
# What methods of users are given.
INTERFACES = {"keras_saliency.engine.scored_model": ["ScoredModel"]}
OPTIONS = {
    "style": "google",
    "argTypeHintsInDocstring": False,
    "checkReturnTypes": False,
    "checkYieldTypes": False,
    "allowInitDocstring": True,
    "skipCheckingShortDocstrings": False,
}
IS_OURS = re.compile(r"keras_saliency(\.|$)").match


def reachable():
    """Find the functions and classes that users reach, by module and name."""
    things = [getattr(ks, name) for name in ks.__all__]
    things += [ks.methods.get(name) for name in ks.methods.available()]
    for module, names in INTERFACES.items():
        things += [getattr(importlib.import_module(module), name) for name in names]
    found = {}
    while things:
        thing = things.pop()
        if isinstance(thing, ModuleType):
            things += members(thing)
        elif inspect.isclass(thing):
            ours = [base for base in thing.__mro__ if IS_OURS(base.__module__)]
            found |= {(base.__module__, base.__name__): base for base in ours}
        elif inspect.isfunction(thing) and IS_OURS(thing.__module__):
            found[thing.__module__, thing.__name__] = thing
    return found


def members(module):
    """Yield what a public module holds: what it lists, or what it defines without an underscore."""
    for name in getattr(module, "__all__", [name for name in vars(module) if name[0] != "_"]):
        thing = getattr(module, name)
        if hasattr(module, "__all__") or getattr(thing, "__module__", None) == module.__name__:
            yield thing


def strip(node, cls):
    """Take from a class what is private, and what overrides methods that others document."""
    others = [base for base in cls.__mro__ if not IS_OURS(base.__module__)]
    hidden = {name for base in others for name in vars(base)} - {"__init__"}
    for part in node.body[:]:
        name = getattr(part, "name", "")
        if name in hidden or (name.startswith("_") and name != "__init__"):
            node.body.remove(part)
        for decorator in getattr(part, "decorator_list", []):
            if getattr(decorator, "id", None) == "cached_property":
                decorator.id = "property"  # whose value pydoclint lets the first line describe


def call_args_attributes(node):
    """Let the fields of a dataclass stand under Args as well: users make it of them."""
    text = node.body[0].value
    text.value = text.value.replace("    Args:\n", "    Attributes:\n")


def is_fault(violation):
    """Leave out that Raises names too much: a good deal is raised by what a function calls."""
    if violation.code == 503:
        documented, raised = re.findall(r"\[(.*?)\]", violation.msg)
        missing = set(re.findall(r"\w+", raised)) - set(re.findall(r"\w+", documented))
        return any(name[0].isupper() for name in missing)
    return violation.code != 502


def violations(node, thing):
    """List what the docstrings of a definition lack; its tree is changed on the way."""
    has_fields = dataclasses.is_dataclass(thing) or hasattr(thing, "_fields")
    if inspect.isclass(thing):
        strip(node, thing)
    if has_fields:
        call_args_attributes(node)
    visitor = Visitor(**OPTIONS, checkClassAttributes=has_fields)
    visitor.visit(node)
    return [violation for violation in visitor.violations if is_fault(violation)]


def main():
    """Print a line for each violation, and return whether there was one."""
    found = reachable()
    lines = []
    for module in sorted({module for module, _ in found}):
        path = Path(importlib.import_module(module).__file__)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if thing := found.get((module, getattr(node, "name", None))):
                where = path.relative_to(PACKAGE.parent)
                lines += [f"{where}:{fault.line}: {fault}" for fault in violations(node, thing)]
    print(*lines, f"{len(found)} definitions, {len(lines)} violations", sep="\n")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
