"""What reads files or addresses that others may have written, each as a function of bytes.

Each has seeds to begin from. It raises for what is a fault of ours, and for nothing else: a file
that can't be read is refused or left out.
"""

import contextlib
import io
import json
import random
import re
import tempfile
import warnings
import zipfile
from pathlib import Path

import cv2
import numpy as np
import werkzeug.test
from PIL import Image
from tensorboard import errors
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext

from keras_saliency.data.image_files import read_image
from keras_saliency.recording.film_strip import FilmStrips
from keras_saliency.recording.report.check import check
from keras_saliency.recording.report.page import page
from keras_saliency.recording.tensorboard.event_reader import newest
from keras_saliency.recording.tensorboard.event_writer import EventWriter, encode_jpeg
from keras_saliency.recording.tensorboard.plugin import SaliencyPlugin
from keras_saliency.recording.tensorboard.tfrecord import frame

FAST = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
TYPES = {"image/png", "image/jpeg"}


# --- event files, and what the plugin's routes answer --------------------------------------------


def pages(files):
    """A client for each route of a plugin that reads the event files of the run "r"."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        run = Path(folder) / "r"
        run.mkdir()
        for number, content in enumerate(files):
            (run / f"events.out.tfevents.{number}.host").write_bytes(content)
        multiplexer = EventMultiplexer()
        multiplexer.AddRun(str(run), "r")
        with contextlib.suppress(Exception):  # TensorBoard's, of records that are no events
            multiplexer.Reload()
        plugin = SaliencyPlugin(TBContext(data_provider=MultiplexerDataProvider(multiplexer, "")))
        return {
            route: werkzeug.test.Client(app)
            for route, app in plugin.get_plugin_apps().items()
            if "." not in route
        }


def ask(clients, route, **parameters):
    """The answer, or None where it is refused in a sentence."""
    try:
        answer = clients[route].get(route, query_string=parameters)
    except errors.PublicError as error:
        assert 400 <= error.http_code < 500
        return None
    assert answer.status_code == 200
    return answer


def said(clients, route, **parameters):
    answer = ask(clients, route, **parameters)
    if answer is None:
        return None
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.data, parse_constant=_never)


def visit(clients):
    """Ask for everything that a page could ask for."""
    for run, found in said(clients, "/runs")["runs"].items():
        probes = said(clients, "/probes", run=run)
        keys = [] if probes is None else probes["pictures"] + (probes["mask_pictures"] or [])
        for method in found["methods"]:
            steps = (said(clients, "/maps", run=run, method=method) or {"steps": []})["steps"]
            for step in steps:
                assert isinstance(step["step"], int)
                keys += [step["key"]] if step["key"] is not None else []
        for step in (said(clients, "/verdicts", run=run) or {"steps": []})["steps"]:
            keys += step["sheet_keys"]
        for key in keys:
            answer = ask(clients, "/blob", key=key)
            assert answer is None or answer.headers["Content-Type"] in TYPES


def parts_of(data):
    """Split bytes into parts, each after its length in two bytes."""
    parts = []
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        parts, data = [*parts, data[2:end]], data[end:]
    return parts


def joined(parts):
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def records_of(content):
    """The data of the records of an event file."""
    while content:
        end = 12 + int.from_bytes(content[:8], "little")
        yield content[12:end]
        content = content[end + 4 :]


def event_file(data):
    """An event file of these bytes."""
    visit(pages([data]))


def events(data):
    """An event file whose records are right, and whose events are these parts."""
    visit(pages([b"".join(frame(part) for part in parts_of(data) if len(part) >= 4)]))


def blobs(data):
    """A sound event file that holds these parts as blobs: probes, maps and a verdict."""
    visit(pages([_file_of(data)]))


def _file_of(data):
    parts = parts_of(data)
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        writer = EventWriter(folder)
        for place, tag in enumerate(("probes", "maps/a", "verdict")):
            for step in range(2):
                writer.blobs(tag, parts[2 * place + step :: 6], step)
        writer.close()
        return writer.path.read_bytes()


def report_file(data):
    """An event file of these bytes, out of which a report is made."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        (Path(folder) / "events.out.tfevents.1234567890.host").write_bytes(data)
        try:
            training, _ = newest(folder)
        except ValueError:
            return  # it holds no training run
        content = page({"a": training, "b": training}, room=10_000).decode()
        scripts = re.findall(r"<script[^>]*>(.*?)</script>", content, re.DOTALL)
        assert len(scripts) == 2
        json.loads(scripts[0], parse_constant=_never)
        with contextlib.suppress(ValueError):  # there is no verdict
            check(training)


def reports(data):
    """A sound event file that holds these parts as blobs, out of which a report is made."""
    report_file(_file_of(data))


def report_events(data):
    """An event file whose records are right, out of which a report is made."""
    report_file(b"".join(frame(part) for part in parts_of(data) if len(part) >= 4))


def _never(name):
    raise AssertionError(f"{name} is no JSON")


def sound_blobs():
    probes = {"version": 2, "names": ["a", "b"], "labels": [None, "<b>"], "masks": True}
    maps = {"version": 2, "method": "grad_cam", "peak": [1.5, None], "dead": [False, True]}
    verdict = {"version": 2, "text": "relies on", "gaps": {"background": [0.5, 0.1]}}
    told = [json.dumps(one).encode() for one in (probes, maps, verdict)]
    picture, grey = encode_jpeg(np.zeros((3, 4, 3), np.uint8)), png(np.eye(3, dtype=np.uint8))
    return [one for one in told for _ in range(2)] + [picture, picture, grey, grey, grey, grey] * 4


