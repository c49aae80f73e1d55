import pickle

import numpy as np
import pytest

from keras_saliency.data.probes import Probes
from keras_saliency.data.synthetic import scenes
from keras_saliency.shortcuts.experiment import DEFAULT, Shortcuts
from keras_saliency.shortcuts.nuisances import Nuisance
from keras_saliency.shortcuts.tasks.multi_label import MultiLabel

SIZE = (24, 32)


def pictures(per_class=(110, 110), seed=0):
    """Grey squares on noise, all different, with labels and masks."""
    labels = np.repeat(np.arange(len(per_class)), per_class)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (len(labels), *SIZE, 3), np.uint8)
    images[:, 8:16, 10:20] = 220
    masks = np.zeros((len(labels), *SIZE), np.float32)
    masks[:, 8:16, 10:20] = 1
    order = rng.permutation(len(labels))
    return images[order], labels[order], masks


def as_set(array):
    return {picture.tobytes() for picture in array}


@pytest.fixture(scope="module")
def drawn():
    return scenes(300, size=(32, 40), seed=1)


def test_receivers_are_64_of_all_classes_alike_and_never_donors():
    images, labels, masks = pictures((200, 200))
    shortcuts = Shortcuts((images, labels, masks))
    assert np.bincount(shortcuts.receivers.labels).tolist() == [32, 32]
    assert np.bincount(shortcuts.donors.labels).tolist() == [128, 128]
    donors, receivers = as_set(shortcuts.donors.pixels), as_set(shortcuts.receivers.pixels)
    assert not donors & receivers
    assert donors | receivers <= as_set(images)
    by_picture = {picture.tobytes(): label for picture, label in zip(images, labels, strict=True)}
    for part in (shortcuts.donors, shortcuts.receivers):
        assert [by_picture[p.tobytes()] for p in part.pixels] == part.labels.tolist()


def test_the_choice_is_the_same_every_time_and_random():
    images, labels, masks = pictures((400, 400))
    first, again = (Shortcuts((images, labels, masks)).donors.pixels for _ in range(2))
    np.testing.assert_array_equal(first, again)
    of_class_0 = np.flatnonzero(labels == 0)
    assert as_set(first) & as_set(images[of_class_0[-50:]])


def test_few_examples_go_to_the_donors_before_the_receivers():
    shortcuts = Shortcuts(pictures((90, 200)))
    assert np.bincount(shortcuts.receivers.labels).tolist() == [26, 26]
    assert np.bincount(shortcuts.donors.labels).tolist() == [64, 128]
    assert shortcuts.obstacle is None


def test_too_few_donors_are_told_before_training():
    images, labels, masks = pictures((95, 200))
    given = np.concatenate([np.flatnonzero(labels == k)[:16] for k in (0, 1)])
    few = (labels == 1) | (np.cumsum(labels == 0) < 26)
    with pytest.warns(UserWarning, match="no verdict on shortcuts: 9 donors a class, 64 needed"):
        shortcuts = Shortcuts(
            (images[few], labels[few], masks[few]),
            receivers=(images[given], labels[given], masks[given]),
        )
    assert shortcuts.obstacle == "9 donors a class, 64 needed"


def test_too_few_pictures_to_share_out_are_told_as_such():
    with pytest.warns(UserWarning, match="12 pictures a class, 20 needed"):
        few = Shortcuts(pictures((12, 30)))
    assert few.obstacle == "12 pictures a class, 20 needed"
    # Two classes, but the receivers have other ones.
    images, labels, masks = pictures((120, 120, 40, 40))
    some, others = labels < 2, labels > 1
    with pytest.warns(UserWarning, match="share fewer than two classes"):
        Shortcuts(
            (images[some], labels[some], masks[some]),
            receivers=(images[others], labels[others], masks[others]),
        )


def test_what_is_said_to_be_enough_is_enough_and_less_is_not():
    assert Shortcuts(pictures((20, 20))).obstacle is None
    with pytest.warns(UserWarning, match=r"19 pictures a class, 20 needed\. About 80 pictures"):
        Shortcuts(pictures((19, 19)))


