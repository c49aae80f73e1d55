"""The page about a run, as TensorBoard renders it, and what is said of it."""

import html
import re

import keras
import numpy as np
import pytest
from tensorboard import plugin_util

import keras_saliency as ks
from keras_saliency.attribution.explainer import Explainer
from keras_saliency.callback.messages import where_to_look
from keras_saliency.callback.schedule import Schedule
from keras_saliency.engine.targets import Target
from keras_saliency.recording.guidance import HOW_TO_READ
from keras_saliency.recording.run_summary import about, confusion, escaped, settings
from keras_saliency.shortcuts.verdict import Verdict

from helpers.board import snapshot

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "a | b",
    "**bold** _it_ `code`",
    "[link](javascript:alert(1))",
    "# heading",
    "&lt;b&gt; \\* & <script>",
    "1. list",
    "über ☃",
    "http://example.org",
]


def rendered(markdown):
    return plugin_util.markdown_to_safe_html(markdown)


def shown(page):
    """The words that a reader sees."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_shows_as_it_is(text):
    page = rendered(f"x\n\n| a | b |\n| --- | --- |\n| {escaped(text)} | c |")
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert len(cells) == 2
    assert html.unescape(cells[0]) == text
    assert "<" not in cells[0]


def test_a_name_of_several_lines_stays_one_cell():
    assert escaped("a\n\n|b") == "a &#124;b"


def page(target="label", verdict=None, asks=False, every="epoch", n=3, masks=True, layer=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((9, 14, 3)),
            keras.layers.Conv2D(3, 3, name="conv"),
            keras.layers.Conv2D(3, 3, name="other_conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ],
        name="my_net",
    )
    mask = np.zeros((n, 9, 14))
    mask[:, :, :7] = 1
    probes = ks.Probes(
        np.random.default_rng(0).random((n, 9, 14, 3)),
        np.arange(n) % 2,
        masks=mask if masks else None,
        class_names=["<i>cat</i>", "dog"],
    )
    settled = Target.of_any(target)
    explainer = Explainer(model, probes, ["saliency", "grad_cam"], settled, layer, 8)
    listed = settings(model, explainer, settled, every)
    return rendered(about(listed, probes, has_verdict=asks, verdict=verdict))


def test_settings_probes_and_how_to_read_are_told():
    made = page()
    assert re.findall("<h2>(.*?)</h2>", made) == [
        "The verdict",
        "How to read it",
        "Settings",
        "Probes",
    ]
    cells = [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", made)]
    pairs = dict(zip(cells[:16:2], cells[1:16:2], strict=True))
    assert pairs == {
        "model": "my_net, 176 parameters",
        "layer": "other_conv",
        "target": "label",
        "explained": "logits",
        "methods": "saliency, grad_cam",
        "looks every": "epoch",
        "keras_saliency": ks.__version__,
        "keras": f"{keras.__version__} on {keras.backend.backend()}",
    }
    assert cells[16:19] == ["00_i_cat_i", "<i>cat</i>", "50 %"]
    assert len(cells) == 16 + 9
    assert made.count("<li>") == len(HOW_TO_READ)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": "200 batches"}, "looks every 200 batches"),
        ({"layer": "conv"}, "layer conv target"),
        ({"target": 1}, "target 1 explained"),
        ({"target": np.array([0, 1, 1])}, "target an array of shape (3,) explained"),
        ({"target": lambda outputs, labels: outputs[:, 0]}, "target <lambda> explained"),
        ({"target": ks.Target("label", of="probability")}, "explained probability"),
        ({"n": 66}, "63_dog dog 50 % and 2 more."),
        ({}, "The verdict None; it needs shortcuts= , the training data. How"),
        ({"asks": True}, "The verdict Not yet; it comes after the first epoch"),
        ({"asks": True, "verdict": Verdict("no <b>*")}, "The verdict no <b>*. How"),
    ],
)
def test_each_setting_shows(options, said):
    assert said in shown(page(**options))


def test_without_masks_there_is_no_share():
    assert "%" not in shown(page(masks=False)).partition("Probes")[2]


@pytest.mark.parametrize(
    ("epochs", "steps", "every", "is_more"),
    [
        (11, None, 1, True),
        (10, None, 1, False),
        (55, 3, 5, True),
        (54, 3, 5, False),
        (3, 100, "25 batches", True),
        (2, 100, "25 batches", False),
        (99, None, "25 batches", False),
        (None, None, 1, False),
    ],
)
def test_how_to_see_all_is_told_where_there_are_more_than_ten(
    tmp_path, epochs, steps, every, is_more
):
    folder = tmp_path / "my logs"
    planned = Schedule.of(every).evaluations({"epochs": epochs, "steps": steps})
    said = where_to_look(folder / "saliency_2", folder, planned)
    line = f"writing to {folder}/saliency_2; view: keras-saliency tensorboard --logdir '{folder}'"
    more = " (tensorboard keeps 10 steps of each picture)"
    assert said == line + (more if is_more else "")


@pytest.mark.parametrize("epochs", [998, 999, 2000])
def test_above_a_thousand_it_is_told_how_many_are_shown(tmp_path, epochs):
    said, steps = where_to_look(tmp_path / "saliency", tmp_path, epochs), epochs + 2
    samples = f"--samples_per_plugin images={steps},keras_saliency={steps})"
    assert said.endswith(samples) == (steps > 1000)
    assert (f"this 1,000 of {steps:,}" in said) == (steps > 1000)


def test_how_often_in_words():
    said = [str(Schedule.of(every)) for every in (1, 5, "1 batch", "200 batches")]
    assert said == ["epoch", "5 epochs", "batch", "200 batches"]


def test_a_confusion_table_counts_labels_by_predictions_and_lists_what_is_wrong():
    predicted = ["cat", "dog", "cat", "class 3"]
    known = snapshot(4, n=4, predicted=predicted, correct=[True, False, False, None])
    page = confusion(["00_cat", "01_cat", "02_dog", "03_x"], ["cat", "cat", "dog", "3"], known)
    heading, table, listed = page.split("\n\n")
    assert heading == "**epoch 5**: 2 of 3 classified wrongly"
    assert table.splitlines() == [
        "| label, predicted as | cat | dog |",
        "| --- | --- | --- |",
        "| cat | 1 | 1 |",
        "| dog | 1 |  |",
    ]
    assert html.unescape(listed).splitlines() == [
        "- 01 cat: dog 75 %",
        "- 02 dog: cat 75 %",
    ]


def test_classes_without_names_are_counted_on_the_diagonal():
    known = snapshot(0, n=2, predicted=["class 1", "class 0"], correct=[True, False])
    assert "| 1 | 1 | 1 |" in confusion(["00", "01"], ["1", "1"], known)


def test_values_have_no_confusion_table():
    assert confusion(["00"], [None], snapshot(0, n=1, correct=[None])) is None
