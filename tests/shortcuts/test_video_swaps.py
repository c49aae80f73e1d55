"""The verdict on videos: does a model look at what moves, or at the scene?"""

from contextlib import nullcontext

import cv2
import keras
import numpy as np
import pytest

import keras_saliency as ks
from keras_saliency.data.masks import dilate
from keras_saliency.data.synthetic.videos import moving_discs
from keras_saliency.data.video.motion_masks import bridged
from keras_saliency.shortcuts.evaluator import Evaluator
from keras_saliency.shortcuts.example_pool import DONORS_NEEDED
from keras_saliency.shortcuts.image_quality import compress
from keras_saliency.shortcuts.images import inpainted
from keras_saliency.shortcuts.nuisances import NUISANCES, Nuisance
from keras_saliency.shortcuts.video_swaps import VideoSet, scene_of, stills

SIZE, FRAMES = (22, 31), 6


def texture(height, width, seed=0):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(128 + 40 * soft / soft.std(), 0, 255).astype(np.uint8)


def panned(step, frames=7, size=(48, 66)):
    """A camera that pans over a texture, and a mover: the clip, the scene alone and the masks."""
    canvas = texture(120, 160)
    scene = [
        canvas[30 + step * t :][: size[0], 40 - step * t :][:, : size[1]] for t in range(frames)
    ]
    scene = np.stack(scene)
    masks = np.zeros((frames, *size), np.float32)
    for t in range(frames):
        masks[t, 18:32, 8 + 6 * t : 20 + 6 * t] = 1
    clip = np.where(masks[..., None] > 0, np.uint8(250), scene)
    return clip, scene, masks


@pytest.mark.parametrize("step", [0, 2])
def test_the_scene_behind_the_mover_is_what_other_frames_show(step):
    clip, scene, masks = panned(step)
    hidden = dilate(masks) > 0.05
    found = scene_of(clip, hidden)
    np.testing.assert_array_equal(found[~hidden], scene[~hidden])
    error = np.abs(found.astype(int) - scene)[hidden].mean()
    painted = np.stack(list(map(inpainted, clip, hidden)))
    assert error < (1e-9 if step == 0 else 6)
    assert np.abs(painted.astype(int) - scene)[hidden].mean() > 12


def test_what_no_frame_shows_is_in_painted():
    clip, _, masks = panned(0)
    clip[:], masks[:] = clip[3], masks[3]
    hidden = masks > 0
    np.testing.assert_array_equal(scene_of(clip, hidden)[2], inpainted(clip[2], hidden[2]))


def test_of_channels_other_than_three_the_scene_is_found_too():
    clip, _, masks = panned(2)
    hidden = dilate(masks) > 0.05
    whole = scene_of(np.repeat(clip[..., :1], 3, axis=-1), hidden)
    for channels in (1, 2):
        some = scene_of(np.repeat(clip[..., :1], channels, axis=-1), hidden)
        np.testing.assert_array_equal(some, whole[..., :channels])


def clips(count=4, **options):
    drawn = moving_discs(count, size=SIZE, frames=FRAMES, **options)
    return VideoSet(drawn.videos, drawn.labels, drawn.masks)


def twin(name, receivers, donors, i=0, j=1):
    i, j = np.array([i]), np.array([j])
    return receivers.counterfactuals(NUISANCES[name].twins, donors, i, j).pixels[0]


def test_the_mover_is_put_over_the_donor_s_scene_frame_by_frame():
    some, others = clips(seed=1), clips(seed=2)
    made = twin("background", some, others)
    inside = some.masks[0] == 1
    np.testing.assert_array_equal(made[inside], some.pixels[0][inside])
    outside = (some.masks[0] == 0) & ~(dilate(others.masks[1]) > 0.05)
    assert outside.any((1, 2)).all()
    np.testing.assert_array_equal(made[outside], others.pixels[1][outside])
    object_on_own = twin("object", some, others)
    there = others.masks[1] == 1
    np.testing.assert_array_equal(object_on_own[there], others.pixels[1][there])


