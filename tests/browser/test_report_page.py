"""The report in Chromium, opened as a file, as whoever gets it by mail would."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from keras_saliency.cli.main import main

from helpers.made_logs import train
from helpers.made_training import CELLS, CLOSING, DEAD, EPOCHS, HOSTILE, NAMES, Training, hot_cell
from helpers.tab import Tab

pytestmark = pytest.mark.browser

SHOWN = "return getComputedStyle(arguments[0]).display !== 'none'"


class Page(Tab):
    """A page that was written to a file."""

    def open(self, **media):
        self.emulate(**media)
        self.browser.get(self.address)
        self.wait(lambda: self.browser.execute_script("return document.body.matches('.alive')"))
        self.settle()
        return self

    def emulate(self, media="", scheme="light"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )

    def shows(self, selector):
        return any(self.browser.execute_script(SHOWN, one) for one in self.find_all(selector))

    def tile(self, name):
        """A tile, though it be out of sight, where no text is laid out."""
        return self.browser.execute_script(
            "return [...document.querySelectorAll('.tile')]"
            ".find((one) => one.querySelector('strong').textContent === arguments[0])",
            name,
        )

    def bring(self, element):
        """Scroll to an element, which is drawn once it is in sight."""
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        self.settle()
        return element

    def picture(self, name, at=0):
        tile = self.bring(self.tile(name))
        return self.pixels(tile.find_elements("class name", "picture")[at])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The pages of two made training runs: one, the other, and both."""
    root = tmp_path_factory.mktemp("pages")
    for name, epochs in (("a", EPOCHS), ("b", 20)):
        training = Training(root / name / "saliency")
        for step in range(epochs):
            training.add(step)
            training.writer.scalars({"epoch_loss": 1 / (step + 1), "focus/grad-cam": 0.5}, step)
        training.writer.close()
    assert main(["report", str(root / "a"), "--out", str(root / "report.html")]) == 0
    for order in ("ab", "ba"):
        both = [str(root / name) for name in order]
        assert main(["compare", *both, "--out", str(root / f"{order}.html")]) == 0
    return root


@pytest.fixture
def opened(browser):
    """Open a page for a test, which must not leave an error in the console."""
    pages = []

    def open_(path, **media):
        pages.append(Page(browser, path.as_uri()).open(**media))
        return pages[-1]

    yield open_
    for one in pages:
        one.emulate()
        assert not one.complaints()


@pytest.fixture
def report(opened, written):
    return opened(written / "report.html")


def is_hot(picture, probe, step):
    """Whether a grey image is coloured in the cell that is hot, and not far from it."""
    height, width = picture.shape[0] / CELLS[0], picture.shape[1] / CELLS[1]
    row, column = hot_cell(probe, step)

    def colour(row, column):
        found = picture[int((row + 0.5) * height), int((column + 0.5) * width)]
        return found.max() - found.min()

    far = colour((row + 3) % CELLS[0], (column + 4) % CELLS[1])
    return colour(row, column) > 40 and far < 12


def test_one_slider_moves_all_maps(report):
    for index in (EPOCHS - 1, 7, 30):
        report.go_to(index)
        assert report.when() == f"epoch {index + 1}"
        for probe in (0, 2, 3):
            assert is_hot(report.picture(NAMES[probe]), probe, index)


def test_what_is_dead_says_so(report):
    report.go_to(0)
    assert "dead map" in report.bring(report.tile(NAMES[DEAD])).text


def test_methods_and_opacity_are_chosen_in_the_page(report):
    report.go_to(3)
    before = report.picture(NAMES[0])
    report.slide(report.field("Opacity"), "0")
    clean = report.picture(NAMES[0])
    assert np.ptp(clean, axis=2).max() < 12
    assert np.abs(clean - before).max() > 60
    field = report.field("Method")
    field.find_element("xpath", "option[.='gradient-x-input']").click()
    report.slide(report.field("Opacity"), "1")
    row, column = hot_cell(0, 3)
    signed = report.picture(NAMES[0])
    hot = signed[int((row + 0.5) * len(signed) / CELLS[0])]
    colour = hot[int((column + 0.5) * signed.shape[1] / CELLS[1])]
    assert colour[2] - colour[0] > 60  # blue is below zero


def test_the_charts_follow_the_slider_and_lead_it(report):
    chart = report.find("#gaps-0 svg")
    assert "epoch 50" in chart.get_attribute("aria-label")
    report.go_to(29)
    assert re.search(r"at epoch 30: background 0\.29", chart.get_attribute("aria-label"))
    loss = report.bring(report.find("#curves svg"))
    assert "Loss at epoch 30" in loss.get_attribute("aria-label")
    report.browser.execute_script(
        "const box = arguments[0].getBoundingClientRect();"
        "const at = { clientX: box.left + 0.13 * box.width, bubbles: true };"
        "arguments[0].dispatchEvent(new MouseEvent('click', at))",
        loss,
    )
    report.settle()
    assert report.when() == "epoch 1"


