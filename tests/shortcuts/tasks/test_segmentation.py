import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency as ks
from keras_saliency.engine.output_head import Head
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.experiment import Shortcuts
from keras_saliency.shortcuts.images import ImageSet
from keras_saliency.shortcuts.tasks import task_of
from keras_saliency.shortcuts.tasks.segmentation import Segmentation, as_label_maps

SIZE = (24, 32)


def pictures(count=300, agreement=1.0, seed=0):
    """Squares of class 1 in every other picture, whose ground is green where it has one."""
    rng = np.random.default_rng(seed)
    present = np.arange(count) % 2
    ground = np.where(rng.random(count) < agreement, present, rng.integers(0, 2, count))
    images = np.full((count, *SIZE, 3), 60, np.uint8)
    images[..., 2] = rng.integers(0, 10, (count, *SIZE))  # so that no two are the same
    images[..., 1] = (50 + 150 * ground)[:, None, None]
    maps = np.zeros((count, *SIZE), np.uint8)
    for k in np.flatnonzero(present):
        y, x = rng.integers(2, SIZE[0] - 12), rng.integers(2, SIZE[1] - 12)
        maps[k, y : y + 9, x : x + 9] = 1
    images[maps == 1, 0] = 200
    images[maps == 1, 1] = 90
    return images, maps


def of_object(x):
    return np.clip((x[..., 0] - 60) / 140, 0, 1)


def of_ground(x):
    """At every pixel the ground of its picture, as the rim shows it."""
    rim = np.clip((x[:, 0, 0, 1] - 50) / 150, 0, 1)
    return np.broadcast_to(rim[:, None, None], x.shape[:3])


def evaluated(data, model, nuisances=("background", "frame"), **options):
    evaluator = Evaluator(Shortcuts(data, nuisances=nuisances, **options), model)
    evaluator.evaluate(0)
    return evaluator.evaluate(1)


