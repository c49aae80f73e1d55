"""The data of the Saliency tab, as the blobs that its page reads.

Maps are written to the event file as grey images and not as overlays: colours, opacity and scale
are chosen in the browser. All maps of a method and a step are one image, one below the other.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_saliency.common.arrays import json_number
from keras_saliency.common.opencv import cv2
from keras_saliency.common.resampling import resize_image, resize_maps, scaled_size
from keras_saliency.common.types import Array
from keras_saliency.data.frames import mosaic_of
from keras_saliency.data.probes import Probes
from keras_saliency.drawing.heatmap import spread
from keras_saliency.recording.snapshot import Snapshot
from keras_saliency.recording.tensorboard.event_writer import EventWriter, encode_jpeg, safe_tag
from keras_saliency.recording.tensorboard.plugin_schema import MAPS, PROBES, VERDICT, VERSION
from keras_saliency.shortcuts.verdict import Verdict

_IMAGE, _MASK, _MAP = 512, 128, 112  # pixels, the longest side


class PluginData:
    """Write a training run for the Saliency tab: its probes once, then maps and verdicts.

    All methods raise an `OSError` if the disk does not take it, and a `ValueError` if the writer is
    closed.

    Args:
        writer: Where it goes.
        probes: The probes.
        shown: The indices of the probes to show, in order.
        of: What is explained, such as `"logits"`.
        settings: What else a reader should know, such as `{"layer": "block5_conv3"}`.

    Example:
        ```python
        data = PluginData(EventWriter(new_run("logs")), probes, range(len(probes)))
        localization = {"grad_cam": enrichment(maps, probes.masks)}
        data.add(snapshot, localization, similarity={})
        ```
    """

    def __init__(
        self,
        writer: EventWriter,
        probes: Probes,
        shown: Sequence[int],
        *,
        of: str = "logits",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._writer = writer
        self._probes = probes
        self._shown = list(shown)
        self._of, self._settings = of, dict(settings or {})
        self._probes_are_beside: int | None = None  # so many lost files

    def add(
        self, snapshot: Snapshot, localization: Mapping[str, Array], similarity: Mapping[str, Array]
    ) -> None:
        """Write the maps of one snapshot.

        Args:
            snapshot: The snapshot, of all probes.
            localization: Method name to `(n,)`, how many times more of each map lies on the object
                than chance would have there (`metrics.localization.enrichment`); NaN where unknown.
                Methods may be absent.
            similarity: Likewise, how alike each map is to the previous one, from -1 to 1.
        """
        if self._probes_are_beside != self._writer.lost_files:
            described = probe_blobs(self._probes, self._shown, self._of, self._settings)
            self._writer.blobs(PROBES, described, snapshot.step)
            self._probes_are_beside = self._writer.lost_files
        unknown = np.full(len(self._probes), np.nan)
        for method in snapshot.methods:
            numbers = {
                "focus": localization.get(method, unknown),
                "similarity": similarity.get(method, unknown),
                "score": snapshot.scores,
                "confidence": snapshot.confidence,
                "probability": snapshot.probability,
            }
            blobs = self._map_blobs(method, snapshot, numbers)
            self._writer.blobs(MAPS + safe_tag(method), blobs, snapshot.step)

    def add_verdict(
        self, verdict: Verdict, sheets: Mapping[str, str], when: str, step: int
    ) -> None:
        """Write a verdict with its numbers.

        Args:
            verdict: What the model relies on.
            sheets: Nuisance, or place of components, to the tag under which its images are written
                as an image of this step; they are read from there, so that they are stored once.
            when: The moment in words.
            step: The same as a step.
        """
        data = {
            "when": when,
            "step": step,
            **verdict.to_dict(self._probes.class_names),
            "sheets": list(sheets),
            "sheet_tags": list(sheets.values()),
        }
        self._writer.blobs(VERDICT, [_json(data)], step)

    def _map_blobs(
        self, method: str, snapshot: Snapshot, numbers: Mapping[str, Array]
    ) -> list[bytes]:
        maps, shown, signed = snapshot.maps.get(method), self._shown, snapshot.is_signed(method)
        correct = [snapshot.correct[i] for i in shown]
        data: dict[str, Any] = {
            "method": method,
            "when": snapshot.when_with_note,
            "step": snapshot.step,
            "signed": signed,
            "peak": [None] * len(shown),
            "dead": [False] * len(shown),
            "error": snapshot.errors.get(method),
            **{name: _numbers(values[i] for i in shown) for name, values in numbers.items()},
            "predicted": [snapshot.predicted[i] for i in shown],
            "correct": [None if known is None else bool(known) for known in correct],
        }
        if method in snapshot.checks:
            data["check"] = [snapshot.check(method, i) for i in shown]
            data["is_chance"] = [snapshot.is_chance(method, i) for i in shown]
        if maps is None:
            return [_json(data)]
        shades, data["peak"] = zip(*(self._shades(maps[i], signed) for i in shown), strict=True)
        data["dead"] = [not peak for peak in data["peak"]]
        # One image, as each blob has its price: in TensorBoard, on the way, in the browser.
        return [_json(data), _png(np.concatenate(shades))]

    def _shades(self, map_: Array, signed: bool) -> tuple[Array, float | None]:
        """Return a map in shades of grey and its peak, None where it is NaN or infinite."""
        known = bool(np.isfinite(map_).all())
        values = _reduced(
            _laid_out(map_ if known else np.zeros_like(map_), self._probes.frames), _MAP
        )
        # That of the image, so that it has all of the 256 shades.
        peak = float(np.abs(values).max())
        shares = values / (peak or 1.0)
        shades = 128 + 127 * shares if signed else 255 * np.abs(shares)
        return shades, json_number(peak) if known else None


def probe_blobs(
    probes: Probes, shown: Sequence[int], of: str, settings: Mapping[str, str]
) -> list[bytes]:
    """Describe the probes of a run, and its settings.

    Args:
        probes: The probes.
        shown: The indices of the probes to show, in order.
        of: What is explained, such as `"logits"`.
        settings: What else a reader should know.

    Returns:
        JSON, an image of each probe that is shown, and, if there are masks, a mask of each.
    """
    labels = probes.label_texts()
    data = {
        "names": [probes.names[i] for i in shown],
        "labels": [labels[i] for i in shown],
        "classes": list(probes.class_names or ()),
        "size": list(probes.display.shape[1:3]),
        "masks": probes.masks is not None,
        "of": of,
        "settings": dict(settings),
    }
    blobs = [_json(data), *(encode_jpeg(_shrunk(probes.display[i])) for i in shown)]
    if probes.masks is not None:
        masks = (_laid_out(probes.masks[i], probes.frames) for i in shown)
        blobs += [_png(255 * _reduced(mask, _MASK)) for mask in masks]
    return blobs


def _laid_out(map_: Array, frames: int) -> Array:
    """Lay a map out as its probe's image: a signal's in a row, a volume's frame by frame."""
    if map_.ndim == 3:
        rows, columns = mosaic_of(frames)
        height, width = map_.shape[1:]
        return spread(map_, (rows * height, columns * width), frames)
    return np.atleast_2d(map_)


def _side(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Return the height and width of an image once its longest side is as long as it may be."""
    return scaled_size(shape, min(1.0, longest / max(shape[:2])))


def _shrunk(image: Array) -> Array:
    return resize_image(image, _side(image.shape, _IMAGE))


def _reduced(map_: Array, longest: int) -> Array:
    """Average a map down; a small one stays as it is."""
    size = _side(map_.shape, longest)
    return map_ if size == map_.shape else resize_maps(map_, size)


def _png(values: Array) -> bytes:
    # At the level that OpenCV takes by itself: others take several times as long.
    _, data = cv2.imencode(".png", np.rint(values).astype(np.uint8))
    return data.tobytes()


def _json(data: Mapping[str, Any]) -> bytes:
    text = json.dumps({"version": VERSION, **data}, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="replace")


def _numbers(values: Iterable[Any]) -> list[float | None]:
    return [json_number(value) for value in values]