def test_a_clip_has_one_cast_and_one_texture():
    some, others = clips(seed=1), clips(seed=2)
    made = twin("cast", some, others)
    shown = (some.pixels[0] > 20) & (made < 255)
    ratios = np.where(shown, made / np.maximum(some.pixels[0], 1), np.nan)
    gains = np.nanmedian(ratios, axis=(1, 2))
    np.testing.assert_allclose(gains, np.broadcast_to(gains[0], gains.shape), rtol=1e-5)
    assert np.abs(np.log(gains[0])).max() > 0.01
    others.pixels[:] = others.pixels[:, :1]  # a film that stands still
    still = VideoSet(others.pixels, others.labels, np.zeros_like(others.masks))
    grain = still.frames.residuals.reshape(others.pixels.shape)
    np.testing.assert_array_equal(grain[1], grain[1, :1].repeat(FRAMES, axis=0))
    assert (grain[0] != grain[1]).any()


def test_a_clip_has_one_light_and_one_quality():
    some, others = clips(seed=1), clips(seed=2)
    for name in ("exposures", "lights", "qualities", "scales"):
        values = getattr(some.frames, name).reshape(len(some), FRAMES, -1)
        np.testing.assert_array_equal(values, values[:, :1].repeat(FRAMES, axis=1))
    logs = np.log(np.maximum(some.pixels.mean(-1), 1))
    beside = ~some.frames.hidden.reshape(logs.shape)
    means = [
        [log[seen].mean() for log, seen in zip(*one, strict=True)]
        for one in zip(logs, beside, strict=True)
    ]
    expected = np.mean(means, axis=1)
    np.testing.assert_allclose(some.frames.exposures[::FRAMES], expected, rtol=1e-5)
    packed = others.pixels.copy()
    packed[1] = [compress(frame, 12) for frame in packed[1]]
    packed = VideoSet(packed, others.labels, others.masks)
    assert packed.frames.qualities.reshape(-1, FRAMES)[:2, 0].tolist() == [100, 12]
    np.testing.assert_array_equal(twin("compression", some, others), some.pixels[0])
    made = twin("compression", some, packed)
    np.testing.assert_array_equal(made, [compress(frame, 12) for frame in some.pixels[0]])


def path(clip, colour=250):
    """Where pixels of a colour are: row and column of their middle in each frame, and how many."""
    found = (clip == colour).all(-1)
    rows, columns = np.indices(clip.shape[1:3])
    count = found.sum((1, 2))
    return (found * rows).sum((1, 2)) / count, (found * columns).sum((1, 2)) / count, count


def walker(top, left, side, step):
    """A white square on grey that goes to the right."""
    pixels = np.full((1, FRAMES, *SIZE, 3), 90, np.uint8)
    masks = np.zeros((1, FRAMES, *SIZE), np.float32)
    for t in range(FRAMES):
        masks[0, t, top : top + side, left + step * t : left + step * t + side] = 1
    pixels[masks == 1] = 250
    return VideoSet(pixels, np.zeros(1, int), masks)


def test_the_mover_is_moved_with_its_way():
    """To the middle of the donor's way, as far as the picture reaches, and no faster."""
    slow, fast = walker(2, 3, 4, 1), walker(10, 4, 4, 3)
    rows, columns, _ = path(twin("position", slow, fast, j=0))
    before = path(slow.pixels[0])
    np.testing.assert_allclose(rows - before[0], 8)
    np.testing.assert_allclose(columns - before[1], 6)  # from 4.5 + 2.5 to 5.5 + 7.5
    rows, columns, _ = path(twin("position", fast, slow, j=0))
    np.testing.assert_allclose(columns - path(fast.pixels[0])[1], -4)  # then it meets the edge


def test_the_mover_has_one_size_all_the_way():
    small, large = walker(6, 8, 4, 2), walker(4, 5, 8, 1)
    rows, columns, count = path(twin("scale", small, large, j=0))
    assert count.tolist() == [count[0]] * FRAMES
    assert 36 <= count[0] <= 64
    np.testing.assert_allclose(np.diff(columns), 2)
    np.testing.assert_allclose(rows, 7.5, atol=0.6)


