"""The verdict on models that take more than images: each other input is swapped, too."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency as ks
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts

SIZE = (24, 32)
OBJECT = (slice(8, 16), slice(12, 22))


def patients(count=300, agreement=1.0, seed=0):
    """Squares whose red is the class, on grounds whose green is, with an age of 30 or 70."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = np.full((count, *SIZE, 3), 60, np.uint8)
    images[..., 2] = rng.integers(0, 100, (count, *SIZE))  # so that no two are the same
    images[..., 1] = (50 + 150 * labels)[:, None, None]
    images[:, *OBJECT, 1] = 90
    images[:, *OBJECT, 0] = (50 + 150 * labels)[:, None, None]
    follows = rng.random(count) < agreement
    ages = np.where(follows, 30 + 40 * labels, rng.choice([30, 70], count)).astype("float32")
    masks = np.zeros((count, *SIZE), np.float32)
    masks[:, *OBJECT] = 1
    return {"age": ages, "photo": images}, labels, masks


def two_classes(second):
    return np.stack([1 - second, second], axis=1)


def of_age(inputs):
    return (inputs["age"] - 30) / 40


def of_object(inputs):
    return (inputs["photo"][:, 12, 16, 0] - 50) / 150


def of_ground(inputs):
    return (inputs["photo"][:, 4, 20, 1] - 50) / 150


def evaluated(data, model, nuisances=("background", "frame"), **options):
    shortcuts = Shortcuts(data, nuisances=nuisances, **options)
    evaluator = Evaluator(shortcuts, lambda x: two_classes(model(x)))
    evaluator.evaluate(0)
    return evaluator.evaluate(1)


@pytest.mark.parametrize("degree", [0.0, 0.3, 1.0])
def test_the_gap_of_an_input_is_the_degree_to_which_it_is_followed(degree):
    verdict = evaluated(patients(), lambda x: degree * of_age(x) + (1 - degree) * of_object(x))
    assert verdict.gaps["age"][0] == pytest.approx(degree, abs=1e-6)
    assert verdict.gaps["background"][0] == verdict.gaps["frame"][0] == 0
    assert verdict.alarm == (degree > 0)
    if degree:
        assert verdict.cause == "age"
        assert verdict.text.startswith("relies on the input 'age' (gap ")


def test_a_swap_of_the_picture_keeps_the_receivers_own_input():
    verdict = evaluated(patients(), of_ground)
    assert verdict.gaps["background"][0] == pytest.approx(1, abs=0.02)
    assert verdict.gaps["age"] == (0, 0)
    assert verdict.cause == "background"


@pytest.mark.parametrize("degree", [0.4, 0.6])
def test_picture_and_input_are_both_named(degree):
    verdict = evaluated(patients(), lambda x: degree * of_age(x) + (1 - degree) * of_ground(x))
    assert verdict.gaps["age"][0] == pytest.approx(degree, abs=1e-6)
    assert verdict.gaps["background"][0] == pytest.approx(1 - degree, abs=0.02)
    assert verdict.cause == ("age" if degree > 0.5 else "background")
    assert ("also on the background" if degree > 0.5 else "also on the input 'age'") in verdict.text


def test_several_inputs_and_their_order():
    inputs, labels, masks = patients()
    given = {"site": labels, "photo": inputs["photo"], "age": np.full((300, 1), 50)}
    verdict = evaluated((given, labels, masks), lambda x: np.float64(x["site"]))
    assert verdict.gaps["site"] == (1, 0)
    assert verdict.gaps["age"] == (0, 0)
    assert list(verdict.gaps) == ["background", "frame", "site", "age"]
    # A tuple has positions.
    given = labels, inputs["photo"], np.full((300, 1), 50)
    verdict = evaluated((given, labels, masks), lambda x: np.float64(x[0]))
    assert verdict.gaps["input_0"] == (1, 0)
    assert verdict.gaps["input_2"] == (0, 0)


