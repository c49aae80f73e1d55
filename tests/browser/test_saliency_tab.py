"""The Saliency tab in Chromium, on a real TensorBoard, with both of its loaders."""

import itertools
import shutil

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from helpers.made_training import (
    CELLS,
    CHANCE,
    CHECKED,
    CHECKS,
    DEAD,
    EPOCHS,
    HOSTILE,
    NAMES,
    Training,
    focus_of,
    hot_cell,
)

pytestmark = pytest.mark.browser


def hottest_cell(pixels):
    """Return row and column of the cell that differs most from the grey of the image."""
    colour = np.ptp(pixels, axis=2)
    row, column = np.unravel_index(colour.argmax(), colour.shape)
    return row * CELLS[0] // colour.shape[0], column * CELLS[1] // colour.shape[1]


def test_all_epochs_are_there(tab):
    tab.open()
    slider = tab.find(".top .scrubber input")
    assert slider.get_attribute("max") == str(EPOCHS - 1)
    assert tab.when() == f"epoch {EPOCHS}"
    assert tab.find(".top .count").text == f"(step {EPOCHS - 1}), {EPOCHS} of {EPOCHS}"
    assert sorted(tile.text.splitlines()[0] for tile in tab.find_all(".tile")) == sorted(NAMES)


def test_the_slider_changes_all_tiles(tab):
    tab.open()
    seen = []
    for index in (3, 17, 40):
        tab.go_to(index)
        assert tab.when() == f"epoch {index + 1}"
        seen.append([tab.picture(name) for name in NAMES])
        for probe, picture in enumerate(seen[-1]):
            assert hottest_cell(picture) == hot_cell(probe, index)
    for earlier, later in itertools.pairwise(seen):
        for one, other in zip(earlier, later, strict=True):
            assert np.abs(one - other).max() > 50


def test_names_and_verdicts_stay_text(tab):
    tab.open()
    assert tab.tile(HOSTILE).text.splitlines()[0] == HOSTILE
    assert "Relies on <b>49</b>." in tab.find(".verdict").text
    assert tab.browser.execute_script("return [document.title, parent.document.title]") == [
        "",
        "TensorBoard",
    ]


def test_opacity_threshold_and_colours(tab):
    tab.open(step=10)
    usual = tab.picture(NAMES[0])
    Select(tab.field("Colours")).select_by_visible_text("viridis")
    tab.settle()
    assert np.abs(tab.picture(NAMES[0]) - usual).max() > 50
    tab.slide(tab.field("Hide what is below"), 0.95)
    fewer = np.ptp(tab.picture(NAMES[0]), axis=2) > 20
    assert fewer.sum() < (np.ptp(usual, axis=2) > 20).sum()
    tab.slide(tab.field("Opacity"), 0)
    assert np.ptp(tab.picture(NAMES[0]), axis=2).max() < 16  # the grey image alone


def test_a_scale_for_all_steps_dims_small_maps(tab):
    tab.open(step=4)
    usual = tab.picture(NAMES[0])
    Select(tab.field("Full colour")).select_by_value("all")
    tab.settle()
    assert np.ptp(tab.picture(NAMES[0]), axis=2).max() < np.ptp(usual, axis=2).max() - 50
    assert tab.find(".legend .ends").text.split() == ["0", str(EPOCHS)]


def test_a_difference_to_the_same_step_is_nothing(tab):
    tab.open(step=4)
    Select(tab.field("Show the difference")).select_by_visible_text("epoch 5")
    tab.settle()
    assert np.ptp(tab.picture(NAMES[0]), axis=2).max() < 16
    tab.go_to(5)
    red, _, blue = np.moveaxis(tab.picture(NAMES[0]), 2, 0)
    gained = np.unravel_index((red - blue).argmax(), red.shape)
    lost = np.unravel_index((blue - red).argmax(), red.shape)
    for place, step in ((gained, 5), (lost, 4)):
        cell = (
            place[0] * CELLS[0] // red.shape[0],
            place[1] * CELLS[1] // red.shape[1],
        )
        assert cell == hot_cell(0, step)


def test_two_methods_beside_each_other(tab):
    tab.open(step=7)
    Select(tab.field("Beside it")).select_by_visible_text("gradient-x-input")
    tab.wait(lambda: len(tab.tile(NAMES[0]).text.splitlines()) > 4)
    tab.settle()
    first, second = tab.tile(NAMES[0]).find_elements(By.CLASS_NAME, "picture")
    assert first.text == "grad-cam"
    assert second.text == "gradient-x-input"
    warm, cold = (tab.pixels(one) for one in (first, second))
    assert (warm[..., 0] - warm[..., 2]).max() > 100  # inferno: yellow
    assert (cold[..., 2] - cold[..., 0]).max() > 100  # below zero: blue


