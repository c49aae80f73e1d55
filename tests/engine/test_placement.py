"""Where maps lie in the image when the model crops or pads it inside."""

import functools

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import keras_saliency as ks
from keras_saliency.metrics.localization import enrichment

SIZE = (48, 64, 3)
CELL = 4


def chain(moved, size=SIZE):
    """A network whose every cell is the mean of what it covers."""
    inputs = keras.Input(size)
    x = kl.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(moved(inputs))
    x = kl.AveragePooling2D(CELL, name="top")(x)
    x = kl.Dense(1, use_bias=False, kernel_initializer="ones")(kl.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x)


class Subclassed(keras.Model):
    """The same without a graph."""

    def __init__(self, moved):
        super().__init__()
        self.moved = moved
        self.conv = kl.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")
        self.top = kl.AveragePooling2D(CELL, name="top")
        self.pool, self.head = kl.GlobalAveragePooling2D(), kl.Dense(1, kernel_initializer="ones")

    def call(self, images):
        return self.head(self.pool(self.top(self.conv(self.moved(images)))))


class UsersCrop(kl.Layer):
    def call(self, images):
        return images[:, 8:40, 4:44]


def cut(images):
    return images[:, 8:40, 4:44]


def padded(images):
    return ops.pad(images, ((0, 0), (8, 8), (4, 0), (0, 0)))


def fitted(**how):
    return kl.Resizing(32, 32, **how)


# What moves the image, and for one cell of the grid its first row and column and its size.
MOVED = {
    "nothing": (lambda x: x, (8, 12), 4),
    "a crop at the centre": (kl.CenterCrop(32, 32), (16, 28), 4),
    "an uneven crop": (kl.Cropping2D(((4, 12), (8, 24))), (12, 20), 4),
    "a crop that cuts through cells": (kl.Cropping2D(((3, 0), (0, 5))), (11, 12), 4),
    "a slice": (cut, (16, 16), 4),
    "a slice in a Lambda": (kl.Lambda(cut), (16, 16), 4),
    "a slice in a layer of one's own": (UsersCrop(), (16, 16), 4),
    "padding": (kl.ZeroPadding2D(((8, 8), (4, 0))), (16, 12), 4),
    "padding by an operation": (padded, (16, 12), 4),
    "a mirror": (functools.partial(ops.flip, axis=2), (8, 12), 4),
    "resizing": (kl.Resizing(24, 32), (8, 16), 8),
    "resizing a crop": (fitted(crop_to_aspect_ratio=True), (12, 20), 6),
    "resizing with padding": (fitted(pad_to_aspect_ratio=True), (16, 24), 8),
}
SUBCLASSED = {f"{name}, subclassed": name for name in MOVED if "operation" not in name}
SUBCLASSED.pop("a mirror, subclassed")


def case(name):
    build = Subclassed if name in SUBCLASSED else chain
    moved, place, cell = MOVED[SUBCLASSED.get(name, name)]
    model, image = build(moved), np.full((1, *SIZE), 0.05, "float32")
    (row, column), mask = place, np.zeros((1, *SIZE[:2]))
    mask[:, row : row + cell, column : column + cell] = 1
    return model, np.where(mask[..., None] > 0, 1, image).astype("float32"), mask


def centroid(map_):
    """In pixels, of what is above the background."""
    weights = np.maximum(map_ - map_.max() / 2, 0)
    axes = [(np.arange(n) + 0.5) * whole / n for n, whole in zip(map_.shape, SIZE, strict=False)]
    return [float((weights.sum(1 - i) * axis).sum() / weights.sum()) for i, axis in enumerate(axes)]


@pytest.mark.parametrize("name", [*MOVED, *SUBCLASSED])
def test_a_cell_lies_where_the_model_saw_it(name):
    model, image, mask = case(name)
    wanted = [float(np.mean(np.nonzero(mask[0])[axis])) + 0.5 for axis in (0, 1)]
    methods = ["hires_cam", "grad_cam", "score_cam", "eigen_cam"]
    for method, layer in [*((name, "top") for name in methods), ("layer_cam", ["top", "top"])]:
        maps = ks.explain(model, image, method, target=np.ones(1), layer=layer).maps
        np.testing.assert_allclose(centroid(maps[0]), wanted, atol=1)


