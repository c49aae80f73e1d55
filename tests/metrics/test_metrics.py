"""Faithfulness measures against closed forms, slow re-derivations and models that are known."""

import functools

import keras
import numpy as np
import pytest

import keras_saliency as ks
from keras_saliency.metrics import (
    class_sensitivity,
    confidence_change,
    deletion,
    insertion,
    model_randomisation,
    rank_correlation,
    road,
    scorer,
)
from keras_saliency.metrics.road import filled_in

ON_TENSORFLOW = pytest.mark.needs(
    backend="tensorflow", why="guided backpropagation is written with tf.custom_gradient"
)
GRID = (5, 7)


@pytest.fixture
def linear(photos):
    """Two images, the weights of a linear score, and what each pixel adds to it."""
    images = photos(2, (*GRID, 3))
    weights = np.random.default_rng(1).normal(size=(*GRID, 3))

    def scores(copies):
        return (copies * weights).sum(axis=(1, 2, 3))

    return images, scores, (images * weights).sum(axis=-1)


# Insertion and deletion.


def test_insertion_of_four_pixels_by_hand():
    image = np.array([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    maps = np.array([[[3, 1], [4, 2]]])
    curve = insertion(lambda x: x.sum(axis=(1, 2, 3)), image, maps, steps=4, baseline="zeros")
    np.testing.assert_allclose(curve.shares, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.scores, [[0, 3, 4, 8, 10]])
    np.testing.assert_allclose(curve.areas, [(0 + 3) / 8 + (3 + 4) / 8 + (4 + 8) / 8 + 18 / 8])


def test_deletion_of_four_pixels_by_hand():
    image = np.array([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    maps = np.array([[[3, 1], [4, 2]]])
    curve = deletion(lambda x: x.sum(axis=(1, 2, 3)), image, maps, steps=4, baseline=0)
    np.testing.assert_allclose(curve.scores, [[10, 7, 6, 2, 0]])
    np.testing.assert_allclose(curve.areas, [(10 + 7 + 7 + 6 + 6 + 2 + 2 + 0) / 8])


def test_curves_of_a_linear_model_are_sums_of_sorted_shares(linear):
    images, scores, shares = linear
    sums = np.cumsum(np.sort(-shares.reshape(2, -1), axis=1), axis=1) * -1
    sums = np.concatenate([np.zeros((2, 1)), sums], axis=1)
    shown = insertion(scores, images, shares, steps=35, baseline="zeros")
    np.testing.assert_allclose(shown.scores, sums, atol=1e-5)
    taken = deletion(scores, images, shares, steps=35, baseline="zeros")
    np.testing.assert_allclose(taken.scores, sums[:, -1:] - sums, atol=1e-5)


def test_no_order_beats_that_of_a_linear_model_and_its_reverse_is_the_worst(linear):
    images, scores, shares = linear
    random = np.random.default_rng(2)
    best, worst = (insertion(scores, images, s * shares, baseline=0).areas for s in (1, -1))
    for _ in range(20):
        areas = insertion(scores, images, random.random(shares.shape), baseline=0).areas
        assert (worst < areas).all()
        assert (areas < best).all()


@pytest.mark.parametrize("measure", [insertion, deletion])
def test_random_maps_give_the_mean_of_beginning_and_end(linear, measure):
    images, scores, _ = linear
    many = np.repeat(images[:1], 400, axis=0)
    maps = np.random.default_rng(3).random((400, *GRID))
    areas = measure(scores, many, maps, baseline="zeros").areas
    chance = scores(images[:1])[0] / 2
    assert abs(areas.mean() - chance) < 4 * areas.std() / np.sqrt(400)


def test_equal_values_have_no_order():
    first_rows = np.zeros((100, 10, 14, 1))
    first_rows[:, :5] = 1
    curve = insertion(
        lambda x: x.mean(axis=(1, 2, 3)), first_rows, np.zeros((100, 10, 14)), baseline="zeros"
    )
    # By row and column, the upper half would come first, and the area would be 0.375.
    assert abs(curve.areas.mean() - 0.25) < 0.01


def test_a_coarse_map_is_resized_with_half_pixel_centres():
    image = np.random.default_rng(0).random((1, 6, 9, 1))
    fine = np.repeat(np.repeat(np.array([[[0, 0, 1.0], [0, 0, 0]]]), 3, axis=1), 3, axis=2)
    kept = []
    insertion(
        lambda x: kept.append(x) or x[:, 0, 0, 0],
        image,
        np.array([[[0, 0, 1.0], [0, 0, 0]]]),
        steps=54,
        baseline=-1,
    )
    first = [x[0, ..., 0] >= 0 for x in kept]
    # The four pixels of the cell that are farthest from other cells come first.
    assert not first[4][fine[0] == 0].any()
    np.testing.assert_array_equal(np.argwhere(first[4]), [[0, 7], [0, 8], [1, 7], [1, 8]])


def test_steps_set_the_number_of_calls_and_stay_on_whole_pixels(linear):
    images, scores, shares = linear
    curve = deletion(scores, images, shares, steps=3)
    np.testing.assert_allclose(curve.shares, [0, 12 / 35, 23 / 35, 1])
    assert curve.scores.shape == (2, 4)
    with pytest.raises(ValueError, match=r"steps must be an integer from 1\. Received: steps=0"):
        deletion(scores, images, shares, steps=0)


@pytest.mark.parametrize(("measure", "end", "default"), [(insertion, 0, "blur"),
                                                         (deletion, -1, "mean")])  # fmt: skip
def test_the_baseline_is_what_stands_for_nothing(linear, measure, end, default):
    images, scores, shares = linear
    wanted = {
        "zeros": np.zeros_like(images),
        0.5: np.full_like(images, 0.5),
        (0.1, 0.2, 0.3): np.broadcast_to(np.array([0.1, 0.2, 0.3]), images.shape),
        "mean": np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape),
    }
    for baseline, nothing in wanted.items():
        curve = measure(scores, images, shares, baseline=baseline)
        np.testing.assert_allclose(curve.scores[:, end], scores(nothing), rtol=1e-5)
    by_default = measure(scores, images, shares).scores
    np.testing.assert_array_equal(
        by_default, measure(scores, images, shares, baseline=default).scores
    )


def test_other_ranks_work_too():
    signals = np.arange(10.0).reshape(1, 5, 2)
    curve = deletion(lambda x: x.sum(axis=(1, 2)), signals, np.arange(5)[None], steps=5, baseline=0)
    np.testing.assert_allclose(curve.scores, [[45, 28, 15, 6, 1, 0]])


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((3, 5, 7)), r"one map \(h, w\)\. Received: images.shape=\(2, 5, 7, 3\), maps"),
        (np.zeros((2, 5, 7, 1)), r"maps.shape=\(2, 5, 7, 1\)"),
        (np.full((2, 5, 7), np.nan), "`maps` holds NaN or infinity in probe 0, 1"),
    ],
)
@pytest.mark.parametrize("measure", [insertion, deletion, confidence_change, road])
def test_maps_that_do_not_fit_are_refused(linear, measure, maps, message):
    images, scores, _ = linear
    with pytest.raises(ValueError, match=message):
        measure(scores, images, maps)


