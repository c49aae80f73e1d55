"""Images that are scaled unlike the training data are told, with numbers, and others are not."""

import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers as kl

import keras_saliency as ks

SAID = (
    r"the model's (accuracy|loss) on (.+) is ([\d.e+-]+), where training reports ([\d.e+-]+); if "
    r"their values were (.+), it would be ([\d.e+-]+)\. They are not scaled as the training data"
)


def pictures(count=480, seed=0):
    """Dark and bright pictures, which no model tells apart in another range."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    levels = np.array([20, 220])[labels]
    images = levels[:, None, None, None] + rng.normal(0, 8, (count, 16, 16, 3))
    return images.clip(0, 255).astype("uint8"), labels


def network(inside, metrics, norm=False):
    keras.utils.set_random_seed(1)
    parts = [keras.Input((16, 16, 3)), *([kl.Rescaling(1 / 127.5, -1)] if inside else [])]
    parts += [kl.Conv2D(4, 3, activation="relu"), *([kl.BatchNormalization()] if norm else [])]
    parts += [kl.GlobalAveragePooling2D(), kl.Dense(8, "elu"), kl.Dense(2, "softmax")]
    model = keras.Sequential(parts)
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.03), loss, metrics=metrics)
    return model


def train(folder, model, inputs, labels, epochs=1, **options):
    """Train, go on with the callback, and return what was said of scales, parsed, and logs."""
    model.fit(inputs, labels, batch_size=8, epochs=3, verbose=0)
    watch = ks.SaliencyCallback(
        log_dir=folder, methods=["gradient_x_input"], strict=True, **options
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = model.fit(
            inputs, labels, batch_size=8, epochs=epochs, verbose=0, callbacks=[watch]
        ).history
    found = [re.search(SAID, str(w.message)) for w in caught]
    return [f.groups() for f in found if f], {k: v[-1] for k, v in history.items()}


def measured(model, inputs, labels):
    own = model.predict(inputs, verbose=0)
    loss = -np.log(np.maximum(own[np.arange(len(labels)), labels], 1e-7)).mean()
    return {"accuracy": np.mean(own.argmax(axis=1) == labels), "loss": loss}


@pytest.mark.parametrize("metrics", [["accuracy"], None])
@pytest.mark.parametrize("of", ["probes", "shortcuts"])
def test_wrong_scales_are_said_with_both_numbers_and_what_would_be_right(tmp_path, metrics, of):
    images, labels = pictures()
    inside = of == "probes"
    right, wrong = (images, images / 255.0) if inside else (images / 255.0, images)
    model = network(inside, metrics)
    probes = ks.Probes(wrong[:16], labels[:16])
    shortcuts = None
    if of == "shortcuts":
        probes = ks.Probes(right[:16], labels[:16])
        shortcuts = ks.Shortcuts((wrong, labels), masks=None, nuisances=["cast"])
    said, logs = train(tmp_path, model, right, labels, probes=probes, shortcuts=shortcuts)
    assert len(said) == 1
    kind, name, now, training, words, would = said[0]
    assert kind == ("accuracy" if metrics else "loss")
    assert name == ("the 16 probes" if inside else "64 training images of shortcuts=")
    assert float(training) == pytest.approx(logs[kind], rel=0.01)
    inputs, known = (wrong[:16], labels[:16]) if inside else (None, None)
    if shortcuts is not None:
        receivers = shortcuts.receivers
        inputs, known = receivers.pixels.astype("float32"), receivers.labels
    assert float(now) == pytest.approx(measured(model, inputs, known)[kind], rel=0.01)
    assert words == ("from 0 to 255" if inside else "from 0 to 1")
    scaled = inputs * 255 if inside else inputs / 255
    assert float(would) == pytest.approx(measured(model, scaled, known)[kind], rel=0.01)


def test_it_is_said_once(tmp_path):
    images, labels = pictures()
    probes = ks.Probes(images[:16] / 255.0, labels[:16])
    said, _ = train(tmp_path, network(True, ["accuracy"]), images, labels, epochs=4, probes=probes)
    assert len(said) == 1


@pytest.mark.parametrize("norm", [False, True])
def test_nothing_is_said_of_images_that_are_scaled_right(tmp_path, norm):
    images, labels = pictures()
    shortcuts = ks.Shortcuts((images, labels), masks=None, nuisances=["cast"])
    probes = ks.Probes(images[:16], labels[:16])
    model = network(True, ["accuracy"], norm)
    said, _ = train(tmp_path, model, images, labels, epochs=3, probes=probes, shortcuts=shortcuts)
    assert not said


def test_hard_probes_are_no_wrong_scale(tmp_path):
    """Probes whose labels are turned round are wrong at every scale."""
    images, labels = pictures()
    probes = ks.Probes(images[:16], 1 - labels[:16])
    said, _ = train(tmp_path, network(True, ["accuracy"]), images, labels, 3, probes=probes)
    assert not said