@pytest.mark.parametrize("name", ["a crop at the centre", "an uneven crop", "a slice"])
def test_maps_are_those_of_the_crop_and_zero_around_it(name):
    model, image, mask = case(name)
    maps = ks.explain(model, image, "hires_cam", target=np.ones(1), layer="top").maps
    kept = np.zeros(SIZE[:2])
    rows, columns = {
        "a crop at the centre": (slice(8, 40), slice(16, 48)),
        "an uneven crop": (slice(4, 36), slice(8, 40)),
        "a slice": (slice(8, 40), slice(4, 44)),
    }[name]
    kept[rows, columns] = image[0, rows, columns].sum(axis=-1)
    cells = kept.reshape(12, 4, 16, 4).mean(axis=(1, 3))
    count = np.count_nonzero(cells)
    np.testing.assert_allclose(maps[0], cells / count, rtol=1e-5)
    share = cells[mask[0].reshape(12, 4, 16, 4).mean(axis=(1, 3)) > 0].sum() / cells.sum()
    np.testing.assert_allclose(enrichment(maps, mask), share * 48 * 64 / 16, rtol=1e-5)


def test_the_numbers_and_maps_of_a_training_run(tmp_path):
    model, image, mask = case("a crop at the centre")
    model.compile("sgd", "mse")
    seen = {}

    class Numbers:
        def images(self, images, step):
            pass

        def scalars(self, scalars, step):
            seen.update(scalars)

        def close(self):
            pass

    probes = ks.Probes(image, np.zeros(1, "float32"), masks=mask)
    callback = ks.SaliencyCallback(probes, Numbers(), ["hires_cam"], layer="top", strict=True)
    model.fit(image, np.zeros((1, 1)), epochs=1, verbose=0, callbacks=[callback])
    maps = callback.session.newest.maps["hires_cam"]
    assert maps.shape == (1, 12, 16)
    # 3 on the object's cell, .15 on the other 63 of the crop
    np.testing.assert_allclose(seen["focus/hires-cam"], 3 / (3 + 63 * 0.15) * 192, rtol=1e-4)


def test_what_is_drawn_lies_on_the_object():
    model, image, mask = case("an uneven crop")
    explained = ks.explain(model, image, "hires_cam", target=np.ones(1), layer="top")
    drawn = explained.overlay(opacity=1.0)[0].astype(int)
    object_, beside = drawn[mask[0] > 0].mean(axis=0), drawn[:4].reshape(-1, 3).mean(axis=0)
    assert object_.sum() > beside.sum() + 300
    np.testing.assert_array_equal(drawn[:3, :6], np.broadcast_to(drawn[0, 0], (3, 6, 3)))


def test_each_crop_of_several_lies_at_its_place(photos):
    conv, pool = kl.Conv2D(1, 4, strides=4, name="conv"), kl.GlobalAveragePooling2D()
    conv.build((None, *SIZE))
    conv.set_weights([np.linspace(-1, 1.2, 48).reshape(4, 4, 3, 1), np.zeros(1)])
    inputs = keras.Input(SIZE)
    crops = [inputs[:, :24, :32], inputs[:, 24:, 32:]]
    model = keras.Model(inputs, kl.Average()([pool(conv(crop)) for crop in crops]))
    images, places = photos(1, SIZE), [(slice(6), slice(8)), (slice(6, 12), slice(8, 16))]
    own = np.maximum(ops.convert_to_numpy(conv(images))[..., 0] / 2 / 48, 0)
    found = {}
    for run in (0, 1):
        with pytest.warns(UserWarning, match=f"% of the score .* 'conv' in its run {run}"):
            maps = ks.explain(model, images, "hires_cam", layer=("conv", run), target=np.ones(1))
        found[bool(maps.maps[:, :6, :8].any())] = maps.maps  # the graph says which crop is first
    for is_first, (rows, columns) in zip((True, False), places, strict=True):
        wanted = np.zeros((1, 12, 16))
        wanted[:, rows, columns] = own[:, rows, columns]
        assert wanted.any()
        np.testing.assert_allclose(found[is_first], wanted, atol=1e-6)