def png(array):
    return cv2.imencode(".png", array)[1].tobytes()


def sound_event_file():
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        writer = EventWriter(folder)
        parts = sound_blobs()
        for place, tag in enumerate(("probes", "maps/a", "verdict")):
            writer.blobs(tag, parts[2 * place :: 6], -1)
        writer.scalars({"probes/score": 1.0}, 0)
        writer.close()
        return writer.path.read_bytes()


# --- addresses -----------------------------------------------------------------------------------

_SOUND = []


def addresses(data):
    """Parameters of requests: the first byte says of which."""
    if not _SOUND:
        _SOUND.append(pages([sound_event_file()]))
    clients, text = _SOUND[0], data[1:].decode(errors="replace")
    match data[:1]:
        case b"b":
            ask(clients, "/blob", key=text)
        case b"m":
            said(clients, "/maps", run="r", method="a", since=text)
        case _:
            said(clients, "/maps", run=text, method=text)
            said(clients, "/probes", run=text)
            said(clients, "/verdicts", run=text)


def sound_addresses():
    clients = pages([sound_event_file()])
    blob = said(clients, "/probes", run="r")["pictures"][0].encode()
    maps = said(clients, "/maps", run="r", method="a")["steps"][0]["key"].encode()
    return [b"b" + blob, b"b" + maps, b"m-1", b"rr", b"r../.."]


# --- image files -------------------------------------------------------------------------------


def pictures(data):
    """An image file of these bytes."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 10**6
    with tempfile.TemporaryDirectory(dir=FAST) as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / "a.png"
        path.write_bytes(data)
        for mode, channels in (("rgb", 3), ("rgba", 4), ("grayscale", 1)):
            try:
                found = read_image(path, mode)
            except ValueError as error:
                assert str(path) in str(error)
            else:
                assert found.dtype == np.uint8
                assert found.shape[2] == channels
    Image.MAX_IMAGE_PIXELS = before


def sound_pictures():
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    picture = Image.fromarray(colours)
    found = []
    for mode, formats in {
        "RGBA": ("PNG", "TIFF", "WEBP", "BMP"),
        "RGB": ("PNG", "JPEG", "GIF", "TIFF"),
        "P": ("PNG", "GIF", "BMP"),
        "L": ("PNG", "JPEG", "TIFF"),
        "CMYK": ("JPEG", "TIFF"),
        "1": ("PNG", "TIFF"),
        "LA": ("PNG",),
    }.items():
        for name in formats:
            file = io.BytesIO()
            exif = {
                "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
            }
            picture.convert("RGB").convert(mode).save(file, name, **exif if name == "JPEG" else {})
            found.append(file.getvalue())
    return [*found, png(colours.astype(np.uint16) * 257)]


# --- what film strips keep beside a run ----------------------------------------------------------

_DISPLAY = np.zeros((2, 8, 8, 3), np.uint8)
_MEMBERS = ("whose", "seen", "stride", "steps", "labels", "sheet")


def strips(data):
    """The arrays of a stored strip, as files of NumPy, in an archive that is sound."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        stored = Path(folder) / "a.npz"
        with zipfile.ZipFile(stored, "w") as archive:
            for name, part in zip(_MEMBERS, parts_of(data), strict=False):
                archive.writestr(f"{name}.npy", part)
        _go_on(Path(folder))


def strip_file(data):
    """A stored strip of these bytes."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        (Path(folder) / "a.npz").write_bytes(data)
        _go_on(Path(folder))


def _go_on(folder):
    """Go on with a stored strip for a few epochs, and store it again."""
    kept = FilmStrips(["a", "b"], ["x", "y"], _DISPLAY, "logits", 1, folder)
    for step in range(3, 6):
        kept.add("a", step, f"epoch {step + 1}", np.ones((2, 2, 2), np.float32), False)
    kept.unwritten()
    kept.store()


def sound_strip():
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        kept = FilmStrips(["a", "b"], ["x", "y"], _DISPLAY, "logits", 1, Path(folder))
        for step in range(3):
            kept.add("a", step, f"epoch {step + 1}", np.ones((2, 2, 2), np.float32), False)
        kept.store()
        return (Path(folder) / "a.npz").read_bytes()


def strip_members():
    with zipfile.ZipFile(io.BytesIO(sound_strip())) as archive:
        return joined([archive.read(f"{name}.npy") for name in _MEMBERS])


# --- all of them ---------------------------------------------------------------------------------

READERS = {
    event_file: lambda: [sound_event_file()],
    events: lambda: [joined(records_of(sound_event_file()))],
    blobs: lambda: [joined(sound_blobs())],
    report_file: lambda: [sound_event_file()],
    report_events: lambda: [joined(records_of(sound_event_file()))],
    reports: lambda: [joined(sound_blobs())],
    addresses: sound_addresses,
    pictures: sound_pictures,
    strips: lambda: [strip_members()],
    strip_file: lambda: [sound_strip()],
}


def named(name):
    """A reader by its name."""
    return next(reader for reader in READERS if reader.__name__ == name)


def mutated(data, chance: random.Random):
    """Bytes with a few of them changed, taken out, doubled or put in."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[place : place + chance.randint(1, 40)]
            case 2:
                data[place:place] = data[place : place + chance.randint(1, 40)]
            case 3:
                data[place:place] = chance.choice(_TELLING)
            case 4:
                data[place : place + 4] = chance.choice(
                    [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"]
                )
    return bytes(data)


_TELLING = [b"null", b"NaN", b"1e999", b"[[[[", b"-1", b'"', b"\0", b"\\ud800", b"\xff\xfe", b"{}"]
