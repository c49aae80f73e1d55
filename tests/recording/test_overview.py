"""The overview sheet, by its pixels."""

import dataclasses

import numpy as np
import pytest

from keras_saliency.drawing import heatmap
from keras_saliency.recording.overview import Overview
from keras_saliency.recording.snapshot import Snapshot
from keras_saliency.recording.tensorboard.event_writer import encode_jpeg

PAPER = (250, 250, 250)


def seen(n, methods, **changes):
    random = np.random.default_rng(0)
    values = {
        "step": 4,
        "when": "epoch 5",
        "maps": {m: random.uniform(0.1, 1, (n, 5, 4)).astype("float32") for m in methods},
        "errors": {},
        "scores": np.ones(n, "float32"),
        "predicted": ["elephant"] * n,
        "confidence": np.full(n, 0.9),
        "probability": np.full(n, 0.9),
        "correct": [True] * n,
        "logs": {},
    }
    return Snapshot(**(values | changes))


def photos(n, height=39, width=52):
    """Each of one grey of its own."""
    greys = np.arange(n, dtype=np.uint8)[:, None, None, None] * 9 + 40
    return np.broadcast_to(greys, (n, height, width, 3)).copy()


def sheet(
    n=5, methods=("saliency", "grad_cam"), labels=None, size=(39, 52), of="logits", **changes
):
    names = [f"{i:02d}_cat" for i in range(n)]
    overview = Overview(names, photos(n, *size), labels or ["cat"] * n, of)
    return overview.draw(seen(n, methods, **changes))


def has(picture, part):
    """Whether a part is found in a picture, pixel for pixel."""
    height, width = part.shape[:2]
    begins = (picture[: 1 - height or None, : 1 - width or None] == part[0, 0]).all(axis=2)
    return any(
        np.array_equal(picture[y : y + height, x : x + width], part) for y, x in np.argwhere(begins)
    )


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 13])
@pytest.mark.parametrize("size", [(39, 52), (90, 31), (30, 150), (1, 9)])
def test_a_sheet_is_as_wide_as_the_cards_or_a_multiple(count, size):
    methods = [f"method_{i}" for i in range(count)]
    for probes in (3, 16, 40):
        height, width, _ = sheet(probes, methods, size=size).shape
        assert width == 350 * (1 if count <= 6 else 2 if count <= 12 else 3)
        assert height < 1024 * width / 350  # there is no scroll bar


def test_sixteen_probes_with_two_methods_need_no_scroll_bar_and_little_room():
    whole = sheet(40, size=(64, 64))
    assert whole.shape[0] < 1024
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)
    drawn = Overview(["a"] * 40, noise, ["cat"] * 40, "logits").draw(seen(40, ["a", "b"]))
    assert len(encode_jpeg(drawn)) < 400_000


def test_every_map_of_every_probe_is_drawn_on_its_picture():
    each = seen(3, ["saliency", "grad_cam"])
    whole = sheet(3)
    for maps in each.maps.values():
        for i in range(3):
            assert has(whole, heatmap.overlay(photos(3, 62, 82)[i], maps[i]))


def test_sixteen_probes_are_chosen_evenly_by_label():
    labels = ["cat"] * 30 + ["dog"] * 10
    whole = sheet(40, ["cam"], labels, maps={"cam": np.zeros((40, 3, 3))})
    shown = [i for i in range(40) if has(whole, photos(40, 6, 6)[i])]
    assert shown == [*range(8), *range(30, 38)]


@pytest.mark.parametrize(
    ("methods", "size", "count"),
    [
        (3, (64, 64), 16),  # two beside each other: 7 would fit below each other
        (3, (33, 64), 12),  # below each other: 16 beside each other would be half as wide
        (4, (64, 64), 9),  # two beside each other would be narrower than can be read
        (2, (80, 64), 14),
        (1, (32, 64), 5),  # low pictures need the whole width
    ],
)
def test_as_many_probes_as_fit_are_chosen_evenly(methods, size, count):
    names = [f"method_{i}" for i in range(methods)]
    none = {name: np.zeros((40, 3, 3)) for name in names}  # the pictures stand in grey
    whole = sheet(40, names, ["cat", "dog"] * 20, size, maps=none)
    shown = [i for i in range(40) if has(whole, photos(40, 6, 6)[i])]
    assert len(shown) == count
    assert abs(sum(i % 2 for i in shown) - count / 2) <= 0.5


def test_what_can_not_be_drawn_is_in_grey_and_a_sign_has_a_bar_of_its_own():
    maps = {"cam": np.zeros((2, 3, 3), "float32")}
    colour = np.ptp(sheet(2, ["cam"], maps=maps)[60:-30].astype(int), axis=2)
    assert (colour > 40).sum() < 400  # of the words that say who is right alone
    failed = sheet(2, ["cam"], maps={}, errors={"cam": "no layer"})
    assert has(failed, photos(2, 6, 6)[1])

    def blue(picture):
        footer = picture[-24:].astype(int)
        return ((footer[..., 2] - footer[..., 0]) > 150).sum()

    signed = {"cam": np.random.default_rng(0).normal(size=(2, 3, 3)).astype("float32")}
    assert blue(sheet(2, ["cam"], maps=signed)) > 50
    assert blue(sheet(2, ["cam"])) == 0
    plain = Overview(["a", "b"], photos(2), [None, None], "logits")
    signed, other = (
        dataclasses.replace(seen(2, ["cam"]), signed_methods=frozenset({name}))
        for name in ("cam", "another")
    )
    assert blue(plain.draw(signed)) > 50  # as it was signed before
    assert blue(plain.draw(other)) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"when": "epoch 6"},
        {"when": "epoch 5 (batch norm not settled)"},
        {"correct": [False] * 5},
        {"correct": [None] * 5},
        {"confidence": np.full(5, np.nan)},
    ],
)
def test_what_is_said_shows(changes):
    assert (sheet() != sheet(**changes)).any()


def test_what_is_explained_shows():
    assert (sheet()[-24:] != sheet(of="log_probability")[-24:]).any()


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_no_text_runs_out_of_its_place(count):
    long = "w" * 300
    methods = [f"{long}{i}" for i in range(count)]
    names = [f"{long}{i}" for i in range(5)]
    each = dataclasses.replace(
        seen(5, methods), when=long, predicted=[long] * 5, correct=[False] * 5
    )
    whole = Overview(names, photos(5), [long] * 5, long).draw(each)
    margin = 4 * whole.shape[1] // 350
    assert (whole[:, :margin] == PAPER).all()
    assert (whole[:, -margin:] == PAPER).all()


def test_of_some_probes_the_sheet_is_as_large_and_shows_them_alone():
    overview = Overview([f"{i:02d}_cat" for i in range(5)], photos(5), ["cat"] * 5, "logits")

    def drawn(changed=None):
        given = seen(5, ["saliency"])
        if changed is not None:
            given.maps["saliency"][changed] = np.eye(5, 4)
        return overview.draw(given, [1, 3])

    assert drawn().shape == overview.draw(seen(5, ["saliency"])).shape
    for probe in range(5):
        assert (drawn(probe) != drawn()).any() == (probe in (1, 3))