def test_a_dead_map_says_so(tab):
    tab.open(step=0)
    assert "dead map" in tab.tile(NAMES[DEAD]).text
    tab.go_to(1)
    assert "dead map" not in tab.tile(NAMES[DEAD]).text


def test_a_map_that_is_no_better_than_chance_is_grey_and_says_so(tab):
    tab.open(step=CHECKED)
    assert CHECKS[True] in tab.tile(NAMES[CHANCE]).text
    assert np.ptp(tab.picture(NAMES[CHANCE]), axis=2).max() < 16
    assert CHECKS[False] in tab.tile(NAMES[0]).text
    assert np.ptp(tab.picture(NAMES[0]), axis=2).max() > 50
    tab.go_to(CHECKED + 1)
    assert "hiding" not in tab.tile(NAMES[CHANCE]).text
    assert np.ptp(tab.picture(NAMES[CHANCE]), axis=2).max() > 50
    tab.open(step=CHECKED, probe=NAMES[CHANCE])
    assert CHECKS[True] in tab.find("dialog dl").text


def test_a_tile_opens_large_by_keyboard_alone(tab):
    tab.open(step=10)
    tile = tab.tile(NAMES[2])
    tab.browser.execute_script("arguments[0].focus()", tile)
    tab.press(Keys.ENTER)
    dialog = tab.find("dialog[open]")
    assert dialog.find_element(By.TAG_NAME, "h2").text == NAMES[2]
    assert f"{focus_of(2, 10):g} × chance" in dialog.text
    images, maps, overlays = dialog.find_elements(By.CSS_SELECTOR, ".parts .picture")[:3]
    assert np.ptp(tab.pixels(images), axis=2).max() < 16
    assert hottest_cell(tab.pixels(overlays)) == hot_cell(2, 10)
    assert tab.pixels(maps).min() < 5  # what has no evidence is black, not the image
    assert len([plot for plot in tab.find_all("dialog .plot") if plot.is_displayed()]) == 3
    tab.press(Keys.ARROW_RIGHT)
    assert dialog.find_element(By.CLASS_NAME, "when").text == "epoch 12"
    inside = "return document.querySelector('dialog').contains(document.activeElement)"
    for key in [Keys.TAB] * 9 + [Keys.SHIFT + Keys.TAB] * 9:  # there are seven controls
        tab.browser.switch_to.active_element.send_keys(key)
        assert tab.browser.execute_script(inside)
    assert f"{focus_of(2, 11):g} × chance" in dialog.text
    tab.press(Keys.ESCAPE)
    assert not tab.find_all("dialog[open]")


def test_the_arrows_move_the_step(tab):
    tab.open(step=10)
    tab.browser.execute_script("window.focus()")
    tab.press(Keys.ARROW_LEFT)
    assert tab.when() == "epoch 10"
    tab.press(Keys.HOME)
    assert tab.when() == "epoch 1"
    tab.press(Keys.SPACE)
    tab.wait(lambda: tab.when() not in ("epoch 1", "epoch 2"))
    tab.press(Keys.SPACE)
    stopped = tab.when()
    tab.settle()
    assert tab.when() == stopped


def test_a_link_leads_to_what_was_seen(tab):
    tab.open(step=12, method="gradient-x-input", probe=HOSTILE)
    assert tab.find("dialog h2").text == HOSTILE
    assert tab.find("dialog .when").text == "epoch 13"
    assert Select(tab.field("Method")).first_selected_option.text == "gradient-x-input"
    assert not tab.find(".notice").is_displayed()
    tab.press(Keys.ESCAPE)
    tab.go_to(20)
    tab.wait(lambda: "p.keras_saliency.step=20" in tab.hash())
    assert "probe" not in tab.hash()
    tab.browser.execute_script("parent.location.hash = arguments[0]", tab.hash().replace("20", "5"))
    tab.wait(lambda: tab.when() == "epoch 6")


def test_a_link_to_what_is_not_there_says_so(tab):
    tab.open(step=12, probe=HOSTILE * 2)
    assert tab.find(".notice").text == f"There is no picture “{HOSTILE * 2}” in this run."
    assert not tab.find_all("dialog[open]")
    tab.wait(lambda: "probe" not in tab.hash())


