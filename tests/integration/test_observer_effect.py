"""Training does not notice the callback, to the bit: with any method, also where one fails."""

import contextlib
import functools
import random
import signal
import threading
import time

import keras
import numpy as np
import pytest

import keras_saliency as ks

from helpers import observed
from helpers.few_perturbations import method
from helpers.observed import BACKEND, KINDS, Trips, Witness, after, compiled, data_of, same, trained

ONE_PASS = ("saliency", "gradient_x_input", "cam", "grad_cam", "grad_cam_plus_plus")
ONE_PASS += ("hires_cam", "layer_cam", "xgrad_cam")
COVER = [  # together they are of every kind
    (
        "dropout and batch norm",
        "augmentation",
        "draws at inference",
        "counts its calls",
        "activity regulariser",
        "reshuffling pipeline",
        "EMA",
    ),
    ("nested backbone", "mixed precision"),
    ("subclassed", "gradient accumulation"),
]
SMALL = ("dropout and batch norm", "counts its calls")
PROBES = observed.pictures(2, seed=2)


@functools.cache
def alone(traits, eager=False, ends=None):
    """What a training run leaves behind that nobody watches."""
    model, data = compiled(traits, run_eagerly=eager), data_of(traits)
    history = trained(model, data, [] if ends is None else [Ends(ends)])
    if ends is not None:
        trained(model, data)
    return after(model, history)


class Ends(keras.callbacks.Callback):
    """Ends a training run where the callback would evaluate: before it, or in its second epoch."""

    def __init__(self, error, before_training=False):
        super().__init__()
        self.error, self.before_training = error, before_training

    def on_train_begin(self, logs=None):
        if self.before_training:
            raise self.error()

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise self.error()


def watched(traits, methods, folder, probes=PROBES, **options):
    """What the same training leaves behind with the callback, whose hooks have left no trace."""
    model, data = compiled(traits), data_of(traits)
    first = Witness()
    second = Witness(first)
    given = data if probes is None else probes
    watch = ks.SaliencyCallback(given, folder, methods, batch_size=8, strict=True, **options)
    history = trained(model, data, [first, watch, second])
    assert second.hooks[-1] == "on_train_end"
    assert list(folder.glob("saliency*/events*"))
    return after(model, history)


def test_no_kind_is_forgotten():
    assert sorted(sum(COVER, ())) == sorted(KINDS)


@pytest.mark.parametrize("traits", COVER)
def test_the_training_is_the_same(traits, tmp_path):
    options = {"every": "2 batches"} if "subclassed" in traits else {}
    probes = None if "reshuffling pipeline" in traits else PROBES
    same(alone(traits), watched(traits, ONE_PASS, tmp_path, probes, **options))


def every_method():
    return [method(name) for name in ks.methods.available()]