def test_another_view_is_swapped_whole():
    inputs, labels, masks = patients()
    view = np.zeros((300, 6, 6, 1), np.float32) + labels[:, None, None, None]
    data = ks.Probes({"photo": inputs["photo"], "view": view}, labels, masks=masks, image="photo")
    verdict = evaluated(data, lambda x: x["view"].mean((1, 2, 3)))
    assert verdict.gaps["view"][0] == pytest.approx(1)
    assert {text for row in verdict.sheets["view"].captions for text in row} <= {
        "p = 1.00",
        "p = 0.00",
    }


def test_what_a_task_rightly_uses_is_measured_without_an_alarm():
    verdict = evaluated(patients(), of_age, meant=["age"])
    assert verdict.gaps["age"][0] == pytest.approx(1)
    assert not verdict.alarm


def test_sheets_show_one_picture_with_the_values_swapped():
    sheet = evaluated(patients(), of_age).sheets["age"]
    np.testing.assert_array_equal(sheet.images[:, 0], sheet.images[:, 1])
    np.testing.assert_array_equal(sheet.images[:, 0], sheet.images[:, 2])
    for label, captions in zip(sheet.labels, sheet.captions, strict=True):
        own, other = (70, 30) if label else (30, 70)
        assert captions == [
            f"p = 1.00, age {own}",
            f"p = 1.00, age {own}",
            f"p = 0.00, age {other}",
        ]
    assert "age" not in str(evaluated(patients(), of_ground).sheets["background"].captions)


def test_a_regression_carries_an_input():
    inputs, _, masks = patients()
    rng = np.random.default_rng(1)
    doses = rng.uniform(0, 10, 300).astype("float32")
    data = {"photo": inputs["photo"], "dose": 2 * doses}, doses, masks
    evaluator = Evaluator(
        Shortcuts(data, nuisances=["background"]), lambda x: 0.5 * x["dose"] * 0.7 + 1
    )
    assert evaluator.evaluate(0).gaps["dose"][0] == pytest.approx(0.7)


def test_few_images():
    data = patients(48)
    assert Shortcuts(data, nuisances=["background"]).origins is not None
    assert evaluated(data, of_age).gaps["age"][0] == pytest.approx(1)


class Batches(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self.inputs, self.labels, _ = patients()

    def __len__(self):
        return 10

    def __getitem__(self, index):
        rows = slice(30 * index, 30 * index + 30)
        return {name: values[rows] for name, values in self.inputs.items()}, self.labels[rows]


def test_a_dataset_of_dicts():
    verdict = evaluated(Batches(), of_age, nuisances=["frame"], masks=None)
    assert verdict.gaps["age"][0] == pytest.approx(1)


def test_videos_with_an_age():
    inputs, labels, masks = patients()
    clips, moving = (np.repeat(each[:, None], 3, axis=1) for each in (inputs["photo"], masks))
    data = {"clip": clips, "age": inputs["age"]}, labels, moving
    verdict = evaluated(data, of_age, nuisances=["background"])
    assert verdict.gaps["age"][0] == pytest.approx(1)
    assert verdict.gaps["background"] == (0, 0)


def network():
    keras.utils.set_random_seed(0)
    age, photo = keras.Input((1,), name="age"), keras.Input((*SIZE, 3), name="photo")
    x = layers.Rescaling(1 / 255)(photo)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Concatenate()([x, layers.Rescaling(1 / 40, offset=-1.25)(age)])
    model = keras.Model({"age": age, "photo": photo}, layers.Dense(2, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    return model


def columns(inputs):
    return {"photo": inputs["photo"], "age": inputs["age"][:, None]}


@pytest.mark.parametrize("ages_tell", [True, False])
def test_a_fit_on_two_inputs(tmp_path, ages_tell):
    """Where pictures tell nothing the model follows the age, and where ages don't the ground."""
    inputs, labels, masks = patients(240, agreement=1.0 if ages_tell else 0.0)
    if ages_tell:
        inputs["photo"] = np.random.default_rng(0).permutation(inputs["photo"])
    inputs = columns(inputs)
    # The order of names is not that of the probes, which is not that of the model.
    chosen = {name: inputs[name][:4] for name in ("age", "photo")}
    shortcuts = Shortcuts((inputs, labels, masks), components=3, nuisances=["background", "mark"])
    watch = ks.SaliencyCallback((chosen, labels[:4]), tmp_path, shortcuts=shortcuts)
    model = network()
    cause = "age" if ages_tell else "background"
    words = "input 'age'" if ages_tell else "background"
    with pytest.warns(UserWarning, match=f"relies on the {words}"):
        history = model.fit(inputs, labels, epochs=6, verbose=0, batch_size=40, callbacks=[watch])
    assert watch.verdict.alarm
    assert watch.verdict.cause == cause
    assert watch.verdict.gaps["background" if ages_tell else "age"][0] < 0.1
    assert len(watch.verdict.components) == 2
    assert history.history["shortcut_reliance"][-1] == pytest.approx(watch.verdict.gaps[cause][0])
    # The truth: what is lost where the input of the other class is fed.
    if ages_tell:
        own, other = (
            model.predict({**inputs, "age": ages}, verbose=0)[np.arange(240), labels]
            for ages in (inputs["age"], 100 - inputs["age"])
        )
        assert watch.verdict.gaps["age"][0] == pytest.approx((own - other).mean(), abs=0.05)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda x: x["photo"], "Received: nothing beside the images of shortcuts=, 'age'"),
        (lambda x: {"photo": x["photo"], "site": x["age"]}, r"Received: 'site' \(1,\)"),
        (lambda x: {"photo": x["photo"], "age": x["age"][:, 0]}, r"'age' \(\) .* 'age' \(1,\)"),
        (lambda x: (x["age"], x["photo"]), r"Received: 0 \(1,\) beside.*'age' \(1,\)"),
    ],
)
def test_inputs_must_be_those_of_the_probes(tmp_path, given, reason):
    inputs, labels, masks = patients(240)
    inputs = columns(inputs)
    shortcuts = Shortcuts((given(inputs), labels, masks), nuisances=["background"])
    chosen = {name: rows[:4] for name, rows in inputs.items()}
    watch = ks.SaliencyCallback((chosen, labels[:4]), tmp_path, shortcuts=shortcuts)
    with pytest.raises(ValueError, match=reason):
        network().fit(inputs, labels, verbose=0, callbacks=[watch])


