"""Models of videos: 3-D convolutions, ConvLSTM2D and TimeDistributed, in numbers and images."""

import functools
import inspect
import io

import cv2
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
from keras_saliency.drawing import heatmap
from keras_saliency.drawing.video import played
from keras_saliency.metrics.localization import enrichment
from keras_saliency.recording.scalars import MapMeasure

from helpers.transformers import ATTENTION

VIDEO = (6, 7, 9, 3)  # frames, height, width, channels
QUICK = {
    "blur_integrated_gradients": {"steps": 3},
    "expected_gradients": {"samples": 2},
    "integrated_gradients": {"steps": 3},
    "smooth_grad": {"samples": 2},
    "square_grad": {"samples": 2},
    "var_grad": {"samples": 2},
    "rise": {"samples": 40, "cells": 3},
}
METHODS = sorted({*methods.available()} - ATTENTION)


def videos(count=1, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 1, (count, *VIDEO)).astype("float32")


class Gain(kl.Layer):
    """Multiplies each place by a number, of which the score can be differentiated."""

    def __init__(self, shape):
        super().__init__(name="gain")
        self.factors = self.add_weight(shape=(*shape, 1), initializer="ones", trainable=False)

    def call(self, inputs):
        return inputs * self.factors


def seeded(model):
    random = np.random.default_rng(1)
    for weight in model.weights:
        if "gain" not in weight.path:
            fan_in = np.prod(weight.shape[:-1]) or 1
            weight.assign(random.normal(size=weight.shape) / np.sqrt(fan_in))
    return model


def sequential(*layers):
    return seeded(keras.Sequential([keras.Input(VIDEO), *layers]))


def conv_3d():
    return sequential(
        kl.Conv3D(4, 3, strides=(2, 1, 1), padding="same", activation="softplus"),
        kl.Conv3D(3, (1, 3, 3), activation="gelu", name="top"),
        Gain((3, 5, 7)),
        kl.Flatten(),
        kl.Dense(2),
    )


def conv_lstm():
    return sequential(
        kl.ConvLSTM2D(3, 3, activation="softplus", name="top"),
        Gain((5, 7)),
        kl.Flatten(),
        kl.Dense(2, name="head"),
    )


def conv_lstm_of_all_frames():
    return sequential(
        kl.ConvLSTM2D(3, 3, activation="softplus", return_sequences=True, name="top"),
        Gain((6, 5, 7)),
        kl.Conv3D(2, 3, activation="tanh", name="next"),
        kl.Flatten(),
        kl.Dense(2),
    )


def time_distributed():
    each = keras.Sequential(
        [kl.Conv2D(3, 3, activation="softplus", name="top"), kl.Flatten(), kl.Dense(4)]
    )
    return sequential(kl.TimeDistributed(each), kl.GRU(5), kl.Dense(2))


MODELS = {
    "Conv3D": (conv_3d, (3, 5, 7)),
    "ConvLSTM2D": (conv_lstm, (1, 5, 7)),
    "ConvLSTM2D of all frames": (conv_lstm_of_all_frames, (6, 5, 7)),
    "TimeDistributed": (time_distributed, (6, 5, 7)),
}


def score(model, video):
    return float(ops.convert_to_numpy(model(video[None]))[0, 1])


@pytest.mark.parametrize("kind", MODELS)
def test_the_gradient_is_that_of_finite_differences(kind):
    """Of a video whose pixel is scaled, which is what gradient times input linearises."""
    model, video = MODELS[kind][0](), videos()[0]
    found = ks.explain(model, video[None], "gradient_x_input", target=1).maps[0]
    assert found.shape == VIDEO[:3]
    scale = float(np.abs(found).max())
    for place in [(0, 0, 0), (2, 3, 4), (3, 5, 2), (5, 6, 8), (5, 1, 7)]:
        step = np.zeros((*VIDEO[:3], 1), "float32")
        step[place] = 0.05
        slope = (score(model, video * (1 + step)) - score(model, video * (1 - step))) / 0.1
        assert found[place] == pytest.approx(slope, abs=0.01 * scale)


