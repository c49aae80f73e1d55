"""A ridge on a few numbers an image, judged by five-fold cross-validation."""

import numpy as np

from keras_saliency.common.types import Array

FOLDS = 5
_STRENGTH = 1.0  # of the penalty, beside as many squared errors as there are examples
_SEED = 0
# Two examples that are alike predict each other, and are told right or wrong together: by chance,
# answers in folds vary twice as much as independent ones.
_SHARED = 2.0

Score = tuple[float, float]  # and its standard error


def cross_validated(features: Array, target: Array) -> Array:
    """Predict a target for each example by a ridge that was fitted without its fold.

    The ridge sees the features and their squares, standardised, so that it tells a class which lies
    between others as well. A class and the rest weigh the same, however many they are.

    Args:
        features: Numbers `(n, features)`.
        target: bool `(n,)`, the members of a class; or floats `(n,)`.

    Returns:
        float64 `(n,)`: above 0 for members of the class, or the predicted floats.

    Example:
        >>> features = np.arange(20.0)[:, None]
        >>> predicted = cross_validated(features, features[:, 0] > 9)
        >>> bool((predicted[:7] < 0).all()), bool((predicted[-7:] > 0).all())
        (True, True)
    """
    folds, predicted = stratified_folds(target), np.empty(len(target))
    for fold in range(FOLDS):
        rest = folds != fold
        inputs = _standardised(np.asarray(features, np.float64), rest)
        inputs = _standardised(np.concatenate([inputs, inputs**2], axis=1), rest)
        predicted[~rest] = fit_ridge(inputs[rest], target[rest], inputs[~rest])
    return predicted


def stratified_folds(target: Array) -> Array:
    """Deal examples out to folds at random, equally of each class; floats are one class.

    Args:
        target: bool `(n,)`, or floats.

    Returns:
        int64 `(n,)` from 0 to 4.
    """
    folds, rng = np.empty(len(target), np.int64), np.random.default_rng(_SEED)
    members = target if target.dtype == bool else np.ones(len(target), bool)
    for group in (members, ~members):
        folds[rng.permutation(np.flatnonzero(group))] = np.arange(group.sum()) % FOLDS
    return folds


def fit_ridge(inputs: Array, target: Array, others: Array) -> Array:
    """Fit a ridge with an intercept, and predict.

    The weights minimise `sum_i v_i (y_i - b - w x_i)^2 + |w|^2`. For a class y is 1 and -1, and v
    is such that members and others weigh the same; for floats v is 1.

    Args:
        inputs: float64 `(n, features)`.
        target: bool `(n,)`, or floats.
        others: float64 `(m, features)`.

    Returns:
        float64 `(m,)`, `b + w x` of the others.
    """
    weights, values = np.ones(len(target)), target
    if target.dtype == bool:
        share = target.mean()
        weights = np.where(target, 0.5 / share, 0.5 / (1 - share))
        values = np.where(target, 1.0, -1.0)
    centre, mean = weights @ inputs / weights.sum(), weights @ values / weights.sum()
    offsets = inputs - centre
    gram = offsets.T @ (weights[:, None] * offsets) + _STRENGTH * np.eye(inputs.shape[1])
    slopes = np.linalg.solve(gram, offsets.T @ (weights * (values - mean)))
    return mean + (others - centre) @ slopes


def balanced_accuracy(target: Array, predicted: Array) -> Score:
    """Average the shares of members and of others that are told right.

    Args:
        target: bool `(n,)`.
        predicted: Floats `(n,)`, above 0 for members.

    Returns:
        The balanced accuracy in [0, 1], 0.5 by chance, and its standard error where the predictions
        are those of folds: the binomial one times the square root of 2. One right and one wrong
        answer are added to each share for the error, which would else be 0 where all are right.

    Example:
        >>> balanced_accuracy(np.array([True, True, False]), np.array([0.5, -0.5, -1.0]))[0]
        0.75
    """
    shares, variance = [], 0.0
    for group in (target, ~target):
        right = int(((predicted[group] > 0) == target[group]).sum())
        count = int(group.sum())
        smoothed = (right + 1) / (count + 2)
        variance += smoothed * (1 - smoothed) / (count + 2)
        shares.append(right / count)
    return float(np.mean(shares)), float(np.sqrt(_SHARED * variance)) / 2


def explained_variance(target: Array, predicted: Array) -> Score:
    """Compute R^2, the share of the variance of a target that predictions explain.

    Args:
        target: Floats `(n,)`, not all the same.
        predicted: Floats `(n,)`.

    Returns:
        R^2, at most 1 and about 0 by chance, and its standard error by the delta method.

    Example:
        >>> explained_variance(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]))
        (1.0, 0.0)
    """
    missed = (target - predicted) ** 2
    spread = (target - target.mean()) ** 2
    left = missed.sum() / spread.sum()
    error = np.sqrt(((missed - left * spread) ** 2).sum()) / spread.sum()
    return float(1 - left), float(error)


def _standardised(inputs: Array, among: Array) -> Array:
    """Shift and scale columns to mean 0 and deviation 1 among some examples."""
    scale = inputs[among].std(axis=0)
    return (inputs - inputs[among].mean(axis=0)) / np.where(scale > 1e-9, scale, 1.0)