def test_scores_of_another_shape_are_refused(linear):
    images, _, shares = linear
    with pytest.raises(ValueError, match=r"shape \(2,\)\. Received: shape \(2, 1\)"):
        insertion(lambda x: x[:, 0, 0, :1], images, shares)


# Change of confidence.


def test_confidence_of_a_mean_changes_by_the_share_that_is_hidden():
    images = np.ones((3, 3, 4, 2))
    maps = np.zeros((3, 3, 4))
    maps[0, 0, :] = 5  # 4 of 12 pixels, whatever the scale
    maps[1] = -1  # evidence against only
    maps[2] = np.where(np.arange(4) < 2, 2, 1)  # half at full, half at half strength
    found = confidence_change(lambda x: x.mean(axis=(1, 2, 3)), images, maps)
    np.testing.assert_allclose(found.drops, [8 / 12, 1, 0.25])
    assert not found.increases.any()


def test_confidence_that_grows_is_no_drop():
    images = np.ones((1, 3, 4, 1))
    maps = np.arange(12).reshape(1, 3, 4) % 2
    found = confidence_change(lambda x: 2 - x.mean(axis=(1, 2, 3)), images, maps)
    assert found.drops.tolist() == [0]
    assert found.increases.tolist() == [True]


def test_a_map_that_knows_nothing_games_the_change_of_confidence(linear):
    images, scores, _ = linear
    found = confidence_change(lambda x: np.exp(scores(x)), images, np.ones((2, *GRID)))
    assert found.drops.tolist() == [0, 0]


