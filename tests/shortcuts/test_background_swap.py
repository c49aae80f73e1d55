import keras
import numpy as np
import pytest
from keras import ops

import keras_saliency as ks

SIZE = (21, 34)
PAINT = 250  # the objects' grey; all grounds are darker
GROUNDS = np.array([[10, 90, 30], [60, 20, 110], [120, 70, 0], [30, 30, 140], [0, 150, 80]])


def pictures(count=5):
    """Draw squares, in different places, on grounds of different colours, with their masks."""
    images = np.empty((count, *SIZE, 3), np.uint8)
    masks = np.zeros((count, *SIZE), np.float32)
    images[:] = GROUNDS[:count, None, None]
    for i in range(count):
        masks[i, 3 + 2 * i : 9 + 2 * i, 4 + 5 * i : 10 + 5 * i] = 1
    images[masks == 1] = PAINT
    return images, masks


def swapped(layer, images, masks, **options):
    return ops.convert_to_numpy(layer((images, masks), **options)[0])


def sources(images, masks):
    """Find whose ground each picture has where its own object is not."""
    grounds = np.stack([i[m == 0].mean(axis=0) for i, m in zip(images, masks, strict=True)])
    return np.abs(grounds[:, None] - GROUNDS).sum(-1).argmin(1)


def test_objects_stay_and_each_ground_is_another_pictures():
    images, masks = pictures()
    found = swapped(ks.BackgroundSwap(1, seed=0), images, masks)
    assert found.dtype == np.float32
    donors = sources(found, masks)
    assert sorted(donors) == list(range(5))
    assert (donors != np.arange(5)).all()
    for i, j in enumerate(donors):
        # Of one colour is also the place of the donor's object: nothing is left of it.
        expected = np.where(masks[i][..., None] == 1, images[i], GROUNDS[j])
        np.testing.assert_allclose(found[i], expected, atol=1e-3)


def test_what_is_known_of_the_donors_ground_is_kept_to_the_bit():
    images, masks = pictures()
    noise = np.random.default_rng(0).integers(0, 40, images.shape, np.uint8)
    images = np.where(masks[..., None] == 1, images, images + noise)
    found = swapped(ks.BackgroundSwap(1, seed=0), images, masks)
    for i, j in enumerate(sources(found, masks)):
        np.testing.assert_array_equal(found[i][masks[i] == 1], PAINT)
        near = np.zeros(SIZE, bool)  # the donor's object and its margin of one pixel
        rows, columns = np.nonzero(masks[j])
        near[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2] = True
        known = (masks[i] == 0) & ~near
        np.testing.assert_array_equal(found[i][known], images[j][known])
        filled = found[i][near & (masks[i] == 0)]
        around = images[j][~near]
        assert (filled >= around.min(axis=0) - 1e-3).all()
        assert (filled <= around.max(axis=0) + 1e-3).all()


def test_a_hole_is_filled_from_its_own_surroundings():
    """Left half dark, right half bright: a hole on the left must not become grey."""
    images = np.zeros((2, *SIZE, 3), np.float32)
    images[:, :, 17:] = 200
    masks = np.zeros((2, *SIZE), np.float32)
    masks[0, 8:12, 3:7], masks[1, 0, 0] = 1, 1
    images[0, 8:12, 3:7] = PAINT
    found = swapped(ks.BackgroundSwap(1, seed=0), images, masks)[1]
    assert found[8:12, 3:7].max() < 20
    assert found[:, 17:].min() == 200


def test_soft_edges_are_blended():
    images, masks = pictures(2)
    soft = masks * 0.25
    found = swapped(ks.BackgroundSwap(1, seed=0), images, soft)
    expected = np.tile(0.25 * PAINT + 0.75 * GROUNDS[1], (36, 1))
    np.testing.assert_allclose(found[0][masks[0] == 1], expected, atol=1e-3)


@pytest.mark.parametrize("form", ["bool", "column", "bytes"])
def test_masks_come_in_several_forms(form):
    images, masks = pictures()
    given = {
        "bool": masks > 0,
        "column": masks[..., None],
        "bytes": (255 * masks).astype(np.uint8),
    }[form]
    expected = swapped(ks.BackgroundSwap(1, seed=0), images, masks)
    found = swapped(ks.BackgroundSwap(1, seed=0), images, given)
    np.testing.assert_array_equal(found, expected)


def test_a_dict_is_handed_on_with_what_else_it_holds():
    images, masks = pictures()
    given = {"images": images, "masks": masks, "labels": np.arange(5)}
    found = ks.BackgroundSwap(1, seed=0)(given)
    assert set(found) == set(given)
    expected = swapped(ks.BackgroundSwap(1, seed=0), images, masks)
    np.testing.assert_array_equal(ops.convert_to_numpy(found["images"]), expected)
    np.testing.assert_array_equal(ops.convert_to_numpy(found["labels"]), np.arange(5))


