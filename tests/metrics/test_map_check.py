"""The check of maps: what hiding their strongest tenth costs, against closed forms."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency as ks
from keras_saliency.attribution.explainer import Explainer
from keras_saliency.engine.targets import Target
from keras_saliency.metrics.map_check import MapChecker, fill_holes, moved_away, strongest

SIDE = 10
PATCH = (slice(4, 6), slice(3, 8))  # a tenth of the image
ELSEWHERE = (slice(0, 2), slice(0, 5))
WEIGHT = 0.3


def marked(place, value=1.0):
    map_ = np.zeros((SIDE, SIDE), np.float32)
    map_[place] = value
    return map_


def method(place, name, value=1.0):
    """A method whose map marks one place of every image."""

    def fixed(model, images):
        return np.repeat(marked(place, value)[None], images.shape[0], axis=0)

    fixed.__name__ = name
    return fixed


def classifier(activation="softmax", units=2):
    """Its first logit is the weighted sum of the patch, of which the image is 1 and the rest 0."""
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Flatten(),
            layers.Dense(units, activation=activation),
        ]
    )
    kernel = np.zeros((SIDE * SIDE, units), np.float32)
    kernel[:, 0] = WEIGHT * marked(PATCH).ravel()
    model.layers[-1].set_weights([kernel, np.zeros(units)])
    return model


IMAGES = np.stack([marked(PATCH), 2 * marked(PATCH)])[..., None]


def check(model, *methods, labels=(0, 0), target="label"):
    probes = ks.Probes(IMAGES, None if labels is None else np.array(labels))
    explainer = Explainer(model, probes, methods, Target.of_any(target), None, 32)
    return MapChecker(explainer).check(explainer.evaluate())


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class TestChecker:
    def test_the_cost_is_the_probability_that_is_lost(self):
        found = check(classifier(), method(PATCH, "right"), method(ELSEWHERE, "wrong"))
        logits = WEIGHT * 10 * np.array([1, 2])
        np.testing.assert_allclose(found["right"].costs, sigmoid(logits) - 0.5, atol=1e-5)
        np.testing.assert_allclose(found["right"].by_chance, 0, atol=1e-5)
        np.testing.assert_allclose(found["wrong"].costs, 0, atol=1e-5)
        assert found["right"].is_chance.tolist() == [False, False]
        assert found["wrong"].is_chance.tolist() == [True, True]

    def test_the_class_of_the_original_counts_where_hiding_changes_the_prediction(self):
        model = classifier()
        model.layers[-1].bias.assign([-0.5, 0.0])
        found = check(model, method(PATCH, "right"), labels=None, target="predicted")["right"]
        before = sigmoid(WEIGHT * 10 * np.array([1, 2]) - 0.5)
        np.testing.assert_allclose(found.costs, before - sigmoid(-0.5), atol=1e-5)

    def test_costs_of_a_contrast_and_of_a_chosen_class_are_probabilities(self):
        lost = sigmoid(WEIGHT * 10 * np.array([1, 2])) - 0.5
        found = check(classifier(), method(PATCH, "right"), target="contrast")["right"]
        np.testing.assert_allclose(found.costs, lost, atol=1e-5)
        found = check(classifier(), method(PATCH, "right"), target=1)["right"]
        np.testing.assert_allclose(found.costs, -lost, atol=1e-5)
        assert found.is_chance.all()  # Without the patch class 1 is more probable.

    def test_of_a_combination_of_outputs_the_score_counts(self):
        found = check(classifier(), method(PATCH, "right"), target=np.array([[2.0, 0.0]] * 2))
        np.testing.assert_allclose(found["right"].costs, 2 * WEIGHT * 10 * np.array([1, 2]), 1e-4)

    def test_boxes_are_those_of_the_image_as_it_is(self):
        """Two candidates, of which the first is the best box only as long as the patch is there."""
        inputs = keras.Input((SIDE, SIDE, 1))
        scores = layers.Dense(2)(layers.Flatten()(inputs))
        model = keras.Model(inputs, layers.Reshape((2, 1))(scores))
        kernel = np.stack([WEIGHT * marked(PATCH).ravel(), np.zeros(SIDE * SIDE)], axis=1)
        model.layers[-2].set_weights([kernel, np.array([0.0, 1.0])])
        target = ks.Target(ks.Boxes(1, threshold=0.0), head="sigmoid")
        explainer = Explainer(model, ks.Probes(IMAGES), [method(PATCH, "right")], target, None, 32)
        found = MapChecker(explainer).check(explainer.evaluate())["right"]
        np.testing.assert_allclose(found.costs, WEIGHT * 10 * np.array([1, 2]), atol=1e-4)

    def test_of_a_regression_the_value_counts(self):
        model = classifier("linear", 1)
        found = check(model, method(PATCH, "right"), labels=(0.5, 1.5))["right"]
        np.testing.assert_allclose(found.costs, WEIGHT * 10 * np.array([1, 2]), atol=1e-5)
        assert not found.is_chance.any()

    def test_dead_and_infinite_maps_are_not_judged(self):
        found = check(classifier(), method(PATCH, "dead", 0.0), method(PATCH, "odd", np.nan))
        for one in found.values():
            assert np.isnan(one.costs).all()
            assert not one.is_chance.any()
            assert one.words(0) == ""

    def test_words_tell_both_costs(self):
        found = check(classifier(), method(PATCH, "right"), method(ELSEWHERE, "wrong"))
        assert found["right"].words(0) == "hiding this costs 0.45 (a random tenth: 0.00)"
        wrong = "no better than chance: kept alone it leaves 0.50 (a random tenth: "
        assert found["wrong"].words(0).startswith(wrong)

    def test_a_tenth_of_a_cue_that_fills_the_image_is_enough_alone(self):
        """The model asks whether there is a bright pixel, of which half of the image is made."""
        inputs = keras.Input((SIDE, SIDE, 1))
        largest = layers.GlobalMaxPooling2D()(inputs)
        model = keras.Model(inputs, layers.Dense(2, activation="softmax")(largest))
        model.layers[-1].set_weights([np.array([[4.0, 0.0]]), np.array([-2.0, 0.0])])
        image = np.zeros((SIDE, SIDE, 1), np.float32)
        image[:, SIDE // 2 :] = 1
        probes = ks.Probes(image[None], np.array([0]))
        column = method((slice(None), slice(SIDE - 1, SIDE)), "right")
        explainer = Explainer(model, probes, [column], Target("label"), None, 32)
        # By this seed the random column is a dark one.
        found = MapChecker(explainer).check(explainer.evaluate(), seed=0)["right"]
        np.testing.assert_allclose(found.costs, 0, atol=1e-5)
        np.testing.assert_allclose(found.alone, sigmoid(2.0), atol=1e-5)
        assert not found.is_chance.any()
        assert found.words(0).startswith("kept alone it leaves 0.88 (a random tenth: ")

    def test_a_large_batch_is_cut_up(self):
        probes = ks.Probes(np.repeat(IMAGES, 5, axis=0), np.zeros(10, int))
        explainer = Explainer(classifier(), probes, [method(PATCH, "r")], Target("label"), None, 4)
        found = MapChecker(explainer).check(explainer.evaluate())["r"]
        np.testing.assert_allclose(
            found.costs, sigmoid(3.0 * np.repeat([1, 2], 5)) - 0.5, atol=1e-5
        )


class TestHoles:
    def test_the_strongest_are_the_most_positive(self):
        map_ = marked(PATCH) - 5 * marked(ELSEWHERE)
        np.testing.assert_array_equal(strongest(map_[None], (SIDE, SIDE))[0], marked(PATCH) > 0)

    def test_a_coarse_map_is_laid_over_the_image(self):
        coarse = np.zeros((1, 3, 3))
        coarse[0, 2, 0] = 1
        holes = strongest(coarse, (30, 60))[0]
        assert holes.sum() == 180
        assert holes[15:, :30].sum() == 180

    def test_single_pixels_do_not_outweigh_a_patch(self):
        map_ = np.zeros((64, 64))
        map_[40:56, 40:56] = 1  # not a tenth
        map_[::9, ::9] = 1.2
        assert strongest(map_[None], (64, 64))[0, 41:55, 41:55].all()

    @pytest.mark.parametrize("shape", [(40,), (12, 20), (4, 8, 10)])
    def test_a_moved_hole_is_as_large_and_elsewhere(self, shape):
        hole = np.zeros(shape, bool)
        hole[tuple(slice(0, max(1, length // 4)) for length in shape)] = True
        moved = moved_away(hole, np.random.default_rng(0))
        assert moved.shape == shape
        assert moved.sum() == hole.sum()
        assert (moved & hole).sum() == 0

    def test_scattered_pixels_stay_as_scattered(self):
        def neighbours(holes):
            return (holes & np.roll(holes, 1, 0)).sum() + (holes & np.roll(holes, 1, 1)).sum()

        rng = np.random.default_rng(0)
        scattered = rng.random((32, 32)) < 0.1
        assert neighbours(moved_away(scattered, rng)) == neighbours(scattered)


class TestFilling:
    @pytest.mark.parametrize("shape", [(37, 1), (13, 24, 3), (3, 6, 10, 2)])
    def test_a_constant_is_restored_and_the_rest_stays(self, shape):
        rng = np.random.default_rng(0)
        constant = np.broadcast_to(rng.normal(size=shape[-1]), (2, *shape))
        holes = rng.random((2, *shape[:-1])) < 0.4
        np.testing.assert_allclose(fill_holes(constant, holes), constant, rtol=1e-5)
        images = rng.normal(size=(2, *shape))
        np.testing.assert_array_equal(
            fill_holes(images, holes)[~holes], images[~holes].astype("float32")
        )

    def test_each_pixel_is_the_mean_of_the_known_ones_by_their_distance(self):
        rng = np.random.default_rng(0)
        image, hole = rng.normal(size=(12, 15, 2)), np.zeros((12, 15), bool)
        hole[2:7, 3:9] = True
        slow = image.copy()
        for i, j in np.argwhere(hole):
            rows, columns = np.mgrid[:12, :15]
            squared = ((rows - i) / (12 / 32)) ** 2 + ((columns - j) / (15 / 32)) ** 2
            weights = np.where(hole, 0, np.exp(-squared / 2))[..., None]
            slow[i, j] = (weights * image).sum(axis=(0, 1)) / weights.sum()
        np.testing.assert_allclose(fill_holes(image[None], hole[None])[0], slow, rtol=1e-5)

    def test_what_is_hidden_does_not_leak_into_the_hole(self):
        images = np.zeros((1, 16, 16, 1))
        holes = np.zeros((1, 16, 16), bool)
        holes[:, 3:11, 5:14] = True
        images[holes] = 1e6
        np.testing.assert_array_equal(fill_holes(images, holes), 0)

    def test_an_image_that_is_one_hole_becomes_zero(self):
        filled = fill_holes(np.ones((1, 5, 6, 2)), np.ones((1, 5, 6), bool))
        np.testing.assert_array_equal(filled, 0)
