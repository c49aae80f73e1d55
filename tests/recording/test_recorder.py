"""The recorder, by what it leaves in a real event file."""

import html
import io
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest
from PIL import Image
from tensorboard.util import tensor_util

from keras_saliency.drawing import cards
from keras_saliency.recording import film_strip, recorder, worker
from keras_saliency.recording.overview import Overview
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run
from keras_saliency.shortcuts.components import Component, ComponentGap
from keras_saliency.shortcuts.verdict import Example, Verdict

from helpers.board import LABELS, NAMES, Board, maps, photos, snapshot


def close(first, second):
    """Whether two pictures agree but for the losses of JPEG."""
    return first.shape == second.shape and np.abs(first.astype(int) - second).mean() < 3


def test_tiles_show_what_was_seen_under_their_tags(tmp_path):
    first, second = snapshot(-1, when="before training"), snapshot(3)
    board = Board(tmp_path).write(first, second)
    tags = [f"grad-cam/{name}" for name in NAMES]
    assert board.tags("images") == ["animation/grad-cam", "film-strip/grad-cam", *tags, "overview"]
    for i, tag in enumerate(tags):
        shown = board.images(tag)
        assert list(shown) == [-1, 3]
        for each in (first, second):
            expected = cards.tile(
                photos()[i],
                each.maps["grad_cam"][i],
                title=NAMES[i].replace("_", " "),
                subtitle=f"{each.when} (step {each.step})",
                caption="predicted cat 75 %",
                correct=True,
            )
            assert close(shown[each.step], expected)
    assert board.faults == []


@pytest.mark.parametrize(
    ("changes", "options", "caption"),
    [
        ({}, {}, "predicted cat 75 %"),
        ({"confidence": np.full(3, np.nan), "predicted": ["2.31"] * 3}, {}, "predicted 2.31"),
        ({}, {"of": "log_probability"}, "predicted cat 75 % · log probability"),
        ({"predicted": ["y" * 90] * 3}, {}, f"predicted {'y' * 23}… 75 %"),
    ],
)
@pytest.mark.parametrize("correct", [True, False, None])
def test_the_caption_says_what_the_model_says(tmp_path, changes, options, caption, correct):
    each = snapshot(0, correct=[correct] * 3, **changes)
    board = Board(tmp_path, **options).write(each)
    words = {"title": "00 cat", "subtitle": "epoch 1 (step 0)", "correct": correct}
    expected = cards.tile(photos()[0], each.maps["grad_cam"][0], caption=caption, **words)
    other = cards.tile(photos()[0], each.maps["grad_cam"][0], caption="another", **words)
    shown = board.images("grad-cam/00_cat")[0][-50:].astype(int)
    assert np.abs(shown - expected[-50:]).mean() < 3
    assert np.abs(shown - expected[-50:]).mean() < np.abs(shown - other[-50:]).mean() / 2


def test_numbers_are_the_means_over_what_is_known(tmp_path):
    values = maps()
    values[0] *= 8 / values[0].max()
    values[1] = 0
    values[2] = -values[2] * 4 / values[2].max()
    each = snapshot(
        5,
        maps={"grad_cam": values, "my method": np.full((3, 2, 2), np.nan, np.float32)},
        scores=np.array([1.0, np.nan, 4.0]),
        probability=np.array([0.2, 0.4, np.nan]),
        correct=[True, None, False],
        logs={"loss": 0.25, "val_accuracy": np.float32(0.5), "bad": float("nan")},
    )
    board = Board(tmp_path).write(each)
    expected = {
        "probes/score": 2.5,
        "probes/probability": 0.3,
        "probes/accuracy": 0.5,
        "grad-cam/peak": 4.0,  # the median of 8, 0 and 4
        "grad-cam/dead": 1 / 3,
        "my-method/dead": 1.0,
        "your-probes/score/00_cat": 1.0,
        "your-probes/score/02_dog": 4.0,
        "your-probes/probability/00_cat": 0.2,
        "your-probes/probability/01_cat": 0.4,
        "your-probes/peak-grad-cam/00_cat": 8.0,
        "your-probes/peak-grad-cam/01_cat": 0.0,
        "your-probes/peak-grad-cam/02_dog": 4.0,
        "epoch_loss": 0.25,
        "epoch_val_accuracy": 0.5,
        "epoch_bad": np.nan,
    }
    assert board.tags("scalars") == sorted(expected)
    for tag, value in expected.items():
        assert board.scalar(tag) == {5: pytest.approx(value, nan_ok=True)}
    assert board.faults == []