@pytest.mark.parametrize("degree", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("form", ["softmax", "one channel", "bare", "half the size"])
def test_the_gap_is_the_degree_to_which_pixels_follow_their_surroundings(degree, form):
    def model(x):
        p = degree * of_ground(x) + (1 - degree) * of_object(x)
        if form == "half the size":
            p = p.reshape(len(p), SIZE[0] // 2, 2, SIZE[1] // 2, 2).mean((2, 4))
        return {"one channel": p[..., None], "bare": p}.get(form, np.stack([1 - p, p], axis=-1))

    verdict = evaluated(pictures(), model)
    assert verdict.gaps["background"][0] == pytest.approx(degree, abs=0.01)
    assert verdict.gaps["frame"][0] == pytest.approx(0, abs=0.01)
    assert verdict.alarm == (degree > 0)
    if degree:
        assert verdict.text.startswith("relies on the background (gap ")
        assert verdict.per_class.keys() == {1}


def test_what_a_model_says_beside_the_region_does_not_count():
    images, maps = pictures()
    everywhere = of_ground(np.float32(images))

    def model(x):  # Follows the ground off the square alone.
        inside = x[..., 0] > 130
        return np.where(inside, 1.0, 0.5 * of_ground(x))

    assert everywhere.std() > 0.4
    assert evaluated((images, maps), model).gaps["background"][0] == pytest.approx(0, abs=1e-6)


def test_classes_are_compared_with_pictures_that_lack_them():
    """Class 2 goes with blue, which its pixels follow by half; class 1 follows nothing."""
    images, maps = pictures()
    rng = np.random.default_rng(1)
    images[..., 2] = rng.integers(0, 60, images.shape[:3])
    second = rng.permutation(300) < 150
    images[second, ..., 2] += 100
    maps[second, 1:6, 24:31] = 2
    images[maps == 2] = 5, 5, 255

    def model(x):
        blue = np.broadcast_to((x[:, 0, 0, 2] > 80)[:, None, None], x.shape[:3])
        ones = of_object(x) > 0.5
        twos = (x[..., 2] > 200) * (0.5 + 0.5 * blue)
        return np.stack([1 - np.maximum(ones, twos), ones, twos], axis=-1)

    verdict = evaluated((images, maps), model)
    assert verdict.per_class[1] == pytest.approx(0, abs=0.03)
    assert verdict.per_class[2] == pytest.approx(0.5, abs=0.03)
    assert verdict.cause == "background"


def test_what_would_move_a_region_is_not_tested():
    shortcuts = Shortcuts(pictures())
    assert {"position", "scale", "mark"} <= shortcuts.not_tested.keys()
    assert "background" in shortcuts.nuisances
    assert shortcuts.component_sets is None
    verdict = Evaluator(shortcuts, of_ground).evaluate(0)
    assert "a region stays where it is labelled" in verdict.text


def test_few_pictures_and_datasets():
    images, maps = pictures(80)
    assert Shortcuts((images, maps)).origins is not None
    assert evaluated((images, maps), of_ground).gaps["background"][0] == pytest.approx(1, abs=0.01)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 10

        def __getitem__(self, index):
            rows = slice(30 * index, 30 * index + 30)
            return images[rows], maps[rows][..., None]

    images, maps = pictures()
    verdict = evaluated(Batches(), of_ground, task="segmentation")
    assert verdict.gaps["background"][0] == pytest.approx(1, abs=0.01)


def test_groups_are_large_regions_and_pictures_without():
    maps = np.zeros((6, 20, 20), np.uint8)
    maps[0, :5, :5] = 1
    maps[1, 0, 0] = 1  # too small
    maps[2, :19] = 1  # nearly everything
    maps[3, :5, :5] = 255
    maps[4, :9] = 2
    groups = {k: index.tolist() for k, index in Segmentation().groups(maps).items()}
    assert groups == {1: [0], 2: [4], -2: [3, 4, 5], -3: [0, 1, 2, 3, 5]}
    codes = np.array(list(groups))
    assert Segmentation().label_of(codes).tolist() == [1, 2, 1, 2]
    assert Segmentation().is_received(codes).tolist() == [True, True, False, False]
    assert [Segmentation().sides(k) for k in (1, 2)] == [(1, -2), (2, -3)]
    assert isinstance(task_of(maps), Segmentation)


def test_masks_are_the_regions_and_holes_of_their_shape():
    _, maps = pictures(8)
    groups = np.where(maps.any((1, 2)), 1, -2)
    masks = Segmentation().masks(maps, groups)
    np.testing.assert_array_equal(masks[groups == 1], maps[groups == 1])
    having = [mask.tobytes() for mask in masks[groups == 1]]
    assert [mask.tobytes() for mask in masks[groups == -2]] == having


def test_what_is_watched_is_the_mean_over_the_region_or_over_a_picture_without():
    rng = np.random.default_rng(0)
    regions = (rng.random((4, 6, 8)) < 0.3).astype(np.float32)
    examples = ImageSet(np.zeros((4, 6, 8, 3), np.uint8), np.array([2, -3, 1, -2]), regions)
    outputs = rng.dirichlet(np.ones(3), (4, 6, 8))
    expected = [
        outputs[0, ..., 2][regions[0] == 1].mean(),
        1 - outputs[1, ..., 2].mean(),
        outputs[2, ..., 1][regions[2] == 1].mean(),
        1 - outputs[3, ..., 1].mean(),
    ]
    found = Segmentation().watched(outputs, examples, np.arange(4))
    np.testing.assert_allclose(found, expected)


def test_label_maps_of_several_forms():
    images, maps = pictures(4)
    for form in (maps.astype(bool), maps * 255, maps[..., None], maps.astype(float), maps.tolist()):
        np.testing.assert_array_equal(as_label_maps(form, images), maps)
    unlabelled = np.where(maps, 3, 255)
    np.testing.assert_array_equal(as_label_maps(unlabelled, images), unlabelled)


IMAGES, MAPS = pictures(40)


@pytest.mark.parametrize(
    ("given", "options", "error", "reason"),
    [
        ((IMAGES, MAPS[:, :9]), {}, ValueError, r"images' size.*\(40, 9, 32\)"),
        ((IMAGES, MAPS[:7]), {}, ValueError, r"images' size.*\(7, 24, 32\)"),
        ((IMAGES, np.eye(2)[MAPS]), {}, ValueError, r"argmax.*\(40, 24, 32, 2\)"),
        ((IMAGES, MAPS * 0.5), {}, ValueError, "whole numbers.*from 0 to 0.5"),
        ((IMAGES, MAPS * 300.0), {}, ValueError, "from 0 to 254.*to 300"),
        ((IMAGES, MAPS - 1.0), {}, ValueError, "from -1"),
        ((IMAGES, MAPS.astype(str)), {}, TypeError, "whole numbers.*<U"),
        ((IMAGES, MAPS * 0), {}, ValueError, r"no class has both.*classes \[\]"),
        ((IMAGES[1::2], MAPS[1::2]), {}, ValueError, r"no class has both.*classes \[1\]"),
        ((IMAGES, MAPS, MAPS), {}, ValueError, r"are the masks.*\(40, 24, 32\)"),
        ((IMAGES, MAPS), {"grounds": IMAGES}, ValueError, "grounds.*segmentation"),
        ((IMAGES, MAPS), {"nuisances": ["position"]}, ValueError, "Nothing can be tested.*stays"),
        ((IMAGES, MAPS), {"task": "classification"}, ValueError, "task='classification'"),
    ],
)
def test_what_is_no_segmentation_is_refused(given, options, error, reason):
    with pytest.raises(error, match=f"(?s){reason}"):
        Shortcuts(given, **options)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (Head("softmax", None, (3,)), r"at every place.*\(3,\)"),
        (Head("softmax", None, (768, 3)), r"at every place.*\(768, 3\)"),
        (Head("values", None, (24, 32, 1)), "values of shape.*head='softmax'"),
        (Head("softmax", None, (24, 32, 2)), "from 0 to 1.*class 2"),
    ],
)
def test_a_model_of_another_task_is_refused(head, reason):
    def check():
        Segmentation().check_positions(head)
        Segmentation().check_head(head, np.array([1, 2]))

    with pytest.raises(ValueError, match=reason):
        check()


