"""Tiles as probes: tables of them, and what a training writes of a slide of known tissue."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util

import keras_saliency as ks
from keras_saliency.engine.output_head import Head
from keras_saliency.tiles import Thumbnail, Tiles, tile_mosaic, tile_sheet

SIZE = (12, 16)
NAMES = ["normal", "tumour"]


def slides(seed=0):
    """Return pictures, labels, slides and places of two made slides with known tissue.

    Tumour is a disc, and violet; other tissue is pink. The second slide has holes.
    """
    rng = np.random.default_rng(seed)
    x, y = (axis.reshape(-1) for axis in np.meshgrid(np.arange(10), np.arange(6)))
    x, y = np.tile(x, 2) * 512, np.tile(y, 2) * 384
    slide = np.repeat(["a/1", "b"], 60)
    labels = (np.hypot(x / 512 - 4, y / 384 - 2) < 2.2).astype(int)
    kept = (slide == "a/1") | (rng.random(120) < 0.7)
    tint = np.where(labels[:, None], (110, 60, 160), (225, 150, 190))
    pictures = tint[:, None, None] + rng.normal(0, 12, (120, *SIZE, 3))
    pictures = pictures.clip(0, 255).astype(np.uint8)
    return [one[kept] for one in (pictures, labels, slide, x, y)]


def network(units=2, activation="softmax"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(units, activation=activation),
        ]
    )
    loss = "binary_crossentropy" if units == 1 else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.02), loss)
    return model


def fit(model, pictures, labels, callbacks, epochs=2):
    options = {"epochs": epochs, "batch_size": 16, "verbose": 0, "shuffle": False}
    return model.fit(pictures, labels, callbacks=callbacks, **options)


def read(run):
    accumulator = plugin_event_accumulator.EventAccumulator(
        str(run), tensor_size_guidance={"images": 0, "scalars": 0}
    )
    accumulator.Reload()
    return {
        tag: {e.step: tensor_util.make_ndarray(e.tensor_proto) for e in accumulator.Tensors(tag)}
        for tag in accumulator.Tags()["tensors"]
    }


def picture(value):
    return np.asarray(Image.open(io.BytesIO(value[2])).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on two made slides; return the model, the tiles and what was written."""
    root = tmp_path_factory.mktemp("logs")
    pictures, labels, slide, x, y = slides()
    thumbnail = Thumbnail(np.full((60, 100, 3), 240, np.uint8), (6 * 384, 10 * 512))
    options = {"tile": (384, 512), "maps": 24, "class_names": NAMES}
    tiles = Tiles(pictures, labels, slide, x, y, thumbnails={"b": thumbnail}, **options)
    model = network()
    fit(model, pictures, labels, [ks.SaliencyCallback(tiles, root)])
    return model, tiles, read(root / "saliency")


def test_each_slide_is_drawn_at_each_epoch(trained):
    found = trained[2]
    sheets = {tag for tag in found if tag.startswith("tile-map/")}
    assert sheets == {"tile-map/00_a-1", "tile-map/01_b"}
    mosaics = {tag for tag in found if tag.startswith("tile-mosaic/")}
    names = ("00_a-1", "01_b")
    expected = {f"tile-mosaic/{one}_{m}" for one in names for m in ("saliency", "grad-cam")}
    assert mosaics == expected
    assert all(list(found[tag]) == [-1, 0, 1] for tag in sheets | mosaics)


def test_a_sheet_is_that_of_the_models_probabilities(trained):
    model, tiles, found = trained
    pictures, labels, slide, x, y = slides()
    on = slide == "b"
    chances = model.predict(pictures[on].astype("float32"), verbose=0)
    right = 100 * (chances.argmax(1) == labels[on]).mean()
    error = np.abs(chances[:, 1] - labels[on]).mean()
    expected = tile_sheet(
        x[on],
        y[on],
        labels[on],
        chances[:, 1],
        tile=(384, 512),
        thumbnail=tiles.thumbnails["b"],
        title="b",
        subtitle="epoch 2 · step 1",
        caption=f"{on.sum()} tiles · {right:.0f} % right · mean error {error:.2f}",
        name="tumour",
    )
    seen = picture(found["tile-map/01_b"][1])
    assert seen.shape == expected.shape
    before = picture(found["tile-map/01_b"][-1])
    assert np.abs(seen - expected).mean() < min(2, np.abs(seen - before).mean())
    assert found["tiles-accuracy/01_b"][1] == pytest.approx(right / 100)
    assert found["tiles-error/01_b"][1] == pytest.approx(error, abs=1e-5)


