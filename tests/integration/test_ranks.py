"""Signals and volumes: every method, in fit, and how their maps are drawn."""

import functools

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import keras_saliency as ks
from keras_saliency import methods
from keras_saliency.data.frames import chosen_frames, mosaic_of
from keras_saliency.drawing import heatmap

from helpers.transformers import ATTENTION

QUICK = {
    "blur_integrated_gradients": {"steps": 4},
    "expected_gradients": {"samples": 4},
    "integrated_gradients": {"steps": 4},
    "smooth_grad": {"samples": 3},
    "square_grad": {"samples": 3},
    "var_grad": {"samples": 3},
}
# RISE draws a number for each axis; attention runs over tokens, which have no rank.
SAME = sorted({*methods.available()} - ATTENTION - {"rise"})


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, "float32")


def network(size, kernel, rank):
    """A small smooth network of one rank, its weights drawn in the same order at every rank."""
    conv = {1: kl.Conv1D, 2: kl.Conv2D, 3: kl.Conv3D}[rank]
    pool = {1: kl.GlobalAveragePooling1D, 2: kl.GlobalAveragePooling2D}.get(
        rank, kl.GlobalAveragePooling3D
    )
    model = keras.Sequential(
        [
            keras.Input(size),
            conv(4, kernel, activation="softplus", name="low"),
            conv(3, kernel, activation="gelu", name="top"),
            pool(),
            kl.Dense(3, activation="softmax", name="head"),
        ]
    )
    random = np.random.default_rng(1)
    for weight in model.weights:
        fan_in = np.prod(weight.shape[:-1]) or 1
        weight.assign(random.normal(size=weight.shape) / np.sqrt(fan_in))
    return model


def quick(name):
    return functools.partial(methods.get(name), **QUICK.get(name, {}))


@pytest.mark.parametrize("name", SAME)
def test_a_signal_is_explained_like_an_image_of_one_row(name):
    signals = pictures(3, 15, 2)
    one = ks.explain(
        network((15, 2), 3, 1), ks.Probes(signals, kind="signal"), quick(name), target=1
    )
    two = ks.explain(
        network((1, 15, 2), (1, 3), 2), _shown(signals[:, None]), quick(name), target=1
    )
    assert one.maps.ndim == 2
    np.testing.assert_allclose(one.maps, two.maps[:, 0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", SAME)
def test_a_volume_of_one_frame_is_explained_like_an_image(name):
    images = pictures(2, 7, 9, 3)
    three = ks.explain(network((1, 7, 9, 3), (1, 3, 3), 3), images[:, None], quick(name), target=1)
    two = ks.explain(network((7, 9, 3), (3, 3), 2), images, quick(name), target=1)
    assert three.maps.ndim == 4
    np.testing.assert_allclose(three.maps[:, 0], two.maps, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("shape", "kind"), [((15, 2), "signal"), ((6, 7, 9, 3), None)])
@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "cam"])
def test_cams_are_the_head_s_weights_times_the_layer(shape, kind, name):
    """With global average pooling these CAMs are known; here they are computed by hand."""
    images = pictures(2, *shape)
    model = network(shape, 3, len(shape) - 1)
    found = ks.explain(model, ks.Probes(images, kind=kind), name, target=2)
    grid = images
    for layer in ("low", "top"):
        grid = ops.convert_to_numpy(model.get_layer(layer)(grid))
    wanted = grid @ ops.convert_to_numpy(model.get_layer("head").kernel)[:, 2]
    if name != "cam":
        wanted = np.maximum(wanted, 0) / np.prod(grid.shape[1:-1])
    assert found.layer == "top"
    np.testing.assert_allclose(found.maps, wanted, rtol=1e-4, atol=1e-6)


def linear(shape):
    model = keras.Sequential([keras.Input(shape), kl.Flatten(), kl.Dense(2, name="head")])
    kernel = np.random.default_rng(2).normal(size=(int(np.prod(shape)), 2))
    model.get_layer("head").kernel.assign(kernel)
    return model, kernel[:, 1].reshape(shape)


@pytest.mark.parametrize(
    ("shape", "kind"), [((15, 2), "signal"), ((15,), "signal"), ((4, 5, 6), "volume")]
)
def test_gradient_x_input_of_a_linear_model(shape, kind):
    """Also of signals and volumes whose model takes no axis of channels."""
    images = pictures(2, *shape)
    model, kernel = linear(shape)
    found = ks.explain(model, ks.Probes(images, kind=kind), "gradient_x_input", target=1)
    wanted = images * kernel
    wanted = wanted.sum(-1) if len(shape) == 2 else wanted
    np.testing.assert_allclose(found.maps, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("shape", "kind"), [((12, 1), "signal"), ((4, 6, 8, 1), None)])
