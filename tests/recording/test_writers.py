"""Sets that go to a folder of pictures, or to a writer of the user's own."""

import csv
import sys

import cv2
import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import keras_saliency as ks
from keras_saliency.recording.writers.tracker import TrackerWriter

SIZE = (17, 26, 3)


class Kept:
    """A writer that keeps all it is given."""

    def __init__(self):
        self.pictures, self.numbers, self.closed = {}, {}, 0

    def images(self, pictures, step):
        for tag, picture in pictures.items():
            assert (tag, step) not in self.pictures
            self.pictures[tag, step] = picture.copy()

    def scalars(self, numbers, step):
        assert all(type(number) is float for number in numbers.values())
        self.numbers |= {(tag, step): number for tag, number in numbers.items()}

    def close(self):
        self.closed += 1


class Told(Kept):
    """One that also takes pages and animations."""

    def __init__(self):
        super().__init__()
        self.pages, self.gifs = {}, {}

    def text(self, texts, step):
        self.pages |= texts

    def animations(self, gifs, step):
        self.gifs |= gifs


def trained(log_dir, epochs=2):
    """Train the same small network on the same pictures; return the callback and the weights."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(SIZE),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    x, y = np.random.default_rng(1).random((8, *SIZE), "float32"), np.arange(8) % 2
    watch = ks.SaliencyCallback((x[:3], y[:3]), log_dir)
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[watch])
    return watch, [weight.tolist() for weight in model.get_weights()]


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """What the same training writes for TensorBoard: tag and step to a tensor."""
    folder = tmp_path_factory.mktemp("board")
    _, weights = trained(folder)
    events = EventAccumulator(str(folder / "saliency"), {"tensors": 0})
    events.Reload()
    held = {"scalars": {}, "images": {}}
    for tag in events.Tags()["tensors"]:
        plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
        for event in events.Tensors(tag):
            if plugin in held:
                held[plugin][tag, event.step] = tensor_util.make_ndarray(event.tensor_proto)
    return held, weights


def test_a_writer_gets_what_tensorboard_gets(board):
    held, weights = board
    writer = Told()
    _, ours = trained(writer)
    assert ours == weights
    assert writer.closed == 1
    assert writer.numbers == pytest.approx({k: float(v) for k, v in held["scalars"].items()})
    gifs = {(tag, 1) for tag in writer.gifs}
    assert writer.pictures.keys() | gifs == held["images"].keys()
    for key, picture in writer.pictures.items():
        data = np.frombuffer(held["images"][key][2], np.uint8)
        shown = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        assert picture.dtype == np.uint8
        assert picture.shape == shown.shape
        assert np.abs(picture.astype(int) - shown).mean() < 3  # of a JPEG
    assert "about" in writer.pages
    assert all(gif.startswith(b"GIF89a") for gif in writer.gifs.values())
    assert writer.gifs


class TakesMaps(Kept):
    """One that also takes the raw maps."""

    def maps(self, maps, step):
        assert not any(values.flags.writeable for values in maps.values())
        self.__dict__.setdefault("raw", {})[step] = maps


def test_a_writer_may_take_the_raw_maps():
    writer = TakesMaps()
    watch, _ = trained(writer)
    assert sorted(writer.raw) == [-1, 0, 1]
    newest = watch.session.newest.maps
    assert newest.keys() == writer.raw[1].keys()
    for name, values in newest.items():
        np.testing.assert_array_equal(writer.raw[1][name], values)


class Tracker(Told, TrackerWriter):
    """A tracker in memory."""

    def __init__(self, folder):
        Told.__init__(self)
        TrackerWriter.__init__(self, folder)

    def report(self, html):
        self.html = html


def test_a_tracker_gets_what_tensorboard_gets_and_the_report(board, tmp_path):
    held, weights = board
    writer = Tracker(tmp_path)
    _, ours = trained(writer)
    assert ours == weights
    assert writer.closed == 1
    assert writer.numbers == pytest.approx({k: float(v) for k, v in held["scalars"].items()})
    gifs = {(tag, 1) for tag in writer.gifs}
    assert writer.pictures.keys() | gifs == held["images"].keys()
    events = EventAccumulator(str(tmp_path / "saliency"), {"tensors": 0})
    events.Reload()
    assert {tag for tag, _ in held["images"]} <= set(events.Tags()["tensors"])
    assert "keras_saliency" in writer.html
    assert "</script>" in writer.html


def test_without_its_package_a_tracker_is_refused_by_name(monkeypatch):
    for name in ("wandb", "mlflow", "trackio"):
        monkeypatch.setitem(sys.modules, name, None)
        writer = getattr(ks.writers, f"{name.capitalize()}Writer")
        with pytest.raises(ModuleNotFoundError, match=rf'pip install "keras-saliency\[{name}\]"'):
            writer("a run")


def test_three_methods_are_enough_and_a_writer_serves_several_trainings():
    writer = Kept()
    trained(writer)
    first, writer.pictures = writer.pictures, {}
    trained(writer)
    assert writer.pictures.keys() == first.keys()
    assert writer.closed == 2


def test_a_writer_that_fails_stops_nothing_and_is_told_once(board):
    class Full(Kept):
        def images(self, pictures, step):
            raise OSError(28, "No space left on device")

    writer = Full()
    with pytest.warns(UserWarning, match="what Full writes is incomplete since before") as told:
        _, weights = trained(writer)
    assert len([one for one in told if "keras_saliency" in str(one.message)]) == 1
    assert weights == board[1]
    assert ("probes/score", 1) in writer.numbers


def test_a_folder_of_pictures(board, tmp_path):
    held, _ = board
    writer = ks.PictureFolder(tmp_path / "below" / "seen")
    assert not writer.folder.exists()
    trained(writer)
    tags = {tag: tag.replace("_", "-") for tag, _ in held["images"]}
    wanted = {
        f"{tags[tag]}/{step:06d}.{'gif' if tag.startswith('animation') else 'png'}"
        for tag, step in held["images"]
    }
    found = {str(p.relative_to(writer.folder)) for p in writer.folder.rglob("*/*.*")}
    assert found == wanted
    picture = cv2.imread(str(writer.folder / "grad-cam/00-0/-00001.png"))[..., ::-1]
    data = np.frombuffer(held["images"]["grad-cam/00_0", -1][2], np.uint8)
    shown = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(picture.astype(int) - shown).mean() < 3
    with (writer.folder / "scalars.csv").open(newline="") as file:
        rows = {(row["tag"], int(row["step"])): float(row["value"]) for row in csv.DictReader(file)}
    assert rows == pytest.approx({k: float(v) for k, v in held["scalars"].items()})
    assert "saliency" in (writer.folder / "about.md").read_text(encoding="utf-8")


def test_trainings_are_never_mixed(tmp_path):
    writer = ks.PictureFolder(tmp_path / "seen")
    trained(writer, epochs=1)
    trained(writer, epochs=1)
    trained(ks.PictureFolder(str(tmp_path / "seen")), epochs=1)
    sizes = [len(list((tmp_path / name).rglob("*.*"))) for name in ("seen", "seen_2", "seen_3")]
    assert len(set(sizes)) == 1
    assert writer.folder == tmp_path / "seen_2"


@pytest.mark.parametrize("tag", ["../../away", "a/../../../b", "/etc/c", "a\\..\\d", "\0e"])
def test_no_tag_leads_out_of_the_folder(tag, tmp_path):
    writer = ks.PictureFolder(tmp_path / "x" / "seen")
    writer.images({tag: np.zeros((3, 5, 3), np.uint8)}, 0)
    (path,) = (p for p in tmp_path.rglob("*") if p.is_file())
    assert path.is_relative_to(writer.folder)


@pytest.mark.parametrize("missing", ["images", "scalars", "close"])
def test_what_lacks_a_method_is_no_writer(missing):
    methods = dict.fromkeys({"images", "scalars", "close"} - {missing}, print)
    writer = type("Half", (), methods)()
    with pytest.raises(TypeError, match=r"images, scalars and close.*of type Half"):
        ks.SaliencyCallback(np.zeros((1, *SIZE)), writer)


@pytest.mark.parametrize("path", ["a_file/pictures", "a_file/in/pictures", "/proc/pictures"])
def test_a_folder_that_can_t_be_made_is_an_error_before_training(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").write_text("")
    layers = keras.layers
    model = keras.Sequential([keras.Input((6, 8, 3)), layers.Flatten(), layers.Dense(2)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    callback = ks.SaliencyCallback(np.ones((2, 6, 8, 3)), ks.PictureFolder(path), ["saliency"])
    with pytest.raises(OSError, match="a folder that can be written"):
        model.fit(np.ones((2, 6, 8, 3)), np.ones((2, 2)), verbose=0, callbacks=[callback])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


class Breaking:
    """A writer that can't write images."""

    def __init__(self):
        self.steps, self.is_closed = set(), False

    def images(self, images, step):
        raise RuntimeError("no images today")

    def scalars(self, numbers, step):
        self.steps.add(step)

    def close(self):
        self.is_closed = True