def test_a_mosaic_is_that_of_the_tiles_own_maps(trained):
    model, tiles, found = trained
    maps = ks.explain(model, tiles, "grad_cam", target="label").maps
    on = tiles.slide[tiles.chosen] == 0
    rows = tiles.chosen[on]
    expected = tile_mosaic(
        tiles.x[rows],
        tiles.y[rows],
        tiles.display[on],
        maps[on],
        tile=(384, 512),
        title="a/1 · grad_cam",
        subtitle="epoch 2 · step 1",
        caption=f"{on.sum()} of 60 tiles, one scale",
    )
    seen = picture(found["tile-mosaic/00_a-1_grad-cam"][1])
    assert np.abs(seen - expected).mean() < 3
    assert {0, 1} == set(tiles.labels[on])  # neighbours of both kinds


def test_the_training_is_that_without_us(tmp_path):
    pictures, labels, slide, x, y = slides()
    found = []
    for watched in (True, False):
        model = network()
        tiles = Tiles(pictures, labels, slide, x, y, maps=4)
        losses = fit(
            model, pictures, labels, [ks.SaliencyCallback(tiles, tmp_path)] if watched else []
        )
        variables = [*model.variables, *model.optimizer.variables]
        found.append([np.asarray(losses.history["loss"]), *map(np.asarray, variables)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tiles_are_read_part_by_part(tmp_path, monkeypatch):
    class Stored:
        """Gives arrays for slices, as h5py does, and nothing else."""

        shape = (200, *SIZE)

        def __init__(self):
            self.asked = []

        def __len__(self):
            return 200

        def __getitem__(self, rows):
            assert isinstance(rows, slice)
            self.asked.append(rows.stop - rows.start)
            return np.stack([np.full(SIZE, i, np.uint8) for i in range(200)[rows]])

    monkeypatch.setattr("keras_saliency.tiles.dataset._READ", 64)
    stored = Stored()
    tiles = Tiles(stored, None, "s", np.arange(200), np.zeros(200), maps=[3, 150])
    parts = list(tiles.parts())
    assert max(stored.asked) == 64
    assert [part.shape for part in parts] == [(64, *SIZE, 1)] * 3 + [(8, *SIZE, 1)]
    np.testing.assert_array_equal(np.concatenate(parts)[:, 0, 0, 0], np.arange(200))
    np.testing.assert_array_equal(tiles.images[:, 0, 0, 0], [3, 150])


def test_what_the_model_gets_is_preprocessed():
    pictures, labels, slide, x, y = slides()
    options = {"preprocess": lambda images: images / 127.5 - 1, "maps": 5}
    tiles = Tiles(pictures, labels, slide, x, y, **options)
    np.testing.assert_allclose(
        np.concatenate(list(tiles.parts())), pictures / 127.5 - 1, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(tiles.images, pictures[tiles.chosen] / 127.5 - 1, atol=1e-6)


def test_a_table_with_picture_files(tmp_path):
    pictures, labels, slide, x, y = slides()
    rows = ["path,label,y,x, slide ,stain"]
    for i in range(12):
        Image.fromarray(pictures[i]).save(tmp_path / f"{i}.png")
        named = "" if i == 4 else NAMES[labels[i]]
        rows.append(f'{i}.png,{named},{y[i]},{x[i]},"{slide[i]}",HE')
    table = tmp_path / "tiles.csv"
    table.write_text("\n".join(rows), encoding="utf-8-sig")
    tiles = Tiles.from_csv(table, class_names=NAMES, maps=6)
    np.testing.assert_array_equal(np.concatenate(list(tiles.parts())), pictures[:12])
    np.testing.assert_array_equal(tiles.x, x[:12])
    assert tiles.slides == ["a/1"]
    assert tiles.tile == [(512, 512)]
    truth = tiles.truth(2)
    assert np.isnan(truth[4]).all()
    assert 4 not in tiles.chosen
    known = np.arange(12) != 4
    np.testing.assert_array_equal(truth[known].argmax(1), labels[:12][known])


def test_a_tile_without_a_label_has_a_probability_alone(tmp_path):
    pictures, labels, slide, x, y = slides()
    given = [None if i % 3 == 0 else int(label) for i, label in enumerate(labels)]
    tiles = Tiles(pictures, given, slide, x, y, maps=9, class_names=NAMES)
    model = network(1, "sigmoid")
    fit(model, pictures, labels, [ks.SaliencyCallback(tiles, tmp_path)], epochs=1)
    found = read(tmp_path / "saliency")
    chances = model.predict(pictures.astype("float32"), verbose=0)[:, 0]
    known = np.array([label is not None for label in given]) & (slide == "b")
    right = ((chances > 0.5) == labels)[known].mean()
    assert found["tiles-accuracy/01_b"][0] == pytest.approx(right)


def test_of_three_classes_each_has_a_map(tmp_path):
    pictures, labels, slide, x, y = slides()
    kinds = labels + (x > 2500)
    tiles = Tiles(pictures, kinds, slide, x, y, maps=9, class_names=["sea", "land", "cloud"])
    fit(network(3), pictures, kinds, [ks.SaliencyCallback(tiles, tmp_path)], epochs=1)
    tags = {tag for tag in read(tmp_path / "saliency") if tag.startswith("tile-map/01")}
    assert tags == {f"tile-map/01_b_{name}" for name in ("sea", "land", "cloud")}
    only = Tiles(pictures, kinds, slide, x, y, maps=9, classes=[2])
    assert only.mapped(Head("softmax", "hooked", (3,))) == {2: "class 2"}


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"x": np.arange(3)}, ValueError, "x and y must be finite"),
        (
            {"images": np.zeros((7, 8, 8, 3))},
            ValueError,
            "images must be one for each of the 9 tiles",
        ),
        ({"images": np.zeros((9, 2, 8, 8, 3))}, ValueError, "Tiles must be images"),
        ({"labels": [0, 1]}, ValueError, "labels must be one for each of the 9 tiles"),
        ({"labels": ["a"] * 9}, ValueError, "need `class_names`"),
        (
            {"slides": ["a", "b"]},
            ValueError,
            "slides must be one for each of the 9 tiles, or a single name",
        ),
        ({"maps": 0}, ValueError, "maps must be an integer from 1"),
        ({"maps": [9]}, ValueError, "indices from 0 to 8"),
        ({"maps": [0], "labels": ["", *[1] * 8]}, ValueError, "tiles that have a label"),
        ({"tile": 0}, ValueError, "tile must be"),
        ({"thumbnails": {"s": np.zeros((2, 2, 3))}}, TypeError, r"tiles\.Thumbnail"),
    ],
)
def test_what_does_not_fit_is_told(changes, error, said):
    given = {
        "images": np.zeros((9, 8, 8, 3)),
        "labels": np.arange(9) % 2,
        "slides": "s",
        "x": np.arange(9),
        "y": np.zeros(9),
    }
    with pytest.raises(error, match=said):
        Tiles(**given | changes)


