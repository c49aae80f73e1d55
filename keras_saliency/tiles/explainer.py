"""The predictions of a model for all tiles, computed beside the maps and drawn slide by slide."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from keras_saliency.attribution.explainer import Evaluation, Explainer
from keras_saliency.common.types import Array
from keras_saliency.data.probes import Probes
from keras_saliency.engine.output_head import Head
from keras_saliency.engine.predictor import Forward
from keras_saliency.recording.snapshot import Snapshot
from keras_saliency.recording.tensorboard.event_writer import safe_tag
from keras_saliency.tiles.dataset import Tiles
from keras_saliency.tiles.drawing import tile_mosaic, tile_sheet, without_map

_SLIDES = 16  # that are drawn; numbers are written for all


class TileExplainer(Explainer):
    """An `Explainer` of tiles, which also computes the probabilities of all tiles.

    Args:
        model: The model.
        probes: The tiles.
        *settings: The other arguments of `Explainer`.

    Raises:
        ValueError: If the tiles, their labels or the classes do not fit the model.
    """

    def __init__(self, model: Any, probes: Tiles, *settings: Any) -> None:
        super().__init__(model, probes, *settings)
        self._tiles = probes
        probes.mapped(self.head)
        self._forward = Forward(self.context)

    def evaluate(self, **options: Any) -> Evaluation:
        """Explain the tiles that get maps, and predict all tiles part by part."""
        parts = [self._forward.answers(part) for part in self._tiles.parts()]
        evaluation = super().evaluate(**options)
        return replace(evaluation, tiles=np.concatenate(parts).astype(np.float32))


def explainer_of(model: Any, probes: Probes, *settings: Any) -> Explainer:
    """Return the explainer that probes need; the arguments are those of `Explainer`."""
    kind = TileExplainer if isinstance(probes, Tiles) else Explainer
    return kind(model, probes, *settings)  # type: ignore[arg-type]


class TileMaps:
    """Draws slides with the predictions and maps of a snapshot.

    Args:
        tiles: The tiles.
        classes: The classes whose probability is mapped, with their names.
    """

    def __init__(self, tiles: Tiles, classes: Mapping[int, str]) -> None:
        self._tiles = tiles
        self._classes = dict(classes)
        self._tags = [f"{i:02d}_{safe_tag(name)}" for i, name in enumerate(tiles.slides)]

    @classmethod
    def of(cls, probes: Probes, head: Head) -> "TileMaps | None":
        """Return what draws the slides, where the probes are tiles."""
        return cls(probes, probes.mapped(head)) if isinstance(probes, Tiles) else None

    def numbers(self, snapshot: Snapshot) -> dict[str, float]:
        """List by tag the accuracy and the mean error of each slide that has labels."""
        numbers: dict[str, float] = {}
        for slide, tag in enumerate(self._tags):
            accuracy, error = self._measured(snapshot, slide)
            if not np.isnan(accuracy):
                numbers |= {f"tiles-accuracy/{tag}": accuracy, f"tiles-error/{tag}": error}
        return numbers

    def draw(self, snapshot: Snapshot) -> dict[str, Array]:
        """Draw by tag the sheets of up to 16 slides, and the mosaics of those that have maps."""
        images: dict[str, Array] = {}
        for slide, tag in enumerate(self._tags[:_SLIDES]):
            for index, name in self._classes.items():
                suffix = f"_{safe_tag(name)}" if len(self._classes) > 1 else ""
                images[f"tile-map/{tag}{suffix}"] = self._sheet(snapshot, slide, index, name)
            on = np.flatnonzero(self._tiles.slide[self._tiles.chosen] == slide)
            for method, maps in snapshot.maps.items() if on.size else ():
                mosaic = self._mosaic(snapshot, slide, method, maps[on], on)
                images[f"tile-mosaic/{tag}_{safe_tag(method)}"] = mosaic
        return images

    def _sheet(self, snapshot: Snapshot, slide: int, index: int, name: str) -> Array:
        tiles, on = self._tiles, self._tiles.on(slide)
        probabilities = _tiles_of(snapshot)
        accuracy, error = self._measured(snapshot, slide)
        counted = f"{int(tiles.known[on].sum()):,} of {len(on):,} tiles labelled"
        if tiles.known[on].all():
            counted = f"{len(on):,} tiles"
        measured = f" · {100 * accuracy:.0f} % right · mean error {error:.2f}"
        return tile_sheet(
            tiles.x[on],
            tiles.y[on],
            tiles.truth(probabilities.shape[1])[on, index],
            probabilities[on, index],
            title=tiles.slides[slide],
            caption=counted + ("" if np.isnan(accuracy) else measured),
            name=name,
            **self._options(snapshot, slide),
        )

    def _mosaic(self, snapshot: Snapshot, slide: int, method: str, maps: Array, on: Array) -> Array:
        tiles, rows = self._tiles, self._tiles.chosen[on]
        signed = snapshot.is_signed(method)
        dead = without_map(maps, signed).sum()
        counted = f"{len(on)} of {len(tiles.on(slide)):,} tiles, one scale"
        return tile_mosaic(
            tiles.x[rows],
            tiles.y[rows],
            tiles.display[on],
            maps,
            title=f"{tiles.slides[slide]} · {method}",
            caption=counted + (f" · {dead} dead" if dead else ""),
            signed=signed,
            **self._options(snapshot, slide),
        )

    def _options(self, snapshot: Snapshot, slide: int) -> dict[str, Any]:
        """Return what a slide's sheets and mosaics have in common."""
        tiles = self._tiles
        return {
            "tile": tiles.tile[slide],
            "thumbnail": tiles.thumbnails.get(tiles.slides[slide]),
            "subtitle": f"{snapshot.when} · step {snapshot.step}",
        }

    def _measured(self, snapshot: Snapshot, slide: int) -> tuple[float, float]:
        """Return the accuracy on labelled tiles, and the mean error of the mapped classes."""
        on = self._tiles.on(slide)
        on = on[self._tiles.known[on]]
        if not on.size:
            return float("nan"), float("nan")
        probabilities = _tiles_of(snapshot)[on]
        truth = self._tiles.truth(probabilities.shape[1])[on]
        right = np.take_along_axis(truth, probabilities.argmax(axis=1)[:, None], axis=1) > 0.5
        errors = np.abs(probabilities - truth)[:, list(self._classes)]
        return float(right.mean()), float(errors.mean())


def _tiles_of(snapshot: Snapshot) -> Array:
    if snapshot.tiles is None:
        raise ValueError("the snapshot holds no probabilities of tiles")
    return snapshot.tiles
