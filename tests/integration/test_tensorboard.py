"""What TensorBoard shows: beside Keras's own callback, in both loaders, by our command."""

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.util import tensor_util

import keras_saliency as ks
from keras_saliency.callback.messages import unreadable_name
from keras_saliency.cli.tensorboard import with_all_images
from keras_saliency.recording.tensorboard.event_reader import newest
from keras_saliency.recording.tensorboard.event_writer import EventWriter

pytestmark = pytest.mark.integration

STEPS = 12  # with the set before training more than the ten that TensorBoard keeps
FREQUENCIES = (1, 7, "epoch")
PLACES = ("before", "after")
PICTURES = ("overview", "saliency/00_0", "saliency/01_1")


def train(folder, frequency, place):
    """Train with Keras's TensorBoard and, before or after it in the list, our callback."""
    keras.utils.set_random_seed(3)
    random = np.random.default_rng(0)
    x, y = random.random((16, 9, 14, 3), "float32"), np.arange(16) % 2
    model = keras.Sequential(
        [
            keras.Input((9, 14, 3)),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    callbacks = [keras.callbacks.TensorBoard(folder, update_freq=frequency, write_graph=False)]
    watch = ks.SaliencyCallback((x[:2], y[:2]), folder, ["saliency"], every=1)
    if place is not None:
        callbacks.insert(0 if place == "before" else 1, watch)
    epochs = STEPS if frequency == 1 else 3
    model.fit(
        x, y, batch_size=4, epochs=epochs, validation_split=0.25, verbose=0, callbacks=callbacks
    )


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    for frequency in FREQUENCIES:
        for place in (None, *PLACES):
            train(folder / f"{frequency}-{place}", frequency, place)
    return folder


@pytest.fixture(scope="module")
def read(logs):
    """All runs as TensorBoard's Python loader reads them."""
    found = EventMultiplexer(tensor_size_guidance={"images": 0, "scalars": 0})
    found.AddRunsFromDirectory(str(logs))
    found.Reload()
    return found


def curves(read, run):
    """The curves of a run; of speeds, which no two training runs share, the steps."""
    found = {}
    for tag in read.PluginRunToTagToContent("scalars").get(run, ()):
        found[tag] = [
            (
                e.step,
                None if "per_second" in tag else float(tensor_util.make_ndarray(e.tensor_proto)),
            )
            for e in read.Tensors(run, tag)
        ]
    return found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_the_curves_are_those_of_a_training_without_us(read, frequency, place):
    for run in ("train", "validation"):
        alone = curves(read, f"{frequency}-None/{run}")
        assert alone == curves(read, f"{frequency}-{place}/{run}")
        assert alone or (run, frequency) == ("validation", 7)  # of which Keras writes nothing
    tags = read.PluginRunToTagToContent("scalars")[f"{frequency}-{place}/saliency"]
    assert "probes/score" in tags
    assert not any(tag.startswith("epoch_") for tag in tags)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_all_pictures_are_there(read, frequency, place):
    for tag in PICTURES:
        steps = [e.step for e in read.Tensors(f"{frequency}-{place}/saliency", tag)]
        assert steps == list(range(-1, STEPS if frequency == 1 else 3))


@contextlib.contextmanager
def started(*flags):
    """Start the command on a free port; yield a function that asks a route for JSON or bytes."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-c", "import sys, keras_saliency.cli.main as c; sys.exit(c.main())"]
    flags = ["tensorboard", *map(str, flags), "--port", str(port), "--host", "127.0.0.1"]
    server = subprocess.Popen([*command, *flags], env=os.environ, stderr=subprocess.DEVNULL)

    def ask(route, **query):
        address = f"http://127.0.0.1:{port}/under/data/plugin/{route}"
        with urllib.request.urlopen(
            f"{address}?{urllib.parse.urlencode(query)}", timeout=20
        ) as answer:
            is_json = answer.headers.get_content_type() == "application/json"
            return json.load(answer) if is_json else answer.read()

    try:
        yield ask
    finally:
        server.terminate()
        server.wait(30)


def awaited(ask, *route, until, **query):
    """Ask until the server is up and has read enough."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if until(found := ask(*route, **query)):
                return found
        time.sleep(0.3)
    raise TimeoutError(route)


@pytest.mark.parametrize("loader", ["--load_fast=false", "--load_fast=auto"])
def test_the_command_shows_everything_in_both_loaders(logs, read, loader):
    runs = {f"{f}-{p}/{run}" for f in FREQUENCIES for p in PLACES for run in ("train", "saliency")}
    with started("--logdir", logs, loader, "--path_prefix=/under") as ask:
        awaited(ask, "scalars/tags", until=lambda found: runs <= found.keys())
        for f, p in [(f, p) for f in FREQUENCIES for p in PLACES]:
            for tag, points in curves(read, f"{f}-{p}/train").items():
                shown = ask("scalars/scalars", run=f"{f}-{p}/train", tag=tag)
                assert [step for _, step, _ in shown] == [step for step, _ in points]
                if "per_second" not in tag:
                    assert [value for *_, value in shown] == [value for _, value in points]
            wanted = list(range(-1, STEPS if f == 1 else 3))
            for tag in PICTURES:
                query = {"run": f"{f}-{p}/saliency", "tag": tag, "sample": 0}
                shown = awaited(ask, "images/images", until=len, **query)
                assert [one["step"] for one in shown] == wanted
        layout = ask("custom_scalars/layout")
        (category,) = layout["category"]
        charts = {chart["title"]: chart["multiline"]["tag"] for chart in category["chart"]}
        found = {
            title: ask("custom_scalars/scalars", run="epoch-after/train", tag=tags[0])
            for title, tags in charts.items()
        }
    assert list(found["loss"]["tag_to_events"]) == ["epoch_loss"]
    assert list(found["accuracy"]["tag_to_events"]) == ["epoch_accuracy"]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A run of seven epochs, resumed from the third with other data, for five more."""
    folder = tmp_path_factory.mktemp("resumed")
    random = np.random.default_rng(0)
    x, y = random.random((16, 9, 14, 3), "float32"), np.arange(16) % 2
    keras.utils.set_random_seed(3)
    layers = keras.layers
    top = [layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((9, 14, 3)), layers.Conv2D(3, 3), *top])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for images, epochs in ((x, {"epochs": 7}), (1 - x, {"initial_epoch": 2, "epochs": 5})):
        watch = ks.SaliencyCallback((x[:2], y[:2]), folder)
        model.fit(images, y, verbose=0, callbacks=[watch], **epochs)
    return folder


@pytest.mark.parametrize("loader", ["--load_fast=false", "--load_fast=auto"])
def test_of_a_run_that_is_resumed_no_point_of_the_lost_epochs_is_left(resumed, loader):
    numbers = newest(resumed)[0].scalars
    assert {tag for tag in numbers if tag.startswith("similarity/")}
    flags = ["--samples_per_plugin", "images=1000", "--logdir", resumed, loader]
    with started(*flags, "--path_prefix=/under") as ask:
        awaited(ask, "scalars/tags", until=lambda found: "saliency" in found)
        for tag, steps in numbers.items():
            shown = ask("scalars/scalars", run="saliency", tag=tag)
            assert [[step, value] for _, step, value in shown] == [list(p) for p in steps.items()]
            first = 0 if tag.startswith("similarity/") or tag == "epoch_loss" else -1
            if tag.startswith("faithfulness/"):  # Of the last evaluation, and every fifth.
                first = 4
            assert list(steps) == list(range(first, 5)), tag
        for tag in (*PICTURES, "grad-cam/00_0", "film-strip/grad-cam", "animation/grad-cam"):
            shown = awaited(ask, "images/images", until=len, run="saliency", tag=tag, sample=0)
            assert max(one["step"] for one in shown) == 4, tag
        for method in ("saliency", "grad-cam"):
            found = ask("keras_saliency/maps", run="saliency", method=method)["steps"]
            assert [one["step"] for one in found] == [-1, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("loader", ["--load_fast=false", "--load_fast=auto"])
@pytest.mark.parametrize(("samples", "kept"), [("", 1000), (",keras_saliency=1100", 1100)])
def test_more_than_a_thousand_steps_are_shown_on_request(tmp_path, loader, samples, kept):
    (tmp_path / "run").mkdir()
    writer = EventWriter(tmp_path / "run")
    for step in range(1100):
        writer.blobs("maps/a", [b'{"version": 2}'], step)
    writer.close()
    flags = [f"--samples_per_plugin=images=1100{samples}", "--logdir", tmp_path, loader]
    with started(*flags, "--path_prefix=/under") as ask:
        found = awaited(ask, "keras_saliency/runs", until=lambda found: found["runs"])
    assert len(found["runs"]["run"]["methods"]["a"]) == kept


@pytest.mark.parametrize(
    ("flags", "samples"),
    [
        ([], "images=1000"),
        (["--samples_per_plugin", "scalars=7"], "scalars=7,images=1000"),
        (["--samples_per_plugin=scalars=7,images=3"], "scalars=7,images=3"),
    ],
)
def test_what_the_user_says_of_samples_counts(flags, samples):
    assert with_all_images(["--logdir", "a b", *flags, "--bind_all"]) == [
        f"--samples_per_plugin={samples}",
        "--logdir",
        "a b",
        "--bind_all",
    ]


def test_a_name_that_tensorboard_cannot_read_is_told_with_the_way_to_the_pictures(tmp_path, capsys):
    folder = tmp_path / 'a"b\\c'
    x = np.random.default_rng(0).random((4, 9, 14, 3), "float32")
    layers = keras.layers
    top = [layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((9, 14, 3)), layers.Conv2D(3, 3), *top])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    watch = ks.SaliencyCallback(x[:2], folder, ["saliency"])
    model.fit(x, np.arange(4) % 2, verbose=2, callbacks=[watch])
    found = re.findall(r"by tensorboard (.*), or with (.*)\n", capsys.readouterr().out)
    ((way, flag),) = found
    above = ["--logdir", tmp_path, "--load_fast=true"]
    for flags, is_shown in ((above, False), (shlex.split(way), True), ([*above, flag], True)):
        with started(*flags, "--path_prefix=/under") as ask:
            (run,) = awaited(ask, "images/tags", until=len)
            query = {"run": run, "tag": "overview", "sample": 0}
            one, *_ = awaited(ask, "images/images", until=len, **query)
            query = dict(urllib.parse.parse_qsl(one["query"]))
            fails = contextlib.nullcontext() if is_shown else pytest.raises(urllib.error.HTTPError)
            with fails:
                assert ask("images/individualImage", **query).startswith(b"\xff\xd8")  # a JPEG


def test_of_a_name_that_tensorboard_reads_nothing_is_said(tmp_path):
    assert unreadable_name(tmp_path / "it's ünïcode, 100 % [fine]") is None
    assert "--logdir" in unreadable_name(tmp_path / "a\tb")