def test_rise_finds_what_alone_counts(shape, kind):
    spot = (8,) if kind else (2, 4, 3)
    model, _ = linear(shape)
    kernel = np.zeros((*shape, 2), "float32")
    kernel[(*spot, 0, 1)] = 1
    model.get_layer("head").kernel.assign(kernel.reshape(-1, 2))
    rise = functools.partial(methods.get("rise"), samples=400, cells=3 if kind is None else 6)
    found = ks.explain(model, ks.Probes(np.ones((1, *shape)), kind=kind), rise, target=1)
    peak = np.unravel_index(found.maps[0].argmax(), found.maps.shape[1:])
    assert np.abs(np.subtract(peak, spot)).max() <= 1


FITS = {"signal": ((15, 2), "signal", (13,)), "volume": ((6, 7, 9, 3), None, (4, 5, 7))}


@pytest.mark.parametrize("what", FITS)
def test_fit_watches_signals_and_volumes(what, tmp_path):
    shape, kind, grid = FITS[what]
    x, y = pictures(4, *shape), np.array([0, 1, 2, 0])
    model = network(shape, 3, len(shape) - 1)
    model.compile("sgd", "sparse_categorical_crossentropy")
    probes = ks.Probes(x, y, kind=kind)
    watch = ks.SaliencyCallback(
        probes, tmp_path, ["saliency", "grad_cam"], layer="low", strict=True
    )
    model.fit(x, y, verbose=0, callbacks=[watch])
    found = ks.explain(model, probes, "grad_cam", target="label", layer="low")
    assert found.maps.shape == (4, *grid)
    events = EventAccumulator(str(tmp_path / "saliency"), size_guidance={"tensors": 0})
    events.Reload()
    last = {tag: events.Tensors(tag)[-1].tensor_proto for tag in events.Tags()["tensors"]}
    peak = float(tensor_util.make_ndarray(last["your-probes/peak-grad-cam/01_1"]))
    assert peak == pytest.approx(found.maps[1].max(), rel=1e-5)
    assert {"grad-cam/01_1", "saliency/03_0", "film-strip/grad-cam"} <= last.keys()