def test_several_places_get_everything_though_one_fails(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 10, 3)), keras.layers.Conv2D(3, 3), keras.layers.GlobalAveragePooling2D()]
    )
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).random((4, 8, 10, 3), "float32")
    breaking, folders = Breaking(), [tmp_path / "a", tmp_path / "b"]
    watch = ks.SaliencyCallback(x, [breaking, *folders], ["saliency"])
    with pytest.warns(UserWarning, match="no images today"):
        model.fit(x, np.zeros((4, 3)), epochs=2, verbose=0, callbacks=[watch])
    assert breaking.steps == {-1, 0, 1}
    assert breaking.is_closed
    found = []
    for folder in folders:
        accumulator = EventAccumulator(str(folder / "saliency"), size_guidance={"tensors": 0})
        accumulator.Reload()
        found.append(
            {
                tag: [event.step for event in accumulator.Tensors(tag)]
                for tag in accumulator.Tags()["tensors"]
            }
        )
    assert found[0] == found[1]
    assert found[0]["maps/saliency"] == found[0]["probes/score"] == [-1, 0, 1]
    again = ks.SaliencyCallback(x, folders, ["saliency"], strict=True)
    model.fit(x, np.zeros((4, 3)), initial_epoch=2, epochs=3, verbose=0, callbacks=[again])
    assert [path.name for path in folders[0].iterdir()] == ["saliency"]
    assert repr(again).startswith(f"SaliencyCallback(4 probes, '{folders[0]}' and '{folders[1]}'")
