"""Progress on a terminal: a pseudo-terminal is read as one shows it."""

import os
import pty
import re
import select
import sys

import keras
import numpy as np
import pytest

import keras_saliency as ks
from keras_saliency.common import progress


class Terminal:
    """What stands in for standard error, and is read as it was written."""

    def __init__(self, ours, stream):
        self._ours, self.stream = ours, stream

    def read(self):
        """What has come; the kernel passes it on in parts, a moment later."""
        self.stream.flush()
        found = b""
        while select.select([self._ours], [], [], 0.3)[0]:
            found += os.read(self._ours, 100_000)
        return found.decode()


@pytest.fixture
def terminal(monkeypatch):
    """A pseudo-terminal; pytest sets standard error anew when the test begins."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(progress, "_PATIENCE", -1)
        monkeypatch.setattr(progress, "_EVERY", -1)
        yield Terminal(ours, stream)
    os.close(ours)


def screen(written, lines=("a bar of Keras",)):
    """What is on the screen after these lines, and the line of the cursor."""
    lines, at = [*lines], len(lines) - 1
    for part in re.findall(r"\n|\r|\x1b\[2K|\x1b\[1A|[^\n\r\x1b]+", written):
        if part == "\n":
            at += 1
            lines += [""] * (at == len(lines))
        elif part == "\x1b[1A":
            at -= 1
        elif part == "\x1b[2K":
            lines[at] = ""
        elif part != "\r":
            lines[at] += part
    return lines, at


def test_a_line_below_the_bar_comes_and_goes(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    with progress.terminal_line("computing") as report:
        report(1, 3)
        report(2, 3)
        written = terminal.read()
        assert screen(written) == (["a bar of Keras", "computing: 2 of 3"], 1)
    assert screen(written + terminal.read()) == (["a bar of Keras", ""], 0)


@pytest.mark.parametrize(("verbose", "is_shown"), [(1, True), (0, False)])
def test_a_fit_tells_how_far_its_evaluations_are(
    terminal, monkeypatch, tmp_path, verbose, is_shown
):
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    layers = keras.layers
    net = keras.Sequential([keras.Input((9, 12, 3)), layers.Flatten(), layers.Dense(2)])
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.zeros((4, 9, 12, 3), "float32"), np.arange(4) % 2
    watch = ks.SaliencyCallback((x, y), tmp_path, ["smooth_grad"])
    print("x", end="", file=sys.stderr)
    net.fit(x, y, verbose=verbose, callbacks=[watch])
    written = terminal.read()
    assert bool(re.search(r"evaluating the probes, passes: \d+ of \d+", written)) == is_shown


def test_nothing_is_written_where_nobody_reads(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", -1)
    with progress.terminal_line("computing") as report:
        report(1, 3)
    assert list(progress.with_progress([1, 2], 2, "computing")) == [1, 2]
    assert capsys.readouterr().err == ""
