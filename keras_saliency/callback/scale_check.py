"""Whether images are scaled as those that the model is trained on, told by how well it does."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_saliency.attribution.explainer import Explainer
from keras_saliency.callback import messages
from keras_saliency.common.types import Array
from keras_saliency.data.normalization import COMMON, Scaling, read_pixels
from keras_saliency.data.probes import Probes
from keras_saliency.engine.output_head import describe_loss
from keras_saliency.engine.predictor import Forward
from keras_saliency.recording.snapshot import Snapshot
from keras_saliency.shortcuts.classifier import Classifier
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.tasks.classification import Classification

# Measured by `benchmarks/reliability/scales.py`: nothing is said in 17 ordinary training runs (with
# dropout, batch norm, augmentation, penalties, a rare class, without shuffling ...), and 11 of 12
# wrong scales are told.
_WORSE = 0.25  # how much accuracy is lost against the training run, and won back by another scale
_NEAR = 0.1  # how near to the training run another scale must bring the accuracy, or the loss
_ALIKE = 0.02  # accuracies that differ by no more count as equal
_HITS = 3  # fewer images that are won back may be chance
_TIMES, _NATS = 2.0, 0.3  # where there is no accuracy: how much larger the loss is
_KINDS = ("", "binary_", "categorical_", "sparse_categorical_")
_ACCURACIES = ("acc", *(f"{kind}accuracy" for kind in _KINDS))


class _Quality(NamedTuple):
    """How well a model does on some images: rates from 0 to 1, and a loss in nats."""

    accuracy: float
    loss: float
    hits: int


class ScaleCheck:
    """Compares a model on images that are given with its training run.

    Images whose scale is wrong do worse than training reports, and well once they are scaled in
    another, common way. That tells them from images that are merely hard.

    Args:
        explainer: Of the probes.
        given: The probes as they are given.
        shortcuts: The shortcuts, or None.
        classifier: The model on the shortcuts' images, or None.
    """

    def __init__(
        self,
        explainer: Explainer,
        given: Probes,
        shortcuts: Shortcuts | None,
        classifier: Classifier | None,
    ) -> None:
        self._explainer, self._probes = explainer, given
        self._shortcuts, self._classifier = shortcuts, classifier
        self._told: set[str] = set()

    def notes(self, logs: Mapping[str, Any], newest: Snapshot | None) -> list[str]:
        """Describe what is scaled unlike the training data, after an epoch.

        Args:
            logs: Of the epoch.
            newest: The snapshot of the probes after it, or None.

        Returns:
            A sentence for the shortcuts and the probes each, if they are, and were not told before.
        """
        reported = _reported(logs, self._explainer)
        if reported is None:
            return []
        checks = {
            "shortcuts": lambda: self._of_shortcuts(reported),
            "probes": lambda: self._of_probes(reported, newest),
        }
        found = {name: check() for name, check in checks.items() if name not in self._told}
        self._told |= {name for name, note in found.items() if note is not None}
        return [note for note in found.values() if note is not None]

    def _of_shortcuts(self, reported: _Quality) -> str | None:
        shortcuts, classifier = self._shortcuts, self._classifier
        if shortcuts is None or classifier is None:
            return None
        if not isinstance(shortcuts.task, Classification) or shortcuts.receivers.extras:
            return None
        images, chances = shortcuts.receivers, classifier.answers
        if not len(images):
            return None
        now = _quality(chances(shortcuts.to_input(images.pixels)), images.labels)
        name = f"{len(images)} training images of shortcuts="
        return _note(name, now, reported, chances, images.pixels, images.labels)

    def _of_probes(self, reported: _Quality, newest: Snapshot | None) -> str | None:
        probes, head = self._probes, self._explainer.head
        labels = probes.labels
        if newest is None or labels is None or labels.dtype.kind != "i" or probes.kind != "image":
            return None
        if probes.extras or head.positions or any(hit is None for hit in newest.correct):
            return None
        hits = np.array(newest.correct, bool)
        loss = -np.log(np.maximum(newest.probability, 1e-7))
        now = _Quality(float(hits.mean()), float(loss.mean()), int(hits.sum()))
        if not _is_worse(now, reported):  # before anything is computed
            return None
        try:
            pixels, _ = read_pixels(probes)
        except ValueError:  # `preprocess` makes something else of what is drawn.
            return None
        chances = Forward(self._explainer.context).answers
        return _note(f"the {len(probes)} probes", now, reported, chances, pixels, labels)


def _note(
    name: str,
    now: _Quality,
    reported: _Quality,
    chances: Callable[[Array], Array],
    pixels: Array,
    labels: Array,
) -> str | None:
    """Describe the scale with which a model does as well as in training, if there is any."""
    if not _is_worse(now, reported):
        return None
    mean, deviation = (f(pixels, axis=(0, 1, 2)) / 1.0 for f in (np.mean, np.std))
    deviation = np.maximum(deviation, 1.0)
    own = Scaling(tuple(1 / deviation), tuple(-mean / deviation))
    tried = COMMON | {"of mean 0 and deviation 1": own}
    if pixels.shape[-1] != 3:
        tried = {words: scaling for words, scaling in tried.items() if len(scaling.offset) == 1}
    found = {words: _quality(chances(s.to_input(pixels)), labels) for words, s in tried.items()}
    # Values that are too large may do as well, and then too well: the loss tells which are right.
    top = max(quality.accuracy for quality in found.values()) - _ALIKE
    good = [item for item in found.items() if item[1].accuracy >= top]
    words, best = min(good, key=lambda item: abs(item[1].loss - reported.loss))
    by_accuracy = np.isfinite(reported.accuracy)
    kind, index = ("accuracy", 0) if by_accuracy else ("loss", 1)
    missed = reported.accuracy - best.accuracy if by_accuracy else best.loss - reported.loss
    gained, hits = best.accuracy - now.accuracy, best.hits - now.hits
    if gained < _WORSE or hits < _HITS or missed > _NEAR:
        return None
    values = now[index], reported[index]
    return messages.WRONG_SCALE.format(kind, name, *values, words, best[index])


def _is_worse(now: _Quality, reported: _Quality) -> bool:
    """Tell whether a model does clearly worse than its training run reports."""
    if np.isfinite(reported.accuracy):
        return reported.accuracy - now.accuracy >= _WORSE
    return now.loss > _TIMES * reported.loss + _NATS


def _quality(probabilities: Array, labels: Array) -> _Quality:
    own = probabilities[np.arange(len(labels)), labels]
    hits = probabilities.argmax(axis=-1) == labels
    return _Quality(float(hits.mean()), float(-np.log(np.maximum(own, 1e-7)).mean()), hits.sum())


def _reported(logs: Mapping[str, Any], explainer: Explainer) -> _Quality | None:
    """Read what training reports, of two values the worse; None where they can't be compared."""
    context, head = explainer.context, explainer.head
    of_one_class = head.kind == "softmax" or head.is_binary
    if not of_one_class or head.positions or context.call.output is not None:
        return None
    numbers = {k: float(v) for k, v in logs.items() if isinstance(v, (int, float, np.number))}
    kinds = ("", "val_")
    accuracies = [numbers[k + name] for k in kinds for name in _ACCURACIES if k + name in numbers]
    losses = [numbers[k + "loss"] for k in kinds if k + "loss" in numbers]
    loss = describe_loss(context.call.loss, head.units)[0]
    is_entropy = "crossentropy" in loss and "focal" not in loss
    if not accuracies and not (losses and is_entropy):
        return None
    return _Quality(min(accuracies, default=np.nan), max(losses, default=np.nan), 0)
