"""What the callback prints and warns of."""

import logging
import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import keras

from keras_saliency.common.progress import Report, terminal_line
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.engine.output_head import Head
from keras_saliency.recording.remote import RemoteFolder

logger = logging.getLogger("keras_saliency")

EXPENSIVE = 20  # perturbed images of each probe, above which a method's cost is announced
_KEPT = 10  # steps of a tag of images, by TensorBoard
_SHOWN = 1000  # by the Saliency tab, and by keras-saliency tensorboard
_BESIDES = 2  # the snapshot before training, and that of the weights that are kept
_ESCAPED = re.compile(r'["\\\x00-\x1f]')  # in JSON, as TensorBoard's data server can't read (0.7)

OWN_RUN = "goes on in a run of its own, {}, since {} has other {}"
NO_LABELS = "the probes have no labels, so the predicted class is explained"
NO_VERDICT = "gives no verdict on shortcuts without shortcuts=, the training data"
VERDICT_MISSING = (
    "can't say: no verdict without the training data, SaliencyCallback(..., shortcuts=(images, "
    "labels))"
)
NO_VERDICT_YET = "can't say: no epoch has been trained yet"
TARGET_LAYER = "explains layer {!r}, a grid of {}"
EXPLAINED = "explains the {}, since the model's logits can't be had"
NO_CURVE = (
    "there is no curve of {} of the logs: neither a number nor a vector of up to 1,000 numbers"
)
HEAD_ASSUMED = (
    "assumes that the outputs are {}, which neither the loss nor the last layer tells; if they are "
    "not, target=ks.Target(head={}) states it"
)
OUT_OF_MEMORY = "out of memory with batch_size={}; from now on it evaluates {} images at a time"
AVERAGED = (
    "SwapEMAWeights comes before this callback: after each epoch the averages of the weights are "
    "explained"
)
NOT_AVERAGED = (
    "the optimizer averages the weights (use_ema=True), and the weights as they train are "
    "explained; for the averages put SwapEMAWeights(swap_on_epoch=True) before this callback"
)
METHOD_FAILED = "{!r} could not be computed ({})"
METHOD_FAILED_AT_ONCE = (
    "{0!r} could not be computed before training, and is left out from now on ({1}); "
    "explain(model, images, {0!r}) shows where it fails"
)
VERDICT_FAILED = "there is no verdict of epoch {} ({})"
IS_MISSING = "{} is missing ({})"
ON_ALARM_FAILED = "on_alarm could not be called with the verdict ({})"
TIME_TAKEN = (
    "the callback took {:.1f} s, {:.0f} % of {}; a larger every= evaluates less often, and fewer "
    "probes, methods or donors are quicker"
)
PACE_CHANGED = "the callback takes {:.3g} % of the time, max_overhead={:g}; from now on {}"
AT_FULL_PACE = "everything is evaluated as often as requested again"
WRONG_SCALE = (
    "the model's {} on {} is {:.3g}, where training reports {:.3g}; if their values were {}, it "
    "would be {:.3g}. They are not scaled as the training data are: give them as fit gets them, "
    "or with preprocess=, which makes the model's input of them"
)
NOT_TRAINED = "While computing {!r}; nothing has been trained."
BY_HAND = (
    "A loop of your own tells its callbacks of all that happens, in order, as "
    "keras.callbacks.CallbackList(callbacks, model=model) does with the same hooks. Received: {}"
)

TWICE = (
    "A callback stands in the list of callbacks once, or each step is written as often as it does. "
    "Make a second SaliencyCallback for other settings. Received: the same callback {} times"
)
NO_LIST = (
    'every="N batches" needs callbacks=[callback], a list: without one Keras calls the callback in '
    "another thread while the next batch trains. Received: callbacks=, which is no list or tuple"
)


_KINDS = {
    "softmax": "logits of classes that exclude each other",
    "sigmoid": "classes that don't exclude each other, or one unit for two classes",
    "values": "values and no classes (a regression, an embedding, an image)",
}


def assumed(head: Head) -> str | None:
    """Say what the outputs are assumed to be, or None where that is known."""
    if not head.is_guess:
        return None
    others = " or ".join(repr(kind) for kind in _KINDS if kind != head.kind)
    return HEAD_ASSUMED.format(_KINDS[head.kind], others)


