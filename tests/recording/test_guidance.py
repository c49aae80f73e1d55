"""What is said beside a verdict: why its cause, and what to do."""

import re
from pathlib import Path

import pytest

from keras_saliency.recording.guidance import TERMS, actions, explain_cause
from keras_saliency.shortcuts.nuisances import NUISANCES

ROOT = Path(__file__).parents[2]
GAPS = {"frame": 0.5, "background": 0.9, "cast": 0.1}


def test_every_nuisance_is_explained():
    assert set(NUISANCES) <= set(TERMS)


def test_a_narrower_cause_is_explained_and_the_largest_is_not():
    said = explain_cause("frame", GAPS, 0.9)
    assert said is not None
    assert said.startswith("The frame is named although the background has the larger gap")
    assert explain_cause("background", GAPS, 0.9) is None
    assert explain_cause("frame", GAPS, None) is None  # as of a file without that number
    assert explain_cause("logo", GAPS, 0.9) is None  # whose gap is not known


@pytest.mark.parametrize("cause", [*NUISANCES, "logo"])
def test_each_action_leads_to_a_heading_with_code(cause):
    page = (ROOT / "docs" / "what_to_do.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    anchors = {name.lower().replace(" ", "-"): text for name, text in sections.items()}
    todo = actions(cause, GAPS, 0.2)
    assert 2 <= len(todo) <= 3
    for action in todo:
        address, _, anchor = action.link.partition("#")
        assert address.endswith("/what_to_do/")
        assert "```python" in anchors[anchor]


def test_the_background_is_swapped_only_where_it_has_a_gap():
    assert "BackgroundSwap" in actions("background", GAPS, 0.2)[0].words
    assert "BackgroundSwap" in actions("cast", GAPS, 0.2)[0].words
    assert "BackgroundSwap" not in actions("cast", GAPS | {"background": 0.1}, 0.2)[0].words
    assert "BackgroundSwap" not in actions("cast", GAPS, None)[0].words
