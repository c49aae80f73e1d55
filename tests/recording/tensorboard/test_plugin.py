"""The Saliency tab's routes, asked over HTTP of a real TensorBoard with either of its loaders."""

import argparse
import email.utils
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import werkzeug.test
from tensorboard.backend import http_util
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard_data_server import server_binary

from keras_saliency.recording.tensorboard import plugin
from keras_saliency.recording.tensorboard.event_writer import EventWriter, encode_jpeg
from keras_saliency.recording.tensorboard.tfrecord import frame, records

HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = [HOSTILE, "01_\"quoted\" & 'so'", "02_ü\u2028"]
STEPS = list(range(-1, 50))


def png(*shades):
    return cv2.imencode(".png", np.array([shades], np.uint8))[1].tobytes()


def jpeg(shade):
    return encode_jpeg(np.full((9, 12, 3), shade, np.uint8))


def described(**said):
    return json.dumps({"version": 2, **said}).encode()


def maps_of(step, note=None):
    """One set of three maps in one picture, whose shades tell the step."""
    said = described(method="grad_cam", step=step, peak=[1.0, 0.5, None], note=note)
    return [said, png(step + 1, 100, 101, 102)]


GAPS = {"background": [0.5, 0.01], "mark": [0.4, 0.02], "broken": 7, "cast": []}


def write_sound_run(folder):
    folder.mkdir()
    writer = EventWriter(folder)
    about = described(names=NAMES, labels=[None, HOSTILE, "b"], masks=True)
    blobs = [about, jpeg(10), jpeg(20), jpeg(30), png(1), png(2), png(3)]
    writer.blobs("probes", blobs, -1)
    for step in STEPS:
        for method in ("grad-cam", "saliency"):
            writer.blobs(f"maps/{method}", maps_of(step), step)
        writer.scalars({"probes/score": 1.0}, step)
    writer.blobs("verdict", [described(text=HOSTILE, sheets=["a", "b"]), jpeg(1), jpeg(2)], 3)
    writer.blobs("verdict", [described(text="can't say", sheets=[])], 4)
    tags = ["Verdict/counterfactuals-mark", "probes/score", [7], "Verdict/counterfactuals-frame"]
    said = {"alarm": True, "cause": "mark", "gaps": GAPS, "reliance": 0.5}
    named = {"sheets": ["mark", "score", "seven", "frame"], "sheet_tags": tags}
    writer.blobs("verdict", [described(text="relies on", **said, **named)], 5)
    for step in (3, 5):
        image = np.full((8, 12, 3), 40 * step, np.uint8)
        writer.images({"Verdict/counterfactuals-mark": image}, step)
    writer.close()


def write_run(folder, blobs):
    folder.mkdir()
    writer = EventWriter(folder)
    writer.blobs("maps/a", blobs, 0)
    writer.close()


def write_continued_run(folder):
    folder.mkdir()
    first = EventWriter(folder)
    for step in range(8):
        first.blobs("maps/a", maps_of(step, "first"), step)
    first.close()
    second = EventWriter(folder, continued_at=5)
    for step in (5, 6):
        second.blobs("maps/a", maps_of(step, "second"), step)
    second.close()


def write_mixed_run(folder):
    """What earlier versions wrote where a training run was resumed with other probes, twice."""
    folder.mkdir()
    writer = EventWriter(folder)
    for start, names in ((0, NAMES), (2, NAMES[:2]), (4, NAMES), (6, NAMES)):
        pictures = [jpeg(10)] * len(names)
        writer.blobs("probes", [described(names=names, masks=False), *pictures], start)
        for step in (start, start + 1):
            writer.blobs("maps/a", maps_of(step), step)
    writer.close()


