"""Files of probes that go while a training run is prepared, or while it runs."""

import shutil

import numpy as np
import pytest
from PIL import Image

import keras_saliency as ks
from keras_saliency.tiles import Tiles

from helpers.disks import Run
from helpers.observed import SIZE, values
from helpers.watching import ALL, NUMBER, Then, built, watched

CLASSES = ("ant", "zebra")
TAGS = [
    f"{method}/{i:02d}_{CLASSES[i // 2]}" for method in ("saliency", "grad-cam") for i in (0, 3)
]


def drawn(folder):
    """Two images of each class, the same at every call."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for i in range(2):
            save(folder / name / f"{i}.png", rng)
    return folder


def save(path, rng):
    Image.fromarray(rng.integers(0, 256, SIZE, np.uint8)).save(path)


def seen(folder):
    """All images of some probes, by tag and step, of a run that is complete."""
    run = Run(folder / "saliency")
    assert run.steps(NUMBER) == ALL
    return {tag: run.pictures(tag) for tag in TAGS}


@pytest.fixture
def animals(tmp_path):
    return drawn(tmp_path / "animals")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """What a training run writes whose files stay."""
    place = tmp_path_factory.mktemp("whole")
    assert watched(ks.SaliencyCallback(drawn(place / "animals"), place / "logs")) == []
    return seen(place / "logs")


def test_pictures_removed_while_training_are_in_memory(animals, wanted, tmp_path):
    watch = ks.SaliencyCallback(animals, tmp_path / "logs")
    assert watched(watch, Then(watch, epoch_1=lambda: shutil.rmtree(animals))) == []
    assert seen(tmp_path / "logs") == wanted


def test_probes_are_read_when_they_are_made(animals, wanted, tmp_path):
    watch = ks.SaliencyCallback(ks.Probes.from_directory(animals), tmp_path / "logs")
    shutil.rmtree(animals)
    assert watched(watch) == []
    assert seen(tmp_path / "logs") == wanted


def test_a_folder_is_read_when_training_begins(animals, tmp_path):
    watch = ks.SaliencyCallback(animals, tmp_path / "logs")
    (animals / "ant" / "0.png").unlink()
    assert watched(watch) == []
    run = Run(tmp_path / "logs" / "saliency")
    assert [tag for tag in run.tags if tag.startswith("grad-cam/0")] == [
        "grad-cam/00_ant",
        "grad-cam/01_zebra",
        "grad-cam/02_zebra",
    ]


GONE = {
    "the folder": (lambda folder: folder, "which is not there"),
    "a class, which would shift the numbers": (
        lambda folder: folder / "ant",
        "class_names must name each of the model's 2 classes",
    ),
}


@pytest.mark.parametrize("gone", GONE)
def test_what_is_gone_before_the_first_batch_is_an_error(gone, animals, tmp_path):
    which, said = GONE[gone]
    watch = ks.SaliencyCallback(animals, tmp_path / "logs")
    shutil.rmtree(which(animals))
    refused(watch, said)


def refused(watch, said):
    """Assert that a training run is refused before it has begun."""
    model = built()
    before = values(model.variables)
    with pytest.raises(ValueError, match=said):
        model.fit(np.zeros((8, *SIZE)), np.zeros(8), verbose=0, callbacks=[watch])
    assert values(model.variables) == before


def tiles_of(folder):
    """Six tiles in files, two of which get maps, and the others a probability alone."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    paths = [folder / f"{i}.png" for i in range(6)]
    for path in paths:
        save(path, rng)
    return Tiles(paths, [0, 1] * 3, "slide", range(6), [0] * 6, maps=[0, 3]), paths


def test_a_tile_removed_before_training_is_named(tmp_path):
    tiles, paths = tiles_of(tmp_path / "tiles")
    paths[4].unlink()
    refused(ks.SaliencyCallback(tiles, tmp_path / "logs"), r"4\.png can't be read as an image")


def test_a_tile_removed_for_a_time_costs_its_sets(tmp_path):
    tiles, paths = tiles_of(tmp_path / "tiles")
    watch = ks.SaliencyCallback(tiles, tmp_path / "logs")
    aside = tmp_path / "aside.png"
    actions = {"epoch_0": lambda: paths[4].rename(aside), "epoch_2": lambda: aside.rename(paths[4])}
    (message,) = watched(watch, Then(watch, **actions))
    assert "the set of epoch 2 is missing" in message
    assert "4.png can't be read" in message
    assert message.endswith("The training goes on.")
    run = Run(tmp_path / "logs" / "saliency")
    for tag in (NUMBER, "tile-map/00_slide", "tile-mosaic/00_slide_grad-cam"):
        assert run.steps(tag) == [-1, 0, 3, 4]
