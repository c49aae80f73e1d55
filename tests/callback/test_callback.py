"""The callback inside `model.fit`: what it writes, and that the training does not notice it."""

import functools
import io
import itertools
import random
import re
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import keras_saliency as ks
from keras_saliency.drawing.cards import tile
from keras_saliency.recording.tensorboard.event_writer import encode_jpeg

from helpers.backends import next_random_numbers

SIZE = (13, 18, 3)
ONE_PASS = ("saliency", "gradient_x_input", "cam", "grad_cam", "grad_cam_plus_plus")
ONE_PASS += ("hires_cam", "layer_cam", "xgrad_cam")


class DrawsAtInference(layers.Layer):
    """Adds noise whether it trains or not."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(5)

    def call(self, inputs):
        return inputs + 0.01 * keras.random.normal(ops.shape(inputs), seed=self.seeds)


class CountsCalls(layers.Layer):
    """Counts how often it is called, in a variable and in Python."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.traced = 0

    def call(self, inputs):
        self.count.assign_add(1.0)
        self.traced += 1
        return inputs


def pictures(count=24, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, *SIZE), "float32"), np.arange(count) % 2


def head(kind, x):
    if kind == "softmax":
        return layers.Dense(2, activation="softmax")(x)
    return layers.Dense(2 if kind == "linear" else 1, "sigmoid" if kind == "sigmoid" else None)(x)


def loss_of(kind):
    if kind == "sigmoid":
        return "binary_crossentropy"
    return keras.losses.SparseCategoricalCrossentropy(from_logits=kind == "linear")


def body(x):
    x = layers.Conv2D(4, 3, activation="relu", name="first")(x)
    return layers.Conv2D(5, 3, activation="relu", name="last")(x)


def functional(kind):
    inputs = keras.Input(SIZE)
    return keras.Model(inputs, head(kind, layers.GlobalAveragePooling2D()(body(inputs))))


def sequential(kind):
    units, activation = {"softmax": (2, "softmax"), "linear": (2, None), "sigmoid": (1, "sigmoid")}[
        kind
    ]
    return keras.Sequential(
        [
            keras.Input(SIZE),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Conv2D(5, 3, activation="relu", name="last"),
            layers.Flatten(),
            layers.Dense(units, activation=activation),
        ]
    )


def nested(kind):
    inputs = keras.Input(SIZE)
    backbone = keras.Model(inputs, layers.MaxPooling2D()(body(inputs)), name="backbone")
    outer = keras.Input(SIZE)
    return keras.Model(outer, head(kind, layers.GlobalAveragePooling2D()(backbone(outer))))


class Subclassed(keras.Model):
    def __init__(self, kind):
        super().__init__()
        self.first = layers.Conv2D(4, 3, activation="relu")
        self.last = layers.Conv2D(5, 3, activation="relu", name="last")
        self.pool = layers.GlobalAveragePooling2D()
        units = {"softmax": (2, "softmax"), "linear": (2, None), "sigmoid": (1, "sigmoid")}[kind]
        self.out = layers.Dense(units[0], activation=units[1])

    def call(self, inputs):
        return self.out(self.pool(self.last(self.first(inputs))))


def restless():
    return keras.Sequential(
        [
            keras.Input(SIZE),
            layers.RandomFlip(seed=3),
            layers.RandomRotation(0.1, seed=4),
            DrawsAtInference(),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            CountsCalls(),
            layers.Dropout(0.4, seed=6),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax", activity_regularizer="l2"),
        ]
    )


def events(run):
    found = EventAccumulator(str(run), size_guidance={"tensors": 0})
    found.Reload()
    return found


def steps(found, tag):
    return [event.step for event in found.Tensors(tag)]


def fit(model, callbacks, epochs=3, kind="softmax", **options):
    model.compile(keras.optimizers.Adam(0.01), loss_of(kind), metrics=["accuracy"])
    x, y = pictures()
    return model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks, **options)


