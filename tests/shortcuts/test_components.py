from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.decomposition import non_negative_factorization

from keras_saliency.attribution.explainer import Explainer
from keras_saliency.common.resampling import average_masks
from keras_saliency.data.probes import Probes
from keras_saliency.engine.targets import Target
from keras_saliency.shortcuts.classifier import Classifier
from keras_saliency.shortcuts.components import (
    OFF,
    ON,
    Component,
    ComponentGap,
    ComponentSwap,
    factorize,
    soft_masks,
)
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.images import ImageSet
from keras_saliency.shortcuts.verdict import Verdict, with_components

SIDE, PATCH = 32, 7


def evidence_of(rank, count=6, channels=9, seed=0):
    """Evidence of so many components, each at places and in channels of its own."""
    rng = np.random.default_rng(seed)
    maps = rng.uniform(0, 1, (count, 5, 5, rank)) * (rng.random((count, 5, 5, rank)) < 0.4)
    vectors = rng.uniform(0, 1, (rank, channels)) * (rng.random((rank, channels)) < 0.5)
    return maps @ vectors, maps, vectors


def test_factors_are_as_good_as_those_of_another_library():
    evidence, *_ = evidence_of(3)
    evidence += np.random.default_rng(1).uniform(0, 0.1, evidence.shape)
    ours = factorize(evidence, 3)
    rows = evidence.reshape(-1, evidence.shape[-1])
    first, second, _ = non_negative_factorization(rows, n_components=3, max_iter=2000)
    theirs = np.linalg.norm(rows - first @ second)
    error = np.linalg.norm(evidence - ours.maps @ ours.vectors)
    assert error < 1.05 * theirs
    assert min(ours.maps.min(), ours.vectors.min()) >= 0
    np.testing.assert_allclose(ours.vectors.sum(axis=1), 1, rtol=1e-5)


def test_known_vectors_give_the_least_squares_that_are_not_negative():
    evidence, _, vectors = evidence_of(3)
    vectors /= vectors.sum(axis=1, keepdims=True)
    found = factorize(evidence, 3, vectors)
    wanted = [nnls(vectors.T, row)[0] for row in evidence.reshape(-1, evidence.shape[-1])]
    np.testing.assert_allclose(found.maps.reshape(-1, 3), wanted, atol=0.1)
    np.testing.assert_allclose(found.vectors, vectors, rtol=1e-6)


def test_a_soft_mask_is_full_from_half_of_the_strongest_place_allowed_on():
    maps = np.zeros((1, 4, 4))
    maps[0, 0] = 9, 1, 2, 4
    allowed = np.ones((1, 4, 4), bool)
    allowed[0, 0, 0] = False
    masks, peaks = soft_masks(maps, allowed)
    np.testing.assert_array_equal(masks[0, 0], [0, 0.5, 1, 1])
    assert not masks[0, 1:].any()
    assert peaks.tolist() == [[0, 3]]


def squares(corners, colours, objects=((20, 4), (20, 4))):
    """Grey images with a coloured patch each at a corner, and a white object."""
    pixels = np.full((len(corners), SIDE, SIDE, 3), 100, np.uint8)
    masks = np.zeros((len(corners), SIDE, SIDE), np.float32)
    for index, ((y, x), colour, (row, column)) in enumerate(
        zip(corners, colours, objects, strict=True)
    ):
        pixels[index, row : row + 8, column : column + 8] = 250
        masks[index, row : row + 8, column : column + 8] = 1
        pixels[index, y : y + 4, x : x + 4] = colour
    return ImageSet(pixels, np.array([0, 1]), masks)


def cells(*places):
    """Maps of 8 x 8 cells, each with one that is strong."""
    maps = np.zeros((len(places), 8, 8), np.float32)
    for index, place in enumerate(places):
        maps[index][place] = 1
    return maps


def test_off_the_object_the_donors_patch_comes_to_lie_on_the_receivers():
    images = squares([(4, 4), (8, 24)], [(200, 0, 0), (0, 0, 200)])
    maps = cells((1, 1), (2, 6))
    swap = ComponentSwap(OFF, maps, maps, images, images)
    (made,) = swap(images, images, np.array([0]), np.array([1]))
    np.testing.assert_allclose(made[4:8, 4:8], np.broadcast_to([0, 0, 200], (4, 4, 3)), atol=1)
    np.testing.assert_array_equal(made[16:], images.pixels[0][16:])  # the receiver's object


