"""Models whose `fit` and `predict` preprocess what a call does not, as KerasHub's tasks do."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import keras_saliency as ks
from keras_saliency.engine.preprocessing import Preprocessing
from keras_saliency.metrics.scorer import scorer
from keras_saliency.shortcuts.experiment import Shortcuts

SIZE = (12, 24, 3)
FED = (6, 8)  # of the middle 16 columns
CROP = {"crop_to_aspect_ratio": True}
PAD = {"pad_to_aspect_ratio": True}


class Converter:
    """Resizes, and scales each channel in its own way."""

    def __init__(self, **options):
        self.resizing = kl.Resizing(*FED, **options)

    def __call__(self, images):
        resized = ops.convert_to_numpy(self.resizing(ops.convert_to_tensor(images)))
        return resized * np.float32([1 / 127.5, 1 / 100, 1 / 50]) + np.float32([-1, 0, 0.5])


class Task(keras.Model):
    """Preprocesses as KerasHub's tasks do: in `fit` and `predict`, and not when it is called."""

    preprocessor = None

    def preprocess_samples(self, x, y=None, sample_weight=None):
        x = x if self.preprocessor is None else self.preprocessor(x)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def fit(self, x, y, **options):
        return super().fit(self.preprocess_samples(x), y, **options)

    def predict(self, x, **options):
        return super().predict(self.preprocess_samples(x), verbose=0, **options)


def task(preprocessor, units=2, seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((*FED, 3))
    x = kl.Conv2D(4, 3, activation="relu", name="top")(inputs)
    x = kl.Dense(units, "softmax")(kl.Flatten()(x))
    model = Task(inputs, x)
    model.preprocessor = preprocessor
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def pictures(count=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE), np.uint8)


def halved(images):
    """Average 2 x 2 pixels, as bilinear resizing to one half does."""
    count, height, width, channels = images.shape
    cells = images.reshape(count, height // 2, 2, width // 2, 2, channels)
    return cells.mean(axis=(2, 4), dtype="float64")


def nothing(model, images):
    return ops.zeros((images.shape[0], 1, 1))


@pytest.mark.parametrize(
    ("options", "dtype"),
    # Keras's layer pads no uint8 on TensorFlow (3.15).
    [(CROP, "uint8"), ({}, "uint8"), (CROP, "float32"), (PAD, "float32"), ({}, "float32")],
)
def test_what_the_model_is_fed_is_what_predict_feeds(options, dtype):
    """Keras rounds what it resizes of uint8."""
    model, images = task(Converter(**options)), pictures().astype(dtype)
    found = ks.explain(model, images, "grad_cam")
    np.testing.assert_allclose(found.outputs, model.predict(images), atol=1e-6)
    assert found.display.shape == (5, *FED, 3)
    bare = task(None)
    bare.set_weights(model.get_weights())
    fed = model.preprocessor(images)
    wanted = ks.explain(bare, ks.Probes(fed, display=found.display), "grad_cam")
    np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-6)
    np.testing.assert_allclose(wanted.outputs, bare.predict(fed), atol=1e-6)


def test_pictures_and_masks_are_cropped_as_the_images_are():
    model, images = task(Converter(**CROP)), pictures()
    masks = np.zeros((5, *SIZE[:2]))
    masks[:, 2:5, 6:12] = 1
    probes = ks.Probes(images, masks=masks)
    fed = Preprocessing(model, probes.model_inputs).probes(probes)
    np.testing.assert_allclose(fed.display, halved(images[:, :, 4:20]), atol=1)
    np.testing.assert_allclose(fed.masks, halved(masks[:, :, 4:20, None])[..., 0], atol=0.01)
    np.testing.assert_allclose(fed.images, model.preprocessor(images), atol=1e-5)


def test_what_is_only_rescaled_is_drawn_as_it_was_given():
    class Rescaled(Converter):
        def __init__(self):
            self.resizing = kl.Identity()

    inputs = keras.Input(SIZE)
    model = Task(inputs, kl.Dense(2)(kl.GlobalAveragePooling2D()(inputs)))
    model.preprocessor = Rescaled()
    images = pictures()
    found = ks.explain(model, images, nothing)
    np.testing.assert_array_equal(found.display, images)
    np.testing.assert_allclose(found.outputs, model.predict(images), atol=1e-5)


