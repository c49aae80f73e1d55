"""Datasets that are lists, iterators, PyDatasets or torch's; those of tf.data have a file."""

import functools
import random
import sys

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

from keras_saliency.data.probes import Probes

COUNT = 24
LABELS = np.arange(COUNT) % 3
# Every image is filled with its own number, so that it can be told which one was drawn.
IMAGES = np.broadcast_to(np.arange(COUNT, dtype=np.uint8)[:, None, None, None], (COUNT, 3, 5, 3))


def numbers(probes):
    return probes.images[:, 0, 0, 0].astype(int).tolist()


# --- what is chosen ----------------------------------------------------------------------------


def test_every_example_is_drawn_with_the_same_chance():
    batches = [IMAGES[i : i + 4] for i in range(0, COUNT, 4)]
    drawn = [n for s in range(200) for n in numbers(Probes.from_dataset(batches, seed=s))]
    counts = np.bincount(drawn, minlength=COUNT)
    expected = 200 * 4 / COUNT
    # Chi-squared of 23 degrees of freedom: above 49.7 with a chance of one in a thousand.
    assert ((counts - expected) ** 2 / expected).sum() < 49.7


def test_reading_stops_early_where_the_classes_are_known():
    read = []

    def batches():
        for _ in range(10_000):
            read.append(1)
            yield IMAGES, LABELS

    class Endless:
        def __iter__(self):
            return batches()

    Probes.from_dataset(Endless(), per_class=1, class_names=["a", "b", "c"])
    assert len(read) == 2  # the first batch twice, to see whether it is the same
    Probes.from_dataset(Endless(), per_class=1)
    assert 80 < len(read) < 90


