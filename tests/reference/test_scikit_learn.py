"""scikit-learn: the ridge behind label leakage, fold by fold."""

import numpy as np
import pytest

from keras_saliency.shortcuts.ridge import (
    balanced_accuracy,
    cross_validated,
    explained_variance,
    stratified_folds,
)

pytestmark = pytest.mark.reference


@pytest.fixture
def linear():
    return pytest.importorskip("sklearn.linear_model")


def examples(seed, count=90):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 5)) * [1, 10, 0.1, 3, 1] + 7
    return features, features @ [0.5, 0.1, 2, 0.0, 0.0] + rng.normal(size=count)


def piped(model):
    """Standardise, add squares, standardise again."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    squares = FunctionTransformer(lambda x: np.concatenate([x, x**2], axis=1))
    return make_pipeline(StandardScaler(), squares, StandardScaler(), model)


def predicted(model, method, features, target):
    """Predict each fold by what its own `fit` makes of the others."""
    folds, out = stratified_folds(target), np.empty(len(target))
    for fold in range(5):
        fitted = piped(model).fit(features[folds != fold], target[folds != fold])
        out[folds == fold] = getattr(fitted, method)(features[folds == fold])
    return out


@pytest.mark.parametrize("seed", range(3))
def test_a_class(seed, linear):
    from sklearn.metrics import balanced_accuracy_score

    features, values = examples(seed)
    target = values > np.quantile(values, 0.7)
    model = linear.RidgeClassifier(alpha=1.0, class_weight="balanced")
    ours, theirs = (
        cross_validated(features, target),
        predicted(model, "decision_function", features, target),
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-8)
    score, _ = balanced_accuracy(target, ours)
    assert score == pytest.approx(balanced_accuracy_score(target, theirs > 0))


@pytest.mark.parametrize("seed", range(3))
def test_a_value(seed, linear):
    from sklearn.metrics import r2_score

    features, values = examples(seed)
    ours = cross_validated(features, values)
    theirs = predicted(linear.Ridge(alpha=1.0), "predict", features, values)
    np.testing.assert_allclose(ours, theirs, atol=1e-8)
    assert explained_variance(values, ours)[0] == pytest.approx(r2_score(values, theirs))


def test_folds_are_dealt_out_equally_of_each_class():
    target = np.repeat([True, False], [31, 54])
    folds = stratified_folds(target)
    for group in (target, ~target):
        counts = np.bincount(folds[group], minlength=5)
        assert np.ptp(counts) <= 1
