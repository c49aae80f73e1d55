"""The command line, run as a user would, on real files."""

import importlib.metadata
import os
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import matplotlib
import matplotlib.cbook
import numpy as np
import pytest
from keras import layers, ops
from PIL import Image
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util

from keras_saliency.cli.main import main

from helpers.backends import derivatives

SIZE = (20, 28)


def network(size=SIZE, channels=3, outputs=3, activation="softmax"):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((*size, channels))
    x = layers.Conv2D(4, 3, activation="gelu", name="first")(inputs)
    x = layers.Conv2D(5, 3, strides=2, activation="softplus", name="last")(x)
    x = layers.GlobalAveragePooling2D()(x)
    # Small weights, as the pictures have values up to 255.
    small = keras.initializers.RandomNormal(stddev=0.02, seed=4)
    return keras.Model(inputs, layers.Dense(outputs, activation, kernel_initializer=small)(x))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(folder / "small.keras")
    network((None, None), 1).save(folder / "grey.keras")
    network(activation=None, outputs=1).save(folder / "value.keras")
    return folder


@pytest.fixture(scope="module")
def hopper():
    return matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, empty but for a picture."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (5, 7, 3), np.uint8), (61, 43))
    Image.fromarray(picture).save("leaf.png")
    return tmp_path


@pytest.fixture
def cli(capsys):
    """Run a command that succeeds; return what it printed."""

    def run(*arguments):
        capsys.readouterr()
        assert main([str(each) for each in arguments]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys):
    """Run a command that fails with one line, which is returned."""

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main([str(each) for each in arguments])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        assert status == 2
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert said.err.startswith("keras-saliency")
        return said.err

    return run


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def model_input(path, size=SIZE):
    """Resize as Keras's loader does: bilinear, not antialiased."""
    picture = np.asarray(Image.open(path).convert("RGB"), "float32")
    return np.array(ops.image.resize(picture[None], size, "bilinear", antialias=False))


