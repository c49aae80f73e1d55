"""One process of a training run on several devices, as `test_distribution.py` starts it.

    python trained_together.py KIND FOLDER INDEX PORT...

It trains twice, without the callback and with it, and leaves what came of both in the folder: the
weights, the maps and gaps that the callback saw last, and those of one device with these weights.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

KIND, FOLDER, INDEX = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
PLACES = [f"127.0.0.1:{port}" for port in sys.argv[4:]]
SIZE, EPOCHS, BATCH, COUNT = (13, 18, 3), 2, 64, 256
METHODS = ("saliency", "grad_cam")

if KIND == "workers":
    task = {"type": "worker", "index": INDEX}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": PLACES}, "task": task})
    import tensorflow as tf

    # It has to come before all else.
    STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()
elif KIND == "mirrored":
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
elif KIND == "processes":
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")

import keras  # noqa: E402
from keras import layers  # noqa: E402

import keras_saliency as ks  # noqa: E402
from keras_saliency.engine import backend  # noqa: E402
from keras_saliency.shortcuts.evaluator import Evaluator  # noqa: E402
from keras_saliency.shortcuts.experiment import Shortcuts  # noqa: E402

if KIND == "processes":
    keras.distribution.initialize(PLACES[0], 2, INDEX)
if KIND == "ranks":
    import torch

    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://{PLACES[0]}", rank=INDEX, world_size=2
    )

rng = np.random.default_rng(0)
labels = np.arange(COUNT) % 2
images = rng.random((COUNT, *SIZE), "float32")
images[labels == 1, :6] *= 0.4
probes = ks.Probes(images[:5], labels[:5])


class Fitting(keras.Sequential):
    """What Keras 3.15 lacks to fit with several workers: both of its steps there fail.

    It averages a batch over the workers, to build a model that is built, and takes the mean of
    metrics over an axis that they do not have.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        pass

    def train_step(self, data):
        return {name: value[None] for name, value in super().train_step(data).items()}