def test_nothing_is_swapped_at_inference_or_with_a_factor_of_zero():
    images, masks = pictures()
    layer = ks.BackgroundSwap(1, seed=0)
    np.testing.assert_array_equal(swapped(layer, images, masks, training=False), images)
    np.testing.assert_array_equal(swapped(ks.BackgroundSwap(0, seed=0), images, masks), images)


def test_the_factor_is_the_share_that_is_swapped():
    images, masks = pictures()
    many, of_many = np.tile(images, (80, 1, 1, 1)), np.tile(masks, (80, 1, 1))
    found = swapped(ks.BackgroundSwap(0.3, seed=0), many, of_many)
    changed = (abs(found - many) > 1).any((1, 2, 3))
    # One in five donors has the same ground by chance.
    assert changed.mean() == pytest.approx(0.3 * 0.8, abs=0.07)


def test_each_call_draws_anew_and_a_seed_repeats_them():
    images, masks = pictures()

    def drawn(seed):
        layer = ks.BackgroundSwap(0.5, seed=seed)
        return [swapped(layer, images, masks) for _ in range(4)]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert len({one.tobytes() for one in first}) > 1
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pictures_without_an_object_or_a_ground_neither_give_nor_take():
    images, masks = pictures()
    masks[1], masks[3] = 0, 1
    found = [swapped(ks.BackgroundSwap(1, seed=s), images, masks) for s in range(6)]
    for one in found:
        np.testing.assert_array_equal(one[[1, 3]], images[[1, 3]])
        took = np.flatnonzero((one != images).any((1, 2, 3)))
        assert not {1, 3} & set(sources(one[took], masks[took]))
    assert any((one != images).any() for one in found)


def test_a_batch_of_one_stays_as_it_is():
    images, masks = pictures(1)
    np.testing.assert_array_equal(swapped(ks.BackgroundSwap(1), images, masks), images)


@pytest.mark.needs(package="tensorflow", why="the layer runs in a tf.data.Dataset")
def test_in_tf_data_each_batch_is_swapped_within():
    import tensorflow as tf

    images, masks = pictures()
    swap = ks.BackgroundSwap(1, seed=0)
    batches = tf.data.Dataset.from_tensor_slices((images, masks, np.arange(5))).batch(3)
    found = list(batches.map(lambda x, m, y: (swap((x, m))[0], y)).as_numpy_iterator())
    assert [batch.shape for batch, _ in found] == [(3, *SIZE, 3), (2, *SIZE, 3)]
    donors = [sources(x, masks[y]).tolist() for x, y in found]
    assert donors[0] in ([1, 2, 0], [2, 0, 1])
    assert np.abs(found[1][0][0][masks[3] == 0] - GROUNDS[4]).max() < 1e-3
    for batch, labels in found:
        assert (batch[masks[labels] == 1] == PAINT).all()


def test_in_a_model_it_is_saved_and_trains_but_does_not_predict(tmp_path):
    images, masks = pictures()
    inputs = keras.Input((*SIZE, 3)), keras.Input(SIZE)
    seen, _ = ks.BackgroundSwap(1, seed=4, name="swap")(inputs)
    keras.Model(inputs, seen).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    layer = model.get_layer("swap")
    assert (layer.factor, layer.seed) == (1, 4)
    floats = images.astype("float32")
    np.testing.assert_array_equal(model.predict([floats, masks], verbose=0), floats)
    trained = ops.convert_to_numpy(model([floats, masks], training=True))
    assert (sources(trained, masks) != np.arange(5)).all()


def test_half_precision_gives_half_precision():
    images, masks = pictures()
    layer = ks.BackgroundSwap(1, seed=0, dtype="mixed_float16")
    found = swapped(layer, images, masks)
    assert found.dtype == np.float16
    whole = swapped(ks.BackgroundSwap(1, seed=0), images, masks)
    np.testing.assert_allclose(found, whole, atol=0.2)


IMAGES, MASKS = pictures(2)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (IMAGES, TypeError, "make_masks"),
        ((IMAGES,), TypeError, "Received: tuple"),
        ({"images": IMAGES}, TypeError, r"Received: \['images'\]"),
        ((IMAGES, MASKS[:, :9]), ValueError, r"\(21, 34\).*masks\.shape=\(2, 9, 34\)"),
        ((IMAGES[0], MASKS[0]), ValueError, r"batch.*images\.shape=\(21, 34, 3\)"),
    ],
)
def test_wrong_input_is_named(given, error, message):
    with pytest.raises(error, match=message):
        ks.BackgroundSwap()(given)


@pytest.mark.parametrize(
    ("factor", "error"),
    [(1.5, ValueError), (-0.1, ValueError), ("1", TypeError), (True, TypeError)],
)
def test_a_wrong_factor_is_named(factor, error):
    with pytest.raises(error, match=rf"from 0 to 1.*factor={factor!r}"):
        ks.BackgroundSwap(factor)
