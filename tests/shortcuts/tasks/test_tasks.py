import numpy as np
import pytest

from keras_saliency.shortcuts.images import ImageSet
from keras_saliency.shortcuts.tasks import task_of
from keras_saliency.shortcuts.tasks.classification import Classification
from keras_saliency.shortcuts.tasks.multi_label import MultiLabel


def examples(groups):
    groups = np.array(groups)
    return ImageSet(np.zeros((len(groups), 4, 4, 3), np.uint8), groups, None)


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (np.array([0, 3, 3]), Classification(2)),
        (np.array([[1, 0], [1, 1]]), MultiLabel(2)),
        (np.array([[1.0, 0.0], [1.0, 1.0]]), MultiLabel(2)),
    ],
)
def test_labels_tell_the_task(labels, task):
    assert task_of(labels) == task


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (None, "Received: none"),
        (np.array([3, 3]), "one only.*all of them \\[3\\]"),
        (np.array([[1, 0], [1, 0]]), "all have the same.*each row \\[1, 0\\]"),
    ],
)
def test_labels_of_no_task_and_nothing_to_compare_are_refused(labels, reason):
    with pytest.raises(ValueError, match=f"(?s){reason}"):
        task_of(labels)


def test_examples_are_grouped_by_class():
    groups = Classification(3).groups(np.array([2, 0, 2]))
    assert {group: index.tolist() for group, index in groups.items()} == {0: [1], 2: [0, 2]}


def test_examples_are_grouped_by_having_and_lacking_each_label():
    rows = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1]])  # All have the second label.
    task = MultiLabel(3)
    groups = {group: index.tolist() for group, index in task.groups(rows).items()}
    assert groups == {0: [0, 2], 3: [1], 2: [2], 5: [0, 1]}
    codes = np.array(list(groups))
    assert task.label_of(codes).tolist() == [0, 2, 0, 2]
    assert task.is_received(codes).tolist() == [True, True, False, False]
    assert task.sides(2) == (2, 5)


@pytest.mark.parametrize("task", [Classification(3), MultiLabel(3)])
def test_donors_are_drawn_on_their_sides_and_never_twice(task):
    rng = np.random.default_rng(0)
    receivers, donors = rng.integers(0, 3, 50), rng.permutation(np.repeat(np.arange(6), 9))
    drawn = task.draw(receivers, donors, rng)
    groups = donors[drawn]
    assert (groups[:, 0] == receivers[:, None]).all()
    if task == MultiLabel(3):
        assert (groups[:, 1] == receivers[:, None] + 3).all()
    else:
        assert (groups[:, 1] != receivers[:, None]).all()
    assert all(len(set(row)) == 4 for row in drawn.reshape(50, -1).tolist())


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_the_probability_of_the_class_is_watched(shape):
    one_sigmoid = np.array([0.1, 0.2, 0.7]).reshape(shape)
    watched = Classification(3).watched(one_sigmoid, examples([1, 0, 0, 1]), np.array([3, 2, 0]))
    assert watched == pytest.approx([0.1, 0.8, 0.7])


def test_the_probability_of_having_or_lacking_a_label_is_watched():
    outputs = np.array([[0.1, 0.6], [0.1, 0.6]])
    watched = MultiLabel(2).watched(outputs, examples([1, 2]), np.array([0, 1]))
    assert watched == pytest.approx([0.6, 0.9])


@pytest.mark.parametrize(
    ("task", "labels", "least"),
    [(Classification(4), [0, 1, 2, 3], 0.25 + 0.075), (MultiLabel(4), [0, 1, 2, 3], 0.55)],
)
def test_a_tenth_of_the_way_from_chance_must_be_learnt(task, labels, least):
    assert "hardly tells" in task.too_early(
        np.full(5, least - 0.001), np.zeros(5), np.array(labels)
    )
    assert task.too_early(np.full(5, least + 0.001), np.zeros(5), np.array(labels)) is None


def test_the_half_of_each_group_that_the_model_is_surest_of_is_confident():
    groups, watched = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0.2, 0.9, 0.5, 0.1, 0.3, 0.2, 0])
    assert sorted(Classification(3).confident(watched, groups)) == [1, 2, 4, 5]
