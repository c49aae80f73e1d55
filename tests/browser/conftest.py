"""TensorBoard on a made training, with both of its loaders, and Chromium, driven by selenium."""

import io
import re
import shutil
import subprocess
import sys
import time
from urllib.parse import quote

import numpy as np
import pytest
from made_training import EPOCHS, Training
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

# Whether a picture in sight waits for its map; what is out of sight is not drawn.
WAITING = """
    return [...document.querySelectorAll('.waiting')].some((picture) => {
      const { width, top, bottom } = picture.getBoundingClientRect();
      return width && bottom > 0 && top < innerHeight;
    });
"""


class Tab:
    """The Saliency tab in a browser, at an address of TensorBoard."""

    def __init__(self, browser, address):
        self.browser, self.address = browser, address

    def open(self, **link):
        """Open a link to what is looked at, and wait until the first maps are drawn."""
        parts = [f"&p.keras_saliency.{name}={quote(str(at), '')}" for name, at in link.items()]
        self.browser.get("about:blank")  # or else a change of the hash would load nothing anew
        self.browser.get(f"{self.address}/#keras_saliency{''.join(parts)}")
        frame = "iframe[src*=keras_saliency]"
        self.wait(lambda: self.browser.find_elements(By.CSS_SELECTOR, frame))
        self.browser.switch_to.frame(self.browser.find_element(By.CSS_SELECTOR, frame))
        self.wait(lambda: self.find_all(".frame:not([hidden]) .picture img"))
        self.settle()
        return self

    def settle(self):
        """Wait until all maps in sight are there and the browser has shown them."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )
        self.wait(lambda: not self.browser.execute_script(WAITING))

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        """Return the texts of elements, all of one moment: the page may be about to change them."""
        code = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        return self.browser.execute_script(code, selector)

    def tile(self, name):
        tiles = self.find_all(".tile")
        return next(one for one in tiles if one.find_element(By.TAG_NAME, "strong").text == name)

    def pixels(self, element):
        """Return what is seen of an element, float `(height, width, 3)`."""
        picture = Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")
        return np.asarray(picture).astype(float)

    def picture(self, name):
        """Return what is seen of the picture of a tile."""
        return self.pixels(self.tile(name).find_element(By.CLASS_NAME, "picture"))

    def field(self, label):
        """Return what is chosen or typed in below a label."""
        path = f"//label[span[starts-with(., '{label}')]]//*[self::select or self::input]"
        return self.browser.find_element(By.XPATH, path)

    def slide(self, slider, value):
        """Move a slider as a mouse would."""
        code = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        self.browser.execute_script(code, slider, value)
        self.settle()

    def go_to(self, index):
        self.slide(self.find(".top .scrubber input"), index)

    def press(self, *keys):
        ActionChains(self.browser).send_keys(*keys).perform()
        self.settle()

    def when(self):
        return self.find(".top .when").text

    def hash(self):
        """Return TensorBoard's address, of the frame around the tab."""
        return self.browser.execute_script("return parent.location.hash")

    def wait(self, question, seconds=60):
        deadline = time.monotonic() + seconds
        while not (found := question()):
            assert time.monotonic() < deadline, self.browser.get_log("browser")
            time.sleep(0.05)
        return found

    def complaints(self):
        """Return the errors of the console since the last call.

        TensorBoard itself asks for its font in the wrong place where it runs below a path.
        """
        lines = self.browser.get_log("browser")
        severe = [line for line in lines if line["level"] == "SEVERE"]
        return [line for line in severe if "/font-roboto/" not in line["message"]]


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