@pytest.mark.parametrize("kind", ["softmax", "linear", "sigmoid"])
@pytest.mark.parametrize("build", [functional, sequential, nested, Subclassed])
def test_every_kind_of_model_and_head_is_watched(build, kind, tmp_path):
    keras.utils.set_random_seed(1)
    x, y = pictures(5)
    fit(build(kind), [ks.SaliencyCallback((x, y), tmp_path)], epochs=2, kind=kind)
    found = events(tmp_path / "saliency")
    tags = set(found.Tags()["tensors"])
    for i, label in enumerate(y):
        for method in ("saliency", "grad-cam"):
            assert f"{method}/{i:02d}_{label}" in tags
    assert steps(found, "grad-cam/00_0") == [-1, 0, 1]
    assert steps(found, "film-strip/saliency") == [-1, 0, 1]
    assert steps(found, "probes/score") == [-1, 0, 1]


@pytest.mark.parametrize("kind", ["softmax", "linear", "sigmoid"])
def test_scores_written_are_the_logits_of_the_labels(kind, tmp_path):
    keras.utils.set_random_seed(2)
    x, y = pictures(4)
    model = sequential(kind)
    fit(model, [ks.SaliencyCallback((x, y), tmp_path)], epochs=1, kind=kind)
    dense = model.layers[-1]
    features = keras.Model(model.inputs, model.layers[-2].output).predict(x, verbose=0)
    logits = features @ dense.kernel.numpy() + dense.bias.numpy()
    wanted = (2 * y - 1) * logits[:, 0] if kind == "sigmoid" else logits[np.arange(4), y]
    found = events(tmp_path / "saliency")
    for i, label in enumerate(y):
        event = found.Tensors(f"your-probes/score/{i:02d}_{label}")[-1]
        assert make_ndarray(event.tensor_proto) == pytest.approx(wanted[i], abs=1e-4)


def state_after_fit(callbacks, as_dataset):
    """Train on seeded, reshuffled data; return all that the training has changed."""
    keras.utils.set_random_seed(7)
    x, y = pictures()
    data = {"x": x, "y": y, "batch_size": 8}
    if as_dataset:
        import tensorflow as tf

        data = {"x": tf.data.Dataset.from_tensor_slices((x, y)).shuffle(24, seed=8).batch(8)}
    model = restless()
    model.compile(keras.optimizers.Adam(0.01), loss_of("softmax"), metrics=["accuracy"])
    made = callbacks(data["x"], (x[:3], y[:3]))
    history = model.fit(**data, epochs=3, verbose=0, callbacks=made).history
    counter = next(one for one in model.layers if isinstance(one, CountsCalls))
    every = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return {
        # Those of seed generators are among the model's.
        "variables": [ops.convert_to_numpy(v).tolist() for v in every],
        "history": history,
        "random": next_random_numbers(),
        "traced": counter.traced,
        "attributes": [sorted(vars(one)) for one in model._flatten_layers()],
        "calls": ["call" in vars(one) for one in model._flatten_layers()],
    }


def failing_later(model, images):
    """Work before training, raise during it."""
    random.random(), np.random.random()
    failing_later.calls += 1
    if failing_later.calls > 2:
        raise RuntimeError("half way")
    return ops.sum(model.input_gradients(images), axis=-1)


READS = pytest.mark.needs(package="tensorflow", why="reads a tf.data.Dataset")


@pytest.mark.parametrize(
    "case",
    ["arrays", pytest.param("dataset", marks=READS), "batches", "one pass", "failing"],
)
def test_training_does_not_notice(case, tmp_path):
    failing_later.calls = 0

    def watched(data, probes):
        options = {
            "arrays": {},
            "dataset": {},
            "batches": {"every": "2 batches"},
            "one pass": {"methods": ONE_PASS},
            "failing": {"methods": ["grad_cam", failing_later]},
        }[case]
        given = data if case == "dataset" else probes
        return [ks.SaliencyCallback(given, tmp_path, **options)]

    def trained(callbacks):
        return state_after_fit(callbacks, case == "dataset")

    alone = trained(lambda data, probes: [])
    if case == "failing":
        with pytest.warns(UserWarning, match="failing_later.*half way"):
            seen = trained(watched)
    else:
        seen = trained(watched)
    assert (tmp_path / ("saliency_batches" if case == "batches" else "saliency")).is_dir()
    for key, value in alone.items():
        assert seen[key] == value, key