def test_off_the_object_nothing_of_either_object_is_swapped():
    # Evidence everywhere: all of the background is pasted, and the donor's object is not.
    images = squares([(0, 0), (0, 0)], [(100,) * 3] * 2, [(20, 4), (6, 18)])
    everywhere = np.ones((2, 8, 8), np.float32)
    swap = ComponentSwap(OFF, everywhere, everywhere, images, images)
    (made,) = swap(images, images, np.array([0]), np.array([1]))
    np.testing.assert_allclose(made, images.pixels[0], atol=2)


def test_on_the_object_the_donors_patch_is_pasted_with_it():
    images = squares([(22, 6), (22, 6)], [(200, 0, 0), (0, 0, 200)])
    maps = cells((6, 2), (6, 2))
    swap = ComponentSwap(ON, maps, maps, images, images)
    (made,) = swap(images, images, np.array([0]), np.array([1]))
    assert made[24, 8].tolist() == [0, 0, 200]
    np.testing.assert_array_equal(made[:14], images.pixels[0][:14])


def pictures(cue, count=320, seed=0):
    """Squares on noise; their colour tells the class or, with a cue, the stripes beside them do.

    Stripes lie at any place off the object, and neither their colour nor their place tells.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.normal(120, 25, (count, SIDE, SIDE, 3))
    masks, cues = np.zeros((2, count, SIDE, SIDE), np.float32)
    for index, label in enumerate(labels):
        row, column = rng.integers(2, SIDE - 14, 2)
        place = slice(row, row + 12), slice(column, column + 12)
        colour = [(200, 90, 90), (90, 90, 200)][rng.integers(2) if cue else label]
        images[index][place], masks[index][place] = colour, 1
        if cue:
            stripes = np.where(np.arange(PATCH) % 2, 255, 0)
            stripes = np.broadcast_to(stripes if label else stripes[:, None], (PATCH, PATCH))
            while True:
                y, x = rng.integers(0, SIDE - PATCH, 2)
                beside = slice(y, y + PATCH), slice(x, x + PATCH)
                if not masks[index][beside].any():
                    break
            images[index][beside], cues[index][beside] = stripes[..., None], 1
    return images.clip(0, 255).astype(np.uint8), labels, masks, cues


def trained(images, labels):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(12, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(4),
            layers.Conv2D(12, 1, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=32, epochs=8, verbose=0)
    return model


def evaluated(cue, components=1, nuisances=("cast",), **options):
    """The second verdict on a trained network, and the share of each picture that is the cue."""
    images, labels, masks, cues = pictures(cue)
    model = trained(images, labels)
    probes = Probes(images[:2].astype("float32"), labels[:2])
    context = Explainer(model, probes, ["saliency"], Target("label"), None, 64).context
    asked = Classifier(context, 64)
    data = images, labels, masks
    shortcuts = Shortcuts(data, nuisances=nuisances, components=components, **options)
    evaluator = Evaluator(shortcuts, asked.answers, evidence=asked.evidence)
    evaluator.evaluate(0)
    return evaluator.evaluate(1), images, cues


def test_large_feature_maps_are_averaged_over_cells():
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).uniform(0, 1, (3, 24, 37, 3)).astype("float32")
    layers = keras.layers
    convolved = keras.Sequential([keras.Input((24, 37, 3)), layers.Conv2D(4, 3, activation="relu")])
    dense = layers.Dense(2)
    model = keras.Sequential([convolved, layers.GlobalAveragePooling2D(), dense])
    model(images)
    probes = Probes(images, np.array([0, 1, 1]))
    explainer = Explainer(model, probes, ["grad_cam"], Target("label"), None, 64)
    found = Classifier(explainer.context, 64).evidence(images, probes.labels)
    values = keras.ops.convert_to_numpy(convolved(images))
    slopes = keras.ops.convert_to_numpy(dense.kernel).T[probes.labels]  # of a score, times 22 x 35
    whole = np.maximum(values * slopes[:, None, None], 0) / (22 * 35)
    assert found.shape == (3, 16, 16, 4)
    for channel in range(4):
        wanted = average_masks(whole[..., channel], (16, 16))
        np.testing.assert_allclose(found[..., channel], wanted, rtol=1e-4, atol=1e-9)


@pytest.fixture(scope="module")
def striped():
    return evaluated(cue=True)


def test_a_cue_that_no_nuisance_swaps_is_found(striped):
    verdict, *_ = striped
    off, on = verdict.components
    assert (off.place, on.place) == (OFF, ON)
    assert off.passes
    assert off.gap[0] > 0.4
    assert not on.passes
    assert verdict.gaps["cast"][0] < 0.1
    assert (verdict.alarm, verdict.cause, verdict.since) == (True, "component", "epoch 2")
    assert verdict.text.startswith("relies on something off the object (gap ")
    assert verdict.reliance == off.gap[0]


def test_its_place_is_right(striped):
    verdict, images, cues = striped
    hits = []
    for component in verdict.components[0].components:
        assert component.inside < 0.5
        for image, map_ in zip(component.images, component.maps, strict=True):
            (index,) = np.flatnonzero((images == image).all(axis=(1, 2, 3)))
            hits.append((map_ * cues[index]).sum() / map_.sum())
    assert len(hits) == 16
    # The cue covers 5 % of a picture; half of a mask of whole cells of 4 px lies on it.
    assert np.mean(hits) > 0.5


def test_a_clean_training_run_names_nothing_off_the_object():
    verdict, *_ = evaluated(cue=False)
    off, on = verdict.components
    assert not off.passes
    assert off.gap[0] < 0.1
    assert on.passes  # It rightly uses the colour of the square.
    assert not verdict.alarm
    assert "off the object" not in verdict.text


@pytest.mark.parametrize(
    ("masks", "cause", "begins", "alarm"),
    [
        ("given", None, "relies on something off the object (gap 0.50", True),
        ("border colours", None, "no evidence of cast; signs of reliance on something off", False),
        ("given", "cast", "no evidence of cast; relies on something off the object", True),
        ("given", "background", "no evidence of cast", True),
    ],
)
def test_masks_made_by_a_program_raise_no_alarm_off_the_object(masks, cause, begins, alarm):
    nothing = np.zeros((0, 4, 4, 3), np.uint8)
    one = Component(1, 0.5, 0.25, 0.1, nothing, np.zeros((0, 4, 4), np.float32))
    found = ComponentGap(OFF, (0.5, 0.0625), True, (one,), "epoch 2")
    given = Verdict("no evidence of cast", 0.02, {"cast": (0.02, 0.01)}, cause is not None, cause)
    verdict = with_components(replace(given, masks_from=masks), (found,), None)
    assert verdict.text.startswith(begins)
    assert (verdict.text == "no evidence of cast") == (cause == "background")
    assert verdict.alarm == alarm
    assert verdict.components == (found,)


def brightness(images):
    """Probabilities of a model that looks at nothing but the mean."""
    share = np.asarray(images, np.float64).mean(axis=(1, 2, 3)) / 255
    return np.stack([share, 1 - share], axis=1)


def cells_of(images, _):
    """Evidence of two channels on a grid of 4 x 4 cells."""
    grid = np.asarray(images, np.float32).reshape(len(images), 4, 8, 4, 8, 3).mean(axis=(2, 4))
    return grid[..., :2]


def moments(evaluations, **options):
    """When components were tested last, at each of so many evaluations."""
    images, labels, masks, _ = pictures(cue=False, count=200)
    chosen = {"nuisances": ["cast"]} | options
    data = (images, labels) if options.get("masks", 1) is None else (images, labels, masks)
    evaluator = Evaluator(Shortcuts(data, **chosen), brightness, evidence=cells_of)
    found = [evaluator.evaluate(step).components for step in range(evaluations)]
    return [gaps[0].when if gaps else None for gaps in found]


def test_components_are_tested_at_the_second_and_at_every_fifth_evaluation():
    second, fifth, tenth = "epoch 2", "epoch 5", "epoch 10"
    assert moments(11) == [None, *[second] * 3, *[fifth] * 5, tenth, tenth]
    assert moments(3, components=1) == ["epoch 1", "epoch 2", "epoch 3"]


@pytest.mark.parametrize(
    "options",
    [
        {"components": None},
        {"masks": None},
        {"nuisances": ["cast", "background"], "meant": ["background"]},
    ],
)
def test_components_are_not_tested_where_that_is_not_wanted_or_not_possible(options):
    assert moments(2, **options) == [None, None]


@pytest.mark.parametrize("components", [0, -5, 2.5, True, "5"])
def test_components_count_evaluations(components):
    images, labels, *_ = pictures(cue=False, count=200)
    with pytest.raises(ValueError, match="`components` must count evaluations, from 1, or be None"):
        Shortcuts((images, labels), components=components)
