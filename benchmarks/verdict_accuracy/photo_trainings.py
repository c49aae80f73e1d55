"""One training run on photographs: the verdict in `fit`, and the truth by exact twins."""

import tempfile
import time
from functools import cache
from pathlib import Path

import keras
import numpy as np
import photo_sets
from efficientnet import halves
from keras import layers
from photo_plan import FACTORS, Run
from photo_sets import SIZE, Sample

import keras_saliency as ks
from keras_saliency.shortcuts.experiment import DEFAULT
from keras_saliency.shortcuts.images import ImageSet
from keras_saliency.shortcuts.nuisances import NUISANCES
from keras_saliency.shortcuts.verdict import Verdict

EPOCHS, EVERY, BATCH = 4, 2, 32  # verdicts after the epochs 1, 2 and 4
TRAINED, UNSEEN = 640, 240  # images
DONORS = 2  # of each class, in the twins of what is not planted
RATES = {"pool": 5e-3, "conv": 1.5e-3, "tuned": 2e-4}


class Training:
    """A network in training, with what is needed to measure its reliance."""

    def __init__(self, run: Run, photos: Path, weights: Path) -> None:
        self.run, self._photos, self._weights = run, photos, weights
        self._seed = sum(run.key.encode()) + 1000 * run.seed
        self._rng = np.random.default_rng([self._seed])
        classes = len(photo_sets.CLASSES[run.set])
        self._train = self._draw(TRAINED // classes, unseen=False)
        self._test = self._draw(UNSEEN // classes, unseen=True)
        agreeing = photo_sets.agreeing(self._train.labels, run.correlation, self._rng)
        self._train = self._planted(self._train, agreeing)
        self._matched = self._planted(self._test, self._test.labels)
        self._lower = _halves(weights)[0]
        keras.utils.set_random_seed(self._seed)
        self._head = _head(run.network, classes, weights)

    def _draw(self, count: int, *, unseen: bool) -> Sample:
        return photo_sets.draw(self._photos, self.run.set, count, self._seed, unseen=unseen)

    def _planted(self, sample: Sample, variants: np.ndarray) -> Sample:
        return photo_sets.plant(sample, self.run.cue, variants, self._photos, self._seed)

    def fit(self) -> tuple[Verdict, float]:
        """Train, and give the verdict at the end and the accuracy."""
        train, made = self._train, self.run.masks == "made"
        parts = (train.images, train.labels, photo_sets.eroded(train.masks))
        features = _outputs(self._lower, train.images)
        shortcuts = ks.Shortcuts(parts[:2] if made else parts, every=EVERY)
        with tempfile.TemporaryDirectory() as folder:
            callback = ks.SaliencyCallback(
                (train.images[:2], train.labels[:2]),
                folder,
                ["saliency"],
                shortcuts=shortcuts,
                model=lambda head: keras.Sequential([self._lower, head]),
                strict=True,
            )
            history = self._head.fit(
                features, train.labels, BATCH, EPOCHS, verbose=0, callbacks=[callback]
            )
        return callback.verdict, history.history["accuracy"][-1]

    @property
    def sample(self) -> Sample:
        """What the network is trained on."""
        return self._train

    def train(self) -> None:
        """Train without a verdict."""
        features = _outputs(self._lower, self._train.images)
        self._head.fit(features, self._train.labels, BATCH, EPOCHS, verbose=0)

    def answers(self, images: np.ndarray) -> np.ndarray:
        """The probabilities of images."""
        return _outputs(self._head, _outputs(self._lower, images))

    def planted_reliance(self) -> np.ndarray:
        """By accuracy and by probability: what is lost where the cue speaks for another class."""
        variants = photo_sets.others(self._test.labels, self._rng)
        swapped = self._planted(self._test, variants)
        labels = self._test.labels
        return self._right(self._matched.images, labels) - self._right(swapped.images, labels)

    def own_reliance(self, factor: str) -> np.ndarray:
        """The same of any factor, by twins with true masks; the cue is left out.

        The ground that is planted is the background of these images, and stays.
        """
        sample = self._matched if self.run.cue == "ground" else self._test
        images = ImageSet(sample.images, sample.labels, sample.masks)
        i = np.repeat(np.arange(len(sample)), DONORS)
        same = sample.labels[i][:, None] == sample.labels
        lots = self._rng.random(same.shape)
        arms = [np.where(side, lots, 2).argmin(axis=1) for side in (same, ~same)]
        twins = [NUISANCES[factor].twins(images, images, i, j) for j in arms]
        right = [self._right(arm, sample.labels[i]) for arm in twins]
        return right[0] - right[1]

    def _right(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Accuracy, and mean probability of the right class."""
        p = self.answers(images)
        return np.array([(p.argmax(1) == labels).mean(), p[np.arange(len(p)), labels].mean()])


def measure(run: Run, photos: Path, weights: Path) -> dict[str, object]:
    """Train, and give the row of the table."""
    began = time.process_time()
    training = Training(run, photos, weights)
    verdict, accuracy = training.fit()
    planted = training.planted_reliance()
    background = planted if run.cue == "ground" else training.own_reliance("background")
    row = run.row() | _pair("R", planted) | _pair("R_background", background)
    row |= {"accuracy": accuracy, "alarm": int(verdict.alarm), "cause": verdict.cause or ""}
    row |= _pair("R_named", _named(training, verdict.cause, planted, background))
    row |= {"text": verdict.text}
    for name in DEFAULT:
        row[f"gap_{name}"] = verdict.gaps.get(name, (np.nan,))[0]
        row[f"low_{name}"], row[f"high_{name}"] = verdict.intervals.get(name, (np.nan, np.nan))
    row = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()}
    return row | {"seconds": round(time.process_time() - began, 1)}


def _pair(name: str, values: np.ndarray) -> dict[str, float]:
    return {name: float(values[0]), f"{name}_probability": float(values[1])}


def _named(
    training: Training, cause: str | None, planted: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """The reliance on the factor that the verdict names."""
    if cause is None:
        return np.full(2, np.nan)
    if cause in FACTORS[training.run.cue]:
        return planted
    return background if cause == "background" else training.own_reliance(cause)


@cache
def _halves(weights: Path) -> tuple[keras.Model, keras.Model]:
    return halves(weights, SIZE)


def _head(kind: str, classes: int, weights: Path) -> keras.Model:
    lower, upper = _halves(weights)
    features = keras.Input(lower.output_shape[1:])
    if kind == "tuned":
        top = keras.models.clone_model(upper)
        top.set_weights(upper.get_weights())
        x = top(features)
    else:
        x = layers.Conv2D(48, 3, activation="relu")(features) if kind == "conv" else features
        x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(features, layers.Dense(classes, activation="softmax")(x))
    adam = keras.optimizers.Adam(RATES[kind])
    loss = "sparse_categorical_crossentropy"
    model.compile(adam, loss, metrics=["accuracy"], jit_compile=False)
    return model


def _outputs(model: keras.Model, inputs: np.ndarray, batch: int = 128) -> np.ndarray:
    """In batches of one size, for each of which TensorFlow traces the model once."""
    padded = np.concatenate([inputs, np.zeros((-len(inputs) % batch, *inputs.shape[1:]))])
    parts = np.split(padded.astype(np.float32), len(padded) // batch)
    return np.concatenate([model.predict_on_batch(part) for part in parts])[: len(inputs)]
