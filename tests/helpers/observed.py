"""Training runs to be watched, and all that a training run has changed, down to the bit."""

import random
from collections import ChainMap
from types import BuiltinFunctionType, FunctionType, MethodType

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

SIZE = (11, 14, 3)
BACKEND = keras.backend.backend()
ADDRESSES = ("_loss_ids", "_nodes")
FUNCTIONS = ("train_function", "test_function", "predict_function")


class DrawsAtInference(layers.Layer):
    """Adds noise whether it trains or not."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(5)

    def call(self, inputs):
        return inputs + 0.01 * keras.random.normal(ops.shape(inputs), seed=self.seeds)


class CountsCalls(layers.Layer):
    """Counts how often it is called: in a variable, and in whatever else Python has for it."""

    def __init__(self):
        super().__init__()
        self.traced = 0
        self.listed = [0, [0]]
        self.by_mode = {True: 0, False: 0, "nested": {"all": 0}}
        self.modes = set()
        self.array = np.zeros(2, "int64")

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs, training=None):
        self.count.assign_add(1.0)
        self.traced += 1
        self.listed[0] += 1
        self.listed[1].append(self.traced)
        self.by_mode[bool(training)] += 1
        self.by_mode["nested"]["all"] += 1
        self.modes.add((training, self.traced))
        self.array[int(bool(training))] += 1
        if not training and self.traced > 1:
            self.seen_at_inference = True
        random.random(), np.random.random()
        return inputs


class Trips(layers.Layer):
    """Raises, once it is armed, in the midst of some passes that do not train."""

    armed, left = None, 1

    def call(self, inputs, training=None):
        if Trips.armed is not None and not training:
            raised, Trips.left = Trips.armed, Trips.left - 1
            if not Trips.left:
                Trips.armed = None
            raise raised
        return inputs


class Attends(layers.Layer):
    """Self-attention over the places of a feature map, so that every method has what it asks."""

    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(1, 4, name="attention")

    def call(self, inputs):
        _, height, width, channels = inputs.shape
        tokens = ops.reshape(inputs, (-1, height * width, channels))
        return inputs + ops.reshape(self.attention(tokens, tokens), (-1, height, width, channels))


class Subclassed(keras.Model):
    """The same network without a graph."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def call(self, inputs):
        for part in self.parts:
            inputs = part(inputs)
        return inputs


def network(traits):
    """Build a small network: what comes before its layers, between them, and around them."""
    before, within, regularizer = [], [], None
    if "augmentation" in traits:
        before += [layers.RandomFlip(seed=3), layers.RandomRotation(0.1, seed=4)]
    if "dropout and batch norm" in traits:
        within += [layers.BatchNormalization(), layers.Dropout(0.4, seed=6)]
    if "draws at inference" in traits:
        within += [DrawsAtInference()]
    if "counts its calls" in traits:
        within += [CountsCalls()]
    if "trips" in traits:
        within += [Trips()]
    if "activity regulariser" in traits:
        regularizer = "l2"
    parts = [
        *before,
        layers.Conv2D(4, 3, strides=2, activation="relu", name="first"),
        Attends(),
        *within,
        layers.Conv2D(5, 3, activation="relu", name="last", activity_regularizer=regularizer),
    ]
    top = [layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax", name="head")]
    if "subclassed" in traits:
        return Subclassed([*parts, *top])
    if "nested backbone" in traits:
        parts = [keras.Sequential([keras.Input(SIZE), *parts], name="backbone")]
    return keras.Sequential([keras.Input(SIZE), *parts, *top])


KINDS = [
    "dropout and batch norm",
    "nested backbone",
    "subclassed",
    "augmentation",
    "draws at inference",
    "counts its calls",
    "activity regulariser",
    "reshuffling pipeline",
    "mixed precision",
    "gradient accumulation",
    "EMA",
]

OPTIMIZERS = {
    "gradient accumulation": {"gradient_accumulation_steps": 2},
    "EMA": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 5},
}


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, *SIZE), "float32"), np.arange(count) % 2


def data_of(traits):
    """Batches to train on, the last one smaller."""
    data = tf.data.Dataset.from_tensor_slices(pictures(20))
    if "reshuffling pipeline" in traits:
        data = data.shuffle(20, seed=8)
    return data.batch(8)


class CountsLosses:
    """A loss that counts how often its Python code runs: each time that a step is compiled."""

    def __init__(self):
        self.loss, self.ran = keras.losses.SparseCategoricalCrossentropy(), 0
        self.__name__ = "sparse_categorical_crossentropy"

    def __call__(self, truth, said):
        self.ran += 1
        return self.loss(truth, said)


def compiled(traits, **options):
    """Seed everything, and build a model of some kinds."""
    keras.utils.clear_session()  # so that names are the same again
    keras.utils.set_random_seed(7)
    before = keras.config.dtype_policy()
    if "mixed precision" in traits:  # JAX has no float16 on a CPU
        keras.config.set_dtype_policy("mixed_bfloat16" if BACKEND == "jax" else "mixed_float16")
    model = network(traits)
    keras.config.set_dtype_policy(before)
    chosen = [OPTIMIZERS[trait] for trait in traits if trait in OPTIMIZERS]
    optimizer = keras.optimizers.Adam(0.01, **dict(ChainMap(*chosen)))
    model.compile(optimizer, CountsLosses(), metrics=["accuracy"], **options)
    return model


