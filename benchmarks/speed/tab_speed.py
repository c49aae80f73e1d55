"""How quickly the Saliency tab shows images: 64 probes, 2 methods, 200 epochs, on loopback.

Writes such a run with maps of 7 and of 112 pixels, starts TensorBoard with each of its loaders
and drives Chromium (both it and chromedriver must be installed), whose cache is emptied each time:

- first (s): from the opening of the tab to the first image with its map, and `all in sight`;
- steps/s: whole images of steps that were not read before, one after the other;
- page (ms/step): what that costs the page's thread, which other programs disturb less;
- dragged: how many of 20 steps a second are seen whole while the slider passes them.

Medians, in turn for each of `--packages`: checkouts, each with files of its own, in one run.

    python benchmarks/speed/tab_speed.py [--packages . ../before] [--rounds 5] [--out FILE]
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
from selenium import webdriver
from selenium.webdriver.common.by import By

import keras_saliency as ks
from keras_saliency.recording.snapshot import Snapshot
from keras_saliency.recording.tensorboard.event_writer import EventWriter
from keras_saliency.recording.tensorboard.plugin_data import PluginData

PROBES, METHODS, EPOCHS = 64, ("grad_cam", "saliency"), 200
SIDES = (7, 112)
PASSED, EVERY_MS = 60, 50
LOADERS = {"Python": "--load_fast=false", "fast": "--load_fast=true"}

# Runs in every frame before the page's own scripts: notes when images are there.
WATCH = """
globalThis.inSight = () => [...document.querySelectorAll('.tile')].filter((tile) => {
  const { bottom, top } = tile.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
});
globalThis.whole = (seen = inSight()) => {
  const ready = seen.filter((tile) => tile.dataset.step && !tile.querySelector('.waiting')
    && [...tile.querySelectorAll('img')].every((image) => !image.src || image.complete));
  const step = ready[0]?.dataset.step;
  return { any: ready.length > 0, step, all: ready.length > 0 && ready.length === seen.length
    && ready.every((tile) => tile.dataset.step === step) };
};
globalThis.times = {};
if (parent !== self) {
  const look = () => {
    if (document.body) {
      const { any, all } = whole();
      if (any) times.first ??= performance.now() / 1000;
      if (all) times.all ??= performance.now() / 1000;
    }
    if (!times.all) requestAnimationFrame(look);
  };
  look();
}
"""

START = """
globalThis.tiles = inSight();
globalThis.move = (index) => {
  const slider = document.querySelector('.top .scrubber input');
  slider.value = index;
  slider.dispatchEvent(new Event('input'));
};
globalThis.frame = () => new Promise(requestAnimationFrame);
globalThis.shown = async (index) => {
  move(index);
  for (let now; now = whole(tiles), !now.all || Number(now.step) !== index;) await frame();
};
"""

ONE_BY_ONE = """
const [first, count, done] = arguments;
(async () => {
  const start = performance.now();
  for (let i = 0; i < count; i++) await shown(first + i);
  done((1000 * count) / (performance.now() - start));
})();
"""

DRAG = """
const [first, count, every, done] = arguments;
(async () => {
  const start = performance.now();
  const seen = new Set();
  for (let at = -1, now; (now = performance.now() - start) < count * every; await frame()) {
    const aim = Math.floor(now / every);
    if (aim !== at) move(first + (at = aim));
    const { all, step } = whole(tiles);
    if (all) seen.add(step);
  }
  done((1000 * seen.size) / (count * every));
})();
"""


def write(run: Path, side: int) -> None:
    """Write a training run whose maps are noise around a spot that moves, as saliency's are."""
    rng = np.random.default_rng(0)
    photos = [
        cv2.resize(rng.integers(0, 256, (12, 12, 3), np.uint8), (224, 224), interpolation=1)
        for _ in range(PROBES)
    ]
    labels = [i % 2 for i in range(PROBES)]
    probes = ks.Probes(np.stack(photos), labels, class_names=["elephant", "penguin"])
    run.mkdir(parents=True)
    writer = EventWriter(run)
    tab = PluginData(writer, probes, range(PROBES))
    y, x = np.mgrid[:side, :side] / side
    noise = rng.exponential(size=(PROBES, side, side)).astype(np.float32)
    for step in range(EPOCHS):
        turn = step / 20 + np.arange(PROBES)[:, None, None]
        spot = np.exp(-20 * ((y - 0.5 - 0.3 * np.sin(turn)) ** 2 + (x - 0.5) ** 2))
        maps = np.roll(noise, step, axis=0) * spot
        known = {"scores": np.zeros(PROBES), "predicted": ["elephant"] * PROBES}
        shares = np.full(PROBES, 0.5)
        snapshot = Snapshot(
            step=step,
            when=f"epoch {step + 1}",
            maps={method: np.roll(maps, i, axis=0) for i, method in enumerate(METHODS)},
            errors={},
            confidence=shares,
            probability=shares,
            correct=[True] * PROBES,
            logs={},
            **known,
        )
        tab.add(snapshot, dict.fromkeys(METHODS, 4 * shares), {})
    writer.close()