def test_numbers_that_nobody_knows_are_left_out(tmp_path):
    nothing = np.full(3, np.nan)
    each = snapshot(0, probability=nothing, confidence=nothing, correct=[None] * 3)
    tags = Board(tmp_path).write(each).tags("scalars")
    assert "probes/score" in tags
    assert not [tag for tag in tags if "probability" in tag or "accuracy" in tag]


def test_a_failed_method_is_shown_as_failed_and_the_others_as_usual(tmp_path):
    failed = snapshot(1, errors={"saliency": "layer 'a' did not run"})
    board = Board(tmp_path).write(
        snapshot(0, maps={"saliency": maps(), "grad_cam": maps()}), failed
    )
    shown = board.images("saliency/00_cat")
    expected = cards.error_tile(
        photos()[0], "layer 'a' did not run", title="00 cat", subtitle="epoch 2 (step 1)"
    )
    assert close(shown[1], expected)
    assert shown[0].shape == shown[1].shape
    assert list(board.images("grad-cam/00_cat")) == [0, 1]
    assert list(board.scalar("saliency/peak")) == [0]
    strips = board.images("film-strip/saliency")
    assert strips[1].shape[1] > strips[0].shape[1]


def test_a_method_once_negative_stays_signed(tmp_path):
    values = maps()
    board = Board(tmp_path).write(
        snapshot(0, maps={"m": values}),
        snapshot(1, maps={"m": -values}),
        snapshot(2, maps={"m": values}),
    )
    shown = board.images("m/00_cat")
    for step, value, signed in [(0, values, False), (1, -values, True), (2, values, True)]:
        expected = cards.tile(
            photos()[0],
            value[0],
            title="00 cat",
            subtitle=f"epoch {step + 1} (step {step})",
            caption="predicted cat 75 %",
            correct=True,
            signed=signed,
        )
        assert close(shown[step], expected)


class CountingWriter(EventWriter):
    def __init__(self, run_dir):
        super().__init__(run_dir)
        self.counts = []

    def images(self, images, step):
        self.counts.append(len(images))
        super().images(images, step)


def test_pictures_of_many_probes_are_not_held_all_at_once(tmp_path):
    writer = CountingWriter(new_run(tmp_path))
    board = Board(tmp_path, n=40, writer=writer)
    board.run = writer.path.parent
    tags = board.write(snapshot(0, n=40)).tags("images")
    assert max(writer.counts) == 16
    assert len([tag for tag in tags if tag.startswith("grad-cam/")]) == 40


def test_few_probes_are_drawn_but_all_are_counted(tmp_path):
    n = 7
    board = Board(
        tmp_path,
        names=[f"{i:02d}" for i in range(n)],
        display=photos(n),
        labels=["cat", "cat", "cat", "cat", "dog", "dog", None],
        drawn=4,
    ).write(snapshot(0, n=n, scores=np.arange(n, dtype=np.float32)))
    drawn = [tag for tag in board.tags("images") if tag.startswith("grad-cam/")]
    assert drawn == ["grad-cam/00", "grad-cam/01", "grad-cam/04", "grad-cam/06"]
    tags = board.tags("scalars")
    assert [tag for tag in tags if tag.startswith("your-probes/score/")] == [
        tag.replace("grad-cam", "your-probes/score") for tag in drawn
    ]
    assert board.scalar("probes/score") == {0: 3.0}


def columns_of(strip, narrowest):
    """How many columns a strip of one probe has, by its width and that of one with one column."""
    return 1 + (strip.shape[1] - narrowest.shape[1]) // (96 + 2)