def test_thirty_epochs_are_all_there(tmp_path):
    x, y = pictures(2)
    fit(functional("softmax"), [ks.SaliencyCallback((x, y), tmp_path)], epochs=30)
    found = events(tmp_path / "saliency")
    for tag in ("grad-cam/01_1", "saliency/00_0", "your-probes/score/00_0"):
        assert steps(found, tag) == list(range(-1, 30))
    # A strip holds all before it, so it is written less and less often, and at the end.
    written = steps(found, "film-strip/grad-cam")
    assert written == [*range(-1, 7), 8, 10, 13, 16, 20, 25, 29]


def test_a_tile_is_the_map_of_its_epoch_drawn_on_its_probe(tmp_path):
    keras.utils.set_random_seed(4)
    x, y = pictures(3)
    model = functional("softmax")
    probes = ks.Probes(x, y, class_names=["cat", "dog"])
    fit(model, [ks.SaliencyCallback(probes, tmp_path, check_maps=False)], epochs=2)
    found = ks.explain(model, probes, "saliency", target="label")
    chance = model.predict(x, verbose=0)[1]
    said = ["cat", "dog"][chance.argmax()]
    wanted = tile(
        probes.display[1],
        found.maps[1],
        title="01 dog",
        subtitle="epoch 2 (step 1)",
        caption=f"predicted {said} {100 * chance.max():.0f} %",
        correct=bool(chance.argmax() == y[1]),
    )
    event = events(tmp_path / "saliency").Tensors("saliency/01_dog")[-1]
    written, again = (
        np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)
        for jpeg in (event.tensor_proto.string_val[2], encode_jpeg(wanted))
    )
    assert written.shape == wanted.shape
    # The maps of two traces differ by rounding, which a JPEG may show by a level or two.
    assert np.abs(written - again).max() <= 3


def test_batch_norm_that_has_not_settled_is_named(tmp_path):
    watch = ks.SaliencyCallback(pictures(1), tmp_path)
    model = restless()
    fit(model, [watch], epochs=2)  # six steps at a momentum of 0.99
    assert (watch.session.newest.when, watch.session.newest.note) == (
        "epoch 2",
        "batch norm not settled",
    )
    settled = keras.Sequential(
        [
            keras.Input(SIZE),
            layers.BatchNormalization(momentum=0.5),
            layers.Conv2D(4, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    fit(settled, [watch], epochs=2)
    assert (watch.session.newest.when, watch.session.newest.note) == ("epoch 2", "")


def test_thirty_three_probes_in_chunks_are_as_one_by_one(tmp_path):
    keras.utils.set_random_seed(3)
    x, y = pictures(33)
    model = functional("softmax")
    fit(model, [ks.SaliencyCallback((x, y), tmp_path, batch_size=8)], epochs=1)
    found = events(tmp_path / "saliency")
    for i in (0, 7, 8, 31, 32):
        alone = ks.explain(model, ks.Probes(x[i : i + 1], y[i : i + 1]), "saliency", target="label")
        event = found.Tensors(f"your-probes/peak-saliency/{i:02d}_{y[i]}")[-1]
        peak = float(make_ndarray(event.tensor_proto))
        assert peak == pytest.approx(float(alone.maps.max()), rel=1e-4)


@pytest.mark.parametrize("target", [np.array([1, 0]), np.array([0.5, -1.5], "float32")])
def test_a_target_may_be_an_array(target, tmp_path):
    x, _ = pictures(2)
    model = functional("linear")
    fit(model, [ks.SaliencyCallback(x, tmp_path, target=target)], epochs=1, kind="linear")
    outputs = model.predict(x, verbose=0)
    wanted = outputs[[0, 1], target] if target.dtype.kind == "i" else outputs @ target
    found, names = events(tmp_path / "saliency"), ks.Probes(x).names
    for i in range(2):
        score = make_ndarray(found.Tensors(f"your-probes/score/{names[i]}")[-1].tensor_proto)
        assert score == pytest.approx(wanted[i], abs=1e-4)


def test_every_counts_epochs(tmp_path):
    fit(functional("softmax"), [ks.SaliencyCallback(pictures(1), tmp_path, every=2)], epochs=5)
    assert steps(events(tmp_path / "saliency"), "probes/score") == [-1, 1, 3]


def test_every_counts_batches_in_a_run_of_its_own(tmp_path):
    watch = ks.SaliencyCallback(pictures(1), tmp_path, every="2 batches")
    fit(functional("softmax"), [watch], epochs=3)  # three batches an epoch
    assert steps(events(tmp_path / "saliency_batches"), "probes/score") == [0, 2, 4, 6, 8]


@pytest.mark.needs(backend="tensorflow or jax", why="Keras refuses several steps at once on torch")
@pytest.mark.parametrize(
    ("at_once", "every", "wanted"), [(2, 2, [0, 2, 4, 7, 9, 10]), (9, 4, [0, 5, 10])]
)
def test_batches_that_run_in_one_go_are_counted_one_by_one(at_once, every, wanted, tmp_path):
    model = functional("softmax")
    model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=at_once)
    watch = ks.SaliencyCallback(pictures(1), tmp_path, ["saliency"], every=f"{every} batches")
    x, y = pictures(10)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[watch])  # five an epoch
    assert steps(events(tmp_path / "saliency_batches"), "probes/score") == wanted


def batches(count=None):
    """Batches of two, without an end or of unknown number."""
    x, y = pictures(2)
    return ((x, y) for _ in (itertools.count() if count is None else range(count)))


def of_unknown_length(count):
    spec = tf.TensorSpec((2, *SIZE)), tf.TensorSpec((2,), tf.int64)
    return tf.data.Dataset.from_generator(lambda: batches(count), output_signature=spec)


@pytest.mark.needs(backend="tensorflow or jax", why="Keras refuses several steps at once on torch")
@pytest.mark.parametrize(
    ("data", "options", "wanted"),
    [
        (lambda: of_unknown_length(10), {}, [0, 4, 8, 10, 14, 18]),
        # Keras begins three groups of four, and the data has as many.
        (batches, {"steps_per_epoch": 10}, [0, 4, 8, 12, 16, 20, 24]),
        (lambda: of_unknown_length(10), {"steps_per_epoch": 5}, [0, 4, 8, 10]),
    ],
    ids=["unknown length", "endless", "shorter than said"],
)
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_batches_are_those_that_the_optimizer_counts(data, options, wanted, tmp_path):
    model = functional("softmax")
    model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=4)
    watch = ks.SaliencyCallback(pictures(1), tmp_path, ["saliency"], every="3 batches")
    model.fit(data(), epochs=2, verbose=0, callbacks=[watch], **options)
    found = steps(events(tmp_path / "saliency_batches"), "probes/score")
    assert found == wanted
    trained = int(ops.convert_to_numpy(model.optimizer.iterations))
    assert wanted[-1] <= trained < wanted[-1] + 3


