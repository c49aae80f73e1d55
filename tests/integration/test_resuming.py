"""The lives of a callback: trained twice, resumed, beside another, copied, with another model."""

import contextlib
import copy
import os
import pickle
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency as ks
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run

from helpers import observed
from helpers.disks import Run
from helpers.observed import values
from helpers.watching import ALL, NUMBER, PICTURE, PROBES, built, fitted, watched


def wide():
    """Another network for the same images."""
    return built(lambda: layers.Conv2D(3, 3, activation="relu", name="further"))


def scores(model):
    """What is written of a model: the mean logit of the probes' labels."""
    return ks.explain(model, PROBES, "saliency", target="label").scores.mean()


def test_a_callback_that_trains_another_model_begins_anew(tmp_path):
    watch = ks.SaliencyCallback(PROBES, tmp_path)
    assert watched(watch) == []
    assert watched(watch, build=wide) == []
    for name, build in (("saliency", built), ("saliency_2", wide)):
        run = Run(tmp_path / name)
        assert run.steps(NUMBER) == run.steps(PICTURE) == run.steps("film-strip/grad-cam") == ALL
        assert run.values(NUMBER)[-1] == pytest.approx(scores(build()), rel=1e-5)


def test_a_fault_is_told_again_in_the_next_training(tmp_path):
    def breaks(model, images):
        seen.append(len(images))
        if len(seen) % 7 > 2:  # planned once, and each training run evaluates six times
            raise RuntimeError("half way")
        return model.input_gradients(images)[..., 0]

    seen = []
    watch = ks.SaliencyCallback(PROBES, tmp_path, [breaks])
    for _ in range(2):
        (message,) = watched(watch)
        assert "half way" in message