@pytest.mark.parametrize("name", ["constructor", "__proto__", "toString"])
def test_a_link_to_what_every_object_has_leads_nowhere(tab, name):
    tab.open(step=12, withRun=name, withMethod="name")
    assert tab.when() == "epoch 13"
    tab.open(step=12, withRun="saliency", withMethod=name)
    assert tab.when() == "epoch 13"
    assert Select(tab.field("Beside it")).first_selected_option.text == "nothing"
    tab.open(run=name, method=name)
    assert tab.find(".notice").text == f"There is no run “{name}” here."


def test_over_time_shows_steps_beside_each_other(tab):
    tab.open(view="time", step=0)
    heads = [head.text for head in tab.find_all(".head") if head.is_displayed()]
    assert heads[:3] == ["epoch 1", "epoch 2", "epoch 3"]
    cells = {cell.get_attribute("aria-label"): cell for cell in tab.find_all(".cell")}
    assert len(cells) < EPOCHS * len(NAMES)  # only those in sight
    for probe, name in enumerate(NAMES[:2]):
        for step in (1, 2):
            label = next(
                one for one in cells if one.startswith(f"{name}, grad-cam at epoch {step + 1}:")
            )
            picture = cells[label].find_element(By.CLASS_NAME, "picture")
            assert hottest_cell(tab.pixels(picture)) == hot_cell(probe, step)
    tab.go_to(EPOCHS - 1)
    assert tab.find(".head.present").text == f"epoch {EPOCHS}"
    assert tab.find(".head.present").is_displayed()


def test_over_time_by_keyboard_alone(tab):
    tab.open(view="time", step=3)
    tab.browser.execute_script("document.querySelector('.rows').focus()")
    tab.press(Keys.ARROW_DOWN)
    tab.press(Keys.ARROW_DOWN)
    tab.press(Keys.ARROW_RIGHT)
    tab.press(Keys.ENTER)
    assert tab.find("dialog h2").text == NAMES[3]  # the second of its class
    assert tab.find("dialog .when").text == "epoch 5"


def test_rows_are_sorted_and_found_by_name(tab):
    tab.open(step=10)
    Select(tab.field("Sort by")).select_by_value("focus")
    foxes = sorted((1, 2, 4), key=lambda probe: focus_of(probe, 10))
    names = [NAMES[probe] for probe in foxes]
    path = "section:nth-of-type(2) .tile strong"
    assert tab.wait(lambda: tab.texts(path) == names)
    tab.field("Find").send_keys("02")
    assert tab.wait(lambda: tab.texts(".tile strong") == [NAMES[2]])


def test_the_verdict_comes_with_its_evidence(tab):
    tab.open(step=15)
    assert tab.find(".verdict").get_attribute("data-alarm") == "false"
    tab.go_to(35)
    assert tab.find(".verdict").get_attribute("data-alarm") == "true"
    assert "epoch 30: Relies on" in tab.find(".verdict summary").text
    tab.find(".verdict summary").click()
    gaps, focus = tab.find_all(".verdict .plot")
    assert "background 0.29" in gaps.find_element(By.CLASS_NAME, "key").text
    mean = f"{np.mean([focus_of(probe, 35) for probe in range(len(NAMES))]):.2f}"
    assert focus.find_element(By.CLASS_NAME, "value").text == mean
    assert "chance" in [one.text for one in focus.find_elements(By.TAG_NAME, "text")]
    Select(tab.field("Beside it")).select_by_visible_text("gradient-x-input")
    words = [f"grad-cam {mean}", f"gradient-x-input {mean}"]
    tab.wait(
        lambda: [one.text for one in focus.find_elements(By.CSS_SELECTOR, ".key span")] == words
    )
    assert tab.find(".sheets img").get_attribute("naturalWidth") == "120"
    assert tab.find(".sheets img").rect["width"] == 120  # no wider than its pixels
    assert "Gap of the background by class: owl 0.29." in tab.texts(".facts .note")


