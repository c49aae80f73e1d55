"""Log folders of real training runs on drawn animals, and what a test does to their files."""

import keras

from keras_saliency.callback.callback import SaliencyCallback
from keras_saliency.data.probes import Probes
from keras_saliency.data.synthetic import CLASS_NAMES, scenes
from keras_saliency.shortcuts.experiment import Shortcuts

SIZE = (32, 44)
EPOCHS = 4


def train(folder, correlation, *, epochs=EPOCHS, beside=True, shortcuts=True):
    """Train on images whose ground goes with the class, watched by two methods.

    `beside` puts Keras's own `TensorBoard` callback into the training run.
    """
    drawn = scenes(240, correlation=correlation, size=SIZE)
    data = drawn.images[6:], drawn.labels[6:]
    probes = Probes(
        drawn.images[:6],
        drawn.labels[:6],
        masks=drawn.masks[:6],
        class_names=CLASS_NAMES,
    )
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ],
        name="small",
    )
    model.compile(
        keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    asked = Shortcuts(data, nuisances=("background", "cast")) if shortcuts else None
    watch = SaliencyCallback(probes, folder, shortcuts=asked)
    keras_own = [keras.callbacks.TensorBoard(folder)] if beside else []
    options = {"validation_data": (drawn.images[:6], drawn.labels[:6]), "verbose": 0}
    done = model.fit(*data, epochs=epochs, callbacks=[watch, *keras_own], **options)
    return watch, done.history