@pytest.mark.parametrize("kind", ["Conv3D", "ConvLSTM2D", "ConvLSTM2D of all frames"])
def test_the_layer_s_map_is_that_of_finite_differences(kind):
    """HiResCAM is how the score changes as one place of the layer's output is scaled."""
    model, video = MODELS[kind][0](), videos()[0]
    shape = MODELS[kind][1]
    signed = functools.partial(methods.get("hires_cam"), relu=False)
    found = ks.explain(model, video[None], signed, target=1, layer="top").maps[0]
    assert found.shape == shape
    factors, scale = model.get_layer("gain").factors, float(np.abs(found).max())
    for place in [(0, 0, 0), (shape[0] - 1, 2, 3), (shape[0] // 2, 4, 6)]:
        scores = []
        for step in (0.05, -0.05):
            changed = np.ones(factors.shape, "float32")
            changed.reshape(shape)[place] += step
            factors.assign(changed)
            scores.append(score(model, video))
        slope = (scores[0] - scores[1]) / 0.1
        assert found[place] == pytest.approx(slope, abs=0.01 * scale)


def per_frame(name):
    """The same network twice: a convolution of each frame, and one of a kernel of one frame."""
    inner = kl.Conv2D(3, 3, activation="softplus", name="top")
    frames = sequential(kl.TimeDistributed(inner), kl.GlobalAveragePooling3D(), kl.Dense(2))
    volume = sequential(
        kl.Conv3D(3, (1, 3, 3), activation="softplus", name="top"),
        kl.GlobalAveragePooling3D(),
        kl.Dense(2),
    )
    shown = functools.partial(methods.get(name), **QUICK.get(name, {}))
    return [ks.explain(model, videos(2), shown, target=1) for model in (frames, volume)]


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("grad_cam", "score_cam") else pytest.param(name, marks=pytest.mark.slow)
        for name in METHODS
        if name != "cam"
    ],
)
def test_frames_one_by_one_are_explained_like_a_volume(name):
    one, two = per_frame(name)
    assert one.maps.ndim == 4
    np.testing.assert_allclose(one.maps, two.maps, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["hires_cam", *(pytest.param(n, marks=pytest.mark.slow) for n in ("layer_cam", "eigen_cam"))],
)
def test_the_last_state_of_a_recurrent_convolution_is_one_frame_for_all(name):
    """It has the map that its sequence has in the last frame, where only that one is read."""
    last = sequential(kl.ConvLSTM2D(3, 3, name="top"), kl.Flatten(), kl.Dense(2))
    every = sequential(
        kl.ConvLSTM2D(3, 3, return_sequences=True, name="top"),
        kl.Lambda(lambda states: states[:, -1:], name="last"),
        kl.Flatten(),
        kl.Dense(2),
    )
    place = "last" if name == "eigen_cam" else "top"
    one = ks.explain(last, videos(2), name, target=1)
    two = ks.explain(every, videos(2), name, target=1, layer=place).maps
    assert one.layer == "top"
    assert one.maps.shape == (2, 1, 5, 7)
    np.testing.assert_allclose(one.maps[:, 0], two[:, -1], rtol=1e-4, atol=1e-6)
    assert not two[:, :-1].any()


def test_layers_after_the_last_state_are_found_too():
    model = sequential(
        kl.ConvLSTM2D(3, 3),
        kl.Conv2D(4, 2, name="after"),
        kl.ReLU(name="last"),
        kl.Flatten(),
        kl.Dense(2),
    )
    found = ks.explain(model, videos(2), "grad_cam", target=1)
    assert found.layer == "last"
    assert found.maps.shape == (2, 1, 4, 6)
    assert found.overlay().shape == found.display.shape