@contextlib.contextmanager
def tensorboard(logdir: Path, package: Path, flag: str) -> Iterator[str]:
    """Start TensorBoard with the plugin of a checkout; give its address once all is loaded."""
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", flag]
    command += ["--host=127.0.0.1", "--port=0"]
    with tempfile.NamedTemporaryFile() as log:
        environment = os.environ | {"PYTHONPATH": str(package.resolve())}
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=package
        )
        try:
            while not (found := re.search(rb"at (http://127\S+)", Path(log.name).read_bytes())):
                assert process.poll() is None, Path(log.name).read_text()
                time.sleep(0.2)
            yield found[1].decode().rstrip("/")
        finally:
            process.terminate()
            process.wait(30)


def chromium() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.add_argument("--window-size=1300,1000")
    found = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )
    found.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    found.set_script_timeout(120)
    return found


def opened(browser: webdriver.Chrome, address: str, step: int) -> dict[str, float]:
    """Open the tab at a step, nothing of it being in the cache; say when images were there."""
    browser.get("about:blank")
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    browser.get(f"{address}/#keras_saliency&p.keras_saliency.step={step}")
    frame = "iframe[src*=keras_saliency]"
    while not (found := browser.find_elements(By.CSS_SELECTOR, frame)):
        time.sleep(0.05)
    browser.switch_to.frame(found[0])
    while not (times := browser.execute_script("return globalThis.times?.all && times")):
        time.sleep(0.1)
    browser.execute_script(START)
    return times


def busy(browser: webdriver.Chrome) -> float:
    """Return the seconds for which the page's thread has run."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(one["value"] for one in metrics if one["name"] == "TaskDuration")


def measure(browser: webdriver.Chrome, address: str) -> dict[str, float]:
    times = opened(browser, address, 0)
    dragged = browser.execute_async_script(DRAG, 1, PASSED, EVERY_MS)
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    before = busy(browser)
    steps = browser.execute_async_script(ONE_BY_ONE, 100, PASSED)
    page = 1000 * (busy(browser) - before) / PASSED
    browser.execute_cdp_cmd("Performance.disable", {})
    return {
        "first (s)": times["first"],
        "all in sight (s)": times["all"],
        "dragged": dragged,
        "steps/s": steps,
        "page (ms/step)": page,
    }


def wait_until_loaded(browser: webdriver.Chrome, address: str) -> None:
    while True:
        browser.get(f"{address}/data/plugin/keras_saliency/runs")
        runs = json.loads(browser.find_element(By.TAG_NAME, "body").text)["runs"].values()
        counts = [len(steps) for run in runs for steps in run["methods"].values()]
        if counts == [EPOCHS] * len(METHODS):
            return
        time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", nargs="+", type=Path, default=[Path()])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", nargs="+", type=int, default=list(SIDES))
    parser.add_argument("--loaders", nargs="+", default=list(LOADERS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        write(args.write, *args.sides)
        return
    rows = []
    with tempfile.TemporaryDirectory() as root, contextlib.closing(chromium()) as browser:
        for side in args.sides:
            logs = [Path(root) / f"{side} {i}" for i in range(len(args.packages))]
            for one, package in zip(logs, args.packages, strict=True):
                command = [sys.executable, __file__, "--write", str(one / "saliency")]
                environment = os.environ | {"PYTHONPATH": str(package.resolve())}
                subprocess.run([*command, "--sides", str(side)], env=environment, check=True)
            for loader in args.loaders:
                with contextlib.ExitStack() as servers:
                    addresses = [
                        servers.enter_context(tensorboard(one, package, LOADERS[loader]))
                        for one, package in zip(logs, args.packages, strict=True)
                    ]
                    for address in addresses:
                        wait_until_loaded(browser, address)
                    found = [
                        [measure(browser, address) for address in addresses]
                        for _ in range(args.rounds)
                    ]
                for package, times in zip(args.packages, zip(*found, strict=True), strict=True):
                    row = {"package": str(package), "map (px)": side, "loader": loader}
                    row |= {
                        name: statistics.median(one[name] for one in times) for name in times[0]
                    }
                    rows.append(row)
                    words = (
                        f"{k} {v:.3g}" if k in times[0] else f"{k} {v}" for k, v in row.items()
                    )
                    print("  ".join(words), flush=True)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