def test_confidence_is_asked_over_the_baseline():
    images, maps = np.ones((1, 3, 4, 1)), np.eye(3, 4)[None]
    found = confidence_change(lambda x: x.mean(axis=(1, 2, 3)), images, maps, baseline=0.5)
    np.testing.assert_allclose(found.drops, [9 / 12 / 2])


def test_confidence_must_be_positive(linear):
    images, _, shares = linear
    with pytest.raises(ValueError, match="positive scores, such as probabilities"):
        confidence_change(lambda x: np.zeros(2), images, shares)


# ROAD.


def plainly_filled_in(image, hole):
    """Solve the linear system of the paper, one equation per pixel."""
    height, width = hole.shape
    matrix, right = np.eye(height * width), image.astype(float).ravel()
    for row, column in np.argwhere(hole):
        here = row * width + column
        right[here] = 0
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                inside = 0 <= row + i < height and 0 <= column + j < width
                if inside and (i, j) != (0, 0):
                    matrix[here, here + i * width + j] = -1 / 6 if 0 in (i, j) else -1 / 12
        matrix[here, here] = -(matrix[here].sum() - 1)
    return np.linalg.solve(matrix, right).reshape(hole.shape)


def test_holes_are_filled_in_as_the_linear_system_says(photos):
    images = photos(2, (9, 13, 2))
    holes = np.random.default_rng(0).random((2, 9, 13)) < 0.7
    holes[1, 2:8, 3:12] = True
    found = filled_in(images.astype(float), holes[..., None])
    for image, hole, filled in zip(images, holes, found, strict=True):
        for channel in range(2):
            wanted = plainly_filled_in(image[..., channel], hole)
            np.testing.assert_allclose(filled[..., channel], wanted, atol=2e-3)
    np.testing.assert_array_equal(found[~holes], images.astype(float)[~holes])


def test_removal_follows_the_map_both_ways(linear):
    images, scores, shares = linear
    order = np.argsort(np.argsort(-shares.reshape(2, -1), axis=1), axis=1).reshape(2, *GRID)
    found = road(scores, images, shares, shares=(0.2, 0.6), noise=0)
    np.testing.assert_allclose(found.shares, [0.2, 0.6])
    for at, count in enumerate((7, 21)):
        for hole, got in (
            (order < count, found.most_first),
            (order >= 35 - count, found.least_first),
        ):
            filled = [
                np.stack([plainly_filled_in(image[..., c], mask) for c in range(3)], axis=-1)
                for image, mask in zip(images, hole, strict=True)
            ]
            np.testing.assert_allclose(got[:, at], scores(np.stack(filled)), atol=0.02)
    np.testing.assert_allclose(found.gaps, (found.least_first - found.most_first).mean(axis=1))


def test_the_shape_of_a_hole_tells_nothing_once_it_is_filled_in():
    rows, columns = np.mgrid[:11, :15]
    ramp = (0.02 * rows + 0.05 * columns)[None, ..., None]
    block, dots = np.zeros((2, 1, 11, 15))
    block[0, 3:8, 4:10] = 1
    dots[0, 1:10:2, 1:13:2] = 1
    assert block.sum() == dots.sum() == 30

    def edges(copies):
        """A model that reads the hole's outline, and nothing of the picture."""
        return sum(np.abs(np.diff(copies, 2, axis=axis)).sum(axis=(1, 2, 3)) for axis in (1, 2))

    leak, mended = (
        [float(measure(ramp, maps)[0]) for maps in (block, dots)]
        for measure in (
            lambda x, maps: deletion(edges, x, maps + 0.0, steps=11, baseline=0).scores[:, 2],
            lambda x, maps: road(edges, x, maps, shares=(30 / 165,), noise=0).most_first[:, 0],
        )
    )
    assert leak[1] > 2 * leak[0] > 20
    np.testing.assert_allclose(mended, [0, 0], atol=0.05)