def test_frames_in_the_batch_are_no_picture():
    """All of them go through a layer at once, and none is that of the video."""

    class Folded(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.dense = kl.Conv2D(3, 3, name="each"), kl.Dense(2)

        def call(self, inputs):
            frames = self.conv(ops.reshape(inputs, (-1, *VIDEO[1:])))
            return self.dense(ops.reshape(frames, (-1, VIDEO[0] * 5 * 7 * 3)))

    with pytest.raises(ValueError, match="have other axes than the input"):
        ks.explain(Folded(), videos(2), "grad_cam", target=1)


def test_a_layer_of_fewer_frames_lies_on_the_frames_it_saw():
    """Every cell of this layer sees two frames, and what happens is in the last two of six."""
    model = keras.Sequential(
        [
            keras.Input((6, 5, 7, 1)),
            kl.Conv3D(1, (2, 1, 1), strides=(2, 1, 1), kernel_initializer="ones", name="pairs"),
            kl.Flatten(),
            kl.Dense(1, kernel_initializer="ones"),
        ]
    )
    video = np.zeros((1, 6, 5, 7, 1), "float32")
    video[0, 4, 2, 3] = 1
    probes = ks.Probes(video)
    found = ks.explain(model, probes, "hires_cam", target=0)
    assert found.maps.shape == (1, 3, 5, 7)
    assert np.unravel_index(found.maps.argmax(), found.maps.shape) == (0, 2, 2, 3)
    grey = np.full((6, 50, 70, 3), 128, "uint8")
    heat = np.abs(heatmap.overlay_frames(grey, found.maps[0]).astype(int) - 128).sum((1, 2, 3))
    assert heat[:3].sum() == 0
    assert heat[4:].min() > heat[3] > 0
    for lit, wanted in (((4, 5), 3 * 35), ((2, 3), 0)):
        masks = np.zeros((1, 6, 5, 7))
        masks[:, lit, 2, 3] = 1
        assert MapMeasure(masks).localization({"cam": found.maps})["cam"][0] == pytest.approx(
            wanted
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", MODELS)
def test_every_method_explains_every_model(kind, name):
    """Each without its rectifier, which may leave nothing of one class."""
    model, grid = MODELS[kind][0](), MODELS[kind][1]
    if name == "cam":
        pool = kl.GlobalAveragePooling2D() if kind == "ConvLSTM2D" else kl.GlobalAveragePooling3D()
        top = {"Conv3D": kl.Conv3D(3, 3, strides=2, name="top")}.get(
            kind, kl.ConvLSTM2D(3, 3, return_sequences=kind != "ConvLSTM2D", name="top")
        )
        model = sequential(top, pool, kl.Dense(2))
        grid = {"Conv3D": (2, 3, 4), "ConvLSTM2D": (1, 5, 7)}.get(kind, (6, 5, 7))
    options = QUICK.get(name, {})
    if "relu" in inspect.signature(methods.get(name)).parameters:
        options = options | {"relu": False}
    method = functools.partial(methods.get(name), **options)
    found = ks.explain(model, videos(2), method, target=1, layer="top").maps
    assert found.shape in ((2, *grid), (2, *VIDEO[:3]))
    assert np.isfinite(found).all()
    assert found.any()


# Drawn.


def frames_of(data):
    with Image.open(io.BytesIO(data)) as gif:
        shown = []
        for t in range(gif.n_frames):
            gif.seek(t)
            shown.append((np.asarray(gif.convert("RGB")).astype(int), gif.info["duration"]))
    return shown


def test_videos_play_with_their_maps_frame_by_frame():
    """A lit column that wanders is where the image is changed, at every frame."""
    clips = np.full((2, 5, 30, 40, 3), 120, "uint8")
    maps = np.zeros((2, 5, 3, 5), "float32")
    maps[0, np.arange(5), :, np.arange(5)] = 2
    made = played(["a", "b"], clips, maps, title="cam")
    assert Image.open(io.BytesIO(made)).size[0] == 350
    shown = frames_of(made)
    assert [pause for _, pause in shown] == [500] * 4 + [1500]
    for t, (frame, _) in enumerate(shown):
        left, right = frame[36:160, 5:173], frame[36:160, 176:344]
        assert np.abs(right - 120).max() <= 6  # a map that is dead leaves grey
        heat = np.abs(left - 120).sum((0, 2))
        middle = (heat * (np.arange(168) + 0.5)).sum() / heat.sum()
        assert middle == pytest.approx(168 * (t + 0.5) / 5, abs=12)


def test_one_video_has_the_card_to_itself():
    made = played(["a"], np.full((1, 60, 20, 40, 3), 120, "uint8"), np.ones((1, 1, 2, 4)), title="")
    shown = frames_of(made)
    assert Image.open(io.BytesIO(made)).size == (350, 36 + 170 + 16 + 5)
    assert len(shown) == 30
    assert [pause for _, pause in shown] == [80] * 29 + [240]


def test_fit_writes_strips_and_videos(tmp_path):
    """At the end of the training run they play the maps of its end."""
    x, y = videos(4), np.array([0, 1, 0, 1])
    model = conv_lstm()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    masks = np.zeros((4, *VIDEO[:3]))
    masks[:, :, :3] = 1
    probes = ks.Probes(x, y, masks=masks)
    watch = ks.SaliencyCallback(probes, tmp_path, ["saliency", "grad_cam"], strict=True)
    model.fit(x, y, verbose=0, callbacks=[watch])
    events = EventAccumulator(str(tmp_path / "saliency"), size_guidance={"tensors": 0})
    events.Reload()

    def last(tag):
        return tensor_util.make_ndarray(events.Tensors(tag)[-1].tensor_proto)

    found = ks.explain(model, probes, "saliency", target="label")
    wanted = enrichment(found.maps.reshape(4, -1, 9), masks.reshape(4, -1, 9))
    np.testing.assert_allclose(last("your-probes/focus-saliency/02_0"), wanted[2], rtol=1e-3)
    for tag in ("video/saliency", "video/grad-cam"):
        width, height, data = last(tag)
        assert len(frames_of(data)) == 6
        assert (int(width), int(height)) == Image.open(io.BytesIO(data)).size
        assert [event.step for event in events.Tensors(tag)] == [0]
    strip = cv2.imdecode(np.frombuffer(last("saliency/02_0")[2], np.uint8), cv2.IMREAD_COLOR)
    assert strip.shape[1] == 350


def test_an_explanation_of_videos_is_written_as_they_play(tmp_path):
    model, clip = conv_3d(), videos(2)
    found = ks.explain(model, clip, "saliency", target=1)
    found.save(tmp_path / "a.gif", 1, fps=5, cmap="viridis", opacity=0.5)
    shown = frames_of((tmp_path / "a.gif").read_bytes())
    assert [pause for _, pause in shown] == [200] * 6
    small = (clip[1] * 255).round().astype("uint8")
    size = (shown[0][0].shape[1], shown[0][0].shape[0])
    large = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_CUBIC) for f in small])
    wanted = heatmap.overlay_frames(large, found.maps[1], cmap="viridis", opacity=0.5)
    assert np.abs(np.stack([frame for frame, _ in shown]) - wanted).mean() < 6  # of 256 colours
    image = keras.Sequential([keras.Input((4, 5, 3)), kl.Flatten(), kl.Dense(2)])
    with pytest.raises(ValueError, match="only videos play"):
        ks.explain(image, np.ones((1, 4, 5, 3)), "saliency").save(tmp_path / "b.gif")
