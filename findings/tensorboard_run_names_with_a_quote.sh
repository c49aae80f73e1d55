#!/usr/bin/env bash
# TensorBoard 2.21.0 with tensorboard-data-server 0.7.2, its default loader: images of a run whose
# name (its folder below --logdir) holds a double quote, a backslash or a control character are
# listed, and their scalars are shown, but each image itself is answered by an error: the key of a
# blob is JSON, and the data server reads names from it only where they need no escapes.
# With --load_fast=false all are shown. Exits 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q tensorboard==2.21.0 tensorboard-data-server==0.7.2
PYTHONPATH= "$folder/env/bin/python" - "$folder" <<'PY'
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

folder = pathlib.Path(sys.argv[1]) / "logs"
NAMES = ["plain", "apo'strophe", 'quo"te', "back\\slash"]


def png():
    def chunk(kind, data):
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + crc

    head = (1).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0\0")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


for name in NAMES:
    writer = EventFileWriter(str(folder / name))
    image = summary_pb2.Summary.Image(height=1, width=1, colorspace=1, encoded_image_string=png())
    value = summary_pb2.Summary.Value(tag="picture", image=image)
    writer.add_event(event_pb2.Event(step=0, summary=summary_pb2.Summary(value=[value])))
    writer.close()


def shown(flag):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = os.path.join(os.path.dirname(sys.executable), "tensorboard")
    board = subprocess.Popen(
        [program, "--logdir", str(folder), "--port", str(port), flag], stderr=subprocess.DEVNULL
    )
    base, runs = f"http://127.0.0.1:{port}/data/plugin/images/", {}
    try:
        for _ in range(60):
            time.sleep(1)
            try:
                runs = json.load(urllib.request.urlopen(base + "tags"))
            except OSError:
                continue
            if len(runs) == len(NAMES):
                break
        answers = {}
        for run in NAMES:
            query = urllib.parse.urlencode({"run": run, "tag": "picture", "sample": 0})
            (entry,) = json.load(urllib.request.urlopen(f"{base}images?{query}"))
            try:
                answers[run] = urllib.request.urlopen(f"{base}individualImage?{entry['query']}").status
            except urllib.error.HTTPError as error:
                answers[run] = error.code
        return answers
    finally:
        board.terminate()
        board.wait()


fast, slow = shown("--load_fast=true"), shown("--load_fast=false")
print("data server:", fast, "\npython loader:", slow)
wanted = {"plain": True, "apo'strophe": True, 'quo"te': False, "back\\slash": False}
sys.exit({n: s == 200 for n, s in fast.items()} != wanted or set(slow.values()) != {200})
PY