def test_a_head_is_not_retrained_on_maps():
    model = network(1)
    with pytest.raises(ValueError, match=r"one class each.*label maps"):
        ks.retrain_head(model, Shortcuts(pictures(), nuisances=["background"]))


def network(units):
    keras.utils.set_random_seed(0)
    activation = "sigmoid" if units == 1 else "softmax"
    inputs = keras.Input((*SIZE, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    scene = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Add()([x, layers.Conv2D(8, 1)(scene)])  # at every pixel
    x = layers.Conv2D(8, 1, activation="relu", name="features")(x)
    model = keras.Model(inputs, layers.Conv2D(units, 1, activation=activation)(x))
    # Not the sparse one, which fails on torch behind a convolution.
    loss = "binary_crossentropy" if units == 1 else "categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.02), loss)
    return model


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("blurred", [True, False])
def test_a_fit(tmp_path, units, blurred):
    """Where squares look like the rest of their row, a net looks at the ground."""
    images, maps = pictures(240, agreement=float(blurred))
    if blurred:  # The place of a square can't be seen, and only the ground tells there is one.
        images[maps == 1, 0] = 60
        images[maps == 1, 1] = 90
        images[:, 8:17, 8:24, :2] = 60, 90
        images[:, 8:17, 8:24, 2] = 50
        maps = np.zeros_like(maps)
        maps[1::2, 8:17, 8:24] = 1
    shortcuts = Shortcuts((images, maps), nuisances=["background", "frame"])
    watch = ks.SaliencyCallback(
        images[:3], tmp_path, shortcuts=shortcuts, target=ks.Target(1, region="predicted")
    )
    model = network(units)
    targets = maps[..., None] if units == 1 else np.eye(2)[maps]
    if blurred:
        with pytest.warns(UserWarning, match="relies on the background"):
            model.fit(images, targets, epochs=12, verbose=0, callbacks=[watch])
        assert watch.verdict.cause == "background"
        assert watch.verdict.gaps["background"][0] > 0.3
    else:
        model.fit(images, targets, epochs=12, verbose=0, callbacks=[watch])
        assert not watch.verdict.text.startswith("can't say")
        assert watch.verdict.gaps["background"][0] < 0.15
    # The truth for what the network sees of original pictures.
    answers = model.predict(images, verbose=0)[..., -1]
    sheet = watch.verdict.sheets["background"]
    own = [row[0] for row in sheet.watched]
    inside = np.array([p[m == 1].mean() for p, m in zip(answers[1::2], maps[1::2], strict=True)])
    assert all(np.abs(inside - p).min() < 1e-3 for p in own)


@pytest.mark.parametrize(
    ("units", "top", "reason"), [(1, 2, "from 0 to 1.*class 2"), (2, 3, "from 0 to 1.*class 3")]
)
def test_a_class_that_the_model_lacks_is_refused_before_training(tmp_path, units, top, reason):
    images, maps = pictures(200)
    shortcuts = Shortcuts((images, maps * top), nuisances=["background"])
    watch = ks.SaliencyCallback(images[:3], tmp_path, shortcuts=shortcuts, target=ks.Target(1))
    with pytest.raises(ValueError, match=reason):
        network(units).fit(images, maps[..., None], verbose=0, callbacks=[watch])
