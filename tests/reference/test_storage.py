"""A training run in a bucket, on moto's server of S3, and TensorBoard that reads it there."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.storage]

TRAIN = """
import sys
import keras, numpy as np
import keras_saliency as ks
begin, end, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
x, y = np.random.default_rng(0).random((8, 16, 20, 3), "float32"), np.arange(8) % 2
model = keras.Sequential([keras.Input((16, 20, 3)), keras.layers.Conv2D(3, 3),
                          keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
watch = ks.SaliencyCallback((x[:4], y[:4]), address, ["saliency"], strict=True)
model.fit(x, y, initial_epoch=begin, epochs=end, verbose=0, callbacks=[watch])
"""
# TensorBoard falls back on what it has itself, as where TensorFlow is not installed.
BOARD = """
import sys
sys.modules["tensorflow"] = None
from tensorboard.main import run_main
run_main()
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment of programs that find the server, with an empty bucket."""
    s3fs = pytest.importorskip("s3fs")
    log = tmp_path_factory.mktemp("server") / "log"
    server = shutil.which("moto_server") or str(Path(sys.executable).with_name("moto_server"))
    with open(log, "wb") as said:
        process = subprocess.Popen([server, "-p", "0"], stdout=said, stderr=said)
    deadline = time.monotonic() + 120
    while not (found := re.search(r"Running on (http://127\S+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    keys |= {"AWS_DEFAULT_REGION": "us-east-1", "S3_ENDPOINT": found[1]}
    keys |= {"AWS_ENDPOINT_URL": found[1], "FSSPEC_S3_ENDPOINT_URL": found[1]}
    s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=found[1]).mkdir("bucket")
    yield os.environ | keys
    process.terminate()
    process.wait(30)


def train(environment, begin, end, address, **more):
    command = [sys.executable, "-c", TRAIN, str(begin), str(end), address]
    return subprocess.run(command, env=environment | more, capture_output=True, text=True)


def test_a_run_in_a_bucket_is_continued_and_read(environment, tmp_path):
    for begin, end in ((0, 2), (2, 3)):
        done = train(environment, begin, end, "s3://bucket/logs", KERAS_SALIENCY_RUN="job")
        assert done.returncode == 0, done.stderr
    command = [str(Path(sys.executable).with_name("keras-saliency"))]
    listed = subprocess.run(
        [*command, "rank", "s3://bucket/logs", "--format", "json"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert [row["run"] for row in json.loads(listed.stdout)] == ["job"]
    log = tmp_path / "log"
    options = ["--logdir=s3://bucket/logs", "--load_fast=false", "--host=127.0.0.1", "--port=0"]
    with open(log, "wb") as said:
        board = subprocess.Popen(
            [sys.executable, "-c", BOARD, *options], env=environment, stdout=said, stderr=said
        )
    try:
        deadline = time.monotonic() + 120
        steps = []
        while steps != [-1, 0, 1, 2]:
            assert board.poll() is None, log.read_text()
            assert time.monotonic() < deadline, (steps, log.read_text())
            time.sleep(0.5)
            if found := re.search(r"at (http://127\S+)", log.read_text()):
                query = f"{found[1]}data/plugin/scalars/scalars?run=job&tag=probes/score"
                try:
                    with urllib.request.urlopen(query) as answer:
                        steps = [step for _, step, _ in json.load(answer)]
                except urllib.error.HTTPError:
                    continue  # It has not read the run yet.
    finally:
        board.terminate()
        board.wait(30)


def test_a_bucket_that_is_not_there_is_an_error_and_is_not_made(environment):
    address = "s3://absent/logs"
    for _ in range(2):
        done = train(environment, 0, 1, address)
        assert done.returncode != 0
        assert "must be remote storage that can be written" in done.stderr
        assert "log_dir='s3://absent/logs'" in done.stderr


def test_a_server_that_does_not_answer_is_an_error_before_training(environment):
    nowhere = dict.fromkeys(("AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL"), "http://127.0.0.1:9")
    done = train(environment, 0, 1, "s3://bucket/logs", **nowhere)
    assert done.returncode != 0
    assert "credentials and the network" in done.stderr
