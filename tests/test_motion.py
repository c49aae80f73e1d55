"""Motion saliency, against drawn videos of which all is known."""

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

import keras_saliency as ks
from keras_saliency import motion
from keras_saliency.cli.main import main
from keras_saliency.data.synthetic.videos import moving_discs
from keras_saliency.data.video.motion_masks import mask_of
from keras_saliency.drawing import heatmap
from keras_saliency.drawing.video import pauses
from keras_saliency.metrics import localization

SIZE = (61, 83)


def texture(height, width, seed=0):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(128 + 40 * soft / soft.std(), 0, 255)


def filmed(canvas, place, size=SIZE):
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    seen = cv2.warpPerspective(canvas, place, size[::-1], flags=flags)
    return np.rint(np.clip(seen, 0, 255)).astype(np.uint8)


def shifted(x, y):
    return np.array([[1.0, 0, 20 + x], [0, 1, 20 + y], [0, 0, 1]])


@pytest.mark.parametrize(("algorithm", "error"), [("dis", 0.1), ("farneback", 0.35)])
@pytest.mark.parametrize("size", [SIZE, (33, 21)])
def test_the_flow_of_a_shift_is_the_shift(algorithm, error, size):
    canvas = texture(120, 140)
    before, after = filmed(canvas, shifted(0, 0), size), filmed(canvas, shifted(-1.7, 0.6), size)
    found = motion.flow(before, after, algorithm)
    assert found.shape == (*size, 2)
    inside = found[4:-4, 4:-4].reshape(-1, 2)
    np.testing.assert_allclose(np.median(inside, axis=0), [1.7, -0.6], atol=error)
    assert np.abs(inside - [1.7, -0.6]).mean() < 2 * error


def test_the_camera_is_found_beside_a_mover():
    """A camera that pans, turns and zooms over a plane, and something that moves otherwise."""
    angle, scale = 0.012, 1.01
    turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    step = np.eye(3)  # of places in the second frame to those in the first
    step[:2, :2], step[:2, 2] = turned, (0.9, -0.7)
    canvas = texture(120, 140)
    before, after = filmed(canvas, shifted(0, 0)), filmed(canvas, shifted(0, 0) @ step)
    before[20:38, 20:42] = filmed(texture(60, 60, 1), np.eye(3), (18, 22))
    after[20:38, 24:46] = before[20:38, 20:42]
    found = motion.camera(motion.flow(before, after), before)
    wanted = motion.displacement(np.linalg.inv(step), SIZE)
    error = np.linalg.norm(motion.displacement(found, SIZE) - wanted, axis=-1)
    assert error.mean() < 0.12
    assert np.linalg.norm(wanted, axis=-1).mean() > 0.8


def test_a_displacement_is_where_the_homography_leads():
    homography = np.array([[1.1, 0.2, 3], [0.1, 0.9, -2], [0.001, 0.002, 1]])
    found = motion.displacement(homography, (5, 7))
    x, y, scale = homography @ [6, 4, 1]
    np.testing.assert_allclose(found[4, 6], [x / scale - 6, y / scale - 4])
    np.testing.assert_allclose(found[0, 0], [3, -2])


def test_a_camera_that_stands_still_is_exactly_the_identity():
    drawn = moving_discs(1, size=SIZE, camera="still", frames=4)
    np.testing.assert_array_equal(
        motion.find(drawn.videos).cameras, np.broadcast_to(np.eye(3), (1, 3, 3, 3))
    )


def test_of_noise_nothing_is_known_of_the_camera():
    noise = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    np.testing.assert_array_equal(motion.camera(motion.flow(*noise), noise[0]), np.eye(3))


def overlap(found, masks):
    """Intersection over union of each video, over all of its frames."""
    found, masks = found > 0.5, masks > 0.5
    return (found & masks).sum((1, 2, 3)) / (found | masks).sum((1, 2, 3))