class OfOtherSteps(keras.Model):
    """Takes none or several steps of its optimizer in a batch."""

    def __init__(self, how):
        inputs = keras.Input(SIZE)
        outputs = head("softmax", layers.GlobalAveragePooling2D()(body(inputs)))
        super().__init__(inputs, outputs)
        self.how, self.batches = how, 0

    def fit_by_hand(self, watch, epochs):
        x, y = pictures(2)
        both = keras.callbacks.CallbackList([watch], model=self, epochs=epochs, steps=5)
        both.on_train_begin()
        for epoch in range(epochs):
            both.on_epoch_begin(epoch)
            for batch in range(5):
                for _ in range({"five steps": 5, "none": 0}.get(self.how, batch % 2)):
                    self.train_on_batch(x, y)
                both.on_train_batch_end(batch, {})
            both.on_epoch_end(epoch, {})
        both.on_train_end()


@pytest.mark.parametrize("how", ["five steps", "none", "every second batch"])
def test_an_optimizer_that_does_not_count_batches_is_not_believed(how, tmp_path):
    model = OfOtherSteps(how)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit_by_hand(ks.SaliencyCallback(pictures(1), tmp_path, every="3 batches"), 2)
    found = steps(events(tmp_path / "saliency_batches"), "probes/score")
    assert found == [0, 3, 6, 9]