def test_frames_without_a_mover_do_not_move_or_scale_the_others():
    whole, gap = walker(2, 3, 4, 1), walker(2, 3, 4, 1)
    gap.masks[0, 2] = 0
    rested = VideoSet(gap.pixels, gap.labels, gap.masks)
    np.testing.assert_array_equal(rested.frames.reaches, whole.frames.reaches)
    assert np.isfinite(twin("scale", rested, walker(4, 5, 8, 1), j=0)).all()


def test_an_empty_frame_lies_between_its_neighbours():
    mask = np.zeros((5, 3, 6))
    mask[1, 1, 2] = mask[3, 1, 4] = 1
    found = bridged(mask)
    wanted = mask.copy()
    wanted[0], wanted[4] = mask[1], mask[3]
    wanted[2] = mask[1] + mask[3]
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(bridged(0 * mask), 0 * mask)


def test_two_frames_stand_for_a_video_in_print():
    pixels = np.arange(8, dtype=np.uint8)[None, :, None, None, None] * np.ones(
        (2, 1, 3, 4, 3), np.uint8
    )
    shown = stills(pixels)
    assert shown.shape == (2, 7, 4, 3)
    assert shown[0, :, 0, 0].tolist() == [2, 2, 2, 255, 5, 5, 5]
    np.testing.assert_array_equal(stills(pixels[0]), pixels[0])


# From videos to a verdict.


def lit(correlation, seed, count=2 * (DONORS_NEEDED + 16), camera="still", contrast=1.0):
    """Drawn videos, lit from above or from below: as often as asked for, as the disc's way is."""
    form = {"size": SIZE, "frames": FRAMES, "camera": camera, "plain": True, "seed": seed}
    drawn, scenes = moving_discs(count, **form), moving_discs(count, contrast=0, **form).videos
    random = np.random.default_rng(seed)
    sides = np.where(random.random(count) < correlation, drawn.labels, 1 - drawn.labels)
    ramp = np.linspace(-36, 36, SIZE[0])[:, None, None] * (2 * sides - 1)[:, None, None, None, None]
    light = 128 + 0.6 * (scenes.mean(-1, keepdims=True) - 128) + ramp  # colours tell nothing
    shown = light + contrast * drawn.masks[..., None] * (drawn.videos - light)
    return drawn._replace(videos=np.rint(np.clip(shown, 0, 255)).astype(np.uint8)), sides


def sure(score):
    right = 1 / (1 + np.exp(-score))
    return np.stack([1 - right, right], axis=1)


def sees_the_way(videos):
    """How what is unlike the scene, the median over time, wanders."""
    unlike = np.abs(videos - np.median(videos, axis=1, keepdims=True)).sum(-1)
    weights = np.maximum(unlike - 60, 0) ** 2
    columns = (weights.sum(2) * np.arange(SIZE[1])).sum(-1) / np.maximum(weights.sum((2, 3)), 1e-6)
    return sure(4 * np.diff(columns, axis=1).mean(1))


def sees_the_light(videos):
    half = SIZE[0] // 2
    return sure(
        (videos[:, :, half:].mean((1, 2, 3, 4)) - videos[:, :, :half].mean((1, 2, 3, 4))) / 4
    )


@pytest.fixture(scope="module")
def biased():
    return lit(1.0, 3)[0]


@pytest.fixture(scope="module")
def both(biased):
    """Shortcuts with masks that are given, and with those of what moves."""
    given, few = (biased.videos, biased.labels), ["background", "cast", "mark"]
    return {
        "given": ks.Shortcuts((*given, biased.masks), masks="motion", nuisances=few),
        "motion": ks.Shortcuts(given, masks="motion", nuisances=few),
    }


MASKS = ["motion", pytest.param("given", marks=pytest.mark.slow)]


def judged(model, shortcuts):
    assessor = Evaluator(shortcuts, model)
    assessor.evaluate(0)
    return assessor.evaluate(1)