def test_road_is_zero_for_random_maps_and_positive_for_true_ones():
    random = np.random.default_rng(0)
    images = np.zeros((60, 9, 12, 1)) + random.normal(0, 0.1, (60, 9, 12, 1))
    images[:, 2:6, 3:8] += 1
    truth = np.broadcast_to(images.mean(axis=0)[..., 0], images.shape[:3])

    def bright(copies):
        return copies[:, 2:6, 3:8].mean(axis=(1, 2, 3))

    assert road(bright, images, truth).gaps.mean() > 0.3
    by_chance = road(bright, images, random.random(images.shape[:3])).gaps
    assert abs(by_chance.mean()) < 4 * by_chance.std() / np.sqrt(60)


def test_noise_is_a_share_of_the_range_and_comes_from_the_seed(photos):
    images = photos(2, (40, 41, 1)) * np.array([1, 10]).reshape(2, 1, 1, 1)
    maps = images[..., 0]

    def removed(noise, seed=0):
        copies = []
        road(lambda x: copies.append(x) or np.zeros(2), images, maps, noise=noise, seed=seed)
        return np.stack(copies)

    added = removed(0.1) - removed(0)
    holes = added != 0
    np.testing.assert_allclose(holes.mean(axis=(1, 2, 3, 4)), [0.2, 0.4, 0.6, 0.8] * 2, atol=1e-3)
    for row, span in enumerate((1, 10)):
        np.testing.assert_allclose(added[:, row][holes[:, row]].std(), 0.1 * span, rtol=0.05)
    np.testing.assert_allclose(removed(0.01), removed(0) + added / 10, atol=1e-5)
    np.testing.assert_array_equal(removed(0.1), removed(0.1))
    assert (removed(0.1, seed=1) != removed(0.1)).any()


@pytest.mark.parametrize("wrong", [{"shares": ()}, {"shares": (0, 0.5)}, {"shares": (1.0,)},
                                   {"noise": -1}, {"seed": -1}])  # fmt: skip
def test_road_refuses_options_out_of_range(linear, wrong):
    images, scores, shares = linear
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must"):
        road(scores, images, shares, **wrong)


# A score of a Keras model.


def test_a_scorer_scores_copies_for_the_class_of_the_originals(classifier, photos):
    model, images = classifier(), photos(5)
    predicted = model.predict(images, verbose=0).argmax(axis=-1)
    copies = photos(5, seed=1) * 6 - 3
    outputs = model.predict(copies, verbose=0)
    assert (outputs.argmax(axis=-1) != predicted).any()
    found = scorer(model, images)(copies)
    np.testing.assert_allclose(found, outputs[np.arange(5), predicted], rtol=1e-5)
    third = scorer(model, images, target=2, of="log_probability")(copies)
    np.testing.assert_allclose(third, np.log(outputs[:, 2]), rtol=1e-4)
    labels = np.array([0, 1, 2, 3, 0])
    labelled = scorer(model, ks.Probes(images, labels), target="label")(copies)
    np.testing.assert_allclose(labelled, outputs[np.arange(5), labels], rtol=1e-5)


def test_a_contrast_keeps_the_class_of_the_originals(classifier, photos):
    model, images, copies = classifier(), photos(5), photos(5, seed=1) * 6 - 3
    predicted = model.predict(images, verbose=0).argmax(axis=-1)
    logs = np.log(model.predict(copies, verbose=0))
    others = np.where(np.arange(4) == predicted[:, None], -np.inf, logs).max(axis=-1)
    found = scorer(model, images, target="contrast", of="logits")(copies)
    np.testing.assert_allclose(found, logs[np.arange(5), predicted] - others, atol=1e-4)


def test_a_scorer_takes_a_few_images_at_a_time(photos):
    sizes = []

    @keras.saving.register_keras_serializable()
    class Noted(keras.layers.Layer):
        def call(self, inputs):
            sizes.append(inputs.shape[0])
            return inputs

    layers = [keras.Input((4, 6, 1)), Noted(), keras.layers.Flatten(), keras.layers.Dense(3)]
    model, images = keras.Sequential(layers), photos(5, (4, 6, 1))
    whole = scorer(model, images, of="logits")(images)
    scores = scorer(model, images, of="logits", batch_size=2)
    sizes.clear()
    np.testing.assert_allclose(scores(images), whole, rtol=1e-5)
    assert set(sizes) == {2}
    with pytest.raises(ValueError, match=r"each of the 5 originals.*copies.shape=\(4, 4, 6, 1\)"):
        scores(images[:4])