def test_a_rare_class_is_left_out_where_two_others_are_enough():
    shortcuts = Shortcuts(pictures((120, 20, 120)))
    assert shortcuts.classes.tolist() == [0, 2]
    assert set(shortcuts.receivers.labels) == set(shortcuts.donors.labels) == {0, 2}


def test_many_classes_are_thinned_out():
    images, labels, masks = pictures((90,) * 14)
    with pytest.warns(UserWarning, match="10 of the 14 classes, drawn at random") as told:
        shortcuts = Shortcuts((images, labels, masks))
    assert len(told) == 1
    listed = ", ".join(map(str, shortcuts.classes))
    assert f"at random: {listed}." in str(told[0].message)
    assert len(shortcuts.classes) == 10
    assert (np.bincount(shortcuts.donors.labels)[shortcuts.classes] >= 64).all()
    assert shortcuts.classes.max() > 9


def test_many_classes_are_told_by_their_names():
    images, labels, masks = pictures((80,) * 11)
    probes = Probes(images, labels, masks=masks, class_names=list("abcdefghijk"))
    with pytest.warns(UserWarning, match=r"10 of the 11 classes.*: ([a-k], ){9}[a-k]\."):
        Shortcuts(probes)


def test_of_many_classes_those_with_enough_pictures_are_drawn():
    counts = np.where(np.arange(24) % 2, 85, 20)
    with pytest.warns(UserWarning, match="10 of the 24 classes"):
        shortcuts = Shortcuts(pictures(counts))
    assert shortcuts.obstacle is None
    assert len(shortcuts.classes) == 10
    assert (shortcuts.classes % 2 == 1).all()


def test_chance_is_that_of_all_classes_of_which_some_are_tested():
    with pytest.warns(UserWarning, match="10 of the 40 classes"):
        shortcuts = Shortcuts(pictures((85,) * 40))
    assert (len(shortcuts.classes), shortcuts.task.count) == (10, 40)
    assert Shortcuts(pictures((120, 20, 120))).task.count == 3


@pytest.mark.parametrize("as_dataset", [False, True])
def test_many_classes_of_few_pictures_are_one_warning_with_the_way_out(as_dataset):
    images, labels, _ = pictures((4,) * 300)
    with pytest.warns(UserWarning, match="4 pictures a class, 20 needed") as told:
        Shortcuts(_Batches([(images, labels)]) if as_dataset else (images, labels), masks=None)
    assert len(told) == 1
    assert ("pass arrays where classes are many" in str(told[0].message)) == as_dataset


def test_given_receivers_have_the_classes_of_the_donors_however_many_there_are():
    images, labels, masks = pictures((80,) * 13)
    last = labels != 12
    with pytest.warns(UserWarning, match="10 of the 13 classes") as told:
        shortcuts = Shortcuts(
            (images, labels, masks), receivers=(images[last] + 1, labels[last], masks[last])
        )
    assert len(told) == 1
    assert set(shortcuts.receivers.labels) == set(shortcuts.donors.labels) - {12}
    assert len(shortcuts.classes) >= 9


def test_given_receivers_are_taken_and_kept_out_of_the_donors():
    images, labels, masks = pictures()
    mine = slice(0, 40)
    shortcuts = Shortcuts(
        (images, labels, masks), receivers=(images[mine], labels[mine], masks[mine])
    )
    assert as_set(shortcuts.receivers.pixels) == as_set(images[mine])
    assert as_set(shortcuts.donors.pixels) == as_set(images[40:])


def test_few_receivers_are_warned_of_and_misfits_refused():
    images, labels, masks = pictures()
    with pytest.warns(UserWarning, match="8 receivers are few"):
        Shortcuts((images, labels, masks), receivers=(images[:8], labels[:8], masks[:8]))
    with pytest.raises(ValueError, match="one size"):
        Shortcuts((images, labels, masks), receivers=(images[:40, :12], labels[:40]))
    with pytest.raises(ValueError, match="one range"):
        Shortcuts((images, labels, masks), receivers=(images[:40] / 255, labels[:40]))