def test_the_heat_of_a_signal_is_under_its_curve():
    """A step from low to high: the curve stays dark, the heat is where the map's cell is."""
    signal = np.repeat([[0.0, 1.0]], 10, axis=1).reshape(1, 20, 1)
    picture = ks.Probes(signal, kind="signal").display[0]
    dark = (picture < 100).all(-1)
    rows = np.arange(picture.shape[0])[:, None]
    left, right = dark[:, : picture.shape[1] // 2 - 12], dark[:, picture.shape[1] // 2 + 12 :]
    assert (left * rows).sum() / left.sum() > 100 > 20 > (right * rows).sum() / right.sum()
    map_ = np.zeros(5, "float32")
    map_[3] = 2
    drawn = heatmap.overlay(picture, map_)
    heat = np.abs(drawn.astype(int) - picture).sum(-1)
    columns = np.arange(picture.shape[1]) + 0.5
    assert (heat * columns).sum() / heat.sum() == pytest.approx(0.7 * picture.shape[1], abs=3)
    assert (drawn[dark] < 110).all()
    assert (drawn[:, : picture.shape[1] // 2 - 5] == picture[:, : picture.shape[1] // 2 - 5]).all()


def test_channels_have_lanes_and_scales_of_their_own():
    waves = np.sin(np.linspace(0, 20, 80))
    signal = np.stack([waves, 1000 * waves, np.full(80, 7.0)], axis=-1)[None]
    lanes = np.split(ks.Probes(signal, kind="signal").display[0], 3)
    np.testing.assert_array_equal(lanes[0], lanes[1])
    assert (lanes[2] < 100).all(-1).any(axis=1).sum() <= 2


def test_many_channels_are_rows_of_grey_the_first_at_the_bottom():
    signal = np.zeros((1, 6, 8))
    signal[0, 5, 0] = 1
    picture = ks.Probes(signal, kind="signal").display[0]
    height, width = picture.shape[:2]
    assert (picture[-height // 8 :, -width // 6 :] == 90).all()
    assert (picture[: -height // 8 - 1] == 255).all()


def test_a_strip_shows_at_most_eight_frames_evenly_chosen():
    volume = np.broadcast_to(np.arange(22.0)[:, None, None, None] * 10, (1, 22, 5, 9, 1))
    picture = ks.Probes(volume.astype("uint8")).display[0]
    cells = [cell for row in np.split(picture, 2) for cell in np.split(row, 4, axis=1)]
    middles = [int(cell[cell.shape[0] // 2, cell.shape[1] // 2, 0]) for cell in cells]
    assert middles == [0, 30, 60, 90, 120, 150, 180, 210]


@pytest.mark.parametrize(("frames", "cells"), [(12, 12), (12, 3), (3, 3)])
def test_a_frame_is_heated_where_its_own_map_is(frames, cells):
    """The last third of the volume has a peak in the map's lower right corner, the rest none."""
    probes = ks.Probes(np.full((1, frames, 6, 8, 3), 0.5))
    map_ = np.zeros((cells, 3, 4), "float32")
    map_[cells - cells // 3 :, 2, 3] = 1
    drawn = heatmap.overlay(probes.display[0], map_, frames=frames)
    changed = (drawn != probes.display[0]).any(-1)
    rows, columns = mosaic_of(frames)
    heated = [
        (corner.any(), rest.any())
        for row in np.split(changed, rows)
        for cell in np.split(row, columns, axis=1)
        for corner, rest in [(cell[-10:, -10:], cell[: cell.shape[0] // 3])]
    ]
    assert heated[-1] == (True, False)
    assert heated[0] == (False, False)
    assert not any(rest for _, rest in heated)


def test_every_frame_has_the_scale_of_the_whole_volume():
    """A peak in a frame that is not shown leaves those that are shown pale."""
    probes = ks.Probes(np.full((1, 15, 6, 8, 3), 0.5))
    even, hidden = np.ones((15, 6, 8), "float32"), np.ones((15, 6, 8), "float32")
    hidden[1, 3, 3] = 100
    assert 1 not in chosen_frames(15)
    strength = [
        np.abs(heatmap.overlay(probes.display[0], map_, frames=15).astype(int) - 128).mean()
        for map_ in (even, hidden)
    ]
    assert strength[1] < strength[0] / 10


@pytest.mark.parametrize("what", FITS)
def test_explanations_of_other_ranks_are_drawn(what, tmp_path):
    shape, kind, _ = FITS[what]
    probes = ks.Probes(pictures(2, *shape), kind=kind)
    found = ks.explain(network(shape, 3, len(shape) - 1), probes, "saliency", target=0)
    assert found.frames == (6 if what == "volume" else 1)
    overlay = heatmap.overlay(probes.display[1], found.maps[1], frames=found.frames)
    np.testing.assert_array_equal(found.overlay()[1], overlay)
    found.plot().savefig(tmp_path / "plot.png")
    panels = np.asarray(Image.open(tmp_path / "plot.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(panels, axis=0)) > 100
    cells = [axes.images[0].get_array() for axes in found.plot().axes if axes.images][1]
    wanted = {"signal": (1, 15), "volume": (14, 27)}[what]
    assert cells.shape == wanted
    assert cells.max() == pytest.approx(found.maps[0].max())


WRONG = {
    "kind": (lambda: ks.Probes(pictures(2, 5, 6), kind="curve"), "one of 'image', 'signal'"),
    "signal": (
        lambda: ks.Probes(pictures(2, 5, 6, 3), kind="signal"),
        r"\(batch, time, channels\)",
    ),
    "volume": (lambda: ks.Probes(pictures(2, 5, 6), kind="volume"), "frames, height, width, chan"),
    "said": (lambda: ks.Probes(pictures(2, 15, 3)), 'kind="signal"'),
    "display": (
        lambda: ks.Probes(pictures(2, 4, 5, 6, 7), display=pictures(2, 3, 5, 6, 3)),
        "of 4 frames per probe",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_shapes_that_do_not_fit_are_refused(wrong):
    build, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        build()


def test_masks_have_the_frames_of_the_volume():
    volume = pictures(2, 4, 5, 6, 3)
    mask = np.zeros((2, 4, 5, 6))
    mask[:, 1:3] = 1
    np.testing.assert_array_equal(ks.Probes(volume, masks=mask).masks, mask)
    with pytest.raises(ValueError, match=r"\(2, 4, 5, 6\)"):
        ks.Probes(volume, masks=mask[:, 0])


def test_a_display_of_a_volume_has_its_frames():
    shown = np.zeros((1, 10, 5, 6, 3), "uint8")
    shown[0, 9] = 200
    picture = ks.Probes(pictures(1, 10, 5, 6, 7), display=shown).display[0]
    assert picture[-9, -9].tolist() == [200] * 3
    assert picture[9, 9].tolist() == [0] * 3


def test_signals_are_drawn_from_a_dataset():
    x, y = pictures(6, 15, 2), np.arange(6) % 2
    for elements in ([(x, y)], [*zip(x, y, strict=True)]):
        probes = ks.Probes.from_dataset(elements, per_class=3, kind="signal")
        np.testing.assert_array_equal(np.sort(probes.images[:, 0, 0]), np.sort(x[:, 0, 0]))


def test_the_verdict_refuses_signals(tmp_path):
    model = network((15, 2), 3, 1)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = pictures(4, 15, 2), np.array([0, 1, 2, 0])
    with pytest.warns(UserWarning, match="no verdict"):
        donors = ks.Shortcuts((pictures(4, 9, 12, 3), y))
    watch = ks.SaliencyCallback(ks.Probes(x, y, kind="signal"), tmp_path, shortcuts=donors)
    with pytest.raises(ValueError, match=r"a model of images or videos.*signals"):
        model.fit(x, y, verbose=0, callbacks=[watch])


def _shown(images):
    return ks.Probes(images, display=np.zeros((*images.shape[:3], 1)))