class Reporter:
    """Tells the user what happens in one training run.

    Args:
        params: The callback's, with "verbose".
    """

    def __init__(self, params: Mapping[str, Any] | None) -> None:
        self._is_verbose = bool((params or {}).get("verbose"))
        self._pending: list[str] = []
        self._kinds: set[str] = set()

    def say(self, *texts: str | None) -> None:
        """Print lines as Keras prints its progress, but for those that are None."""
        for text in filter(None, texts):
            if self._prints:
                sys.stdout.write(f"keras_saliency: {text}\n")
            else:
                logger.info(text)

    @property
    def _prints(self) -> bool:
        return keras.config.is_interactive_logging_enabled() and self._is_verbose

    def say_later(self, text: str | None) -> None:
        """Keep a line until no progress bar is in the way."""
        self._pending.append(text or "")

    def say_once(self, kind: str, text: str) -> None:
        """Keep a line, unless one of that kind was kept before."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            self.say_later(text)

    def say_pending(self) -> None:
        """Print the lines that were kept."""
        pending, self._pending = self._pending, []
        self.say(*pending)

    def progress(self, text: str) -> AbstractContextManager[Report]:
        """Say within a context how far something is, where Keras shows its own progress."""
        if self._prints:
            return terminal_line(f"keras_saliency: {text}")
        return nullcontext(lambda done, total: None)

    def warn(self, text: str) -> None:
        """Warn of a fault that does not stop the training run."""
        warn_user(f"keras_saliency: {text}. The training goes on.")

    def warn_once(self, kind: str, text: str) -> None:
        """Warn, unless a fault of that kind has been reported."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            self.warn(text)

    def alarm(self, verdict: str) -> None:
        """Tell that the model relies on a shortcut: in a line before the next epoch's bar.

        Where no bar is shown, no line would be printed either, and a warning tells it now.
        """
        if self._prints:
            self.say_later(f"ALARM: the model {verdict}")
        else:
            warn_user(f"keras_saliency: the model {verdict}")


def expensive_methods(perturbed: Mapping[str, int], probes: int) -> str | None:
    """Name the methods that run the model on many perturbed images.

    Args:
        perturbed: Method name to how many perturbed images of each probe it makes.
        probes: How many probes there are.

    Returns:
        A line for the user, or None where no method makes more than `EXPENSIVE` of them.

    Example:
        >>> expensive_methods({"saliency": 0, "rise": 4000}, 16)
        'rise queries the model with 16 x 4000 images per evaluation; a larger every= reduces this'
    """
    listed = [
        f"{method} queries the model with {probes} x {count} images"
        for method, count in perturbed.items()
        if count > EXPENSIVE
    ]
    return f"{', '.join(listed)} per evaluation; a larger every= reduces this" if listed else None


def where_to_look(run: Path, folder: Path | RemoteFolder, evaluations: int) -> str:
    """Explain where a training run is written, and how to see all of it in TensorBoard.

    Args:
        run: The folder of the run.
        folder: Where TensorBoard looks for runs.
        evaluations: How many are planned, 0 where nobody knows.

    Returns:
        One line.

    Example:
        >>> where_to_look(Path("logs/saliency_2"), Path("logs"), 5)
        'writing to logs/saliency_2; view: keras-saliency tensorboard --logdir logs'
    """
    logs, steps = shlex.quote(str(folder)), evaluations + _BESIDES
    shown = folder / run.name  # as the user wrote it
    if isinstance(folder, RemoteFolder):
        return f"writing to {shown}; view: keras-saliency report {logs}"
    line = f"writing to {shown}; view: keras-saliency tensorboard --logdir {logs}"
    if evaluations > _KEPT:
        line += f" (tensorboard keeps {_KEPT} steps of each picture"
        if steps > _SHOWN:
            samples = f"--samples_per_plugin images={steps},keras_saliency={steps}"
            line += f", this {_SHOWN:,} of {steps:,}; all: tensorboard --logdir {logs} {samples}"
        line += ")"
    return line


def unreadable_name(folder: Path) -> str | None:
    """Explain how to see pictures in TensorBoard, where it can't read the name of their run.

    Args:
        folder: Where TensorBoard looks for runs, or a folder above it, which makes it a part of the
            name.

    Returns:
        One line, or None where it reads the name.
    """
    if not _ESCAPED.search(folder.as_posix()):
        return None
    return (
        "TensorBoard shows no pictures of a run whose name holds a quotation mark, a backslash or "
        "a control character, as it does below a folder above this one: show it by tensorboard "
        f"--logdir {shlex.quote(str(folder))}, or with --load_fast=false"
    )
