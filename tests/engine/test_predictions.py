import numpy as np
import pytest

from keras_saliency.engine.output_head import Head
from keras_saliency.engine.predictions import read_predictions

SOFTMAX = Head("softmax", None, (3,))
OUTPUTS = np.array([[0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])
PREDICTED = np.array([1, 2])


def test_a_class_beyond_the_names_says_that_it_is_a_class():
    assert read_predictions(SOFTMAX, OUTPUTS, PREDICTED, None, ("a", "b", "c")).texts == ["b", "c"]
    assert read_predictions(SOFTMAX, OUTPUTS, PREDICTED, None, ("a", "b")).texts == ["b", "class 2"]
    assert read_predictions(SOFTMAX, OUTPUTS, PREDICTED, None, None).texts == ["class 1", "class 2"]


def test_a_value_is_no_class():
    head = Head("values", None, (1,))
    said = read_predictions(head, np.array([[2.5], [-1]]), np.array([-1, -1]), None, None)
    assert said.texts == ["2.5", "-1"]


def test_labels_are_compared_with_what_is_predicted():
    said = read_predictions(SOFTMAX, OUTPUTS, PREDICTED, np.array([1, 0]), None)
    assert said.correct == [True, False]
    np.testing.assert_allclose(said.probability, [0.7, 0.1])
    np.testing.assert_allclose(said.confidence, [0.7, 0.6])


@pytest.mark.parametrize("label", [3, -1, 0.5])
def test_a_label_that_is_none_of_the_classes_is_neither_right_nor_wrong(label):
    said = read_predictions(SOFTMAX, OUTPUTS, PREDICTED, np.array([1, label]), None)
    assert said.correct == [True, None]
    np.testing.assert_allclose(said.probability, [0.7, np.nan])
