"""Published sets, read from tiny folders of their layout whose pictures tell who they are."""

import csv
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import keras_saliency as ks
from keras_saliency.data import biased_datasets
from keras_saliency.data.biased_datasets import imagenet9, spawrious, waterbirds

COLUMNS = ["img_id", "img_filename", "y", "split", "place", "place_filename"]
BREEDS = ["bulldog", "corgi", "dachshund", "labrador"]


def paint(path, colour, size=(7, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def birds(folder, rows):
    """Write a folder of (name, y, split, place), each bird of the colour (its row, y, place)."""
    with open(folder / "metadata.csv", "w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(COLUMNS)
        for i, (name, y, split, place) in enumerate(rows):
            table.writerow([i, name, y, split, place, "/f/forest/00000001.jpg"])
            paint(folder / name, (i, y, place))


def test_waterbirds_are_read_by_their_metadata(tmp_path):
    birds(
        tmp_path,
        [
            ("001.Black_footed_Albatross/a.png", 1, 0, 1),
            ("001.Black_footed_Albatross/b.png", 1, 0, 0),
            ("014.Indigo_Bunting/c.png", 0, 0, 0),
            ("014.Indigo_Bunting/d.png", 0, 1, 1),
            ("014.Indigo_Bunting/e.png", 0, 2, 1),
        ],
    )
    train = waterbirds(tmp_path, image_size=(5, 7))
    assert train.images[:, 2, 3].tolist() == [[0, 1, 1], [1, 1, 0], [2, 0, 0]]
    assert train.images.dtype == np.uint8
    assert train.labels.tolist() == [1, 1, 0]
    assert train.class_names == ("landbird", "waterbird")
    assert train.backgrounds.tolist() == ["water", "land", "land"]
    assert [path.name for path in train.paths] == ["a.png", "b.png", "c.png"]
    assert waterbirds(tmp_path, "val").images[0, 0, 0].tolist() == [3, 0, 1]
    assert waterbirds(tmp_path, split="test").images[0, 0, 0].tolist() == [4, 0, 1]


def test_images_are_resized(tmp_path):
    birds(tmp_path, [("a/a.png", 0, 0, 0), ("a/b.png", 1, 0, 0)])
    Image.fromarray(np.uint8([[[0, 0, 0], [200, 100, 50]]])).save(tmp_path / "a/a.png")
    assert waterbirds(tmp_path, image_size=(3, 9)).images.shape == (2, 3, 9, 3)
    assert waterbirds(tmp_path, image_size=6).images.shape == (2, 6, 6, 3)
    assert waterbirds(tmp_path).images.shape == (2, 224, 224, 3)
    # Bilinear with half-pixel centres: 4 pixels for 2 lie at -1/4, 1/4, 3/4 and 5/4 of the way.
    row = waterbirds(tmp_path, image_size=(1, 4)).images[0, 0]
    assert row.tolist() == [[0, 0, 0], [50, 25, 12], [150, 75, 38], [200, 100, 50]]


def test_some_of_each_class_are_as_biased_as_all(tmp_path):
    rows = [(f"a/{i}.png", i % 2, 0, i % 2 if i % 10 < 8 else 1 - i % 2) for i in range(200)]
    birds(tmp_path, rows)
    few = waterbirds(tmp_path, image_size=2, per_class=40)
    assert Counter(few.labels.tolist()) == {0: 40, 1: 40}
    assert len(set(few.paths)) == 80
    agree = np.mean((few.backgrounds == "water") == few.labels)
    assert 0.7 < agree < 0.9  # not the first ones, which may be of one kind
    again = waterbirds(tmp_path, image_size=2, per_class=40)
    assert again.paths == few.paths
    assert [path.name for path in few.paths] != [f"{i}.png" for i in range(80)]
    assert (few.images[:, 0, 0, 1] == few.labels).all()


def test_imagenet9_has_a_folder_for_each_variant_and_class(tmp_path):
    for number, variant in enumerate(["original", "mixed_rand"]):
        for label, name in enumerate(["00_dog", "01_bird", "02_wheeled vehicle"]):
            for i in range(2):
                place = tmp_path / variant / "val" / name / f"fg_n0{i}.JPEG"
                paint(place, (200 * number, 100 * label, 120 * i))
        (tmp_path / variant / "val" / ".DS_Store").touch()
    found = imagenet9(tmp_path, image_size=(5, 7))
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.class_names == ("dog", "bird", "wheeled vehicle")
    assert found.backgrounds is None
    painted = [[0, 100 * label, 120 * i] for label in range(3) for i in range(2)]
    np.testing.assert_allclose(found.images[:, 2, 3], painted, atol=3)
    swapped = imagenet9(tmp_path, "mixed_rand", image_size=3, per_class=1)
    assert swapped.images[:, 0, 0, 0].min() > 190
    assert swapped.labels.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"original.train.*which holds val.*backgrounds_challenge"):
        imagenet9(tmp_path, split="train")
    paint(tmp_path / "original/train/00_dog/x.JPEG", (9, 9, 9))
    assert imagenet9(tmp_path, split="train").class_names == ("dog",)


def test_only_a_folders_own_visible_images_count(tmp_path):
    folder = tmp_path / "original" / "val" / "00_dog"
    for name in ("b.JPEG", "a.png", "c.jpg", ".hidden.png", "d.bmp", "e.gif", "deeper/f.png"):
        paint(folder / name, (9, 9, 9))
    found = imagenet9(tmp_path, image_size=2)
    assert [path.name for path in found.paths] == ["a.png", "b.JPEG", "c.jpg"]


def dogs(folder, images):
    """Write the whole of Spawrious; red says the part, green the breed, blue the place."""
    places = ["beach", "desert", "dirt", "jungle", "mountain", "snow"]
    for part in (0, 1):
        for p, place in enumerate(places):
            for b, breed in enumerate(BREEDS):
                for i in range(images):
                    target = folder / str(part) / place / breed / f"{place}_{breed}_{i:03d}.png"
                    paint(target, (part, b, p), size=(2, 1))


@pytest.fixture
def kennel(tmp_path, monkeypatch):
    """All of Spawrious, with 20 images in place of 3168."""
    monkeypatch.setattr(biased_datasets, "_IMAGES", 20)
    dogs(tmp_path, 21)
    return tmp_path


def counts(found):
    """Count images by part, breed and place, as the files' own colours tell them."""
    places = ["beach", "desert", "dirt", "jungle", "mountain", "snow"]
    assert found.images[:, 0, 0, 1].tolist() == found.labels.tolist()
    assert [places[p] for p in found.images[:, 0, 0, 2]] == found.backgrounds.tolist()
    texts = [BREEDS[label] for label in found.labels]
    return Counter(zip(found.images[:, 0, 0, 0].tolist(), texts, found.backgrounds, strict=True))


def test_one_to_one_spawrious_has_a_place_for_each_breed(kennel):
    train = spawrious(kennel, "o2o_hard", image_size=(1, 2))
    assert train.class_names == tuple(BREEDS)
    homes = {"bulldog": "jungle", "dachshund": "mountain", "labrador": "snow", "corgi": "desert"}
    expected = {}
    for breed, home in homes.items():  # 97 % and 87 % of 20, and the rest
        expected |= {(0, breed, home): 19, (0, breed, "beach"): 1}
        expected |= {(1, breed, home): 17, (1, breed, "beach"): 3}
    assert counts(train) == expected
    test = spawrious(kennel, "o2o_hard", "test", image_size=(1, 2))
    moved = {"bulldog": "mountain", "dachshund": "snow", "labrador": "desert", "corgi": "jungle"}
    assert counts(test) == {(part, b, place): 20 for b, place in moved.items() for part in (0, 1)}


def test_many_to_many_spawrious_has_two_places_for_two_breeds(kennel):
    found = counts(spawrious(kennel, "m2m_medium", image_size=(1, 2)))
    pairs = {
        ("bulldog", "dachshund"): ("beach", "snow"),
        ("labrador", "corgi"): ("mountain", "desert"),
    }
    assert found == {
        (0, breed, place): 20 for breeds, two in pairs.items() for breed in breeds for place in two
    }
    tested = counts(spawrious(kennel, "m2m_medium", split="test", image_size=(1, 2)))
    assert {place for _, breed, place in tested if breed == "corgi"} == {"beach", "snow"}


def test_the_published_counts_are_used(tmp_path):
    """Of 3168 images, as the authors count: 3072 and 96, 2756 and 412."""
    sources = {}
    for part, place, breed, count in biased_datasets._sources("o2o_easy", train=True):
        sources[part, place, breed] = count
    assert sources[0, "desert", "bulldog"] == 3072
    assert sources[0, "beach", "bulldog"] == 96
    assert sources[1, "snow", "corgi"] == 2756
    assert sources[1, "beach", "corgi"] == 412


def test_a_set_feeds_the_verdict(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("00_dog", "01_bird"):
        for i in range(100):
            pixels = rng.integers(0, 60, (18, 23, 3), dtype=np.uint8)
            pixels[6:12, 8:16] = 220
            path = tmp_path / "original/train" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    found = imagenet9(tmp_path, split="train", image_size=(18, 23))
    shortcuts = ks.Shortcuts((found.images, found.labels))
    assert shortcuts.obstacle is None
    assert shortcuts.masks_from == "border colours"
    probes = ks.Probes(found.images[:3], found.labels[:3], class_names=found.class_names)
    assert probes.class_names == ("dog", "bird")


@pytest.mark.parametrize(
    ("read", "place"),
    [(waterbirds, "metadata.csv"), (imagenet9, "val"), (spawrious, "bulldog")],
)
def test_a_missing_folder_says_what_was_expected_and_where_to_get_it(tmp_path, read, place):
    (tmp_path / "holiday").mkdir()
    with pytest.raises(ValueError, match=rf"Expected .*{place}.*holds holiday.*https://"):
        read(tmp_path / "nowhere")


def test_what_is_wrong_within_a_set_is_named(tmp_path):
    birds(tmp_path, [("a/a.png", 0, 0, 0), ("a/b.png", 1, 0, 0)])
    with pytest.raises(ValueError, match="images of the 'test' split"):
        waterbirds(tmp_path, "test")
    (tmp_path / "a/b.png").unlink()
    with pytest.raises(ValueError, match=r"b\.png can't be read"):
        waterbirds(tmp_path)
    (tmp_path / "metadata.csv").write_text("img_filename,y\na/a.png,0\n")
    with pytest.raises(ValueError, match=r"without \['place', 'split'\]"):
        waterbirds(tmp_path)
    (tmp_path / "0/desert/bulldog").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds nothing"):
        spawrious(tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"split": "dev"}, "split='dev'"),
        ({"per_class": 0}, "per_class=0"),
        ({"image_size": (0, 4)}, r"image_size=\(0, 4\)"),
        ({"image_size": (4,)}, r"image_size=\(4,\)"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options, named):
    birds(tmp_path, [("a/a.png", 0, 0, 0), ("a/b.png", 1, 0, 0)])
    with pytest.raises(ValueError, match=f"Received: {named}"):
        waterbirds(tmp_path, **options)
    with pytest.raises(ValueError, match="Received: challenge='o2o'"):
        spawrious(tmp_path, "o2o")