def trained(model, data, callbacks=(), epochs=2, **options):
    """Train, with validation; a `KeyboardInterrupt` ends it as it does in a notebook."""
    held_out = pictures(6, seed=1)
    try:
        return model.fit(
            data,
            epochs=epochs,
            verbose=0,
            callbacks=list(callbacks),
            validation_data=held_out,
            **options,
        ).history
    except KeyboardInterrupt:
        return model.history.history


def drawn():
    """What all random streams of the process hold next."""
    found = {
        "random": random.getstate(),
        "numpy": plain(np.random.get_state()),
        "keras": float(keras.random.uniform(())),
        "tensorflow": float(tf.random.uniform(())),
    }
    if BACKEND == "torch":
        import torch

        found["torch"] = plain(torch.get_rng_state().numpy())
    return found


def streams():
    """The state of all random streams that may be read without moving it."""
    from tensorflow.python.eager import context

    found = {
        "random": random.getstate(),
        "numpy": plain(np.random.get_state()),
        "tensorflow": plain(context.context()._rng.getstate()) if context.context()._rng else None,
    }
    if BACKEND == "torch":
        import torch

        found["torch"] = plain(torch.get_rng_state().numpy())
    return found


def values(variables):
    return [(v.name, str(v.dtype), ops.convert_to_numpy(v).tobytes()) for v in variables]


def variables(model):
    """The bytes of every variable of a model: weights, statistics, seeds, optimizer, metrics."""
    return {
        "weights": values(model.weights),
        "all": values(model.variables),
        "optimizer": values(model.optimizer.variables),
        "metrics": values(model.metrics_variables),
    }


def after(model, history):
    """All that a training run has left behind, to be compared with another one's."""
    return {
        **variables(model),
        "history": history,
        "compiled": model.loss.ran,
        "attributes": attributes(model, lambda value: type(value).__name__, but=ADDRESSES),
        **drawn(),
    }


def attributes(model, named=id, but=()):
    """Every attribute of every layer, and what lists, sets and arrays among them hold.

    Args:
        model: The model.
        named: How what is no data is named.
        but: Attributes to leave out: of what holds addresses, no two training runs are the same.
    """
    return [
        (type(part).__name__, {k: plain(v, named) for k, v in vars(part).items() if k not in but})
        for part in parts_of(model)
    ]


def parts_of(model):
    """All layers; with torch all modules too, those within a wrapped module among them."""
    layers = list(model._flatten_layers())
    if BACKEND != "torch":
        return layers
    modules = (module for layer in layers for module in layer.modules())
    return list({id(one): one for one in (*layers, *modules)}.values())


def plain(value, named=id):
    """Describe a value by what it holds, and what is no data by `named`."""
    if isinstance(value, np.ndarray | np.generic):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, str | bytes | int | float | complex | type(None)):
        return type(value).__name__, repr(value)
    if isinstance(value, dict):
        return type(value).__name__, [(plain(k, named), plain(v, named)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return type(value).__name__, [plain(each, named) for each in value]
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(repr(plain(each, named)) for each in value)
    if isinstance(value, FunctionType | BuiltinFunctionType | MethodType):
        return value.__qualname__, named(getattr(value, "__func__", value))
    return named(value)


class Witness(keras.callbacks.Callback):
    """Stands before and after another callback, and notes what its hooks have changed.

    Args:
        before: The witness that stands before it; None for that one itself.
    """

    def __init__(self, before=None):
        super().__init__()
        self.seen, self.before = None, before
        self.hooks = []

    def look(self, hook):
        model = self.model
        if not model.built:  # which it will be before its first batch in any case
            return
        self.seen = {
            **variables(model),
            **streams(),
            "attributes": attributes(model),
            "trainable": [part.trainable for part in model._flatten_layers()],
            "functions": [id(getattr(model, name, None)) for name in FUNCTIONS],
            "compiled": model.loss.ran,
            "gradients": gradients(model),
        }
        if self.before is not None and self.before.seen is not None:
            self.hooks.append(hook)
            same(self.before.seen, self.seen, hook)

    def on_train_begin(self, logs=None):
        self.look("on_train_begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.look(f"on_epoch_begin {epoch}")

    def on_epoch_end(self, epoch, logs=None):
        self.look(f"on_epoch_end {epoch}")

    def on_train_end(self, logs=None):
        self.look("on_train_end")


def gradients(model):
    """The gradients that torch keeps on its weights."""
    if BACKEND != "torch":
        return None
    found = [one.grad for one in model.parameters()]
    return [None if one is None else one.numpy().tobytes() for one in found]


def same(wanted, found, where=""):
    """Assert that two training runs are the same, and say where they are not."""
    assert wanted.keys() == found.keys()
    for name in wanted:
        if wanted[name] == found[name]:
            continue
        if name == "attributes":
            for (kind, one), (_, other) in zip(wanted[name], found[name], strict=True):
                differing = {k for k in one.keys() | other.keys() if one.get(k) != other.get(k)}
                assert not differing, f"{where}: attributes {differing} of {kind}"
        assert wanted[name] == found[name], f"{where}: {name}"