def test_masks_are_made_unless_given_or_declined(drawn):
    made = Shortcuts((drawn.images, drawn.labels))
    assert made.masks_from == "border colours"
    by_picture = dict(zip(map(np.ndarray.tobytes, drawn.images), drawn.masks, strict=True))
    true = np.stack([by_picture[p.tobytes()] for p in made.donors.pixels]) > 0.5
    found = made.donors.masks > 0.5
    assert ((true & found).sum((1, 2)) / (true | found).sum((1, 2))).mean() > 0.6

    given = Shortcuts((drawn.images, drawn.labels, drawn.masks), masks=None)
    assert given.masks_from == "given"
    expected = np.stack([by_picture[p.tobytes()] for p in given.receivers.pixels])
    np.testing.assert_allclose(given.receivers.masks, expected)

    none = Shortcuts((drawn.images, drawn.labels), masks=None)
    assert none.donors.masks is None
    assert none.not_tested == dict.fromkeys(("background", "position", "scale"), "no masks")
    assert tuple(none.nuisances) == (
        *("cast", "texture", "frame", "mark"),
        *("exposure", "light", "compression", "resolution"),
    )


def test_what_is_meant_can_be_pickled():
    images, labels, masks = pictures()
    shortcuts = Shortcuts((images, labels, masks), meant=["cast"])
    copy = pickle.loads(pickle.dumps(shortcuts))
    assert {name for name, n in copy.nuisances.items() if not n.alarms} == {"cast"}
    i, j = np.array([0, 1]), np.array([5, 6])
    made, again = (
        one.receivers.counterfactuals(one.nuisances["background"].twins, one.donors, i, j)
        for one in (shortcuts, copy)
    )
    np.testing.assert_array_equal(made.pixels, again.pixels)


def test_boxes_become_masks():
    images, labels, masks = pictures()
    shortcuts = Shortcuts((images, labels, np.tile([10, 8, 20, 16], (len(images), 1))))
    assert shortcuts.masks_from == "boxes"
    np.testing.assert_array_equal(shortcuts.donors.masks[0], masks[0])


def test_masks_that_look_wrong_are_left_out_or_given_up():
    drawn = scenes(300, size=(32, 40), seed=2)
    images = drawn.images.copy()
    plain = np.flatnonzero(np.arange(300) % 10 == 0)
    images[plain] = np.arange(30, dtype=np.uint8)[:, None, None, None]
    shortcuts = Shortcuts((images, drawn.labels))
    assert not as_set(shortcuts.donors.pixels) & as_set(images[plain])
    images[:200] = (np.arange(200) % 250).astype(np.uint8)[:, None, None, None]
    with pytest.warns(UserWarning, match="look wrong"):
        shortcuts = Shortcuts((images, drawn.labels))
    assert shortcuts.donors.masks is None
    assert shortcuts.not_tested == dict.fromkeys(
        ("background", "position", "scale"),
        "can't say, masks made by a program miss the objects; pass yours",
    )


def test_useless_masks_are_left_out_and_all_useless_refused():
    images, labels, masks = pictures()
    masks[:6], masks[6:10] = 0, 1
    with pytest.warns(UserWarning, match="10 of 220 masks are empty or cover everything"):
        shortcuts = Shortcuts((images, labels, masks))
    assert not as_set(shortcuts.donors.pixels) & as_set(images[:10])
    with pytest.raises(ValueError, match="100% and 0%"):
        Shortcuts((images, labels, np.zeros_like(masks)))


@pytest.mark.filterwarnings("ignore:The images' values")
def test_what_has_no_colours_or_no_black_is_not_tested_for_its_cast():
    images, labels, masks = pictures()
    grey = Shortcuts((images[..., :1], labels, masks))
    assert grey.not_tested == {"cast": "1 channels instead of three"}
    standardised = (images / 255.0 - 0.3) / 0.11
    unknown = Shortcuts((standardised, labels, masks))
    assert set(unknown.not_tested) == {"cast", "exposure", "light"}
    assert all("which value is black" in reason for reason in unknown.not_tested.values())
    np.testing.assert_allclose(
        np.sort(unknown.to_input(unknown.donors.pixels).ravel())[[0, -1]],
        [standardised.min(), standardised.max()],
        atol=1e-4,
    )


def test_preprocess_makes_the_models_input():
    images, labels, masks = pictures()
    shortcuts = Shortcuts((images, labels, masks), preprocess=lambda x: x / 127.5 - 1)
    made = shortcuts.to_input(shortcuts.receivers.pixels)
    np.testing.assert_allclose(made, shortcuts.receivers.pixels / 127.5 - 1, atol=1e-5)


