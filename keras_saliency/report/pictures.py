"""The pictures that a page holds: each once, as many steps as there is room for, and stills."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_saliency import cards, render
from keras_saliency.arrays import Array
from keras_saliency.board.contents import image_type
from keras_saliency.board.events import encode_jpeg
from keras_saliency.report.reading import Seen, Training
from keras_saliency.snapshot import choose_evenly

ROOM = 24_000_000  # bytes of maps in a page, as base64
STILLS = 16  # probes that are drawn once and for all
_SIDE = 200  # pixels of a still
_MOST_PIXELS = 2**26  # of a picture that is decoded


class Store:
    """Pictures by key, each kept once.

    Example:
        ```python
        store = Store()
        store.add(jpeg) == store.add(jpeg)  # "0", and one picture
        ```
    """

    def __init__(self) -> None:
        self._keys: dict[bytes, str] = {}

    def add(self, blob: bytes) -> str:
        """Keep a picture, and return its key."""
        return self._keys.setdefault(blob, str(len(self._keys)))

    def listed(self) -> list[str]:
        """All pictures in the order of their keys, as base64."""
        return [base64.b64encode(blob).decode() for blob in self._keys]


def steps_with_room(trainings: Sequence[Training], room: int = ROOM) -> list[int]:
    """Choose the steps whose maps a page holds: all, or as many as there is room for, evenly.

    Args:
        trainings: One or two.
        room: Bytes of maps, as base64.

    Returns:
        The steps; the first and the last are among them.
    """
    sizes: dict[int, int] = {}
    for training in trainings:
        for seen in (seen for steps in training.methods.values() for seen in steps):
            size = sum(-(-len(one) // 3) * 4 for one in seen.pictures)
            sizes[seen.step] = sizes.get(seen.step, 0) + size
    steps = sorted(sizes)
    for count in range(len(steps), 2, -1):
        places = np.rint(np.linspace(0, len(steps) - 1, count)).astype(int)
        chosen = [steps[place] for place in places]
        if sum(sizes[step] for step in chosen) <= room:
            return chosen
    return sorted({*steps[:1], *steps[-1:]})


def answers(
    trainings: Mapping[str, Training], steps: Sequence[int], store: Store
) -> dict[str, dict[str, Any]]:
    """What the Saliency tab asks its server for: `{route: {run: answer}}`, pictures in the store.

    Args:
        trainings: By the name of their run.
        steps: Whose maps are shown.
        store: Takes the pictures.
    """
    found: dict[str, dict[str, Any]] = {"runs": {}, "probes": {}, "maps": {}}
    wanted = set(steps)
    for run, training in trainings.items():
        if training.probes is None:
            continue
        maps = {
            method: [_step(seen, store) for seen in all_ if seen.step in wanted]
            for method, all_ in training.methods.items()
        }
        listed = {method: [said["step"] for said in all_] for method, all_ in maps.items()}
        found["runs"][run] = {"methods": listed, "verdict": []}
        found["probes"][run] = _probes(training.probes, store)
        found["maps"][run] = maps
    return found


def _step(seen: Seen, store: Store) -> dict[str, Any]:
    key = store.add(seen.pictures[0]) if seen.pictures else None
    return seen.said | {"step": seen.step, "key": key}


def _probes(probes: Seen, store: Store) -> dict[str, Any]:
    keys, count = [store.add(one) for one in probes.pictures], len(probes.said["names"])
    masks = keys[count:] if len(keys) > count else None
    return probes.said | {"pictures": keys[:count], "mask_pictures": masks}


def stills(training: Training, method: str) -> list[tuple[int, bytes]]:
    """Draw the maps of a method's last step once and for all, of some probes.

    Returns:
        `(probe, JPEG)` of each, chosen evenly by label; those that can't be read are left out.
    """
    probes, steps = training.probes, training.methods.get(method, [])
    if probes is None or not steps or not steps[-1].pictures:
        return []
    labels = probes.said.get("labels")
    count = len(probes.said["names"])
    known = [str(one) for one in labels] if isinstance(labels, list) else []
    shown = choose_evenly(known if len(known) == count else ["" for _ in range(count)], STILLS)
    maps, signed = _decoded(steps[-1].pictures[0], "L"), steps[-1].said.get("signed") is True
    if maps is None or len(maps) % count:
        return []
    drawn = []
    for probe in shown:
        photo = _decoded(probes.pictures[probe], "RGB")
        if photo is not None:
            shares = maps.reshape(count, -1, maps.shape[1])[probe].astype(np.float32)
            large = cards.thumbnails(photo[None], _SIDE)[0]
            map_ = (shares - 128) / 127 if signed else shares / 255
            drawn.append((probe, encode_jpeg(render.overlay(large, map_, signed=signed))))
    return drawn


def _decoded(blob: bytes, mode: str) -> Array | None:
    """The pixels of a PNG or JPEG, `None` where it can't be read."""
    if image_type(blob) is None:
        return None
    try:
        with Image.open(io.BytesIO(blob), formats=("PNG", "JPEG")) as file:
            if file.width * file.height > _MOST_PIXELS:
                return None
            return np.array(file.convert(mode))
    except Exception:  # whatever a broken picture may make Pillow raise
        return None
