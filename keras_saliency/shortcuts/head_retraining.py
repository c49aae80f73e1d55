"""Mitigation of a shortcut in a trained model: its last layer is trained anew."""

from dataclasses import dataclass

import keras
import numpy as np

from keras_saliency.attribution.explainer import Explainer
from keras_saliency.common.types import Array
from keras_saliency.data.probes import Probes
from keras_saliency.engine.context import ModelContext
from keras_saliency.engine.features import HeadFeatures
from keras_saliency.engine.output_head import Head
from keras_saliency.engine.targets import Target
from keras_saliency.shortcuts.classifier import Classifier
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.nuisances import Nuisance, find_salient_patches
from keras_saliency.shortcuts.tasks.classification import Classification
from keras_saliency.shortcuts.video_swaps import ExampleSet

_COMPOSED = 16  # counterfactuals composed at once
_BATCH_SIZE = 32
_STEPS, _RATE, _PENALTY = 500, 0.02, 1e-3  # of the fit, which is convex
_LEAST = 1e-6  # standard deviation of a feature, below which it is constant

Group = tuple[int, str]


@dataclass(frozen=True)
class HeadRetraining:
    """The accuracy of a model by group, before its last layer was trained anew and after.

    A group is `(label, "aligned")` or `(label, "contradicting")`: images in which the nuisances
    come from a donor of the label's class, or of another.

    Attributes:
        nuisances: What was swapped, the names of nuisances.
        counts: `{group: images}` that the layer was fitted to.
        before: `{group: accuracy}` of the model as it was, from 0 to 1, on the receivers, to which
            the layer is not fitted.
        after: The same of the model as it is now.

    Example:
        >>> groups = {(0, "aligned"): 1.0, (0, "contradicting"): 0.25}
        >>> HeadRetraining(("background",), {}, groups, groups).worst
        (0.25, 0.25)
    """

    nuisances: tuple[str, ...]
    counts: dict[Group, int]
    before: dict[Group, float]
    after: dict[Group, float]

    @property
    def worst(self) -> tuple[float, float]:
        """The accuracy of the worst group, before and after."""
        return min(self.before.values()), min(self.after.values())


def retrain_head(model: keras.Model, shortcuts: Shortcuts) -> HeadRetraining:
    """Train the last layer of a model anew, so that it relies less on its shortcuts.

    Features of the object are often learnt beside those of a shortcut, and hardly used by the last
    layer. A logistic regression on features of images in four groups of equal weight (of two
    classes: each aligned with the shortcut, and contradicting it) brings them back. Kirichenko,
    Izmailov and Wilson 2023, "Last layer re-training is sufficient for robustness to spurious
    correlations", arXiv:2204.02937, who collect images of all groups. Here both groups are made of
    the donors, with the nuisances of other donors of the same class and of other classes, so that
    it takes no image that contradicts the shortcut. All nuisances with a gap above half of
    `shortcuts.threshold` are swapped, one at a time.

    Only the kernel and the bias of the last `Dense` layer change. It is compiled no more, and no
    less, than before.

    Args:
        model: A trained classifier of images, whose last layer with weights is a `Dense` layer: one
            unit for each class, or one sigmoid. It may be nested, functional or subclassed.
        shortcuts: Donors and receivers from the training data.

    Returns:
        The accuracy by group, before and after.

    Raises:
        ValueError: If the model has no such layer, images have several labels, `shortcuts` lacks
            a class of the model, or no gap is large enough.

    Example:
        >>> import keras, keras_saliency as ks
        >>> from keras_saliency.data.synthetic import scenes
        >>> train = scenes(300, size=(32, 32))
        >>> net = keras.Sequential([
        ...     keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255),
        ...     keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        ...     keras.layers.GlobalAveragePooling2D(),
        ...     keras.layers.Dense(2, activation="softmax")])
        >>> net.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
        >>> history = net.fit(train.images, train.labels, epochs=5, verbose=0)
        >>> shortcuts = ks.Shortcuts(
        ...     (train.images, train.labels, train.masks), nuisances=["background"])
        >>> result = retrain_head(net, shortcuts)
        >>> result.nuisances, sorted(result.counts)[0]
        (('background',), (0, 'aligned'))
    """
    others = ", ".join(map(repr, shortcuts.donors.extras))
    if not isinstance(shortcuts.task, Classification) or shortcuts.obstacle is not None or others:
        why = shortcuts.obstacle or (others and f"images beside {others}") or str(shortcuts.task)
        raise ValueError(
            "A head is retrained on images of one class each and nothing beside them, of which "
            f"shortcuts= has enough. Received: {why}"
        )
    context = _context(model, shortcuts)
    shortcuts.task.check_positions(context.head)
    if len(shortcuts.classes) < context.head.classes:
        raise ValueError(
            "Expected shortcuts= with enough images of each of the model's "
            f"{context.head.classes} classes, as the others would be forgotten. "
            f"Received: {len(shortcuts.classes)} classes"
        )
    features = HeadFeatures(context, _BATCH_SIZE)
    classifier = Classifier(context, _BATCH_SIZE)
    nuisances = _relied_on(shortcuts, classifier)
    fitted, tested = (
        _groups(examples, shortcuts, nuisances, features)
        for examples in (shortcuts.donors, shortcuts.receivers)
    )
    before = _accuracies(tested, features, context.head)
    kernel, bias = _fit(fitted, context.head, features.has_bias)
    features.assign(kernel, bias)
    after = _accuracies(tested, features, context.head)
    counts = {group: len(values) for group, values in fitted.items()}
    return HeadRetraining(tuple(nuisances), counts, before, after)


