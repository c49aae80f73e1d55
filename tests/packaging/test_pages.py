"""The code blocks of README and docs run, in their order, as a reader would type them."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib import pyplot

import keras_saliency as ks

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
# These need data that have to be got first; tests/data/test_biased_datasets.py reads made ones.
NEED_DATA = {"biased_sets.md"}


# What other packages are needed for runs in tests/reference/test_trackers.py.
ELSEWHERE = ("import wandb", "import mlflow", "import trackio", "import swanlab")


def blocks(page):
    found = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [block for block in found if not block.startswith(ELSEWHERE)]


PAGES = [
    page
    for page in (README, *sorted((ROOT / "docs").glob("*.md")))
    if blocks(page) and page.name not in NEED_DATA
]


def reader():
    """Make what a reader has: a compiled model, its data, and a few images."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((21, 28, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    pictures = np.random.default_rng(0).integers(0, 256, (200, 21, 28, 3), "uint8")
    classes = np.arange(200) % 2
    train = tf.data.Dataset.from_tensor_slices((pictures, classes)).batch(50)
    known = {"images": pictures[:6], "labels": classes[:6], "train": train}
    known["probes"] = ks.Probes(pictures[:6], classes[:6])
    return {"model": model, "keras": keras, "ks": ks} | known


@pytest.fixture
def names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield reader()
    pyplot.close("all")


def run(page, names):
    for block in blocks(page):
        exec(compile(block, page.name, "exec"), names)
    return names


def test_the_readme_does_what_it_says(names, tmp_path):
    run(README, names)
    assert list(tmp_path.glob("logs/saliency/*tfevents*"))
    assert names["watch"].verdict.text.startswith("can't say yet")  # of noise nothing is learnt
    assert names["explanation"].overlay().shape == (6, 21, 28, 3)


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, names):
    run(page, names)


@pytest.mark.parametrize("word", ks.methods.available())
def test_every_method_is_in_the_table(word):
    assert f"`{word}`" in README.read_text(encoding="utf-8")