def test_patches_of_a_crop(photos):
    inputs = keras.Input((12, 16, 3))
    tokens = kl.Conv2D(4, 4, strides=4)(kl.Cropping2D(((4, 0), (0, 8)))(inputs))
    x = kl.Reshape((4, 4))(tokens)
    x = kl.MultiHeadAttention(2, 4, name="mix")(x, x)
    model = keras.Model(inputs, kl.Dense(2)(kl.GlobalAveragePooling1D()(x)))
    found = ks.explain(model, photos(1, (12, 16, 3)), "attention_rollout").maps
    assert found.shape == (1, 3, 4)
    np.testing.assert_allclose(found[:, 1:, :2].sum(), 1, rtol=1e-5)


def test_a_part_of_a_signal_and_of_a_video(photos):
    signal = keras.Input((12, 2))
    x = kl.Conv1D(1, 3, padding="same", name="top")(kl.Cropping1D((4, 2))(signal))
    model = keras.Model(signal, kl.Dense(1)(kl.Flatten()(x)))
    waves = ks.Probes(photos(1, (12, 2)), kind="signal")
    found = ks.explain(model, waves, "hires_cam", target=np.ones(1), layer="top").maps
    assert found.shape == (1, 12)
    assert not found[:, :4].any()
    assert not found[:, 10:].any()
    video = keras.Input((4, 8, 12, 3))
    x = kl.Cropping3D(((0, 2), (0, 0), (4, 0)))(video)
    x = kl.Conv3D(1, 3, padding="same", name="top")(x)
    model = keras.Model(video, kl.Dense(1)(kl.Flatten()(x)))
    found = ks.explain(model, photos(1, (4, 8, 12, 3)), "hires_cam", target=np.ones(1)).maps
    assert found.shape == (1, 4, 8, 12)
    assert found[:, :2, :, 4:].any()
    assert not found[:, 2:].any()
    assert not found[..., :4].any()


def test_frames_that_are_cropped(photos):
    """Within TimeDistributed it is measured."""
    frame = keras.Sequential(
        [
            keras.Input((8, 12, 3)),
            kl.Cropping2D(((0, 0), (4, 0))),
            kl.Conv2D(1, 2, strides=2, name="top"),
            kl.GlobalAveragePooling2D(),
        ]
    )
    layers = [keras.Input((3, 8, 12, 3)), kl.TimeDistributed(frame), kl.Flatten(), kl.Dense(1)]
    model, videos = keras.Sequential(layers), photos(2, (3, 8, 12, 3))
    found = ks.explain(model, videos, "hires_cam", target=np.ones(1)).maps
    assert found.shape == (2, 3, 4, 6)
    assert not found[..., :2].any()


def padded_like_a_resnet(size):
    x = kl.ZeroPadding2D(3)(inputs := keras.Input(size))
    x = kl.MaxPooling2D(3, 2)(kl.ZeroPadding2D(1)(kl.Conv2D(4, 7, strides=2)(x)))
    return keras.Model(inputs, kl.Dense(2)(kl.GlobalAveragePooling2D()(x)))


WHOLE = {
    "VGG16": lambda: keras.applications.VGG16(weights=None, input_shape=(40, 48, 3), classes=2),
    "MobileNetV2": lambda: keras.applications.MobileNetV2(
        weights=None, input_shape=(65, 96, 3), classes=2, alpha=0.35
    ),
    "padding for convolutions": lambda: padded_like_a_resnet((39, 52, 3)),
    "strides that leave pixels over": lambda: chain(lambda x: x, (47, 63, 3)),
    "a subclassed model": lambda: Subclassed(kl.Conv2D(3, 5, strides=2)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_grids_of_the_whole_image_are_left_as_they_are(photos, name):
    model = WHOLE[name]()
    size = getattr(model, "input_shape", (None, *SIZE))[1:]
    size = SIZE if name == "a subclassed model" else size
    images = photos(1, size)

    def grid(model, images):
        return ops.mean(model.activations(images), axis=-1)

    found = ks.explain(model, images, grid, target=0 if name in list(WHOLE)[:3] else np.ones(1))
    again = {}

    def noted(model, images):
        again["maps"] = ops.convert_to_numpy(ops.mean(model.activations(images), axis=-1))
        return again["maps"]

    ks.explain(model, images, noted, target=0 if name in list(WHOLE)[:3] else np.ones(1))
    np.testing.assert_array_equal(found.maps, again["maps"])
