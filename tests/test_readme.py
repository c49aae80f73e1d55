"""The README's code blocks run, in their order, as a reader would type them."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_saliency as ks

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def reader():
    """Make what a reader has: a compiled model, its data, and a few pictures."""
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
    names = {"images": pictures[:6], "labels": classes[:6], "train": train}
    return {"model": model, "ks": ks} | names


def test_there_are_blocks_to_run():
    assert len(BLOCKS) >= 3


def test_the_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = reader()
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert list(tmp_path.glob("logs/saliency/*tfevents*"))
    assert names["watch"].verdict.text.startswith("can't say yet")  # of noise nothing is learnt
    assert names["found"].overlay().shape == (6, 21, 28, 3)


@pytest.mark.parametrize("word", ks.methods.available())
def test_every_method_is_in_the_table(word):
    assert f"`{word}`" in README.read_text(encoding="utf-8")
