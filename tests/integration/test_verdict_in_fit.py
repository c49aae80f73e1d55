"""The verdict inside `model.fit`: in `logs`, in TensorBoard, and as a warning."""

import csv
import html
import json
import logging
import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_saliency as ks
from keras_saliency.cli.main import main

SIZE = (24, 31)


def scenes(count=240, shortcut=True, seed=0):
    """Draw a disc or a square; with a shortcut the ground's colour goes with the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    ground = labels if shortcut else rng.integers(0, 2, count)
    colours = np.array([[40, 120, 50], [200, 205, 220]])[ground]
    images = colours[:, None, None] + rng.normal(0, 8, (count, *SIZE, 3))
    masks = np.zeros((count, *SIZE), "float32")
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for i in range(count):
        y, x = rng.integers(9, SIZE[0] - 9), rng.integers(9, SIZE[1] - 9)
        apart = np.stack([abs(rows - y), abs(columns - x)])
        inside = apart.max(0) <= 5 if labels[i] else (apart**2).sum(0) <= 36
        masks[i], images[i][inside] = inside, rng.integers(60, 180, 3)
    return np.clip(images, 0, 255).astype("uint8"), labels, masks


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    return model


def train(folder, shortcuts, after=(), epochs=4, shortcut=True, **options):
    images, labels, _ = scenes(shortcut=shortcut)
    watch = ks.SaliencyCallback((images[:3], labels[:3]), folder, shortcuts=shortcuts, **options)
    history = network().fit(
        images, labels, epochs=epochs, batch_size=40, verbose=0, callbacks=[watch, *after]
    )
    return watch, history.history


def of_the_ground():
    """Shortcuts whose verdict is about the ground alone, which takes a third of the time."""
    return ks.Shortcuts(scenes(), nuisances=["background", "cast"], components=None)


def events(folder):
    found = EventAccumulator(str(folder / "saliency"), size_guidance={"tensors": 0})
    found.Reload()
    return found


@pytest.mark.parametrize("shortcut", [True, False])
def test_what_tells_the_label_is_said_once_before_training(tmp_path, caplog, shortcut):
    images, labels, masks = scenes(shortcut=shortcut)
    watch = ks.SaliencyCallback(
        (images[:3], labels[:3]), tmp_path, shortcuts=ks.Shortcuts((images, labels, masks), every=9)
    )
    with caplog.at_level(logging.INFO, "keras_saliency"):
        for _ in range(2):
            watch.set_params({"verbose": 0, "epochs": 1, "steps": 6})
            watch.set_model(network())
            watch.on_train_begin()
            watch.on_train_end()
    said = [line for line in caplog.messages if "trivial" in line]
    assert len(said) == (1 if shortcut else 0)
    assert not shortcut or "no proof that a model uses it: the colour of" in said[0]


def test_a_model_of_the_ground_is_told(tmp_path):
    with pytest.warns(UserWarning, match="relies on the background") as told:
        watch, history = train(tmp_path, scenes())
    assert len([one for one in told if "relies on" in str(one.message)]) == 1
    verdict = watch.verdict
    assert verdict.alarm
    assert verdict.cause == "background"
    assert verdict.masks_from == "given"
    assert re.fullmatch(
        r"relies on the background \(gap [01]\.\d\d ± 0\.\d\d(, between 0\.\d\d and [01]\.\d\d)?"
        r"(; the exposure without it -?0\.\d\d)?\) since epoch [12]",
        verdict.text,
    )
    assert verdict.gaps["background"][0] > 0.5
    assert {name for name in history if "shortcut" in name} == {"shortcut_reliance"}
    assert history["shortcut_reliance"][-1] == pytest.approx(verdict.reliance)
    found = events(tmp_path)
    tags = set(found.Tags()["tensors"])
    assert {"Verdict/reliance", "Verdict/background", "Verdict/in-words"} <= tags
    assert {"Verdict/counterfactuals-background", "shortcut-masks/donors"} <= tags
    assert [e.step for e in found.Tensors("Verdict/in-words")] == [0, 1, 2, 3]
    text = found.Tensors("Verdict/in-words")[-1].tensor_proto.string_val[0].decode()
    assert verdict.text in html.unescape(text)


def test_logs_have_the_gaps_where_they_are_asked_for(tmp_path):
    shortcuts = ks.Shortcuts(scenes(), nuisances=["background", "cast"], log_gaps=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watch, history = train(tmp_path, shortcuts, epochs=2)
    for name, (gap, _) in watch.verdict.gaps.items():
        assert history[f"shortcut_{name}"][-1] == pytest.approx(gap)
    assert {name for name in history if "shortcut" in name} == {
        *("shortcut_reliance", "shortcut_background", "shortcut_cast")
    }
    with pytest.raises(TypeError, match="log_gaps must be True or False"):
        ks.Shortcuts(scenes(), log_gaps="all")


@pytest.mark.parametrize("verbose", [1, 2])
def test_beside_a_progress_bar_an_alarm_is_a_line_between_epochs(tmp_path, capsys, verbose):
    images, labels, _ = scenes()
    watch = ks.SaliencyCallback((images[:3], labels[:3]), tmp_path, shortcuts=of_the_ground())
    options = {"batch_size": 40, "epochs": 4, "verbose": verbose}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        network().fit(images, labels, callbacks=[watch], **options)
    shown = capsys.readouterr().out.splitlines()
    lines = [line for line in shown if "the callback took" not in line]  # On a busy machine.
    (at,) = [i for i, line in enumerate(lines) if "relies on" in line]
    assert lines[at].startswith("keras_saliency: ALARM: the model relies on the background")
    assert re.match(r"Epoch [34]/4", lines[at + 1])
    assert watch.verdict.alarm


@pytest.mark.filterwarnings("ignore:.*relies on the background")
def test_an_alarm_is_handed_over_once(tmp_path):
    given = []
    watch, _ = train(tmp_path, of_the_ground(), epochs=5, on_alarm=given.append)
    (verdict,) = given
    assert verdict.alarm
    assert verdict.cause == "background"
    data = json.loads((tmp_path / "saliency" / "verdict.json").read_bytes())
    assert (data["when"], data["text"]) == ("epoch 5", watch.verdict.text)


@pytest.mark.filterwarnings("ignore:.*relies on the background")
def test_an_alarm_may_stop_the_training(tmp_path):
    models = []

    class Known(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            models.append(self.model)

    def stop(verdict):
        models[0].stop_training = True

    _, history = train(tmp_path, of_the_ground(), [Known()], epochs=6, on_alarm=stop)
    assert 2 <= len(history["loss"]) < 6


def test_what_on_alarm_raises_harms_no_training(tmp_path):
    def fail(verdict):
        raise ConnectionError("no network")

    with (
        pytest.warns(UserWarning, match="relies on"),
        pytest.warns(UserWarning, match="on_alarm could not be called") as told,
    ):
        _, history = train(tmp_path, of_the_ground(), epochs=4, on_alarm=fail)
    assert len(history["loss"]) == 4
    assert len([one for one in told if "on_alarm" in str(one.message)]) == 1
    with pytest.warns(UserWarning, match="relies on"), pytest.raises(ConnectionError):
        train(tmp_path, of_the_ground(), epochs=4, on_alarm=fail, strict=True)


@pytest.mark.parametrize("wrong", ["page me", lambda: None])
def test_what_can_not_be_told_of_an_alarm_is_refused(tmp_path, wrong):
    with pytest.raises(TypeError, match="on_alarm"):
        ks.SaliencyCallback(scenes(4)[:2], tmp_path, on_alarm=wrong)


def test_in_a_run_of_batches_verdicts_have_the_steps_of_batches(tmp_path):
    with pytest.warns(UserWarning, match="relies on the background"):
        train(tmp_path, of_the_ground(), epochs=3, every="4 batches")  # of six an epoch
    found = EventAccumulator(str(tmp_path / "saliency_batches"), size_guidance={"tensors": 0})
    found.Reload()
    for tag in ("Verdict/in-words", "Verdict/background", "verdict"):
        assert [e.step for e in found.Tensors(tag)] == [6, 12, 18], tag
    assert [e.step for e in found.Tensors("maps/grad-cam")] == [0, 4, 8, 12, 16]
    said = [json.loads(e.tensor_proto.string_val[0]) for e in found.Tensors("verdict")]
    assert [one["when"] for one in said] == ["epoch 1", "epoch 2", "epoch 3"]


@pytest.mark.parametrize("change", [{}, {"methods": ["saliency"]}])
@pytest.mark.filterwarnings("ignore:.*relies on the background")
def test_a_verdict_remembers_over_a_resume_since_when(tmp_path, change, capsys):
    images, labels, _ = scenes()
    model, since, options = network(), [], {"batch_size": 40, "verbose": 0}
    for first, last in ((0, 3), (3, 4), (4, 5)):
        arguments = change if first else {}
        watch = ks.SaliencyCallback(
            (images[:3], labels[:3]), tmp_path, shortcuts=of_the_ground(), **arguments
        )
        model.fit(images, labels, initial_epoch=first, epochs=last, callbacks=[watch], **options)
        assert watch.verdict.alarm
        since.append(watch.verdict.since)
    assert since[0] in ("epoch 1", "epoch 2")
    assert since == since[:1] * 3
    assert len(list(tmp_path.iterdir())) == (2 if change else 1)
    assert main(["check", str(tmp_path)]) == 1
    assert "passed" not in capsys.readouterr().out


def test_images_and_labels_are_enough(tmp_path):
    with pytest.warns(UserWarning, match="relies on the background"):
        watch, _ = train(tmp_path, scenes()[:2])
    assert watch.verdict.masks_from == "border colours"
    assert "masks made by a program" in watch.verdict.text


def test_a_model_that_can_not_use_the_ground_is_not_accused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # so that an alarm at any epoch fails
        watch, history = train(tmp_path, scenes(shortcut=False), shortcut=False)
    assert not watch.verdict.alarm
    assert history["shortcut_reliance"][-1] < 0.2


def test_callbacks_that_stand_after_see_the_numbers(tmp_path):
    """A network of the ground never gets better than its first epochs, so training stops."""
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    stop = keras.callbacks.EarlyStopping("shortcut_reliance", mode="min", patience=2)
    save = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="shortcut_reliance", mode="min", save_best_only=True
    )
    with pytest.warns(UserWarning, match="relies on"):
        _, history = train(tmp_path, of_the_ground(), after=[log, stop, save], epochs=12)
    assert len(history["loss"]) < 12
    with open(tmp_path / "log.csv") as lines:
        rows = list(csv.DictReader(lines))
    read = [float(row["shortcut_reliance"]) for row in rows]
    assert read == pytest.approx(history["shortcut_reliance"], rel=1e-5)
    assert (tmp_path / "best.keras").is_file()


def test_between_evaluations_the_last_value_is_repeated(tmp_path):
    shortcuts = ks.Shortcuts(scenes(), every=3, nuisances=["background"], log_gaps=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, history = train(tmp_path, shortcuts, epochs=5)
    first, second, third, fourth, fifth = history["shortcut_background"]
    assert first == second
    assert third != second
    assert third == fourth == fifth
    assert [e.step for e in events(tmp_path).Tensors("Verdict/background")] == [0, 2]


def test_too_few_donors_are_told_before_training_and_abstain(tmp_path):
    images, labels, _ = scenes(30)
    with pytest.warns(UserWarning, match="pictures a class"):
        watch = ks.SaliencyCallback((images[:2], labels[:2]), tmp_path, shortcuts=(images, labels))
    history = network().fit(images, labels, epochs=2, verbose=0, callbacks=[watch]).history
    assert watch.verdict.text.startswith("can't say")
    assert np.isnan(history["shortcut_reliance"]).all()


def test_donors_that_are_all_probes_are_told_before_training_and_abstain(tmp_path):
    data = scenes(160)
    probes = ks.Probes(*(part[:120] for part in data[:2]))
    watch = ks.SaliencyCallback(probes, tmp_path, "saliency", shortcuts=data)
    images, labels, _ = data
    with pytest.warns(UserWarning, match="donors are the pictured probes"):
        history = network().fit(images, labels, epochs=1, verbose=0, callbacks=[watch]).history
    assert watch.verdict.text == "can't say: donors are not from the training data"
    assert np.isnan(history["shortcut_reliance"]).all()


def test_without_shortcuts_one_line_says_how_to_get_a_verdict(tmp_path, capsys):
    images, labels, _ = scenes(20)
    watch = ks.SaliencyCallback((images[:2], labels[:2]), tmp_path)
    network().fit(images, labels, epochs=2, verbose=2, callbacks=[watch])
    assert capsys.readouterr().out.count("shortcuts=") == 1
    assert re.match(r"can't say: .*shortcuts=\(images, labels\)", watch.verdict.text)
    assert not watch.verdict.alarm


def test_a_verdict_that_is_not_there_yet_says_why(tmp_path):
    images, labels, _ = data = scenes()
    watch = ks.SaliencyCallback((images[:2], labels[:2]), tmp_path, shortcuts=data)
    assert watch.verdict.text == "can't say: no epoch has been trained yet"
    assert np.isnan(watch.verdict.reliance)


def test_the_training_does_not_notice_the_verdict(tmp_path):
    def weights(shortcuts):
        images, labels, _ = scenes()
        model = network()
        callbacks = []
        if shortcuts is not None:
            probes = (images[:2], labels[:2])
            callbacks = [ks.SaliencyCallback(probes, tmp_path, shortcuts=shortcuts)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(images, labels, epochs=2, verbose=0, callbacks=callbacks)
        return [*model.get_weights(), np.random.random(), keras.random.uniform(())]

    for one, other in zip(weights(None), weights(scenes()), strict=True):
        np.testing.assert_array_equal(one, other)


WRONG = {
    "size": (lambda x, y: (x[:, ::2], y), r"probes' shape, \(24, 31, 3\).*\(12, 31, 3\)"),
    "labels": (lambda x, y: (x, y + 3), "from 0 to 1.*label 4"),
}


@pytest.mark.parametrize("case", WRONG)
def test_shortcuts_that_do_not_fit_the_model_are_refused_before_training(case, tmp_path):
    change, message = WRONG[case]
    images, labels, _ = scenes()
    shortcuts = change(images, labels)
    watch = ks.SaliencyCallback((images[:2], labels[:2]), tmp_path, shortcuts=shortcuts)
    with pytest.raises(ValueError, match=message):
        network().fit(images, labels, verbose=0, callbacks=[watch])


def test_shortcuts_in_another_range_than_the_probes_are_told(tmp_path):
    images, labels, _ = scenes()
    other = (images / 255, labels)
    watch = ks.SaliencyCallback((images[:2], labels[:2]), tmp_path, shortcuts=other)
    with (
        pytest.warns(UserWarning, match=r"shortcuts= is .*not scaled as the training data"),
        pytest.warns(UserWarning, match=r"differ in range"),
    ):
        network().fit(images, labels, epochs=1, verbose=0, callbacks=[watch])


def test_a_model_that_has_learnt_nothing_is_not_called_clean(tmp_path):
    images, labels, _ = scenes()
    watch = ks.SaliencyCallback((images[:2], labels[:2]), tmp_path, shortcuts=(images, labels))
    model = network()
    model.optimizer.learning_rate = 0.0
    model.layers[-1].kernel.assign(0 * model.layers[-1].kernel)
    model.fit(images, labels, epochs=1, verbose=0, callbacks=[watch])
    assert watch.verdict.text.startswith("can't say yet: the model hardly tells")
    assert not watch.verdict.alarm


def several_labels(units, activation="sigmoid", loss="binary_crossentropy"):
    """Two labels: bright ground, and a square among discs (which the network is too small for)."""
    images, ground, masks = scenes(400)
    rows = np.stack([ground, np.arange(400) // 2 % 2], axis=1)
    model = keras.Sequential([*network().layers[:-1], layers.Dense(units, activation=activation)])
    random = np.random.default_rng(0)  # the same weights on every backend
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1])))
    model.compile(keras.optimizers.Adam(0.02), loss)
    return model, images, rows, masks


def test_a_model_of_several_labels_has_a_verdict(tmp_path):
    model, images, rows, masks = several_labels(2)
    probes = ks.Probes(images[:3], rows[:3], class_names=["bright", "odd"])
    watch = ks.SaliencyCallback(probes, tmp_path, shortcuts=(images, rows, masks))
    with pytest.warns(UserWarning, match="relies on the background"):
        model.fit(images, rows, epochs=5, shuffle=False, verbose=0, callbacks=[watch])
    assert watch.verdict.per_class[0] > 0.5 > 0.2 > abs(watch.verdict.per_class[1])
    assert "Verdict/counterfactuals-mark" in events(tmp_path).Tags()["tensors"]


@pytest.mark.parametrize(
    ("units", "activation", "loss"),
    [
        pytest.param(
            *(3, "sigmoid", "binary_crossentropy"),
            marks=pytest.mark.needs(
                backend="tensorflow",
                why="elsewhere Keras tries the loss before any callback, and says it first",
            ),
        ),
        (2, "softmax", "categorical_crossentropy"),
    ],
)
def test_several_labels_need_as_many_sigmoids(units, activation, loss, tmp_path):
    model, images, rows, masks = several_labels(units, activation, loss)
    watch = ks.SaliencyCallback(images[:2], tmp_path, shortcuts=(images, rows, masks))
    with pytest.raises(ValueError, match=r"2 labels.*as many sigmoids.*Received"):
        model.fit(images, rows, verbose=0, callbacks=[watch])


def test_a_segmentation_is_refused_before_training(tmp_path):
    images, labels, masks = scenes()
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.Conv2D(2, 1, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    watch = ks.SaliencyCallback((images[:2], labels[:2]), tmp_path, shortcuts=(images, labels))
    with pytest.raises(ValueError, match=r"one answer.*\(24, 31, 2\).*segmentation"):
        model.fit(images, masks.astype(int), verbose=0, callbacks=[watch])


def regressor():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(4, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def test_classes_for_a_regression_are_refused_before_training(tmp_path):
    images, labels, _ = scenes()
    watch = ks.SaliencyCallback((images[:2], labels[:2]), tmp_path, shortcuts=(images, labels))
    with pytest.raises(ValueError, match=r"regression.*task='regression'"):
        regressor().fit(images, labels, verbose=0, callbacks=[watch])


def test_a_regression_that_follows_the_ground_is_told(tmp_path):
    images, _, masks = scenes(shortcut=False)
    ages = np.random.default_rng(0).integers(20, 90, len(images))
    ground = np.repeat((2.5 * ages)[:, None, None, None], 3, axis=3)
    images = np.where(masks[..., None] > 0, images, ground).astype("uint8")
    scaled = (ages - 55) / 20
    shortcuts = ks.Shortcuts((images, scaled, masks), nuisances=["background", "texture", "mark"])
    watch = ks.SaliencyCallback((images[:2], scaled[:2]), tmp_path, shortcuts=shortcuts)
    with pytest.warns(UserWarning, match=r"relies on the background \(carry"):
        history = (
            regressor()
            .fit(images, scaled, batch_size=40, epochs=4, verbose=0, callbacks=[watch])
            .history
        )
    assert history["shortcut_reliance"][-1] == watch.verdict.gaps["background"][0] > 0.6
    assert abs(watch.verdict.gaps["texture"][0]) < 0.1
    assert {"Verdict/counterfactuals-background", "Verdict/counterfactuals-mark"} <= set(
        events(tmp_path).Tags()["tensors"]
    )
