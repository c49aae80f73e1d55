"""Reading a `tf.data.Dataset`: the training must not notice, and what is chosen."""

import random

import keras
import numpy as np
import pytest

from keras_saliency.data import sampling
from keras_saliency.data.probes import Probes

tf = pytest.importorskip("tensorflow", reason="reads tf.data.Datasets")

COUNT = 24
LABELS = np.arange(COUNT) % 3
# Every image is filled with its own number, so that it can be told which one was drawn.
IMAGES = np.broadcast_to(np.arange(COUNT, dtype=np.uint8)[:, None, None, None], (COUNT, 3, 5, 3))


def numbers(probes):
    return probes.images[:, 0, 0, 0].astype(int).tolist()


def source():
    return tf.data.Dataset.from_tensor_slices((IMAGES.copy(), LABELS))


# --- the training must not notice --------------------------------------------------------------


def reshuffled():
    return source().shuffle(COUNT, seed=3, reshuffle_each_iteration=True).batch(4).prefetch(1)


def default_shuffle():
    return source().shuffle(COUNT).batch(4)


def shuffled_once():
    return source().shuffle(COUNT, reshuffle_each_iteration=False).batch(4)


def shuffled_after_batching():
    return source().batch(4).shuffle(6)


def cached_before():
    return source().cache().shuffle(COUNT).batch(4)


def cached_after():
    return source().shuffle(COUNT).cache().batch(4)


def repeated():
    return source().shuffle(COUNT).repeat().batch(5).take(11)


def zipped():
    images, labels = source().map(lambda x, y: x), source().map(lambda x, y: y)
    both = (images.shuffle(COUNT, seed=1), labels.shuffle(COUNT, seed=2))
    return tf.data.Dataset.zip(both).batch(4)


def interleaved():
    parts = tf.data.Dataset.range(3).shuffle(3)
    return parts.interleave(lambda i: source().skip(i * 8).take(8).shuffle(8)).batch(4)


def from_generator():
    def examples():
        yield from zip(IMAGES, LABELS, strict=True)

    signature = (tf.TensorSpec((3, 5, 3), tf.uint8), tf.TensorSpec((), tf.int64))
    return tf.data.Dataset.from_generator(examples, output_signature=signature).shuffle(8).batch(4)


def global_streams_in_python():
    def noisy(x):
        return x + np.float32(np.random.random() + random.random())

    def apply(x, y):
        return tf.numpy_function(noisy, [tf.cast(x, tf.float32)], tf.float32), y

    return source().map(apply).batch(4)


def random_operation():
    return source().map(lambda x, y: (tf.cast(x, tf.float32) + tf.random.uniform(()), y)).batch(4)


def random_generator():
    generator = tf.random.Generator.from_seed(1)
    return source().map(lambda x, y: (tf.cast(x, tf.float32) + generator.uniform(()), y)).batch(4)


def random_layer():
    layer = keras.layers.RandomBrightness(0.3, seed=1)
    return source().batch(4).map(lambda x, y: (layer(x, training=True), y))


def random_numbers():
    noise = tf.data.Dataset.random(rerandomize_each_iteration=True).take(COUNT)
    return tf.data.Dataset.zip((source(), noise)).map(lambda xy, z: (xy[0], xy[1], z)).batch(4)


PIPELINES = [
    reshuffled,
    default_shuffle,
    shuffled_once,
    shuffled_after_batching,
    cached_before,
    cached_after,
    repeated,
    zipped,
    interleaved,
    from_generator,
    global_streams_in_python,
    random_operation,
    random_generator,
    random_layer,
    random_numbers,
]


def two_epochs(pipeline, look):
    """All that two epochs yield, and what the global random streams yield after them."""
    keras.utils.set_random_seed(0)
    dataset = pipeline()
    look(dataset)
    epochs = [
        [array.tolist() for batch in dataset.as_numpy_iterator() for array in batch]
        for _ in range(2)
    ]
    return epochs, float(tf.random.uniform(())), np.random.random(), random.random()


def no_look(dataset):
    pass


def plain_look(dataset):
    next(iter(dataset))


def our_look(dataset):
    Probes.from_dataset(dataset, per_class=1)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_reading_leaves_every_later_epoch_bit_for_bit_the_same(pipeline):
    assert two_epochs(pipeline, our_look) == two_epochs(pipeline, no_look)


