"""The images of a page: each once, of as many steps as there is room for, and stills."""

import base64
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_saliency.common.pillow import decoded
from keras_saliency.drawing import cards, heatmap
from keras_saliency.recording.report.verdict import is_chance
from keras_saliency.recording.snapshot import choose_evenly
from keras_saliency.recording.tensorboard.event_reader import Entry, Training
from keras_saliency.recording.tensorboard.event_writer import encode_jpeg
from keras_saliency.recording.tensorboard.plugin_schema import MOST_PIXELS

ROOM = 24_000_000  # bytes of maps in a page, as base64
STILLS = 16  # probes that are drawn
_Maps = dict[str, list[dict[str, Any]]]  # of each method, step by step
_SIDE = 200  # pixels of a still


class Store:
    """Images by key, each kept once.

    Example:
        ```python
        store = Store()
        store.add(jpeg) == store.add(jpeg)  # "0", and one image
        ```
    """

    def __init__(self) -> None:
        self._keys: dict[bytes, str] = {}

    def add(self, blob: bytes) -> str:
        """Keep an image file, and return its key."""
        return self._keys.setdefault(blob, str(len(self._keys)))

    def listed(self) -> list[str]:
        """All images in the order of their keys, as base64."""
        return [base64.b64encode(blob).decode() for blob in self._keys]


def steps_with_room(trainings: Sequence[Training], room: int = ROOM) -> dict[str, list[int]]:
    """Choose the steps whose maps a page holds: all, or as many as there is room for, evenly.

    Small maps come first, so that a method with large maps takes no room from the others.

    Args:
        trainings: One or two training runs.
        room: Bytes of maps, as base64.

    Returns:
        The steps of each method; the first and the last are among them.
    """
    sizes: dict[str, Counter[int]] = defaultdict(Counter)
    for training in trainings:
        for method, evaluations in training.methods.items():
            steps = sizes[method]
            for entry in evaluations:
                steps[entry.step] += sum(-(-len(blob) // 3) * 4 for blob in entry.images)
    chosen = {}
    smallest_first = sorted(sizes, key=lambda method: sizes[method].total())
    for left, method in zip(range(len(sizes), 0, -1), smallest_first, strict=True):
        chosen[method] = _evenly(sizes[method], room // left)
        room -= sum(sizes[method][step] for step in chosen[method])
    return chosen


def _evenly(sizes: Mapping[int, int], room: int) -> list[int]:
    """Choose as many steps as there is room for, evenly; at least the first and the last."""
    steps = np.array(sorted(sizes))
    for count in range(len(steps), 2, -1):
        chosen = steps[np.rint(np.linspace(0, len(steps) - 1, count)).astype(int)].tolist()
        if sum(sizes[step] for step in chosen) <= room:
            return chosen
    return np.unique([steps[:1], steps[-1:]]).tolist()


def responses(
    trainings: Mapping[str, Training], steps: Mapping[str, Sequence[int]], store: Store
) -> dict[str, dict[str, Any]]:
    """Prepare the responses that the Saliency tab gets from its server.

    Args:
        trainings: One or two training runs, by name.
        steps: The steps whose maps are shown, by method.
        store: The store, to which their images are added.

    Returns:
        `{route: {run: response}}`, with keys of the store in place of images.
    """
    routes: dict[str, dict[str, Any]] = {"runs": {}, "probes": {}, "maps": {}}
    for run, training in trainings.items():
        if training.probes is None:
            continue
        maps = {
            method: [
                _step(entry, store) for entry in evaluations if entry.step in set(steps[method])
            ]
            for method, evaluations in training.methods.items()
        }
        routes["runs"][run] = {"methods": {method: [] for method in maps}, "verdict": []}
        routes["probes"][run] = _probes(training.probes, store)
        routes["maps"][run] = maps
    if len(routes["maps"]) == 2:
        _hold_first(*routes["maps"].items())
    return routes


def _hold_first(first: tuple[str, _Maps], second: tuple[str, _Maps]) -> None:
    """Let the first, whose steps are the slider's, stand still where only the second goes on."""
    (run, maps), (_, others) = first, second
    for method, steps in maps.items():
        last = steps[-1]
        for other in others.get(method, []):
            if other["step"] > last["step"]:
                when = f"{other.get('when')}, {run} still at {last.get('when')}"
                steps.append(last | {"step": other["step"], "when": when})


def _step(entry: Entry, store: Store) -> dict[str, Any]:
    key = store.add(entry.images[0]) if entry.images else None
    return entry.data | {"step": entry.step, "key": key}


def _probes(probes: Entry, store: Store) -> dict[str, Any]:
    keys, count = [store.add(blob) for blob in probes.images], len(probes.data["names"])
    masks = keys[count:] if len(keys) > count else None
    return probes.data | {"pictures": keys[:count], "mask_pictures": masks}


def stills(training: Training, method: str) -> list[tuple[int, bytes]]:
    """Draw the maps of a method's last step as stills, which need no script.

    Args:
        training: The training run.
        method: The method.

    Returns:
        `(probe, JPEG)` of some probes, chosen evenly by label; those that can't be read are left
        out.
    """
    probes, steps = training.probes, training.methods.get(method, [])
    if probes is None or not steps or not steps[-1].images:
        return []
    labels, count = probes.data.get("labels"), len(probes.data["names"])
    if not isinstance(labels, list) or len(labels) != count:
        labels = [""] * count
    shown = choose_evenly(list(map(str, labels)), STILLS)
    maps, signed = (
        decoded(steps[-1].images[0], "L", MOST_PIXELS),
        steps[-1].data.get("signed") is True,
    )
    if maps is None or len(maps) % count:
        return []
    drawn = []
    for probe in shown:
        photo = decoded(probes.images[probe], "RGB", MOST_PIXELS)
        if photo is not None:
            shares = maps.reshape(count, -1, maps.shape[1])[probe].astype(np.float32)
            large = cards.thumbnails(photo[None], _SIDE)[0]
            map_ = (shares - 128) / 127 if signed else shares / 255
            overlay = heatmap.overlay(large, map_, signed=signed)
            overlay = heatmap.grey(overlay) if is_chance(steps[-1], probe) else overlay
            drawn.append((probe, encode_jpeg(overlay)))
    return drawn