def test_the_film_strip_spans_the_training_and_is_thinned_evenly(tmp_path):
    board = Board(tmp_path, n=1)
    board.write(*(snapshot(step, n=1) for step in range(47)))
    strips = board.images("film-strip/grad-cam")
    columns = {step: columns_of(strip, strips[0]) for step, strip in strips.items()}
    # Written again when it spans a quarter more, and at the end.
    assert list(columns) == [*range(8), 9, 11, 14, 17, 21, 26, 32, 40, 46]
    assert all(columns[step] == step + 1 for step in columns if step < 20)
    assert all(11 <= columns[step] <= 20 for step in columns if step > 20)
    kept = film_strip.Columns()
    for step in range(200):
        kept.add(film_strip.Column(step, str(step), np.zeros((1, 2, 2, 3))))
        shown = [column.step for column in kept.shown]
        assert (shown[0], shown[-1], len(shown) <= 20) == (0, step, True)
        assert len(set(np.diff(shown[:-1]))) <= 1  # even, but for the newest
        assert len(kept.kept) < 20


def resumed(board, *snapshots, **options):
    """Go on in the run of a board with a recorder of its own."""
    going_on = Board(board.run.parent / "unused", writer=EventWriter(board.run), **options)
    going_on.run = board.run
    return going_on.write(*snapshots)


@pytest.mark.parametrize("stop", [3, 19, 20, 29])
def test_the_film_strip_goes_on_where_a_training_is_resumed(tmp_path, stop):
    def train(folder, steps):
        strips = film_strip.FilmStrips(NAMES, LABELS, photos(), "logits", 1, tmp_path / folder)
        newest = {}
        for step in steps:
            for method in ("grad_cam", "my own"):
                seen = maps(seed=step) ** len(method)
                strip = strips.add(method, step, f"epoch {step + 1}", seen, signed=False)
                newest |= {} if strip is None else {method: strip}
        strips.store()
        newest |= {method: strip for method, (_, strip) in strips.unwritten().items()}
        return newest["grad_cam"], newest["my own"]

    whole = train("whole", range(32))
    train("parts", range(stop))
    for once, twice in zip(whole, train("parts", range(stop, 32)), strict=True):
        if stop == 29:  # what was seen since the last column that is kept is forgotten
            once, twice = once[:, : 124 + 14 * 98], twice[:, : 124 + 14 * 98]
        assert close(once, twice)


def test_a_recorder_in_an_old_run_goes_on_with_its_film_strip(tmp_path):
    seen = [snapshot(step) for step in range(3)]
    board = resumed(Board(tmp_path / "a").write(*seen[:2]), seen[2])
    assert board.faults == []
    whole = Board(tmp_path / "b").write(*seen).images("film-strip/grad-cam")[2]
    assert close(board.images("film-strip/grad-cam")[2], whole)


def test_what_is_gone_through_again_replaces_what_was_seen(tmp_path):
    lost, again = snapshot(2, maps={"grad_cam": maps(seed=8)}), snapshot(2)
    board = Board(tmp_path / "a").write(snapshot(0), snapshot(1), lost)
    strip = resumed(board, again).images("film-strip/grad-cam")[2]
    straight = Board(tmp_path / "b").write(snapshot(0), snapshot(1), again)
    assert close(strip, straight.images("film-strip/grad-cam")[2])


def spoilt(path, how):
    data = path.read_bytes()
    if how == "absent":
        path.unlink()
    else:
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"spoilt"}[how])


@pytest.mark.parametrize("how", ["absent", "cut", "empty", "text", "probes", "names"])
def test_a_film_strip_that_can_not_go_on_begins_anew(tmp_path, how):
    board = Board(tmp_path / "a").write(snapshot(0), snapshot(1))
    options = {"probes": {"display": 255 - photos()}, "names": {"names": ["a", "b", "c"]}}
    if how not in options:
        spoilt(board.run / "film-strips" / "grad-cam.npz", how)
    strip = resumed(board, snapshot(2), **options.get(how, {}))
    assert strip.faults == []
    fresh = Board(tmp_path / "b", **options.get(how, {})).write(snapshot(2))
    assert close(strip.images("film-strip/grad-cam")[2], fresh.images("film-strip/grad-cam")[2])