@pytest.mark.parametrize(
    "pipeline", [reshuffled, default_shuffle, cached_before, random_generator, random_layer]
)
def test_a_plain_look_would_not(pipeline):
    assert two_epochs(pipeline, plain_look) != two_epochs(pipeline, no_look)


def test_a_file_cache_is_left_unwritten(tmp_path):
    dataset = source().cache(str(tmp_path / "cache")).batch(4)
    Probes.from_dataset(dataset, per_class=1)
    assert list(tmp_path.iterdir()) == []


def test_python_code_with_a_state_of_its_own_is_said():
    generator = np.random.default_rng(0)

    def apply(x, y):
        noise = tf.numpy_function(lambda: np.float32(generator.random()), [], tf.float32)
        return tf.ensure_shape(tf.cast(x, tf.float32) + noise, (3, 5, 3)), y

    with pytest.warns(UserWarning, match="state of its own.*pass arrays") as caught:
        Probes.from_dataset(source().map(apply).batch(4))
    (said,) = (one for one in caught if one.category is UserWarning)  # TensorFlow warns as well
    assert said.filename == __file__


@pytest.mark.parametrize("limit", [0, IMAGES.size])
def test_a_dataset_too_large_to_copy_is_read_and_this_is_said(monkeypatch, limit):
    monkeypatch.setattr("keras_saliency.data.tf_dataset._COPY_AT_MOST", limit)
    with pytest.warns(UserWarning, match="too large.*may shift.*pass arrays"):
        probes = Probes.from_dataset(source().shuffle(COUNT).batch(4), per_class=2)
    assert probes.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_dataset_that_cannot_be_copied_is_read_and_this_is_said(monkeypatch):
    def refuse(**_):
        raise tf.errors.UnimplementedError(None, None, "not this one")

    monkeypatch.setattr(tf.raw_ops, "DatasetToGraphV2", refuse)
    with pytest.warns(UserWarning, match="not this one.*pass arrays"):
        assert len(Probes.from_dataset(source().batch(4), per_class=2)) == 6


# --- what is chosen ----------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [False, True])
def test_each_class_gets_its_number_and_images_keep_their_labels(batched):
    dataset = source().batch(7) if batched else source()
    probes = Probes.from_dataset(dataset, per_class=2, class_names=["a", "b", "c"])
    assert probes.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [number % 3 for number in numbers(probes)] == probes.labels.tolist()
    assert len(set(numbers(probes))) == 6
    assert probes.names[0] == "00_a"


def test_the_seed_decides_the_choice():
    def choice(seed):
        return numbers(Probes.from_dataset(source().shuffle(COUNT).batch(4), seed=seed))

    assert choice(1) == choice(1)
    assert len({tuple(choice(seed)) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    "labels",
    [
        np.eye(3, dtype=np.float32)[LABELS],
        LABELS[:, None].astype(np.float32),
        np.array(["a", "b", "c"])[LABELS],
    ],
    ids=["one-hot", "column", "strings"],
)
def test_classes_of_every_kind_of_label(labels):
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES.copy(), labels)).batch(5)
    probes = Probes.from_dataset(dataset, per_class=2, class_names=["a", "b", "c"])
    assert probes.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [number % 3 for number in numbers(probes)] == probes.labels.tolist()


def test_without_classes_the_number_counts_all_together():
    images_only = tf.data.Dataset.from_tensor_slices(IMAGES.copy()).batch(5)
    assert Probes.from_dataset(images_only, per_class=3).labels is None
    assert len(Probes.from_dataset(images_only, per_class=3)) == 3
    regression = tf.data.Dataset.from_tensor_slices((IMAGES.copy(), LABELS + 0.5)).batch(5)
    assert Probes.from_dataset(regression, per_class=3).labels.dtype == np.float32
    several = np.array([[1, 1, 0], [0, 1, 1]])[LABELS % 2]
    several = tf.data.Dataset.from_tensor_slices((IMAGES.copy(), several)).batch(5)
    assert Probes.from_dataset(several, per_class=3).labels.shape == (3, 3)


def test_an_endless_dataset_comes_to_an_end():
    probes = Probes.from_dataset(source().shuffle(COUNT).repeat().batch(4), per_class=1)
    assert probes.labels.tolist() == [0, 1, 2]


