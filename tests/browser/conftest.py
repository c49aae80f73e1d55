"""TensorBoard on a made training run, with both of its loaders, and Chromium under selenium."""

import re
import shutil
import subprocess
import sys
import time

import pytest
from selenium import webdriver

from helpers.made_training import EPOCHS, Training
from helpers.tab import Tab


@pytest.fixture(scope="session")
def logdir(tmp_path_factory):
    root = tmp_path_factory.mktemp("logs")
    training = Training(root / "saliency")
    for step in range(EPOCHS):
        training.add(step)
    training.writer.close()
    return root


@pytest.fixture(scope="session")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.add_argument("--window-size=1300,1000")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    found = webdriver.Chrome(options=options, service=service)
    yield found
    found.quit()


@pytest.fixture(scope="module", params=["--load_fast=false", "--load_fast=true"])
def address(request, logdir, tmp_path_factory):
    """Start TensorBoard with one of its loaders; the slow one below a path."""
    for run in logdir.iterdir():  # What tests with another loader have added.
        if run.name != "saliency":
            shutil.rmtree(run)
    log = tmp_path_factory.mktemp("output") / "log"
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", request.param]
    command += ["--host=127.0.0.1", "--port=0", "--reload_interval=1"]
    command += ["--path_prefix=/some/where"] if request.param.endswith("false") else []
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while not (found := re.search(r"at (http://127\S+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    yield found[1].rstrip("/")
    process.terminate()
    process.wait(30)


@pytest.fixture
def tab(browser, address):
    """Give the tab to a test, which must not leave an error in the console."""
    found = Tab(browser, address)
    found.complaints()
    yield found
    assert not found.complaints()