def write_broken_runs(root):
    for name in ("truncated", "flipped"):
        (root / name).mkdir()
        writer = EventWriter(root / name)
        for step in range(6):
            writer.blobs("maps/a", maps_of(step), step)
        writer.close()
        data = bytearray(writer.path.read_bytes())
        if name == "truncated":
            del data[len(data) // 2 :]
        else:
            data[len(data) // 2] ^= 255
        writer.path.write_bytes(data)
    (root / "rubbish").mkdir()
    (root / "rubbish" / "events.out.tfevents.1.rubbish").write_bytes(os.urandom(4000))
    (root / "empty").mkdir()
    (root / "empty" / "events.out.tfevents.1.empty").write_bytes(b"")


def write_foreign_run(folder):
    """What others might write under our name."""
    folder.mkdir()
    writer = EventWriter(folder)
    texts = [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 3, "method": "of the future"}',
        b'{"version": 2, "peak": [NaN, Infinity, 1e999, 1%s, 0.5], "step": "x"}' % (b"0" * 400),
        png(1),
        *(
            b'{"version": 2, "deep": ' + b"[" * deep + b"]" * deep + b"}"
            for deep in (500, 900, 1000)
        ),
    ]
    for step, text in enumerate(texts):
        writer.blobs("maps/a", [text, png(1)], step)
    writer.blobs("maps/a", [], len(texts))
    writer.blobs("maps/secret", [described(), b"<script>"], 0)
    writer.blobs("maps/secret", [described(), b"GIF89a"], 1)
    writer.blobs("probes", [described(names=["a", "b"], masks=True), png(1)], 0)
    writer.blobs("verdict", [b"null"], 0)
    writer.blobs("elsewhere", [described()], 0)
    writer.close()


TIMES = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "huge": 1e300, "negative": -5.0}


def write_wrong_times(root):
    """Sound events, but for the times at which they were written."""
    for name, wall_time in TIMES.items():
        run = root / f"time {name}"
        write_run(run, maps_of(0))
        (file,) = run.iterdir()
        events = [event_pb2.Event.FromString(record.data) for record in records(file)]
        for event in events:
            event.wall_time = wall_time
        file.write_bytes(b"".join(frame(event.SerializeToString()) for event in events))


def write_wrong_tensors(folder):
    """Tensors that are not what their metadata says, one of them of an absurd length."""
    for number, (length, dtype, values) in enumerate(
        [
            (10**13, types_pb2.DT_STRING, {"string_val": [b"{}"]}),
            (3, types_pb2.DT_FLOAT, {"float_val": [1, 2, 3]}),
            (5, types_pb2.DT_STRING, {"string_val": [described(), png(1)]}),
        ]
    ):
        run = folder.parent / f"{folder.name}_{number}"
        run.mkdir()
        sizes = [tensor_shape_pb2.TensorShapeProto.Dim(size=length)]
        tensor = tensor_pb2.TensorProto(
            dtype=dtype, tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=sizes), **values
        )
        metadata = summary_pb2.SummaryMetadata(
            plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="keras_saliency"),
            data_class=summary_pb2.DATA_CLASS_BLOB_SEQUENCE,
        )
        value = summary_pb2.Summary.Value(tag="maps/a", metadata=metadata, tensor=tensor)
        event = event_pb2.Event(step=0, wall_time=1.0, summary=summary_pb2.Summary(value=[value]))
        (run / "events.out.tfevents.1.wrong").write_bytes(frame(event.SerializeToString()))


