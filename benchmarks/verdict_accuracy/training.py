"""One training run, and at the end of each epoch the truth, the verdict and the baselines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from factors import FACTORS, Twins, factor_twins
from grid import BIASED_DONORS, FEW, INDEPENDENT, LABEL_NOISE, RANDOM_LABELS, Run
from networks import Network, backbone, network
from pictures import Sample, Studio, matching, others
from pool import FOLDER, Pool
from results import EPOCHS

from keras_saliency.shortcuts.components import OFF, ON
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import DEFAULT, Shortcuts
from keras_saliency.shortcuts.verdict import Verdict

TESTED = 320  # images, and as many counterfactuals
_IMAGES, _FEW = {2: 1000, 5: 1000}, 250
_DONORS = 400  # where they aren't the training images
_NOISE = 0.2

Row = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """Training images, test images with counterfactuals, and the donors by where they come from.

    Where all factors are asked for, there are twins of each.
    """

    training: Sample
    labels: np.ndarray
    matched: Sample
    swapped: Sample
    donors: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    factors: dict[str, Twins]


def material(run: Run, pool: Pool) -> Material:
    """Compose the images of a run."""
    classes = run.classes
    rng = np.random.default_rng([run.seed, *run.name.encode()])
    studio = Studio(pool, run.kind, classes, run.honest)

    def drawn(count: int, correlation: float) -> Sample:
        plan = studio.plan(rng, count)
        return studio.draw(plan, matching(rng, plan.labels, classes, correlation))

    training = drawn(_FEW if run.control == FEW else _IMAGES[classes], run.correlation)
    labels = _spoilt(training.labels, run, rng)
    test = studio.plan(rng, TESTED, held_out=True)
    donors = {"training": (training.images, labels, training.masks)}
    if run.control == BIASED_DONORS:
        biased = drawn(_DONORS * classes // 2, 1.0)
        donors = {"biased": (biased.images, biased.labels, biased.masks)}
    if run.asks_curated:
        curated = drawn(_DONORS * classes // 2, INDEPENDENT)
        donors["curated"] = (curated.images, curated.labels, curated.masks)
    return Material(
        training=training,
        labels=labels,
        matched=studio.draw(test, test.labels),
        swapped=studio.draw(test, others(rng, test.labels, classes)),
        donors=donors,
        factors=factor_twins(studio, rng, run.planted) if run.asks_factors else {},
    )


def train(run: Run, pool: Pool) -> list[Row]:
    """Train, and tell a row an epoch and source of donors."""
    began = time.perf_counter()
    given = material(run, pool)
    net = network(run.network, run.classes)
    batch = net.start(run.seed, backbone(run.network, pool, FOLDER) if run.warm else None)
    keras.utils.set_random_seed(run.seed)
    assessors = {source: _assessor(net, run, parts) for source, parts in given.donors.items()}
    watch = _Watch(lambda epoch, logs: _rows(run, net, given, assessors, epoch, logs))
    net.model.fit(
        given.training.images,
        given.labels,
        batch_size=batch,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[watch],
    )
    seconds = round(time.perf_counter() - began, 2)
    return [row | {"seconds": seconds} for row in watch.rows]


class _Watch(keras.callbacks.Callback):
    """Collects rows at the end of each epoch."""

    def __init__(self, look: Callable[[int, dict[str, float]], list[Row]]) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self._look = look

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.rows += self._look(epoch, logs or {})


def _assessor(net: Network, run: Run, parts: tuple[np.ndarray, ...]) -> Evaluator:
    donors = parts if run.true_masks else parts[:2]
    shortcuts = Shortcuts(donors, nuisances=DEFAULT)
    return Evaluator(shortcuts, net.probabilities, net.spots, evidence=net.evidence)


def _rows(
    run: Run,
    net: Network,
    given: Material,
    assessors: dict[str, Evaluator],
    epoch: int,
    logs: dict[str, float],
) -> list[Row]:
    (matched, sure), (swapped, unsure) = (
        _known(net, sample) for sample in (given.matched, given.swapped)
    )
    shared = {
        "run": run.name,
        "kind": run.kind,
        "control": run.control,
        "correlation": run.correlation,
        "network": run.network,
        "classes": run.classes,
        "seed": run.seed,
        "warm": int(run.warm),
        "epoch": epoch + 1,
        "reliance_true": matched.mean() - swapped.mean(),
        "reliance_error": (matched - swapped).std() / np.sqrt(TESTED),
        "confidence_true": sure.mean() - unsure.mean(),
        "accuracy_matched": matched.mean(),
        "accuracy_swapped": swapped.mean(),
        "accuracy": logs["accuracy"],
        "loss": logs["loss"],
    }
    if given.factors:
        shared |= {f"truth_{name}": _followed(net, given, name) for name in FACTORS}
    rows = []
    for source, assessor in assessors.items():
        verdict = assessor.evaluate(epoch)
        more = _component_scores(verdict) if given.factors else {}
        rows.append(shared | {"donors": source} | _scores(verdict) | more)
    return rows


def _known(net: Network, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Whether each image's class is the most probable one, 1 or 0, and how probable it is."""
    found = net.probabilities(sample.images.astype(np.float32)).astype(np.float64)
    right = (found.argmax(axis=1) == sample.labels).astype(np.float64)
    return right, found[np.arange(len(found)), sample.labels]


def _followed(net: Network, given: Material, factor: str) -> float:
    """How much the model follows a factor; NaN where the images don't have it apart."""
    if factor not in given.factors:
        return float("nan")
    twins = given.factors[factor]
    rows = np.arange(len(twins.labels))
    found = [
        net.probabilities(part.astype(np.float32))[rows, twins.labels] for part in twins.images
    ]
    return twins.reliance(np.array(found, np.float64))


def _scores(verdict: Verdict) -> Row:
    row: Row = {
        "masks": verdict.masks_from or "",
        "reliance": verdict.reliance,
        "alarm": int(verdict.alarm),
        "cause": verdict.cause or "",
        "since": verdict.since or "",
        "text": verdict.text,
    }
    for name in DEFAULT:
        gap, error = verdict.gaps.get(name, (float("nan"), float("nan")))
        row |= {f"gap_{name}": gap, f"error_{name}": error}
    return row


def _component_scores(verdict: Verdict) -> Row:
    """The gaps of components, NaN before the first test."""
    row: Row = {}
    for place in (OFF, ON):
        found = [one for one in verdict.components if one.place == place]
        gap, error = found[0].gap if found else (float("nan"), float("nan"))
        key = place.split()[0]
        row |= {f"gap_{key}": gap, f"error_{key}": error}
        row |= {f"passes_{key}": int(bool(found and found[0].passes))}
    return row


def _spoilt(labels: np.ndarray, run: Run, rng: np.random.Generator) -> np.ndarray:
    """The labels that are trained on: the true ones, but for the controls about labels."""
    if run.control == RANDOM_LABELS:
        return rng.permutation(labels)
    if run.control == LABEL_NOISE:
        wrong = rng.random(len(labels)) < _NOISE
        return np.where(wrong, others(rng, labels, run.classes), labels)
    return labels