def test_batches_that_were_skipped_leave_no_gap_where_training_goes_on(tmp_path):
    """Gradients that are not finite, as float16 has them, are not applied."""
    model = functional("softmax")
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=3e38)
    model.compile(scaled, "sparse_categorical_crossentropy", loss_weights=[100.0])
    x, y = pictures(8)

    def go_on(epochs, first=0):
        watch = ks.SaliencyCallback(pictures(1), tmp_path, ["saliency"], every="1 batch")
        options = {"epochs": epochs, "initial_epoch": first, "callbacks": [watch]}
        model.fit(x, y, batch_size=1, verbose=0, **options)
        applied = int(ops.convert_to_numpy(scaled.iterations))
        found = steps(events(tmp_path / "saliency_batches"), "probes/score")
        assert found == list(range(applied + 1))
        return applied

    applied = go_on(2)
    assert 0 < applied < 16
    assert applied < go_on(3, first=2) < 24


@pytest.mark.parametrize("accumulated", [None, 3])
def test_batches_are_counted_also_where_gradients_accumulate(accumulated, tmp_path):
    model = functional("softmax")
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=accumulated)
    for first in range(2):
        watch = ks.SaliencyCallback(pictures(1), tmp_path, ["saliency"], every="2 batches")
        model.compile(optimizer, "sparse_categorical_crossentropy")
        x, y = pictures(10)
        options = {"epochs": first + 1, "initial_epoch": first, "callbacks": [watch]}
        model.fit(x, y, batch_size=2, verbose=0, **options)
    found = steps(events(tmp_path / "saliency_batches"), "probes/score")
    assert found == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("given", ["alone", "dict", "list", "tuple"])
def test_a_batch_hook_that_would_run_in_a_thread_is_refused(given, tmp_path):
    watch = ks.SaliencyCallback(pictures(1), tmp_path, every="2 batches")
    callbacks = {"alone": watch, "dict": {"a": watch}, "list": [watch], "tuple": (watch,)}[given]
    model = functional("softmax")
    if given in ("list", "tuple") or keras.backend.backend() == "tensorflow":  # has no such thread
        fit(model, callbacks, epochs=2)
        found = events(tmp_path / "saliency_batches")
        assert steps(found, "probes/score") == [0, 2, 4, 6]
        return
    with pytest.raises(ValueError, match=r"needs callbacks=\[callback\]"):
        fit(model, callbacks)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_callback_without_a_list_writes_every_epoch(tmp_path):
    fit(functional("softmax"), ks.SaliencyCallback(pictures(1), tmp_path), epochs=2)
    assert steps(events(tmp_path / "saliency"), "probes/score") == [-1, 0, 1]


@pytest.mark.parametrize("every", [1, "2 batches"])
def test_the_same_callback_twice_is_refused(every, tmp_path):
    watch, model = ks.SaliencyCallback(pictures(1), tmp_path, every=every), functional("softmax")
    with pytest.raises(ValueError, match=r"second SaliencyCallback.*same callback 2 times"):
        fit(model, [watch, keras.callbacks.TerminateOnNaN(), watch])
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 0
    assert list(tmp_path.iterdir()) == []


def test_no_batch_hook_unless_batches_are_counted():
    assert getattr(ks.SaliencyCallback(pictures(1)).on_train_batch_end, "_is_default", False)
    counting = ks.SaliencyCallback(pictures(1), every="2 batches")
    assert not getattr(counting.on_train_batch_end, "_is_default", False)


def test_a_second_training_is_not_mixed_with_the_first(tmp_path):
    watch = ks.SaliencyCallback(pictures(1), tmp_path)
    fit(functional("softmax"), [watch], epochs=1)
    fit(functional("softmax"), [watch], epochs=2)
    assert steps(events(tmp_path / "saliency"), "probes/score") == [-1, 0]
    assert steps(events(tmp_path / "saliency_2"), "probes/score") == [-1, 0, 1]


def test_initial_epoch_continues_the_newest_run(tmp_path):
    model = functional("softmax")
    fit(model, [ks.SaliencyCallback(pictures(1), tmp_path)], epochs=2)
    fit(model, [ks.SaliencyCallback(pictures(1), tmp_path)], epochs=4, initial_epoch=2)
    assert [p.name for p in tmp_path.iterdir()] == ["saliency"]
    found = events(tmp_path / "saliency")
    assert steps(found, "probes/score") == [-1, 0, 1, 2, 3]
    strips = found.Tensors("film-strip/grad-cam")
    assert [event.step for event in strips] == [-1, 0, 1, 2, 3]
    widths = [int(event.tensor_proto.string_val[0]) for event in strips]
    assert len(set(np.diff(widths))) == 1  # it goes on, a column at a time


