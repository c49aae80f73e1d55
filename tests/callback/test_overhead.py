"""Keeping within a share of the time: what is cut, what is said of it, and that it holds."""

import re
import time

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import keras_saliency as ks
from keras_saliency.callback.overhead import Overhead
from keras_saliency.callback.schedule import Schedule

SIZE = (24, 31)


def share_that_is_spent(
    overhead, epochs, training, look, methods, verdict, every, batches, check=0.0
):
    """Go through a training by the clock, and return which share of its last half is not its own.

    Lists of seconds by epoch; `batches` is how many an epoch has, where looks count them.
    """
    ours = np.zeros(epochs)
    count = looks = 0
    for epoch in range(epochs):
        if verdict and overhead.is_verdict_due(epoch + 1):
            ours[epoch] += verdict
            overhead.add_verdict(verdict)
        for _ in range(batches or 1):
            count += 1
            if overhead.is_evaluation_due(count):
                left_out = overhead.left_out(count)
                there = {name: taken for name, taken in methods.items() if name not in left_out}
                looks += 1
                checked = check if overhead.is_check_due(looks, is_last=False) else None
                taken = look + sum(there.values()) + (checked or 0.0)
                ours[epoch] += taken
                overhead.add_evaluation(taken, there, checked)
        overhead.adjust(training[epoch])
    half = slice(epochs // 2, None)
    return ours[half].sum() / (ours[half].sum() + training[half].sum())


@pytest.mark.parametrize("seed", range(40))
def test_the_share_is_kept_in_the_long_run(seed):
    """Whatever things cost, and also where epochs grow longer or shorter by a tenth at chance."""
    rng = np.random.default_rng(seed)
    most = rng.choice([0.02, 0.05, 0.3])
    every = int(rng.integers(1, 4))
    batches = int(rng.choice([0, 7]))
    overhead = Overhead(most, Schedule(every, batches > 0), 2, (None, 1, 5)[seed % 3])
    costs = {
        "look": 10 ** rng.uniform(-3, 0.5),
        "methods": {name: 10 ** rng.uniform(-3, 1) for name in ("rise", "own")[: seed % 3]},
        "verdict": rng.choice([0, 10 ** rng.uniform(-2, 1)]),
        "check": 10 ** rng.uniform(-2, 1),
    }
    training = rng.uniform(0.95, 1.05, 4000)
    spent = share_that_is_spent(
        overhead, len(training), training, **costs, every=every, batches=batches
    )
    # What comes once in hundreds of epochs may come once more in a part of them.
    assert spent <= most * 1.15


def test_what_is_dear_gives_way_and_nothing_else():
    overhead = Overhead(0.1, Schedule(1), None)
    methods = {"rise": 5.0, "own": 0.02}
    share_that_is_spent(overhead, 200, np.full(200, 1.0), 0.01, methods, 0, 1, 0)
    left_out = [overhead.left_out(epoch) for epoch in range(1, 401)]
    assert all(overhead.is_evaluation_due(epoch) for epoch in range(1, 401))
    assert not any("own" in names for names in left_out)
    turns = sum("rise" not in names for names in left_out)
    assert 3 <= turns <= 7  # of 400 x 0.081 s / 5 s = 6.5, less a quarter at most
    wanted = (
        "the callback takes 83.4 % of the time, max_overhead=0.1; from now on rise in one of N "
        "evaluations"
    )
    assert [re.sub(r"\d+(?= evaluations)", "N", change) for change in overhead.changes] == [wanted]


def test_checks_of_maps_are_done_less_often_where_they_take_too_long():
    overhead = Overhead(0.1, Schedule(1), None, check_every=5)
    share_that_is_spent(overhead, 200, np.full(200, 1.0), 0.01, {}, 0, 1, 0, check=2.0)
    assert re.fullmatch(
        r"the callback takes .*; from now on a check of maps in one of 2\d evaluations",
        overhead.changes[0],
    )
    due = [number for number in range(1, 121) if overhead.is_check_due(number, is_last=False)]
    assert 4 <= len(due) <= 6  # of 120 x 0.1 s / 2 s = 6
    assert overhead.is_check_due(7, is_last=True)


def test_where_all_fits_nothing_changes():
    overhead = Overhead(0.5, Schedule(2), 3)
    share_that_is_spent(overhead, 50, np.full(50, 1.0), 0.3, {"rise": 0.3}, 0.3, 2, 0)
    assert overhead.changes == []
    assert [overhead.is_evaluation_due(n) for n in range(1, 5)] == [False, True, False, True]
    assert [overhead.is_verdict_due(n) for n in range(1, 7)] == [False, False, True] * 2


def test_a_machine_that_is_disturbed_changes_little():
    rng = np.random.default_rng(0)
    overhead = Overhead(0.05, Schedule(1), None)
    for epoch in range(1, 2001):
        if overhead.is_evaluation_due(epoch):
            overhead.add_evaluation(rng.uniform(0.8, 1.2), {})
        overhead.adjust(rng.uniform(0.8, 1.2))
    assert len(overhead.changes) <= 5


def test_what_is_said_is_what_looking_takes_at_the_pace_before():
    overhead = Overhead(0.1, Schedule(1), None)
    for epoch in range(1, 200):
        if overhead.is_evaluation_due(epoch):
            overhead.add_evaluation(3.0 if epoch < 4 else 0.2, {})
        overhead.adjust(1.0)
    first, second = overhead.changes
    assert first.startswith("the callback takes 75 % of the time")
    every = int(re.search(r"every (\d+) epochs", first)[1])
    assert second.startswith(f"the callback takes {20 / (every + 0.2):.3g} % of the time")


def test_without_a_bound_nothing_is_ever_cut():
    overhead = Overhead(None, Schedule(1), 1)
    share_that_is_spent(overhead, 50, np.full(50, 0.001), 9.0, {"rise": 9.0}, 9.0, 1, 0)
    assert overhead.changes == []
    assert all(overhead.is_evaluation_due(n) and overhead.is_verdict_due(n) for n in range(1, 99))


def test_what_becomes_quick_comes_as_often_as_before():
    overhead = Overhead(0.1, Schedule(1), None)
    share_that_is_spent(overhead, 20, np.full(20, 1.0), 1.0, {}, 0, 1, 0)
    share_that_is_spent(overhead, 40, np.full(40, 1.0), 0.01, {}, 0, 1, 0)
    assert "from now on it evaluates every" in overhead.changes[0]
    assert overhead.changes[-1].endswith("everything is evaluated as often as requested again")
    assert all(overhead.is_evaluation_due(n) for n in range(1, 30))


def pictures(count=24):
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 256, (count, *SIZE, 3)) // 2 + 100 * labels[:, None, None, None]
    return images.astype("uint8"), labels


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def test_a_slow_method_is_cut_within_fit_and_this_is_said(tmp_path, capsys):
    epochs = []

    def slow(model, images):
        epochs.append(watch.epoch)
        time.sleep(0.7)  # an epoch of 24 pictures takes a hundredth of that
        return keras.ops.sum(model.input_gradients(images), axis=-1)

    class Watch(ks.SaliencyCallback):
        epoch = 0

        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            self.epoch = epoch + 1

    x, y = pictures()
    watch = Watch((x[:2], y[:2]), tmp_path, ["saliency", slow], max_overhead=0.05)
    network().fit(x, y, epochs=7, verbose=2, callbacks=[watch])
    assert epochs == [0, 0, 1, 2]  # the rehearsal, before training, and until it was known
    said = [line for line in capsys.readouterr().out.splitlines() if "max_overhead" in line]
    assert re.search(r"max_overhead=0\.05; from now on .*slow in one of \d+ evaluations", said[0])
    assert len(said) == len(set(said))
    assert not any("every= evaluates less often" in line for line in said)
    found = EventAccumulator(str(tmp_path / "saliency"), size_guidance={"tensors": 0}).Reload()
    tag = next(tag for tag in found.Tags()["tensors"] if tag.startswith("about"))
    pages = [make_ndarray(one.tensor_proto).ravel()[0] for one in found.Tensors(tag)]
    assert "To save time" not in pages[0].decode()
    assert pages[-1].decode().count("from now on") == len(said)


def test_a_slow_verdict_is_cut_within_fit_and_its_numbers_stay(tmp_path):
    calls, epochs = [], []

    def slow(receivers, donors, i, j):
        calls.append(1)
        time.sleep(0.1)
        return receivers.pixels[i].astype("float32")

    x, y = pictures(220)
    own = ks.Nuisance("own", "its own", slow)
    shortcuts = ks.Shortcuts((x, y), masks=None, nuisances=[own])
    watch = ks.SaliencyCallback((x[:2], y[:2]), tmp_path, shortcuts=shortcuts, max_overhead=0.02)
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: epochs.append(len(calls)))
    history = network().fit(x[:24], y[:24], epochs=5, verbose=0, callbacks=[watch, note]).history
    assert epochs[0] < epochs[1] == epochs[2] == epochs[4]
    assert len(history["shortcut_reliance"]) == 5
