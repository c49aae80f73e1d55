"""The model's prediction for each probe, in words and numbers."""

from dataclasses import dataclass

import numpy as np

from keras_saliency.engine.output_head import Head


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for n probes.

    Attributes:
        texts: The predicted class's name, "class 2" where it has none, or a regression's value.
        confidence: `(n,)` probability of the predicted class, NaN for a regression.
        probability: `(n,)` probability of the probe's own class, NaN where it is not known.
        correct: Whether it is the probe's own class; None where that is not known.
    """

    texts: list[str]
    confidence: np.ndarray
    probability: np.ndarray
    correct: list[bool | None]


def read_predictions(
    head: Head,
    outputs: np.ndarray,
    predicted: np.ndarray,
    labels: np.ndarray | None,
    class_names: tuple[str, ...] | None,
) -> Predictions:
    """Read a model's outputs, `(n, ...)`, as predictions.

    Args:
        head: How the outputs are read.
        outputs: `(n, ...)`.
        predicted: `(n,)` int, the predicted classes.
        labels: The probes' labels, or None.
        class_names: Names of the classes, or None.

    Returns:
        The predictions.
    """
    unknown = np.full(len(outputs), np.nan)
    chances = head.probabilities(outputs)
    if chances is None:
        several = len(head.positions) > 0
        values = outputs.reshape(len(outputs), -1, head.units).mean(axis=1)
        texts = [" ".join(f"{v:.3g}" for v in row[:3]) for row in values]
        texts = [f"mean {text}" if several else text for text in texts]
        return Predictions(texts, unknown, unknown, [None] * len(outputs))
    names = class_names or ()
    texts = [names[c] if c < len(names) else f"class {c}" for c in predicted]
    rows = np.arange(len(chances))
    confidence = chances[rows, predicted]
    if labels is None:
        labels = np.full(len(outputs), -1)
    if labels.ndim == 2:
        own = np.where(labels > 0.5, chances, np.nan)
        probability = np.array([row[row >= 0].mean() if any(row > 0) else np.nan for row in own])
        correct = labels[rows, predicted] > 0.5
        return Predictions(texts, confidence, probability, correct.tolist())
    known = (labels >= 0) & (labels < chances.shape[-1]) & (labels % 1 == 0)
    classes = np.where(known, labels, 0).astype(int)
    probability = np.where(known, chances[rows, classes], np.nan)
    hits = zip(predicted == classes, known, strict=True)
    return Predictions(texts, confidence, probability, [bool(h) if k else None for h, k in hits])