def test_under_an_alarm_stands_what_to_do(tab):
    tab.open(step=35)
    tab.find(".verdict summary").click()
    (listed,) = tab.find_all(".next figure")
    words = "Training images that teach the shortcut, at epoch 30"
    assert listed.text == words
    alt = listed.find_element(By.TAG_NAME, "img").get_attribute("alt")
    assert alt == f"{words}: {HOSTILE}"
    links = tab.find_all(".next a")
    page = "https://keras-saliency.github.io/keras-saliency/what_to_do/"
    named = ["swap-the-backgrounds", "collect-images", "re-train-the-head"]
    assert [one.get_attribute("href") for one in links] == [f"{page}#{name}" for name in named]
    assert {one.get_attribute("target") for one in links} == {"_blank"}
    assert not tab.find(".why").is_displayed()
    tab.go_to(15)
    assert not tab.find(".next").is_displayed()


def test_a_narrower_cause_is_explained(tab, logdir):
    training = Training(logdir / f"narrow {len(list(logdir.iterdir()))}")
    training.add(0)
    said = {"reliance": 0.9, "gaps": {"cast": [0.7, 0.01], "background": [0.9, 0.01]}}
    said |= {"alarm": True, "cause": "cast", "sheets": [], "when": "epoch 1", "text": "relies on"}
    training._write("verdict", said, [], 0)
    training.writer.close()
    name = training.writer.folder.name
    tab.open()
    tab.wait(lambda: name in tab.texts("option"))
    tab.open(run=name)
    tab.find(".verdict summary").click()
    words = "The cast is named although the background has the larger gap"
    assert tab.find(".why").text.startswith(words)
    shutil.rmtree(logdir / name)  # Other tests look at the one run that is left.


def test_counterfactual_images_with_a_small_gap_stand_behind_a_line(tab):
    tab.open(step=35)
    tab.find(".verdict summary").click()
    more = tab.find(".sheets details")
    assert more.get_attribute("open") is None
    more.find_element(By.TAG_NAME, "summary").click()
    # Its image was never written, as where TensorBoard has dropped it.
    assert "mark swapped, at epoch 30: TensorBoard keeps ten steps" in more.text


def test_the_question_mark_says_how_to_read(tab):
    tab.open(step=3)
    tab.find(".help").click()
    dialog = tab.find("dialog[open]")
    for words in ("Bright = what the score rests on", "Grad-CAM and saliency can disagree"):
        assert words in dialog.text
    assert {"focus", "peak", "gap", "cast", "similarity"} <= set(tab.texts(".words dt"))
    tab.press(Keys.ESCAPE)
    assert not tab.find_all("dialog[open]")


def test_words_explain_themselves(tab):
    tab.open(step=35)
    focus = tab.tile(NAMES[0]).find_element(By.CLASS_NAME, "focus")
    assert "1 is chance" in focus.get_attribute("title")
    tab.find(".verdict summary").click()
    gap = tab.find(".verdict .plot figcaption .term")
    assert "probability of the right class" in gap.get_attribute("title")
    background, mark = tab.find_all(".verdict .key .term")
    assert background.get_attribute("title") == "Everything but the object."
    assert "tag or a watermark" in mark.get_attribute("title")
    tab.open(step=35, probe=NAMES[0])
    # All of one moment: the page may be about to change them.
    terms = "[...document.querySelectorAll('dialog dt .term')]"
    code = f"return {terms}.map((one) => [one.textContent, one.title])"
    explained = dict(tab.browser.execute_script(code))
    assert list(explained) == ["Peak of the map", "Focus", "Similarity to before"]
    assert all(explained.values())


def test_under_the_grid_stands_what_colours_mean(tab):
    tab.open(step=5)
    assert tab.texts(".grid > .note") == ["Bright = what the score rests on."]
    Select(tab.field("Beside it")).select_by_visible_text("gradient-x-input")
    tab.wait(lambda: "can disagree" in tab.texts(".grid > .note")[0])
    tab.open(step=5, method="gradient-x-input")
    assert tab.texts(".grid > .note") == ["Red = raises the score; blue = lowers it."]


SCROLLERS = """
    const scrolls = (one) => one.clientHeight && one.scrollHeight > one.clientHeight + 2
      && ['auto', 'scroll'].includes(getComputedStyle(one).overflowY);
    return [...document.querySelectorAll('main *')].filter(scrolls).length
"""


@pytest.mark.parametrize("view", ["step", "time"])
def test_nothing_scrolls_within_what_scrolls(tab, view):
    tab.open(step=35, view=view)
    tab.find(".verdict summary").click()
    tab.settle()
    assert tab.browser.execute_script(SCROLLERS) == 0