def test_logs_are_carried_only_where_keras_does_not_write_them(tmp_path):
    fit(functional("softmax"), [ks.SaliencyCallback(pictures(1), tmp_path / "a")], epochs=2)
    assert steps(events(tmp_path / "a" / "saliency"), "epoch_loss") == [0, 1]
    board = keras.callbacks.TensorBoard(tmp_path / "b")
    fit(functional("softmax"), [ks.SaliencyCallback(pictures(1), tmp_path / "b"), board], epochs=2)
    assert "epoch_loss" not in events(tmp_path / "b" / "saliency").Tags()["tensors"]
    assert steps(events(tmp_path / "b" / "train"), "epoch_loss") == [0, 1]


class PutsIntoLogs(keras.callbacks.Callback):
    """Puts into the logs what callbacks of others do."""

    def __init__(self, **logs):
        super().__init__()
        self.logs = logs

    def on_epoch_end(self, epoch, logs=None):
        logs.update(self.logs)


def test_a_metric_of_each_class_has_curves_and_what_is_no_number_has_none(tmp_path, caplog):
    caplog.set_level("INFO", "keras_saliency")
    model = functional("softmax")
    metrics = [keras.metrics.F1Score(), keras.metrics.F1Score(average="macro", name="macro")]
    model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=metrics)
    x, y = pictures(9, seed=1)
    others = {"phase": "warm-up", "none": None, "matrix": np.eye(2), "half": ops.full((), 0.5)}
    others |= {"image": x[0], "wrong": [1, [2, 3]], "object": object(), "long": np.ones(1001)}
    others |= {"0.5": "0.5", "one": np.ones((1, 1)), "empty": [], "pair": ops.ones(2, "bfloat16")}
    watch = ks.SaliencyCallback(pictures(1), tmp_path, ["saliency"], strict=True)
    data = x, np.eye(2)[y]
    callbacks = [PutsIntoLogs(**others), watch]
    model.fit(*data, epochs=2, verbose=0, callbacks=callbacks, validation_data=data)
    found = events(tmp_path / "saliency")
    assert steps(found, "saliency/00_0") == [-1, 0, 1]

    def curve(tag):
        return [make_ndarray(event.tensor_proto).item() for event in found.Tensors(tag)]

    predicted = model.predict(x, verbose=0).argmax(1)
    hits = [np.sum((predicted == i) & (y == i)) for i in range(2)]
    wanted = [2 * hits[i] / (np.sum(predicted == i) + np.sum(y == i)) for i in range(2)]
    for i in range(2):
        assert curve(f"epoch_val_f1_score/{i}")[-1] == pytest.approx(wanted[i])
        assert curve(f"epoch_pair/{i}") == [1, 1]
    assert curve("epoch_val_macro")[-1] == pytest.approx(np.mean(wanted))
    assert curve("epoch_half") == [0.5, 0.5]
    assert curve("epoch_one") == [1, 1]
    skipped = ["phase", "none", "matrix", "image", "wrong", "object", "long", "0.5", "empty"]
    tags = " ".join(tag for tag in found.Tags()["tensors"] if tag.startswith("epoch_"))
    assert not [name for name in skipped if name in tags]
    (line,) = [line for line in caplog.messages if "no curve" in line]
    assert all(name in line for name in skipped)


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_model_that_early_stopping_keeps_is_shown_last(order, tmp_path):
    class First(keras.callbacks.Callback):
        """A number that is best at the first epoch."""

        def on_epoch_end(self, epoch, logs=None):
            logs["worse"] = float(epoch)

    x, y = pictures(2)
    watch = ks.SaliencyCallback((x, y), tmp_path)
    stopper = keras.callbacks.EarlyStopping(
        monitor="worse", mode="min", patience=2, restore_best_weights=True
    )
    model = functional("linear")
    callbacks = [watch, stopper] if order == "before" else [stopper, watch]
    fit(model, [First(), *callbacks], epochs=9, kind="linear")
    assert stopper.best_epoch == 0
    found = events(tmp_path / "saliency")
    shown = found.Tensors("your-probes/score/01_1")
    assert [event.step for event in shown] == [-1, 0, 1, 2, 3]
    kept = model.predict(x, verbose=0)[1, 1]
    assert make_ndarray(shown[-1].tensor_proto) == pytest.approx(kept, abs=1e-4)
    assert make_ndarray(shown[-2].tensor_proto) != pytest.approx(kept, abs=1e-6)