def in_order(sizes, kind=int):
    """One class after the other: nothing is shuffled."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    if kind == "one-hot":
        labels = np.eye(len(sizes), dtype=np.float32)[labels]
    elif kind == "strings":
        labels = np.array(["a", "b", "c"])[labels]
    images = np.zeros((sum(sizes), 2, 3, 1), np.uint8)
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(64)


@pytest.mark.parametrize("kind", [int, "one-hot", "strings"])
def test_where_class_comes_after_class_more_is_read(kind):
    names = ["a", "b", "c"] if kind == "strings" else None
    dataset = in_order([2500, 2500, 40], kind)
    assert Probes.from_dataset(dataset, per_class=1, class_names=names).labels.tolist() == [0, 1, 2]


def test_reading_on_ends_as_well():
    with pytest.warns(UserWarning, match="No class but 0 was met.*shuffle it"):
        probes = Probes.from_dataset(in_order([10_050, 50]), per_class=2)
    assert probes.labels.tolist() == [0, 0]
    with pytest.warns(UserWarning, match="No example of b"):
        Probes.from_dataset(in_order([10_050, 50]), per_class=2, class_names=["a", "b"])


@pytest.mark.parametrize("kind", [int, "one-hot"])
def test_classes_that_are_still_to_come_are_said(kind):
    with pytest.warns(UserWarning, match="No class but 0, 1 was met.*shuffle it"):
        probes = Probes.from_dataset(in_order([5000, 5010, 50], kind), per_class=1)
    assert probes.labels.tolist() == [0, 1]


def test_reading_on_takes_no_more_than_some_seconds(monkeypatch):
    monkeypatch.setattr(sampling, "_PATIENCE", 0.0)
    with pytest.warns(UserWarning, match="No class but 0 was met.*shuffle it"):
        Probes.from_dataset(in_order([2500, 50]))


def test_targets_below_zero_are_drawn_from_all_together():
    regression = tf.data.Dataset.from_tensor_slices((IMAGES.copy(), -1 - LABELS)).batch(5)
    probes = Probes.from_dataset(regression, per_class=3)
    assert probes.labels.dtype == np.float32
    assert len(probes) == 3


def test_class_names_of_the_dataset_itself(tmp_path):
    for name in ("yak", "ant"):
        (tmp_path / name).mkdir()
        keras.utils.save_img(tmp_path / name / "1.png", IMAGES[1], scale=False)
    dataset = keras.utils.image_dataset_from_directory(
        tmp_path, image_size=(3, 5), batch_size=1, verbose=False
    )
    assert Probes.from_dataset(dataset).label_texts() == ["ant", "yak"]


def test_a_class_that_is_not_met_is_said():
    with pytest.warns(UserWarning, match="No example of d"):
        Probes.from_dataset(source().batch(4), class_names=["a", "b", "c", "d"])


def test_preprocess_is_applied_and_the_display_is_not_touched():
    probes = Probes.from_dataset(source().batch(4), preprocess=lambda x: x / 255 - 7)
    np.testing.assert_allclose(probes.images, probes.display / 255.0 - 7, rtol=1e-6)


def test_grey_batches_and_grey_single_images_are_told_apart():
    grey = IMAGES[..., 0]
    batches = tf.data.Dataset.from_tensor_slices((grey, LABELS)).batch(4)
    assert Probes.from_dataset(batches, per_class=1).images.shape == (3, 3, 5, 1)
    single = tf.data.Dataset.from_tensor_slices((IMAGES[..., :1], np.eye(3)[LABELS]))
    assert Probes.from_dataset(single, per_class=1).images.shape == (3, 3, 5, 1)


def test_weights_of_the_samples_are_passed_over():
    triples = tf.data.Dataset.from_tensor_slices((IMAGES.copy(), LABELS, np.ones(COUNT)))
    for dataset in (triples, triples.batch(1), triples.batch(5)):
        assert Probes.from_dataset(dataset, per_class=1).labels.tolist() == [0, 1, 2]


def test_of_takes_what_a_callback_is_given():
    assert len(Probes.of(tf.constant(IMAGES))) == COUNT
    assert len(Probes.of(source().batch(4))) == 12