def _context(model: keras.Model, shortcuts: Shortcuts) -> ModelContext:
    donors = shortcuts.donors
    first = Probes(shortcuts.to_input(donors.pixels[:1]), donors.labels[:1])
    return Explainer(model, first, ["saliency"], Target("label"), None, _BATCH_SIZE).context


def _relied_on(shortcuts: Shortcuts, classifier: Classifier) -> dict[str, Nuisance]:
    """The nuisances whose gap passes half of the threshold, with salient patches located."""
    evaluator = Evaluator(shortcuts, classifier.answers, classifier.saliency_maps)
    gaps = evaluator.evaluate(0).gaps
    found = {
        name: nuisance
        for name, nuisance in shortcuts.nuisances.items()
        if nuisance.alarms and name in gaps and gaps[name][0] > shortcuts.threshold / 2
    }
    if not found:
        largest = max((gap for gap, _ in gaps.values()), default=float("nan"))
        raise ValueError(
            "Expected a model that relies on a nuisance, with a gap above half of the threshold, "
            f"{shortcuts.threshold / 2:.2f}. Received: largest gap {largest:.2f}. There is nothing "
            "to mend, or what is to be mended is no nuisance of these shortcuts."
        )
    if any("spots" in nuisance.needs for nuisance in found.values()):
        for examples in (shortcuts.donors, shortcuts.receivers):
            inputs = shortcuts.to_input(examples.pixels)
            maps = classifier.saliency_maps(inputs, examples.labels)
            examples.spots = find_salient_patches(maps, examples.pixels.shape[1:3])
    return found


def _groups(
    examples: ExampleSet,
    shortcuts: Shortcuts,
    nuisances: dict[str, Nuisance],
    features: HeadFeatures,
) -> dict[Group, Array]:
    """What the last layer gets of counterfactual images, `(n, features)` for each group."""
    rng = np.random.default_rng(0)
    donors, labels = shortcuts.donors, examples.labels
    made: dict[Group, list[Array]] = {}
    for nuisance in nuisances.values():
        drawn = shortcuts.task.draw(labels, donors.labels, rng)
        i = np.repeat(np.arange(len(examples)), drawn.shape[2])
        for side, name in enumerate(("aligned", "contradicting")):
            j = drawn[:, side].reshape(-1)
            parts = np.split(np.arange(len(i)), range(_COMPOSED, len(i), _COMPOSED))
            composed = (
                examples.counterfactuals(nuisance.twins, donors, i[few], j[few]) for few in parts
            )
            values = np.concatenate(
                [features(shortcuts.to_input(images.pixels)) for images in composed]
            )
            for label in np.unique(labels):
                made.setdefault((int(label), name), []).append(values[labels[i] == label])
    return {group: np.concatenate(values) for group, values in made.items()}


def _accuracies(
    groups: dict[Group, Array], features: HeadFeatures, head: Head
) -> dict[Group, float]:
    """The share of each group that the last layer classifies correctly."""
    found = {}
    for (label, name), values in groups.items():
        logits = features.logits(values)
        predicted = logits[:, 0] > 0 if head.is_binary else logits.argmax(axis=1)
        found[label, name] = float((predicted == label).mean())
    return found


def _fit(groups: dict[Group, Array], head: Head, has_bias: bool) -> tuple[Array, Array]:
    """Fit a logistic regression to standardised features, all groups of equal weight."""
    values = np.concatenate(list(groups.values()))
    counts = [len(group) for group in groups.values()]
    labels = np.repeat([label for label, _ in groups], counts)
    weights = np.repeat(1 / len(counts) / np.array(counts), counts)
    mean, scale = values.mean(axis=0) * has_bias, values.std(axis=0)
    scale[scale < _LEAST] = 1.0
    constant = np.full((len(values), 1), has_bias)
    inputs = np.concatenate([(values - mean) / scale, constant], axis=1).astype("float32")
    fitted = _regress(inputs, labels[:, None] == np.arange(head.classes), weights[:, None])
    if head.is_binary:
        fitted = fitted[:, 1:] - fitted[:, :1]
    kernel = fitted[:-1] / scale[:, None]
    return kernel, fitted[-1] - mean @ kernel


def _regress(inputs: Array, targets: Array, weights: Array) -> Array:
    """Fit a multinomial logistic regression by Adam; the last input is constant, not penalised.

    Args:
        inputs: `(n, inputs)`.
        targets: `(n, classes)`, 1 in the column of the class.
        weights: `(n, 1)`, of sum 1.

    Returns:
        The weights `(inputs, classes)`, float64.
    """
    fitted, mean, square = np.zeros((3, inputs.shape[1], targets.shape[1]))
    penalty = _PENALTY * (np.arange(len(fitted)) < len(fitted) - 1)[:, None]
    for step in range(1, _STEPS + 1):
        logits = inputs @ fitted.astype("float32")
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        errors = exponentials / exponentials.sum(axis=1, keepdims=True) - targets
        gradient = inputs.T @ (weights * errors).astype("float32") + 2 * penalty * fitted
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        unbiased = mean / (1 - 0.9**step), square / (1 - 0.999**step)
        fitted = fitted - _RATE * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-7)
    return fitted