class Server:
    """A TensorBoard of its own process."""

    def __init__(self, logdir, log, *options):
        command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", *options]
        command += ["--host=127.0.0.1", "--port=0", "--reload_interval=1"]
        self.log, self.address = log, None
        with open(log, "wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def wait(self):
        """Wait until it has read the runs."""
        self.address = self._wait_for(self._printed_address)
        self._wait_for(lambda: len(self.json("runs")["runs"]) >= 5)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)

    def _wait_for(self, question):
        deadline = time.monotonic() + 300
        while not (found := question()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        return found

    def _printed_address(self):
        found = re.search(r"TensorBoard .* at (http://127\S+)", self.log.read_text())
        return found and found[1].rstrip("/")

    def get(self, route, base="/data/plugin/keras_saliency/", **parameters):
        """Return status, headers and body."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(self.address + base + route + query, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def json(self, route, **parameters):
        status, headers, body = self.get(route, **parameters)
        assert status == 200, body
        assert headers["Content-Type"] == "application/json"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "no-cache" in headers["Cache-Control"]
        return json.loads(body, parse_constant=lambda name: pytest.fail(name))

    def refusal(self, route, **parameters):
        """Return the status of a refused request, and the sentence."""
        status, headers, body = self.get(route, **parameters)
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
        assert headers["X-Content-Type-Options"] == "nosniff"
        return status, body.decode()


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    root = tmp_path_factory.mktemp("logs")
    write_sound_run(root / HOSTILE)
    write_continued_run(root / "continued")
    write_run(root / "failed", [described(error="no layer")])
    write_mixed_run(root / "mixed")
    write_broken_runs(root)
    write_foreign_run(root / "foreign")
    write_wrong_times(root)
    write_wrong_tensors(root / "wrong")
    return root


@pytest.fixture(scope="module")
def servers(logdir, tmp_path_factory):
    """Both loaders, started side by side as that takes long; the fast one is not everywhere."""
    logs = tmp_path_factory.mktemp("output")
    python = Server(logdir, logs / "python", "--load_fast=false", "--path_prefix=/some/where")
    started = {"python": python}
    if server_binary() is not None:
        started["fast"] = Server(logdir, logs / "fast", "--load_fast=true")
    yield started
    for one in started.values():
        one.stop()


@pytest.fixture(params=["python", "fast"])
def server(request, servers):
    if request.param not in servers:
        pytest.skip("there is no fast loader for this platform")
    found = servers[request.param]
    if found.address is None:
        found.wait()
    return found


def test_the_tab_is_there(server):
    listing = json.loads(server.get("plugins_listing", base="/data/")[2])["keras_saliency"]
    assert listing["enabled"] is True
    assert listing["tab_name"] == "Saliency"
    assert listing["loading_mechanism"]["module_path"].endswith(
        "/data/plugin/keras_saliency/index.js"
    )


def test_all_steps_of_all_methods_are_kept(server):
    found = server.json("runs")["runs"]
    assert found[HOSTILE] == {
        "methods": {"grad-cam": STEPS, "saliency": STEPS},
        "verdict": [3, 4, 5],
    }
    assert "rubbish" not in found
    steps = server.json("maps", run=HOSTILE, method="saliency")["steps"]
    assert [step["step"] for step in steps] == STEPS


def test_the_maps_of_each_step_are_those_that_were_written(server):
    for method in ("grad-cam", "saliency"):
        for step in server.json("maps", run=HOSTILE, method=method)["steps"][::10]:
            assert step["peak"] == [1.0, 0.5, None]
            assert abs(step["wall_time"] - time.time()) < 3600
            assert server.get("blob", key=step["key"])[2] == maps_of(step["step"])[1]


def test_a_step_without_maps_has_no_key(server):
    steps = server.json("maps", run="failed", method="a")["steps"]
    assert [(step["error"], step["key"]) for step in steps] == [("no layer", None)]


def test_only_later_steps_on_request(server):
    for since, expected in ((47, [48, 49]), (-1, STEPS[1:]), (-5, STEPS), (49, [])):
        found = server.json("maps", run=HOSTILE, method="grad-cam", since=since)["steps"]
        assert [step["step"] for step in found] == expected


def test_names_stay_data(server):
    found = server.json("probes", run=HOSTILE)
    assert found["names"] == NAMES
    assert found["labels"] == [None, HOSTILE, "b"]
    shades = [
        cv2.imdecode(np.frombuffer(server.get("blob", key=key)[2], np.uint8), -1).flat[0]
        for key in found["pictures"] + found["mask_pictures"]
    ]
    assert shades == [10, 20, 30, 1, 2, 3]


def test_verdicts_and_their_sheets(server):
    first, second, _ = server.json("verdicts", run=HOSTILE)["steps"]
    assert (first["text"], first["step"], second["text"]) == (HOSTILE, 3, "can't say")
    assert second["sheet_keys"] == []
    for i, key in enumerate(first["sheet_keys"]):
        status, headers, body = server.get("blob", key=key)
        assert (status, headers["Content-Type"]) == (200, "image/jpeg")
        assert body == jpeg(1 + i)


def test_counterfactual_images_are_those_of_the_images_tab(server):
    *_, last = server.json("verdicts", run=HOSTILE)["steps"]
    mark, score, seven, frame = last["sheet_keys"]
    status, headers, body = server.get("blob", key=mark)
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    found = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert found.shape == (8, 12, 3)
    assert np.abs(found.astype(int) - 200).max() < 4  # that of its step
    assert frame is None  # it was not written, or TensorBoard dropped it
    assert (score, seven) == (None, None)  # whoever wrote this file can't have others handed out


def test_an_alarm_comes_with_its_reason_and_what_to_do(server):
    first, _, last = server.json("verdicts", run=HOSTILE)["steps"]
    assert (first["why"], first["actions"]) == (None, [])
    assert last["why"].startswith("The mark is named although the background has the larger gap")
    assert [action["link"].partition("#")[2] for action in last["actions"]] == [
        "vary-it",
        "collect-images",
        "re-train-the-head",
    ]


def test_pictures_are_kept_by_the_browser_for_a_day(server):
    mask = server.json("probes", run=HOSTILE)["mask_pictures"][0]
    maps = server.json("maps", run=HOSTILE, method="grad-cam")["steps"][0]["key"]
    for key in (mask, maps):
        status, headers, _ = server.get("blob", key=key)
        assert (status, headers["Content-Type"]) == (200, "image/png")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "max-age=86400" in headers["Cache-Control"]
        expires = email.utils.parsedate_to_datetime(headers["Expires"]).timestamp()
        assert abs(expires - time.time() - 86400) < 120


def test_a_continued_run_shows_what_was_written_last(server):
    steps = server.json("maps", run="continued", method="a")["steps"]
    found = {step["step"]: step["note"] for step in steps}
    assert found == dict.fromkeys(range(5), "first") | dict.fromkeys((5, 6), "second")


def test_maps_of_other_probes_are_not_drawn_on_the_newest(server):
    steps = server.json("maps", run="mixed", method="a")["steps"]
    assert [step["step"] for step in steps] == list(range(8))
    assert [step.get("error") for step in steps] == ["the probes were others then"] * 4 + [None] * 4
    assert [step.get("peak") for step in steps] == [None] * 4 + [[1.0, 0.5, None]] * 4
    later = server.json("maps", run="mixed", method="a", since=2)["steps"]
    assert later == steps[3:]


def test_what_cannot_be_read_of_a_run_is_left_out(server):
    for run in ("truncated", "flipped"):
        steps = server.json("maps", run=run, method="a")["steps"]
        assert 1 <= len(steps) < 6
        assert [step["step"] for step in steps] == list(range(len(steps)))


def test_foreign_json_is_left_out_or_cleaned(server):
    assert set(server.json("runs")["runs"]["foreign"]["methods"]) == {"a", "secret"}
    (step,) = server.json("maps", run="foreign", method="a")["steps"]
    assert (step["step"], step["peak"]) == (6, [None, None, None, None, 0.5])
    assert server.json("verdicts", run="foreign")["steps"] == []
    status, sentence = server.refusal("probes", run="foreign")
    assert status == 404
    assert "can't be read" in sentence


@pytest.mark.parametrize("name", TIMES)
def test_a_time_that_is_none_does_no_harm(server, name):
    if server.get("maps", run=f"time {name}", method="a")[0] == 404:
        # The fast loader takes no event whose time is not finite.
        assert not np.isfinite(TIMES[name])
        assert "--load_fast=true" in server.process.args
        return
    (step,) = server.json("maps", run=f"time {name}", method="a")["steps"]
    assert (step["step"], step["wall_time"]) == (0, 0)
    assert server.get("blob", key=step["key"])[2] == maps_of(0)[1]


def test_wrong_tensors_do_no_harm(server):
    for run in ("wrong_0", "wrong_1", "wrong_2"):
        status, _, body = server.get("maps", run=run, method="a")
        assert status in (200, 404)
        # The fast loader takes the strings that there are, whatever their number.
        assert status == 404 or len(json.loads(body)["steps"]) <= (run == "wrong_2")
    assert HOSTILE in server.json("runs")["runs"]


def test_only_pictures_are_handed_out(server):
    for step in server.json("maps", run="foreign", method="secret")["steps"]:
        status, sentence = server.refusal("blob", key=step["key"])
        assert status == 400
        assert "picture" in sentence


@pytest.mark.parametrize(
    ("route", "parameters", "status", "words"),
    [
        ("probes", {}, 400, "'run'"),
        ("maps", {"run": HOSTILE}, 400, "'method'"),
        ("maps", {"method": "grad-cam"}, 400, "'run'"),
        ("maps", {"run": HOSTILE, "method": "grad-cam", "since": "x"}, 400, "since"),
        ("verdicts", {}, 400, "'run'"),
        ("blob", {}, 400, "'key'"),
        ("probes", {"run": "none"}, 404, "'none'"),
        ("probes", {"run": "continued"}, 404, "'probes'"),
        ("maps", {"run": HOSTILE, "method": HOSTILE}, 404, HOSTILE),
        ("maps", {"run": "../..", "method": "a"}, 404, "'../..'"),
        ("verdicts", {"run": "continued"}, 404, "'verdict'"),
        ("blob", {"key": "x"}, 404, "key"),
        ("blob", {"key": "1.x"}, 404, "key"),
        ("blob", {"key": "1.ü\0"}, 404, "key"),
        ("blob", {"key": "1.bnVsbA"}, 404, "key"),  # null
        ("blob", {"key": "1.WyIiLCJrIixbXSwidCIsMCwwXQ"}, 404, "key"),  # ["","k",[],"t",0,0]
        ("blob", {"key": "1.WyIiLCJrIiwiciIsInQiLDAsMF0"}, 404, "key"),  # ["","k","r","t",0,0]
    ],
)
def test_bad_requests_are_refused_in_a_sentence(server, route, parameters, status, words):
    found, sentence = server.refusal(route, **parameters)
    assert found == status
    assert words in sentence
    assert sentence.endswith(".")


def test_nothing_else_is_served(server):
    for path in ("../plugin.py", "%2e%2e/plugin.py", "static/index.js", "plugin.py", "records"):
        assert server.get(path)[0] == 404


def test_tensorboard_is_still_standing(server):
    assert server.get("", base="/")[0] == 200
    assert b"Traceback" not in server.log.read_bytes()
    assert server.process.poll() is None


def ask(path, folder, monkeypatch):
    """Ask for a static file where the page lies in another folder."""
    monkeypatch.setattr(plugin, "_STATIC", folder)
    context = SimpleNamespace(data_provider=object())
    apps = plugin.SaliencyLoader().load(context).get_plugin_apps()
    app = apps.get(path, http_util.Respond)
    if app is http_util.Respond:
        return None
    try:
        return werkzeug.test.Client(app).get(path)
    except plugin.errors.PublicError as error:
        return error.http_code


def test_static_files_are_served_by_name_and_kind(tmp_path, monkeypatch):
    (tmp_path / "index.js").write_text("export const ü = 1;")
    (tmp_path / "page.css").write_text("b {}")
    (tmp_path / "notes.txt").write_text("secret")
    for name, kind in (("index.js", "text/javascript"), ("page.css", "text/css")):
        answer = ask(f"/{name}", tmp_path, monkeypatch)
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.data == (tmp_path / name).read_bytes()
    assert ask("/notes.txt", tmp_path, monkeypatch) is None


def test_a_missing_page_is_a_404(tmp_path, monkeypatch):
    assert ask("/index.js", tmp_path / "none", monkeypatch) == 404


def test_more_steps_are_kept_unless_the_user_says_otherwise():
    flags = argparse.Namespace(samples_per_plugin={})
    plugin.SaliencyLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {"keras_saliency": 1000}
    flags.samples_per_plugin = {"keras_saliency": 7, "images": 3}
    plugin.SaliencyLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {"keras_saliency": 7, "images": 3}
    for strange in (argparse.Namespace(), argparse.Namespace(samples_per_plugin="")):
        plugin.SaliencyLoader().fix_flags(strange)


def test_without_data_there_is_no_plugin():
    assert plugin.SaliencyLoader().load(SimpleNamespace(data_provider=None)) is None


def test_the_entry_point_imports_nothing_that_could_stop_tensorboard():
    code = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        "(point,) = entry_points(group='tensorboard_plugins', name='keras_saliency')\n"
        "loader = point.load()\n"
        "from tensorboard.plugins.base_plugin import TBLoader\n"
        "assert issubclass(loader, TBLoader)\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "heavy = {'keras', 'tensorflow', 'cv2', 'jax', 'torch', 'matplotlib', 'PIL'} & loaded\n"
        "assert not heavy, heavy\n"
        "print(*sorted(name for name in sys.modules if name.startswith('keras_saliency')))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    tensorboard = "keras_saliency.recording.tensorboard"
    assert found.stdout.split() == [
        "keras_saliency",
        "keras_saliency.recording",
        "keras_saliency.recording.guidance",
        tensorboard,
        f"{tensorboard}.plugin",
        f"{tensorboard}.plugin_schema",
    ]
