"""The animated GIF, as Pillow reads it."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_saliency.drawing.animation import animation

SIZES = [(48, 64), (64, 30), (37, 128)]


def columns(count, n=5, size=(48, 64), noise=False):
    """Moments of one grey each, from dark to bright, or of noise."""
    random = np.random.default_rng(0)
    shape = (n, *size, 3)
    if noise:
        return [(f"epoch {i}", random.integers(0, 256, shape, np.uint8)) for i in range(count)]
    return [(f"epoch {i}", np.full(shape, 40 + 5 * i, np.uint8)) for i in range(count)]


def frames(made):
    """Each frame as RGB, and how long it stays."""
    gif = Image.open(io.BytesIO(made))
    assert gif.format == "GIF"
    found = []
    for i in range(gif.n_frames):
        gif.seek(i)
        found.append((np.asarray(gif.convert("RGB")).astype(int), gif.info["duration"]))
    return found


@pytest.mark.parametrize("size", SIZES)
def test_every_moment_is_a_frame_and_the_last_one_stays(size):
    made = animation(list("abcde"), columns(7, size=size), title="grad cam")
    assert Image.open(io.BytesIO(made)).size[0] == 350
    assert Image.open(io.BytesIO(made)).info["loop"] == 0
    found = frames(made)
    assert [pause for _, pause in found] == [500] * 6 + [2500]
    for i, (frame, _) in enumerate(found):
        cells = np.abs(frame - (40 + 5 * i)).max(axis=2) <= 2
        assert cells.sum() >= 5 * size[0] * size[1]


def test_the_bar_tells_how_far_it_has_come():
    made = animation(list("abcde"), columns(4), title="cam")
    dark = [(frame[27, :, 0] < 60).sum() for frame, _ in frames(made)]
    assert dark == pytest.approx([340 / 4, 340 / 2, 340 * 3 / 4, 340], abs=2)


@pytest.mark.parametrize(("count", "shown"), [(40, 40), (41, 21), (100, 25)])
def test_of_many_moments_at_most_forty_are_shown_and_the_last_one_always(count, shown):
    moments = [(str(i), np.full((1, 9, 12, 3), 2 * i, np.uint8)) for i in range(count)]
    found = frames(animation(["a"], moments, title="cam"))
    assert len(found) == shown
    last = np.abs(found[-1][0] - 2 * (count - 1)).max(axis=2) <= 4  # it has 256 colours in all
    assert last.sum() >= 9 * 12


def test_what_would_be_large_is_thinned_out():
    made = animation(["a"] * 16, columns(20, n=16, size=(64, 64), noise=True), title="cam")
    assert len(made) <= 2**20
    assert 2 <= len(frames(made)) < 20


def test_names_labels_and_title_show():
    def first(names="abcde", label="epoch 1", title="cam"):
        _, cells = columns(1)[0]
        made = animation(list(names), [(label, cells), ("end", cells)], title=title)
        return frames(made)[0][0]

    usual = first()
    assert (usual != first(names="abcdX")).any()
    assert (usual != first(label="epoch 2")).any()
    assert (usual != first(title="rise")).any()
    assert first(names=["w" * 99] * 5, label="w" * 99, title="w" * 99)[:, :4].min() >= 245
