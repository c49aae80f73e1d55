"""At which evaluations the maps are checked, and what becomes of the checks."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency as ks
from keras_saliency.recording.scalars import MapMetrics, scalars

SIZE = (8, 10, 3)
X, Y = np.random.default_rng(0).random((6, *SIZE), "float32"), np.arange(6) % 2


class Kept:
    """A writer that keeps the numbers, and the heights of the cards."""

    def __init__(self):
        self.checked, self.heights, self.contrasted = [], set(), {}

    def images(self, images, step):
        if (sheet := images.get("classified-wrongly-contrast")) is not None:
            self.contrasted[step] = sheet.shape
        self.heights |= {image.shape[0] for tag, image in images.items() if "saliency/" in tag}

    def scalars(self, numbers, step):
        if "faithfulness/saliency" in numbers:
            self.checked.append(step)

    def close(self):
        pass


def fit(epochs, *callbacks, every=1, **options):
    model = keras.Sequential(
        [
            keras.Input(SIZE),
            layers.Conv2D(3, 3, activation="tanh"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    kept = Kept()
    watch = ks.SaliencyCallback(
        ks.Probes(X, Y), kept, ["saliency"], every=every, strict=True, **options
    )
    model.fit(X, Y, batch_size=6, epochs=epochs, verbose=0, callbacks=[*callbacks, watch])
    assert len(kept.heights) == 1  # or TensorBoard's slider would make them jump
    return kept.checked, watch, kept


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 2


def test_every_fifth_and_the_last_are_checked():
    assert fit(7)[0] == [4, 6]
    assert fit(7, every=3)[0] == [5]  # of evaluations after the epochs 3 and 6
    assert fit(7, Stop())[0] == [2]
    assert fit(2, every="1 batch")[0] == [2]


def test_all_or_none_are_checked_on_request():
    assert fit(2, check_maps="every")[0] == [-1, 0, 1]
    checked, watch, _ = fit(2, check_maps=False)
    assert checked == []
    assert watch.session.newest.checks == {}


def test_the_newest_snapshot_holds_the_checks_and_the_number_is_their_mean():
    _, watch, _ = fit(1)
    snapshot = watch.session.newest
    check = snapshot.checks["saliency"]
    assert check.costs.shape == (6,)
    numbers = scalars(snapshot, MapMetrics(), [str(i) for i in range(6)], [0])
    gain = (sum(check.costs) - sum(check.by_chance)) / 6
    assert numbers["faithfulness/saliency"] == pytest.approx(gain)


@pytest.mark.parametrize("wrong", ["always", 1, None])
def test_other_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match=r"check_maps must be True.*'every'.*Received: check_maps"):
        ks.SaliencyCallback(ks.Probes(X, Y), check_maps=wrong)


def test_what_is_wrong_is_contrasted_where_maps_are_checked():
    kept = fit(7)[2]
    assert set(kept.contrasted) <= set(kept.checked)
    assert kept.contrasted  # half of the labels are noise
    assert len(set(kept.contrasted.values())) == 1
    assert fit(7, check_maps=False)[2].contrasted == {}