def test_over_time_grows_with_the_room(tab, logdir):
    training = Training(logdir / f"short {len(list(logdir.iterdir()))}")
    for step in range(3):
        training.add(step)
    training.writer.close()
    name = training.writer.folder.name
    tab.open()
    tab.wait(lambda: name in tab.texts("option"))
    tab.open(view="time", run="saliency")  # fifty steps, more than there is room for
    assert tab.find(".cell .picture").rect["width"] == 68
    tab.open(view="time", run=name)
    assert tab.find(".cell .picture").rect["width"] == 168


def test_the_heads_stay_in_sight_over_time(tab):
    tab.open(view="time", step=3, run="saliency")
    main = tab.find("main")
    longer = "document.querySelector('.rows').style.minHeight = '2000px'; "  # as of many probes
    tab.browser.execute_script(f"{longer}arguments[0].scrollTop = 600", main)
    tab.settle()
    head = tab.find(".head.present").rect
    assert 0 < head["y"] + head["height"] - main.rect["y"] < 40
    tab.go_to(EPOCHS - 1)
    cell, head = tab.find(".cell.present").rect, tab.find(".head.present").rect
    assert abs(cell["x"] - head["x"]) < 2


def test_a_step_is_said_with_its_epoch(tab):
    tab.open(step=4, run="saliency")
    assert tab.texts(".top .place > *") == ["epoch 5", "(step 4), 5 of 50"]


def test_a_verdict_holds_from_when_it_was_given(tab, logdir):
    """Before the first there is none; two runs have two, each with a mark of its own."""
    names = [f"held {len(list(logdir.iterdir()))} {one}" for one in "ab"]  # not the default run
    for name, first in zip(names, (1, 3), strict=True):
        training = Training(logdir / name)
        for step in range(5):
            training.add(step)
        said = {"reliance": 0.92, "gaps": {"cast": [0.92, 0.01]}, "sheets": [], "alarm": False}
        for step, words in ((first, "can't say yet: no"), (first + 1, "may rely on the cast")):
            training._write(
                "verdict", said | {"when": f"epoch {step + 1}", "text": words}, [], step
            )
        training.writer.close()
    tab.open()
    tab.wait(lambda: set(names) <= {option.text for option in Select(tab.field("Run")).options})
    tab.open(run=names[0], step=0, withRun=names[1], withMethod="grad-cam")
    seen = []
    for step in range(5):
        tab.go_to(step)
        marks = [one.get_attribute("data-alarm") for one in tab.find_all(".verdict .mark")]
        assert tab.find(".verdict").get_attribute("data-alarm") == marks[0]
        colours = [one.value_of_css_property("background-color") for one in tab.find_all(".mark")]
        seen.append((tab.texts(".verdict .mark"), marks, colours))
    assert [marks for _, marks, _ in seen] == [
        ["none", "none"],
        ["none", "none"],
        ["maybe", "none"],
        ["maybe", "none"],
        ["maybe", "maybe"],
    ]
    assert [shown for shown, *_ in seen] == [["?", "?"]] * 2 + [["!", "?"]] * 2 + [["!", "!"]]
    grey, amber = "rgba(89, 98, 109, 1)", "rgba(138, 75, 0, 1)"
    assert [colours for *_, colours in seen][1:4] == [[grey, grey], [amber, grey], [amber, grey]]
    tab.go_to(0)
    words = [f"{name}: epoch 1: no verdict yet; the first is of epoch " for name in names]
    assert tab.texts(".verdict .text") == [f"{words[0]}2", f"{words[1]}4"]


def test_dark_mode_follows_tensorboard(tab):
    tab.open()
    light = tab.pixels(tab.find("body")).mean()
    dark = "parent.document.body.classList.toggle('dark-mode', arguments[0])"
    tab.browser.execute_script(dark, True)
    assert tab.wait(lambda: tab.pixels(tab.find("body")).mean() < light - 80)
    tab.browser.execute_script(dark, False)
    assert tab.wait(lambda: abs(tab.pixels(tab.find("body")).mean() - light) < 5)


def test_what_is_written_meanwhile_appears(tab, logdir):
    name = f"growing {len(list(logdir.iterdir()))}"
    training = Training(logdir / name)
    training.add(0)
    tab.open()
    tab.wait(lambda: name in tab.texts("option"))
    Select(tab.field("Run")).select_by_visible_text(name)
    tab.wait(lambda: tab.when() == "epoch 1")
    training.add(1)
    assert tab.wait(lambda: tab.when() == "epoch 2")  # who looks at the newest goes along
    training.writer.close()
    shutil.rmtree(logdir / name)  # Other tests look at the one run that is left.