def test_classes_that_mix_are_not_read_on():
    read = []

    def batches():
        for _ in range(10_000):
            read.append(1)
            yield IMAGES, LABELS

    with pytest.warns(UserWarning, match="missing in the training"):
        Probes.from_dataset(batches(), per_class=1)
    assert len(read) == -(-2000 // COUNT)


@pytest.mark.parametrize("step", [1, -1], ids=["upwards", "downwards"])
def test_whole_targets_that_do_not_repeat_are_not_read_on(step):
    class Targets:
        def __iter__(self):
            for i in range(0, 20_000, 100):
                read.append(1)
                yield np.zeros((100, 2, 3, 1)), np.arange(20_000)[::step][i : i + 100]

    read = []
    Probes.from_dataset(Targets(), per_class=1)
    assert len(read) == 1 + 20


def test_a_single_class_is_said():
    with pytest.warns(UserWarning, match="No class but 1 was met.*`take`") as caught:
        Probes.from_dataset([(IMAGES, np.ones(COUNT, int))])
    assert caught[0].filename == __file__


# --- other datasets ----------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    """Twelve batches of two, brightened by a generator of its own."""

    def __init__(self, endless=False):
        super().__init__()
        self.rng = np.random.default_rng(5)
        self.endless = endless

    @property
    def num_batches(self):
        return None if self.endless else 12

    def __getitem__(self, index):
        start = 2 * index % COUNT
        batch = slice(start, start + 2)
        brightness = self.rng.random() * 0.4 + np.random.random() * 0.4
        return IMAGES[batch].astype(np.float32) + brightness, LABELS[batch]


def test_a_pydataset_is_read_by_index_and_its_generators_stay():
    dataset, stateless_copy = Batches(), Batches()
    np.random.seed(0)
    expected = np.random.get_state()[1].tolist()
    probes = Probes.from_dataset(dataset, per_class=2)
    assert probes.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [number % 3 for number in numbers(probes)] == probes.labels.tolist()
    assert dataset.rng.random() == stateless_copy.rng.random()
    assert np.random.get_state()[1].tolist() == expected


class Augmented(keras.utils.PyDataset):
    """Two batches, brightened by a layer that draws from seeds of its own."""

    def __init__(self):
        super().__init__()
        self.layer = keras.layers.RandomBrightness(0.3, seed=1)

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(12 * index, 12 * index + 12)
        return self.layer(IMAGES[rows].astype("float32"), training=True), LABELS[rows]


def test_the_seeds_of_layers_in_a_pydataset_stay():
    read, unread = Augmented(), Augmented()
    Probes.from_dataset(read, per_class=1)
    for index in range(2):
        ours, theirs = (keras.ops.convert_to_numpy(one[index][0]) for one in (read, unread))
        np.testing.assert_array_equal(ours, theirs)


def test_an_endless_pydataset_comes_to_an_end():
    assert len(Probes.from_dataset(Batches(endless=True), per_class=1)) == 3


@pytest.mark.needs(package="torch", why="reads its DataLoader")
def test_a_torch_loader_is_read_and_its_order_stays():
    import torch

    pairs = torch.utils.data.TensorDataset(torch.tensor(IMAGES), torch.tensor(LABELS))
    for generator in (None, torch.Generator().manual_seed(3)):

        def epoch(loader):
            return [number for images, _ in loader for number in images[:, 0, 0, 0].tolist()]

        loader = torch.utils.data.DataLoader(pairs, 4, shuffle=True, generator=generator)
        state = generator.get_state() if generator else None
        torch.manual_seed(1)
        expected = epoch(loader), epoch(loader)
        torch.manual_seed(1)
        if generator:
            generator.set_state(state)
        probes = Probes.from_dataset(loader, per_class=2)
        assert (epoch(loader), epoch(loader)) == expected
        assert [number % 3 for number in numbers(probes)] == probes.labels.tolist()


# --- what is read is not moved -----------------------------------------------------------------


class Brightens:
    """An augmentation of its own, with all that such code holds."""

    def __init__(self):
        self.rng, self.python = np.random.default_rng(1), random.Random(2)
        self.counts, self.order = {"calls": [0]}, np.arange(8)
        self.layers = [keras.layers.RandomBrightness(0.3, seed=1)]
        self.seeds = keras.random.SeedGenerator(4)

    def __call__(self, image):
        self.counts["calls"][0] += 1
        self.rng.shuffle(self.order)
        drawn = self.rng.random() + self.python.random() + self.counts["calls"][0]
        seeded = ops.convert_to_numpy(keras.random.uniform((), seed=self.seeds))
        image = np.asarray(image, "float32") / 8 + drawn + self.order[0] + seeded
        return ops.convert_to_numpy(self.layers[0](image, training=True))


class ByIndex(keras.utils.PyDataset):
    """Batches by index."""

    def __init__(self, transform):
        super().__init__()
        self.transform, self.counts = transform, {"read": 0}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.counts["read"] += 1
        rows = slice(6 * index, 6 * index + 6)
        return self.transform(IMAGES[rows]) + self.counts["read"], LABELS[rows]


class ByIterator:
    """Batches in an order of its own, which the epoch decides."""

    def __init__(self, transform):
        self.transform, self.epoch, self.rng = transform, 0, np.random.RandomState(3)

    def __iter__(self):
        self.epoch += 1
        for index in self.rng.permutation(4):
            rows = slice(6 * index, 6 * index + 6)
            yield self.transform(IMAGES[rows]) + self.epoch, LABELS[rows]


def in_closure(transform):
    """A dataset whose transform stands in a closure, and counts there."""
    count = 0

    def counted(images):
        nonlocal count
        count += 1
        return transform(images) + count

    return ByIterator(counted)


def of_keras_generator(transform):
    """The iterator of Keras's old `ImageDataGenerator`, by index, with a seed of its own."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    made = ImageDataGenerator(horizontal_flip=True)
    images = IMAGES.astype("float32") + np.arange(5, dtype="float32")[:, None]
    return made.flow(images, LABELS, batch_size=6, seed=4)


def by_torch(transform, **options):
    import torch

    class Pairs(torch.utils.data.Dataset):
        def __init__(self):
            self.transform, self.rng = transform, np.random.default_rng(9)

        def __len__(self):
            return COUNT

        def __getitem__(self, index):
            image = self.transform(IMAGES[index]) + self.rng.random()
            return torch.tensor(image), torch.tensor(LABELS[index])

    return torch.utils.data.DataLoader(Pairs(), **({"batch_size": 6} | options))


class OwnBatches:
    """A `batch_sampler` with a generator of its own."""

    def __init__(self):
        import torch

        self.generator, self.rng = torch.Generator().manual_seed(5), np.random.default_rng(6)

    def __len__(self):
        return 4

    def __iter__(self):
        import torch

        order = self.rng.permutation(torch.randperm(COUNT, generator=self.generator).numpy())
        yield from order.reshape(4, 6).tolist()


NEEDS_TORCH = pytest.mark.needs(package="torch", why="reads its DataLoader")
MOVABLE = [
    ByIndex,
    ByIterator,
    in_closure,
    of_keras_generator,
    *(
        pytest.param(functools.partial(by_torch, **options), marks=NEEDS_TORCH, id=str(i))
        for i, options in enumerate([{"shuffle": True}, {"batch_size": 4, "drop_last": True}])
    ),
    pytest.param(
        lambda transform: by_torch(transform, batch_size=1, batch_sampler=OwnBatches()),
        marks=NEEDS_TORCH,
        id="batch_sampler",
    ),
]


def epochs(dataset, count=2):
    """What an epoch after the other yields, as Keras reads a dataset."""
    order = range(len(dataset)) if hasattr(dataset, "__getitem__") else None
    found = []
    for _ in range(count):
        batches = dataset if order is None else (dataset[i] for i in order)
        found += [np.array(images).tobytes() for images, _ in batches]
    return found


@pytest.mark.parametrize("build", MOVABLE)
@pytest.mark.parametrize("in_use", [False, True], ids=["new", "in use"])
def test_a_dataset_that_was_read_yields_what_one_does_that_was_not(build, in_use):
    def prepared():
        dataset = build(Brightens())
        np.random.seed(1)
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(1)
        if in_use:
            epochs(dataset, 1)
        return dataset

    unread = epochs(prepared())
    read = prepared()
    assert len(Probes.from_dataset(read, per_class=2)) == 6
    assert epochs(read) == unread
    assert len(set(unread)) == len(unread)  # or nothing would have been shown


@NEEDS_TORCH
@pytest.mark.parametrize("in_use", [False, True], ids=["new", "in use"])
def test_processes_of_a_loader_that_live_on_are_not_moved(in_use):
    """Each holds a copy of the dataset, whose generator goes on from epoch to epoch."""
    import torch

    def prepared():
        options = {"num_workers": 1, "persistent_workers": True, "shuffle": True}
        loader = by_torch(NumpyBrightens(), **options, generator=torch.Generator().manual_seed(2))
        if in_use:
            epochs(loader, 1)
        return loader

    unread = epochs(prepared())
    read = prepared()
    Probes.from_dataset(read, per_class=2)
    assert epochs(read) == unread


class NumpyBrightens:
    """An augmentation that may run in a process that was forked."""

    def __init__(self):
        self.rng, self.count = np.random.default_rng(1), 0

    def __call__(self, image):
        self.count += 1
        return np.asarray(image, "float32") + self.rng.random() + self.count


class Hidden:
    """Counts where nothing can be put back: in an iterator."""

    def __init__(self):
        self.counts = iter(range(10**9))

    def __iter__(self):
        for start in range(0, COUNT, 6):
            rows = slice(start, start + 6)
            yield IMAGES[rows] + np.float32(next(self.counts)), LABELS[rows]


def test_what_can_not_be_put_back_is_said():
    with pytest.warns(UserWarning, match=r"something else when it is read again.*pass arrays"):
        Probes.from_dataset(Hidden(), per_class=2)


@NEEDS_TORCH
def test_an_iterable_dataset_of_torch_is_iterated():
    import torch

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from zip(IMAGES, LABELS, strict=True)

    assert len(Probes.from_dataset(Stream(), per_class=2)) == 6


def test_pictures_of_pillow_with_labels():
    class Files:
        """As torchvision has them: by index, one picture with its class."""

        def __len__(self):
            return COUNT

        def __getitem__(self, index):
            return Image.fromarray(IMAGES[index]), index % 3

    probes = Probes.from_dataset(Files(), per_class=2)
    assert (
        [number % 3 for number in numbers(probes)] == probes.labels.tolist() == [0, 0, 1, 1, 2, 2]
    )


def test_an_iterator_loses_what_is_read_and_this_is_said():
    batches = iter([(IMAGES, LABELS)])
    with pytest.warns(UserWarning, match="missing in the training.*pass arrays"):
        assert len(Probes.from_dataset(batches, per_class=1)) == 3


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ([], ValueError, "no examples"),
        (3, TypeError, "int"),
        ({"image": IMAGES}, TypeError, "dict"),
        ([(IMAGES, {"class": LABELS})], TypeError, "dataset.map"),
        ([(IMAGES, LABELS[:5])], ValueError, "as many labels"),
        ([(IMAGES, 1)], ValueError, "as many labels"),
        ([{"image": IMAGES, "label": LABELS}], TypeError, "beside the images.*'image', 'label'"),
        ((IMAGES, LABELS), TypeError, r"for arrays `Probes\(images, labels\)`.*tuple"),
        ("animals", TypeError, "from_directory.*str"),
    ],
)
def test_what_is_no_dataset_of_images_is_refused(dataset, error, message):
    with pytest.raises(error, match=message):
        Probes.from_dataset(dataset)


@pytest.mark.parametrize("per_class", [0, 2.5, "2", True])
def test_per_class_must_be_a_positive_number(per_class):
    with pytest.raises(ValueError, match=f"per_class={per_class!r}"):
        Probes.from_dataset(Batches(), per_class=per_class)


# --- Probes.of ---------------------------------------------------------------------------------


def test_of_takes_what_a_callback_is_given(tmp_path):
    probes = Probes(IMAGES)
    assert Probes.of(probes) is probes
    assert len(Probes.of(IMAGES)) == len(Probes.of(list(IMAGES))) == COUNT
    assert Probes.of((IMAGES, LABELS)).labels.tolist() == LABELS.tolist()
    assert len(Probes.of(Batches())) == 12
    assert len(Probes.of([(IMAGES[:9], LABELS[:9]), (IMAGES[9:], LABELS[9:])])) == 12
    keras.utils.save_img(tmp_path / "1.png", IMAGES[1], scale=False)
    assert numbers(Probes.of(tmp_path)) == numbers(Probes.of(str(tmp_path))) == [1]


def test_of_gives_a_folder_the_size_and_channels_of_the_model(tmp_path):
    keras.utils.save_img(tmp_path / "1.png", IMAGES[1], scale=False)
    model = keras.Sequential([keras.Input((6, 4, 1)), keras.layers.Flatten()])
    assert Probes.of(tmp_path, model).images.shape == (1, 6, 4, 1)


def test_of_refuses_other_tuples():
    with pytest.raises(TypeError, match="3 entries"):
        Probes.of((IMAGES, LABELS, IMAGES[..., 0]))