def test_values_that_are_scaled_image_by_image():
    """Black and white images then say nothing of the size, and pictures are resized as a whole."""

    class PerImage(Converter):
        def __call__(self, images):
            resized = ops.convert_to_numpy(self.resizing(ops.convert_to_tensor(images)))
            centred = resized - resized.mean(axis=(1, 2), keepdims=True)
            return centred / np.maximum(centred.std(axis=(1, 2), keepdims=True), 1.0)

    model, images = task(PerImage()), pictures()
    found = ks.explain(model, images, "saliency")
    np.testing.assert_allclose(found.outputs, model.predict(images), atol=1e-5)
    assert found.display.shape == (5, *FED, 3)
    assert found.display.std() > 10


def test_without_a_preprocessor_nothing_changes():
    images = np.random.default_rng(0).random((3, *FED, 3), "float32")
    model = task(None)
    plain = keras.Model(model.inputs[0], model.outputs[0])
    found, wanted = (ks.explain(net, images, "saliency") for net in (model, plain))
    np.testing.assert_array_equal(found.maps, wanted.maps)
    probes = ks.Probes(images)
    assert Preprocessing(model).probes(probes) is probes
    assert Preprocessing(plain).probes(probes) is probes


@pytest.mark.parametrize(
    ("options", "scale", "offset"),
    [(CROP, (2, 2), (0, 4)), ({}, (2, 3), (0, 0)), (PAD, (3, 3), (-3, 0))],
    ids=["crop", "stretch", "pad"],
)
def test_maps_are_put_where_they_lie_in_the_images(options, scale, offset):
    """A cell's middle comes to the middle of the pixels that it was made of."""
    preprocessing = Preprocessing(task(Converter(**options)))
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for cell in ((2, 3), (3, 5)):
        maps = np.zeros((1, *FED), "float32")
        maps[0][cell] = 1
        (placed,) = preprocessing.placed(maps, pictures(1))
        assert placed.shape == SIZE[:2]
        middle = [(placed * axis).sum() / placed.sum() for axis in (rows, columns)]
        wanted = [(k + 0.5) * s - 0.5 + o for k, s, o in zip(cell, scale, offset, strict=True)]
        np.testing.assert_allclose(middle, wanted, atol=0.2)
    (everywhere,) = preprocessing.placed(np.ones((1, *FED), "float32"), pictures(1))
    seen = slice(4, 20) if options == CROP else slice(None)
    np.testing.assert_allclose(everywhere[:, seen], 1, atol=1e-6)
    assert everywhere.sum() == pytest.approx(everywhere[:, seen].sum(), rel=0.1)


def test_perturbed_images_are_scored_as_predict_answers():
    model, images = task(Converter(**CROP)), pictures(3)
    score = scorer(model, images, target=[0, 1, 1])
    perturbed = images * np.float32(0.5)
    wanted = model.predict(np.rint(perturbed).astype("uint8"))[np.arange(3), [0, 1, 1]]
    np.testing.assert_allclose(score(perturbed), wanted, rtol=1e-5)


def test_probes_and_shortcuts_of_a_training_run(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 2
    colours = np.array([[200, 90, 90], [90, 90, 200]])[labels]
    images = (colours[:, None, None] + rng.normal(0, 6, (240, *SIZE))).astype("uint8")
    masks = np.zeros((240, *SIZE[:2]), "float32")
    masks[:, 4:9, 9:15] = 1
    model = task(Converter(**CROP))
    shortcuts = Shortcuts((images, labels, masks), nuisances=["cast", "mark"])
    watch = ks.SaliencyCallback(
        ks.Probes(images[:3], labels[:3]), tmp_path, shortcuts=shortcuts, strict=True
    )
    with pytest.warns(UserWarning, match="relies on"):
        model.fit(images, labels, epochs=4, verbose=0, callbacks=[watch])
    answers = model.predict(images[:3])[np.arange(3), labels[:3]]
    np.testing.assert_allclose(watch.session.newest.probability, answers, rtol=1e-5)
    assert watch.session.probes.display.shape == (3, *FED, 3)
    sheet = watch.verdict.sheets["cast"]
    receivers = shortcuts.receivers
    order = np.argsort(receivers.labels, kind="stable")
    shown = order[np.linspace(0, len(order) - 1, len(sheet.labels)).astype(int)]
    wanted = model.predict(receivers.pixels[shown])
    wanted = wanted[np.arange(len(shown)), receivers.labels[shown]]
    np.testing.assert_allclose(sheet.watched[:, 0], wanted, rtol=1e-4)
    located = receivers.spots[receivers.spots.any(axis=(1, 2))]  # of those that were tried
    assert len(located)
    assert located[..., 1].min() >= 4
    assert receivers.spots[..., 1].max() < 20