@pytest.mark.parametrize("camera", ["still", "pan", "zoom"])
@pytest.mark.parametrize(
    ("size", "plain", "algorithm", "least", "share"),
    [
        ((121, 161), False, "dis", 0.8, 0.6),
        ((121, 161), True, "dis", 0.6, 0.45),
        (SIZE, False, "dis", 0.6, 0.5),
        (SIZE, True, "dis", 0.55, 0.4),
        ((121, 161), False, "farneback", 0.6, 0.45),
    ],
)
def test_what_moves_is_the_disc_whatever_the_camera_does(
    size, plain, algorithm, least, share, camera
):
    """Intersection over union of the masks, and the share of the maps that lies on the disc."""
    drawn = moving_discs(2, size=size, camera=camera, plain=plain, frames=6, seed=1)
    found = motion.find(drawn.videos, algorithm=algorithm)
    assert found.maps.shape == drawn.masks.shape
    assert overlap(found.masks, drawn.masks).min() > least
    assert localization.mass_in_mask(flat(found.maps), flat(drawn.masks)).min() > share


def flat(maps):
    """A video's frames below each other, as a map of one picture."""
    return maps.reshape(len(maps), -1, maps.shape[-1])


def test_speeds_are_those_of_the_disc_over_the_scene():
    """A disc that goes 2 px to the right over a scene that goes 1 px to the left: 3 px a frame."""
    canvas, surface = texture(140, 160), texture(60, 60, 1)
    video = np.stack([filmed(canvas, shifted(t, 0)) for t in range(5)])
    for t in range(5):
        x = 20 + 2 * t
        video[t, 20:44, x : x + 24] = np.rint(surface[:24, :24])
    found = motion.find(video[None])
    inside = [found.maps[0, t, 26:38, 28 + 2 * t : 38 + 2 * t] for t in range(5)]
    assert np.median(inside) == pytest.approx(3, abs=0.15)
    assert np.median(found.maps) < 0.1
    assert np.median(found.cameras[0, :, 0, 2]) == pytest.approx(-1, abs=0.1)


def test_where_nothing_moves_there_is_no_mask():
    canvas = texture(140, 160)
    panned = np.stack([filmed(canvas, shifted(1.3 * t, -0.8 * t)) for t in range(4)])
    stopped = np.stack([panned[0]] * 4)
    for video in (panned, stopped):
        assert motion.find(video[None]).masks.sum() < 0.01 * video[..., 0].size


def test_a_frame_in_which_the_mover_rests_has_no_mask():
    map_ = np.zeros((4, 20, 30), np.float32)
    map_[:, 4:12, 5:15] = np.array([3, 0.1, 2.5, 3])[:, None, None]
    map_[2, 16:18, 20:22] = 2.5  # a crumb, smaller than a tenth of the mover
    map_[3, 7:9, 8:11] = 0  # a hole
    mask = mask_of(map_)
    assert mask[1].sum() == 0
    for t in (0, 2, 3):
        np.testing.assert_array_equal(mask[t] > 0, map_[0] > 0)


