"""The check of docstrings that `make lint` runs finds what is missing where users reach it."""

import ast
import dataclasses
import runpy
from collections import namedtuple
from functools import cached_property
from pathlib import Path

import keras
import pytest

pytest.importorskip("pydoclint")
CHECK = runpy.run_path(str(Path(__file__).with_name("docstrings.py")))


def codes(source, thing):
    (node,) = ast.parse(source).body
    return [violation.code for violation in CHECK["violations"](node, thing)]


def test_what_users_reach_is_found():
    found = {name for _, name in CHECK["reachable"]()}
    names = {"SaliencyCallback", "explain", "grad_cam", "available", "insertion", "tile_map"}
    assert found >= names | {"Motion", "find", "ScoredModel", "Verdict", "Writer"}
    assert "Recorder" not in found


FUNCTION = '''
def halve(number: float) -> float:
    """Halve a number.
{sections}
    """
    if number < 0:
        raise ValueError("negative")
    check(number)
    return number / 2
'''
ARGS = "\n    Args:\n        number: At least 0.\n"
RETURNS = "\n    Returns:\n        Half of it.\n"
RAISES = "\n    Raises:\n        ValueError: It is negative.\n        TypeError: It is none.\n"


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (ARGS + RETURNS + RAISES, set()),
        ("", {101, 103, 201, 501, 503}),
        (RETURNS + RAISES, {101, 103}),
        (ARGS.replace("number", "value") + RETURNS + RAISES, {103}),
        (ARGS + RAISES, {201}),
        (ARGS + RETURNS, {501, 503}),
        (ARGS + RETURNS + RAISES.replace("ValueError", "OSError"), {503}),
    ],
    ids=["all", "none", "no Args", "another name", "no Returns", "no Raises", "another error"],
)
def test_a_missing_section_is_found(sections, expected):
    assert set(codes(FUNCTION.format(sections=sections), lambda number: number)) == expected


class Layer(keras.layers.Layer):
    def call(self, inputs): ...

    @cached_property
    def size(self): ...


LAYER = '''
class Layer(keras.layers.Layer):
    """A layer."""

    def call(self, inputs: int) -> int:
        """Keras describes it."""
        return inputs

    @cached_property
    def size(self) -> int:
        """Its size."""
        return 1

    def _hidden(self, number: int) -> int:
        """Nobody reaches it."""
        return number

    def shown(self, number: int) -> int:
        """Show a number."""
        return number
'''


def test_of_a_class_public_methods_of_its_own_are_checked():
    assert codes(LAYER, Layer) == [101, 103, 201]


@pytest.mark.parametrize("kind", [namedtuple("Pair", "a"), dataclasses.make_dataclass("Pair", "a")])
@pytest.mark.parametrize("section", ["Args", "Attributes"])
def test_the_fields_of_a_dataclass_are_checked(kind, section):
    source = (
        f'class Pair:\n    """A pair.\n\n    {section}:\n        a: One.\n    """\n\n    a: int\n'
    )
    assert codes(source, kind) == []
    assert codes(source.replace("a: One", "b: One"), kind) == [603]
