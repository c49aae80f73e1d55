"""What a whole training run leaves in TensorBoard's own tabs and in a notebook."""

import base64
import io
import json
import re

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import keras_saliency as ks
from keras_saliency.callback.batch_norm import BatchNormStatus
from keras_saliency.metrics.localization import enrichment
from keras_saliency.recording.overview import Overview

SIZE = (11, 16, 3)


def network(*body):
    keras.utils.set_random_seed(0)
    conv = keras.layers.Conv2D(3, 3, activation="relu")
    pool = keras.layers.GlobalAveragePooling2D()
    model = keras.Sequential(
        [keras.Input(SIZE), *body, conv, pool, keras.layers.Dense(2, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def pictures(n=8):
    return np.random.default_rng(0).random((n, *SIZE), "float32"), np.arange(n) % 2


def probes():
    x, y = pictures(3)
    masks = np.zeros((3, *SIZE[:2]))
    masks[:, 2:7, 3:9] = 1
    return ks.Probes(x, y, masks=masks, class_names=["<b>", "dog"])


def fit(watch, epochs=2, **options):
    x, y = pictures()
    network().fit(x, y, epochs=epochs, callbacks=[watch], **({"verbose": 0} | options))


def read(run):
    accumulator = EventAccumulator(str(run), tensor_size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator


def texts(run, tag):
    found = read(run).Tensors(tag)
    return {e.step: tensor_util.make_ndarray(e.tensor_proto).item().decode() for e in found}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    with pytest.warns(UserWarning, match="no verdict"):  # of so few images
        watch = ks.SaliencyCallback(probes(), folder, shortcuts=pictures())
    fit(watch)
    return watch, folder / "saliency"


def test_every_dashboard_has_something(trained):
    accumulator = read(trained[1])
    tags = {name: set(accumulator.PluginTagToContent(name)) for name in accumulator.ActivePlugins()}
    assert {"overview", "animation/grad-cam", "animation/saliency"} <= tags["images"]
    assert {"focus/grad-cam", "similarity/saliency", "your-probes/focus-saliency/00_b"} <= tags[
        "scalars"
    ]
    assert {"about", "Verdict/in-words"} <= tags["text"]
    assert tags["custom_scalars"] == {"custom_scalars__config__"}
    assert tags["keras_saliency"] == {"probes", "maps/grad-cam", "maps/saliency", "verdict"}


def test_the_saliency_tab_gets_the_numbers_of_the_maps(trained):
    watch, run = trained
    *_, newest = read(run).Tensors("maps/grad-cam")
    said = json.loads(tensor_util.make_ndarray(newest.tensor_proto)[0])
    found = ks.explain(watch.model, probes(), "grad_cam", target="label")
    np.testing.assert_allclose(said["peak"], found.maps.max((1, 2)), rtol=1e-4)
    wanted = enrichment(found.maps, probes().masks)  # NaN, in JSON None, where a map is dead
    np.testing.assert_allclose(np.array(said["focus"], float), wanted, rtol=1e-4)
    assert (newest.step, said["when"]) == (1, "epoch 2")


def test_the_page_about_a_run_ends_in_its_verdict(trained):
    watch, run = trained
    pages = texts(run, "about")
    assert list(pages) == [-1, 1]
    assert "Not yet" in pages[-1]
    assert "can&#39;t say" in pages[1]
    assert watch.verdict.text.startswith("can't say")
    assert "| looks every | epoch |" in pages[1]


def test_a_notebook_shows_the_newest_set_and_the_verdict(trained):
    watch, _ = trained
    shown = np.asarray(Image.open(io.BytesIO(watch._repr_png_())))
    seen = probes()
    wanted = Overview(seen.names, seen.display, seen.label_texts(), "logits").draw(
        watch.session.newest
    )
    np.testing.assert_array_equal(shown, wanted)
    assert watch.session.newest.step == 1
    page = watch._repr_html_()
    assert base64.b64decode(re.search(r'base64,([^"]*)', page)[1]) == watch._repr_png_()
    assert "The model: can&#x27;t say" in page


def test_a_notebook_shows_nothing_before_the_training():
    watch = ks.SaliencyCallback(probes())
    assert watch._repr_png_() is None
    assert watch._repr_html_() is None


def test_a_run_that_is_continued_keeps_its_charts_and_its_page(tmp_path):
    watch = ks.SaliencyCallback(probes(), tmp_path, ["saliency"])
    fit(watch)
    fit(watch, epochs=4, initial_epoch=2)
    assert list(texts(tmp_path / "saliency", "about")) == [-1]
    assert len(read(tmp_path / "saliency").Tensors("custom_scalars__config__")) == 1
    assert "no verdict without the training data" in watch._repr_html_()


@pytest.mark.parametrize(("epochs", "times"), [(10, 0), (11, 1)])
def test_how_to_see_all_steps_is_said_when_training_begins(tmp_path, capsys, epochs, times):
    fit(ks.SaliencyCallback(probes(), tmp_path, ["saliency"]), epochs, verbose=2)
    said = capsys.readouterr().out.partition("Epoch 1/")[0]
    line = f"writing to {tmp_path}/saliency; view: keras-saliency tensorboard --logdir {tmp_path}"
    assert said.count(line) == 1
    assert said.count("tensorboard keeps 10 steps") == times


def test_only_batch_norms_that_have_seen_nothing_are_not_settled():
    assert BatchNormStatus(network()).note(network()) == ""
    fresh = network(keras.layers.BatchNormalization())
    assert BatchNormStatus(fresh).note(fresh) == "batch norm not settled"