def test_probes_without_labels_explain_the_prediction_and_say_so(tmp_path, capsys):
    x, y = pictures()
    model = functional("softmax")
    model.compile("sgd", loss_of("softmax"))
    model.fit(x, y, verbose=2, callbacks=[ks.SaliencyCallback(x[:2], tmp_path)])
    said = capsys.readouterr().out
    assert said.count("the predicted class is explained") == 1
    assert said.count("explains layer 'last', a grid of 9 x 14") == 1


def said_in_fit(capsys, model, watch, epochs=1):
    """Return what was said on the screen while a model was trained."""
    x, y = pictures()
    capsys.readouterr()
    model.fit(x, y, verbose=2, epochs=epochs, callbacks=[watch])
    return capsys.readouterr().out


def test_how_to_get_a_verdict_is_said_once_by_a_callback(tmp_path, capsys):
    model = functional("softmax")
    model.compile("sgd", loss_of("softmax"))
    watch = ks.SaliencyCallback(pictures(1), tmp_path)
    said = [said_in_fit(capsys, model, watch) for _ in range(2)]
    assert [one.count("gives no verdict") for one in said] == [1, 0]


def test_the_repr_of_a_callback_says_what_it_does(tmp_path):
    watch = ks.SaliencyCallback(pictures(4), "logs", ["grad_cam", "cam"], every=2)
    listed = "4 probes, 'logs', methods: grad_cam, cam, every 2 epochs, without shortcuts"
    assert repr(watch) == f"SaliencyCallback({listed})"
    folder = ks.SaliencyCallback(tmp_path, every="9 batches")
    assert repr(folder).startswith("SaliencyCallback(a folder, ")
    assert "every 9 batches" in repr(folder)


def test_what_costly_methods_ask_is_said_before_training(tmp_path, capsys):
    def some(name, count):
        method = functools.partial(ks.methods.get(name), samples=count)
        return functools.update_wrapper(method, ks.methods.get(name))

    model = functional("softmax")
    model.compile("sgd", loss_of("softmax"))
    chosen = ["saliency", some("rise", 21), some("smooth_grad", 20)]
    said = said_in_fit(capsys, model, ks.SaliencyCallback(pictures(2), tmp_path, chosen))
    before, _, _ = said.partition("- loss")
    assert "rise queries the model with 2 x 21 images per evaluation" in before
    assert "smooth_grad queries" not in said
    assert "saliency queries" not in said
    cheap = ks.SaliencyCallback(pictures(2), tmp_path)
    assert "queries the model" not in said_in_fit(capsys, model, cheap)


def test_a_look_that_takes_much_of_an_epoch_is_told_once(tmp_path, capsys):
    def slow(model, images):
        time.sleep(1.1)
        return ops.sum(model.input_gradients(images), axis=-1)

    model = functional("softmax")
    model.compile("sgd", loss_of("softmax"))
    quick = ks.SaliencyCallback(pictures(2), tmp_path)
    assert "the callback took" not in said_in_fit(capsys, model, quick, epochs=3)
    in_the_first = ks.SaliencyCallback(pictures(2), tmp_path, [slow])
    assert "the callback took" not in said_in_fit(capsys, model, in_the_first, epochs=1)
    every_other = ks.SaliencyCallback(pictures(2), tmp_path, [slow], every=2)
    said = said_in_fit(capsys, model, every_other, epochs=4)
    seconds, share = re.findall(
        r"the callback took (.*) s, (\d+) % of epoch 2; a larger every=", said
    )[0]
    assert said.count("the callback took") == 1
    assert 1.1 <= float(seconds) < 4
    assert 20 < int(share) <= 100


def test_faults_of_the_recorder_end_in_one_sentence_that_calms(tmp_path):
    def nothing(model, images):
        return model.input_gradients(images)[:, :0, :, 0]

    with pytest.warns(UserWarning, match="keras_saliency: could not") as told:
        fit(functional("softmax"), [ks.SaliencyCallback(pictures(2), tmp_path, [nothing])])
    ours = [str(one.message) for one in told if "keras_saliency" in str(one.message)]
    assert len(ours) == len(set(ours)) == 3  # the numbers, the maps and the Saliency tab
    for message in ours:
        assert message.count("goes on") == 1
        assert message.endswith("). The training goes on.")