def test_the_cells_of_the_film_strip_are_the_maps(tmp_path):
    each = [snapshot(step) for step in range(3)]
    board = Board(tmp_path).write(*each)
    small = cards.thumbnails(photos())
    columns = [
        (
            s.when,
            np.stack([cards.cell(p, m) for p, m in zip(small, s.maps["grad_cam"], strict=True)]),
        )
        for s in each
    ]
    title = "grad cam · logits, each picture on its own scale up to its peak"
    names = [name.replace("_", " ") for name in NAMES]
    expected = cards.film_strip(small, names, columns, title=title)
    assert close(board.images("film-strip/grad-cam")[2], expected)


class SlowWriter(EventWriter):
    """A disk that takes pictures only when it is let."""

    def __init__(self, run_dir):
        super().__init__(run_dir)
        self.let = threading.Event()

    def images(self, images, step):
        assert self.let.wait(30)
        super().images(images, step)


def test_recording_returns_before_anything_is_written(tmp_path):
    writer = SlowWriter(new_run(tmp_path))
    board = Board(tmp_path, n=64, writer=writer)
    board.run = writer.path.parent
    board.recorder.record(snapshot(0, n=64))
    assert not board.recorder.flush(0.01)
    writer.let.set()
    assert board.recorder.flush(30)
    assert len(board.tags("images")) == 66  # which can be read before the recorder is closed
    (strip,) = board.images("film-strip/grad-cam").values()
    assert strip.shape[0] == 46 + 64 * (48 + 2) + 6  # many probes have smaller cells
    board.recorder.close()


def test_when_drawing_cannot_keep_up_pictures_are_dropped_and_numbers_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "_PATIENCE_S", 0.05)
    writer = SlowWriter(new_run(tmp_path))
    board = Board(tmp_path, writer=writer)
    board.run = writer.path.parent
    start = time.perf_counter()
    for step in range(7):
        board.recorder.record(snapshot(step))
    assert time.perf_counter() - start < 5
    assert not board.recorder.flush(0.01)
    writer.let.set()
    assert board.recorder.flush(30)
    board.recorder.record(snapshot(7))
    board.recorder.close()
    assert list(board.images("grad-cam/00_cat")) == [0, 1, 7]
    assert list(board.scalar("grad-cam/peak")) == list(range(8))
    (message,) = board.faults
    assert "pictures of epoch 3 are left out" in message


def test_a_fault_is_told_once_and_the_rest_goes_on(tmp_path):
    broken = {"bad": np.zeros((3, 0, 5), np.float32), "grad_cam": maps()}
    several = [snapshot(step, maps=dict(broken)) for step in range(3)]
    board = Board(tmp_path).write(*several, snapshot(3))
    assert list(board.images("grad-cam/00_cat")) == [0, 1, 2, 3]
    assert list(board.scalar("probes/score")) == [3]
    assert sum("draw the maps of bad" in message for message in board.faults) == 1
    assert len(board.faults) == len(set(board.faults)) == 2


def test_a_deleted_folder_is_told_once_and_never_raises(tmp_path):
    board = Board(tmp_path)
    board.recorder.record(snapshot(0))
    assert board.recorder.flush(30)
    shutil.rmtree(board.run)
    board.write(snapshot(1), snapshot(2))
    (message,) = board.faults
    assert "is incomplete since epoch 2" in message
    assert "deleted" in message


def test_a_fault_that_cannot_be_told_does_not_end_the_worker(tmp_path, caplog):
    def refuse(message):
        raise UserWarning(message)

    board = Board(tmp_path, on_fault=refuse)
    board.write(snapshot(0, maps={"bad": np.zeros((3, 0, 5), np.float32)}), snapshot(1))
    assert list(board.images("grad-cam/00_cat")) == [1]
    assert "could not" in caplog.text


def test_by_default_faults_are_warnings(tmp_path):
    board = Board(tmp_path, on_fault=recorder._warn)
    board.recorder.close()
    with pytest.warns(UserWarning, match="the recorder is closed"):
        board.recorder.record(snapshot(0))


def test_no_thread_before_the_first_snapshot_and_none_after_close(tmp_path):
    def workers():
        every = set(threading.enumerate()) - before
        return [thread for thread in every if thread.name == "keras-saliency"]

    before = set(threading.enumerate())  # an interrupted training's lives until Python ends
    board = Board(tmp_path)
    assert workers() == []
    assert board.recorder.flush(0)
    board.recorder.record(snapshot(0))
    (thread,) = workers()
    assert thread.daemon
    board.recorder.close()
    board.recorder.close()
    assert workers() == []