def test_probes_and_datasets_are_read():
    images, labels, masks = pictures()
    of_probes = Shortcuts(Probes(images, labels, masks=masks, class_names=["a", "b"]))
    assert of_probes.class_names == ("a", "b")
    assert of_probes.masks_from == "given"
    batches = [(images[k : k + 50], labels[k : k + 50]) for k in range(0, 220, 50)]
    of_batches = Shortcuts.of(_Batches(batches))
    assert as_set(of_batches.donors.pixels) <= as_set(images)
    assert Shortcuts.of(of_batches) is of_batches
    assert Shortcuts.of((images, labels, masks)).masks_from == "given"


class _Batches:
    """A dataset that is neither a list nor an array."""

    def __init__(self, batches):
        self._batches = batches

    def __iter__(self):
        return iter(self._batches)


def test_donors_among_the_probes_are_counted():
    images, labels, masks = pictures()
    shortcuts = Shortcuts((images, labels, masks))
    donors = shortcuts.donors.pixels.astype(np.float32)
    assert shortcuts.share_among(donors) == 1
    assert shortcuts.share_among(donors[: len(donors) // 2]) == 0.5
    assert shortcuts.share_among(donors + 1) == 0


def test_donors_that_are_the_probes_give_no_verdict_with_these_probes():
    images, labels, masks = pictures()
    shortcuts = Shortcuts((images, labels, masks))
    inputs = images.astype(np.float32)
    with pytest.warns(UserWarning, match="100% of the donors are the pictured probes"):
        shortcuts.meet(inputs)
    assert shortcuts.obstacle == "donors are not from the training data"
    shortcuts.meet(inputs[:60])
    assert shortcuts.obstacle is None
    with pytest.warns(UserWarning, match="pictures"):
        few = Shortcuts(pictures((9, 9)))
    few.meet(inputs)
    assert few.obstacle.startswith("9 pictures")


def labelled_pictures(count=400, labels=3, seed=0):
    """Pictures of which each has any of the labels; label 1 is rarer."""
    images, _, masks = pictures((count,), seed)
    rows = np.random.default_rng(seed).random((count, labels)) < 0.5
    rows[:, 1] &= np.arange(count) % 2 == 0
    return images, rows.astype(np.int64), masks


def test_of_several_labels_each_is_compared_with_and_without():
    images, rows, masks = labelled_pictures()
    shortcuts = Shortcuts((images, rows, masks))
    assert shortcuts.task == MultiLabel(3)
    assert shortcuts.classes.tolist() == [0, 1, 2]
    receivers, donors = shortcuts.receivers, shortcuts.donors
    assert np.bincount(receivers.labels).tolist() == [21, 21, 21]
    assert (np.bincount(donors.labels) >= 64).all()
    assert not as_set(receivers.pixels) & as_set(donors.pixels)
    known = {picture.tobytes(): row for picture, row in zip(images, rows, strict=True)}
    of_receivers, of_donors = (
        np.stack([known[picture.tobytes()] for picture in part.pixels])
        for part in (receivers, donors)
    )
    assert (np.take_along_axis(of_receivers, receivers.labels[:, None], 1) == 1).all()
    same, other = shortcuts.task.compared(receivers.labels, donors.labels)
    for label, with_it, without in zip(receivers.labels, same, other, strict=True):
        assert (of_donors[with_it, label] == 1).all()
        assert (of_donors[without, label] == 0).all()
    assert same.sum(1).min() >= 64
    assert other.sum(1).min() >= 64


def test_a_label_that_too_few_have_or_all_have_is_left_out():
    images, rows, masks = labelled_pictures(labels=4)
    rows[20:, 1], rows[:, 2] = 0, 1
    assert Shortcuts((images, rows, masks)).classes.tolist() == [0, 3]
    with pytest.warns(UserWarning, match="pictures a label, 20 needed"):
        Shortcuts((images[:30], rows[:30], masks[:30]))


def test_one_label_of_several_is_enough():
    images, rows, masks = labelled_pictures(labels=2)
    rows[:, 1] = 1
    shortcuts = Shortcuts((images, rows, masks))
    assert (shortcuts.obstacle, shortcuts.classes.tolist()) == (None, [0])


def test_many_labels_are_thinned_out_and_told_once():
    images, rows, masks = labelled_pictures(500, labels=9)
    with pytest.warns(UserWarning, match="5 of the 9 labels, drawn at random") as told:
        shortcuts = Shortcuts((images, rows, masks))
    assert len(told) == 1
    assert f"random: {', '.join(map(str, shortcuts.classes))}." in str(told[0].message)
    assert len(shortcuts.classes) == 5


def test_given_receivers_of_several_labels():
    images, rows, masks = labelled_pictures()
    mine = slice(0, 80)
    shortcuts = Shortcuts((images, rows, masks), receivers=(images[mine], rows[mine], masks[mine]))
    assert shortcuts.receivers.labels.max() < 3
    assert as_set(shortcuts.receivers.pixels) <= as_set(images[mine])
    assert as_set(shortcuts.donors.pixels) <= as_set(images[80:])
    with pytest.raises(ValueError, match="labels of one kind"):
        Shortcuts((images, rows, masks), receivers=(images[mine], rows[mine, :2], masks[mine]))


IMAGES, LABELS, MASKS = pictures((3, 3))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((IMAGES, None), {}, ValueError, "needs one class.*Received: none"),
        ((IMAGES, LABELS * 0), {}, ValueError, "one only.*sorted by class"),
        ((IMAGES, MASKS), {}, ValueError, r"segmentation.*labels\.shape=\(6, 24, 32\)"),
        ((IMAGES, np.ones((6, 3))), {}, ValueError, r"all have the same.*\(6, 3\).*\[1.0, 1.0"),
        ((IMAGES, np.full((6, 3), 0.5)), {}, ValueError, r"one number.*labels\.shape=\(6, 3\)"),
        ((IMAGES, LABELS[:4]), {}, ValueError, "one per image"),
        ((IMAGES, LABELS, MASKS[:4]), {}, ValueError, r"masks\.shape=\(4, 24, 32\)"),
        ((IMAGES, LABELS, MASKS[:, :9]), {}, ValueError, r"\(6, 9, 32\)"),
        ((IMAGES,), {}, TypeError, "1 entries"),
        (IMAGES, {}, TypeError, "need labels"),
        ((IMAGES, LABELS), {"masks": MASKS.tolist()}, ValueError, "go with the donors"),
        ((IMAGES, LABELS), {"nuisances": ("tint",)}, ValueError, r"\('tint',\)"),
        ((IMAGES, LABELS), {"nuisances": "cast"}, ValueError, "'cast'"),
        ((IMAGES, LABELS), {"nuisances": ()}, ValueError, r"nuisances=\(\)"),
        (
            (IMAGES, LABELS),
            {"nuisances": (Nuisance("cast", "the cast", max),)},
            ValueError,
            "name of its own.*name='cast'",
        ),
        ((IMAGES, LABELS), {"every": 0}, ValueError, "every=0"),
        ((IMAGES, LABELS), {"threshold": 20}, ValueError, "threshold=20"),
        ((IMAGES, LABELS), {"grounds": IMAGES[:3, 1:]}, ValueError, "grounds.*donors' shape"),
        ((IMAGES, LABELS), {"meant": ["place"]}, ValueError, r"meant=\['place'\]"),
        ((IMAGES, LABELS), {"meant": "mark"}, ValueError, "meant='mark'"),
        ((IMAGES, LABELS), {"meant": DEFAULT}, ValueError, "not all, of the nuisances"),
        ((IMAGES, LABELS), {"threshold": np.nan}, ValueError, "threshold=nan"),
        ((IMAGES, LABELS), {"threshold": "0.2"}, TypeError, "must be a number.*threshold='0.2'"),
        ((IMAGES, LABELS), {"threshold": True}, TypeError, "threshold=True"),
        (
            (IMAGES, LABELS),
            {"masks": None, "nuisances": ("background",)},
            ValueError,
            "Nothing can be tested: {'background': 'no masks'}",
        ),
        (Probes(IMAGES, LABELS), {"preprocess": abs}, ValueError, "of their own"),
    ],
)
def test_bad_input_is_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        Shortcuts(arguments, **options)
