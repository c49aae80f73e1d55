"""The Saliency tab in Chromium, driven by selenium."""

import io
import time
from urllib.parse import quote

import numpy as np
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

# Whether an image in sight waits for its map; what is out of sight is not drawn.
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
        """Return what is seen of the image of a tile."""
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