def classic(picture, map_):
    """Blend as the recipes do: 0.6 photo + 0.4 jet."""
    height, width = picture.shape[:2]
    scaled = cv2.resize(map_ / map_.max(), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = matplotlib.colormaps["jet"](scaled)[..., :3] * 255
    return cv2.addWeighted(picture.astype(float), 0.6, heat, 0.4, 0)


def grad_cam(model, layer, images):
    """Grad-CAM of the predicted logit by two models, before the layer and after it."""
    head, seen = model.layers[-1], model.get_layer(layer).output
    features = keras.Model(model.input, seen)(images)
    after = keras.Model(seen, head.input)
    (slope,) = derivatives(lambda a: ops.max(after(a) @ head.kernel + head.bias), features)
    weights = ops.mean(slope, axis=(1, 2), keepdims=True)
    return ops.convert_to_numpy(ops.relu(ops.sum(weights * features, axis=-1)))[0]


def test_vgg16_gives_the_classic_overlay_at_the_photos_own_size(cli, hopper, folder):
    keras.utils.set_random_seed(0)
    options = ["--weights", "none", "--layer", "block5_conv3", "--opacity", 0.4, "--cmap", "jet"]
    said = cli("explain", "VGG16", hopper, *options, "--out", "overlay.png")

    keras.utils.set_random_seed(0)
    model = keras.applications.VGG16(weights=None)
    images = keras.applications.vgg16.preprocess_input(model_input(hopper, (224, 224)))
    map_ = grad_cam(model, "block5_conv3", images)
    best = int(model.predict(images, verbose=0).argmax())
    assert f"grad_cam of class {best}" in said
    assert f"at block5_conv3, raw peak {map_.max():.2g}"[:-1] in said
    found = pixels("overlay.png")
    assert found.shape == pixels(hopper).shape == (600, 512, 3)
    assert np.abs(found - classic(pixels(hopper), map_)).max() < 4


def test_one_line_says_what_was_found_and_where_it_is(cli, models, folder):
    said = cli("explain", models / "small.keras", "leaf.png")
    model = keras.saving.load_model(models / "small.keras", compile=False)
    chances = model.predict(model_input("leaf.png"), verbose=0)[0]
    best = chances.argmax()
    start = (
        f"leaf.png: predicted {best} (probability {chances[best]:.3g}); grad_cam of class {best}"
    )
    assert said.startswith(start)
    assert " at last, raw peak " in said
    assert said.endswith(" -> leaf.grad_cam.png\n")
    assert pixels("leaf.grad_cam.png").shape == (43, 61, 3)


def test_target_of_and_layer_are_those_asked_for(cli, models, folder):
    model = keras.saving.load_model(models / "small.keras", compile=False)
    chances = model.predict(model_input("leaf.png"), verbose=0)[0].astype(float)
    file = models / "small.keras"
    for index in (0, 2):
        said = cli("explain", file, "leaf.png", "--target", index, "--of", "probability")
        assert f"class {index}, probability {chances[index]:.3g}" in said
    said = cli("explain", file, "leaf.png", "--of", "log_probability", "--layer", "first")
    assert f"log_probability {np.log(chances.max()):.3g} at first" in said
    said = cli("explain", file, "leaf.png", "--layer", "first", "--layer", "last")
    assert " at first + last, raw peak 0.964 " in said  # tanh(2)
    lead = np.log(np.sort(chances)[-1] / np.sort(chances)[-2])
    said = cli("explain", file, "leaf.png", "--target", "contrast")
    assert float(said.split("logits ")[1].split(" at ")[0]) == pytest.approx(lead, rel=0.02)


def test_a_map_of_the_input_needs_no_layer(cli, models, folder):
    said = cli("explain", models / "small.keras", "leaf.png", "--method", "saliency")
    assert " at " not in said
    assert (folder / "leaf.saliency.png").exists()


@pytest.mark.parametrize(
    ("name", "scaled"),
    [
        ("unit", lambda x: x / 255),
        ("signed", lambda x: x / 127.5 - 1),
        ("mobilenet_v2", lambda x: x / 127.5 - 1),
        ("vgg16", lambda x: x[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")),
    ],
)
def test_the_model_gets_what_preprocess_makes(cli, models, folder, name, scaled):
    file = models / "small.keras"
    said = cli("explain", file, "leaf.png", "--preprocess", name, "--of", "probability")
    model = keras.saving.load_model(file, compile=False)
    chances = model.predict(scaled(model_input("leaf.png")), verbose=0)[0]
    assert f"class {chances.argmax()}, probability {chances.max():.3g} " in said


def test_opacity_and_colour_map_are_used(cli, models, folder):
    file = models / "small.keras"
    cli("explain", file, "leaf.png", "--opacity", 0, "--out", "none.png")
    np.testing.assert_array_equal(pixels("none.png"), pixels("leaf.png"))
    cli("explain", file, "leaf.png", "--opacity", 1, "--cmap", "gray", "--out", "grey.png")
    assert np.ptp(pixels("grey.png"), axis=-1).max() == 0
    cli("explain", file, "leaf.png", "--out", "default.png")
    assert np.ptp(pixels("default.png"), axis=-1).max() > 20


def test_panels_show_the_picture_beside_its_map(cli, models, folder):
    file = models / "small.keras"
    cli("explain", file, "leaf.png", "--panels", "--cmap", "gray", "--opacity", 0)
    drawing = pixels("leaf.grad_cam.png")
    height, width = drawing.shape[:2]
    assert width > 3 * height > 300
    patch = drawing[height // 2 - 60 : height // 2 + 60, width // 6 - 60 : width // 6 + 60]
    assert patch.std() > 20
    # The overlay has no opacity: it is the picture again.
    right = drawing[:, -width // 3 :].astype("float32")
    alike = cv2.matchTemplate(right, patch.astype("float32"), cv2.TM_CCOEFF_NORMED)
    assert alike.max() > 0.99
    middle = drawing[:, width // 3 + 20 : 5 * width // 9]
    assert np.ptp(middle, axis=-1).max() < 8


def test_several_pictures_go_to_a_folder_or_by_a_pattern(cli, models, folder):
    Image.open("leaf.png").rotate(90, expand=True).save("tree.png")
    said = cli("explain", models / "small.keras", "leaf.png", "tree.png", "--out", "maps/new")
    assert [line.split(":")[0] for line in said.splitlines()] == ["leaf.png", "tree.png"]
    names = sorted(path.name for path in (folder / "maps" / "new").iterdir())
    assert names == ["leaf.grad_cam.png", "tree.grad_cam.png"]
    assert pixels("maps/new/tree.grad_cam.png").shape == (61, 43, 3)
    cli("explain", models / "small.keras", "leaf.png", "tree.png", "--out", "by/{name}/map.jpg")
    with Image.open("by/tree/map.jpg") as drawing:
        assert drawing.format == "JPEG"
    # In company and alone, a picture is drawn alike.
    cli("explain", models / "small.keras", "tree.png", "--out", "alone.png")
    difference = pixels("alone.png") - pixels("maps/new/tree.grad_cam.png")
    assert np.abs(difference).max() <= 2


def test_a_photo_is_turned_upright(cli, models, folder):
    upright = Image.open("leaf.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.save("turned.png", exif=exif)
    cli("explain", models / "small.keras", "turned.png", "leaf.png", "--out", ".")
    np.testing.assert_array_equal(pixels("turned.grad_cam.png"), pixels("leaf.grad_cam.png"))


def test_a_model_of_any_size_and_one_channel_gets_grey_pictures_as_they_are(cli, models, folder):
    Image.open("leaf.png").resize((37, 29)).save("little.png")
    said = cli("explain", models / "grey.keras", "leaf.png", "little.png").splitlines()
    model = keras.saving.load_model(models / "grey.keras", compile=False)
    for line, name in zip(said, ["leaf", "little"], strict=True):
        grey = np.asarray(Image.open(f"{name}.png").convert("L"), "float32")[None, ..., None]
        chances = model.predict(grey, verbose=0)[0]
        assert f"predicted {chances.argmax()} (probability {chances.max():.3g})" in line
    assert pixels("little.grad_cam.png").shape == (29, 37, 3)


def test_a_regression_has_a_value_and_no_probability(cli, models, folder):
    said = cli("explain", models / "value.keras", "leaf.png", "--method", "gradient_x_input")
    value = keras.saving.load_model(models / "value.keras").predict(
        model_input("leaf.png"), verbose=0
    )
    assert f"predicted {value[0, 0]:.3g}; gradient_x_input of value {value[0, 0]:.3g}, " in said


def test_a_legacy_file_and_one_with_an_unknown_loss_load(cli, models, folder):
    def loss_of_my_own(truth, found):
        return ops.mean((truth - found) ** 2, axis=-1)

    model = network()
    model.save("old.h5")
    model.compile("adam", loss_of_my_own)
    model.save("own.keras")
    alike = {cli("explain", name, "leaf.png") for name in ("old.h5", "own.keras")}
    assert len(alike) == 1


@pytest.fixture
def stand_in(monkeypatch):
    """A small network in the place of VGG16 with its weights, which are too big for a test."""

    def build(weights="imagenet"):
        if weights == "imagenet" and not stand_in.online:
            raise Exception("URL fetch failure on https://example.org/vgg16.h5")
        return network(outputs=1000)

    def stand_in():
        pass

    stand_in.online = True
    build.__module__ = "keras.src.applications.vgg16"
    monkeypatch.setattr(keras.applications, "VGG16", build)
    return stand_in


def test_classes_of_imagenet_are_named_where_the_names_can_be_fetched(
    cli, stand_in, folder, monkeypatch
):
    def named(outputs, top):
        return [[("n01", f"name_of_{row.argmax()}", row.max())][:top] for row in outputs]

    def offline(outputs, top):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications.vgg16, "decode_predictions", named)
    said = cli("explain", "VGG16", "leaf.png")
    index = said.split("predicted ")[1].split()[0]
    assert f"predicted {index} name_of_{index} (probability" in said
    monkeypatch.setattr(keras.applications.vgg16, "decode_predictions", offline)
    assert f"predicted {index} (probability" in cli("explain", "VGG16", "leaf.png")


def test_weights_that_cannot_be_fetched_are_told(cli, refused, stand_in, folder):
    stand_in.online = False
    said = refused("explain", "VGG16", "leaf.png")
    assert "--weights none" in said
    assert "URL fetch failure" in said
    cli("explain", "VGG16", "leaf.png", "--weights", "none")


def test_models_that_cannot_be_loaded_are_told(refused, models, folder):
    assert "Did you mean 'VGG19' or 'VGG16'" in refused("explain", "VGG17", "leaf.png")
    assert "There is no model file gone.keras" in refused("explain", "gone.keras", "leaf.png")
    said = refused("explain", models / "small.keras", "leaf.png", "--weights", "none")
    assert "Leave --weights out" in said
    (folder / "broken.keras").write_text("nothing")
    assert "broken.keras can't be loaded" in refused("explain", "broken.keras", "leaf.png")
    (folder / "saved_model").mkdir()
    assert "model.save('model.keras')" in refused("explain", "saved_model", "leaf.png")
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, layers.Lambda(lambda x: x + 1)(inputs)).save("code.keras")
    assert "safe_mode=False" in refused("explain", "code.keras", "leaf.png")
    inputs = keras.Input((8,))
    keras.Model(inputs, layers.Dense(2)(inputs)).save("flat.keras")
    assert "Received: input shape (None, 8)" in refused("explain", "flat.keras", "leaf.png")


def test_options_that_cannot_work_are_told(refused, models, folder):
    start = ("explain", models / "small.keras", "leaf.png")
    assert "Did you mean 'grad_cam'" in refused(*start, "--method", "gradcam")
    said = refused(*start, "--layer", "lost")
    assert "'first'" in said
    assert "'last'" in said
    assert "from 0 to 2" in refused(*start, "--target", 3)
    assert "predicted, contrast or a class index" in refused(*start, "--target", "label")
    assert "choose from" in refused(*start, "--of", "odds")
    assert "Did you mean 'viridis'" in refused(*start, "--cmap", "viridi")
    assert "from 0 to 1" in refused(*start, "--opacity", 1.5)
    assert "from 0 to 1" in refused(*start, "--opacity", "half")
    said = refused(*start, "--preprocess", "vgg61")
    assert "unit, signed" in said
    assert "vgg16" in said
    assert "MODEL, IMAGE" in refused("explain")
    assert "COMMAND" in refused()


def test_pictures_that_cannot_be_read_are_told(refused, models, folder):
    assert "There is no picture gone.png" in refused("explain", models / "small.keras", "gone.png")
    (folder / "notes.png").write_text("no picture")
    assert "notes.png can't be read" in refused("explain", models / "small.keras", "notes.png")


def test_nothing_is_written_over_or_lost(refused, models, folder):
    before = (folder / "leaf.png").read_bytes()
    start = ("explain", models / "small.keras", "leaf.png")
    (folder / "link.png").symlink_to("leaf.png")
    for out in ("leaf.png", "./{name}.png", "link.png"):
        assert "one of the pictures" in refused(*start, "--out", out)
    Image.open("leaf.png").save("tree.png")
    (folder / "other").mkdir()
    Image.open("leaf.png").save("other/leaf.png")
    assert "a file of its own" in refused(*start, "tree.png", "--out", "one.png")
    assert "a file of its own" in refused(*start, "other/leaf.png")
    assert (folder / "leaf.png").read_bytes() == before


def test_outs_that_cannot_be_written_are_told(refused, models, folder):
    start = ("explain", models / "small.keras", "leaf.png")
    assert "can't be written" in refused(*start, "--out", "leaf.png/map.png")
    (folder / "leaf.grad_cam.png").mkdir()
    assert "a folder of that name" in refused(*start)
    assert "--out must end in .png" in refused(*start, "--out", "map.tiff")


def losses(run):
    accumulator = plugin_event_accumulator.EventAccumulator(str(run))
    accumulator.Reload()
    tensors = accumulator.Tensors("epoch_loss")
    return {event.step: float(tensor_util.make_ndarray(event.tensor_proto)) for event in tensors}


@pytest.mark.filterwarnings("ignore:There will be no verdict")  # of so few pictures
def test_demo_trains_and_says_how_to_look(cli, refused, folder):
    said = cli("demo", "--images", 12, "--epochs", 2, "--log-dir", "there")
    for correlation in ("0.95", "0.5"):
        assert f"Drawing 12 elephants and penguins, correlation {correlation} ..." in said
        assert f"correlation-{correlation}/saliency" in said
        run = folder / "there" / f"correlation-{correlation}" / "saliency"
        assert losses(run).keys() == {0, 1}
    assert said.count("can't say:") == 2
    assert "tensorboard --logdir there" in said
    assert "from 0 to 1" in refused("demo", "--images", 12, "--correlation", 2)
    assert "from 1" in refused("demo", "--epochs", 0)


@pytest.mark.filterwarnings("ignore:There will be no verdict")  # of so few pictures
def test_the_demo_follows_its_seed_and_the_correlation(cli, folder):
    few = ("demo", "--images", 8, "--epochs", 1)
    cli(*few, "--log-dir", "a", "--correlation", 1, 0)
    cli(*few, "--log-dir", "b", "--correlation", 1, "--seed", 1)
    runs = sorted(folder.glob("[ab]/*/saliency"))
    assert [run.parent.name for run in runs] == ["correlation-0", "correlation-1", "correlation-1"]
    assert len({losses(run)[0] for run in runs}) == 3


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    version = importlib.metadata.version("keras_saliency")
    assert capsys.readouterr().out == f"keras-saliency {version}\n"


def test_help_is_instant():
    code = """
import sys
from keras_saliency.cli.main import main
try:
    main(["explain", "--help"])
finally:
    heavy = {"keras", "tensorflow", "cv2", "matplotlib", "numpy"} & sys.modules.keys()
    assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "grad_cam_plus_plus" in done.stdout


def test_tensorboards_help_leaves_tensorflow_alone():
    script = """
import sys
from keras_saliency.cli.main import main
try:
    main(["tensorboard", "--help"])
finally:
    assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"--samples_per_plugin" in done.stdout


def test_the_console_script_is_this_function():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="keras-saliency")
    assert script.load() is main