@pytest.mark.parametrize(
    ("options", "units", "said"),
    [
        ({"labels": np.arange(9), "maps": [0, 1]}, 3, "from 0 to 2.*label 8"),
        ({"classes": ["sea"]}, 2, "classes must be among"),
        ({"labels": np.linspace(0, 1, 9), "maps": [0, 8]}, 2, "labels that are classes"),
    ],
)
def test_what_does_not_fit_the_model_is_told_before_training(options, units, said, tmp_path):
    given = {"images": np.zeros((9, *SIZE, 3)), "labels": np.arange(9) % 2}
    tiles = Tiles(slides="s", x=np.arange(9), y=np.zeros(9), **given | options)
    with pytest.raises(ValueError, match=said):
        fit(
            network(units),
            np.zeros((4, *SIZE, 3)),
            np.zeros(4),
            [ks.SaliencyCallback(tiles, tmp_path)],
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slide,x,y\na,1,2\n", "without label"),
        ("slide,x,y,label\na,1,two,0\n", "'two' in row 2"),
        ("slide,x,y,label\n", "without rows"),
        ("", "no headings"),
    ],
)
def test_a_broken_table_is_told(text, said, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=said):
        Tiles.from_csv(tmp_path / "t.csv", images=np.zeros((1, 8, 8, 3)))


def test_pictures_of_other_sizes_are_told(tmp_path):
    for i, side in enumerate((8, 9)):
        Image.new("RGB", (side, 8)).save(tmp_path / f"{i}.png")
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    tiles = Tiles(paths, [0, 1], "s", [0, 1], [0, 0], maps=[0])
    with pytest.raises(ValueError, match=r"of one size.*1\.png of \(8, 9\)"):
        list(tiles.parts())