def run_script(tmp_path, ending):
    script = f"""
        import numpy as np, os, sys
        sys.path.insert(0, {os.path.dirname(os.path.dirname(__file__))!r})
        from helpers.board import Board, snapshot
        board = Board({str(tmp_path)!r}, n=8)
        for step in range(3):
            board.recorder.record(snapshot(step, n=8))
        {ending}
    """
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("ending", "status"),
    [("pass", 0), ("raise KeyboardInterrupt", -signal.SIGINT), ("sys.exit(7)", 7)],
)
def test_nothing_is_lost_when_the_interpreter_exits(tmp_path, ending, status):
    done = run_script(tmp_path, ending)
    assert "Exception ignored" not in done.stderr
    assert done.returncode == status
    board = Board.__new__(Board)
    board.run = tmp_path / "saliency"
    assert list(board.images("grad-cam/07_cat")) == [0, 1, 2]


def test_a_forked_child_does_not_wait_for_a_thread_it_lacks(tmp_path):
    done = run_script(tmp_path, "sys.exit(0) if os.fork() == 0 else os.wait()")
    assert done.returncode == 0, done.stderr


def test_the_default_warning_may_be_silenced(tmp_path):
    board = Board(tmp_path, on_fault=recorder._warn)
    board.recorder.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        board.recorder.record(snapshot(0))
    assert board.tags("images") == []


def test_focus_and_similarity_have_curves(tmp_path):
    masks = np.zeros((3, 8, 10))
    masks[:2, :, :5] = 1  # of the third probe nothing is known
    first, second = maps(seed=1), maps(seed=2)
    first[0] = [3, 3, 3, 0, 0]  # all of it on the left half, and in its middle column half of one
    seen = [snapshot(i, maps={"grad_cam": each}) for i, each in enumerate((first, second))]
    board = Board(tmp_path, masks=masks).write(*seen)
    left = [(m[:2, :, :2].sum((1, 2)) + m[:2, :, 2].sum(1) / 2) for m in (first, second)]
    wanted = [on / m[:2].sum((1, 2)) * 2 for on, m in zip(left, (first, second), strict=True)]
    assert wanted[0][0] == pytest.approx(5 / 3)
    for step in (0, 1):
        assert board.scalar("focus/grad-cam")[step] == pytest.approx(wanted[step].mean())
        for i, name in enumerate(NAMES[:2]):
            found = board.scalar(f"your-probes/focus-grad-cam/{name}")[step]
            assert found == pytest.approx(wanted[step][i])
    assert "your-probes/focus-grad-cam/02_dog" not in board.tags("scalars")
    alike = [np.corrcoef(first[i].ravel(), second[i].ravel())[0, 1] for i in range(3)]
    assert board.scalar("similarity/grad-cam") == {1: pytest.approx(np.mean(alike))}
    assert board.faults == []


def test_without_masks_there_is_no_focus(tmp_path):
    board = Board(tmp_path).write(snapshot(0), snapshot(1))
    assert not [tag for tag in board.tags("scalars") if tag.startswith("focus")]


def test_the_overview_is_that_of_each_set(tmp_path):
    values = maps()
    seen = [
        snapshot(0, maps={"m": -values, "n": values}),
        snapshot(1, maps={"m": values, "n": values}),
    ]
    board = Board(tmp_path, of="probability").write(*seen)
    drawn = Overview(NAMES, photos(), LABELS, "probability")
    shown = board.images("overview")
    assert list(shown) == [0, 1]
    assert close(shown[0], drawn.draw(seen[0]))
    assert close(shown[1], drawn.draw(seen[1].signed_after(seen[0].signed_after(None))))
    assert not close(shown[1][-20:], drawn.draw(seen[1])[-20:])


