"""A short training run, watched while something goes wrong, that must be as it is alone."""

import functools
import warnings

import keras
from keras import layers

from helpers import observed
from helpers.observed import after, same

PROBES = observed.pictures(2, seed=2)
EPOCHS = 5
NUMBER, PICTURE, STRIP = "probes/score", "grad-cam/00_0", "film-strip/grad-cam"
ALL = [-1, *range(EPOCHS)]


def built(*further, optimizer=None):
    """A small network, the same at every call; eager, so that nothing has to be traced.

    `further` makes further layers.
    """
    keras.utils.clear_session()  # so that names are the same again
    keras.utils.set_random_seed(7)
    parts = [layers.Conv2D(4, 3, activation="relu"), layers.Dropout(0.4, seed=6)]
    top = [
        *(make() for make in further),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input(observed.SIZE), *parts, *top])
    optimizer = optimizer or keras.optimizers.Adam(0.01)
    model.compile(optimizer, observed.CountsLosses(), run_eagerly=True)
    return model


def fitted(model, callbacks=(), **options):
    x, y = observed.pictures(16)
    options = {"epochs": EPOCHS, "batch_size": 16, "verbose": 0} | options
    return model.fit(x, y, callbacks=list(callbacks), **options).history


def left(model, callbacks=()):
    """Train; return all that is left behind, and the history in words, in which NaN is NaN."""
    history = fitted(model, callbacks)
    return after(model, {name: list(map(repr, values)) for name, values in history.items()})


@functools.cache
def alone(build=built):
    """What the training run leaves behind that nobody watches."""
    return left(build())


class Then(keras.callbacks.Callback):
    """Does something at the end of some epochs, when all that was seen has been written."""

    def __init__(self, watch, **actions):
        super().__init__()
        self.watch = watch
        self.actions = {int(when.removeprefix("epoch_")): do for when, do in actions.items()}

    def on_epoch_end(self, epoch, logs=None):
        if epoch in self.actions:
            assert self.watch.session.recorder.flush(60)
            self.actions[epoch]()


def watched(watch, *callbacks, build=built):
    """Train with the callback; assert that the run is the same, and return the messages."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = left(build(), [watch, *callbacks])
    same(alone(build), found)
    return [str(one.message) for one in told if "keras_saliency" in str(one.message)]