def test_numbers_of_a_chart_stay_inside_it(opened, tmp_path):
    training = Training(tmp_path / "logs" / "saliency")
    for step in range(3):
        training.add(step)
        training.writer.scalars({"epoch_loss": 1.6e-6 / (step + 1)}, step)
    training.writer.close()
    assert main(["report", str(tmp_path / "logs"), "--out", str(tmp_path / "page.html")]) == 0
    page = opened(tmp_path / "page.html")
    loss = page.bring(page.find("#curves svg"))
    boxes = page.browser.execute_script(
        "return [...arguments[0].querySelectorAll('text')]"
        ".map((one) => [one.textContent, one.getBBox().x])",
        loss,
    )
    assert {"1.5e−6", "1.0e−6", "5.0e−7"} <= {text for text, _ in boxes}
    assert all(left >= 0 for _, left in boxes)


def test_keys_move_the_pictures_and_leave_the_page_alone(report):
    report.go_to(5)
    report.bring(report.tile(NAMES[0])).send_keys(Keys.ARROW_RIGHT)
    report.settle()
    assert report.when() == "epoch 7"
    report.browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    report.press(Keys.ARROW_RIGHT)
    assert report.when() == "epoch 7"
    report.press(Keys.END)
    report.wait(lambda: report.browser.execute_script("return scrollY") > 0)


def test_a_picture_opens_large(report):
    report.bring(report.tile(NAMES[2])).click()
    report.settle()
    dialog = report.find("dialog")
    assert dialog.get_attribute("open") is not None
    assert NAMES[2] in dialog.text
    report.press(Keys.ESCAPE)
    assert dialog.get_attribute("open") is None


def test_names_show_as_they_are_and_run_nothing(report):
    assert report.browser.title == "What the model relies on: a/saliency"
    assert report.tile(HOSTILE)
    said = report.browser.execute_script("return document.body.innerText")
    assert CLOSING in said
    assert "Relies on <b>49</b>." in said
    assert report.browser.title == "What the model relies on: a/saliency"


def test_nothing_is_asked_for_elsewhere(report):
    names = report.browser.execute_script(
        "return performance.getEntriesByType('resource').map(({ name }) => name.slice(0, 5))"
    )
    assert set(names) <= {"blob:", "data:"}


def test_every_picture_says_what_it_is(report):
    images = report.find_all(".twins img, .still img")
    assert len(images) == 2 + len(NAMES)  # the counterfactuals and the examples come first
    assert all(one.get_attribute("alt") for one in images)
    assert HOSTILE in report.bring(report.tile(HOSTILE)).get_attribute("aria-label")
    levels = [int(one.tag_name[1]) for one in report.find_all("h1, .report > section > h2")]
    assert levels == [1] + [2] * (len(levels) - 1)
    assert len(levels) >= 6


def test_it_is_dark_where_the_system_is(report):
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = report.browser.execute_script(ground)
    report.emulate(scheme="dark")
    dark = report.browser.execute_script(ground)
    shades = [sum(map(int, re.findall(r"\d+", one)[:3])) for one in (light, dark)]
    assert shades[0] > 600
    assert shades[1] < 150
    report.emulate(media="print", scheme="dark")
    assert report.browser.execute_script(ground) == "rgb(255, 255, 255)"


def test_on_paper_stand_the_last_maps(report):
    report.go_to(3)
    assert not report.shows(".still")
    report.emulate(media="print")
    assert report.shows(".stills")
    assert not report.shows(".app")
    stills = report.find_all(".stills figure")
    assert [one.text.splitlines()[0] for one in stills] == NAMES
    image = stills[2].find_element("tag name", "img")
    assert is_hot(report.pixels(report.bring(image)), 2, EPOCHS - 1)
    report.emulate()
    pdf = report.browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    content = base64.b64decode(pdf)
    pages = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 1 <= pages <= 3


def test_the_report_answers_what_a_reader_asks(report):
    """What does it rely on, since when, how sure, how do I see it, what do I do."""
    card = report.find(".card").text
    assert "Relies on <b>49</b>." in card
    assert "At epoch 50 (step 49)." in card
    links = [one.get_attribute("href") for one in report.find_all(".card a")]
    page = "https://keras-saliency.github.io/keras-saliency/what_to_do/"
    named = ["swap-the-backgrounds", "collect-images", "re-train-the-head"]
    assert links == [f"{page}#{name}" for name in named]
    assert "0.49 ± 0.05" in report.find(".bars").text
    image = report.find(".twins img")
    assert image.get_attribute("alt").startswith("Original and counterfactual images")
    assert image.rect["width"] <= 122  # no wider than its pixels, and a border
    facts = dict(zip(report.texts("header dt"), report.texts("header dd"), strict=True))
    assert facts["classes"] == "owl, fox"
    assert facts["date"].endswith("50 evaluations, from epoch 1 to epoch 50")