def test_an_animation_of_each_method_is_written_at_the_end(tmp_path):
    board = Board(tmp_path)
    for step in range(3):
        board.recorder.record(snapshot(step, maps={"a_b": maps(seed=step), "c": maps()}))
    assert board.recorder.flush(30)
    assert not [tag for tag in board.tags("images") if tag.startswith("animation")]
    board.recorder.close()
    for tag in ("animation/a-b", "animation/c"):
        (event,) = board.read().Tensors(tag)
        width, height, data = tensor_util.make_ndarray(event.tensor_proto)
        gif = Image.open(io.BytesIO(data))
        assert (gif.format, gif.n_frames, event.step) == ("GIF", 3, 2)
        assert gif.size == (int(width), int(height))
    assert board.faults == []


def test_probes_that_are_classified_wrongly_have_a_sheet_where_there_are_some(tmp_path):
    board = Board(tmp_path)
    board.recorder.record(snapshot(0))
    board.recorder.record(snapshot(1, correct=[True, np.bool_(False), None]))
    board.recorder.close()
    assert list(board.images("classified-wrongly")) == [1]
    assert board.images("classified-wrongly")[1].shape == board.images("overview")[1].shape


def test_training_images_are_on_a_sheet_for_each_list_that_has_some(tmp_path):
    blue = np.full((30, 40, 3), (30, 60, 200), np.uint8)
    listed = {"teaching": [Example("a.jpg", 0, 0.99, blue)] * 5, "contradicting": []}
    board = Board(tmp_path)
    board.recorder.record_verdict(Verdict("x", 0.5, examples=listed), "epoch 2", 1)
    board.recorder.close()
    (sheet,) = board.images("Verdict/examples-teaching").values()
    wide = (sheet.astype(int)[..., 2] - sheet[..., 0] > 80).sum()
    assert wide > 5 * 0.9 * cards.thumbnails(blue[None], 108)[0, ..., 0].size
    assert "Verdict/examples-contradicting" not in board.read().Tags()["tensors"]


def test_components_that_pass_have_a_curve_and_a_sheet_of_their_images(tmp_path):
    images = np.full((8, 12, 16, 3), (200, 30, 30), np.uint8)
    maps = np.zeros((8, 12, 16), np.float32)
    maps[:, :, :8] = 1
    one = Component(0, 0.5, 0.5, 0.1, images, maps)
    places = [
        ComponentGap("off the object", (0.5, 0.1), True, (one,), "epoch 2"),
        ComponentGap("on the object", (0.25, 0.1), False, (one,), "epoch 2"),
    ]
    board = Board(tmp_path)
    board.recorder.record_verdict(Verdict("x", 0.5, components=tuple(places)), "epoch 2", 1)
    board.recorder.close()
    assert board.scalar("Verdict/off-the-object") == {1: 0.5}
    assert board.scalar("Verdict/on-the-object") == {1: 0.25}
    (sheet,) = board.images("Verdict/feature-components-off-the-object").values()
    red = (sheet[..., 0].astype(int) - sheet[..., 1]) > 120
    assert red[:, : sheet.shape[1] // 2].any()  # in colour where the component lies
    assert 0.1 < red.mean() < 0.5  # and pale elsewhere
    assert "Verdict/feature-components-on-the-object" not in board.read().Tags()["tensors"]


def test_a_verdict_in_the_text_tab_is_words_and_never_markup(tmp_path):
    board = Board(tmp_path)
    words = "relies on <img src=x onerror=alert(1)> [a](http://b.c) **`|# since epoch 1"
    board.recorder.record_verdict(Verdict(words, 0.5), "epoch 2", 1)
    board.recorder.close()
    (event,) = board.read().Tensors("Verdict/in-words")
    text = tensor_util.make_ndarray(event.tensor_proto).item().decode()
    moment, shown = text.split(": ", 1)
    assert moment == "**epoch 2 (step 1)**"
    assert not set(shown) & set("<>[]()*`|\\")
    assert html.unescape(shown) == words


def test_charts_and_pages_are_written(tmp_path):
    board = Board(tmp_path)
    board.recorder.record_charts(focus=True, verdict=False)
    board.recorder.record_text({"about": "# all"}, 3)
    board.recorder.close()
    assert board.tags("custom_scalars") == ["custom_scalars__config__"]
    (event,) = board.read().Tensors("about")
    assert (event.step, tensor_util.make_ndarray(event.tensor_proto).item()) == (3, b"# all")
    assert board.faults == []
