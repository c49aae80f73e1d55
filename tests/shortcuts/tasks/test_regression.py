import numpy as np
import pytest

from keras_saliency.engine.output_head import Head
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.statistics import carry_coefficient, interval_of
from keras_saliency.shortcuts.tasks import task_of
from keras_saliency.shortcuts.tasks.classification import Classification
from keras_saliency.shortcuts.tasks.multi_label import MultiLabel
from keras_saliency.shortcuts.tasks.regression import Regression

OBJECT = (slice(8, 16), slice(12, 22))


def pictures(count=300, followed=1.0, seed=0):
    """Squares whose red is the label, on grounds whose green follows it, or goes its own way."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 10, count)
    ground = followed * values + (1 - followed) * rng.uniform(0, 10, count)
    images = np.full((count, 24, 40, 3), 60, np.uint8)
    images[..., 1] = np.rint(25 * ground)[:, None, None]
    images[:, *OBJECT] = 90
    images[:, *OBJECT, 0] = np.rint(25 * values)[:, None, None]
    masks = np.zeros((count, 24, 40), np.float32)
    masks[:, *OBJECT] = 1
    return images, values.astype("float32"), masks


def of_ground(x):
    return x[:, 4, 20, 1] / 25


def of_object(x):
    return x[:, 12, 16, 0] / 25


def evaluated(data, model, nuisances=("background", "frame"), **options):
    evaluator = Evaluator(Shortcuts(data, nuisances=nuisances, **options), model)
    evaluator.evaluate(0)
    return evaluator.evaluate(1)


@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
def test_the_carry_is_the_share_that_follows_the_ground(share):
    verdict = evaluated(
        pictures(), lambda x: share * of_ground(x) + (1 - share) * of_object(x) + 7 * (share == 1)
    )
    carry, error = verdict.gaps["background"]
    assert carry == pytest.approx(share, abs=0.01)
    assert error < 0.01
    assert verdict.gaps["frame"] == (0, 0)
    assert verdict.alarm == (share > 0)
    if share == 0.6:
        assert verdict.text.startswith(f"relies on the background (carry {carry:.2f} ± 0.00, ")
    if share == 0:
        assert verdict.text == "no evidence of background, frame"


def test_a_ground_that_follows_the_label_by_half_carries_half():
    verdict = evaluated(pictures(followed=0.5), of_ground)
    carry, error = verdict.gaps["background"]
    assert carry == pytest.approx(0.5, abs=3 * error)
    assert 0.01 < error < 0.06
    assert verdict.intervals["background"] == interval_of((carry, error))


def test_labels_in_a_column_and_whole_ones_that_are_stated():
    images, values, masks = pictures()
    column = evaluated((images, values[:, None], masks), of_ground)
    assert column.gaps["background"][0] == pytest.approx(1, abs=0.01)
    whole = np.rint(values).astype(int)
    stated = evaluated((images, whole, masks), of_ground, task="regression")
    assert stated.gaps["background"][0] == pytest.approx(1, abs=0.05)
    assert stated.per_class == {}


@pytest.mark.parametrize("model", [lambda x: np.full(len(x), 5.0), lambda x: 5 - of_object(x) / 9])
def test_a_model_that_explains_little_gets_no_verdict_yet(model):
    text = evaluated(pictures(), model).text
    assert text.startswith("can't say yet: the model explains little of the labels' variance (R² -")


def test_a_tenth_of_the_variance_must_be_explained():
    labels = np.array([-1.0, 1.0])
    below, above = (labels * (1 - np.sqrt(1 - share)) for share in (0.099, 0.101))
    assert "R² 0.10" in Regression().too_early(below, labels, np.array([0]))
    assert Regression().too_early(above, labels, np.array([0])) is None


def test_sheets_show_predictions_beside_labels():
    shortcuts = Shortcuts(pictures(), nuisances=["background"])
    sheet = Evaluator(shortcuts, lambda x: 2 * of_ground(x)).evaluate(0).sheets["background"]
    assert sheet.columns == ("original", "a low label", "a high label")
    assert (np.diff(sheet.labels) >= 0).all()
    for (own, low, high), label, texts in zip(
        sheet.watched, sheet.labels, sheet.captions, strict=True
    ):
        assert own == pytest.approx(2 * label, abs=0.05)
        assert low <= high
        assert texts[0] == f"{own:.3g} (label {label:.3g})"
        theirs = float(texts[1].removeprefix(f"{low:.3g} (donor's ").removesuffix(")"))
        assert low == pytest.approx(2 * theirs, abs=0.1)


def test_donors_are_drawn_from_all_lowest_and_highest_first():
    rng = np.random.default_rng(0)
    donors = rng.normal(size=30)
    drawn = Regression().draw(np.zeros(200), donors, rng)
    assert drawn.shape == (200, 2, 2)
    assert all(len(set(row)) == 4 for row in drawn.reshape(200, -1).tolist())
    assert set(drawn.reshape(-1)) == set(range(30))
    lowest, second, highest, third = donors[drawn].reshape(200, 4).T
    assert (lowest <= second).all()
    assert (second <= third).all()
    assert (third <= highest).all()


@pytest.mark.parametrize(
    ("labels", "task", "expected"),
    [
        (np.array([0.5, 1.0], np.float32), None, Regression()),
        (np.array([3, 4]), None, Classification(2)),
        (np.array([3, 4]), "regression", Regression()),
        (np.array([[0, 1], [1, 1]]), "multi-label", MultiLabel(2)),
    ],
)
def test_numbers_are_a_regression_and_whole_ones_where_it_is_stated(labels, task, expected):
    assert task_of(labels, task) == expected


@pytest.mark.parametrize(
    ("labels", "options", "reason"),
    [
        (np.full(6, 0.5), {}, "different labels.*all of them 0.5"),
        (np.full((6, 2), 0.3), {}, r"one number.*labels\.shape=\(6, 2\)"),
        (np.arange(6) / 2, {"task": "classification"}, "task='classification'"),
        (np.arange(6) / 2, {"task": "ranking"}, r"'segmentation'\].*task='ranking'"),
        (np.arange(6) / 2, {"grounds": np.zeros((2, 24, 40, 3))}, "grounds.*regression"),
    ],
)
def test_what_is_no_regression_is_refused(labels, options, reason):
    images, _, masks = pictures(6)
    with pytest.raises(ValueError, match=f"(?s){reason}"):
        Shortcuts((images, labels, masks), **options)


@pytest.mark.parametrize(
    ("task", "head", "reason"),
    [
        (Regression(), Head("sigmoid", None, (1,)), r"a sigmoid of shape \(1,\).*head='values'"),
        (Regression(), Head("values", None, (3,)), r"a values of shape \(3,\)"),
        (Classification(2), Head("values", None, (1,)), "regression.*task='regression'"),
    ],
)
def test_a_model_of_another_task_is_refused(task, head, reason):
    with pytest.raises(ValueError, match=reason):
        task.check_head(head, np.array([0]))


def test_a_model_of_one_value_fits():
    Regression().check_head(Head("values", None, (1,)), np.array([0]))
    Regression().check_head(Head("values", None, (), bare=True), np.array([0]))


def pairs(rng, receivers=20, donors=30):
    drawn = np.stack([rng.choice(donors, 4, replace=False) for _ in range(receivers)])
    drawn = drawn.reshape(receivers, 2, 2)
    differences = rng.normal(size=donors)[drawn] - rng.normal(size=(receivers, 1, 1))
    return rng.normal(size=drawn.shape), differences, drawn


def test_the_carry_is_that_of_least_squares_with_a_constant_for_each_receiver():
    answers, differences, drawn = pairs(np.random.default_rng(0))
    i, j = np.repeat(np.arange(20), 4), drawn.reshape(-1)
    design = np.column_stack([differences.reshape(-1), np.eye(20)[i]])
    solution, *_ = np.linalg.lstsq(design, answers.reshape(-1))
    residuals = answers.reshape(-1) - design @ solution
    # The sandwich: meat from all pairs of pairs that share a receiver or a donor.
    meat = np.zeros((21, 21))
    for a in range(80):
        for b in range(80):
            if i[a] == i[b] or j[a] == j[b]:
                meat += np.outer(design[a], design[b]) * residuals[a] * residuals[b]
    bread = np.linalg.inv(design.T @ design)
    carry, error = carry_coefficient(answers, differences, drawn)
    assert carry == pytest.approx(solution[0])
    assert error == pytest.approx(np.sqrt((bread @ meat @ bread)[0, 0]))


def test_the_gap_of_classes_is_the_carry_of_their_membership():
    rng = np.random.default_rng(0)
    watched, _, drawn = pairs(rng)
    differences = Classification(2).differences(np.zeros(20), np.zeros(drawn.shape))
    gap, error = carry_coefficient(watched, differences, drawn)
    assert gap == pytest.approx(watched[:, 0].mean() - watched[:, 1].mean())
    # One-hot labels: of the receiver's class the donor has as much as the receiver, or 1 less.
    hot = np.eye(3)
    receivers = rng.integers(0, 3, 20)
    others = (receivers + rng.integers(1, 3, 20)) % 3
    steps = [hot[donor] - hot[receivers] for donor in (receivers, others)]
    own = np.stack([step[np.arange(20), receivers] for step in steps], axis=1)[..., None]
    np.testing.assert_array_equal(differences, np.broadcast_to(own, differences.shape))
    # The error of a difference of means with the mean of each receiver taken out.
    sign = np.array([[1.0], [-1.0]])
    excess = (sign * (watched - watched.mean((1, 2), keepdims=True)) - gap / 2) / 40
    shared = np.bincount(drawn.reshape(-1), excess.reshape(-1))
    parts = (excess.sum((1, 2)) ** 2).sum(), (shared**2).sum(), (excess**2).sum()
    assert error == pytest.approx(np.sqrt(max(parts[0] + parts[1] - parts[2], *parts[:2])))


def test_what_swapping_does_to_all_of_a_receivers_pictures_cancels():
    rng = np.random.default_rng(0)
    answers, differences, drawn = pairs(rng)
    moved = answers + 9 * differences.mean((1, 2), keepdims=True)
    expected = carry_coefficient(answers, differences, drawn)
    assert carry_coefficient(moved, differences, drawn) == pytest.approx(expected)


def test_its_error_is_its_spread():
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        _, differences, drawn = pairs(rng, 64, 64)
        slopes = 0.4 + rng.normal(0, 0.3, (64, 1, 1))
        answers = (
            slopes * differences + rng.normal(0, 0.3, 64)[drawn] + rng.normal(0, 0.2, (64, 2, 2))
        )
        found.append(carry_coefficient(answers, differences, drawn))
    carries, errors = np.array(found).T
    assert carries.mean() == pytest.approx(0.4, abs=0.02)
    assert np.sqrt((errors**2).mean()) == pytest.approx(carries.std(), rel=0.15)
