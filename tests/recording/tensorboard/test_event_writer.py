"""The event files, read back with TensorBoard's own readers."""

import multiprocessing
import os
import pathlib
import re
import struct
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_file_loader, plugin_event_accumulator
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.util import tensor_util

from keras_saliency.recording.tensorboard import event_writer

from helpers.runs import claim


def read(run):
    accumulator = plugin_event_accumulator.EventAccumulator(
        str(run), size_guidance={}, tensor_size_guidance=dict.fromkeys(PLUGINS, 0)
    )
    accumulator.Reload()
    return accumulator


PLUGINS = ("images", "scalars", "text")


def tensors(run, tag):
    return [(e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in read(run).Tensors(tag)]


def picture(height=37, width=53):
    """A smooth picture whose channels differ, so that swapped channels or axes are seen."""
    rows, columns = np.mgrid[:height, :width]
    red, green, blue = 255 * rows / height, 255 * columns / width, 60 + 0 * rows
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


@pytest.fixture
def run(tmp_path):
    return event_writer.new_run(tmp_path)


def test_a_picture_comes_back_with_its_size_and_colours(run):
    image = picture()
    writer = event_writer.EventWriter(run)
    writer.images({"grad-cam/03_penguin": image}, step=4)
    writer.close()
    ((step, (width, height, data)),) = tensors(run, "grad-cam/03_penguin")
    assert (step, width, height) == (4, b"53", b"37")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert decoded.shape == image.shape
    assert np.abs(decoded.astype(int) - image).max() < 12


def test_thin_coloured_lines_survive_the_jpeg():
    image = np.full((32, 48, 3), 128, np.uint8)
    image[:, ::2] = (255, 0, 0)  # with 4:2:0 sampling the red is spread over both columns
    decoded = cv2.imdecode(
        np.frombuffer(event_writer.encode_jpeg(image), np.uint8), cv2.IMREAD_COLOR
    )
    red = decoded[:, :, 2].astype(int) - decoded[:, :, 1]
    assert red[:, ::2].min() > 200
    assert red[:, 1::2].max() < 50


def test_scalars_and_text_come_back(run):
    writer = event_writer.EventWriter(run)
    writer.scalars({"grad-cam/peak": 0.25, "probes/score": -3.0}, step=0)
    writer.scalars({"grad-cam/peak": np.float32(0.5)}, step=1)
    writer.text({"saliency/verdict": "**über** *all*"}, step=1)
    writer.close()
    assert tensors(run, "grad-cam/peak") == [(0, 0.25), (1, 0.5)]
    assert tensors(run, "probes/score") == [(0, -3.0)]
    ((step, text),) = tensors(run, "saliency/verdict")
    assert (step, text.item().decode()) == (1, "**über** *all*")


def test_each_plugin_finds_its_tags_and_data_classes(run):
    writer = event_writer.EventWriter(run)
    writer.images({"a/0": picture()}, step=0)
    writer.scalars({"b/0": 1.0}, step=0)
    writer.text({"c/0": "x"}, step=0)
    writer.close()
    accumulator = read(run)
    found = {plugin: list(accumulator.PluginTagToContent(plugin)) for plugin in PLUGINS}
    assert found == {"images": ["a/0"], "scalars": ["b/0"], "text": ["c/0"]}
    classes = [accumulator.SummaryMetadata(tag).data_class for tag in ("a/0", "b/0", "c/0")]
    assert classes == [
        summary_pb2.DATA_CLASS_BLOB_SEQUENCE,
        summary_pb2.DATA_CLASS_SCALAR,
        summary_pb2.DATA_CLASS_TENSOR,
    ]


def test_all_pictures_of_a_call_share_one_event(run):
    writer = event_writer.EventWriter(run)
    writer.images({f"a/{i}": picture() for i in range(5)}, step=2)
    writer.images({}, step=3)
    writer.close()
    loaded = list(event_file_loader.EventFileLoader(str(writer.path)).Load())
    assert [len(event.summary.value) for event in loaded] == [0, 5]
    assert loaded[0].file_version == "brain.Event:2"
    assert loaded[0].wall_time <= loaded[1].wall_time


def test_steps_before_zero_are_kept_in_order(run):
    writer = event_writer.EventWriter(run)
    for step in (-1, 0, 1):
        writer.scalars({"a/0": float(step)}, step)
    writer.close()
    assert tensors(run, "a/0") == [(-1, -1.0), (0, 0.0), (1, 1.0)]


def test_what_was_flushed_can_be_read_while_the_writer_is_open(run):
    writer = event_writer.EventWriter(run)
    writer.scalars({"a/0": 1.0}, step=0)
    writer.flush()
    assert tensors(run, "a/0") == [(0, 1.0)]
    writer.close()


def test_close_may_be_called_twice_and_ends_writing(run):
    writer = event_writer.EventWriter(run)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.scalars({"a/0": 1.0}, step=0)


def test_a_deleted_event_file_is_reported(run):
    writer = event_writer.EventWriter(run)
    writer.path.unlink()
    writer.scalars({"a/0": 1.0}, step=0)
    with pytest.raises(FileNotFoundError, match="start a new run"):
        writer.flush()
    writer.close()


def replace(path, how):
    """Put another file in the place of one, as a tool does that keeps two folders alike."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    if how == "a link":
        copy = copy.rename(path.parent.parent / f"kept {path.name}")
        path.unlink()
        path.symlink_to(copy)
    elif how == "deleted first":
        path.unlink()
        copy.rename(path)
    else:
        copy.replace(path)


@pytest.mark.skipif(os.name == "nt", reason="an open file is not replaced there")
@pytest.mark.parametrize("how", ["renamed over it", "deleted first", "a link"])
def test_a_replaced_event_file_costs_nothing_that_comes_later(run, how):
    writer = event_writer.EventWriter(run)
    for step in range(6):
        if step in (2, 4):
            first = writer.path.name
            replace(writer.path, how)
            with pytest.raises(OSError, match=f"replaced the event file {re.escape(first)}"):
                writer.scalars({"a/0": 0.5 * step}, step)
            assert writer.path.name > first
        else:
            writer.scalars({"a/0": 0.5 * step}, step)
        writer.flush()
    writer.close()
    assert tensors(run, "a/0") == [(step, 0.5 * step) for step in range(6)]


def test_where_no_second_file_can_be_made_the_next_write_tries_again(run, monkeypatch):
    writer = event_writer.EventWriter(run)
    writer.scalars({"a/0": 0.0}, 0)
    os.truncate(writer.path, 30)
    first = writer.path
    monkeypatch.setattr(event_writer.socket, "gethostname", lambda: "h" * 300)
    with pytest.raises(OSError, match="too long"):
        writer.scalars({"a/0": 1.0}, 1)
    assert writer.path == first
    monkeypatch.undo()
    with pytest.raises(OSError, match="cut the event file"):
        writer.scalars({"a/0": 2.0}, 2)
    writer.scalars({"a/0": 3.0}, 3)
    writer.close()
    assert tensors(run, "a/0")[-2:] == [(2, 2.0), (3, 3.0)]


def test_threads_may_share_a_writer(run):
    writer = event_writer.EventWriter(run)

    def write(name):
        for step in range(50):
            writer.scalars({name: float(step)}, step)

    threads = [threading.Thread(target=write, args=(f"a/{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    for i in range(4):
        assert tensors(run, f"a/{i}") == [(step, step) for step in range(50)]


def test_two_writers_of_one_run_are_read_in_their_order(run):
    for step in range(3):
        writer = event_writer.EventWriter(run)
        writer.scalars({"a/0": float(step)}, step)
        writer.close()
    assert [path.name for path in sorted(run.iterdir())][-1] == writer.path.name
    assert len(list(run.iterdir())) == 3


@pytest.mark.parametrize(
    ("image", "error", "match"),
    [
        (np.zeros((4, 6, 3), np.float32), TypeError, "image.dtype=float32"),
        (np.zeros((4, 6), np.uint8), ValueError, r"image.shape=\(4, 6\)"),
        (np.zeros((4, 6, 4), np.uint8), ValueError, r"image.shape=\(4, 6, 4\)"),
        (np.zeros((0, 6, 3), np.uint8), ValueError, r"image.shape=\(0, 6, 3\)"),
        (np.zeros((65_501, 1, 3), np.uint8), ValueError, "at most 65500"),
    ],
)
def test_wrong_pictures_are_refused(image, error, match):
    with pytest.raises(error, match=match):
        event_writer.encode_jpeg(image)


def test_runs_are_numbered_and_never_mixed(tmp_path):
    log_dir = tmp_path / "deep" / "logs"
    names = [event_writer.new_run(log_dir).name for _ in range(3)]
    assert names == ["saliency", "saliency_2", "saliency_3"]
    assert event_writer.new_run(log_dir, name="other").name == "other"


def test_a_folder_that_looks_alike_is_left_alone(tmp_path):
    for name in ("saliency_old", "saliency_02", "saliency2", "my_saliency"):
        (tmp_path / name).mkdir()
    assert event_writer.new_run(tmp_path).name == "saliency"


def test_numbers_are_not_used_again(tmp_path):
    event_writer.new_run(tmp_path)
    second = event_writer.new_run(tmp_path)
    (tmp_path / "saliency").rmdir()
    assert second.name == "saliency_2"
    assert event_writer.new_run(tmp_path).name == "saliency_3"


def test_resume_continues_the_newest_run_that_holds_events(tmp_path):
    for _ in range(10):
        event_writer.EventWriter(event_writer.new_run(tmp_path)).close()
    assert event_writer.new_run(tmp_path).name == "saliency_11"  # nothing was ever written there
    assert event_writer.new_run(tmp_path, resume=True).name == "saliency_10"


def test_resume_without_a_run_makes_one(tmp_path):
    assert event_writer.new_run(tmp_path, resume=True) == tmp_path / "saliency"
    assert (tmp_path / "saliency").is_dir()


def test_processes_that_start_together_never_share_a_run(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(3), context.Queue()
    workers = [context.Process(target=claim, args=(tmp_path, barrier, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    claimed = [run for _ in workers for run in queue.get(timeout=30)]
    for worker in workers:
        worker.join()
    assert len(set(claimed)) == 60


def test_a_log_dir_that_is_a_file_says_how_to_mend_it(tmp_path):
    file = tmp_path / "logs"
    file.write_text("not a folder")
    with pytest.raises(OSError, match=r"choose another one.*Received: log_dir="):
        event_writer.new_run(file)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_log_dir_says_how_to_mend_it(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="choose another one"):
        event_writer.new_run(tmp_path)


def test_remote_storage_is_refused_rather_than_made_a_folder():
    with pytest.raises(ValueError, match="gs://bucket/logs"):
        event_writer.new_run("gs://bucket/logs")


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("grad_cam", "grad-cam"),
        ("<lambda>", "lambda"),
        ("my / own_ method", "my-own-method"),
        ("größe 2.5", "größe-2.5"),
        ("///", "unnamed"),
    ],
)
def test_safe_tags_have_neither_slash_nor_underscore(text, tag):
    assert event_writer.safe_tag(text) == tag


def test_importing_pulls_in_neither_tensorflow_nor_keras_nor_opencv():
    code = (
        "import sys; import keras_saliency.recording.tensorboard.event_writer; "
        "print([name for name in ('tensorflow', 'keras', 'cv2') if name in sys.modules])"
    )
    root = pathlib.Path(event_writer.__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_program_may_go_to_another_folder_meanwhile(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    writer = event_writer.EventWriter(event_writer.new_run("logs"))
    monkeypatch.chdir(tmp_path / "there")
    writer.scalars({"a/0": 1.0}, step=0)
    writer.flush()
    writer.close()
    assert tensors(tmp_path / "here" / "logs" / "saliency", "a/0") == [(0, 1.0)]
    assert list((tmp_path / "there").iterdir()) == []


def charts(folder, **options):
    """Each chart's title, and a function that says which tags are on it."""
    run = event_writer.new_run(folder)
    writer = event_writer.EventWriter(run)
    writer.charts(**options)
    writer.close()
    ((_, config),) = tensors(run, "custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(config.item())
    (category,) = layout.category
    return {
        chart.title.partition(":")[0]: [re.compile(tag) for tag in chart.multiline.tag]
        for chart in category.chart
    }


ON = {
    "loss": ["epoch_loss", "epoch_val_loss", "batch_loss", "evaluation_loss_vs_iterations"],
    "accuracy": [
        "epoch_accuracy",
        "epoch_val_accuracy",
        "epoch_sparse_categorical_accuracy",
        "epoch_val_binary_accuracy",
        "epoch_acc",
        "probes/accuracy",
    ],
    "verdict": ["Verdict/reliance", "Verdict/background"],
    "focus": ["focus/grad-cam"],
    "similarity to the maps before": ["similarity/grad-cam"],
}
OFF = ["epoch_learning_rate", "your-probes/focus-grad-cam/00_cat", "probes/score", "grad-cam/peak"]


def test_each_curve_is_on_its_chart(tmp_path):
    found = charts(tmp_path, focus=True, verdict=True)
    assert list(found) == list(ON)
    tags = [*OFF, *(tag for tags in ON.values() for tag in tags)]
    for title, patterns in found.items():  # the plugin uses `match`, too
        assert [tag for tag in tags if any(p.match(tag) for p in patterns)] == ON[title]


@pytest.mark.parametrize("focus", [True, False])
@pytest.mark.parametrize("verdict", [True, False])
def test_there_is_no_chart_without_curves(tmp_path, focus, verdict):
    found = charts(tmp_path, focus=focus, verdict=verdict)
    assert ("focus" in found, "verdict" in found) == (focus, verdict)


def test_the_bytes_of_an_animation_are_not_touched(tmp_path):
    run = event_writer.new_run(tmp_path)
    writer = event_writer.EventWriter(run)
    gif = b"GIF89a" + struct.pack("<HH", 350, 91) + b"..."
    writer.animations({"animation/cam": gif}, 7)
    writer.close()
    ((step, found),) = tensors(run, "animation/cam")
    assert (step, found.tolist()) == (7, [b"350", b"91", gif])