def test_a_model_of_images_alone_refuses_others(tmp_path):
    inputs, labels, masks = patients(240)
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Conv2D(2, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, "softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    shortcuts = Shortcuts((inputs, labels, masks), nuisances=["background"])
    watch = ks.SaliencyCallback((inputs["photo"][:4], labels[:4]), tmp_path, shortcuts=shortcuts)
    with pytest.raises(ValueError, match=r"'age' \(\) beside .*, nothing beside"):
        model.fit(inputs["photo"], labels, verbose=0, callbacks=[watch])


@pytest.mark.parametrize(
    ("change", "options", "error", "reason"),
    [
        ({"age": np.zeros(7)}, {}, ValueError, r"a row for each image.*'age': \(7,\)"),
        ({"age": np.array(["old"] * 300)}, {}, TypeError, "age.*must (be|hold|contain) numbers"),
        ({"age": np.full(300, np.nan)}, {}, ValueError, "age.*NaN"),
        ({"view": np.zeros((300, 9, 9, 3))}, {}, ValueError, r"image=.*'view': \(300, 9, 9, 3\)"),
        ({"a-b": np.zeros(300), "a_b": np.ones(300)}, {}, ValueError, "'a-b', 'a_b'"),
        ({}, {"grounds": np.zeros((4, *SIZE, 3))}, ValueError, "grounds.*'age' beside the images"),
        ({}, {"receivers": (patients()[0]["photo"], patients()[1])}, ValueError, "'age': \\(\\)"),
        ({}, {"meant": ["ages"]}, ValueError, r"'age'.*meant=\['ages'\]"),
    ],
)
def test_what_does_not_fit_is_refused(change, options, error, reason):
    inputs, labels, masks = patients()
    with pytest.raises(error, match=f"(?s){reason}"):
        Shortcuts((inputs | change, labels, masks), **options)


def test_a_head_is_not_retrained_on_several_inputs():
    inputs, labels, masks = patients()
    shortcuts = Shortcuts((columns(inputs), labels, masks), nuisances=["background"])
    with pytest.raises(ValueError, match=r"nothing beside them.*images beside 'age'"):
        ks.retrain_head(network(), shortcuts)