class StopsAt(keras.callbacks.Callback):
    """Ends a training run as a lost machine does, but for this process."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise RuntimeError("the machine is lost")


@pytest.mark.parametrize("first", [True, False])
def test_a_training_that_backup_and_restore_resumes(first, tmp_path):
    def train(folder, watch):
        for stop in (3, 99):
            model = built()
            backup = keras.callbacks.BackupAndRestore(tmp_path / folder)
            ours = [watch()] if watch else []
            with contextlib.suppress(RuntimeError):
                listed = [*ours, backup] if first else [backup, *ours]
                fitted(model, [*listed, StopsAt(stop)])
        return values(model.variables)

    wanted = train("alone", None)
    assert train("watched", lambda: ks.SaliencyCallback(PROBES, tmp_path / "logs")) == wanted
    assert [one.name for one in (tmp_path / "logs").iterdir()] == ["saliency"]
    run = Run(tmp_path / "logs" / "saliency")
    assert run.steps(NUMBER) == run.steps(PICTURE) == ALL


def test_initial_epoch_goes_on_in_the_run(tmp_path):
    def train(*watches):  # one after the other, as on torch they draw from one stream
        model = built()
        for epochs in ({"epochs": 2}, {"initial_epoch": 2}):
            fitted(model, [watch() for watch in watches], **epochs)
        return values(model.variables)

    assert train(lambda: ks.SaliencyCallback(PROBES, tmp_path)) == train()
    assert Run(tmp_path / "saliency").steps(PICTURE) == ALL


def changed(change):
    """The arguments of a callback that is other than at first in one respect."""
    x, y = PROBES
    masks = np.zeros((2, *observed.SIZE[:2]))
    masks[:, :4] = 1
    options = {"methods": ["saliency", "grad_cam"]}
    probes = {
        "number": observed.pictures(4, seed=2),
        "pictures": observed.pictures(2, seed=9),
        "names": ks.Probes(x, y, names=["one", "other"]),
        "labels": (x, 1 - y),
        "masks": ks.Probes(x, y, masks=masks),
    }.get(change, PROBES)
    options |= {
        "methods": {"methods": ["saliency"]},
        "target": {"target": "predicted"},
        "explained": {"target": ks.Target("label", of="probability")},
        "every": {"every": 2},
        "layer": {"layer": "further"},
        "layers": {"layer": ["conv2d", "further"]},
    }.get(change, {})
    return {"probes": probes, "log_dir": None} | options


SAID = {
    "number": "names of the probes, labels, number of probes",
    "pictures": "pictures or masks",
    "names": "names of the probes",
    "labels": "labels",
    "masks": "masks",
    "methods": "methods",
    "target": "target",
    "explained": "explained",
    "every": "looks every",
    "layer": "layer",
    "layers": "layer",
}


@pytest.mark.parametrize("change", SAID)
def test_a_run_has_one_kind_of_probes_and_settings(change, tmp_path, caplog):
    model = wide() if change.startswith("layer") else built()
    first = changed(None) | ({"layer": "conv2d"} if change.startswith("layer") else {})
    fitted(model, [ks.SaliencyCallback(**first | {"log_dir": tmp_path})], epochs=2)
    with caplog.at_level("INFO", "keras_saliency"):
        watch = ks.SaliencyCallback(**changed(change) | {"log_dir": tmp_path})
        fitted(model, [watch], initial_epoch=2, epochs=4)
    own, before = tmp_path / "saliency_2", tmp_path / "saliency"
    (said,) = (line for line in caplog.messages if "run of its own" in line)
    assert said.startswith(f"goes on in a run of its own, {own}, since {before} has other")
    assert SAID[change] in said
    assert Run(before).steps("saliency/00_0") == [-1, 0, 1]
    (picture,) = (
        tag for tag in Run(own).tags if tag.startswith("saliency/00") or tag == "saliency/one"
    )
    assert Run(own).steps(picture) == ([1, 3] if change == "every" else [1, 2, 3])
    (page,) = Run(own).values("about").values()
    assert SAID[change].split(",")[0] in page.decode()
    assert "saliency" in page.decode().split("What was before is in ")[1]


def test_a_network_that_is_built_again_goes_on_in_its_run(tmp_path):
    """Keras numbers its name and those of its layers on."""
    x, y = observed.pictures(16)
    names = set()
    for epochs in ({"epochs": 2}, {"initial_epoch": 2, "epochs": 3}):
        parts = [layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
        model = keras.Sequential([keras.Input(observed.SIZE), *parts])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        names.add(parts[0].name)
        model.fit(x, y, verbose=0, callbacks=[ks.SaliencyCallback(PROBES, tmp_path)], **epochs)
    assert len(names) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["saliency"]
    run = Run(tmp_path / "saliency")
    assert run.steps(PICTURE) == [-1, 0, 1, 2]
    assert run.steps("similarity/grad-cam") == [0, 1, 2]


def test_the_similarity_after_a_resume_is_to_the_model_as_it_was_resumed(tmp_path):
    model = built()
    fitted(model, [ks.SaliencyCallback(PROBES, tmp_path)], epochs=2)
    before = ks.explain(model, PROBES, "saliency", target="label").maps
    fitted(model, [ks.SaliencyCallback(PROBES, tmp_path)], initial_epoch=2, epochs=3)
    after = ks.explain(model, PROBES, "saliency", target="label").maps
    wanted = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(before, after, strict=True)]
    found = Run(tmp_path / "saliency").values("similarity/saliency")
    assert found[2] == pytest.approx(np.mean(wanted), abs=1e-5)


class TrainsMeanwhile(keras.callbacks.Callback):
    """Trains another model in the midst of a training run."""

    def __init__(self, *callbacks):
        super().__init__()
        self.callbacks = callbacks

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.other = wide()
            fitted(self.other, self.callbacks)


def test_two_trainings_into_one_folder_at_once(tmp_path):
    def train(*callbacks):
        model, meanwhile = built(), TrainsMeanwhile(*(ks.SaliencyCallback(*c) for c in callbacks))
        fitted(model, [*(ks.SaliencyCallback(*each) for each in callbacks), meanwhile])
        return model, meanwhile.other

    alone, both = train(), train((PROBES, tmp_path))
    assert [values(one.variables) for one in alone] == [values(one.variables) for one in both]
    for name, model in zip(("saliency", "saliency_2"), both, strict=True):
        run = Run(tmp_path / name)
        assert run.steps(NUMBER) == run.steps(PICTURE) == ALL
        assert run.values(NUMBER)[4] == pytest.approx(scores(model), rel=1e-5)


def test_two_callbacks_of_a_training_each_go_on_in_their_run(tmp_path):
    def both():
        few, many = (observed.pictures(count, seed=count) for count in (2, 3))
        return [ks.SaliencyCallback(each, tmp_path, ["saliency"]) for each in (few, many)]

    model = built()
    for epochs in ({"epochs": 2}, {"initial_epoch": 2}):
        fitted(model, both(), **epochs)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["saliency", "saliency_2"]
    for name, count in (("saliency", 2), ("saliency_2", 3)):
        run = Run(tmp_path / name)
        assert run.steps(NUMBER) == ALL
        assert len([tag for tag in run.tags if tag.startswith("saliency/0")]) == count


def test_a_run_that_another_process_writes_is_not_continued(tmp_path):
    writes = new_run(tmp_path)
    (begun, tell_begun), (over, tell_over) = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since 3.12: there are other threads
        child = os.fork()
    if child == 0:
        try:
            writer = EventWriter(writes)
            os.write(tell_begun, b"!")
            os.read(over, 1)
            writer.close()
        finally:
            os._exit(0)
    os.read(begun, 1)
    assert new_run(tmp_path, resume=True).name == "saliency_2"
    os.write(tell_over, b"!")
    os.waitpid(child, 0)
    assert new_run(tmp_path, resume=True) == writes
    for end in (begun, tell_begun, over, tell_over):
        os.close(end)


COPIES = {
    "pickled": lambda one: pickle.loads(pickle.dumps(one)),
    "deep-copied": copy.deepcopy,
    "copied": copy.copy,
}


class Copies(keras.callbacks.Callback):
    """Copies another callback in the midst of its training."""

    def __init__(self, watch, how):
        super().__init__()
        self.watch, self.how = watch, how

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            self.copy = self.how(self.watch)


def holds(watch):
    """The kind of each attribute: a copy has no model, thread or file of a training run."""
    return {name: type(value) for name, value in vars(watch).items()}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_trains_like_a_new_callback(how, tmp_path):
    def new():
        return ks.SaliencyCallback(PROBES, tmp_path, ["grad_cam"], target="predicted")

    watch = new()
    early, meanwhile = COPIES[how](watch), Copies(watch, COPIES[how])
    assert watched(watch, meanwhile) == []
    late = COPIES[how](watch)
    for one in (early, meanwhile.copy, late):
        assert holds(one) == holds(new())
    assert watched(meanwhile.copy, build=wide) == []
    first, second = Run(tmp_path / "saliency"), Run(tmp_path / "saliency_2")
    assert first.steps(PICTURE) == second.steps(PICTURE) == ALL
    assert sorted(first.tags) == sorted(second.tags)  # numbers overtake pictures


def test_a_copy_of_one_that_counts_batches_counts_its_own(tmp_path):
    watch = ks.SaliencyCallback(PROBES, tmp_path, ["saliency"], every="2 batches")
    other = pickle.loads(pickle.dumps(watch))
    assert other.on_train_batch_end.__self__ is other
    assert watched(other) == []
    assert Run(tmp_path / "saliency_batches").steps(NUMBER) == [0, 2, 4]


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_one_that_counts_batches_has_a_hook_of_its_own(how, tmp_path):
    watch = ks.SaliencyCallback(PROBES, tmp_path, ["saliency"], every="2 batches")
    other = COPIES[how](watch)
    assert other.on_train_batch_end.__self__ is other
    assert watch.on_train_batch_end.__self__ is watch


def test_a_copy_keeps_the_verdict_and_the_shortcuts(tmp_path):
    x, y = observed.pictures(40, seed=3)
    with pytest.warns(UserWarning, match="no verdict"):
        watch = ks.SaliencyCallback(PROBES, tmp_path, ["saliency"], shortcuts=(x, y))
    fitted(built(), [watch], epochs=1)
    assert watch.verdict.text.startswith("can't say")
    for copied in COPIES.values():
        other = copied(watch)
        assert other.verdict.text == watch.verdict.text
        assert fitted(built(), [other], epochs=1).keys() >= {"shortcut_reliance"}


def test_a_copy_of_probes_is_as_read_only_as_they_are():
    x, y = observed.pictures(3)
    probes = ks.Probes({"image": x, "age": np.ones((3, 1))}, y, image="image")
    for copied in COPIES.values():
        other = copied(probes)
        assert other.names == probes.names
        for mine, theirs in (
            (probes.images, other.images),
            (probes.extras["age"], other.extras["age"]),
        ):
            np.testing.assert_array_equal(mine, theirs)
            assert not theirs.flags.writeable
        with pytest.raises(TypeError):
            other.extras["age"] = 0
