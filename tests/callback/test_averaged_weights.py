"""Which weights are explained where the optimizer averages them, by the order of callbacks."""

import logging

import keras
import numpy as np
import pytest

import keras_saliency as ks

SIZE = (8, 10, 3)
X, Y = np.random.default_rng(0).random((6, *SIZE), "float32"), np.arange(6) % 2
MOMENTUM = 0.9


def network():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(SIZE),
            layers.Conv2D(3, 3, activation="tanh"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    random = np.random.default_rng(1)
    model.set_weights([random.normal(size=weight.shape) / 3 for weight in model.weights])
    return model


class Averages(keras.callbacks.Callback):
    """Averages the weights batch by batch, as the optimizer's documentation says."""

    def on_train_batch_end(self, batch, logs=None):
        self.weights = self.model.get_weights()
        before = getattr(self, "averages", self.weights)
        pairs = zip(before, self.weights, strict=True)
        self.averages = [MOMENTUM * average + (1 - MOMENTUM) * own for average, own in pairs]


ORDERS = {
    "before": (lambda swap, watch: [swap, watch], True),
    "behind": (lambda swap, watch: [watch, swap], False),
    "none": (lambda swap, watch: [watch], False),
}


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_the_log_names_the_weights_that_are_drawn(order, scaled, tmp_path, caplog):
    caplog.set_level(logging.INFO, "keras_saliency")
    listed, averaged = ORDERS[order]
    model, own = network(), Averages()
    optimizer = keras.optimizers.SGD(0.3, use_ema=True, ema_momentum=MOMENTUM)
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer
    model.compile(optimizer, "sparse_categorical_crossentropy")
    watch = ks.SaliencyCallback(ks.Probes(X, Y), tmp_path, ["saliency"], strict=True)
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    model.fit(X, Y, batch_size=2, verbose=0, callbacks=[own, *listed(swap, watch)])
    drawn = watch.session.newest.maps["saliency"]
    twin, maps = network(), {}
    for name in ("weights", "averages"):
        twin.set_weights(getattr(own, name))
        maps[name] = ks.explain(twin, ks.Probes(X, Y), "saliency", target="label").maps
    assert np.abs(maps["weights"] - maps["averages"]).max() > 1e-3 * maps["weights"].max()
    wanted = maps["averages" if averaged else "weights"]
    np.testing.assert_allclose(drawn, wanted, rtol=1e-4, atol=1e-6 * wanted.max())
    says = (
        "the averages of the weights are explained" if averaged else "as they train are explained"
    )
    assert [says in message for message in caplog.messages].count(True) == 1


def test_without_averages_nothing_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO, "keras_saliency")
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0, callbacks=[ks.SaliencyCallback((X, Y), tmp_path)])
    assert not [message for message in caplog.messages if "the averages" in message]