def test_a_score_of_a_regression_is_its_value(photos):
    layers = [keras.Input((4, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(1)]
    model, images = keras.Sequential(layers), photos(3, (4, 6, 1))
    model.compile(loss="mse")
    found = scorer(model, images, of="logits")(images)
    np.testing.assert_allclose(found, model.predict(images, verbose=0)[:, 0], rtol=1e-5)


# Rank correlation.


def plain_ranks(values):
    return [sum(v < w for v in values) + (sum(v == w for v in values) + 1) / 2 for w in values]


def test_rank_correlation_averages_ties():
    random = np.random.default_rng(0)
    maps, others = random.integers(0, 6, (2, 8, 4, 7))
    wanted = [
        np.corrcoef(plain_ranks(a.ravel()), plain_ranks(b.ravel()))[0, 1]
        for a, b in zip(maps, others, strict=True)
    ]
    np.testing.assert_allclose(rank_correlation(maps, others), wanted, atol=1e-12)


def test_rank_correlation_sees_order_alone():
    maps = np.random.default_rng(0).normal(size=(2, 4, 7))
    np.testing.assert_allclose(rank_correlation(maps, np.exp(5 * maps)), 1)
    np.testing.assert_allclose(rank_correlation(maps, -maps), -1)


def test_dead_maps_have_no_rank_correlation():
    maps = np.random.default_rng(0).normal(size=(3, 4, 7))
    dead = np.stack([np.zeros((4, 7)), np.full((4, 7), 3), np.full((4, 7), np.nan)])
    assert np.isnan(rank_correlation(maps, dead)).all()
    with pytest.raises(ValueError, match=r"maps.shape=\(3, 4, 7\), others.shape=\(3, 7, 4\)"):
        rank_correlation(maps, maps.transpose(0, 2, 1))


# Randomising a model.


def gradient(model, images):
    """The gradient with its sign, summed over channels: a method of our own."""
    return keras.ops.sum(model.input_gradients(images), axis=-1)


def with_method(method):
    return functools.partial(ks.explain, method=method)


def edges_of(model, images, target):
    """An edge detector: it asks the model nothing."""
    return np.hypot(*np.gradient(images[..., 0], axis=(1, 2)))


class Tower(keras.Model):
    """Layers that were made in another order than they run, one nested, one used twice."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(3,), initializer="random_normal", name="scale")
        self.head = keras.layers.Dense(4, name="head")
        self.stem = keras.layers.Conv2D(5, 3, padding="same", name="stem")
        self.body = keras.Sequential(
            [keras.layers.BatchNormalization(name="norm"), keras.layers.ReLU()], name="body"
        )
        self.twice = keras.layers.Conv2D(5, 1, activation="gelu", name="twice")
        self.pool = keras.layers.GlobalAveragePooling2D()

    def call(self, inputs):
        x = self.stem(inputs * (1 + self.scale))
        x = self.twice(self.body(self.twice(x)))
        return self.head(self.pool(x))


@pytest.fixture
def tower(photos):
    model = Tower()
    model(photos(1))
    model.get_layer("body").get_layer("norm").moving_variance.assign([0.5, 1, 2, 3, 4])
    model.stem.trainable = False
    return model


def state(model):
    return [keras.ops.convert_to_numpy(v.value).tobytes() for v in model.variables]


def test_layers_are_randomised_from_the_top_and_put_back(tower, photos):
    before, seen = state(tower), []

    def watch(model, images, target):
        seen.append([keras.ops.convert_to_numpy(w.value).copy() for w in model.weights])
        return np.ones((2, 9, 12))

    found = model_randomisation(watch, tower, photos(2), 0)
    assert found.layers == ("head", "twice", "body/norm", "stem", "tower")
    assert state(tower) == before
    names = [w.path.split("/")[-2] for w in tower.weights]
    changed = [
        {n for n, a, b in zip(names, seen[0], now, strict=True) if (a != b).any()} for now in seen
    ]
    owners = ["head", "twice", "norm", "stem", "tower"]
    assert changed == [set(owners[:count]) for count in range(6)]
    for original, shuffled in zip(seen[0], seen[-1], strict=True):
        np.testing.assert_array_equal(np.sort(original.ravel()), np.sort(shuffled.ravel()))


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_a_model_is_put_back_after_a_fault(tower, photos, fault):
    before, calls = state(tower), []

    def breaks(model, images, target):
        calls.append(state(model) != before)
        if len(calls) == 3:
            raise fault
        return np.ones((1, 9, 12))

    with pytest.raises(fault):
        model_randomisation(breaks, tower, photos(1), 0)
    assert calls == [False, True, True]
    assert state(tower) == before


def test_integer_weights_are_randomised_and_put_back(classifier, photos):
    model = classifier(size=(9, 12, 3))
    head = model.get_layer("head")
    head.quantize("int8")
    before, seen = state(model), []

    def watch(model, images, target):
        seen.append(keras.ops.convert_to_numpy(head._kernel.value).copy())
        return np.ones((1, 9, 12))

    model_randomisation(watch, model, photos(1), 1)
    assert seen[0].dtype == np.int8
    assert (seen[0] != seen[1]).any()
    assert state(model) == before


def test_an_edge_detector_does_not_notice(classifier, photos):
    found = model_randomisation(edges_of, classifier(), photos(3), 0)
    np.testing.assert_allclose(found.correlations, np.ones((3, 3)))


def test_the_gradient_of_a_linear_model_goes_with_its_top_layer(photos):
    layers = [keras.Input((24, 31, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    model, images = keras.Sequential(layers), photos(2, (24, 31, 1))
    found = model_randomisation(with_method("saliency"), model, images, [0, 2])
    assert np.abs(found.correlations).max() < 4 / np.sqrt(24 * 31)


def test_targets_are_handed_on(classifier, photos):
    seen = []

    def watch(model, images, target):
        seen.append(target)
        return np.ones((2, 9, 12))

    model_randomisation(watch, classifier(), photos(2), [3, 1], looks=1)
    assert seen == [[3, 1], [3, 1]]


def test_looks_and_seed(classifier, photos):
    def kernel(model, images, target):
        return keras.ops.convert_to_numpy(model.get_layer("low").kernel).reshape(1, 9, 15)

    check = functools.partial(model_randomisation, kernel, classifier(), photos(1), 0)
    assert check().layers == ("head", "top", "low")
    assert check(looks=2).layers == ("top", "low")
    assert check(looks=1).layers == ("low",)
    assert check(looks=9).layers == ("head", "top", "low")
    np.testing.assert_allclose(check().correlations[:2], 1)
    one, same, other = (check(looks=1, seed=s).correlations for s in (0, 0, 1))
    assert one == same != other
    for wrong in ({"looks": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be an integer"):
            check(**wrong)


def test_a_model_without_weights_is_refused(photos):
    model = keras.Sequential([keras.Input((9, 12, 3)), keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match="A model with weights is needed"):
        model_randomisation(edges_of, model, photos(1), 0)


# Class sensitivity.


def test_class_sensitivity_is_the_mean_over_other_classes():
    maps = np.random.default_rng(0).normal(size=(3, 4, 5, 7))

    def explain(model, images, target):
        return maps[target, np.arange(4)]

    classes = np.array([0, 1, 2, 0])
    found = class_sensitivity(explain, None, np.zeros((4, 5, 7, 1)), classes, range(3))
    for row, own in enumerate(classes):
        wanted = [
            rank_correlation(maps[own, row][None], maps[other, row][None])[0]
            for other in range(3)
            if other != own
        ]
        np.testing.assert_allclose(found[row], np.mean(wanted))
    one = class_sensitivity(explain, None, np.zeros((4, 5, 7, 1)), 0, [1])
    np.testing.assert_allclose(one, rank_correlation(maps[0], maps[1]))
    assert np.isnan(class_sensitivity(explain, None, np.zeros((4, 5, 7, 1)), 0, [0])).all()


def test_targets_of_class_sensitivity_are_classes(photos):
    for wrong in ([0, 1, 2], "predicted", [0.0, 1.0]):
        with pytest.raises(ValueError, match="one per image, 2 in all"):
            class_sensitivity(edges_of, None, photos(2), wrong, range(2))


# What is known of methods, on a trained network.


def strokes(count, seed):
    """Horizontal, vertical and slanting strokes in noise, in [-1, 1]."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = random.normal(0, 0.15, (count, 27, 30, 1))
    images = sum(np.roll(images, (i, j), (1, 2)) for i in range(3) for j in range(3)) / 3
    images = images[:, 1:-1]
    for image, label in zip(images, labels, strict=True):
        row, column = random.integers(1, 17), random.integers(1, 22)
        if label == 0:
            image[row + 2 : row + 4, column : column + 6] += 0.5
        elif label == 1:
            image[row : row + 6, column + 2 : column + 4] += 0.5
        else:
            for step in range(6):
                image[row + step, column + step : column + step + 2] += 0.5
    return images.clip(-1, 1).astype("float32"), labels


@pytest.fixture(scope="module")
def trained():
    """A network that tells strokes apart; padded, since weak borders are alike in all maps."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    convolution = functools.partial(layers.Conv2D, kernel_size=3, padding="same", activation="relu")
    model = keras.Sequential(
        [
            keras.Input((25, 30, 1)),
            layers.Rescaling(2.0),
            convolution(8),
            layers.MaxPooling2D(),
            convolution(16),
            convolution(32),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.Adam(3e-3)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*strokes(600, seed=0), epochs=15, batch_size=32, verbose=0)
    assert model.evaluate(*strokes(150, seed=1), verbose=0)[1] > 0.9
    return model


def guided_backpropagation(model, images, target):
    """Springenberg et al. 2015: backwards, a ReLU passes on only what is positive."""
    import tensorflow as tf

    @tf.custom_gradient
    def guided(x):
        return tf.nn.relu(x), lambda up: tf.where((x > 0) & (up > 0), up, tf.zeros_like(up))

    with tf.GradientTape() as tape:
        x = inputs = tf.constant(images)
        tape.watch(inputs)
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D):
                kernel, bias = layer.kernel.value, layer.bias.value
                x = guided(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
            elif isinstance(layer, keras.layers.Dense):
                x = x @ layer.kernel.value + layer.bias.value
            else:
                x = layer(x)
        scores = tf.gather(x, np.broadcast_to(target, len(images)), batch_dims=1)
    return tape.gradient(scores, inputs)[..., 0].numpy()


def similarities(explain, model, images, labels):
    """Mean rank correlation with all weights above the first layer randomised, and per class."""
    checked = model_randomisation(explain, model, images, labels)
    across = class_sensitivity(explain, model, images, labels, range(3))
    return np.nanmean(checked.correlations[:-1], axis=1), np.nanmean(across)


@ON_TENSORFLOW
def test_guided_backpropagation_fails_the_sanity_checks_that_gradients_pass(trained):
    images, labels = strokes(24, seed=2)
    guided, guided_classes = similarities(guided_backpropagation, trained, images, labels)
    assert (guided > 0.5).all()
    assert guided_classes > 0.4
    for method in (gradient, "grad_cam"):
        looks, classes = similarities(with_method(method), trained, images, labels)
        assert (looks < 0.3).all()
        assert classes < guided_classes - 0.3


@ON_TENSORFLOW
def test_the_size_of_gradients_forgets_faster_than_that_of_guided_backpropagation(trained):
    images, labels = strokes(24, seed=2)

    def size(model, images, target):
        return np.abs(guided_backpropagation(model, images, target))

    guided, plain = (
        np.mean(model_randomisation(explain, trained, images, labels).correlations, axis=1)
        for explain in (size, with_method("saliency"))
    )
    assert (plain < guided).all()
    assert plain[2] < guided[2] - 0.15


def test_true_maps_beat_chance_on_a_trained_network(trained):
    images, labels = strokes(24, seed=2)
    scores = scorer(trained, images, target=labels)
    maps = ks.explain(trained, images, "grad_cam", target=labels).maps
    chance = np.random.default_rng(0).random(images.shape[:3])
    ours, theirs = (insertion(scores, images, m).areas.mean() for m in (maps, chance))
    assert ours > theirs + 0.05
    ours, theirs = (road(scores, images, m).gaps.mean() for m in (maps, chance))
    assert ours > 0.1 > abs(theirs)
