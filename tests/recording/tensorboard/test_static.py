"""The page of the Saliency tab, as far as it needs no browser: its modules run in Node.js."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import cv2
import matplotlib
import numpy as np
import pytest

from keras_saliency.common.resampling import resize_maps
from keras_saliency.drawing import heatmap

STATIC = (
    pathlib.Path(__file__).parents[3] / "keras_saliency" / "recording" / "tensorboard" / "static"
)
SCRIPTS = sorted(STATIC.glob("*.js"))
# CI installs Node.js, and must not pass without it.
needs_node = pytest.mark.skipif(
    shutil.which("node") is None and "CI" not in os.environ,
    reason="the page is tested in Node.js 18.19 or later (apt install nodejs)",
)

TESTS = sorted(map(str, (pathlib.Path(__file__).parent / "js").glob("*.test.mjs")))


def node(*arguments, given=None):
    found = subprocess.run(["node", *arguments], input=given, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def evaluated(code, **values):
    """Run the body of a module that imports from `STATIC`, and return what it gives to `answer`."""
    given = [
        f"const given = {json.dumps(values)};",
        "const answer = (found) => console.log(JSON.stringify(found));",
    ]
    imports = [
        f"import * as {path.stem} from {json.dumps(path.as_uri())};"
        for path in SCRIPTS
        if path.stem in ("colours", "maps", "png")
    ]
    source = "\n".join([*imports, *given, code])
    return json.loads(node("--input-type=module", "-", given=source))


@needs_node
def test_the_modules_without_a_page():
    said = node("--test", *TESTS)
    assert int(re.search(r"pass (\d+)", said)[1]) >= len(TESTS)  # and not that nothing was found
    assert "fail 0" in said


@needs_node
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("inferno", "inferno"),
        ("viridis", "viridis"),
        ("jet", "jet"),
        ("grey", "gray"),
        ("blue-red", "bwr"),
    ],
)
def test_colour_maps_are_those_of_matplotlib(name, theirs):
    found = evaluated("answer([...colours.palette(given.name)]);", name=name)
    wanted = 255 * matplotlib.colormaps[theirs](np.linspace(0, 1, 256))[:, :3]
    assert np.abs(np.reshape(found, (256, 3)) - wanted).max() <= 1.5


@needs_node
@pytest.mark.parametrize("signed", [False, True])
def test_an_overlay_is_that_of_the_stock_pictures(signed):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (45, 60, 3), np.uint8)
    map_ = rng.uniform(-1 if signed else 0, 1, (5, 7)).astype(np.float32)
    map_ /= np.abs(map_).max()
    code = """
        const map = { width: 7, height: 5, values: given.values, signed: given.signed };
        const palette = colours.palette(given.signed ? colours.DIVERGING : 'inferno');
        const look = { opacity: 0.85, threshold: 0 };
        answer([...maps.paint(maps.resize(map, 60, 45), palette, look)]);
    """
    found = evaluated(code, values=map_.ravel().tolist(), signed=signed)
    heat = np.reshape(found, (45, 60, 4)).astype(float)
    alpha = heat[..., 3:] / 255
    laid = alpha * heat[..., :3] + (1 - alpha) * photo
    # Rounding to 8 bits, and colours between two of the samples.
    assert np.abs(laid - heatmap.overlay(photo, map_, signed=signed)).max() <= 4


@needs_node
def test_maps_shrink_as_opencv_shrinks_them():
    map_ = np.random.default_rng(0).random((31, 45), np.float32)
    code = (
        "answer([...maps.resize({ width: 45, height: 31, values: given.values }, 20, 12).values]);"
    )
    found = np.reshape(evaluated(code, values=map_.ravel().tolist()), (12, 20))
    np.testing.assert_allclose(found, resize_maps(map_, (12, 20)), atol=1e-5)


@needs_node
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (700, 112)])
def test_maps_are_read_as_opencv_writes_them(size):
    values = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    values[: size[0] // 2] = np.arange(size[1])  # smooth rows are filtered otherwise than noise
    code = "answer(await png.decodeGrey(Uint8Array.from(given.bytes)));"
    found = evaluated(code, bytes=list(cv2.imencode(".png", values)[1].tobytes()))
    assert (found["height"], found["width"]) == size
    np.testing.assert_array_equal(np.reshape(list(found["values"].values()), size), values)


def luminance(colour):
    """Return the relative luminance of WCAG 2.2 of a colour such as #1f5fd0."""
    shares = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("theme", [":root", ".dark"])
def test_texts_stand_out_from_what_is_behind_them(theme):
    rules = re.search(rf"^{theme} {{(.*?)}}", (STATIC / "style.css").read_text(), re.M | re.S)[1]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", rules))
    lines = [name for name in colours if name.startswith("line-")]
    assert len(lines) == 8
    texts = ["ink", "faint", "accent", "right", "wrong", *lines]
    behind = {"card": texts, "paper": ["ink", "faint"], "accent": ["on-accent"]}
    behind |= {"warn": ["ink", "faint", "accent", "warn-ink", *lines], "tint": ["ink", "accent"]}
    for ground, names in behind.items():
        for name in names:
            dark, light = sorted(luminance(colours[one]) for one in (ground, name))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_data_never_becomes_html_or_code(path):
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc"
    )
    assert not re.search(forbidden, path.read_text())


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.[jc]s*")), ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path):
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.[a-z]{2,}[^\s'\"]*", path.read_text()))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, which nobody fetches


def imported(path):
    return re.findall(r"(?:from|import) '([^']+)'", path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_imported_modules_are_beside_it(path):
    assert all((STATIC / name).is_file() for name in imported(path))


def test_the_first_module_names_all_others():
    names = imported(STATIC / "index.js")
    assert sorted([*names, "./index.js"]) == [f"./{path.name}" for path in SCRIPTS]
