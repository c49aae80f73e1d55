"""The Saliency tab's blobs, read back from a real event file and decoded with Pillow."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import summary_pb2
from tensorboard.util import tensor_util

from keras_saliency.data.probes import Probes
from keras_saliency.metrics.map_check import MapCheck
from keras_saliency.recording.snapshot import Snapshot
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run
from keras_saliency.recording.tensorboard.plugin_data import PluginData
from keras_saliency.shortcuts.components import Component, ComponentGap
from keras_saliency.shortcuts.verdict import Verdict


def snapshot(maps, step=0, **changes):
    n = len(next(iter(maps.values()))) if maps else 3
    values = {
        "step": step,
        "when": f"epoch {step + 1}",
        "maps": maps,
        "errors": {},
        "scores": np.arange(n, dtype=np.float32),
        "predicted": ["cat", "dog", "cat"][:n],
        "confidence": np.array([0.75, np.nan, 0.5])[:n],
        "probability": np.array([0.25, 0.5, np.nan])[:n],
        "correct": [True, None, np.bool_(False)][:n],
        "logs": {},
    }
    return Snapshot(**(values | changes))


def probes(n=3, height=30, width=40, **options):
    """Pictures that get brighter downwards, redder to the right, and probe by probe bluer."""
    rows, columns = np.mgrid[:height, :width]
    red, green = 255 * columns / width, 255 * rows / height
    images = np.stack([np.stack([red, green, 60.0 * i + 0 * rows], -1) for i in range(n)])
    options = {"labels": [0, 1, 0][:n], "class_names": ["cat", "dog"]} | options
    return Probes(images.astype(np.uint8), **options)


def masks(n=3, height=30, width=40):
    found = np.zeros((n, height, width))
    found[:, : height // 2] = 1
    return found


class Board:
    def __init__(self, folder, probes_, shown=None, **options):
        self.writer = EventWriter(new_run(folder))
        self.tab = PluginData(self.writer, probes_, shown or range(len(probes_)), **options)

    def read(self):
        """Return `(tag, step, json, other blobs, metadata)` of each value."""
        self.writer.close()
        found = []
        for event in event_file_loader.EventFileLoader(str(self.writer.path)).Load():
            for value in event.summary.value:
                first, *others = tensor_util.make_ndarray(value.tensor)
                said = json.loads(first, parse_constant=lambda name: pytest.fail(name))
                found.append((value.tag, event.step, said, others, value.metadata))
        return found


def decoded(blob, kind="PNG"):
    image = Image.open(io.BytesIO(blob))
    assert image.format == kind
    return np.asarray(image)


def apart(picture, count):
    """Return the maps that stand below each other in a picture."""
    values = decoded(picture)
    return list(values.reshape(count, -1, values.shape[1]))


def one(maps, folder, method="grad_cam", probes_=None, **changes):
    """Write one set and return what was said of it and its pictures."""
    board = Board(folder, probes_ or probes(len(maps)))
    board.tab.add(snapshot({method: maps}, **changes), {}, {})
    _, (_, _, said, (picture,), _) = board.read()
    return said, apart(picture, len(maps))


def test_the_events_are_blob_sequences_of_the_plugin(tmp_path):
    board = Board(tmp_path, probes())
    board.tab.add(snapshot({"grad_cam": np.ones((3, 4, 5), np.float32)}, step=7), {}, {})
    board.tab.add(snapshot({"grad_cam": np.ones((3, 4, 5), np.float32)}, step=8), {}, {})
    found = board.read()
    assert [(tag, step) for tag, step, *_ in found] == [
        ("probes", 7),
        ("maps/grad-cam", 7),
        ("maps/grad-cam", 8),
    ]
    for *_, metadata in found[:2]:
        assert metadata.plugin_data.plugin_name == "keras_saliency"
        assert metadata.data_class == summary_pb2.DATA_CLASS_BLOB_SEQUENCE


def test_probes_are_described_and_pictured(tmp_path):
    given = probes(masks=masks(), names=["ünsafe <b>", "b", "c"])
    board = Board(tmp_path, given, of="probability", settings={"layer": "top"})
    board.tab.add(snapshot({}, errors={"grad_cam": "no layer"}), {}, {})
    _, _, said, blobs, _ = board.read()[0]
    assert said == {
        "version": 2,
        "names": list(given.names),
        "labels": ["cat", "dog", "cat"],
        "classes": ["cat", "dog"],
        "size": [30, 40],
        "masks": True,
        "of": "probability",
        "settings": {"layer": "top"},
    }
    for i, blob in enumerate(blobs[:3]):
        assert np.abs(decoded(blob, "JPEG").astype(int) - given.display[i]).max() < 12
    for blob in blobs[3:]:
        assert (decoded(blob) == 255 * masks()[0]).all()


def test_without_masks_and_classes(tmp_path):
    board = Board(tmp_path, probes(labels=None, class_names=None))
    board.tab.add(snapshot({}, errors={"grad_cam": "no layer"}), {}, {})
    _, _, said, blobs, _ = board.read()[0]
    assert (said["masks"], said["classes"], said["labels"]) == (False, [], [None] * 3)
    assert len(blobs) == 3


def test_large_pictures_masks_and_maps_are_averaged_down(tmp_path):
    checked = np.indices((300, 1300)).sum(0) % 2
    given = Probes(np.repeat(checked[None, :, :, None] * 255.0, 3, -1), masks=checked[None])
    board = Board(tmp_path, given)
    board.tab.add(snapshot({"saliency": checked[None].astype(np.float32)}), {}, {})
    (_, _, said, (picture, mask), _), (_, _, shown, (map_,), _) = board.read()
    picture, mask, map_ = decoded(picture, "JPEG"), decoded(mask), decoded(map_)
    assert said["size"] == [300, 1300]
    assert (picture.shape, mask.shape, map_.shape) == ((118, 512, 3), (30, 128), (26, 112))
    # What skips pixels would show some as black and some as white.
    for grey in (picture, mask):
        assert 100 < grey.min() <= grey.max() < 156
    assert shown["peak"][0] == pytest.approx(0.5, abs=0.06)
    assert map_.min() > 180
    assert map_.max() == 255


def test_magnitudes_come_back_from_shades_and_peak(tmp_path):
    maps = np.random.default_rng(0).gamma(1, 1, (3, 5, 7)).astype(np.float32)
    maps *= np.array([1e-5, 1, 1e5], np.float32)[:, None, None]
    said, pictures = one(maps, tmp_path)
    assert said["signed"] is False
    assert said["peak"] == pytest.approx(maps.max((1, 2)), rel=1e-5)
    for map_, picture, peak in zip(maps, pictures, said["peak"], strict=True):
        assert picture.dtype == np.uint8
        assert np.abs(picture / 255 * peak - map_).max() <= 0.51 / 255 * peak


def test_signs_come_back_and_zero_is_128(tmp_path):
    maps = np.array([[[-4.0, 2.0, 0.0]], [[1.0, 0.0, 0.5]]], np.float32)
    said, pictures = one(maps, tmp_path)
    assert (said["signed"], said["peak"]) == (True, [4.0, 1.0])
    assert [picture.tolist() for picture in pictures] == [[[1, 192, 128]], [[255, 128, 192]]]


def test_a_method_that_was_signed_once_stays_signed(tmp_path):
    board, moment = Board(tmp_path, probes(1)), None
    for step, low in enumerate((0.0, -1.0, 0.0)):
        maps = {"a": np.array([[[low, 1.0]]]), "b": np.array([[[0.0, 1.0]]])}
        moment = snapshot(maps, step).signed_after(moment)
        board.tab.add(moment, {}, {})
    found = [(tag, said["signed"]) for tag, _, said, *_ in board.read()[1:]]
    assert [signed for tag, signed in found if tag == "maps/a"] == [False, True, True]
    assert [signed for tag, signed in found if tag == "maps/b"] == [False] * 3


def test_dead_and_broken_maps_are_told_apart(tmp_path):
    maps = np.ones((3, 2, 3), np.float32)
    maps[1] = 0
    maps[2, 0, 0] = np.nan
    said, pictures = one(maps, tmp_path)
    assert said["peak"] == [1.0, 0.0, None]
    assert said["dead"] == [False, True, True]
    assert [int(picture.max()) for picture in pictures] == [255, 0, 0]
    assert one(-maps, tmp_path)[0]["peak"] == [1.0, 0.0, None]


def test_what_the_model_says_is_there_in_json(tmp_path):
    board = Board(tmp_path, probes())
    numbers = np.array([1.5, np.nan, np.inf])
    moment = snapshot({"a": np.ones((3, 2, 3)), "b": np.ones((3, 2, 3))}, step=-1)
    board.tab.add(moment, localization={"a": numbers}, similarity={"b": numbers / 3})
    _, (_, step, a, _, _), (_, _, b, _, _) = board.read()
    assert (step, a["step"], a["when"], a["method"], a["error"]) == (-1, -1, "epoch 0", "a", None)
    assert a["score"] == [0, 1, 2]
    assert a["predicted"] == ["cat", "dog", "cat"]
    assert a["confidence"] == [0.75, None, 0.5]
    assert a["probability"] == [0.25, 0.5, None]
    assert a["correct"] == [True, None, False]
    assert (a["focus"], a["similarity"]) == ([1.5, None, None], [None] * 3)
    assert (b["focus"], b["similarity"]) == ([None] * 3, [0.5, None, None])


def test_what_hiding_costs_is_there_where_it_was_checked(tmp_path):
    costs = np.array([0.4, np.nan, 0.0])
    checks = {"a": MapCheck(costs, costs / 4, costs, costs, np.array([False, False, True]))}
    board = Board(tmp_path, probes(), shown=[2, 0, 1])
    maps = {"a": np.ones((3, 2, 3)), "b": np.ones((3, 2, 3))}
    board.tab.add(snapshot(maps, checks=checks), {}, {})
    _, (_, _, a, _, _), (_, _, b, _, _) = board.read()
    assert a["check"] == [
        "no better than chance: hiding this costs 0.00 (a random tenth: 0.00)",
        "hiding this costs 0.40 (a random tenth: 0.10)",
        "",
    ]
    assert a["is_chance"] == [True, False, False]
    assert not {"check", "is_chance"} & b.keys()


def test_a_method_that_failed_says_why_and_has_no_maps(tmp_path):
    board = Board(tmp_path, probes())
    board.tab.add(snapshot({}, errors={"grad_cam": "a loop hides the layer"}), {}, {})
    _, (tag, _, said, pictures, _) = board.read()
    assert (tag, said["error"], pictures) == ("maps/grad-cam", "a loop hides the layer", [])
    assert said["peak"] == [None] * 3
    assert said["score"] == [0, 1, 2]


def test_only_the_chosen_probes_are_shown_each_with_its_own_numbers(tmp_path):
    given = probes(masks=masks() * np.array([1, 0.5, 0.2])[:, None, None])
    maps = np.array([1.0, 2.0, 3.0])[:, None, None] * np.ones((3, 2, 3))
    maps[2, :, 0] = 0
    board = Board(tmp_path, given, shown=[0, 2])
    board.tab.add(snapshot({"a": maps}), {"a": np.array([7.0, 8.0, 9.0])}, {})
    (_, _, about, blobs, _), (_, _, said, (picture,), _) = board.read()
    assert about["names"] == [given.names[0], given.names[2]]
    assert about["labels"] == ["cat", "cat"]
    assert [decoded(blob, "JPEG")[0, 0, 2] > 60 for blob in blobs[:2]] == [False, True]
    assert [decoded(blob).max() for blob in blobs[2:]] == [255, 51]
    assert (said["peak"], said["focus"], said["score"]) == ([1, 3], [7, 9], [0, 2])
    assert said["correct"] == [True, False]
    assert [map_.tolist() for map_ in apart(picture, 2)] == [[[255] * 3] * 2, [[0, 255, 255]] * 2]


def test_a_signal_is_a_row_as_long_as_its_map(tmp_path):
    time = np.arange(90.0)
    given = Probes(
        np.stack([np.sin(time / 9)] * 2)[..., None], kind="signal", masks=[time < 30] * 2
    )
    board = Board(tmp_path, given)
    maps = np.array([[0.0, 1, 2, 4]] * 2)
    board.tab.add(snapshot({"a": maps}), {}, {})
    (_, _, _, blobs, _), (_, _, _, (picture,), _) = board.read()
    assert decoded(picture).tolist() == [[0, 64, 128, 255]] * 2
    assert decoded(blobs[2]).tolist() == [[255] * 30 + [0] * 60]


def test_a_volume_lies_frame_by_frame_as_in_its_picture(tmp_path):
    frames = np.zeros((1, 6, 4, 5, 3), np.uint8)
    frames[0, 4] = 255  # of two rows of three, the one in the middle below
    given = Probes(frames, masks=frames[..., 0] > 0)
    board = Board(tmp_path, given)
    maps = (frames[:, :, ::2, ::2, 0] > 0).astype(np.float32)
    board.tab.add(snapshot({"a": maps}), {}, {})
    (_, _, _, (picture, mask), _), (_, _, _, (map_,), _) = board.read()
    map_, mask, picture = decoded(map_), decoded(mask), decoded(picture, "JPEG")
    assert map_.shape == (2 * 2, 3 * 3)
    expected = np.zeros_like(map_)
    expected[2:, 3:6] = 255
    assert (map_ == expected).all()
    assert mask[4:, 5:10].min() == 255
    assert mask.sum() == 255 * 20
    height, width = picture.shape[:2]
    assert picture[height * 3 // 4, width // 2].min() > 240
    assert picture[height // 4, width // 2].max() < 15


def test_a_verdict_names_the_tags_of_its_counterfactual_images(tmp_path):
    verdict = Verdict(
        "relies on the <background>",
        reliance=0.4,
        gaps={"background": (0.4, 0.05), "mark": (0.0, float("nan"))},
        alarm=np.bool_(True),
        cause="background",
        since="epoch 2",
        per_class={0: 0.3, 1: float("nan")},
        masks_from="given",
        threshold=0.25,
        intervals={"background": (0.1, 0.4)},
        grounds={1: 0.75},
        components=(
            ComponentGap(
                "off the object",
                (0.5, 0.0625),
                True,
                (
                    Component(
                        1, 0.75, 0.5, 0.25, np.zeros((1, 18, 24, 3), np.uint8), np.ones((1, 18, 24))
                    ),
                ),
                "epoch 2",
            ),
        ),
    )
    board = Board(tmp_path, probes())
    board.tab.add_verdict(
        verdict, {"background": "Verdict/counterfactuals-background"}, "epoch 3", 2
    )
    board.tab.add_verdict(Verdict("can't say"), {}, "epoch 4", 3)
    (tag, step, said, images, _), (_, _, unsure, _, _) = board.read()
    assert (tag, step) == ("verdict", 2)
    assert said == {
        "version": 2,
        "when": "epoch 3",
        "step": 2,
        "text": "relies on the <background>",
        "reliance": 0.4,
        "gaps": {"background": [0.4, 0.05], "mark": [0.0, None]},
        "alarm": True,
        "cause": "background",
        "since": "epoch 2",
        "per_class": {"cat": 0.3, "dog": None},
        "masks_from": "given",
        "threshold": 0.25,
        "intervals": {"background": [0.1, 0.4]},
        "grounds": {"dog": 0.75},
        "components": {
            "off the object": {
                "gap": [0.5, 0.0625],
                "passes": True,
                "when": "epoch 2",
                "classes": {"dog": {"gap": 0.75, "share": 0.5, "inside": 0.25}},
            }
        },
        "examples": {},
        "receivers": {},
        "sheets": ["background"],
        "sheet_tags": ["Verdict/counterfactuals-background"],
    }
    assert images == []
    assert (unsure["reliance"], unsure["sheets"], unsure["sheet_tags"]) == (None, [], [])


def test_classes_without_names_go_by_their_numbers(tmp_path):
    board = Board(tmp_path, probes(class_names=None))
    board.tab.add_verdict(Verdict("x", per_class={0: 0.3, 1: 0.1}), {}, "epoch 1", 0)
    assert board.read()[0][2]["per_class"] == {"0": 0.3, "1": 0.1}


def test_names_that_are_no_unicode_do_not_stop_it(tmp_path):
    board = Board(tmp_path, probes(class_names=["\udcff", "dog"]))
    board.tab.add(snapshot({}, errors={"a": "x"}), {}, {})
    assert board.read()[0][2]["classes"] == ["?", "dog"]