def test_nothing_scrolls_within_the_page(report):
    code = """
        return [...document.querySelectorAll('main *, aside')].filter(
          (one) => one.scrollHeight > one.clientHeight + 2 && one.clientHeight
            && ['auto', 'scroll'].includes(getComputedStyle(one).overflowY)
        ).map((one) => one.className)
    """
    assert report.browser.execute_script(code) == []
    report.bring(report.find(".app .switch")).find_elements("tag name", "label")[1].click()
    report.settle()
    assert report.find(".matrix").is_displayed()
    assert report.browser.execute_script(code) == []


def test_without_scripts_the_last_maps_are_there(browser, written):
    page = Page(browser, (written / "report.html").as_uri())
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.address)
        assert page.find(".headline").text == "Relies on <b>49</b>."
        assert page.find(".still").is_displayed()
        stills = page.find_all(".stills img")
        assert len(stills) == len(NAMES)
        picture = Image.open(io.BytesIO(base64.b64decode(stills[3].get_attribute("src")[23:])))
        assert is_hot(np.asarray(picture).astype(float), 3, EPOCHS - 1)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    page.complaints()


def test_two_trainings_share_one_slider(opened, written):
    page = opened(written / "ab.html")
    assert [one.text for one in page.find_all(".card h3:first-child")] == ["a", "b"]
    page.go_to(12)
    for name in (NAMES[0], NAMES[3]):
        first, second = page.picture(name, 0), page.picture(name, 1)
        assert is_hot(first, NAMES.index(name), 12)
        assert is_hot(second, NAMES.index(name), 12)
    page.go_to(40)  # after the other's end, whose last stands there
    assert is_hot(page.picture(NAMES[0], 0), 0, 40)
    assert is_hot(page.picture(NAMES[0], 1), 0, 19)
    assert page.texts(".tile .badge")[:2] == ["a", "b"]
    charts = [one.get_attribute("aria-label") for one in page.find_all("[id^=gaps] svg")]
    assert "at epoch 40" in charts[0]
    assert "at epoch 20" in charts[1]


def test_the_slider_goes_to_the_end_of_the_longer_training(opened, written):
    page = opened(written / "ba.html")
    assert page.when() == "epoch 50, b still at epoch 20"
    page.go_to(40)
    assert is_hot(page.picture(NAMES[0], 0), 0, 19)
    assert is_hot(page.picture(NAMES[0], 1), 0, 40)
    says = [one for one in page.texts(".tile .says") if one]
    assert says[:2] == ["b: predicted owl, 75 %", "a: predicted owl, 75 %"]
    loss = page.find("#curves svg")
    assert (
        loss.get_attribute("aria-label") == "Loss at epoch 41: b training 0.05, a training 0.0244"
    )
    ends = [one.text for one in loss.find_elements("css selector", "text")][-2:]
    assert ends == ["epoch 1", "epoch 50"]


def test_a_page_narrow_as_a_telephone_does_not_scroll_sideways(report):
    browser = report.browser
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        wide = "return document.documentElement.scrollWidth"
        assert browser.execute_script(wide) <= 390
        assert report.bring(report.tile(NAMES[0])).is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_real_training_is_told_as_it_was(opened, tmp_path):
    with pytest.warns(UserWarning, match="relies on"):
        watch, history = train(tmp_path / "logs", 0.95, epochs=2)
    assert main(["report", str(tmp_path / "logs"), "--out", str(tmp_path / "report.html")]) == 0
    page = opened(tmp_path / "report.html")
    assert watch.verdict.text[1:].replace("+-", "±") in page.find(".headline").text
    assert page.find(".kicker").text.endswith("Alarm")
    loss, accuracy = (one.get_attribute("aria-label") for one in page.find_all("#curves svg")[:2])
    told = [float(one) for one in re.findall(r"(?:training|validation) (\d[\d.]*)", loss)]
    assert told == pytest.approx([history["loss"][-1], history["val_loss"][-1]], rel=0.01)
    assert accuracy.startswith("Accuracy at epoch 2: training")
    names = page.texts(".tile strong")
    assert len(names) == 6
    before = page.picture(names[0])
    page.go_to(0)
    assert np.abs(page.picture(names[0]) - before).max() > 10