@pytest.mark.integration
def test_the_training_is_the_same_under_every_method(tmp_path):
    same(alone(SMALL), watched(SMALL, every_method(), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_training_is_the_same_for_every_kind_under_every_method(kind, tmp_path):
    same(alone((kind,)), watched((kind,), every_method(), tmp_path))


class Interrupted:
    """A method that raises half way, after its second question, once `armed`."""

    armed = None

    def __init__(self, name):
        self._method = method(name)
        self.__name__ = name

    def __call__(self, model, images):
        if Interrupted.armed is None:
            return self._method(model, images)
        self._method(_Asked(model), images)
        return Interrupted.armed()  # it had but one question


class _Asked:
    """A model that is asked twice, and not again."""

    def __init__(self, model, left=2):
        self._model, self._left = model, left

    def __getattr__(self, name):
        if self._left == 0:
            Interrupted.armed()
        if name not in ("batch_size", "of"):
            self._left -= 1
        return getattr(self._model, name)


def fails():
    np.random.random()
    raise RuntimeError("half way")


def is_interrupted():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs of a shell may ignore it
    signal.raise_signal(signal.SIGINT)  # as Ctrl+C does


class Arms(keras.callbacks.Callback):
    """Lets methods, or a layer, fail from the second epoch on."""

    def __init__(self, place, how):
        super().__init__()
        self.place, self.how = place, how

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.place.armed = self.how

    def on_train_end(self, logs=None):
        self.place.armed = None


@pytest.fixture(autouse=True)
def disarmed():
    yield
    Interrupted.armed = Trips.armed = None
    Trips.left = 1


def looked_at(traits, folder, arms, methods, eager=False):
    """Train with an evaluation that fails in the second epoch; after an interruption, go on."""
    model, data = compiled(traits, run_eagerly=eager), data_of(traits)
    before = Witness()
    behind = Witness(before)
    watch = ks.SaliencyCallback(PROBES, folder, methods, batch_size=8)
    history = trained(model, data, [arms, before, watch, behind])
    arms.place.armed = None
    if arms.how is is_interrupted or isinstance(arms.how, KeyboardInterrupt):
        assert behind.hooks[-1] == "on_epoch_begin 1"
        if BACKEND == "jax":  # Keras's `fit` there takes its iterator back before it is left
            for _, held in before.seen["attributes"]:
                held.pop("_eval_epoch_iterator", None)
        behind.look("the look that was interrupted")
        trained(model, data)
    return after(model, history)


@pytest.mark.integration
def test_methods_that_fail_half_way_leave_no_trace(tmp_path):
    names = ks.methods.available()
    methods = [Interrupted(name) for name in names]
    with pytest.warns(UserWarning, match="half way") as told:
        found = looked_at(SMALL, tmp_path, Arms(Interrupted, fails), methods)
    same(alone(SMALL), found)
    said = " ".join(str(one.message) for one in told)
    assert [name for name in names if f"{name!r} could not be computed" not in said] == []


@pytest.mark.integration
@pytest.mark.parametrize("name", ["grad_cam", "rise"])
def test_an_interrupted_look_leaves_no_trace(name, tmp_path):
    found = looked_at(SMALL, tmp_path, Arms(Interrupted, is_interrupted), [Interrupted(name)])
    same(alone(SMALL, ends=KeyboardInterrupt), found)


EAGER = (*SMALL, "trips")


@pytest.mark.integration
@pytest.mark.skipif(BACKEND == "jax", reason="there is no Python in a pass of JAX")
@pytest.mark.parametrize("error", [RuntimeError("in a layer"), KeyboardInterrupt()])
def test_a_layer_that_raises_in_the_midst_of_a_pass_leaves_no_trace(error, tmp_path):
    ends = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else None
    told = contextlib.nullcontext() if ends else pytest.warns(UserWarning, match="in a layer")
    Trips.left = 3  # as what fails is tried again without the methods, then without their needs
    with told:
        found = looked_at(EAGER, tmp_path, Arms(Trips, error), ["saliency", "grad_cam"], eager=True)
    same(alone(EAGER, eager=True, ends=ends), found)


@pytest.mark.integration
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_is_raised_before_training_leaves_no_trace(error, tmp_path):
    def begun(callbacks):
        model, data = compiled(EAGER), data_of(EAGER)
        with contextlib.suppress(RuntimeError, KeyboardInterrupt):
            model.fit(data, verbose=0, callbacks=callbacks)
        assert Trips.armed is None
        return after(model, trained(model, data))

    def arm(logs):  # only now, since Keras itself may have tried the model before
        Trips.armed = error("in a layer")

    arms = keras.callbacks.LambdaCallback(on_train_begin=arm)
    quiet = begun([Ends(error, before_training=True)])
    same(quiet, begun([arms, ks.SaliencyCallback(PROBES, tmp_path)]))


def test_a_request_to_stop_that_comes_during_a_look_is_kept(tmp_path):
    """As a machine that is about to be taken away makes it, by a signal."""
    model, data = compiled(SMALL), data_of(SMALL)
    looks = []

    def asked_meanwhile(answering, images):
        looks.append(images)
        if len(looks) == 3:  # rehearsed, before training, after the first epoch
            signal.raise_signal(signal.SIGUSR1)
        return answering.input_gradients(images)[..., 0]

    def stop(*_):
        model.stop_training = True

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        watch = ks.SaliencyCallback(PROBES, tmp_path, [asked_meanwhile])
        history = trained(model, data, [watch], epochs=4)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(history["loss"]) == 1


class Loads(keras.callbacks.Callback):
    """Draws random numbers in a thread from the second epoch on, as what augments images may."""

    def __init__(self):
        super().__init__()
        self.drawn, self.over = [], threading.Event()
        self.thread = threading.Thread(target=self.draw)

    def draw(self):
        while not self.over.is_set():
            self.drawn.append((random.random(), np.random.random()))
            time.sleep(1e-4)

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.thread.start()

    def on_train_end(self, logs=None):
        self.over.set()
        self.thread.join()


@pytest.mark.needs(backend="tensorflow or jax", why="code of layers runs at every look elsewhere")
def test_no_number_that_is_drawn_meanwhile_is_drawn_again(tmp_path):
    x, y = observed.pictures(220, seed=3)
    shortcuts = ks.Shortcuts((x, y), masks=None, nuisances=["cast", "mark"])
    model, loads = compiled(("dropout and batch norm",)), Loads()
    watch = ks.SaliencyCallback(PROBES, tmp_path, shortcuts=shortcuts)
    trained(model, data_of(()), [watch, loads], epochs=4)
    assert len(loads.drawn) > 100
    for numbers in zip(*loads.drawn, strict=True):
        assert len(set(numbers)) == len(numbers)