def network(kind=keras.Sequential):
    return kind(
        [
            keras.Input(SIZE),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(momentum=0.7),
            layers.Conv2D(6, 3, activation="relu", name="conv2d_last"),
            layers.Dropout(0.2, seed=4),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def compiled(model):
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


def batches():
    """All workers read everything, and each takes its part of every batch."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH).with_options(options)


def fit_with_strategy(callbacks, kind=keras.Sequential):
    with STRATEGY.scope():
        model = compiled(network(kind))
        if kind is Fitting:
            model._symbolic_build(data_batch=(images[:BATCH], labels[:BATCH]))
    model.fit(batches(), epochs=EPOCHS, verbose=0, callbacks=callbacks)
    return model


def loop_with_strategy(callbacks):
    """Train by hand, with nothing of Keras but its layers, its optimizer and its callbacks."""
    with STRATEGY.scope():
        model, optimizer = network(), keras.optimizers.Adam(0.01)
        optimizer.build(model.trainable_variables)
    data = STRATEGY.experimental_distribute_dataset(batches())

    def step(x, y):
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(y, model(x, training=True))
            loss = tf.nn.compute_average_loss(losses, global_batch_size=BATCH)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    @tf.function
    def together(x, y):
        return STRATEGY.reduce("SUM", STRATEGY.run(step, args=(x, y)), axis=None)

    def train(epoch):
        losses = [float(together(x, y)) for x, y in data]
        return {"loss": np.mean(losses)}

    return by_hand(model, callbacks, train)


def loop_with_ranks(callbacks):
    model = network()
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)

    def train(epoch):
        for start in range(0, len(images), BATCH):
            mine = slice(start + INDEX * BATCH // 2, start + (INDEX + 1) * BATCH // 2)
            said = parallel(torch.as_tensor(images[mine]), training=True)
            loss = keras.losses.sparse_categorical_crossentropy(labels[mine], said).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"loss": float(loss)}

    return by_hand(model, callbacks, train)


def by_hand(model, callbacks, train):
    listed = keras.callbacks.CallbackList(callbacks, model=model, epochs=EPOCHS)
    model.stop_training = False
    listed.on_train_begin()
    for epoch in range(EPOCHS):
        listed.on_epoch_begin(epoch)
        listed.on_epoch_end(epoch, train(epoch))
        if model.stop_training:
            break
    listed.on_train_end()
    return model


def fit(callbacks):
    count = 2 if KIND == "processes" else 1
    mine = slice(INDEX, None, count)  # each process brings its part of every batch
    spread = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(spread)
    try:
        model, options = compiled(network()), {"shuffle": False, "verbose": 0}
        x, y, size = images[mine], labels[mine], BATCH // count
        model.fit(x, y, size, EPOCHS, callbacks=callbacks, **options)
        return model
    finally:
        keras.distribution.set_distribution(None)


def fit_model_parallel(callbacks):
    """Weights and images are split over two by two devices."""
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"], devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout["conv2d.*kernel"] = (None, None, None, "model")
    layout["dense.*kernel"] = (None, "model")
    spread = keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
    keras.distribution.set_distribution(spread)
    try:
        model = compiled(network())
        before = layouts(model)
        model.fit(images, labels, BATCH, EPOCHS, callbacks=callbacks, shuffle=False, verbose=0)
        assert layouts(model) == before
        assert len({str(one) for one in before}) > 1
        return model
    finally:
        keras.distribution.set_distribution(None)


def layouts(model):
    return [weight.value.sharding for weight in model.weights]


def fit_with_workers(callbacks):
    try:
        return fit_with_strategy(callbacks)
    except ValueError:  # as Keras 3.15 does; once it does no longer, nothing of it is needed
        return fit_with_strategy(callbacks, Fitting)


TRAININGS = {
    "mirrored": {"fit": fit_with_strategy},
    "workers": {"fit": fit_with_workers, "loop": loop_with_strategy},
    "data-parallel": {"fit": fit},
    "processes": {"fit": fit},
    "model-parallel": {"fit": fit_model_parallel},
    "ranks": {"loop": loop_with_ranks},
}


def devices(model):
    """On how many devices the first weight lies."""
    value = model.weights[0].value
    if keras.backend.backend() == "jax":
        return len(value.sharding.device_set)
    return STRATEGY.num_replicas_in_sync if KIND in ("mirrored", "workers") else 2


def watched(name, seen):
    """Look through a method while it is used."""
    method = ks.methods.get(name)

    def watching(model, images):
        maps = method(model, images)
        seen[name] = keras.ops.convert_to_numpy(maps)
        return maps

    watching.__name__ = f"watched_{name}"
    return watching


def agreed(train, way):
    """Train with a verdict on other images in each process, where the backend lets them differ.

    The callback is slower in one of them, and training stops where the reliance does not fall.
    """
    global EPOCHS
    EPOCHS = 5
    order = np.random.default_rng(INDEX).permutation(COUNT)
    order = np.arange(COUNT) if KIND == "processes" else order
    shortcuts = Shortcuts((images[order], labels[order]), nuisances=("background", "cast"))
    logged = []

    class Kept(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logged.append(logs["shortcut_reliance"])

    def slow(model, images):
        time.sleep(INDEX)
        scores = model.scores(images * 0.5)  # in a pass of its own, which is no part of the trace
        return keras.ops.sum(images, axis=-1) * scores[:, None, None]

    watch = ks.SaliencyCallback(
        probes, FOLDER / f"{way}-agreed", [slow], shortcuts=shortcuts, max_overhead=0.1, strict=True
    )
    stop = keras.callbacks.EarlyStopping("shortcut_reliance", patience=2, mode="min")
    train([watch, stop, Kept()])
    return {"logged": logged, "verdict": watch.verdict.text, "stopped": stop.stopped_epoch}


def main():
    found = {}
    for way, train in TRAININGS[KIND].items():
        # Of few images all receivers are asked each time, whatever was in doubt before.
        shortcuts = Shortcuts((images[:80], labels[:80]), nuisances=("background", "cast"))
        seen = {}
        watch = ks.SaliencyCallback(
            probes,
            FOLDER / way,
            [*METHODS, *(watched(name, seen) for name in METHODS)],
            shortcuts=shortcuts,
            strict=True,
        )
        weights = []
        for callbacks in ([], [watch]):
            keras.utils.set_random_seed(3)
            model = train(callbacks)
            weights.append(model.get_weights())
        single = network()
        single.set_weights(weights[-1])
        found |= {f"{way}/seen/{name}": maps for name, maps in seen.items()}
        for name in METHODS:
            alone = ks.explain(single, probes.images, name, target=labels[:5])
            found[f"{way}/single/{name}"] = alone.maps
        asked = Evaluator(shortcuts, lambda x, single=single: single.predict(x, verbose=0))
        for side, verdict in (("seen", watch.verdict), ("single", asked.evaluate(EPOCHS - 1))):
            found[f"{way}/{side}/gaps"] = [gap for gap, _ in verdict.gaps.values()]
        for side, values in zip(("without", "with"), weights, strict=True):
            found[f"{way}/{side}"] = np.concatenate([one.ravel() for one in values])
        found[f"{way}/devices"] = devices(model)
        found[f"{way}/alone"] = backend.is_alone(model)
        if not backend.is_alone(model):
            found |= {f"{way}/{name}": value for name, value in agreed(train, way).items()}
    np.savez(FOLDER / f"{INDEX}.npz", pid=os.getpid(), **found)


main()