WRONG = {
    "one frame": (lambda: motion.find(np.zeros((1, 1, 8, 9, 3), np.uint8)), "two are needed"),
    "an image": (lambda: motion.find(np.zeros((1, 8, 9, 3), np.uint8)), r"video\[None\]"),
    "algorithm": (lambda: motion.find(np.zeros((1, 2, 8, 9, 3)), algorithm="raft"), "'farneback'"),
    "sizes": (
        lambda: motion.flow(*np.zeros((2, 8, 9), np.uint8)[:, :, :, None, None]),
        "one shape",
    ),
    "masks of images": (lambda: ks.Probes(np.zeros((1, 8, 9, 3)), masks="motion"), "for videos"),
    "other masks": (lambda: ks.Probes(np.zeros((1, 2, 8, 9, 3)), masks="auto"), "'motion' for"),
    "no gif": (lambda: motion.find(np.zeros((1, 2, 8, 9, 3))).save("a.mp4"), r"\*\.gif"),
    "speed": (lambda: motion.find(np.zeros((1, 2, 8, 9, 3))).save("a.gif", fps=60), "up to 50"),
    "folder": (lambda: motion.find(np.zeros((1, 2, 8, 9, 3))).save("no/a.gif"), "no folder no"),
    "no file": (lambda: motion.read_video("nothing.mp4"), "no video nothing.mp4"),
    "no video": (lambda: motion.read_video(__file__), "can't be read as a video"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_can_not_be_is_refused(wrong):
    ask, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        ask()


def test_probes_take_what_moves_for_their_masks():
    drawn = moving_discs(2, size=(33, 49), frames=5)
    found = motion.find(drawn.videos).masks
    probes = ks.Probes(drawn.videos / 127.5 - 1, drawn.labels, masks="motion")
    np.testing.assert_array_equal(probes.masks, found)
    large = drawn.videos.repeat(2, axis=2).repeat(2, axis=3)
    shown = ks.Probes(drawn.videos.mean(-1, keepdims=True), display=large, masks="motion").masks
    assert shown.shape == drawn.masks.shape
    assert overlap(shown, drawn.masks).min() > 0.6


def test_it_stands_beside_the_maps_of_a_model_as_a_method():
    drawn = moving_discs(2, size=(33, 49), frames=5)
    model = keras.Sequential(
        [keras.Input(drawn.videos.shape[1:]), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    found = ks.explain(model, drawn.videos / 255, motion.motion)
    assert found.method == "motion"
    # Of values that do not reach from 0 to 255 the contrast is stretched.
    np.testing.assert_allclose(found.maps, motion.find(drawn.videos).maps, atol=0.3)
    assert overlap(np.stack([mask_of(one) for one in found.maps]), drawn.masks).min() > 0.6


# Written by OpenCV and read back.


def written(path, frames, fourcc, fps=12.5):
    film = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*fourcc), fps, frames.shape[2:0:-1], True
    )
    assert film.isOpened(), f"this build of OpenCV has no {fourcc}"
    for frame in frames:
        film.write(np.ascontiguousarray(frame[..., ::-1]))
    film.release()
    return path


@pytest.fixture(params=[("MJPG", "avi"), ("mp4v", "mp4")], ids=["MJPG", "mp4v"])
def film(request, tmp_path):
    fourcc, ending = request.param
    drawn = moving_discs(1, size=(96, 128), frames=12, camera="pan", seed=4)
    return drawn, written(tmp_path / f"disc.{ending}", drawn.videos[0], fourcc)


def test_a_video_is_read_back_as_it_was_written(film):
    drawn, path = film
    read = motion.read_video(path)
    assert read.frames.shape == drawn.videos[0].shape
    assert read.fps == pytest.approx(12.5)
    assert np.abs(read.frames.astype(int) - drawn.videos[0]).mean() < 8  # it is compressed
    found = motion.find(read.frames[None])
    assert overlap(found.masks, drawn.masks)[0] > 0.7
    few = motion.read_video(path, frames=4, size=(24, 40))
    assert few.frames.shape == (4, 24, 40, 3)
    assert few.fps == pytest.approx(12.5 / 3)
    small = [
        cv2.resize(read.frames[t], (40, 24), interpolation=cv2.INTER_AREA) for t in (0, 4, 7, 11)
    ]
    np.testing.assert_array_equal(few.frames, small)
    begun = motion.read_video(path, size=64, first=5).frames
    assert begun.shape == (5, 48, 64, 3)
    with pytest.raises(ValueError, match="a video of 12"):
        motion.read_video(path, frames=13)


def played(path):
    """The frames of a GIF, how long each is shown, and its size."""
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0
        frames, pauses = [], []
        for t in range(gif.n_frames):
            gif.seek(t)
            frames.append(np.asarray(gif.convert("RGB")))
            pauses.append(gif.info["duration"])
        return frames, pauses, gif.size


def test_the_command_draws_the_mover_into_a_gif(film, tmp_path, capsys):
    drawn, path = film
    out = tmp_path / "out.gif"
    assert main(["motion", str(path), "--out", str(out), "--frames", "8"]) == 0
    said = capsys.readouterr().out
    assert "8 frames of 128 x 96, 12.5 a second; the camera moves" in said
    share = 100 * drawn.masks[0, :8].mean()
    told = float(said.split(" % of the picture")[0].split()[-1])
    assert told == pytest.approx(share, rel=0.3)
    drawings, pauses, size = played(out)
    assert (len(drawings), size) == (8, (240, 180))
    assert pauses == [80] * 8
    plain = motion.read_video(path).frames
    for t in (0, 5):
        frame = drawings[t].astype(int)
        changed = np.abs(frame - cv2.resize(plain[t], (240, 180), interpolation=cv2.INTER_CUBIC))
        mask = cv2.resize(drawn.masks[0, t], (240, 180))
        assert changed[mask > 0.9].mean() > 3 * changed[mask == 0].mean()


def test_a_playlist_is_no_video(tmp_path):
    """It would make the decoder open what it names."""
    film = written(tmp_path / "a.avi", np.zeros((3, 32, 48, 3), np.uint8), "MJPG")
    (tmp_path / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film.name}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {film.name}\n")
    for name in ("list.m3u8", "list.mp4"):
        with pytest.raises(ValueError, match="can't be read as a video"):
            motion.read_video(tmp_path / name)


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    film = written(tmp_path / "a.avi", np.zeros((3, 32, 48, 3), np.uint8), "MJPG")
    for options, message in (
        (["--out", str(tmp_path / "a.mp4")], "animated GIF"),
        (["--cmap", "jett"], "Did you mean 'jet'"),
        (["--frames", "1"], "two are needed"),
    ):
        assert main(["motion", str(film), *options]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert main(["motion", str(film)]) == 0
    assert "stands still, and nothing moves by itself" in capsys.readouterr().out
    assert (tmp_path / "a.motion.gif").exists()


# Drawn.


def test_a_video_s_overlay_is_that_of_its_frames_on_one_scale():
    clip = np.random.default_rng(0).integers(0, 256, (6, 18, 27, 3), np.uint8)
    map_ = np.random.default_rng(1).normal(size=(6, 6, 9)).astype(np.float32)
    for signed in (False, True):
        peak = heatmap.peak_of(map_, signed)
        alone = [
            heatmap.overlay(clip[t], map_[t], signed=signed, peak=peak, cmap="jet", opacity=0.4)
            for t in range(6)
        ]
        drawn = heatmap.overlay_frames(clip, map_, signed=signed, cmap="jet", opacity=0.4)
        np.testing.assert_array_equal(drawn, alone)


def test_a_map_of_one_frame_lies_over_all():
    clip = np.full((5, 18, 27, 3), 120, np.uint8)
    map_ = np.random.default_rng(1).random((1, 6, 9), np.float32)
    drawn = heatmap.overlay_frames(clip, map_)
    np.testing.assert_array_equal(drawn, np.stack([heatmap.overlay(clip[0], map_[0])] * 5))
    grey = heatmap.overlay_frames(np.full((2, 6, 9, 3), (200, 10, 10), np.uint8), 0 * map_)
    assert (grey[..., 0] == grey[..., 2]).all()


def test_a_gif_keeps_the_time():
    assert pauses(4, 25) == [40] * 4
    assert sum(pauses(30, 30)) == 1000
    assert set(pauses(30, 30)) == {30, 40}


def test_motion_is_drawn_and_written(tmp_path):
    drawn = moving_discs(2, size=(33, 49), frames=5)
    found = motion.find(drawn.videos)
    overlay = found.overlay(cmap="viridis", opacity=0.5)
    wanted = [
        heatmap.overlay_frames(clip, map_, cmap="viridis", opacity=0.5)
        for clip, map_ in zip(drawn.videos, found.maps, strict=True)
    ]
    np.testing.assert_array_equal(overlay, wanted)
    found.save(tmp_path / "a.gif", 1, fps=5)
    frames, pauses, size = played(tmp_path / "a.gif")
    assert (len(frames), pauses, size) == (5, [200] * 5, (240, 162))
    axes = found.plot().axes
    assert "pixels a frame" in axes[0].get_title()