def test_strict_raises_what_goes_wrong_in_training(tmp_path):
    failing_later.calls = 0
    watch = ks.SaliencyCallback(pictures(1), tmp_path, [failing_later], strict=True)
    with pytest.raises(RuntimeError, match="half way"):
        fit(functional("softmax"), [watch], epochs=2)


def test_a_method_that_fails_at_once_stops_before_training(tmp_path):
    def broken(model, images):
        raise RuntimeError("never worked")

    model = functional("softmax")
    before = model.get_weights()
    with pytest.raises(RuntimeError, match="never worked"):
        fit(model, [ks.SaliencyCallback(pictures(1), tmp_path, [broken])])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def no_spatial_layer():
    return keras.Sequential(
        [keras.Input(SIZE), layers.Flatten(), layers.Dense(2, activation="softmax")]
    )


x, y = pictures(3)
WRONG = {
    "no probes": (lambda d: ks.SaliencyCallback(x[:0], d), ValueError, r"\(0, 13, 18, 3\)"),
    "rank": (lambda d: ks.SaliencyCallback(x[0, 0], d), ValueError, r"\(18, 3\)"),
    "size": (lambda d: ks.SaliencyCallback(x[:, :5], d), ValueError, r"\(3, 5, 18, 3\)"),
    "label range": (lambda d: ks.SaliencyCallback((x, y + 1), d), ValueError, "from 0 to 1.*2"),
    "label count": (lambda d: ks.SaliencyCallback((x, y[:2]), d), ValueError, "2"),
    "nan": (lambda d: ks.SaliencyCallback(x * np.nan, d), ValueError, "NaN"),
    "method": (lambda d: ks.SaliencyCallback(x, d, ["gradcam"]), ValueError, "'grad_cam'"),
    "no method": (lambda d: ks.SaliencyCallback(x, d, []), ValueError, "at least one"),
    "twice": (lambda d: ks.SaliencyCallback(x, d, ["cam", "cam"]), ValueError, "cam more than"),
    "layer": (lambda d: ks.SaliencyCallback(x, d, layer="lost"), ValueError, "'first', 'last'"),
    "target": (lambda d: ks.SaliencyCallback(x, d, target="labels"), ValueError, "labels"),
    "target type": (lambda d: ks.SaliencyCallback(x, d, target=None), TypeError, "None"),
    "target index": (lambda d: ks.SaliencyCallback(x, d, target=2), ValueError, "from 0 to 1.*2"),
    "folder type": (lambda d: ks.SaliencyCallback("logs", (x, y)), TypeError, "log_dir.*tuple"),
    "names": (
        lambda d: ks.SaliencyCallback(ks.Probes(x, y, class_names=["a", "b", "c"]), d),
        ValueError,
        "each of the model's 2 classes",
    ),
    "path": (lambda d: ks.SaliencyCallback(x, d, layer="no/last"), ValueError, "no path.*'last'"),
    "every": (lambda d: ks.SaliencyCallback(x, d, every=0), ValueError, "every=0"),
    "every word": (lambda d: ks.SaliencyCallback(x, d, every="2 days"), ValueError, "2 days"),
    "batch size": (lambda d: ks.SaliencyCallback(x, d, batch_size=0), ValueError, "batch_size=0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_can_not_work_is_said_before_training(case, tmp_path):
    build, error, message = WRONG[case]
    model = functional("softmax")
    before = model.get_weights()
    with pytest.raises(error, match=message):
        fit(model, [build(tmp_path)])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_without_a_spatial_layer(tmp_path):
    with pytest.raises(ValueError, match=r"No spatial layer.*'saliency'"):
        fit(no_spatial_layer(), [ks.SaliencyCallback(pictures(1), tmp_path)])
    fit(no_spatial_layer(), [ks.SaliencyCallback(pictures(1), tmp_path, ["saliency"])], epochs=1)
    assert steps(events(tmp_path / "saliency"), "saliency/00_0") == [-1, 0]


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(OSError, match="log_dir"):
        fit(functional("softmax"), [ks.SaliencyCallback(pictures(1), tmp_path / "logs")])
