"""Class scores of boxes, and their maps, against scores by hand and finite differences."""

import functools

import keras
import numpy as np
import pytest
from keras import layers as kl

import keras_saliency as ks
from keras_saliency.common.resampling import resize_linear
from keras_saliency.engine.output_head import Head

from helpers.detectors import CLASSES, LEVELS, SIZE, built, detector, logits_of

SIGNED = functools.partial(ks.methods.get("hires_cam"), relu=False)

pytestmark = pytest.mark.filterwarnings("ignore:The images' values run from")


def target(*args, **options):
    return ks.Target(ks.Boxes(*args, **options), output="scores", head="sigmoid")


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def nothing(model, images):
    return keras.ops.zeros((images.shape[0], 1, 1))


# Which boxes.


def test_the_most_confident_box_of_a_class(photos):
    model, images = detector(), photos(4, SIZE)
    logits = logits_of(model, images)
    found = ks.explain(model, images, nothing, target=target(1, threshold=0.0))
    np.testing.assert_allclose(found.scores, logits[..., 1].max(axis=1), rtol=1e-4)
    assert found.targets.tolist() == [1] * 4


def test_the_most_confident_box_of_any_class(photos):
    model, images = detector(), photos(4, SIZE)
    logits = logits_of(model, images)
    found = ks.explain(model, images, nothing, target=target(threshold=0.0))
    np.testing.assert_allclose(found.scores, logits.max(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_array_equal(found.targets, logits.max(axis=1).argmax(axis=1))


@pytest.mark.parametrize("category", [None, 2])
def test_the_sum_over_all_boxes_above_the_threshold(photos, category):
    model, images = detector(), photos(2, SIZE)
    logits = logits_of(model, images)
    own = logits.max(axis=2) if category is None else logits[..., category]
    threshold = float(np.median(sigmoid(own)))  # between two of an even number of boxes
    chosen = ks.Boxes(category, box="all", threshold=threshold)
    aim = ks.Target(chosen, "probability", output="scores", head="sigmoid")
    wanted = np.where(sigmoid(own) > threshold, sigmoid(own), 0).sum(axis=1)
    found = ks.explain(model, images, nothing, target=aim)
    np.testing.assert_allclose(found.scores, wanted, rtol=1e-4)
    assert found.targets.tolist() == [-1 if category is None else category] * 2


def test_probabilities_that_are_rounded_to_1_are_ranked_by_their_logits():
    logits = np.array([[[50.0, 60.0], [90.0, 70.0], [80.0, 85.0]]], np.float32)
    head, marks = Head("sigmoid", "outputs", (3, 2)), np.full((1, 3), -1, "int32")
    for category, wanted in ((None, [0, 1, 0]), (1, [0, 0, 2])):
        found = ks.Boxes(category).resolved(head, logits, logits, "logits", marks)
        assert keras.ops.convert_to_numpy(found)[0].tolist() == wanted


def test_candidates_by_their_index(photos):
    model, images = detector(), photos(3, SIZE)
    logits = logits_of(model, images)
    found = ks.explain(model, images, nothing, target=target(2, box=60))
    np.testing.assert_allclose(found.scores, logits[:, 60, 2], rtol=1e-4)
    found = ks.explain(model, images, nothing, target=target(box=[3, 60, 7]))
    own = logits[np.arange(3), [3, 60, 7]]
    np.testing.assert_allclose(found.scores, own.max(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(found.targets, own.argmax(axis=1))


def test_perturbed_images_are_scored_for_the_same_box(photos):
    model, images = detector(), photos(2, SIZE)
    best = logits_of(model, images)[..., 1].argmax(axis=1)
    found = ks.explain(model, images, "occlusion", target=target(1, threshold=0.0)).maps
    wanted = ks.explain(model, images, "occlusion", target=target(1, box=best)).maps
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


# Gradients.


@pytest.mark.parametrize("box", ["best", "all"])
def test_gradients_at_the_image_by_finite_differences(photos, box):
    model, images = detector(), photos(1, SIZE)
    logits = logits_of(model, images)[0, :, 1]
    chosen = logits == logits.max() if box == "best" else logits > 0
    slope = np.random.default_rng(0).normal(size=images.shape).astype("float32")
    up, down = (
        logits_of(model, images + step * slope)[0, chosen, 1].sum() for step in (0.01, -0.01)
    )

    def along(scored, given):
        gradients = keras.ops.convert_to_numpy(scored.input_gradients(given))
        return (gradients * slope).sum(axis=-1)

    found = ks.explain(model, images, along, target=target(1, box=box)).maps.sum()
    assert found == pytest.approx((up - down) / 0.02, rel=0.01)


def hires_cam(model, images, level, row, category):
    """HiResCAM of one candidate at a level: how its logit changes as one place is made stronger."""
    features = keras.Model(model.input, model.get_layer(level).output)(images, training=False)
    features = keras.ops.convert_to_numpy(features)[0]
    cells = features.shape[0] * features.shape[1]
    step = 1e-2 * np.eye(cells).reshape(cells, *features.shape[:2], 1) * features
    head, place = model.get_layer("scores_head"), row - LEVELS[level][0]
    up, down = (
        keras.ops.convert_to_numpy(head((features + sign * step).astype("float32")))
        for sign in (1, -1)
    )
    return (up - down)[:, place, category].reshape(features.shape[:2]) / 2e-2


@pytest.mark.parametrize(("row", "level"), [(53, "p1"), (54, "p2")])
def test_maps_are_of_the_level_that_the_box_comes_from(photos, row, level):
    model, images = detector(), photos(1, SIZE)
    wanted = np.maximum(hires_cam(model, images, level, row, 1), 0)
    found = ks.explain(model, images, "hires_cam", target=target(1, box=row))
    assert found.layer == level
    np.testing.assert_allclose(found.maps[0], wanted, atol=0.01 * wanted.max())
    assert np.count_nonzero(wanted > 1e-3 * wanted.max()) <= 25  # what two 3 x 3 kernels see


@pytest.mark.filterwarnings("ignore:.*does not pass through layer")
def test_the_best_boxes_of_images_may_come_from_several_levels(photos):
    """The levels are fused, of which the fine one adds nothing to a box of the coarse one."""
    model, images = detector(2), 4 * photos(24, SIZE)
    rows = logits_of(model, images)[..., 1].argmax(axis=1)
    chosen = [np.flatnonzero(rows < 54)[0], np.flatnonzero(rows >= 54)[0]]
    images, rows = images[chosen], rows[chosen]
    fine, coarse = (
        ks.explain(model, images, SIGNED, target=target(1, box=rows), layer=level).maps
        for level in ("p1", "p2")
    )
    assert fine[0].any()
    assert not fine[1].any()
    assert coarse[0].any()  # p1 is made of p2 as well
    found = ks.explain(model, images, SIGNED, target=target(1, threshold=0.0))
    assert found.layer == "p1 + p2"
    fine, coarse = (np.stack([scaled(one) for one in maps]) for maps in (fine, coarse))
    wanted = np.where(np.abs(fine) >= np.abs(coarse), fine, coarse)
    np.testing.assert_allclose(found.maps, wanted, atol=2e-3)


def scaled(map_):
    """Scale a map as fused maps are, on the finer of the grids."""
    return resize_linear(np.tanh(2 * map_ / max(np.abs(map_).max(), 1e-30)), (6, 9))


def test_a_layer_that_is_named_is_taken(photos):
    """The gradient that passes by it is told of."""
    model, images = detector(), photos(1, SIZE)
    with pytest.warns(UserWarning, match="does not pass through layer 'p2'"):
        found = ks.explain(model, images, "hires_cam", target=target(1, box=20), layer="p2")
    assert found.layer == "p2"


def test_a_detector_of_one_level_is_read_like_any_model(photos):
    pixels = keras.Input(SIZE)
    x = kl.Conv2D(4, 3, strides=2, padding="same", name="features")(pixels)
    x = kl.Conv2D(2, 1, name="classes")(x)
    model = keras.Model(pixels, kl.Reshape((54, 2))(x))
    aim = ks.Target(ks.Boxes(1, box=5), head="sigmoid")
    found = ks.explain(model, photos(1, SIZE), "hires_cam", target=aim)
    assert found.maps.shape == (1, 6, 9)


def test_a_detector_of_one_class(photos):
    """Its unit is the logit of class 1: class 0, that there is no object, is no box."""
    pixels = keras.Input(SIZE)
    x = kl.Conv2D(1, 3, strides=2, padding="same")(pixels)
    model, images = keras.Model(pixels, kl.Reshape((54, 1))(x)), photos(2, SIZE)
    logits = keras.ops.convert_to_numpy(model(images))[..., 0]
    for category in (None, 1):
        aim = ks.Target(ks.Boxes(category, threshold=0.0), head="sigmoid")
        found = ks.explain(model, images, nothing, target=aim)
        np.testing.assert_allclose(found.scores, logits.max(axis=1), rtol=1e-4)
        assert found.targets.tolist() == [1, 1]
    with pytest.raises(ValueError, match="category must be a class from 1 to 1"):
        ks.explain(model, images, nothing, target=ks.Target(ks.Boxes(0), head="sigmoid"))


# In training.


@pytest.mark.integration
def test_a_training_is_watched(photos, tmp_path):
    model, images = built(), photos(8, SIZE)
    truth = (np.random.default_rng(0).random((8, 69, CLASSES)) < 0.1).astype("float32")
    loss = keras.losses.BinaryFocalCrossentropy(from_logits=True)
    model.compile("adam", {"scores": loss, "places": "huber"})
    aim = ks.Target(ks.Boxes(1, threshold=0.0), output="scores")
    watch = ks.SaliencyCallback(
        images[:3], tmp_path, ["layer_cam", "saliency"], target=aim, strict=True
    )
    given = {"scores": truth, "places": np.zeros((8, 69, 4), "float32")}
    model.fit(images, given, epochs=1, verbose=0, callbacks=[watch])
    wanted = logits_of(model, images[:3])[..., 1].max(axis=1)
    np.testing.assert_allclose(watch.session.newest.scores, wanted, rtol=1e-3)
    assert all(maps.any() for maps in watch.session.newest.maps.values())


def test_without_a_box_a_training_goes_on(photos, tmp_path):
    model, images = built(), photos(4, SIZE)
    model.compile("sgd", {"scores": "mse", "places": "mse"})
    aim = target(1, threshold=1.0)
    watch = ks.SaliencyCallback(images, tmp_path, ["saliency"], target=aim, strict=True)
    given = {"scores": np.zeros((4, 69, CLASSES)), "places": np.zeros((4, 69, 4))}
    model.fit(images, given, epochs=1, verbose=0, callbacks=[watch])
    assert not watch.session.newest.maps["saliency"].any()


# Bad input.


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ({"category": 3}, "category must be a class from 0 to 2, .*Received: category=3"),
        ({"category": -1}, "category must be a class from 0 to 2, .*Received: category=-1"),
        ({"box": [0, 69]}, r"one of the 69 candidates, from 0. Received: box=\[0, 69\]. Take"),
        ({"box": -1}, "one of the 69 candidates, from 0. Received: box=-1"),
        ({"box": [0, 1, 2]}, r"one per image, 2 in all\. Received: 3 indices"),
    ],
)
def test_boxes_that_there_are_not(boxes, said):
    with pytest.raises(ValueError, match=said):
        ks.Boxes(**boxes).marks(Head("sigmoid", "outputs", (69, CLASSES)), 2)


def test_images_without_a_box_are_refused(photos):
    said = "No box of class 1 has a probability above 1.*2 of 2 images.*index 0. Lower threshold"
    with pytest.raises(ValueError, match=said):
        ks.explain(detector(), photos(2, SIZE), nothing, target=target(1, threshold=1.0))


@pytest.mark.parametrize(
    ("boxes", "kind", "said"),
    [
        ({"box": "first"}, ValueError, "box must be 'best', 'all'.*box='first'"),
        ({"box": 1.5}, TypeError, "box must be 'best', 'all'.*box=1.5"),
        ({"category": "cat"}, TypeError, "index of a class, or None.*category='cat'"),
        ({"threshold": 2}, ValueError, "threshold must be a number from 0 to 1"),
    ],
)
def test_boxes_are_refused_where_they_are_made(boxes, kind, said):
    with pytest.raises(kind, match=said):
        ks.Boxes(**boxes)


def test_models_without_boxes_are_refused(classifier, photos):
    with pytest.raises(ValueError, match=r"\(batch, candidates, classes\).*output='cls_logits'"):
        ks.explain(classifier(), photos(1), target=ks.Boxes(1))


def test_a_region_beside_boxes_is_refused():
    with pytest.raises(ValueError, match=r"Boxes choose theirs.*region='predicted'"):
        ks.Target(ks.Boxes(1), region="predicted")