def test_what_moves_is_the_object(both):
    """The same clips are donors; made masks are wider than the disc, and miss little of it."""
    given, made = both["given"], both["motion"]
    assert (given.masks_from, made.masks_from) == ("given", "motion")
    np.testing.assert_array_equal(given.donors.pixels, made.donors.pixels)
    a, b = given.donors.masks > 0.5, made.donors.masks > 0.5
    overlap = (a & b).sum((1, 2, 3)) / (a | b).sum((1, 2, 3))
    assert np.median(overlap) > 0.4
    missed = (a & ~b).sum((1, 2, 3)) / a.sum((1, 2, 3))
    assert np.quantile(missed, 0.9) < 0.15
    assert b.any((2, 3)).all()


@pytest.mark.parametrize("masks", MASKS)
def test_a_model_that_looks_at_the_mover_gives_no_alarm(biased, both, masks):
    """Although the light goes with the direction in all videos."""
    assert (sees_the_way(biased.videos.astype("float32")).argmax(1) == biased.labels).mean() > 0.9
    verdict = judged(sees_the_way, both[masks])
    assert not verdict.alarm
    assert verdict.reliance < 0.1
    assert "not tested: mark (no spots in videos)" in verdict.text
    assert ("masks made by a program" in verdict.text) == (masks == "motion")


@pytest.mark.parametrize("masks", MASKS)
def test_a_model_that_looks_at_the_scene_gives_an_alarm(both, masks):
    verdict = judged(sees_the_light, both[masks])
    assert verdict.alarm
    assert verdict.cause == "background"
    assert verdict.gaps["background"][0] > 0.5
    assert abs(verdict.gaps["cast"][0]) < 0.1
    (sheet,) = {sheet.images.shape for sheet in verdict.sheets.values()}
    assert sheet == (4, 3, 2 * SIZE[0] + 1, SIZE[1], 3)


def sees_the_faintest_way(videos):
    """How the spot that is most unlike the median over time wanders."""
    unlike = (videos - np.median(videos, axis=1, keepdims=True)).mean(-1)
    weights = np.array([[cv2.blur(frame, (5, 5)) for frame in clip] for clip in unlike]) ** 6
    columns = (weights.sum(2) * np.arange(SIZE[1])).sum(-1) / np.maximum(weights.sum((2, 3)), 1e-9)
    return sure(3 * np.median(np.diff(columns, axis=1), axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4])
def test_where_the_mover_is_hardly_seen_the_verdict_tells_no_lie(seed):
    """Of a disc that is nearly transparent made masks miss a quarter, in some videos most."""
    drawn, _ = lit(1.0, seed, contrast=0.15)
    difference = np.abs(drawn.videos - lit(1.0, seed, contrast=0)[0].videos.astype(float))
    assert difference[drawn.masks == 1].mean() < 12  # of 255
    made = ks.Shortcuts((drawn.videos, drawn.labels), masks="motion", nuisances=["background"])
    right = sees_the_faintest_way(drawn.videos.astype("float32")).argmax(1) == drawn.labels
    assert right.mean() > 0.98
    honest = judged(sees_the_faintest_way, made)
    assert not honest.alarm
    assert honest.reliance < 0.15
    biased = judged(sees_the_light, made)
    assert biased.alarm
    assert biased.gaps["background"][0] > 0.9


def plain_videos(count=160, frames=3):
    """Videos in which nothing moves, and their labels."""
    return np.full((count, frames, 9, 12, 3), 90, np.uint8), np.arange(count) % 2


def test_a_nuisance_of_the_user_s_own_is_made_frame_by_frame():
    def swap_left(receivers, donors, i, j):
        twins = receivers.pixels[i].astype("float32")
        twins[:, :, :4] = donors.pixels[j][:, :, :4]
        return twins

    videos, labels = plain_videos()
    videos[labels == 1, :, :, :4] = 200
    left = Nuisance("left", "the left edge", swap_left)
    shortcuts = ks.Shortcuts((videos, labels), masks=None, nuisances=[left])
    assert shortcuts.to_input(videos).shape == videos.shape

    def looks_left(given):
        return sure((given[..., :4, 0].mean((1, 2, 3)) - 145) / 5)

    assert judged(looks_left, shortcuts).cause == "left"
    assert judged(lambda given: sure(given[:, 0, 0, 8, 0] * 0), shortcuts).reliance == 0


def test_nothing_is_said_of_what_can_not_be_masked():
    videos, labels = plain_videos()
    with pytest.warns(UserWarning, match="In 100% of the videos nothing was found to move"):
        shortcuts = ks.Shortcuts(
            (videos, labels), masks="motion", nuisances=["background", "frame"]
        )
    assert shortcuts.not_tested == {"background": "no masks"}
    with pytest.warns(UserWarning, match="For videos pass masks='motion'"):
        shortcuts = ks.Shortcuts((videos, labels), nuisances=["background", "frame"])
    assert shortcuts.masks_from is None
    with pytest.raises(ValueError, match=r"is for videos.* images of shape \(160, 9, 12, 3\)"):
        ks.Shortcuts((videos[:, 0], labels), masks="motion")


def test_preprocessing_is_applied_to_the_twins():
    videos, labels = plain_videos()
    videos += np.random.default_rng(0).integers(0, 99, videos.shape, np.uint8)
    shortcuts = ks.Shortcuts(
        (videos, labels), masks=None, nuisances=["frame"], preprocess=lambda x: x / 64 - 2
    )
    found = shortcuts.to_input(shortcuts.donors.pixels[:2])
    np.testing.assert_allclose(found, shortcuts.donors.pixels[:2] / 64 - 2, atol=1e-6)


# Trained networks, whose reliance is known from videos with the light on the other side.


def network(kind):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    seen = {
        "Conv3D": [
            layers.Conv3D(12, 3, activation="relu"),
            layers.Conv3D(16, 3, strides=(1, 2, 2), activation="relu"),
            layers.GlobalAveragePooling3D(),
        ],
        "ConvLSTM2D": [
            layers.ConvLSTM2D(8, 5, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
        ],
    }[kind]
    model = keras.Sequential(
        [
            keras.Input((FRAMES, *SIZE, 3)),
            layers.Rescaling(1 / 64, offset=-2),
            *seen,
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.004), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def reliance(model, **form):
    """The truth: how much fewer are right when the light is on the other side."""
    right = []
    for correlation in (1.0, 0.0):
        drawn, _ = lit(correlation, 9, count=200, **form)
        right.append(model.evaluate(drawn.videos.astype("float32"), drawn.labels, verbose=0)[1])
    return right[0] - right[1]


@pytest.mark.slow
@pytest.mark.parametrize("camera", ["still", "pan"])
@pytest.mark.parametrize(
    ("kind", "correlation", "contrast"),
    [("Conv3D", 1.0, 1.0), ("Conv3D", 1.0, 0.15), ("Conv3D", 0.5, 1.0), ("ConvLSTM2D", 0.5, 1.0)],
)
def test_a_training_is_told_what_its_network_looks_at(
    kind, correlation, contrast, camera, tmp_path
):
    form = {"camera": camera, "contrast": contrast}
    drawn, _ = lit(correlation, 3, count=600, **form)
    some = drawn.videos[:200], drawn.labels[:200]
    model = network(kind)
    probes = ks.Probes(drawn.videos[-4:], drawn.labels[-4:], masks="motion")
    made = ks.Shortcuts(some, masks="motion", every=5)
    watch = ks.SaliencyCallback(probes, tmp_path, ["grad_cam"], shortcuts=made, strict=True)
    biased = correlation == 1.0
    expected = pytest.warns(UserWarning, match="relies on") if biased else nullcontext()
    with expected:
        model.fit(
            drawn.videos.astype("float32"),
            drawn.labels,
            batch_size=16,
            epochs=10,
            verbose=0,
            callbacks=[watch],
        )
    truth, found = reliance(model, **form), watch.verdict
    assert truth > 0.8 if biased else abs(truth) < 0.05
    assert found.alarm == biased
    assert found.cause == ("background" if biased else None)
    assert found.gaps["background"][0] == pytest.approx(truth, abs=0.15)
    given = ks.Shortcuts((*some, drawn.masks[:200]))

    def probabilities(images):
        return model.predict(images, verbose=0)

    exact = judged(probabilities, given)
    for name, (gap, _) in exact.gaps.items():
        assert found.gaps[name][0] == pytest.approx(gap, abs=0.1), name
